"""Which frames of a video stand for it: its segments, the times wanted of each, and the keyframes near them.

All times are seconds of presentation time. Pure: knows nothing of files or decoders, and imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

Sampling = Literal["auto", "exact", "keyframes"]
"""`exact`: the frames shown at the times wanted. `auto`: a keyframe instead, where one is shown in the same part of the
segment. `keyframes`: nothing else, however far from the time wanted."""
DEFAULT_SAMPLING: Sampling = "auto"
SEGMENT_LENGTH = 10.0  # seconds, by default
TICK = 1e-6  # times closer than this are the same: far below any frame's length, far above rounding


@dataclass(frozen=True)
class Segment:
    """A stretch of a video, in seconds: from `start` up to `end`."""

    start: float
    end: float


class Sample(NamedTuple):
    """The frames of one segment that stand for all of it, in the order of their times."""

    frames: np.ndarray  # (T, S, S, 3) uint8 RGB
    times: np.ndarray  # (T,) float64: when each of them begins to be shown, in seconds


def split_segments(duration: float, length: float) -> list[Segment]:
    """Segments of `length` seconds that cover a video without gaps; at least one.

    A last stretch shorter than half a segment joins the segment before it.
    """
    if duration <= 0 or length <= 0:
        raise ValueError("duration and length must be positive")
    count = max(1, int(duration / length + 0.5))
    bounds = [i * length for i in range(count)] + [duration]
    return [Segment(start, end) for start, end in pairwise(bounds)]


def sample_times(segment: Segment, num_frames: int) -> list[float]:
    """The middle of each of `num_frames` equal parts of a segment."""
    step = (segment.end - segment.start) / num_frames
    return [segment.start + (i + 0.5) * step for i in range(num_frames)]


def part_around(time: float, segment: Segment, num_frames: int) -> Segment:
    """The one of `num_frames` equal parts of a segment that has `time` in its middle."""
    half = (segment.end - segment.start) / num_frames / 2
    return Segment(time - half, time + half)


def nearest_within(stretch: Segment, time: float, keyframes: list[float]) -> float | None:
    """Of the times of keyframes, the nearest to `time` within a stretch that has it inside; None if none is there."""
    inside = [one for one in keyframes if stretch.start - TICK <= one < stretch.end]
    return min(inside, key=lambda one: abs(one - time), default=None)
