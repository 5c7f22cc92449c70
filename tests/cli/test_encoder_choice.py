"""Indexes of different encoders side by side, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.small_adapters import save_adapter
from vidfind.demo.collection import draw_collection
from vidfind.system.paths import adapter_path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("films")
    draw_collection(folder, 4, seed=3)
    return folder


def test_indexes_of_different_encoders_live_side_by_side(run: Run, films: Path) -> None:
    save_adapter(adapter_path("sentence"), "frozen")
    for name in ("tome", "centerclip-spectral"):
        assert run("index", films, "--model", "tiny", "--encoder", name, "--index", name).code == 0
    ran = run("index", films, "--adapter", "sentence", "--index", "tfvl")
    assert ran.code == 0, ran.err
    for name in ("tome", "centerclip-spectral", "tfvl"):
        assert f"Encoder   {name}" in run("status", "--index", name).out
        found = [json.loads(line) for line in run("search", "a red circle", "--json", "--index", name).out.splitlines()]
        assert len(found) == 4
        assert "4 unchanged" in run("index", films, "--index", name).out
        ran = run("index", films, "--index", name, "--encoder", "mean")
        assert ran.code == 1 and f"made with encoder {name}, not mean" in ran.err


def test_what_knows_nothing_before_it_is_trained_is_refused_without_an_adapter(run: Run, films: Path) -> None:
    ran = run("index", films, "--model", "tiny", "--encoder", "tfvl")
    assert ran.code == 1 and "none is saved for tiny" in ran.err
    assert ran.err.endswith("vidfind finetune --pairs FILE --encoder tfvl --model tiny\n")
    save_adapter(adapter_path("sentence"), "frozen")
    ran = run("index", films, "--model", "tiny", "--encoder", "tfvl")
    assert ran.code == 1 and "saved for tiny: sentence" in ran.err
    assert run("index", films, "--adapter", "sentence").code == 0
    ran = run("index", "--adapter", "none")
    assert ran.code == 1 and "knows nothing before it is trained" in ran.err


def test_an_adapter_is_refused_by_another_encoder(run: Run, films: Path) -> None:
    save_adapter(adapter_path("sentence"), "frozen")
    ran = run("index", films, "--model", "tiny", "--encoder", "tome", "--adapter", "sentence")
    assert ran.code == 1 and "was trained with encoder tfvl, not tome" in ran.err


def test_the_way_to_a_missing_adapter_is_told_before_one_to_delete_the_index(run: Run, films: Path) -> None:
    assert run("index", films, "--model", "tiny").code == 0
    ran = run("index", films, "--encoder", "tfvl")
    assert ran.code == 1 and "knows nothing before it is trained" in ran.err and "remove --all" not in ran.err
    ran = run("index", films, "--encoder", "tome")
    assert ran.code == 1 and "made with encoder tempme, not tome" in ran.err


def test_an_adapter_of_another_encoder_is_no_default(run: Run, films: Path, tmp_path: Path) -> None:
    paths = sorted(films.glob("*.mp4"))
    lines = [f"{path},clip {number} {word}" for number, path in enumerate(paths) for word in ("one", "two", "three")]
    captions = tmp_path / "captions.csv"
    captions.write_text("\n".join(["path,caption", *lines]))
    ran = run("finetune", "--pairs", captions, "--model", "tiny", "--encoder", "tome", "--name", "tome")
    assert ran.code == 1 and "tome is the name of an encoder" in ran.err
    options = ["--pairs", captions, "--model", "tiny", "--epochs", 1, "--val", 0.3, "--lr", 1e-9]
    ran = run("finetune", *options, "--encoder", "tome", "--name", "trial")
    assert ran.code == 0, ran.err
    assert "New indexes do not use it by themselves." in ran.err
    assert ran.err.endswith("\nTo use it: vidfind index FOLDER --adapter trial\n")
    ran = run("index", films, "--model", "tiny")
    assert "adapter" not in ran.err
    assert "Encoder   tempme, 12" in run("status").out
    ran = run("finetune", *options, "--encoder", "tome", "--name", "other")
    assert "vidfind index FOLDER --adapter other --index NAME, as the index 'default' is of tempme" in ran.err
