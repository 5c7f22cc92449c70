"""Indexes of different encoders side by side, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran
from small_adapters import save_adapter

from vidfind.demo import draw_collection
from vidfind.paths import adapter_path

Run = Callable[..., Ran]


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
    assert ran.code == 1 and "there is none yet" in ran.err
    assert "vidfind finetune --pairs FILE --encoder tfvl" in ran.err
    save_adapter(adapter_path("sentence"), "frozen")
    ran = run("index", films, "--model", "tiny", "--encoder", "tfvl")
    assert ran.code == 1 and "there is: sentence" in ran.err
    assert run("index", films, "--adapter", "sentence").code == 0
    ran = run("index", "--adapter", "none")
    assert ran.code == 1 and "knows nothing before it is trained" in ran.err


def test_an_adapter_is_refused_by_another_encoder(run: Run, films: Path) -> None:
    save_adapter(adapter_path("sentence"), "frozen")
    ran = run("index", films, "--model", "tiny", "--encoder", "tome", "--adapter", "sentence")
    assert ran.code == 1 and "was trained with encoder tfvl, not tome" in ran.err
