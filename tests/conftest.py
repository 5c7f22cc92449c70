from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.after_torch import RunAfterTorch
from tests.support.object_storage import STORAGES
from tests.support.ran import NewPlace, Ran, Run
from vidfind.system.imports import quicken_torch

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
    from vidfind.store.places.path import IndexPath, RemotePath
    from vidfind.store.store import Store

ON_BOTH = ("store", "search", "index")
"""The folders of tests whose indexes are on disk, and in object storage too."""

# Tests run two at a time: programs that all want every core slow one another down tenfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else clusters have the token of whoever runs the tests
quicken_torch()  # as the program does: what it leaves out, no test may miss


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test has printed, with names that are no text made harmless: workers hand on nothing but text."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real videos, one of each kind a few KB large, whose frames show their own numbers."""
    return Path(__file__).parent / "clips"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small real videos, each of its own colours: made once, copied for each test."""
    from tests.support.films import make_films

    return make_films(tmp_path_factory.mktemp("made"))


@pytest.fixture
def store(place: IndexPath) -> Store:
    """An empty index of 16 numbers a vector, named as by default: enough wherever vectors may be random."""
    from vidfind.encoders.names import EncoderIdentity
    from vidfind.store.settings import IndexSettings
    from vidfind.store.store import Store

    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    return Store.create(place, settings, dim=16)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the store, of searches and of runs are of an index on disk, and with `-m soak -k s3` (or `azure`, or
    `google`) of one in object storage too."""
    suite = metafunc.definition.path.relative_to(Path(__file__).parent).parts[0]
    if suite in ON_BOTH and "new_place" in metafunc.fixturenames and not [*metafunc.definition.iter_markers("on_disk")]:
        storages = ["disk", *(pytest.param(name, marks=pytest.mark.soak) for name in STORAGES)]
        metafunc.parametrize("new_place", storages, indirect=True, scope="module")


@pytest.fixture(scope="module")
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewPlace]:
    """Returns the place for an index: in the folder it is given, or in object storage."""
    storage = getattr(request, "param", "disk")
    if storage == "disk":
        yield lambda folder: folder / "indexes" / "default"
        return
    from tests.support import object_storage
    from vidfind.store.places import copies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "LOOK_EVERY", 0.0)  # a test may be faster than a second
        for name, value in request.getfixturevalue(f"{storage}_environment").items():
            patch.setenv(name, value)
        patch.setenv("VIDFIND_HOME", str(tmp_path_factory.mktemp("home")))
        yield lambda folder: object_storage.new_place(STORAGES[storage])


@pytest.fixture(scope="session")
def s3_environment(object_server: str) -> dict[str, str]:
    from tests.support.object_storage import environment

    return environment(object_server)


@pytest.fixture(scope="session")
def azure_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    from tests.support.object_storage import serving_azure

    with serving_azure(tmp_path_factory.mktemp("azure")) as variables:
        yield variables


@pytest.fixture(scope="session")
def google_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    from tests.support.object_storage import serving_google

    with serving_google(tmp_path_factory.mktemp("google")) as variables:
        yield variables


@pytest.fixture
def place(new_place: NewPlace, tmp_path: Path) -> IndexPath:
    """The place of an index of a test alone, which holds nothing yet."""
    return new_place(tmp_path)


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """The URL of a server of object storage on this machine, started once: that takes two seconds."""
    from tests.support.object_storage import serving

    with serving() as url:
        yield url


@pytest.fixture
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RemotePath:
    """A place in object storage for an index, which holds nothing yet: in S3, or what the test is parametrized with."""
    from tests.support.object_storage import new_place

    storage = getattr(request, "param", "s3")
    for name, value in request.getfixturevalue(f"{storage}_environment").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    return new_place(STORAGES[storage])


@pytest.fixture(scope="session")
def tiny_encoder() -> Encoder:
    """The built-in model with TempMe on the CPU, loaded once: real, and milliseconds a clip."""
    from vidfind.models.load import load_encoder

    return load_encoder("tiny", device="cpu")


@pytest.fixture(scope="session")
def after_torch() -> Iterator[RunAfterTorch]:
    """Runs code in a process in which nothing but PyTorch is imported."""
    from tests.support.after_torch import starting

    with starting() as run:
        yield run


@pytest.fixture(scope="module")
def measured_once() -> Iterator[None]:
    """What a clip costs is measured in one run, and not in five, which take as long as all else that a test does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidfind.encoders.costs.RUNS", 1)
        yield


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program with a home of its own, run inside this process: starting it anew costs seconds of imports."""
    from vidfind.cli.app import main
    from vidfind.display import console

    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # undone afterwards, whatever the program sets

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["vidfind", *map(str, arguments)])
        logging.getLogger("vidfind").setLevel(logging.NOTSET)  # what -v of another test has set
        console.messages.quiet = False  # and what -q has
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return run
