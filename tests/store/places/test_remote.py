"""Indexes in object storage, through the command line as a user has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.object_storage import STORAGES
from tests.support.ran import Run
from vidfind.store.places.path import RemotePath


@pytest.mark.parametrize("remote", STORAGES, indirect=True)
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


def test_only_the_files_of_vidfind_are_removed_with_an_index(run: Run, remote: RemotePath, made: Path) -> None:
    assert run("index", made, "--index", remote.name, "--model", "tiny").code == 0
    run("search", "a red circle", "--index", remote.name)
    theirs = [
        "films/a.mp4",
        "notes.txt",
        "models/theirs.pt",
        "queries/why.sql",
        "videos.lance.txt",
        "2024/settings.json",
    ]
    for name in theirs:
        (remote / name).write_bytes(b"theirs")
    beside = RemotePath(f"{remote.root}-2024") / "a.mp4"
    beside.write_bytes(b"theirs")
    size = json.loads(run("status", "--json", "--index", remote.name).out)["size"]
    assert size == sum(status.st_size for name, status in remote.sizes().items() if name not in theirs)
    removed = run("remove", "--all", "--yes", "--index", remote.name)
    assert removed.code == 0, removed.err
    assert sorted(remote.sizes()) == sorted(theirs)
    assert beside.read_bytes() == b"theirs"


def test_no_index_is_made_where_other_data_are(run: Run, remote: RemotePath, made: Path) -> None:
    for name in ("films/a.mp4", "b.mp4", "models/vit.pt", "settings.txt"):
        (remote / name).write_bytes(b"theirs")
    before = remote.sizes()
    refused = run("index", made, "--index", remote.name, "--model", "tiny")
    assert refused.code == 1
    assert "other data are there (b.mp4, films, models and 1 more)" in " ".join(refused.err.split())
    assert f"{remote.name}/vidfind" in refused.err
    assert remote.sizes() == before
    inside = f"{remote.name}/vidfind"
    assert run("index", made, "--index", inside, "--model", "tiny").code == 0
    assert run("remove", "--all", "--yes", "--index", inside).code == 0
    assert remote.sizes() == before


def test_what_a_killed_run_has_left_is_no_other_data(run: Run, remote: RemotePath, made: Path) -> None:
    assert run("index", made, "--index", remote.name, "--model", "tiny").code == 0
    (remote / "settings.json").unlink()  # written last, and deleted first
    again = run("index", made, "--index", remote.name, "--model", "tiny")
    assert again.code == 0, again.err


def test_tags_and_classes_are_given_and_saved_when_the_index_is_deleted(
    run: Run, remote: RemotePath, made: Path, tmp_path: Path
) -> None:
    index = ["--index", remote.name]
    assert run("index", made, *index, "--model", "tiny").code == 0
    run("tag", "add", made / "a.mp4", "red thing", *index)
    run("learn", "add", "kind", "warm", made / "a.mp4", *index)
    filled = run("tag", "fill", *index)
    assert filled.code == 0, filled.err
    assert [file.name.partition("-")[0] for file in (remote / "models").iterdir()] == ["tags"]
    tagged = [json.loads(line)["path"] for line in run("list", "--tag", "red thing", "--json", *index).out.splitlines()]
    assert tagged == [str(made / "a.mp4")]
    removed = run("remove", "--all", "--yes", *index)
    assert removed.code == 0, removed.err
    name = remote.key.replace("/", "-")
    assert sorted(file.name for file in (tmp_path / "home").glob("*.csv")) == [
        f"classes-{name}.csv",
        f"tags-{name}.csv",
    ]
    assert remote.sizes() == {}
