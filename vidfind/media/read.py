"""One video file: what it is, its segments, and the frames of each segment.

All times are seconds of presentation time, and 0 is when the first decoded frame is shown. Knows nothing of models or
the index. Two readers deliver the same frames: decord, and a careful one over PyAV for the files decord gets wrong.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import chain, dropwhile, islice, pairwise
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.errors import ReaderFailed, UnreadableVideo
from vidfind.media.frames import (
    MAX_GAP,
    MAX_REORDER,
    check_regular,
    decode_frames,
    first_frame,
    frame_rate,
    open_video,
    picture,
    read_packets,
    scaled_size,
    seek,
    shown_size,
    time_of,
)
from vidfind.media.hdr import HDR_TO_LIGHT
from vidfind.media.keyframe_reader import read_by_keyframes
from vidfind.media.sampling import TICK, Sample, Sampling, Segment, sample_times

log = logging.getLogger(__name__)

SMALL_FILE = 16 * 2**20  # bytes that are read to the end without a thought, to learn the duration
JUMP_MARGIN = 5.0  # seconds before a goal: more than frames after a keyframe can be broken
MIN_JUMP = 15.0  # seconds ahead: nearer, reading on is as fast
OLDEST_RECORDING = datetime(1990, 1, 2, tzinfo=UTC)  # earlier dates are clocks never set: 1904, 1970, 1980


@dataclass(frozen=True)
class VideoInfo:
    """What a video is. `width` and `height` are those of the picture shown: turned, and with square pixels.

    `duration` reaches to the end of the last frame that is really in the file, whatever its header says; `missing` is
    how many seconds more the header promises, when they are more than one: the file was cut short.
    `rotation` is how many degrees counter-clockwise the stored picture is turned to be shown: 0, 90, 180 or 270.
    """

    duration: float
    frame_rate: Fraction
    width: int
    height: int
    codec: str
    rotation: int
    created: datetime | None
    missing: float = 0.0


def probe(path: Path) -> VideoInfo:
    """What the video is, from its header, its first frame and its last packets.

    Raises UnreadableVideo, with a reason for people, when no frame of the file can be decoded.
    """
    return _examine_once(path)[0]


def read_clips(
    path: Path,
    segments: Sequence[Segment],
    num_frames: int,
    size: int,
    sampling: Sampling = "exact",
    threads: int | None = None,
) -> Generator[Sample, None, float | None]:
    """A sample of each segment: T frames of (S, S, 3), spread evenly over it, or as `sampling` says.

    The short side of the picture is scaled to `size` and the middle is cut out. The segments must come in the order
    of their times. Holds one sample and a few decoded frames, however long the video. Ends early when the video ends,
    or cannot be decoded any further, before a segment begins. Returns until when it could be decoded, if that was not
    to the end of the last segment. Raises UnreadableVideo when there is no frame at all.
    """
    if any(later.start < earlier.start for earlier, later in pairwise(segments)):
        raise ValueError("segments must be in the order of their times")
    info, traits = _examine_once(path)
    reader = choose_reader(traits, sampling)
    delivered = 0
    if reader != "pyav":
        try:
            if reader == "decord":
                samples = read_with_decord(path, info, segments, num_frames, size, threads)
            else:
                samples = read_by_keyframes(path, traits.start, segments, num_frames, size, sampling, threads or 1)
            for sample in samples:
                yield sample
                delivered += 1
            return None
        except ReaderFailed as error:
            log.info("%s: reading it more carefully: %s", path, error)
    return (yield from read_with_pyav(path, segments[delivered:], num_frames, size, threads))


def read_picture(path: Path, size: int) -> np.ndarray:
    """The still image of a jpg, png or webp file: (S, S, 3) uint8, scaled and cut like a frame of a video.

    Raises UnreadableVideo.
    """
    try:
        with open_video(path) as (container, stream):
            return picture(first_frame(read_packets(container, stream), stream), stream, size)
    except UnreadableVideo as error:
        raise UnreadableVideo(f"cannot be read as a picture: it {error}".replace("a video", "a picture")) from error


def write_video(path: Path, frames: Iterable[np.ndarray], frame_rate: int, gop: int = 250) -> None:
    """Write frames, (H, W, 3) uint8 RGB of an even height and width, as an H.264 mp4 file; every `gop`th a keyframe."""
    with av.open(str(path), "w", format="mp4") as container:
        options = {"preset": "veryfast", "crf": "20", "g": str(gop)}
        stream = container.add_stream("libx264", rate=frame_rate, options=options)
        stream.pix_fmt = "yuv420p"
        for i, array in enumerate(frames):
            if i == 0:
                stream.height, stream.width = array.shape[:2]
            container.mux(stream.encode(VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())


# Which reader ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traits:
    """What decides which reader is right for a file."""

    container: str  # FFmpeg's names for it, such as "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str
    is_hdr: bool
    has_edits: bool  # some packets are to be decoded and not shown
    has_open_keyframes: bool  # frames after a keyframe need frames from before it
    is_cut_short: bool  # the file ends before its header says
    has_no_length: bool  # the header does not say; recorded to a pipe, or never finished
    start: float = 0.0  # when its first frame is shown, by the stream's clock


# Files of which keyframes are where they should be, and whose decoders can begin at any of them.
SURE_CONTAINERS = {"mov", "matroska", "mpegts", "flv"}
SURE_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4", "prores", "mjpeg", "flv1"}


def is_sure_of_keyframes(traits: Traits) -> bool:
    """Whether a file may be read by its keyframes alone; if not all is well with it, that reader itself gives up."""
    is_known = not SURE_CONTAINERS.isdisjoint(traits.container.split(",")) and traits.codec in SURE_CODECS
    return is_known and not traits.has_edits and not traits.is_cut_short


# decord is used where it was right for every clip of tests/clips, and PyAV for all else, because of what decord2 3.4
# did there. tests/clips/README.md has the results clip by clip.
DECORD_CONTAINERS = {"mov", "matroska", "flv", "gif"}  # TS: exceptions and hangs; AVI, MPEG-PS: no times; WMV: 24 off
DECORD_CODECS = {"h264", "vp8", "vp9", "av1", "prores", "mjpeg", "gif", "flv1"}  # MPEG-4: 2 off; HEVC: exceptions
NOT_FOR_DECORD: dict[str, Callable[[Traits], bool]] = {
    "container": lambda traits: DECORD_CONTAINERS.isdisjoint(traits.container.split(",")),
    "codec": lambda traits: traits.codec not in DECORD_CODECS,
    "HDR": lambda traits: traits.is_hdr,  # decord takes the brightness as it is: washed out
    "edit list": lambda traits: traits.has_edits,  # up to 15 frames off: shows what was cut away
    "open GOP": lambda traits: traits.has_open_keyframes,  # up to 5 frames off: counts from broken leading frames
    "cut short": lambda traits: traits.is_cut_short,  # exceptions, or the last frame over and over
    "no length": lambda traits: traits.has_no_length,  # exceptions
}


def choose_reader(traits: Traits, sampling: Sampling = "exact") -> Literal["keyframes", "decord", "pyav"]:
    """The reader that delivers the right frames of such a file; the quicker one where several do."""
    if sampling != "exact" and is_sure_of_keyframes(traits):
        return "keyframes"
    return "pyav" if any(is_wrong(traits) for is_wrong in NOT_FOR_DECORD.values()) else "decord"


def _examine_once(path: Path) -> tuple[VideoInfo, Traits]:
    """Probing and reading a file need the same facts: get them from the disk once, unless the file changes."""
    check_regular(path)
    status = os.stat(path)
    return _examine(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)  # a few more than there are decoding workers
def _examine(path: Path, size: int, mtime_ns: int) -> tuple[VideoInfo, Traits]:
    with open_video(path, threads=1, is_quick=True) as (container, stream):  # of one frame, threads would want more
        seen = _Seen()
        packets = _watch(read_packets(container, stream), stream, seen)
        frame = _first_shown(packets, stream)
        start = time_of(frame, stream) or 0.0
        rate = frame_rate(stream)
        claimed = _claimed_duration(container, stream)
        if claimed and size > SMALL_FILE and seek(container, stream, start + claimed - JUMP_MARGIN):
            packets = _watch(read_packets(container, stream), stream, seen)
        deque(packets, maxlen=0)
        if seen.end < start + claimed / 2:  # cut short, or the last packets were not where they should be
            deque(_watch(_packets_again(path), stream, seen), maxlen=0)
        duration = max(seen.end + (0 if seen.has_durations else float(1 / rate)) - start, float(1 / rate))
        missing = claimed - max(duration, seen.end)  # mkv counts from 0, whenever its video begins
        width, height = shown_size(frame, stream)
        info = VideoInfo(
            duration=duration,
            frame_rate=rate,
            width=width,
            height=height,
            codec=stream.codec_context.codec.canonical_name,
            rotation=frame.rotation % 360,
            created=_created(container, stream),
            missing=missing if missing > 1 else 0.0,
        )
        traits = Traits(
            container=container.format.name,
            codec=info.codec,
            is_hdr=frame.color_trc in HDR_TO_LIGHT,
            has_edits=seen.has_edits,
            has_open_keyframes=seen.has_open_keyframes,
            is_cut_short=info.missing > 0,
            has_no_length=not claimed,
            start=start,
        )
        return info, traits


def _first_shown(packets: Iterator[Packet[VideoStream]], stream: VideoStream) -> VideoFrame:
    """The frame shown first; where that must be the first keyframe, none after it is decoded."""
    head = list(islice(packets, MAX_REORDER + 1))
    first = head[0].pts if head and head[0].is_keyframe else None
    if first is not None and all(not one.is_discard and one.pts is not None and one.pts >= first for one in head):
        with suppress(av.error.FFmpegError):
            frames = [*stream.decode(head[0]), *stream.decode(None)]
            stream.codec_context.flush_buffers()
            if frames:
                return frames[0]
        stream.codec_context.flush_buffers()
    return first_frame(chain(head, packets), stream)


def _claimed_duration(container: InputContainer, stream: VideoStream) -> float:
    """Seconds, as the header says; 0 if it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _created(container: InputContainer, stream: VideoStream) -> datetime | None:
    """When the video was recorded, as its metadata says; None if that is missing or cannot be true."""
    text = container.metadata.get("creation_time") or stream.metadata.get("creation_time") or ""
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return None
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    is_sane = OLDEST_RECORDING < created < datetime.now(UTC) + timedelta(days=2)
    return created.astimezone(UTC) if is_sane else None


def _packets_again(path: Path) -> Iterator[Packet[VideoStream]]:
    with open_video(path) as (container, stream):
        yield from read_packets(container, stream)


@dataclass
class _Seen:
    """What the packets that went by tell of their video. `end` is by the stream's clock."""

    end: float = 0.0
    has_durations: bool = False
    has_edits: bool = False
    has_open_keyframes: bool = False


def _watch(packets: Iterable[Packet[VideoStream]], stream: VideoStream, seen: _Seen) -> Iterator[Packet[VideoStream]]:
    """The same packets; notes in `seen` what they tell."""
    last: float | None = None
    for packet in packets:
        time = time_of(packet, stream)
        if packet.is_discard:
            seen.has_edits = True
        elif time is not None and not packet.is_corrupt and (last is None or time - last < MAX_GAP):
            last = time
            length = float((packet.duration or 0) * (stream.time_base or 0))
            length = length if length < MAX_GAP else 0.0
            if time + length >= seen.end:
                seen.end, seen.has_durations = time + length, length > 0
        if packet.is_keyframe and not _is_closed(packet, stream):
            seen.has_open_keyframes = True
        yield packet


def _is_closed(keyframe: Packet[VideoStream], stream: VideoStream) -> bool:
    """Whether decoding can begin at a keyframe without harm to what is shown after it.

    In H.264 true only of IDR pictures; open GOPs and gradual refresh have others. Of codecs that decord does not read
    nobody needs to know, and the rest have no other keyframes.
    """
    if stream.codec_context.codec.canonical_name != "h264":
        return True
    return any(header & 31 == IDR for header in _unit_headers(keyframe, stream))


IDR = 5  # the kind of NAL unit


def _unit_headers(packet: Packet[VideoStream], stream: VideoStream) -> Iterator[int]:
    """The first byte of each NAL unit: after its length in mp4 and mkv, after a start code elsewhere."""
    data = bytes(packet)
    extra = stream.codec_context.extradata or b""
    if not extra.startswith(b"\x01"):
        yield from (data[at.end()] for at in re.finditer(b"\0\0\1(?=.)", data, re.DOTALL))
        return
    length_size = (extra[4] & 3) + 1
    at = 0
    while at + length_size < len(data):
        yield data[at + length_size]
        at += length_size + int.from_bytes(data[at : at + length_size], "big")


# The readers ---------------------------------------------------------------------------------------------------------


def read_with_decord(
    path: Path, info: VideoInfo, segments: Sequence[Segment], num_frames: int, size: int, threads: int | None = None
) -> Iterator[Sample]:
    """As read_clips, for the files decord is right for. Raises ReaderFailed."""
    from vidfind.media import decord_reader

    scaled = scaled_size(info.width, info.height, size)
    yield from decord_reader.read_samples(path, info.duration, scaled, segments, num_frames, size, threads)


def read_with_pyav(
    path: Path, segments: Sequence[Segment], num_frames: int, size: int, threads: int | None = None
) -> Generator[Sample, None, float | None]:
    """As read_clips, for any file: packet by packet, without those that cannot be decoded.

    The frame shown at a time is the last one that begins at it or before. Reads on from segment to segment, and jumps
    when the next one is far ahead.
    """
    for run in _runs(segments):
        with _frames_from(path, run[0].start, threads) as (frames, origin):
            for segment in run:
                clip, times = np.empty((num_frames, size, size, 3), np.uint8), np.empty(num_frames)
                for i, time in enumerate(sample_times(segment, num_frames)):
                    is_new = frames.advance(origin + time) or i == 0
                    clip[i] = picture(frames.frame, frames.stream, size) if is_new else clip[i - 1]
                    times[i] = frames.time - origin
                if frames.end <= origin + segment.start + TICK:
                    return frames.end - origin
                yield Sample(clip, times)
                if frames.upcoming is None and frames.end < origin + segment.end - TICK:
                    return frames.end - origin
    return None


class _Lookahead:
    """The frame shown now, and the one after it. Times are by the stream's clock.

    Raises UnreadableVideo when there is no frame.
    """

    def __init__(self, packets: Iterable[Packet[VideoStream]], stream: VideoStream) -> None:
        self.stream = stream
        self.frame_length = float(1 / frame_rate(stream))
        self.frames = self._timed(decode_frames(packets, stream))
        first = next(self.frames, None)
        if first is None:
            raise UnreadableVideo("is damaged: no frame of it can be decoded")
        self.frame, self.time = first
        self.upcoming = next(self.frames, None)

    def advance(self, time: float) -> bool:
        """Go on to the frame shown at `time`, or to the last one. Whether that is another frame than before."""
        before = self.frame
        while self.upcoming is not None and self.upcoming[1] <= time + TICK:
            self.frame, self.time = self.upcoming
            self.upcoming = next(self.frames, None)
        return self.frame is not before

    @property
    def end(self) -> float:
        """Until when the frame is shown."""
        if self.upcoming is not None:
            return self.upcoming[1]
        return self.time + max(float((self.frame.duration or 0) * (self.stream.time_base or 0)), self.frame_length)

    def _timed(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, float]]:
        time = -self.frame_length
        for frame in frames:
            known = time_of(frame, self.stream)
            time = time + self.frame_length if known is None else known
            yield frame, time


@contextmanager
def _frames_from(path: Path, start: float, threads: int | None = None) -> Iterator[tuple[_Lookahead, float]]:
    """The frames from some time before `start` on, and the time of the first of all by the stream's clock."""
    if start > MIN_JUMP:
        with open_video(path, threads) as (container, stream):
            origin = _Lookahead(read_packets(container, stream), stream).time
            frames = _jump(container, stream, origin + start)
            if frames is not None:
                yield frames, origin
                return
    with open_video(path, threads) as (container, stream):
        frames = _Lookahead(read_packets(container, stream), stream)
        yield frames, frames.time


def _jump(container: InputContainer, stream: VideoStream, time: float) -> _Lookahead | None:
    """The frames from a keyframe well before `time` on; None when the file does not lead there.

    Well before: the first frames after a keyframe may be broken (open GOP, gradual refresh) or their times unsure (TS).
    """
    for margin in (JUMP_MARGIN, 4 * JUMP_MARGIN):
        if not seek(container, stream, time - margin):
            return None
        packets = dropwhile(lambda packet: not packet.is_keyframe, read_packets(container, stream))
        keyframe = next(packets, None)
        begin = None if keyframe is None else time_of(keyframe, stream)
        if keyframe is not None and begin is not None and begin < time - JUMP_MARGIN / 2:
            try:
                return _Lookahead(chain([keyframe], packets), stream)
            except UnreadableVideo:
                return None
    return None


def _runs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """The segments in groups, parted where it pays to jump."""
    run: list[Segment] = []
    for segment in segments:
        if run and segment.start - run[-1].end > MIN_JUMP:
            yield run
            run = []
        run.append(segment)
    if run:
        yield run
