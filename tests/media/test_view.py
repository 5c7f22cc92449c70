"""The pictures that models see: cut to their middle or squashed, of videos and of still pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.corners import read_corners, set_matrix, write_corners
from vidfind.media.probe import examine_once, probe
from vidfind.media.read import choose_reader, read_clips, read_picture, read_with_decord
from vidfind.media.readers.pyav import read_with_pyav
from vidfind.media.sampling import Segment, View

SQUASHED = [View(64, True), View(64, True, True)]


@pytest.mark.parametrize("view", [View(64), View(64, False, True), *SQUASHED], ids=str)
@pytest.mark.parametrize(("width", "height"), [(192, 96), (96, 192)], ids=["wide", "tall"])
def test_a_squashed_picture_is_the_whole_one_and_any_other_its_middle(
    tmp_path: Path, width: int, height: int, view: View
) -> None:
    """The left fifth is red and the upper fifth blue, which a cut of one half leaves out on the longer side."""
    drawn = np.zeros((height, width, 3), np.uint8)
    drawn[:, : width // 5, 0] = drawn[: height // 5, :, 2] = 255
    Image.fromarray(drawn).save(tmp_path / "still.png")
    still = read_picture(tmp_path / "still.png", 2, view)[1]
    assert still.shape == (64, 64, 3)
    is_seen = [still[56, 2, 0] > 200, still[2, 56, 2] > 200]
    assert is_seen == ([True, True] if view.is_squashed else [width < height, width > height])


def test_linear_pixels_have_no_overshoot_and_cubic_ones_have(tmp_path: Path) -> None:
    edge = np.full((64, 64, 3), 60, np.uint8)
    edge[:, 32:] = 180
    Image.fromarray(edge).save(tmp_path / "edge.png")
    largest = [read_picture(tmp_path / "edge.png", 1, View(200, True, linear)).max() for linear in (False, True)]
    assert largest[0] > 182 and largest[1] <= 181


@pytest.mark.parametrize("name", ["h264.mp4", "rotated90.mp4", "anamorphic.mp4", "hevc_hlg.mp4"])
def test_all_readers_squash_alike(clips: Path, name: str) -> None:
    path, segments = clips / name, [Segment(0, 0.02)]
    view = SQUASHED[0]
    [(by_pyav, _)] = read_with_pyav(path, segments, 1, view, orientation=examine_once(path)[1].orientation)
    [(by_keyframes, _)] = read_clips(path, segments, 1, view, "keyframes")  # the first frame is one
    assert np.abs(by_pyav.astype(int) - by_keyframes).mean() < 3
    assert by_pyav.shape == (1, 64, 64, 3)
    if choose_reader(examine_once(path)[1]) == "decord":
        [(by_decord, _)] = read_with_decord(path, probe(path), segments, 1, view)
        assert np.abs(by_pyav.astype(int) - by_decord).mean() < 3
    assert choose_reader(examine_once(path)[1], view=SQUASHED[1]) == "pyav"  # decord interpolates by cubic curves


def test_a_turned_video_is_squashed_upright(tmp_path: Path) -> None:
    path = set_matrix(write_corners(tmp_path / "corners.mp4", size=(160, 96)), (0, 1, -1, 0))
    for sampling in ("exact", "keyframes"):
        [(clip, _)] = read_clips(path, [Segment(0, 0.1)], 1, SQUASHED[0], sampling)
        assert read_corners(clip[0]) == "BRWG"
