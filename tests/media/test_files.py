"""Which files are videos, each once; and fingerprints."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from vidfind.media import files
from vidfind.media.files import find_present, find_videos, fingerprint


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def found(folder: Path, *exclude: str) -> list[str]:
    return [video.path.relative_to(folder).as_posix() for video in find_videos([folder], exclude)]


def test_videos_are_found_by_extension_in_all_folders_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "a.mkv", "notes.txt", "sub/c.webm", "sub/deep/d.mts", "mp4", "song.mp3", "picture.jpg")
    assert found(tmp_path) == ["a.mkv", "b.MP4", "sub/c.webm", "sub/deep/d.mts"]


def test_a_video_file_has_its_size_and_time(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    os.utime(tmp_path / "a.mp4", ns=(5, 1_600_000_000_123_456_789))
    (video,) = find_videos([tmp_path])
    assert (video.path, video.size) == (tmp_path / "a.mp4", 5)
    assert video.mtime_ns == os.stat(tmp_path / "a.mp4").st_mtime_ns


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.mp4", "._a.mp4", ".trash/b.mp4", "c.mp4")
    assert found(tmp_path) == ["c.mp4"]


def test_a_hidden_folder_that_is_named_is_searched(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/a.mp4")
    assert found(tmp_path / ".cache") == ["a.mp4"]


def test_a_file_that_is_named_is_given_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "recording", "b.mp4")
    assert [v.path.name for v in find_videos([tmp_path / "recording", tmp_path / "b.mp4"])] == ["recording", "b.mp4"]


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert list(find_videos([tmp_path / "nowhere", tmp_path / "nothing.mp4"])) == []


def test_a_video_in_two_of_the_folders_is_found_once(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.mp4")
    paths = [tmp_path / "sub", tmp_path, tmp_path / "sub" / "a.mp4"]
    assert [v.path for v in find_videos(paths)] == [tmp_path / "sub" / "a.mp4"]


def test_paths_are_absolute_and_keep_their_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "disk/a.mp4")
    (tmp_path / "films").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path)
    assert [v.path for v in find_videos([Path("films")])] == [tmp_path / "films" / "a.mp4"]


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "disk/a.mp4", "other/b.mp4")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "link").symlink_to(tmp_path / "disk")
    (tmp_path / "films" / "link.mp4").symlink_to(tmp_path / "other" / "b.mp4")
    assert found(tmp_path / "films") == ["link/a.mp4", "link.mp4"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/c.mp4")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    assert found(tmp_path) == ["a/b/c.mp4"]


def test_only_regular_files_are_videos(tmp_path: Path) -> None:
    touch(tmp_path, "folder.mp4/inside.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "gone.mp4")
    assert found(tmp_path) == ["folder.mp4/inside.mp4"]
    assert list(find_videos([tmp_path / "pipe.mp4"])) == []


def test_names_of_any_letters_are_found(tmp_path: Path) -> None:
    names = ["äöü 映画 🎬.mp4", "x" * 245 + ".mp4", "a\nb.mp4"]
    touch(tmp_path, *names)
    assert sorted(found(tmp_path)) == sorted(names)


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.gif", ["old/b.mp4", "old/new/c.mp4", "a.mp4"]),
        ("old", ["a.mp4", "d.gif"]),
        ("old/", ["a.mp4", "d.gif"]),
        ("old/*", ["a.mp4", "d.gif"]),
        ("*/new/*", ["old/b.mp4", "a.mp4", "d.gif"]),
        ("[ab].mp4", ["old/new/c.mp4", "d.gif"]),
        ("ol", ["old/b.mp4", "old/new/c.mp4", "a.mp4", "d.gif"]),
    ],
)
def test_exclude_leaves_out_what_fits(tmp_path: Path, pattern: str, left: list[str]) -> None:
    touch(tmp_path, "a.mp4", "d.gif", "old/b.mp4", "old/new/c.mp4")
    assert sorted(found(tmp_path, pattern)) == sorted(left)


def test_exclude_takes_a_whole_path_and_applies_to_named_files(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "old/b.mp4")
    assert found(tmp_path, str(tmp_path / "old")) == ["a.mp4"]
    assert list(find_videos([tmp_path / "a.mp4"], ["a.*"])) == []


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
