"""Proxies and Live Photos are left out when their original is there, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidfind.folders.names import Reason
from vidfind.folders.walk import find_videos, survey_folders
from vidfind.media.write import write_video

PROXIES = [
    ("GOPR0001.LRV", "GOPR0001.MP4"),
    ("GL010001.LRV", "GX010001.MP4"),
    ("GL010001.LRV", "GH010001.MP4"),
    ("DJI_0001.LRF", "DJI_0001.MP4"),
    ("VIRB0001.GLV", "VIRB0001.MP4"),
    ("LRV_20240101_120000_11_001.insv", "VID_20240101_120000_00_001.insv"),
    ("LRV_20240101_120000_01_001.mp4", "VID_20240101_120000_10_001.mp4"),
    ("clip_Proxy.mov", "clip.mov"),
    ("DSCF0001_P.MOV", "DSCF0001.MOV"),
    ("YDXJ0001_thm.mp4", "YDXJ0001.mp4"),
    ("Proxy/clip.mov", "clip.mxf"),
    ("day/Proxies/clip_Proxy.mov", "day/clip.mp4"),
    ("M4ROOT/SUB/C0001S03.MP4", "M4ROOT/CLIP/C0001.MP4"),
    ("Sub/C0001S01.MP4", "Clip/C0001.MXF"),
    ("CONTENTS/PROXY/00AB.MP4", "CONTENTS/VIDEO/00AB.MXF"),
]
NO_PROXIES = [
    ("GL010001.LRV", "GX010002.MP4"),
    ("LRV_20240101_120000_11_001.insv", "VID_20240101_120000_00_002.insv"),
    ("Proxy/clip.mov", "clip.braw"),  # which cannot be read: the proxy is all there is
    ("clip_Proxy.mov", "clip.r3d"),
    ("sub/clip.mp4", "clip.mp4"),
    ("Sub/IMG_1.MOV", "Holiday/IMG_1.MOV"),
    ("proxy war.mp4", "war.mp4"),
    ("a.mov", "a.mp4"),
]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0")


@pytest.mark.parametrize(("proxy", "original"), PROXIES, ids=[proxy for proxy, _ in PROXIES])
def test_a_proxy_is_left_out_where_its_original_is(tmp_path: Path, proxy: str, original: str) -> None:
    touch(tmp_path, proxy, original)
    survey = survey_folders([tmp_path])
    assert [video.path for video in survey.videos] == [tmp_path / original]
    assert survey.left_out == {Reason.PROXY: [tmp_path / proxy]}
    assert len(list(find_videos([tmp_path], all_files=True))) == 2
    assert [video.path for video in find_videos([tmp_path / proxy])] == [tmp_path / proxy]
    (tmp_path / original).unlink()
    assert [video.path for video in find_videos([tmp_path])] == [tmp_path / proxy]


@pytest.mark.parametrize(("name", "other"), NO_PROXIES, ids=[name for name, _ in NO_PROXIES])
def test_what_only_looks_like_a_proxy_is_taken(tmp_path: Path, name: str, other: str) -> None:
    touch(tmp_path, name, other)
    assert tmp_path / name in [video.path for video in find_videos([tmp_path])]


JPEG = b"\xff\xd8\xff\xe1" + bytes(20)
HEIC = b"\0\0\0\x24ftypheic" + bytes(20)


def film(path: Path, seconds: int) -> None:
    write_video(path, np.zeros((seconds * 2, 16, 16, 3), np.uint8), 2)


@pytest.mark.parametrize(
    ("video", "picture", "seconds", "is_part"),
    [
        ("IMG_1.MOV", "IMG_1.HEIC", 3, True),
        ("IMG_1.mov", "img_1.JPG", 3, True),
        ("IMG_1.MP4", "IMG_1.heic", 2, True),
        ("IMG_1_HEVC.MOV", "IMG_1.HEIC", 3, True),
        ("IMG_1.HEIC.MOV", "IMG_1.HEIC", 3, True),
        ("IMG_1.MOV", "IMG_1.JPG", 9, False),  # a poster, as media centres keep beside a film
        ("IMG_1.MOV", "IMG_2.HEIC", 3, False),
        ("IMG_1.MOV", "IMG_1.txt", 3, False),
    ],
)
def test_the_moving_part_of_a_live_photo_is_left_out(
    tmp_path: Path, video: str, picture: str, seconds: int, is_part: bool
) -> None:
    film(tmp_path / video, seconds)
    (tmp_path / picture).write_bytes(JPEG if picture.endswith("JPG") else HEIC)
    assert survey_folders([tmp_path]).left_out == ({Reason.LIVE_PHOTO: [tmp_path / video]} if is_part else {})
    assert len(list(find_videos([tmp_path], all_files=True))) == 1


@pytest.mark.parametrize("content", [b"", bytes(99), b"no picture", b"\0\0\0\x24ftypisom"])
def test_a_video_beside_what_is_only_called_a_picture_is_taken(tmp_path: Path, content: bytes) -> None:
    film(tmp_path / "IMG_1.MOV", 2)
    for name in ("IMG_1.jpg", "IMG_1.HEIC"):
        (tmp_path / name).write_bytes(content)
    assert len(list(find_videos([tmp_path]))) == 1


def test_a_damaged_video_beside_a_picture_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "a.mov").write_bytes(b"\0\0\0\1moov" + bytes(4))
    (tmp_path / "b.mov").write_bytes(b"\0\0\0\x20moov\0\0\0\x18mvhd\0" + bytes(9))
    assert len(list(find_videos([tmp_path]))) == 2
