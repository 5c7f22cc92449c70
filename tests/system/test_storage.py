"""Disks that are full and folders that may not be written: one clear error, and everything as it was."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.ran import Run
from tests.support.rows import embed, make_row
from tests.support.small_adapters import save_adapter
from tests.support.stored import compact, on_disk, put, remove
from vidfind.errors import BadInput, StorageError
from vidfind.store import nearest
from vidfind.store.mending.health import check_index
from vidfind.store.settings import is_index
from vidfind.store.store import Store
from vidfind.store.tables import ADDED_COLUMNS
from vidfind.system.storage import atomic_write, lock, storage_errors, write_text

needs_posix = pytest.mark.skipif(os.name == "nt", reason="limits are set otherwise there")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device. Free some space"),
        (RuntimeError("lance error: No space left on device (os error 28), /root/x.rs:1:2"), "Free some space"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied. Change that, or set VIDFIND_HOME"),
        (ValueError("Read-only file system (os error 30)"), "Read-only file system"),
    ],
)
def test_what_the_system_does_not_allow_is_named_with_the_folder_and_the_remedy(error: Exception, said: str) -> None:
    with pytest.raises(StorageError, match=said) as raised, storage_errors(Path("/data/index")):
        raise error
    assert str(raised.value).startswith("/data/index cannot be used: ")
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [BadInput("wrong"), FileNotFoundError(errno.ENOENT, "not there"), KeyError("a")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, storage_errors(Path("/data")):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(("call", "missing"), [("os.link", "hard links"), ("fcntl.flock", "locks")])
@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
@needs_posix
def test_a_file_system_without_what_an_index_needs_is_named_before_a_model_is_loaded(
    run: Run, tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch, call: str, missing: str, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(call, refuse)  # as exFAT, SMB shares and FUSE do
    ran = run("index", made, "--model", "no such model")
    assert ran.code == 1
    said = " ".join(ran.err.split())
    assert f"is on a file system without {missing}, which an index needs. Set VIDFIND_HOME to a folder on" in said
    assert "Videos may lie anywhere." in said
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match=f"without {missing}"), storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    write_text(file, "old")
    with pytest.raises(StorageError), atomic_write(file) as part:
        part.write_text("half of the n")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("settings.json", "old")]


def test_a_lock_is_refused_at_once_while_another_process_has_it_and_free_when_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    program = (
        "import sys; from vidfind.system.storage import lock; file = open(sys.argv[1], 'ab'); lock(file.fileno())\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other, open(path, "ab") as file:
        assert other.stdout and other.stdout.readline() == "locked\n"
        with pytest.raises(BlockingIOError):
            lock(file.fileno())
        other.kill()
        other.wait()
        lock(file.fileno())


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    """No file can be written beyond so many bytes: like a full disk, at any place."""
    import resource

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@needs_posix
@pytest.mark.parametrize("step", [1000, pytest.param(250, marks=pytest.mark.soak)], ids=["few", "many"])
@pytest.mark.parametrize("what", ["put", "remove", "compact", "arrange", "arrange again", "migrate"])
def test_an_index_is_whole_wherever_in_a_file_the_disk_is_full(
    store: Store, what: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LanceDB does not always notice: some of these sizes cut off the end of a file that it then counts on."""
    for commit in range(3):
        rows = [make_row(f"/videos/{commit}-{i}.mp4") for i in range(4)]
        put(store, rows, [embed(row) for row in rows])
    if what.startswith("arrange"):
        monkeypatch.setattr(nearest, "INDEXED_ROWS", 2)
    if what == "arrange again":
        monkeypatch.setattr(nearest, "GROWTH", 1)
        compact(store)
        put(store, [row := make_row("/videos/last.mp4")], [embed(row)])
    if what == "migrate":
        store.tables.videos.drop_columns([*ADDED_COLUMNS])
    told = set()
    for size in range(200, 6200, step):
        path = on_disk(store).with_name(f"full-{size}")
        shutil.copytree(on_disk(store), path)
        full = Store.open(path)
        rows = [make_row(f"/videos/new-{i}.mp4") for i in range(9)]
        before, after = full.videos(), full.videos()
        if what == "put":
            after |= {row.path: row for row in rows}
        elif what == "remove":
            del after[Path("/videos/0-1.mp4")]
        try:
            with longest_file(size):
                if what == "put":
                    put(full, rows, [embed(row) for row in rows])
                elif what == "remove":
                    remove(full, [Path("/videos/0-1.mp4")])
                elif what in ("compact", "arrange", "arrange again"):
                    compact(full)
                else:
                    with full.writing():
                        pass
            told.add("done")
            assert Store.open(path).videos() == after
        except StorageError:
            told.add("full")
            assert full.videos() == before
        assert all("no video" in problem.text for problem in check_index(path))
        with full.writing() as writer:  # and now there is room
            writer.put(rows, [embed(row) for row in rows])
        assert Store.open(path).videos().keys() >= {row.path for row in rows}
    assert told == {"done", "full"}


# The program


@pytest.fixture
def filled(run: Run, clips: Path, tmp_path: Path) -> Path:
    """A home with an index of one video and an adapter, and a folder `films` of three beside it."""
    films = tmp_path / "films"
    films.mkdir()
    for name in ("h264.mp4", "vp9.webm", "gif.gif"):
        shutil.copy(clips / name, films)
    assert run("index", films / "gif.gif", "--model", "tiny").code == 0
    save_adapter(tmp_path / "home" / "adapters" / "home.safetensors")
    return tmp_path / "home"


def run_limited(limit: str, home: Path, *commands: list[object]) -> list[dict[str, Any]]:
    program = [sys.executable, str(Path(__file__).parents[1] / "support" / "limited.py"), limit]
    program += [shlex.join(map(str, command)) for command in commands]
    environment = {**os.environ, "VIDFIND_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # Python keeps what it could write of a module on a full disk
    ran = subprocess.run(program, capture_output=True, text=True, env=environment, check=True)
    assert "Traceback" not in ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@needs_posix
def test_a_full_disk_is_named_and_the_index_stays_as_it_was(filled: Path) -> None:
    path = filled / "indexes" / "default"
    before = Store.open(path).videos()
    films = filled.with_name("films")
    ended = run_limited(
        "600",
        filled,
        ["index", films],
        ["index", films, "--index", "other", "--model", "tiny"],
        ["index", "--adapter", "home"],
        ["search", "a red circle", "--paths"],
    )
    for number, ran in enumerate(ended[:3]):
        assert ran["code"] == 1, ran
        folder = path if number != 1 else path.with_name("other")
        assert ran["err"].count("Free some space") == 1, ran
        assert str(folder) in ran["err"].replace("\n", ""), ran
    assert (ended[3]["code"], ended[3]["out"]) == (0, f"{films / 'gif.gif'}\n")
    assert Store.open(path).videos() == before
    assert all("no video" in problem.text for problem in check_index(path))


def test_of_two_runs_at_once_one_says_that_the_other_writes_and_searches_go_on(clips: Path, tmp_path: Path) -> None:
    path, films = tmp_path / "indexes" / "default", tmp_path / "films"
    films.mkdir()
    for name in ("long.mp4", "vp9.webm", "gif.gif"):
        shutil.copy(clips / name, films)
    command = [sys.executable, "-m", "vidfind", "index", str(films), "--model", "tiny"]
    environment = {**os.environ, "VIDFIND_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) for _ in range(2)]
    while any(run.poll() is None for run in runs):
        if is_index(path):
            store = Store.open(path)
            store.search(np.ones(store.dim, np.float32), 10)
        time.sleep(0.05)
    said = [run.communicate()[1] for run in runs]
    for run, text in zip(runs, said, strict=True):
        assert run.returncode == 0 or "Another vidfind" in text, said
    assert 0 in [run.returncode for run in runs]
    assert check_index(path) == []
    assert {video.name for video in Store.open(path).videos()} == {film.name for film in films.iterdir()}


@pytest.fixture
def read_only(filled: Path) -> Iterator[Path]:
    """The same home, in which nothing may be written."""
    entries = [filled, *filled.rglob("*")]
    for entry in entries:
        entry.chmod(0o555 if entry.is_dir() else 0o444)
    yield filled
    for entry in entries:
        entry.chmod(0o755 if entry.is_dir() else 0o644)


@needs_posix
def test_a_folder_that_may_not_be_written_can_be_searched_and_all_else_is_refused(read_only: Path) -> None:
    films = read_only.with_name("films")
    adapter = read_only / "adapters" / "home.safetensors"
    before = {file: file.read_bytes() for file in read_only.rglob("*") if file.is_file()}
    searched, shown, *refused = run_limited(
        "rights",
        read_only,
        ["search", "a red circle", "--paths"],
        ["status"],
        ["index", films],
        ["index", films, "--index", "other", "--model", "tiny"],
        ["index", "--adapter", "home"],
        ["remove", films],
        ["remove", "--all", "--yes"],
        ["adapters", "import", adapter, "--name", "copy"],
    )
    assert (searched["code"], searched["out"], searched["err"]) == (0, f"{films / 'gif.gif'}\n", "")
    assert (shown["code"], shown["err"]) == (0, "")
    for ran in refused:
        assert ran["code"] == 1, ran
        assert ran["err"].count("Permission denied. Change that, or set VIDFIND_HOME") == 1, ran
        assert str(read_only) in ran["err"].replace("\n", ""), ran
    assert {file: file.read_bytes() for file in read_only.rglob("*") if file.is_file()} == before
