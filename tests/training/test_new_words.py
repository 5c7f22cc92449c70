"""A word the model has never seen, for a look it has never seen: from captions in a file to a search that finds it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.support.owner_words import ZORP, Captioned, make, write, write_csv
from tests.support.ran import Run
from vidfind.demo import world as demo
from vidfind.demo.world import Scene

MOTIONS = ("left", "right", "up", "down", "bounces", "still")


def big(rng: Random, motion: str, kind: str | None = None) -> Scene:
    """A big shape: of a small one, no more than a few pixels reach the model."""
    return Scene((demo.random_shape(rng, kind, size="big", motion=motion),), demo.random_background(rng))


def share_found(run: Run, zorps: Sequence[Captioned]) -> float:
    """Of the zorps, how many a search for their captions finds first, each in a folder of ten that move alike."""
    found = 0
    for zorp in zorps:
        ran = run("search", zorp.caption, "--in", zorp.path.parent, "-n", 1, "--json")
        assert ran.code == 0, ran.err
        found += json.loads(ran.out)["path"] == str(zorp.path)
    return found / len(zorps)


@pytest.mark.soak  # it draws and indexes 240 videos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("renderer", ["drawn", "sketched"])
def test_forty_captions_teach_a_new_word_and_no_video_is_encoded_again(run: Run, tmp_path: Path, renderer: str) -> None:
    rng, films = Random(1), tmp_path / "films"
    motions = [rng.choice(MOTIONS) for _ in range(20)]
    shown = [make(big(rng, motion, ZORP.kind), rng, ZORP) for motion in motions]
    others = [make(big(rng, motion), rng) for motion in motions]
    write_csv(tmp_path / "captions.csv", write(films / "captioned", [*shown, *others], renderer))
    zorps = []
    for group, motion in enumerate(motions):
        drawn = [make(big(rng, motion, ZORP.kind), rng, ZORP), *(make(big(rng, motion), rng) for _ in range(9))]
        zorps.append(write(films / str(group), drawn, renderer)[0])
    assert run("index", films, "--model", "tiny").code == 0
    assert share_found(run, zorps) <= 0.25  # chance is 0.1

    ran = run("finetune", "--pairs", tmp_path / "captions.csv", "--text-only", "--use")
    assert ran.code == 0, ran.err
    assert "zorp began as" in ran.out
    assert share_found(run, zorps) >= 0.75
