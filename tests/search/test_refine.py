"""Where a moment begins and ends, by a second look at its file."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy as np
import pytest

from vidfind.demo.drawing import draw
from vidfind.demo.world import Scene, random_background, random_shape
from vidfind.encoders.encoder import Encoder
from vidfind.media.sampling import Segment
from vidfind.media.write import write_video
from vidfind.search.moments import Moment
from vidfind.search.refine import cells_around, half_height, refine_moment

DAY = datetime(2024, 5, 17, tzinfo=UTC)


def clips_of(scores: list[float]) -> list[Segment]:
    """Clips of 2 seconds, one each second: their middles are at 1, 2, 3, ..."""
    return [Segment(float(number), number + 2.0) for number in range(len(scores))]


@pytest.mark.parametrize(
    ("scores", "start", "end"),
    [
        ([0, 0, 0, 1, 1, 1, 0, 0, 0], 3.5, 6.5),
        ([0, 0, 0.5, 1, 0.5, 0, 0, 0], 3, 5),
        ([0, 0, 0.25, 1, 0.75, 0, 0, 0, 0], 3 + 1 / 3, 5 + 1 / 3),
        ([1, 1, 0, 0, 0, 0], 0, 2.5),
        ([0, 0, 0, 0.9, 1, 0.9], 3.5 + 1 / 18, 7),
        ([0.5, 0.5, 0.5], 0, 4),
    ],
)
def test_a_moment_ends_where_the_scores_fall_to_half_their_height(
    scores: list[float], start: float, end: float
) -> None:
    found = half_height(clips_of(scores), np.array(scores))
    assert found == pytest.approx((start, end), abs=0.01)


def test_a_moment_is_looked_for_around_its_segments_and_within_the_video() -> None:
    moment = Moment(1, 0.5, Path("/v/a.mp4"), 10, 20, 24, DAY)
    cells = cells_around(moment, 10)
    assert (cells[0].start, cells[-1].end) == (0, 24)
    assert all(cell.end - cell.start == pytest.approx(1.25, abs=0.7) for cell in cells)


def test_the_event_beside_the_segment_that_was_found_is_found(tiny_encoder: Encoder, tmp_path: Path) -> None:
    rng = Random(1)
    film, rate = tmp_path / "film.mp4", 8
    scenes = [("circle", "red"), ("star", "blue"), ("square", "yellow")]
    frames = [
        draw(scene_of(rng, *scene), length * rate, 96, 128) for scene, length in zip(scenes, (11, 4, 5), strict=True)
    ]
    write_video(film, np.concatenate(frames), rate)
    query = tiny_encoder.encode_text(["a big blue star stays still"])[0].numpy()
    coarse = Moment(1, 0.5, film, 0, 10, 20, DAY)
    fine = refine_moment(tiny_encoder, query, coarse, 10)
    assert (fine.start, fine.end) == pytest.approx((11, 15), abs=0.7)
    away = dataclasses.replace(coarse, path=tmp_path / "gone.mp4", online=False)
    assert refine_moment(tiny_encoder, query, away, 10) == away
    film.write_bytes(b"no video any more")
    assert refine_moment(tiny_encoder, query, coarse, 10) == coarse


def scene_of(rng: Random, kind: str, colour: str) -> Scene:
    return Scene((random_shape(rng, kind, colour, "big", "still"),), random_background(rng))
