"""Indexes in object storage, through the command line as a user has them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.ran import Run
from vidfind.store.places.path import RemotePath


def test_videos_are_indexed_searched_and_removed_in_object_storage(run: Run, remote: RemotePath, made: Path) -> None:
    indexed = run("index", made, "--index", remote.name, "--model", "tiny")
    assert indexed.code == 0, indexed.err
    on_disk = run("index", made, "--model", "tiny")
    assert on_disk.code == 0, on_disk.err
    there, here = (
        [json.loads(line) for line in run("search", "a red circle", "--json", *index).out.splitlines()]
        for index in (["--index", remote.name], [])
    )
    assert there == here != []

    status = json.loads(run("status", "--json", "--index", remote.name).out)
    assert status["name"] == remote.name
    again = run("index", made, "--index", remote.name)
    assert "new" not in again.err
    removed = run("remove", "--all", "--yes", "--index", remote.name)
    assert removed.code == 0, removed.err
    assert remote.sizes() == {}
    assert f"vidfind index FOLDER --index {remote.name}" in run("search", "a", "--index", remote.name).err
