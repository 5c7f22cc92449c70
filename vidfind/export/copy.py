"""Clips without loss: the packets of a video as they are, from a keyframe to a keyframe. Times are in seconds."""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import merge
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from vidfind.errors import UnreadableVideo
from vidfind.export.sound import best_sound, sound_zero
from vidfind.export.wanted import EXACT
from vidfind.media.clock import Timeline
from vidfind.media.frames import JUMP_MARGIN, frame_rate, open_video, read_packets, seek, time_of
from vidfind.media.probe import examine_once, is_closed

IN_MP4 = {"h264", "hevc", "av1", "mpeg4"}, {"aac", "mp3", "ac3", "eac3", "alac", "opus"}
"""Codecs of video, and of sound, that players expect in MP4."""
IN_WEBM = {"vp8", "vp9", "av1"}, {"opus", "vorbis"}
DECODERS = {"libdav1d": "av1"}
"""The codecs of decoders that have names of their own."""
INTRA = 1  # the type of a picture that needs no other


class Kind(NamedTuple):
    """A container that holds the streams of a video: FFmpeg's name, and the end of file names."""

    container: str
    suffix: str


OWN_KINDS = {"asf": Kind("asf", ".wmv"), "flv": Kind("flv", ".flv")}
"""Containers of codecs that hardly any other holds."""
AGAIN = "cannot be copied without encoding it again (leave out --copy)"


@dataclass(frozen=True)
class Span:
    """The part that a copy holds: from the time of a keyframe up to that of a later one; None: up to the end."""

    start: float
    end: float | None


def copy_kind(path: Path) -> Kind:
    """Returns the container for a copy. Raises UnreadableVideo."""
    with open_video(path, threads=1, is_quick=True) as (container, stream):
        sound = best_sound(container)
        video = DECODERS.get(name := stream.codec_context.codec.canonical_name, name)
        audio = sound.codec_context.codec.canonical_name if sound else None
        source = container.format.name.partition(",")[0]
        if source == "mov":  # which held them before
            return Kind("mov", ".mov") if path.suffix.lower() in (".mov", ".qt") else Kind("mp4", ".mp4")
        for kind, (videos, audios) in ((Kind("webm", ".webm"), IN_WEBM), (Kind("mp4", ".mp4"), IN_MP4)):
            if video in videos and (audio is None or audio in audios):
                return kind
        return OWN_KINDS.get(source, Kind("matroska", ".mkv"))


class Copy:
    """A copy of a moment from keyframe to keyframe, with `early` seconds more before it and `late` seconds after it."""

    def __init__(self, path: Path, start: float, end: float) -> None:
        """Finds the keyframes. Raises UnreadableVideo for a video that cannot be copied."""
        self._path = path
        self._clock = examine_once(path)[1].clock
        if self._clock.is_joined or self._clock.is_counted:
            raise UnreadableVideo(f"{AGAIN}: its clock does not go on")
        self._span = self._find_span(start, end)
        self._wanted = start, end
        self.early, self.late, self.length = start - self._span.start, 0.0, 0.0

    def _find_span(self, start: float, end: float) -> Span:
        for margin in (JUMP_MARGIN, 8 * JUMP_MARGIN, None):
            with open_video(self._path, threads=1) as (container, stream):
                begin = None
                for packet in self._packets(container, stream, None if margin is None else start - margin):
                    time = time_of(packet, stream)
                    if time is None or not packet.is_keyframe:
                        continue
                    if time <= start + EXACT:
                        begin = time if _stands_alone(packet, stream) else begin
                    elif begin is not None and time >= end - EXACT:
                        return Span(begin, time)
                    elif begin is None and margin is not None:
                        break
                if begin is not None:
                    return Span(begin, None)
        with open_video(self._path, threads=1) as (container, stream):  # the picture begins after the start
            times = (time_of(one, stream) for one in self._packets(container, stream, None) if one.is_keyframe)
            begin = next((time for time in times if time is not None), None)
            if begin is None:
                raise UnreadableVideo("has no keyframe from which it could be copied")
            return Span(begin, next((time for time in times if time is not None and time >= end - EXACT), None))

    def _packets(
        self, container: InputContainer, stream: VideoStream, start: float | None
    ) -> Iterator[Packet[VideoStream]]:
        """Yields the packets of video on the clock of moments, from before `start` on, or from the first one on."""
        if start is not None and start > 0:
            seek(container, stream, self._clock.start + start)
        return Timeline(container, stream, self._clock.start).place(read_packets(container, stream))

    def write(self, part: Path, kind: Kind, tags: dict[str, str]) -> Iterator[float]:
        """Writes the copy, and yields how many seconds of it are done."""
        with ExitStack() as stack:
            source, video = stack.enter_context(open_video(self._path, threads=1))
            other, unused = stack.enter_context(open_video(self._path, threads=1))
            audio = best_sound(other)
            options = {"movflags": "+faststart+use_metadata_tags"} if kind.container in ("mp4", "mov") else {}
            target = stack.enter_context(av.open(str(part), "w", format=kind.container, container_options=options))
            target.metadata.update(tags)
            try:
                streams: list[Any] = [target.add_stream_from_template(video, opaque=True)]
                if audio:
                    streams.append(target.add_stream_from_template(audio, opaque=True))
            except ValueError as error:  # a codec that the container does not take
                raise UnreadableVideo(f"{AGAIN}: {error}") from error
            if _holds(kind, video):
                streams[0].codec_context.codec_tag = video.codec_context.codec_tag
            pictures = ((time, 0, packet) for time, packet in self._pictures(source, video))
            sounds: Iterator[Any] = iter(())
            if audio:
                unused.discard, audio.discard = Discard.all, Discard.default
                sounds = ((time, 1, packet) for time, packet in self._sounds(other, audio))
            for _, number, packet in merge(pictures, sounds, key=lambda one: one[:2]):
                packet.stream = streams[number]
                target.mux(packet)
                yield self.length
        self.late = self._span.start + self.length - self._wanted[1]

    def _pictures(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[float, Packet[VideoStream]]]:
        """Yields the packets of the span in the order of decoding, each with the time of that; time 0 is the start."""
        base, is_in = stream.time_base, False
        assert base is not None
        zero, usual = round(self._span.start / base), round(1 / frame_rate(stream) / base)
        for packet in self._packets(container, stream, self._span.start - JUMP_MARGIN):
            time = time_of(packet, stream)
            if time is None:
                continue
            if packet.is_keyframe and abs(time - self._span.start) < EXACT / 10:
                is_in = True
            if packet.is_keyframe and self._span.end is not None and time > self._span.end - EXACT / 10:
                return
            if not is_in or time < self._span.start - EXACT / 10:  # as frames after a keyframe that need ones before it
                continue
            if packet.pts is None:
                if stream.codec_context.has_b_frames:
                    raise UnreadableVideo(f"{AGAIN}: its frames have no times")
                packet.pts = packet.dts
            assert packet.pts is not None
            packet.pts -= zero
            packet.dts = None if packet.dts is None else packet.dts - zero
            self.length = max(self.length, float((packet.pts + (packet.duration or usual)) * base))
            yield float((packet.dts if packet.dts is not None else packet.pts) * base), packet

    def _sounds(self, container: InputContainer, stream: AudioStream) -> Iterator[tuple[float, Packet[AudioStream]]]:
        """Yields the packets of sound that begin in the span."""
        base = stream.time_base
        assert base is not None
        zero = sound_zero(container, stream, self._clock) + self._span.start
        if self._span.start > JUMP_MARGIN:
            seek(container, stream, zero - JUMP_MARGIN)  # type: ignore[arg-type]
        end = float("inf") if self._span.end is None else self._span.end - self._span.start
        packets: Iterator[Any] = read_packets(container, stream)  # type: ignore[arg-type]
        timed = (packet for packet in packets if packet.pts is not None)
        for packet in takewhile(lambda one: float(one.pts * base) - zero < end, timed):
            begin = float(packet.pts * base) - zero
            if begin > -EXACT:
                packet.pts = packet.dts = max(0, round(begin / base))
                yield begin, packet


def _holds(kind: Kind, stream: VideoStream) -> bool:
    """Whether the name of a codec means the same in the container of a copy as where it comes from."""
    return kind.container in ("mp4", "mov") and "mov" in stream.container.format.name.split(",")


def _stands_alone(keyframe: Packet[VideoStream], stream: VideoStream) -> bool:
    """Whether a keyframe shows a whole picture by itself: with gradual refresh it does not."""
    if stream.codec_context.codec.canonical_name != "h264" or is_closed(keyframe, stream):
        return True
    decoder: Any = CodecContext.create("h264", "r")
    decoder.extradata = stream.codec_context.extradata
    try:
        frames = [*decoder.decode(keyframe), *decoder.decode(None)]
    except av.error.FFmpegError:
        return False
    return bool(frames) and frames[0].pict_type == INTRA
