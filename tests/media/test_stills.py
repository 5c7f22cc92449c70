"""Pictures that are searched with: whatever wrote them, they are looked at as a viewer shows them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.support.corners import COLOURS, draw_corners, read_corners
from tests.support.heic import write_tiled_heic
from vidfind.errors import UnreadableVideo
from vidfind.media.frames import to_sdr
from vidfind.media.read import is_picture, read_picture

SIZE = 32
SHOWN = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB"}
"""By the number of an EXIF orientation: the corners as viewers show them."""


def corners_of(path: Path) -> str:
    """The corners of a picture, which must be the same in all frames of its clip."""
    assert is_picture(path)
    [corners] = {read_corners(frame) for frame in read_picture(path, 3, SIZE)}
    return corners


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif", "a.heic"])
def test_each_exif_orientation_is_shown_upright(tmp_path: Path, name: str, orientation: int) -> None:
    if name == "a.heic":
        turns = {1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (3, 1), 6: (3, None), 7: (1, 1), 8: (1, None)}
        write_tiled_heic(tmp_path / name, *turns[orientation])
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(draw_corners()).save(tmp_path / name, exif=exif, quality=95)
    assert corners_of(tmp_path / name) == SHOWN[orientation]


def save(picture: Image.Image, path: Path, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def pictures_of_every_kind(folder: Path) -> list[Path]:
    """Writes the corners in colours, in many formats and by wrong names."""
    rgb = Image.fromarray(draw_corners())
    clear = rgb.convert("RGBA")
    plain = [
        save(rgb, folder / name)
        for name in ("a.bmp", "a.jfif", "a.jp2", "a.tga", "a.ppm", "lossy.webp", "upper.PNG", "a.ico")
    ]
    return [
        *plain,
        save(rgb.convert("P", palette=Image.Palette.ADAPTIVE), folder / "palette.png"),
        save(rgb.convert("CMYK"), folder / "cmyk.jpg", quality=95),
        save(clear, folder / "rgba.png"),
        save(clear, folder / "rgba.webp", lossless=True),
        save(rgb, folder / "really-a-png.jpg", format="png"),
        save(rgb, folder / "without-an-extension", format="jpeg"),
        save(rgb, folder / "a.avif"),
        write_tiled_heic(folder / "tiles.heic"),
        write_tiled_heic(folder / "a-phone-said.jpg"),
    ]


def test_pictures_of_every_kind_are_read(tmp_path: Path) -> None:
    shown = {path.name: corners_of(path) for path in pictures_of_every_kind(tmp_path)}
    assert shown == dict.fromkeys(shown, "RGBW")


def test_white_shows_through_where_a_picture_is_transparent(tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 4), np.uint8)  # black, all transparent
    picture[:32, :, 3] = 255
    frame = read_picture(save(Image.fromarray(picture), tmp_path / "a.png"), 1, SIZE)[0]
    assert frame[4].max() == 0
    assert frame[-4].min() == 255


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "L"])
def test_the_greys_of_deep_pictures_are_kept(tmp_path: Path, mode: str) -> None:
    top = {"I;16": 65535, "I": 65535, "F": 1.0, "L": 255}[mode]
    kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32, "L": np.uint8}[mode]
    ramp = np.broadcast_to(np.linspace(0, top, 64), (64, 64)).astype(kind)
    frame = read_picture(save(Image.fromarray(ramp), tmp_path / "a.tif"), 1, 64)[0]
    assert np.abs(frame[32].astype(float) - np.linspace(0, 255, 64)[:, None]).max() < 3


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.avif"])
def test_an_animation_gives_frames_from_all_of_it(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in COLOURS.values()]
    options = {"lossless": True} if name == "a.webp" else {}
    save(frames[0], tmp_path / name, save_all=True, append_images=frames[1:], duration=100, **options)
    clip = read_picture(tmp_path / name, 4, SIZE)
    assert [read_corners(frame)[0] for frame in clip] == list("RGBW")


def test_pages_are_no_animation(tmp_path: Path) -> None:
    second = Image.new("RGB", (96, 64))
    path = save(Image.fromarray(draw_corners()), tmp_path / "a.tif", save_all=True, append_images=[second])
    assert corners_of(path) == "RGBW"


def test_hdr_pictures_are_tone_mapped(tmp_path: Path) -> None:
    plain = read_picture(write_tiled_heic(tmp_path / "plain.heic"), 1, SIZE)
    for curve in (16, 18):
        hdr = read_picture(write_tiled_heic(tmp_path / "hdr.heic", curve=curve), 1, SIZE)
        white = to_sdr(np.full((1, 1, 3), 65535, np.uint16), curve)
        assert np.abs(hdr[0, -4, -4].astype(int) - white[0, 0]).max() < 4
        assert np.abs(hdr.astype(int) - plain).max() > 10


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.jxl", b"\xff\x0a", "is a JPEG XL picture.*Save it as JPEG or PNG"),
        ("a.svg", b"<svg/>", "is a drawing of lines"),
        ("a.pdf", b"%PDF-1.4", "is a PDF document"),
        ("a.CR3", b"\0\0\0\x18ftypcrx ", "is a raw photo"),
        ("a.dng", b"II*\0", "is a raw photo"),
        ("a.png", b"not a picture at all", "cannot be read as a picture"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "cannot be read as a picture"),
        ("a.jpg", b"", "is empty"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(99), "cannot be read as a picture"),
    ],
    ids=str,
)
def test_a_picture_that_cannot_be_read_is_refused_with_words(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert is_picture(tmp_path / name)
    with pytest.raises(UnreadableVideo, match=reason):
        read_picture(tmp_path / name, 1, SIZE)


def test_half_a_picture_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("a.jpg", "a.png", "a.webp", "a.avif"):
        path = save(Image.fromarray(noise), tmp_path / name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(UnreadableVideo, match="damaged"):
            read_picture(path, 1, SIZE)


def test_videos_are_no_pictures(clips: Path) -> None:
    names = ["h264.mp4", "gif.gif", "mjpeg.avi", "h264.ts", "prores.mov", "not there.mp4"]
    assert not any(is_picture(clips / name) for name in names)


def test_the_library_for_heic_is_loaded_for_heic_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pillow_heif", raising=False)
    read_picture(save(Image.fromarray(draw_corners()), tmp_path / "a.png"), 1, SIZE)
    assert "pillow_heif" not in sys.modules
