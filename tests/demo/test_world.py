"""The small world: scenes, drawing, captions and files."""

from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest

from vidfind.demo import world as demo
from vidfind.demo.captions import ADJECTIVES, NOUNS, VERBS, caption
from vidfind.demo.collection import distinct_scenes, draw_collection
from vidfind.demo.drawing import draw, draw_background
from vidfind.demo.world import Background, Scene, Shape
from vidfind.media.probe import probe
from vidfind.media.read import read_clips
from vidfind.media.sampling import split_segments

GREY = Background("plain", ((128.0, 128.0, 128.0), (128.0, 128.0, 128.0)), 0.0, 1.0, (0.0,) * demo.NOISE_CELLS**2)
ALL_MOTIONS = pytest.mark.parametrize("motion", demo.MOTIONS)


def alone(shape: Shape) -> Scene:
    return Scene((shape,), GREY)


def covered(frame: np.ndarray) -> np.ndarray:
    """Where (H, W) the frame differs from the grey background."""
    differs: np.ndarray = np.abs(frame.astype(int) - 128).max(axis=-1) > 20
    return differs


def centre(frame: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(covered(frame))
    return float(columns.mean()), float(rows.mean())


@pytest.mark.parametrize("kind", demo.KINDS)
@pytest.mark.parametrize("height", [48, 64, 240])
def test_a_still_shape_stands_where_its_pose_says(kind: str, height: int) -> None:
    shape = demo.random_shape(Random(2), kind, "red", "big", "still")
    frames = draw(alone(shape), 2, height, height)
    assert np.array_equal(frames[0], frames[1])
    assert centre(frames[0]) == pytest.approx([c * height - 0.5 for c in shape.start], abs=0.06 * height)
    assert 0.25 < covered(frames[0]).sum() / (np.pi * (shape.radius[0] * height) ** 2) < 0.9


@pytest.mark.parametrize(("motion", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)])
def test_a_moving_shape_goes_far_and_the_right_way(motion: str, axis: int, sign: int) -> None:
    for seed in range(5):
        frames = draw(alone(demo.random_shape(Random(seed), colour="blue", motion=motion)), 12, 64, 64)
        first, last = centre(frames[0]), centre(frames[-1])
        assert (last[axis] - first[axis]) * sign > 0.3 * 64
        assert abs(last[1 - axis] - first[1 - axis]) < 1


@pytest.mark.parametrize(("motion", "sign"), [("grows", 1), ("shrinks", -1)])
def test_growing_and_shrinking_change_the_area(motion: str, sign: int) -> None:
    frames = draw(alone(demo.random_shape(Random(3), "square", "white", motion=motion)), 12, 64, 64)
    areas = [int(covered(frame).sum()) for frame in frames]
    assert sorted(areas, reverse=sign < 0) == areas
    assert max(areas) > 4 * min(areas)


def test_a_bouncing_shape_goes_up_and_down_several_times() -> None:
    frames = draw(alone(demo.random_shape(Random(3), "circle", "white", motion="bounces")), 48, 64, 64)
    heights = np.array([centre(frame)[1] for frame in frames])
    turns = np.count_nonzero(np.diff(np.sign(np.diff(heights))))
    assert turns >= 3
    assert np.ptp(heights) > 0.2 * 64


def test_a_spinning_shape_turns_on_the_spot() -> None:
    frames = draw(alone(demo.random_shape(Random(3), "triangle", "white", "big", "spins")), 12, 64, 64)
    places = np.array([centre(frame) for frame in frames])
    assert np.ptp(places, axis=0).max() < 4
    assert (covered(frames[0]) != covered(frames[3])).sum() > 20


@ALL_MOTIONS
def test_a_reversed_scene_shows_the_same_frames_backwards(motion: str) -> None:
    scene = alone(demo.random_shape(Random(5), "square", "red", motion=motion))
    backwards = demo.reverse(scene)
    assert backwards.shapes[0].motion == demo.REVERSED[motion]
    if motion != "spins":  # starts upright both ways
        assert np.array_equal(draw(backwards, 12, 64, 64), draw(scene, 12, 64, 64)[::-1])


def test_everything_stays_inside_the_centre_square() -> None:
    rng = Random(0)
    for _ in range(100):
        shape = demo.random_shape(rng, colour="white")
        frames = draw(alone(shape), 8, 96, 128)
        assert covered(frames[:, :, 16:-16]).any()
        for edge in (frames[:, :, :16], frames[:, :, -16:], frames[:, :1], frames[:, -1:]):
            assert not covered(edge).any(), shape


def test_the_centre_square_is_the_same_scene_at_any_width() -> None:
    for scene in (demo.random_scene(Random(seed)) for seed in range(8)):
        wide, square = draw(scene, 3, 48, 64), draw(scene, 3, 48, 48)
        assert np.abs(wide[:, :, 8:-8].astype(int) - square).max() <= 2


def test_backgrounds_are_muted_and_of_every_kind() -> None:
    rng = Random(0)
    backgrounds = [demo.random_background(rng) for _ in range(40)]
    assert {background.kind for background in backgrounds} == set(demo.BACKGROUNDS)
    for background in backgrounds:
        picture = draw_background(background, 32, 48).astype(int)
        assert picture.shape == (32, 48, 3)
        assert picture.min() >= 50
        assert picture.max() <= 210
        assert np.ptp(picture, axis=-1).max() < 60


def test_two_shapes_never_touch_nor_look_alike() -> None:
    rng = Random(0)
    for _ in range(50):
        first, second = demo.random_scene(rng, count=2).shapes
        assert (first.kind, first.colour) != (second.kind, second.colour)
        apart = [covered(draw(alone(shape), 12, 64, 64)) for shape in (first, second)]
        assert not (apart[0] & apart[1]).any()


def test_scenes_depend_on_the_seed_alone() -> None:
    def scenes(seed: int) -> list[Scene]:
        rng = Random(seed)
        return [demo.random_scene(rng) for _ in range(10)]

    assert scenes(1) == scenes(1)
    assert scenes(1) != scenes(2)
    assert np.array_equal(draw(scenes(1)[0], 4), draw(scenes(1)[0], 4))


def test_a_circle_never_spins() -> None:
    rng = Random(0)
    assert {demo.random_shape(rng, "circle").motion for _ in range(200)} == set(demo.MOTIONS) - {"spins"}


def test_one_combination_in_five_is_held_out() -> None:
    combinations = {demo.random_shape(Random(seed)).meaning: demo.random_shape(Random(seed)) for seed in range(5000)}
    share = np.mean([demo.is_held_out(alone(shape)) for shape in combinations.values()])
    assert len(combinations) > 350
    assert 0.17 < share < 0.23
    rng = Random(0)
    assert not any(demo.is_held_out(demo.random_scene(rng)) for _ in range(50))
    assert all(demo.is_held_out(demo.random_scene(rng, held_out=True)) for _ in range(50))


def test_distinct_scenes_differ_in_meaning_and_hold_one_in_five_out() -> None:
    scenes = list(distinct_scenes(Random(0), 100))
    assert len({scene.meaning for scene in scenes}) == 100
    assert sum(demo.is_held_out(scene) for scene in scenes) == 20
    assert len({caption(scene, Random(i)) for i, scene in enumerate(scenes)}) == 100


def test_a_caption_says_all_that_is_drawn() -> None:
    rng = Random(0)
    for scene in (demo.random_scene(rng) for _ in range(100)):
        words = caption(scene, rng)
        for shape in scene.shapes:
            assert shape.colour in words
            assert any(noun in words for noun in NOUNS[shape.kind])
            assert any(phrase in words for pair in VERBS[shape.motion] for phrase in pair)
            assert not shape.size or any(adjective in words for adjective in ADJECTIVES[shape.size])


def test_captions_of_one_scene_vary() -> None:
    scene = demo.random_scene(Random(0), count=1)
    assert len({caption(scene, Random(seed)) for seed in range(40)}) > 15


def test_the_same_wording_of_two_motions_differs_only_in_the_motion() -> None:
    scene = alone(demo.random_shape(Random(0), "square", "yellow", "small", "left"))
    other = replace(scene, shapes=(replace(scene.shapes[0], motion="right"),))
    for seed in range(10):
        left, right = (caption(s, Random(seed)) for s in (scene, other))
        assert left != right
        assert len(left.split()) == len(right.split())
        assert sum(a != b for a, b in zip(left.split(), right.split(), strict=True)) <= 4


def test_a_collection_is_of_real_files_with_names_that_say_nothing(tmp_path: Path) -> None:
    drawn = draw_collection(tmp_path / "new" / "folder", 3, seed=4)
    assert [path.name for path, _ in drawn] == ["clip-1.mp4", "clip-2.mp4", "clip-3.mp4"]
    scenes = list(islice(distinct_scenes(Random(4), 3), 1))
    for path, words in drawn:
        info = probe(path)
        assert (info.width, info.height, info.codec, info.frame_rate) == (320, 240, "h264", Fraction(demo.FRAME_RATE))
        assert 3 <= info.duration <= 6.1
        assert words
    clip, _ = next(read_clips(drawn[0][0], split_segments(probe(drawn[0][0]).duration, 10), 12, 64))
    difference = np.abs(clip.astype(int) - draw(scenes[0], 12, 64, 64))
    assert difference.mean() < 6  # frames as drawn, but for compression and where between two frames time falls


def test_a_collection_can_be_drawn_again(tmp_path: Path) -> None:
    captions = [[words for _, words in draw_collection(tmp_path / name, 2, seed=4)] for name in ("a", "b")]
    assert captions[0] == captions[1]
