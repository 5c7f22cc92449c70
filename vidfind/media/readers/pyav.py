"""Reads the frames at given times with PyAV: slower than decord, and right for every file."""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, dropwhile
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.errors import UnreadableVideo
from vidfind.media.clock import Clock, Timeline
from vidfind.media.frames import (
    JUMP_MARGIN,
    UPRIGHT,
    Orientation,
    decode_frames,
    frame_rate,
    open_video,
    picture,
    read_packets,
    seek,
    time_of,
)
from vidfind.media.probe import examine_once, is_closed
from vidfind.media.sampling import TICK, Sample, Segment, View, as_view, sample_times

MIN_JUMP = 15.0  # seconds ahead; up to here reading on is as fast as a jump
MAX_HELD = 256 * 2**20  # bytes of packets between two keyframes


def read_with_pyav(
    path: Path,
    segments: Sequence[Segment],
    num_frames: int,
    view: View | int,
    threads: int | None = None,
    orientation: Orientation = UPRIGHT,
) -> Generator[Sample, None, float | None]:
    """Like `read_clips`, for any file: packet by packet, skipping packets that cannot be decoded.

    The frame shown at a time is the last one that begins at or before it. `orientation` is that of frames that do not
    say theirs. Reads on from segment to segment, and jumps if the next segment is far ahead.
    """
    view = as_view(view)
    for run in _runs(segments):
        with frames_from(path, run[0].start, threads) as frames:
            for segment in run:
                clip, times = np.empty((num_frames, view.size, view.size, 3), np.uint8), np.empty(num_frames)
                for i, time in enumerate(sample_times(segment, num_frames)):
                    is_new = frames.advance(time) or i == 0
                    clip[i] = picture(frames.frame, frames.stream, view, orientation) if is_new else clip[i - 1]
                    times[i] = frames.time
                if frames.end <= segment.start + TICK:
                    return frames.end
                yield Sample(clip, times)
                if frames.upcoming is None and frames.end < segment.end - TICK:
                    return frames.end
    return None


class Lookahead:
    """The current frame and the one after it. Times are seconds on the clock of moments.

    Raises UnreadableVideo if there is no frame.
    """

    def __init__(
        self, packets: Iterable[Packet[VideoStream]], stream: VideoStream, counted_from: float | None = None
    ) -> None:
        """`counted_from`: frames are counted from this time on, whatever times they have."""
        self.stream = stream
        self.frame_length = float(1 / frame_rate(stream))
        self.frames = self._timed(decode_frames(packets, stream), counted_from)
        first = next(self.frames, None)
        if first is None:
            raise UnreadableVideo("is damaged: no frame of it can be decoded")
        self.frame, self.time = first
        self.upcoming = next(self.frames, None)

    def advance(self, time: float) -> bool:
        """Moves to the frame shown at `time`, or to the last one; returns whether the frame changed."""
        before = self.frame
        while self.upcoming is not None and self.upcoming[1] <= time + TICK:
            self.frame, self.time = self.upcoming
            self.upcoming = next(self.frames, None)
        return self.frame is not before

    @property
    def end(self) -> float:
        """The time until which the current frame is shown."""
        if self.upcoming is not None:
            return self.upcoming[1]
        return self.time + max(float((self.frame.duration or 0) * (self.stream.time_base or 0)), self.frame_length)

    def _timed(self, frames: Iterable[VideoFrame], counted_from: float | None) -> Iterator[tuple[VideoFrame, float]]:
        time = (counted_from or 0.0) - self.frame_length
        for frame in frames:
            known = None if counted_from is not None else time_of(frame, self.stream)
            time = time + self.frame_length if known is None else known
            yield frame, time


@contextmanager
def frames_from(path: Path, start: float, threads: int | None = None) -> Iterator[Lookahead]:
    """Gives the frames from some time before `start`."""
    clock = examine_once(path)[1].clock
    if start > MIN_JUMP:
        with open_video(path, threads) as (container, stream):
            move = _skip if clock.is_joined or clock.is_counted else _jump
            frames = move(container, stream, clock, start)
            if frames is not None:
                yield frames
                return
    with open_video(path, threads) as (container, stream):
        packets = Timeline(container, stream, clock.start).place(read_packets(container, stream))
        yield Lookahead(packets, stream, 0.0 if clock.is_counted else None)


def _jump(container: InputContainer, stream: VideoStream, clock: Clock, time: float) -> Lookahead | None:
    """Returns the frames from a keyframe well before `time`; None if seeking does not lead there.

    Well before, because the first frames after a keyframe may be broken (open GOP, gradual refresh) or have wrong
    times (TS).
    """
    for margin in (JUMP_MARGIN, 4 * JUMP_MARGIN):
        if not seek(container, stream, clock.start + time - margin):
            return None
        timeline = Timeline(container, stream, clock.start)
        packets = dropwhile(_is_no_keyframe, timeline.place(read_packets(container, stream)))
        keyframe = next(packets, None)
        begin = None if keyframe is None else time_of(keyframe, stream)
        if keyframe is not None and begin is not None and begin < time - JUMP_MARGIN / 2:
            try:
                return Lookahead(chain([keyframe], packets), stream)
            except UnreadableVideo:
                return None
    return None


def _skip(container: InputContainer, stream: VideoStream, clock: Clock, time: float) -> Lookahead | None:
    """Returns the frames from a closed keyframe well before `time`, with the packets before it read but not decoded.

    None if there is no such keyframe. For files whose times do not lead to their places."""
    timeline = Timeline(container, stream, clock.start)
    held: list[Packet[VideoStream]] = []  # from the last such keyframe on
    held_bytes, begin, reached = 0, 0.0, 0.0
    packets = timeline.place(read_packets(container, stream))
    for packet in packets:
        if packet.is_keyframe and is_closed(packet, stream) and reached < time - JUMP_MARGIN / 2:
            held, held_bytes, begin = [], 0, reached
        reached = timeline.end
        held.append(packet)
        held_bytes += packet.size
        if reached >= time - JUMP_MARGIN / 2 or held_bytes > MAX_HELD:
            break
    if not begin:
        return None
    try:
        return Lookahead(chain(held, packets), stream, begin if clock.is_counted else None)
    except UnreadableVideo:
        return None


def _is_no_keyframe(packet: Packet[VideoStream]) -> bool:
    return not packet.is_keyframe


def _runs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Yields the segments in groups; between two groups a jump is worth its cost."""
    run: list[Segment] = []
    for segment in segments:
        if run and segment.start - run[-1].end > MIN_JUMP:
            yield run
            run = []
        run.append(segment)
    if run:
        yield run
