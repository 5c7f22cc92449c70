"""Which drive a path is on, from tables of mounts as systems have them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from vidfind.system.mounts import Place, Places, may_be_away, mount_of, nearest_name, read_mounts, usual_places

MOUNTS = {
    Path(point): ""
    for point in ("/", "/media/me/usb", "/media/me/usb/inner", "/Volumes/Card", "/run/user/1000/gvfs", "/home/me/nas")
}
posix = pytest.mark.skipif(os.name == "nt", reason="paths of other systems")


@posix
@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/home/me/a.mp4", "/"),
        ("/media/me/usb", "/media/me/usb"),
        ("/media/me/usb2/a.mp4", "/"),
        ("/media/me/usb/inner/deep/a.mp4", "/media/me/usb/inner"),
        ("/Volumes/Card/DCIM/a.mp4", "/Volumes/Card"),
        ("/home/me/nas/a.mp4", "/home/me/nas"),
        ("/run/user/1000/gvfs/smb-share:server=nas,share=films/a.mp4", None),
    ],
)
def test_a_path_lies_on_the_nearest_mount_above_it(path: str, mount: str | None) -> None:
    # GNOME shows all shares in one mount: each counts as a mount of its own.
    expected = Path(mount) if mount else Path("/run/user/1000/gvfs/smb-share:server=nas,share=films")
    assert mount_of(Path(path), MOUNTS) == expected


@posix
@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/media/me/usb/DCIM/a.mp4", "/media/me/usb"),
        ("/run/media/me/usb/a.mp4", "/run/media/me/usb"),
        ("/Volumes/Card/a.mp4", "/Volumes/Card"),
        ("/mnt/nas/films/a.mp4", "/mnt/nas"),
        ("/net/nas/films/a.mp4", "/net/nas"),
        ("/home/me/media/usb/a.mp4", None),
        ("/Volumes/a.mp4", None),
    ],
)
def test_drives_are_mounted_where_systems_do_so(path: str, place: str | None) -> None:
    assert (Path(place) if place else None) == next(iter(usual_places(Path(path))), None)


def test_a_path_may_be_on_a_drive_that_is_away_where_drives_are_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "vidfind.system.mounts.USUAL_PLACE", re.compile(f"{re.escape(tmp_path.as_posix())}/media/[^/]+")
    )
    (tmp_path / "media" / "usb").mkdir(parents=True)
    (tmp_path / "media" / "usb" / "a.mp4").touch()
    assert may_be_away(tmp_path / "media" / "usb2" / "films")
    assert not may_be_away(tmp_path / "media" / "usb" / "films")
    assert not may_be_away(tmp_path / "mdia" / "usb2")
    assert nearest_name(tmp_path / "mdia" / "usb2") == tmp_path / "media"
    assert nearest_name(tmp_path / "media" / "usb" / "films") is None


def test_this_machine_has_mounts_and_a_file_lies_on_one(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.touch()
    places, place = Places(), Places().place_of(file)
    assert place.mount in read_mounts()
    assert place.file_id
    assert places.drive_of(tmp_path / "none.mp4") == Place(place.mount, place.volume)
    assert not places.is_unplugged(tmp_path / "none" / "a.mp4", place)


def test_a_file_that_was_renamed_or_is_on_a_drive_mounted_elsewhere_is_the_same_and_a_copy_is_not(
    tmp_path: Path,
) -> None:
    for name in ("a.mp4", "copy.mp4", "usb2/films/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    places = Places({tmp_path: "nas:/films", tmp_path / "usb2": "nas:/usb"})
    before = places.place_of(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    assert places.is_same_file(tmp_path / "b.mp4", tmp_path / "a.mp4", before)
    assert not places.is_same_file(tmp_path / "copy.mp4", tmp_path / "a.mp4", before)
    # On drives without lasting numbers of files, the path within the drive says that it is the same.
    usb, old = Place(tmp_path / "usb", "nas:/usb", "1"), tmp_path / "usb" / "films" / "b.mp4"
    assert places.is_same_file(tmp_path / "usb2" / "films" / "b.mp4", old, usb)
    assert not places.is_same_file(tmp_path / "usb2" / "films" / "b.mp4", old, Place(usb.mount, "nas:/other", "1"))
    assert not places.is_same_file(tmp_path / "usb2" / "films" / "b.mp4", tmp_path / "usb" / "b.mp4", usb)
