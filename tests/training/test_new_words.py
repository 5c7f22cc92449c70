"""A word the model has never seen, for a look it has never seen: from captions in a file to a search that finds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.zorp import Captioned, write_csv, write_groups, write_training
from vidfind.demo.tiny.exam import JUDGE_SEED, judge, read_exam
from vidfind.models.load import load_encoder


def share_found(run: Run, zorps: list[Captioned]) -> float:
    """Of the zorps, how many a search for their captions finds first, each in a folder of ten that move alike."""
    found = 0
    for zorp in zorps:
        ran = run("search", zorp.caption, "--in", zorp.path.parent, "-n", 1, "--json")
        assert ran.code == 0, ran.err
        found += json.loads(ran.out)["path"] == str(zorp.path)
    return found / len(zorps)


@pytest.mark.soak  # it trains for minutes, and much longer beside other programs
@pytest.mark.timeout(1800)
def test_forty_captions_teach_a_new_word_and_the_old_ones_are_kept(run: Run, tmp_path: Path) -> None:
    films = tmp_path / "films"
    write_csv(tmp_path / "captions.csv", write_training(films / "captioned"))
    zorps = write_groups(films / "groups", 20)
    assert run("index", films, "--model", "tiny").code == 0
    assert share_found(run, zorps) <= 0.2  # chance is 0.1

    ran = run("finetune", "--pairs", tmp_path / "captions.csv", "--use")
    assert ran.code == 0, ran.err
    assert "Saved as home" in ran.err
    # Measured: 0.85 found, and 2.7 points fewer on the old world. Other CPUs round otherwise: the bounds leave room.
    assert share_found(run, zorps) >= 0.75

    exam = read_exam(tmp_path, 56, 300, JUDGE_SEED)
    before, after = (judge(load_encoder("tiny", adapter=name, device="cpu"), *exam) for name in (None, "home"))
    assert after.recall_1 >= before.recall_1 - 4
