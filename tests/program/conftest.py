"""Films, and a home in which they are indexed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.program import run_here
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
    """A home whose index holds the films."""
    home = tmp_path_factory.mktemp("home")
    run_here(home, "index", films, "--model", "tiny", "--device", "cpu")
    return home


@pytest.fixture
def indexed(run: Run, indexed_home: Path, tmp_path: Path) -> Path:
    """The program's home, with the films indexed."""
    return Path(shutil.copytree(indexed_home, tmp_path / "home"))
