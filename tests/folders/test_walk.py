"""Which files of folders are taken for videos, each once, and what is told of the others."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from vidfind.folders.names import Reason
from vidfind.folders.walk import LeftOut, Unreadable, find_videos, look_through, survey_folders


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" + name.encode())


def found(folder: Path, *exclude: str, all_files: bool = False) -> list[str]:
    return [video.path.relative_to(folder).as_posix() for video in find_videos([folder], exclude, all_files)]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Takes root's rights away, which let it read what others may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user may enter, other than `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(os.path.realpath(folder))


def test_videos_are_found_by_extension_in_all_folders_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "a.mkv", "notes.txt", "sub/c.webm", "sub/deep/d.mts", "mp4", "song.mp3", "picture.jpg")
    assert found(tmp_path) == ["a.mkv", "b.MP4", "sub/c.webm", "sub/deep/d.mts"]


def test_a_video_file_has_its_size_and_time(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    os.utime(tmp_path / "a.mp4", ns=(5, 1_600_000_000_123_456_789))
    (video,) = find_videos([tmp_path])
    assert (video.path, video.size) == (tmp_path / "a.mp4", 6)
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


@pytest.mark.parametrize("link", ["a-link", "z-link"])
def test_a_real_path_wins_over_a_link_to_a_folder(tmp_path: Path, link: str) -> None:
    touch(tmp_path, "real/a.mp4", "real/deep/b.mp4")
    (tmp_path / link).symlink_to("real")
    (tmp_path / f"{link}-twice").symlink_to(link)
    assert found(tmp_path) == ["real/a.mp4", "real/deep/b.mp4"]


@pytest.mark.parametrize("link", ["a.mp4", "z.mp4", "0/link.mp4"])
def test_a_real_path_wins_over_a_link_to_a_file(tmp_path: Path, link: str) -> None:
    touch(tmp_path, "m/real.mp4", "0/other.mp4")
    (tmp_path / link).symlink_to(tmp_path / "m" / "real.mp4")
    assert sorted(found(tmp_path)) == ["0/other.mp4", "m/real.mp4"]


def test_files_whose_names_differ_in_case_alone_are_two_and_a_link_to_either_is_its_other_name(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.mp4", "real/A.mp4")
    if len(os.listdir(tmp_path / "real")) == 1:
        pytest.skip("case makes no difference here")
    for name in ("a.mp4", "A.mp4"):
        (tmp_path / f"{ord(name[0])}.mp4").symlink_to(tmp_path / "real" / name)
    survey = survey_folders([tmp_path])
    assert [video.path for video in survey.videos] == [tmp_path / "real" / "A.mp4", tmp_path / "real" / "a.mp4"]
    assert survey.other_names == {
        tmp_path / "65.mp4": tmp_path / "real" / "A.mp4",
        tmp_path / "97.mp4": tmp_path / "real" / "a.mp4",
    }


@pytest.mark.parametrize("order", [1, -1])
def test_a_real_path_wins_among_the_folders_asked_for(tmp_path: Path, order: int) -> None:
    touch(tmp_path, "disk/a.mp4")
    (tmp_path / "films").symlink_to("disk")
    (tmp_path / "link.mp4").symlink_to("disk/a.mp4")
    roots = [tmp_path / "films", tmp_path / "disk", tmp_path / "link.mp4", tmp_path / "disk" / "a.mp4"]
    assert [video.path for video in find_videos(roots[::order])] == [tmp_path / "disk" / "a.mp4"]


def test_a_link_to_a_part_of_what_another_link_holds_loses_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "disk/a.mp4", "disk/sub/b.mp4", "films/.hidden/c.mp4")
    (tmp_path / "films" / "1").symlink_to(tmp_path / "disk" / "sub")
    (tmp_path / "films" / "2").symlink_to(tmp_path / "disk")
    (tmp_path / "films" / "3").symlink_to(".hidden")
    assert found(tmp_path / "films") == ["1/b.mp4", "2/a.mp4", "3/c.mp4"]


def test_two_hard_links_are_two_videos(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    os.link(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert found(tmp_path) == ["a.mp4", "b.mp4"]


def test_a_link_into_what_is_left_out_does_not_bring_it_back(tmp_path: Path) -> None:
    touch(tmp_path, "drafts/deep/a.mp4", "#recycle/b.mp4", "c.mp4")
    (tmp_path / "1").symlink_to("drafts")
    (tmp_path / "2").symlink_to("drafts/deep")
    (tmp_path / "3").symlink_to("#recycle")
    assert found(tmp_path, "drafts") == ["c.mp4"]


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


def test_a_tree_of_any_depth_is_walked(tmp_path: Path) -> None:
    """Deeper than Python's recursion goes, and at the end deeper than the system's longest path."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for depth, name in enumerate(["d"] * 1100 + ["x" * 250] * 12, start=1):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
        if depth in (1, 1100):
            os.close(os.open("a.mp4", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    survey = survey_folders([tmp_path])
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # which pytest's own clearing cannot do
    assert [len(video.path.relative_to(tmp_path).parts) for video in survey.videos] == [2, 1101]
    (unreadable,) = survey.unreadable
    assert unreadable.reason == "cannot be read: its path is too long for this system"


def test_a_folder_that_may_not_be_read_is_told(open_path: Path) -> None:
    touch(open_path, "open/a.mp4", "shut/b.mp4", "listed/c.mp4", "listed/d.mp4")
    (open_path / "shut").chmod(0)
    (open_path / "listed").chmod(0o444)
    reason = "may not be read: no permission"
    with as_nobody():
        survey = survey_folders([open_path])
        named = survey_folders([open_path / "shut", open_path / "shut" / "b.mp4"])
    assert [video.path.name for video in survey.videos] == ["a.mp4"]
    assert survey.unreadable == [Unreadable(open_path / name, reason) for name in ("listed", "shut")]
    assert {one.reason for one in named.unreadable} == {reason}
    for name in ("shut", "listed"):
        (open_path / name).chmod(0o755)


def test_what_was_listed_before_an_error_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "bad/a.mp4", "good/b.mp4")
    scandir = os.scandir

    class Breaking:
        """A listing of a failing disk, which ends with an error after its first entry."""

        def __init__(self, path: str) -> None:
            self.listing = scandir(path)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            yield next(self.listing)
            raise OSError(errno.EIO, "Input/output error")

        def __exit__(self, *error: object) -> None:
            self.listing.close()

    monkeypatch.setattr(os, "scandir", lambda path: (Breaking if str(path).endswith("bad") else scandir)(path))
    survey = survey_folders([tmp_path])
    assert [video.path.name for video in survey.videos] == ["a.mp4", "b.mp4"]
    assert survey.unreadable == [Unreadable(tmp_path / "bad", "cannot be read: Input/output error")]


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "films").symlink_to("films")
    assert list(look_through([tmp_path])) == [Unreadable(tmp_path / "films", "is a link that leads back to itself")]


LEFT_OUT = [
    ("$RECYCLE.BIN/S-1-5/a.mp4", Reason.BIN),
    ("$Recycle.Bin/a.mp4", Reason.BIN),
    ("RECYCLER/a.mp4", Reason.BIN),
    ("#recycle/a.mp4", Reason.BIN),
    ("@Recycle/a.mp4", Reason.BIN),
    ("System Volume Information/a.mp4", Reason.SYSTEM),
    ("FOUND.000/a.mp4", Reason.SYSTEM),
    ("lost+found/a.mp4", Reason.SYSTEM),
    ("films/@eaDir/a.mp4", Reason.SYSTEM),
    ("#snapshot/a.mp4", Reason.SYSTEM),
    ("@Recently-Snapshot/a.mp4", Reason.SYSTEM),
    ("x.photoslibrary/resources/derivatives/a.mov", Reason.LIBRARY),
    ("x.photolibrary/Thumbnails/a.mov", Reason.LIBRARY),
    ("x.aplibrary/Previews/a.mov", Reason.LIBRARY),
    ("x.fcpbundle/Day 1/Render Files/High Quality Media/a.mov", Reason.LIBRARY),
    ("x.imovielibrary/Day 1/Transcoded Media/a.mov", Reason.LIBRARY),
    ("x Previews.lrdata/1/a.mp4", Reason.PROGRAM),
    ("node_modules/p/a.mp4", Reason.PROGRAM),
    ("Adobe Premiere Pro Video Previews/a.mpeg", Reason.PROGRAM),
    ("a.mp4.download/a.mp4", Reason.DOWNLOAD),
]


@pytest.mark.parametrize(("path", "reason"), LEFT_OUT, ids=[path for path, _ in LEFT_OUT])
def test_bins_helpers_and_packages_are_left_out_and_taken_when_named(tmp_path: Path, path: str, reason: Reason) -> None:
    touch(tmp_path, path)
    (left_out,) = look_through([tmp_path])
    assert isinstance(left_out, LeftOut)
    assert left_out.reason == reason
    assert found(tmp_path, all_files=True) == [path]
    assert [video.path for video in find_videos([left_out.path])] == [tmp_path / path]


@pytest.mark.parametrize(
    "path",
    [
        "x.photoslibrary/originals/0/a.mov",
        "x.photoslibrary/Masters/2015/a.mov",
        "x.aplibrary/Masters/a.mov",
        "x.fcpbundle/Day 1/Original Media/a.mov",
        "x.imovielibrary/Day 1/Original Media/a.mov",
        "Recycling/a.mp4",
        "resources/a.mov",
        "Proxy/a.mov",
        "sub/a.mov",
        "Render Files/a.mov",
    ],
)
def test_originals_and_folders_with_common_names_are_taken(tmp_path: Path, path: str) -> None:
    touch(tmp_path, path)
    assert found(tmp_path) == [path]


def test_names_that_only_look_like_videos_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "index.ts").write_text("export const caf\u00e9 = 1;\n", encoding="utf-8")
    (tmp_path / "go.mod").write_text("module example.org/films\n")
    (tmp_path / "de.ts").write_bytes("<TS>\u00dcben</TS>".encode("utf-16"))
    (tmp_path / "song.mod").write_bytes(b"a song".ljust(1080, b"\0") + b"M.K." + bytes(99))
    (tmp_path / "settings.dat").write_bytes(b"\1\2\3\4" * 99)
    (tmp_path / "sound.ogg").write_bytes(b"OggS\0\2" + bytes(20) + b"\1vorbis")
    (tmp_path / "video.ts").write_bytes((b"\x47" + bytes(187)) * 3)
    (tmp_path / "damaged.ts").write_bytes(b"\xaa\0\3" * 200)
    (tmp_path / "MOV001.MOD").write_bytes(b"\0\0\1\xba" + bytes(99))
    (tmp_path / "AVSEQ01.DAT").write_bytes(b"RIFF\1\2\3\4CDXAfmt " + bytes(99))
    (tmp_path / "video.ogg").write_bytes(b"OggS\0\2" + bytes(22) + b"\x80theora")
    videos = ["AVSEQ01.DAT", "MOV001.MOD", "damaged.ts", "video.ogg", "video.ts"]
    assert [one.path.name for one in look_through([tmp_path])] == videos  # of the others, nothing is told
    (tmp_path / "settings.dat").unlink()  # it might be a video, and is taken if it is named
    assert [video.path.name for video in find_videos(sorted(tmp_path.iterdir()))] == videos


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(99)),
        ("a.thm", b"\xff\xd8\xff\xe1" + bytes(99)),
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(99)),
        ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n"),
        ("a.txt", b"caf\xe9 au lait, as Windows-1252\n"),
        ("empty.txt", b""),
        ("a.xmp", b"<x:xmpmeta/>"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("a.mp3", b"ID3\3" + bytes(99)),
        ("a.m4a", b"\0\0\0\x20ftypM4A " + bytes(99)),
        ("._a.mov", b"\0\5\x16\7\0\2\0\0" + bytes(99)),
        ("README", b"words"),
    ],
)
def test_a_file_that_is_named_and_is_no_video_is_told_and_left_out(tmp_path: Path, name: str, content: bytes) -> None:
    touch(tmp_path, "b.mp4")
    (tmp_path / name).write_bytes(content)
    survey = survey_folders([tmp_path / name, tmp_path / "b.mp4"])
    assert [video.path.name for video in survey.videos] == ["b.mp4"]
    assert survey.left_out == {Reason.NO_VIDEO: [tmp_path / name]}


def test_a_still_gif_is_a_picture_and_one_that_moves_is_taken(tmp_path: Path, clips: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    shutil.copy(clips / "gif.gif", tmp_path / "clip.gif")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    assert found(tmp_path) == ["broken.gif", "clip.gif", "moves.gif"]
    assert survey_folders([tmp_path / "still.gif"]).left_out == {Reason.NO_VIDEO: [tmp_path / "still.gif"]}


def test_a_video_with_the_extension_of_something_else_is_taken_when_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x20ftypisom" + bytes(99))
    (tmp_path / "mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(99))
    (tmp_path / "raw.bin").write_bytes(bytes(range(256)))
    paths = [tmp_path / name for name in ("a.jpg", "mkv", "raw.bin")]
    assert [video.path for video in find_videos(paths)] == paths
