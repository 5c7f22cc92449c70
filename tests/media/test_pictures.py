"""Pictures as players show them: turned, mirrored, and with pixels that are no squares."""

from __future__ import annotations

import math
import shutil
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.support.corners import copy_packets, draw_corners, read_corners, set_matrix, write_corners
from vidfind.media.probe import examine_once, probe
from vidfind.media.read import choose_reader, read_clips
from vidfind.media.sampling import Sampling, Segment

SAMPLINGS = get_args(Sampling)
ORIENTATIONS = {
    "upright": ((1, 0, 0, 1), "RGBW"),
    "mirrored": ((-1, 0, 0, 1), "GRWB"),
    "upside down": ((-1, 0, 0, -1), "WBGR"),
    "flipped": ((1, 0, 0, -1), "BWRG"),
    "clockwise": ((0, 1, -1, 0), "BRWG"),
    "counter-clockwise": ((0, -1, 1, 0), "GWRB"),
    "transposed": ((0, 1, 1, 0), "RBGW"),
    "transposed and upside down": ((0, -1, -1, 0), "WGBR"),
}
"""By name: where steps to the right and down lead (x, y, x, y; y goes down), and the colours of the corners then."""
TURNED = [pytest.param(*case, id=name) for name, case in ORIENTATIONS.items()]


def shown(path: Path, sampling: Sampling) -> str:
    """The corners of all frames that are read from a video; they must be the same in all of them."""
    [(clip, _)] = read_clips(path, [Segment(0, 1)], 3, 32, sampling)
    [corners] = {read_corners(frame) for frame in clip}
    return corners


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upright mp4 file, to be copied and changed."""
    return write_corners(tmp_path_factory.mktemp("plain") / "plain.mp4")


@pytest.fixture
def film(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(plain, tmp_path / "film.mp4"))


# Display matrices


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(("matrix", "corners"), TURNED)
def test_each_orientation_is_shown_as_players_do(
    film: Path, matrix: tuple[int, int, int, int], corners: str, sampling: Sampling
) -> None:
    set_matrix(film, matrix)
    assert shown(film, sampling) == corners
    info = probe(film)
    assert (info.width, info.height) == ((96, 64) if matrix[0] else (64, 96))


@pytest.mark.parametrize(
    ("angle", "corners"), [(7, "RGBW"), (44, "RGBW"), (46, "BRWG"), (93, "BRWG"), (175, "WBGR"), (-80, "GWRB")]
)
@pytest.mark.parametrize("scale", [0.01, 1, 1000])
def test_other_angles_are_the_nearest_quarter_turn(film: Path, angle: float, corners: str, scale: float) -> None:
    x, y = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    assert shown(set_matrix(film, (x, y, -y, x)), "auto") == corners


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(
    "matrix",
    [
        (0, 0, 0, 0), (1, 0, 1, 0), (1, 1, 1, 1), (0, 0, 0, 1), (1, 0, 3, 1), (1, 0, -500, 1),
        (9e9, -9e9, -9e9, 9e9), (1e-5, 0, 0, 0),
    ],
    ids=["zeros", "singular", "one direction", "a line", "sheared", "sheared far", "too large", "too small"],
)  # fmt: skip
def test_a_matrix_that_means_nothing_leaves_the_picture_as_it_is(
    film: Path, matrix: tuple[float, float, float, float], sampling: Sampling
) -> None:
    set_matrix(film, matrix)
    assert shown(film, sampling) == "RGBW"
    info = probe(film)
    assert (info.width, info.height, info.rotation) == (96, 64, 0)


@pytest.mark.parametrize(("matrix", "corners"), TURNED)
def test_matrices_of_movie_and_track_add_up(film: Path, matrix: tuple[int, int, int, int], corners: str) -> None:
    set_matrix(set_matrix(film, (-1, 0, 0, -1), b"mvhd"), matrix)
    assert shown(film, "auto") == corners[::-1]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(("matrix", "corners"), TURNED)
def test_matroska_turns_pictures_too(
    film: Path, matrix: tuple[int, int, int, int], corners: str, sampling: Sampling
) -> None:
    set_matrix(film, matrix)
    turned = copy_packets(film, film.with_suffix(".mkv"))
    assert shown(turned, sampling) == corners


@pytest.mark.parametrize("container", ["ts", "mp4"])
@pytest.mark.parametrize(
    ("orientation", "corners"),
    [("rotate=90", "GWRB"), ("rotate=270", "BRWG"), ("flip=horizontal", "GRWB"), ("flip=vertical", "BWRG")],
)
def test_a_stream_can_turn_its_pictures_by_itself(
    tmp_path: Path, orientation: str, corners: str, container: str
) -> None:
    plain = write_corners(tmp_path / "plain.mp4", options={"g": "1"})
    filters = f"h264_metadata=display_orientation=insert:{orientation}"
    turned = copy_packets(plain, tmp_path / f"turned.{container}", filters)
    assert {shown(turned, sampling) for sampling in SAMPLINGS} == {corners}


def test_decord_is_given_no_file_with_a_display_matrix(film: Path) -> None:
    assert choose_reader(examine_once(film)[1]) == "decord"
    assert choose_reader(examine_once(set_matrix(film, (-1, 0, 0, 1)))[1]) == "pyav"


# Pixels that are no squares

QUIET = {"libx265": {"x265-params": "log-level=none:keyint=5"}}
SQUARE = np.full((64, 96, 3), 255, np.uint8)
"""White, with a black square of 16 pixels in the middle."""
SQUARE[24:40, 40:56] = 0


def without_aspect_box(path: Path) -> Path:
    """Makes a box of the pixel aspect in an mp4 file one that is skipped: only the stream has it then."""
    path.write_bytes(path.read_bytes().replace(b"pasp", b"free"))
    return path


def with_aspect_box(width: int, height: int) -> Callable[[Path], Path]:
    def change(path: Path) -> Path:
        data = bytearray(path.read_bytes())
        struct.pack_into(">II", data, data.index(b"pasp") + 4, width, height)
        path.write_bytes(data)
        return path

    return change


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(
    ("name", "codec", "aspect", "change", "shown_as"),
    [
        ("a.ts", "libx264", Fraction(2), None, (192, 64)),
        ("a.ts", "libx264", Fraction(1, 2), None, (96, 128)),
        ("a.ts", "mpeg2video", Fraction(16 * 64, 9 * 96), None, (114, 64)),  # as 16:9
        ("a.ts", "libx265", Fraction(4, 3), None, (128, 64)),
        ("a.mpg", "mpeg2video", Fraction(16 * 64, 9 * 96), None, (114, 64)),
        ("a.avi", "mpeg4", Fraction(16, 11), None, (140, 64)),
        ("a.flv", "libx264", Fraction(4, 3), None, (128, 64)),
        ("a.m4v", "mpeg4", Fraction(16, 11), None, (140, 64)),
        ("a.mkv", "libx264", Fraction(4, 3), None, (128, 64)),
        ("a.mp4", "libx264", Fraction(4, 3), without_aspect_box, (128, 64)),
        ("a.mp4", "libx265", Fraction(4, 3), without_aspect_box, (128, 64)),
        ("a.mp4", "libx264", Fraction(4, 3), with_aspect_box(2, 1), (192, 64)),  # the container is believed
        ("a.mp4", "libx264", Fraction(4, 3), with_aspect_box(0, 1), (128, 64)),
        ("a.mp4", "libx264", Fraction(4, 3), with_aspect_box(1, 0), (128, 64)),
    ],
)  # fmt: skip
def test_the_pixel_aspect_is_the_same_for_every_reader(
    tmp_path: Path,
    name: str,
    codec: str,
    aspect: Fraction,
    change: Callable[[Path], Path] | None,
    shown_as: tuple[int, int],
    sampling: Sampling,
) -> None:
    path = write_corners(tmp_path / name, codec, aspect=aspect, options=QUIET.get(codec), picture=SQUARE)
    if change:
        change(path)
    info = probe(path)
    assert (info.width, info.height) == shown_as
    [(clip, _)] = read_clips(path, [Segment(0, 1)], 2, 64, sampling)
    for frame in clip:
        black = frame.mean(axis=2) < 128
        ratio = (96 * shown_as[1]) / (64 * shown_as[0])
        assert black[32].sum() * ratio == pytest.approx(black[:, 32].sum(), abs=2)


def test_players_obey_odd_pixel_aspects_and_so_do_we(film: Path) -> None:
    path = write_corners(film, aspect=Fraction(4, 3))
    for box, size in {(20, 1): (1920, 64), (1, 20): (96, 1280), (2**31 - 1, 1): (96, 64)}.items():
        info = probe(with_aspect_box(*box)(path))
        assert (info.width, info.height) == size
        assert shown(path, "auto") == "RGBW"


def test_pictures_of_a_camera_that_say_how_it_was_held_are_turned(tmp_path: Path) -> None:
    """PyAV cannot list what FFmpeg says of such a frame, but can tell its angle."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # stored counter-clockwise
    with open(tmp_path / "a.mjpeg", "wb") as file:
        for _ in range(25):
            Image.fromarray(draw_corners()).save(file, "jpeg", exif=exif)
    assert {shown(tmp_path / "a.mjpeg", sampling) for sampling in SAMPLINGS} == {"BRWG"}
