"""The built-in model: it is small, and it knows its world."""

from pathlib import Path

import pytest

from vidfind.demo.tiny.exam import JUDGE_SEED, Marks, judge, read_videos, write_exam
from vidfind.models.catalog import TINY, TINY_FOLDER
from vidfind.models.load import load_encoder


def test_the_whole_model_is_at_most_12_mb() -> None:
    assert sum(file.stat().st_size for file in TINY_FOLDER.iterdir() if file.is_file()) <= 12_000_000


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Marks]:
    """Both encoders judged on 60 short videos: too few for the table of README.md, enough to see that all works."""
    folder: Path = tmp_path_factory.mktemp("exam")
    encoders = {name: load_encoder(TINY, encoder=name, device="cpu") for name in ("tempme", "mean")}
    paths, scenes = write_exam(folder, count=60, seed=JUDGE_SEED + 1, seconds=(1.0, 1.5))
    clips = read_videos(paths, encoders["tempme"].image_size)
    return {name: judge(encoder, clips, scenes) for name, encoder in encoders.items()}


def test_tempme_finds_files_by_their_captions(marks: dict[str, Marks]) -> None:
    assert marks["tempme"].recall_1 >= 80
    assert marks["tempme"].recall_5 >= 95


def test_only_tempme_sees_directions(marks: dict[str, Marks]) -> None:
    for pair, told_apart in marks["tempme"].told_apart.items():
        assert told_apart >= 80, pair
        assert marks["mean"].told_apart[pair] <= 75, pair
