"""The sound of a clip: the samples from a time on, without holes, encoded as AAC. Times are in seconds."""

from __future__ import annotations  # PyAV has Packet[AudioStream] for type checkers only

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from vidfind.media.clock import MAX_GAP, MAX_LEAP, MAX_STEP_BACK, Clock, Timeline
from vidfind.media.frames import open_video, read_packets
from vidfind.media.probe import examine_once

WARM_UP = 1.0  # seconds before the start from which sound is decoded: a decoder needs some packets until it is right
LONGEST_LEAD = 30.0  # seconds, by which sound may lie before or after its pictures in a file
JITTER = 0.005  # seconds by which sound may be off before samples are left out or silence is put in
RATES = {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000}
LAYOUTS = {"mono", "stereo", "3.0", "4.0", "5.0", "5.1"}  # PyAV 18 ends the process over frames of eight planes
COMMON_FORM = (48000, "stereo")
BIT_RATE = 96_000  # a channel, at rates of 44,100 and more
AAC_FRAME = 1024  # samples


class Sound:
    """The sound of a video from `start` on, on the clock of moments.

    `form` is the samples a second, and FFmpeg's name of the channels; None: those of the video, or no sound."""

    def __init__(self, path: Path, start: float, form: tuple[int, str] | None = None) -> None:
        self._path, self._start = path, start
        self._clock = examine_once(path)[1].clock
        with open_video(path, threads=1) as (container, _):
            stream = best_sound(container)
            self.is_there = stream is not None
            self.rate, self.layout = form or COMMON_FORM
            if stream is not None and form is None:
                self.rate = stream.rate if stream.rate in RATES else self.rate
                self.layout = _layout(stream)

    @property
    def form(self) -> tuple[int, str] | None:
        return (self.rate, self.layout) if self.is_there else None

    def samples(self) -> Iterator[np.ndarray]:
        """Yields blocks (C, N) of float32 that follow one another from `start` on, to the end of the sound."""
        done = 0  # samples yielded
        for time, block in self._decoded():
            place = round((time - self._start) * self.rate)
            off = place - done
            if done and abs(off) <= JITTER * self.rate:
                off = 0
            if off > 0:
                yield np.zeros((len(block), off), np.float32)
                done += off
            elif off < 0:
                block = block[:, -off:]
            if block.shape[1]:
                yield block
                done += block.shape[1]

    def _decoded(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yields when each block of sound is heard, and the block; those that end before `start` are left out."""
        can_jump = self._start > WARM_UP and not self._clock.is_joined
        for is_jump in (True, False) if can_jump else (False,):
            with open_video(self._path, threads=1) as (container, video):
                stream = best_sound(container)
                assert stream is not None
                stream.discard = Discard.default
                packets: Iterator[Packet[AudioStream]]
                if self._clock.is_joined:
                    packets, zero = _joined(container, video, stream, self._clock.start), 0.0
                else:
                    video.discard, zero = Discard.all, sound_zero(container, stream, self._clock)
                    if is_jump and not _seek(container, stream, zero + self._start - WARM_UP):
                        continue
                    packets = read_packets(container, stream)  # type: ignore[arg-type,assignment]
                is_late = is_jump
                for time, block in self._blocks(packets, stream, zero):
                    if is_late and time > self._start - WARM_UP / 4:
                        break  # the jump went too far: the sound is read from its beginning
                    is_late = False
                    if time + block.shape[1] / self.rate > self._start:
                        yield time, block
                else:
                    if not is_late:
                        return

    def _blocks(
        self, packets: Iterable[Packet[AudioStream]], stream: AudioStream, zero: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yields when each block of decoded packets is heard, on the clock of moments, and the block."""
        resampler, form, time = None, None, 0.0
        for packet in packets:
            try:
                frames: list[Any] = stream.decode(packet)
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is not None and frame.time_base:
                    time = float(frame.pts * frame.time_base) - zero
                now = (frame.format.name, frame.layout.name, frame.sample_rate)
                if now != form:  # broadcasts change it on the way
                    form, resampler = now, AudioResampler("fltp", self.layout, self.rate)
                assert resampler is not None
                frame.pts = None
                for one in resampler.resample(frame):
                    block = one.to_ndarray()
                    yield time, block
                    time += block.shape[1] / self.rate


def _joined(
    container: InputContainer, video: VideoStream, sound: AudioStream, start: float
) -> Iterator[Packet[AudioStream]]:
    """Yields the packets of sound on the clock of moments, where the clock of the file begins anew on the way.

    The clock of the sound does so once for each time that the clock of the pictures does, a little before or after."""
    waiting: deque[Any] = deque()

    def pictures() -> Iterator[Packet[VideoStream]]:
        for packet in read_packets(container, None):
            if packet.stream_index == video.index:
                yield packet
            elif packet.stream_index == sound.index and packet.pts is not None:
                waiting.append(packet)

    line, base = Timeline(container, video, start), sound.time_base
    assert base is not None
    starts, part, last = [start], 0, None
    for _ in chain(line.place(pictures()), [None]):  # None: what waits at the end
        if line.joins == len(starts):
            starts.append(line.start)
        while waiting:
            time = float(waiting[0].pts * base)
            if last is not None and not -MAX_STEP_BACK < time - last < MAX_LEAP:
                part, last = part + 1, None
            if part >= len(starts):
                break  # the pictures have not come so far
            packet, last = waiting.popleft(), time
            if abs(time - starts[part] - line.end) > LONGEST_LEAD:  # a part had no sound
                part = min(range(len(starts)), key=lambda one: abs(time - starts[one] - line.end))
            packet.pts = packet.dts = round((time - starts[part]) / base)
            yield packet


def _layout(stream: AudioStream) -> str:
    """Returns the channels for AAC: those of the sound, or what it can be mixed to."""
    if stream.layout.name in LAYOUTS:
        return stream.layout.name
    return "5.1" if stream.channels >= 6 else "mono" if stream.channels == 1 else "stereo"


def sound_zero(container: InputContainer, stream: AudioStream, clock: Clock) -> float:
    """Returns the time in the file at which the sound is that of time 0 of the clock of moments."""
    start = clock.start
    if container.format.name == "avi":  # there the clock makes up for a delay of the pictures alone
        start = (container.start_time or 0) / av.time_base
    begin = float((stream.start_time or 0) * (stream.time_base or 0))
    return begin if abs(begin - start) > MAX_GAP else start


def best_sound(container: InputContainer) -> AudioStream | None:
    """Returns the sound that players choose; None if there is none that can be decoded."""
    found = [one for one in container.streams.audio if one.codec_context is not None and one.rate]
    best: Any = container.streams.best("audio")
    return next((one for one in found if one is best), found[0] if found else None)


def _seek(container: InputContainer, stream: AudioStream, time: float) -> bool:
    try:
        container.seek(int(time / (stream.time_base or 1)), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


class SoundEncoder:
    """Encodes sounds one after another into a stream of a file, each as long as its pictures."""

    def __init__(self, container: OutputContainer, rate: int, layout: str) -> None:
        self.stream: Any = container.add_stream("aac", rate=rate, layout=layout)
        channels = self.stream.codec_context.channels
        self.stream.bit_rate = min(BIT_RATE * channels, 5 * rate * channels)
        self._rate, self._layout = rate, layout
        self._waiting = np.zeros((channels, 0), np.float32)
        self._done = 0  # samples encoded

    def encode(self, blocks: Iterator[np.ndarray], until: float) -> Iterator[Packet[AudioStream]]:
        """Yields the packets up to a time in the file; silence where the blocks of a sound have ended."""
        self._fill(blocks, until)
        while round(until * self._rate) - self._done >= AAC_FRAME:
            yield from self._next(AAC_FRAME)

    def cut(self, blocks: Iterator[np.ndarray], until: float) -> None:
        """Ends a sound at a time in the file."""
        self._fill(blocks, until)
        self._waiting = self._waiting[:, : round(until * self._rate) - self._done]

    def finish(self) -> Iterator[Packet[AudioStream]]:
        while length := min(self._waiting.shape[1], AAC_FRAME):
            yield from self._next(length)
        yield from self.stream.encode()

    def _fill(self, blocks: Iterator[np.ndarray], until: float) -> None:
        wanted = round(until * self._rate) - self._done
        parts, ready = [self._waiting], self._waiting.shape[1]
        while ready < wanted:
            block = next(blocks, None)
            if block is None:
                block = np.zeros((len(self._waiting), wanted - ready), np.float32)
            parts.append(block)
            ready += block.shape[1]
        self._waiting = np.concatenate(parts, axis=1)

    def _next(self, length: int) -> Iterator[Packet[AudioStream]]:
        data, self._waiting = self._waiting[:, :length], self._waiting[:, length:]
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(data), format="fltp", layout=self._layout)
        frame.sample_rate, frame.time_base, frame.pts = self._rate, Fraction(1, self._rate), self._done
        self._done += length
        yield from self.stream.encode(frame)
