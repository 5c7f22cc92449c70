"""Clips are decoded once, into a file that is bounded and leaves nothing behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from vidfind.errors import UnreadableVideo
from vidfind.media.probe import probe
from vidfind.media.read import read_clips
from vidfind.media.sampling import Segment
from vidfind.system.worker import _idle as idle_workers
from vidfind.training.clips import ClipCache


@pytest.fixture
def segments(clips: Path) -> list[tuple[Path, Segment]]:
    """Three segments of two videos, in no order."""
    one, other = clips / "h264.mp4", clips / "vp9.webm"
    return [(one, Segment(1.0, 2.0)), (other, Segment(0.0, probe(other).duration)), (one, Segment(0.0, 1.5))]


def decoded(path: Path, segment: Segment) -> np.ndarray:
    return next(read_clips(path, [segment], 4, 32)).frames


@pytest.mark.parametrize("max_bytes", [10**9, 4 * 32 * 32 * 3 * 2, 0], ids=["all kept", "two kept", "none kept"])
def test_what_comes_back_is_what_was_decoded(segments: list[tuple[Path, Segment]], max_bytes: int) -> None:
    with ClipCache(segments, num_frames=4, view=32, max_bytes=max_bytes) as cache:
        assert sorted(cache.fill()) == [(0, ""), (1, ""), (2, "")]
        assert cache.kept == min(3, max_bytes // cache.clip_bytes)
        for number, segment in enumerate(segments):
            assert np.array_equal(cache[number], decoded(*segment))


def test_what_is_kept_is_not_decoded_again(segments: list[tuple[Path, Segment]], tmp_path: Path) -> None:
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(segments[0][0].read_bytes())
    with ClipCache([(moved, segments[0][1])], num_frames=4, view=32) as cache:
        list(cache.fill())
        moved.unlink()
        assert np.array_equal(cache[0], decoded(*segments[0]))


def test_the_same_processes_decode_all_clips(segments: list[tuple[Path, Segment]]) -> None:
    def processes() -> set[int | None]:
        return {worker.pid for worker in idle_workers}

    with ClipCache(segments, num_frames=4, view=32) as cache:
        list(cache.fill())
        before = processes()
        list(cache.fill())
    assert before == processes() != {None}


def test_nothing_is_left_on_the_disk(
    segments: list[tuple[Path, Segment]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ClipCache(segments, num_frames=4, view=32) as cache:
        list(cache.fill())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_decoded_is_told_and_the_rest_is_there(
    segments: list[tuple[Path, Segment]], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with ClipCache([segments[0], (broken, Segment(0, 1)), (tmp_path / "none.mp4", Segment(0, 1))], 4, 32) as cache:
        reasons = dict(cache.fill())
        assert reasons[0] == "" and reasons[1] and reasons[2]
        assert np.array_equal(cache[0], decoded(*segments[0]))
    with (
        ClipCache([(broken, Segment(0, 1))], 4, 32, max_bytes=0) as uncached,
        pytest.raises(UnreadableVideo),
    ):
        uncached[0]
