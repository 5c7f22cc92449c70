"""Which frames represent a video: its segments, the sample times of each, and the keyframes near them.

All times are seconds on the clock that players show. Pure functions: no files, no decoders, no heavy imports.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

Sampling = Literal["auto", "exact", "keyframes"]
"""`exact`: the frames shown at the sample times. `auto`: a keyframe instead, if one is shown in the same part of the
segment. `keyframes`: only keyframes, however far from the sample times."""
DEFAULT_SAMPLING: Sampling = "auto"
SEGMENT_LENGTH = 10.0  # seconds, by default
TICK = 1e-6  # seconds; times closer than this are equal: far below the length of a frame, far above rounding
MISSING = 0.5  # seconds; this much may be missing at the end: last frames may be shown longer than their packets say


@dataclass(frozen=True)
class Segment:
    """A part of a video, from `start` up to `end`, in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class View:
    """The picture of a frame that a model sees: S by S pixels of the middle, or all of the frame, squashed."""

    size: int
    """S."""
    is_squashed: bool = False
    """Whether the whole frame becomes a square; otherwise its short side is scaled to S, and its middle is cut out."""
    is_bilinear: bool = False
    """Whether pixels are interpolated linearly, and not by cubic curves."""

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that a frame of this width and height is scaled to, before the middle is cut out."""
        if self.is_squashed:
            return self.size, self.size
        short = min(width, height)
        return max(self.size, round(width * self.size / short)), max(self.size, round(height * self.size / short))


def as_view(view: View | int) -> View:
    """The view; a number alone is the size of one that is cropped and cubic, as most models want it."""
    return View(view) if isinstance(view, int) else view


class Sample(NamedTuple):
    """The frames that represent one segment, in the order of their times."""

    frames: np.ndarray  # (T, S, S, 3) uint8 RGB
    times: np.ndarray  # (T,) float64: when each frame begins to be shown, in seconds


def split_segments(end: float, length: float, start: float = 0.0) -> list[Segment]:
    """Segments of `length` seconds that cover a video from its `start` to its `end` without gaps; at least one.

    A rest shorter than half a segment joins the segment before it.
    """
    duration = end - start
    if duration <= 0 or length <= 0:
        raise ValueError("duration and length must be positive")
    count = max(1, int(duration / length + 0.5))
    bounds = [start + i * length for i in range(count)] + [end]
    return [Segment(start, end) for start, end in pairwise(bounds)]


def add_between(segments: Sequence[Segment]) -> list[Segment]:
    """Segments with one more between each two of them, from the middle of the one to the middle of the other.

    All are in the order of their starts. The one between two of equal length has sample times of these, if their number
    is even."""
    middles = [(segment.start + segment.end) / 2 for segment in segments]
    between = [Segment(one, other) for one, other in pairwise(middles)]
    return sorted([*segments, *between], key=lambda segment: segment.start)


def sample_times(segment: Segment, num_frames: int) -> list[float]:
    """Returns the middle of each of `num_frames` equal parts of a segment, in seconds."""
    step = (segment.end - segment.start) / num_frames
    return [segment.start + (i + 0.5) * step for i in range(num_frames)]


def part_around(time: float, segment: Segment, num_frames: int) -> Segment:
    """Returns the part with `time` in its middle, when a segment is cut into `num_frames` equal parts."""
    half = (segment.end - segment.start) / num_frames / 2
    return Segment(time - half, time + half)


def nearest_within(part: Segment, time: float, keyframes: list[float]) -> float | None:
    """Returns the keyframe time nearest to `time` within `part`, which contains `time`; None if there is none."""
    inside = [one for one in keyframes if part.start - TICK <= one < part.end]
    return min(inside, key=lambda one: abs(one - time), default=None)
