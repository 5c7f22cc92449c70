"""How a video is cut into segments, and where their frames lie."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vidfind.media.sampling import Segment, add_between, sample_times, split_segments


@pytest.mark.parametrize(
    ("duration", "ends"),
    [
        (0.04, [0.04]),
        (4.9, [4.9]),
        (10, [10]),
        (14.9, [14.9]),
        (15, [10, 15]),
        (24.9, [10, 24.9]),
        (25.1, [10, 20, 25.1]),
        (30, [10, 20, 30]),
    ],
)
def test_the_last_stretch_joins_the_segment_before_when_shorter_than_half(duration: float, ends: list[float]) -> None:
    segments = split_segments(duration, 10)
    assert [segment.end for segment in segments] == ends


def test_segments_cover_the_video_without_gaps() -> None:
    rng = np.random.default_rng(0)
    for duration, length in zip(rng.uniform(0.01, 500, 200), rng.uniform(0.5, 60, 200), strict=True):
        segments = split_segments(duration, length)
        assert segments[0].start == 0
        assert segments[-1].end == duration
        for one, next_one in pairwise(segments):
            assert one.end == next_one.start
            assert one.end - one.start == pytest.approx(length)
        last = segments[-1].end - segments[-1].start
        assert 0 < last < 1.5 * length + 1e-9
        assert len(segments) == 1 or last >= 0.5 * length - 1e-9


def test_segments_between_others_have_sample_times_of_these() -> None:
    rng = np.random.default_rng(1)
    for duration, length in zip(rng.uniform(0.01, 500, 200), rng.uniform(0.5, 60, 200), strict=True):
        plain = split_segments(duration, length, start=1.5 - duration / 2)
        segments = add_between(plain)
        assert segments[::2] == plain
        for (one, other), between in zip(pairwise(plain), segments[1::2], strict=True):
            assert one.start < between.start < one.end == other.start < between.end < other.end
            joined = [*sample_times(one, 12)[6:], *sample_times(other, 12)[:6]]
            if other is not plain[-1]:  # which may be longer or shorter
                assert sample_times(between, 12) == pytest.approx(joined)


@pytest.mark.parametrize(("duration", "length"), [(0, 10), (-1, 10), (10, 0)])
def test_segments_of_nothing_are_a_mistake(duration: float, length: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        split_segments(duration, length)


def test_samples_lie_in_the_middle_of_equal_parts() -> None:
    assert sample_times(Segment(10, 20), 4) == [11.25, 13.75, 16.25, 18.75]
