"""Films, and a home in which they are indexed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.program import program
from tests.support.ran import Run
from vidfind.demo.collection import draw_collection


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four drawn videos, one in a folder within; nobody may write to it."""
    folder = tmp_path_factory.mktemp("films")
    drawn = draw_collection(folder, 4)
    (folder / "inner").mkdir()
    drawn[3][0].rename(folder / "inner" / drawn[3][0].name)
    return folder


@pytest.fixture(scope="session")
def indexed_home(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose index holds the films: made once, because starting the program costs seconds."""
    home = tmp_path_factory.mktemp("home")
    process = program("index", films, "--model", "tiny", "--device", "cpu", home=home)
    out, err = process.communicate()
    assert process.returncode == 0, err  # on a busy machine, where this takes half a minute, it reports progress
    assert out.startswith("4 new: 0:")
    return home


@pytest.fixture
def indexed(run: Run, indexed_home: Path, tmp_path: Path) -> Path:
    """The program's home, with the films indexed."""
    return Path(shutil.copytree(indexed_home, tmp_path / "home"))
