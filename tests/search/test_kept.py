"""Vectors of queries that are kept from before."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from vidfind.search.kept import KeptVectors
from vidfind.store.folder import QUERIES_FILE

VECTOR = np.eye(4, dtype=np.float32)[1]


def test_vectors_are_kept_under_their_names(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path)
    assert kept.get(b"a") is None
    kept.put(b"a", VECTOR, True)
    found = KeptVectors(tmp_path).get(b"a")
    assert found
    np.testing.assert_array_equal(found[0], VECTOR)
    assert found[1] is True
    assert kept.get(b"b") is None
    assert [file.name for file in tmp_path.iterdir()] == [QUERIES_FILE]


def test_only_the_latest_vectors_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfind.search.kept.QUERIES_KEPT", 3)
    kept = KeptVectors(tmp_path)
    for name in (b"a", b"b", b"c", b"a", b"d"):
        kept.put(name, VECTOR, False)
    assert [name for name in (b"a", b"b", b"c", b"d") if kept.get(name)] == [b"a", b"c", b"d"]


@pytest.mark.parametrize("content", [b"no database, only words " * 100, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    kept = KeptVectors(tmp_path)
    (tmp_path / QUERIES_FILE).write_bytes(content)
    assert kept.get(b"a") is None
    kept.put(b"a", VECTOR, False)
    assert kept.get(b"a")


def test_a_vector_that_was_damaged_is_not_used(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path)
    for vector in (np.full(4, np.nan, np.float32), VECTOR * 3):
        kept.put(b"a", vector, False)
        assert kept.get(b"a") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_in_a_folder_that_may_not_be_written_nothing_is_kept(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path)
    kept.put(b"a", VECTOR, False)
    tmp_path.chmod(0o500)
    (tmp_path / QUERIES_FILE).chmod(0o400)
    kept.put(b"b", VECTOR, False)
    assert (kept.get(b"a") is not None, kept.get(b"b")) == (True, None)


def test_without_its_folder_nothing_is_kept(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path / "gone")
    kept.put(b"a", VECTOR, False)
    assert kept.get(b"a") is None
    assert not (tmp_path / "gone").exists()


def test_while_another_process_writes_nothing_is_waited_for_long(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path)
    kept.put(b"a", VECTOR, False)
    other = sqlite3.connect(tmp_path / QUERIES_FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    kept.put(b"b", VECTOR, False)
    assert kept.get(b"a") is None
    other.close()
    assert (kept.get(b"a") is not None, kept.get(b"b")) == (True, None)
