"""Folders of a shared index that lie elsewhere on this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.ran import Run
from vidfind.errors import BadInput
from vidfind.store.places.maps import keep_map, local_path, stored_path
from vidfind.store.tables import path_from_text, path_to_text


@pytest.mark.parametrize(
    ("old", "stored"),
    [
        ("/mnt/archive", "/mnt/archive/2024/a b.mp4"),
        ("Z:\\archive", "Z:\\archive\\2024\\a b.mp4"),
        ("\\\\nas\\films", "\\\\nas\\films\\2024\\a b.mp4"),
    ],
)
def test_a_path_of_another_system_is_one_of_this_machine_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, stored: str
) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    keep_map(f"{old}={tmp_path / 'films'}")
    local = tmp_path / "films" / "2024" / "a b.mp4"
    assert local_path(stored) == local
    assert stored_path(local) == stored
    assert path_from_text(path_to_text(local)) == local
    assert local_path(f"{old}-other/a.mp4") == Path(f"{old}-other/a.mp4")
    assert stored_path(tmp_path / "other.mp4") == str(tmp_path / "other.mp4")
    keep_map(f"{old}=")
    assert local_path(stored) == Path(stored)


@pytest.mark.parametrize("text", ["archive=/mnt/x", "/mnt/archive", "=/x", "/same=/same"])
def test_what_is_no_map_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    if "=" not in text:
        keep_map(text)  # forgets a map that there never was
        return
    with pytest.raises(BadInput, match="map"):
        keep_map(text)


def test_videos_of_an_index_are_found_where_they_are_mounted_on_this_machine(
    run: Run, made: Path, tmp_path: Path
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    shutil.copytree(made, there)
    assert run("index", there, "--model", "tiny").code == 0
    there.rename(here)

    def found(*options: object) -> list[Path]:
        ran = run("search", "red", "--online", "--json", *options)
        return sorted(Path(json.loads(line)["path"]) for line in ran.out.splitlines())

    assert found() == []
    mapped = found("--map", f"{there}={here}")
    assert mapped and all(path.is_relative_to(here) for path in mapped)
    assert found("--in", here) == mapped  # the map is kept
    again = run("index", here)
    assert (again.code, "new" in again.err, "moved" in again.err) == (0, False, False), again.err
    assert str(there) not in run("status").out
    assert run("remove", mapped[0]).code == 0
    run("status", "--map", f"{there}=")
    assert str(there) in run("status").out
    tagged = run("tag", "add", mapped[1], "mine", "--map", f"{there}={here}")
    assert tagged.code == 0, tagged.err
