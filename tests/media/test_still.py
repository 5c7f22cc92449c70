"""Still scenes: one picture stands for several, and whatever changes is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.scenes import SCENES, SECONDS, write_scene
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.stream import EncodedVideo, encode_videos
from vidfind.media.messages import Clip, read_video
from vidfind.media.probe import examine_once
from vidfind.media.readers import gops
from vidfind.media.readers.keyframes import read_by_keyframes
from vidfind.media.readers.still import Sizes, look_alike
from vidfind.media.sampling import Sample, Sampling, split_segments

SIZE = 112
SEGMENTS = split_segments(SECONDS, 10)


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a scene once: `gop` in frames, five a second, and noise in grey levels."""
    folder, made = tmp_path_factory.mktemp("scenes"), dict[tuple[object, ...], Path]()

    def write(name: str, gop: int, noise: int = 0, codec: str = "libx264") -> Path:
        key = (name, gop, noise, codec)
        if key not in made:
            made[key] = write_scene(folder / f"{len(made)}.mp4", SCENES[name], gop, noise, codec)
        return made[key]

    return write


def read(path: Path, sampling: Sampling = "auto", threads: int = 1) -> list[Sample]:
    return list(read_by_keyframes(path, examine_once(path)[1], SEGMENTS, 12, SIZE, sampling, threads))


def count_pictures(sample: Sample) -> int:
    return len({frame.tobytes() for frame in sample.frames})


@pytest.mark.parametrize("gop", [5, 20])
@pytest.mark.parametrize("name", SCENES)
def test_each_picture_looks_like_that_decoded_at_its_time(
    scene: Callable[..., Path], name: str, gop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read(scene(name, gop))
    monkeypatch.setattr(gops, "still_limit", lambda width, height: 0.0)  # nothing is taken for still
    for sample, decoded in zip(found, read(scene(name, gop)), strict=True):
        assert np.array_equal(sample.times, decoded.times)
        for frame, other in zip(sample.frames, decoded.frames, strict=True):
            assert look_alike(frame, other)


@pytest.mark.parametrize(
    ("gop", "noise", "codec"), [(3, 0, "libx264"), (5, 1, "libx264"), (20, 0, "libx264"), (10, 0, "libx265")]
)
@pytest.mark.parametrize("sampling", ["auto", "keyframes"])
def test_few_pictures_stand_for_a_still_scene(
    scene: Callable[..., Path], gop: int, noise: int, codec: str, sampling: Sampling
) -> None:
    path = scene("still", gop, noise, codec)
    samples = read(path, sampling)
    assert sum(map(count_pictures, samples)) <= 10
    for one, other in zip(samples, read(path, sampling, threads=3), strict=True):
        assert np.array_equal(one.frames, other.frames)


def test_where_all_frames_are_keyframes_none_stands_for_another(scene: Callable[..., Path]) -> None:
    """Nothing lies between them that could say that nothing moves."""
    assert [count_pictures(sample) for sample in read(scene("still", 1, noise=3))] == [12, 12]


@pytest.mark.parametrize(
    "packets", [[20] * 30 + [80] + [20] * 30, [20] * 30 + [40] * 8 + [20] * 30], ids=["at once", "slowly"]
)
def test_what_moves_for_a_moment_is_seen_in_the_packets(packets: list[int]) -> None:
    sizes = Sizes(1000, 30.0)
    for size in packets:
        sizes.add(size)
    assert not sizes.tell_nothing


@pytest.mark.parametrize(
    ("keyframe", "count", "are_like"), [(10_000, 9, True), (10_019, 9, True), (10_200, 9, False), (10_000, 5, False)]
)
def test_a_keyframe_between_is_like_the_first_by_its_size_and_place(keyframe: int, count: int, are_like: bool) -> None:
    first, before, after = Sizes(10_000, 30.0), Sizes(10_000, 30.0), Sizes(keyframe, 30.0)
    for one, packets in ((first, 9), (before, count)):
        for _ in range(packets):
            one.add(20)
    assert first.are_like(before, after) is are_like


def test_a_small_spot_or_a_little_less_light_is_another_picture() -> None:
    picture = np.full((SIZE, SIZE, 3), 100, np.uint8)
    noise = np.random.default_rng(0).integers(-6, 7, picture.shape)
    spot = picture.copy()
    spot[52:56, 52:56] = 120
    assert look_alike(picture, (picture + noise).astype(np.uint8))
    assert not look_alike(picture, spot)
    assert not look_alike(picture, picture + np.uint8(5))
    assert not look_alike(spot, picture)


@pytest.mark.parametrize("overlap", [False, True])
def test_clips_of_a_still_scene_are_sent_and_encoded_once(
    scene: Callable[..., Path], overlap: bool, tiny_encoder: Encoder
) -> None:
    path = scene("still", 3)
    messages = list(read_video(path, 2.0, 12, tiny_encoder.image_size, overlap=overlap))
    clips = [message for message in messages if isinstance(message, Clip)]
    assert len(clips) == (19 if overlap else 10)
    assert sum(clip.is_repeat for clip in clips) > len(clips) / 2
    assert all(clip.frames.size == 0 for clip in clips if clip.is_repeat)
    [video] = [
        event
        for event in encode_videos([path], [tiny_encoder], 2.0, overlap=overlap)
        if isinstance(event, EncodedVideo)
    ]
    assert len(video.vectors[0]) == len(video.segments) == len(clips)
    for number, clip in enumerate(clips):
        if clip.is_repeat:
            assert np.array_equal(video.vectors[0][number], video.vectors[0][number - 1])
