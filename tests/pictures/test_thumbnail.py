"""Small pictures show the right frame: near the time, upright, and in the right shape and colours."""

from __future__ import annotations

import io
import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips.make import read_number
from tests.support.corners import copy_packets, draw_corners, read_corners, set_matrix, write_corners
from tests.support.numbered import BROKEN, TRUTH, WHOLE
from vidfind.errors import UnreadableVideo
from vidfind.media.frames import centre
from vidfind.media.probe import probe
from vidfind.media.read import read_clips
from vidfind.media.sampling import Segment
from vidfind.pictures.thumbnail import thumbnail


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def numbers_near(name: str, time: float, near: float) -> list[int]:
    """The numbers that a clip shows in the `near` seconds before a time."""
    times = np.array(TRUTH[name]["times"])
    first, last = (max(int(np.searchsorted(times, one + 1e-6, "right")) - 1, 0) for one in (time - near, time))
    return [int(number) for number in TRUTH[name]["numbers"][first : last + 1]]


@pytest.mark.parametrize("near", [0.0, 0.3, 5.0], ids="{} s near".format)
@pytest.mark.parametrize("name", WHOLE)
def test_a_thumbnail_shows_a_frame_near_its_time(name: str, near: float, clips: Path) -> None:
    times = TRUTH[name]["times"]
    for time in (0.0, times[len(times) // 3] + 0.01, times[-1], times[-1] + 100):
        picture = pixels(thumbnail(clips / name, time, near=near))
        number = read_number(centre(picture, min(picture.shape[:2])))
        assert number in numbers_near(name, min(time, times[-1]), near)


@pytest.mark.parametrize(
    ("matrix", "corners", "shape"),
    [
        ((1, 0, 0, 1), "RGBW", (64, 96)),
        ((0, 1, -1, 0), "BRWG", (96, 64)),
        ((-1, 0, 0, -1), "WBGR", (64, 96)),
        ((0, -1, 1, 0), "GWRB", (96, 64)),
        ((-1, 0, 0, 1), "GRWB", (64, 96)),
    ],
)
def test_a_thumbnail_is_upright(
    matrix: tuple[float, float, float, float], corners: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    film = set_matrix(write_corners(tmp_path / "film.mp4"), matrix)
    for time in (0.0, 0.9):
        picture = pixels(thumbnail(film, time))
        assert (read_corners(picture), picture.shape[:2]) == (corners, shape)


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("orientation", "corners"), [("rotate=90", "GWRB"), ("flip=vertical", "BWRG")])
def test_a_stream_can_turn_its_pictures_by_itself(
    container: str, orientation: str, corners: str, tmp_path: Path
) -> None:
    filters = f"h264_metadata=display_orientation=insert:{orientation}"
    film = copy_packets(write_corners(tmp_path / "plain.mp4"), tmp_path / f"film.{container}", filters)
    shown = {read_corners(pixels(thumbnail(film, time, near=near))) for time in (0.0, 0.7, 0.9) for near in (0, 0.1, 5)}
    assert shown == {corners}


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.avi", "mpeg4")])
def test_a_stream_says_the_shape_of_its_pixels(name: str, codec: str, tmp_path: Path) -> None:
    film = write_corners(tmp_path / name, codec, aspect=Fraction(4, 3))
    assert {pixels(thumbnail(film, time)).shape[:2] for time in (0.0, 0.7)} == {(64, 128)}


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (0, 1, -1, 0)], ids=["wide", "tall"])
@pytest.mark.parametrize(("size", "sides"), [(320, [96, 64]), (48, [48, 32]), (1, [1, 1])])
def test_the_long_side_has_the_size_and_nothing_is_made_larger(
    matrix: tuple[float, float, float, float], size: int, sides: list[int], tmp_path: Path
) -> None:
    film = set_matrix(write_corners(tmp_path / "film.mp4"), matrix)
    assert sorted(pixels(thumbnail(film, 0.5, size)).shape[:2], reverse=True) == sides


def test_pixels_that_are_no_squares_become_squares(clips: Path) -> None:
    info = probe(clips / "anamorphic.mp4")
    height, width = pixels(thumbnail(clips / "anamorphic.mp4", 0.5, 2000)).shape[:2]
    assert (width, height) == (info.width, info.height)


@pytest.mark.parametrize("name", ["hevc_pq.mp4", "hevc_hlg.mp4"])
def test_hdr_is_as_bright_as_models_see_it(name: str, clips: Path) -> None:
    picture = pixels(thumbnail(clips / name, 0.0, 64))
    [(frames, _)] = read_clips(clips / name, [Segment(0, 0.2)], 1, min(picture.shape[:2]))
    assert picture.mean() == pytest.approx(frames.mean(), abs=8)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".tif"])
def test_a_still_is_a_thumbnail_of_itself(suffix: str, tmp_path: Path) -> None:
    still = tmp_path / f"still{suffix}"
    turned = suffix in (".jpg", ".png", ".webp")
    image = Image.fromarray(draw_corners())
    if turned:
        image.getexif()[0x0112] = 6  # turned clockwise for display
    image.save(still, exif=image.getexif())
    picture = pixels(thumbnail(still, 3.0, 48))
    assert read_corners(picture) == ("BRWG" if turned else "RGBW")
    assert sorted(picture.shape[:2]) == [32, 48]


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_video_has_a_thumbnail_where_it_can_be_read(name: str, clips: Path) -> None:
    for time in (0.0, 1.0, 2.9):
        assert pixels(thumbnail(clips / name, time)).size


@pytest.mark.parametrize("near", [0.0, 5.0])
def test_what_has_no_picture_is_a_clear_error(near: float, clips: Path, tmp_path: Path) -> None:
    for name, data in {"empty.mp4": b"", "text.mp4": b"no video" * 99, "damaged.jpg": b"\xff\xd8\xff\xe0" * 9}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "drawing.svg").write_text("<svg/>")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nothing.mp4")
    shutil.copy(clips / "cover.mp3", tmp_path)
    reasons = {
        "gone.mp4": "is not there",
        "empty.mp4": "is empty",
        "text.mp4": "is not a video",
        "damaged.jpg": "cannot be read as a picture",
        "drawing.svg": "a drawing of lines",
        "link.mp4": "is a link to a file that is not there",
        "cover.mp3": "has sound and a cover picture, but no video",
        ".": "is a folder",
    }
    for name, reason in reasons.items():
        with pytest.raises(UnreadableVideo, match=reason):
            thumbnail(tmp_path / name, 1.0, near=near)


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UnreadableVideo, match="is not a regular file"):
        thumbnail(tmp_path / "pipe.mp4", 1.0)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"near": -1.0}, {"time": float("nan")}, {"near": float("nan")}])
def test_impossible_wishes_are_mistakes_of_the_caller(wrong: dict[str, float], clips: Path) -> None:
    with pytest.raises(ValueError, match="there is no picture"):
        thumbnail(clips / "h264.mp4", **{"time": 1.0, **wrong})  # type: ignore[arg-type]
