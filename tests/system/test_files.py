"""Fingerprints of files, and which files are there now."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from vidfind.system import files
from vidfind.system.files import find_present, fingerprint


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_a_fingerprint_follows_the_content_and_not_the_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    before = fingerprint(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    os.utime(tmp_path / "b.mp4", (1, 1))
    assert fingerprint(tmp_path / "b.mp4") == before
    touch(tmp_path, "a.mp4x")
    assert fingerprint(tmp_path / "a.mp4x") != before
    assert len(before) == 32


def test_a_fingerprint_of_an_empty_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert len(fingerprint(tmp_path / "empty")) == 32


@pytest.mark.parametrize("place", [0.0, 1 / 7, 0.5, 1.0], ids=["first", "second", "between", "last"])
def test_a_fingerprint_of_a_large_file_sees_its_blocks(tmp_path: Path, place: float) -> None:
    size = 40 * files.BLOCK_SIZE
    data = bytearray(size)
    (tmp_path / "a").write_bytes(data)
    data[min(int(place * (size - files.BLOCK_SIZE)) + 9, size - 1)] = 1
    (tmp_path / "b").write_bytes(data)
    is_seen = place != 0.5  # eight blocks leave the very middle out
    assert (fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")) == is_seen


def test_a_fingerprint_sees_the_size_of_a_large_file(tmp_path: Path) -> None:
    for name, size in (("a", 40), ("b", 41)):
        (tmp_path / name).write_bytes(bytes(size * files.BLOCK_SIZE))
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")


def test_what_is_there_is_told_from_what_is_not(tmp_path: Path) -> None:
    touch(tmp_path, "full/a.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    names = ["full", "full/a.mp4", "full/a.mp4/x", "empty", "empty/b.mp4", "link.mp4", "no/folder.mp4"]
    paths = {tmp_path / name: tmp_path for name in names}
    assert find_present(paths) == {tmp_path / "full", tmp_path / "full" / "a.mp4"}


def test_a_share_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "dead/a.mp4", "dead/b.mp4", "here/c.mp4")
    answers = threading.Event()
    is_file = Path.is_file

    def hang(path: Path) -> bool:
        if path.name == "b.mp4":
            answers.wait()
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", hang)
    paths = {tmp_path / name: (tmp_path / name).parent for name in ("dead/b.mp4", "dead/a.mp4", "here/c.mp4")}
    try:
        assert find_present(paths, seconds=2.0) == {tmp_path / "here" / "c.mp4"}
    finally:
        answers.set()
