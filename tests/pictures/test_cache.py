"""Small pictures are kept by content, within their room, whatever happens to the files."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from vidfind.errors import UnreadableVideo
from vidfind.pictures.cache import UNUSED, USED_AGAIN, PictureCache
from vidfind.pictures.thumbnail import thumbnail
from vidfind.system.files import fingerprint


@pytest.fixture
def cache(tmp_path: Path) -> PictureCache:
    return PictureCache(tmp_path / "pictures")


@pytest.fixture
def film(clips: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(clips / "h264.mp4", tmp_path / "film.mp4"))


def files(cache: PictureCache) -> list[Path]:
    return sorted(cache.folder.glob("*/*"))


def test_a_kept_picture_outlives_its_file_and_follows_it(cache: PictureCache, film: Path, tmp_path: Path) -> None:
    content = fingerprint(film)
    made = cache.picture(film, content, 1.0)
    assert made == thumbnail(film, 1.0)
    moved = film.rename(tmp_path / "moved.mp4")
    assert cache.picture(film, content, 1.0) == cache.picture(moved, content, 1.0) == made
    assert len(files(cache)) == 1
    with Image.open(files(cache)[0]) as image:
        assert image.format == "JPEG"
    with pytest.raises(UnreadableVideo, match="is not there"):
        cache.picture(film, content, 2.0)


def test_each_time_and_size_has_a_picture_of_its_own(cache: PictureCache, film: Path) -> None:
    content = fingerprint(film)
    wishes = [{"time": 0.0}, {"time": 2.5}, {"time": 2.5, "near": 0.0}, {"time": 0.0, "size": 64}]
    pictures = [cache.picture(film, content, **wish) for wish in wishes]  # type: ignore[arg-type]
    assert pictures == [thumbnail(film, **wish) for wish in wishes]  # type: ignore[arg-type]
    assert len(files(cache)) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(file.read_bytes()[:200] + b"\0" + file.read_bytes()[201:]),
    ],
    ids=["empty", "cut short", "one byte is another"],
)
def test_a_damaged_picture_is_made_anew(cache: PictureCache, film: Path, damage: Callable[[Path], None]) -> None:
    made = cache.picture(film, fingerprint(film), 1.0)
    whole = files(cache)[0].read_bytes()
    damage(files(cache)[0])
    assert cache.picture(film, fingerprint(film), 1.0) == made
    assert files(cache)[0].read_bytes() == whole


def test_a_file_that_was_replaced_leaves_no_wrong_picture(cache: PictureCache, film: Path, clips: Path) -> None:
    content = fingerprint(film)
    shutil.copy(clips / "vp8.webm", film)
    assert cache.picture(film, content, 1.0) == thumbnail(film, 1.0)
    assert files(cache) == []


def test_the_pictures_used_longest_ago_go_first(film: Path, tmp_path: Path) -> None:
    size = len(thumbnail(film, 0.0, 64)) + 16
    cache = PictureCache(tmp_path / "pictures", max_bytes=10 * size)
    content = fingerprint(film)
    for number in range(9):
        cache.picture(film, content, 0.0, 64, near=number)
        used = time.time() - 3 * USED_AGAIN + number
        os.utime(next(cache.folder.glob(f"*/*-{number * 1000}.jpg")), (used, used))
    cache.picture(film, content, 0.0, 64, near=0)  # now used again
    for number in range(9, 15):
        cache.picture(film, content, 0.0, 64, near=number)
    kept = {int(file.stem.split("-")[2]) // 1000 for file in files(cache)}
    assert {0, 13, 14} <= kept and not {1, 2, 3} & kept
    assert cache.count()[1] <= 10 * size


def test_a_picture_that_nobody_wants_for_a_month_goes(film: Path, tmp_path: Path) -> None:
    PictureCache(tmp_path).picture(film, fingerprint(film), 1.0, near=1.0)
    [file] = tmp_path.glob("*/*.jpg")
    os.utime(file, (time.time() - UNUSED - 60,) * 2)
    PictureCache(tmp_path).picture(film, fingerprint(film), 2.0)
    assert not file.exists()
    assert PictureCache(tmp_path).kept(fingerprint(film), 1.0, near=1.0) is None
    assert PictureCache(tmp_path).kept(fingerprint(film), 2.0) == thumbnail(film, 2.0)


def test_a_picture_that_is_used_is_marked_so_now_and_then(cache: PictureCache, film: Path) -> None:
    cache.picture(film, fingerprint(film), 1.0)
    [file] = files(cache)
    lately, long_ago = time.time() - USED_AGAIN / 2, time.time() - 2 * USED_AGAIN
    for before, is_marked in ((lately, False), (long_ago, True)):
        os.utime(file, (before, before))
        cache.picture(film, fingerprint(film), 1.0)
        assert (file.stat().st_mtime > before + 1) == is_marked


def test_what_a_killed_process_left_behind_goes_first(film: Path, tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "pictures", max_bytes=20_000)
    cache.picture(film, fingerprint(film), 1.0)
    lost = files(cache)[0].with_name("0123456789abcdef.part")
    lost.write_bytes(bytes(30_000))
    os.utime(lost, (time.time() - 7200,) * 2)
    cache.picture(film, fingerprint(film), 2.0)
    assert not lost.exists() and len(files(cache)) == 2


def test_many_threads_and_caches_share_a_folder(film: Path, tmp_path: Path) -> None:
    content = fingerprint(film)
    wanted = {time: thumbnail(film, time, 64) for time in (0.0, 1.0)}
    caches = [PictureCache(tmp_path / "pictures", max_bytes=2000) for _ in range(3)]  # too little room for all
    barrier = threading.Barrier(8)

    def ask(number: int) -> bool:
        barrier.wait()
        return all(caches[number % 3].picture(film, content, at, 64) == wanted[at] for _ in range(3) for at in wanted)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_an_error_reaches_all_who_wait_for_the_picture(cache: PictureCache, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(cache.picture, tmp_path / "gone.mp4", "0" * 32, 1.0) for _ in range(8)]
    assert all(isinstance(one.exception(), UnreadableVideo) for one in asked)
    assert not cache.folder.exists()


def test_pictures_of_some_videos_or_all_can_be_deleted(cache: PictureCache, film: Path, clips: Path) -> None:
    other = clips / "vp8.webm"
    cache.picture(film, fingerprint(film), 1.0)
    cache.picture(other, fingerprint(other), 1.0)
    cache.forget([fingerprint(film), "never there"])
    number, size = cache.count()
    assert number == 1 and size == files(cache)[0].stat().st_size
    cache.clear()
    assert cache.count() == (0, 0)


def test_where_nothing_can_be_kept_pictures_are_made(film: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = PictureCache(tmp_path / "file" / "pictures")
    assert cache.picture(film, fingerprint(film), 1.0) == thumbnail(film, 1.0)


def test_names_and_contents_stay_inside_the_folder(cache: PictureCache, film: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    cache.picture(film, "../../outside", 1.0)
    cache.forget(["../..", "", "/"])
    assert film.exists() and set(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="has other rights")
def test_nobody_else_may_look_at_the_pictures(cache: PictureCache, film: Path) -> None:
    cache.picture(film, fingerprint(film), 1.0)
    assert cache.folder.stat().st_mode & 0o077 == 0
