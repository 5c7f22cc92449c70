"""Clips encoded while more are decoded, several batches at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.waiting import PATIENCE
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.stream import encode_ahead
from vidfind.media.decoding import Clip, decode_ahead
from vidfind.system.machine import parallel_map


def test_vectors_belong_to_the_clips_they_come_with(clips: Path, tiny_encoder: Encoder) -> None:
    paths = [clips / "rotated90.mp4", clips / "long.mp4", clips / "vfr.mp4"]
    one_by_one: dict[tuple[Path, bytes], np.ndarray] = {}
    for batch in decode_ahead(paths, 2.0, tiny_encoder.num_frames, tiny_encoder.image_size, batch_size=1):
        for clip in (message for message in batch if isinstance(message, Clip)):
            vector = tiny_encoder.encode_video(clip.frames[np.newaxis])[0].numpy()
            one_by_one[clip.path, clip.times.tobytes()] = vector
    assert len({path for path, _ in one_by_one}) == len(paths)
    count = 0
    for batch, [vectors] in encode_ahead(paths, 2.0, [tiny_encoder]):
        found = [message for message in batch if isinstance(message, Clip)]
        for clip, vector in zip(found, vectors, strict=True):
            np.testing.assert_allclose(vector, one_by_one[clip.path, clip.times.tobytes()], atol=1e-5)
            count += 1
    assert count == len(one_by_one)


def test_results_come_in_order_however_long_each_takes() -> None:
    later = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert later.wait(PATIENCE)  # the first ends after the second has begun
        else:
            later.set()
        return number * number

    assert list(parallel_map(work, range(20), workers=2)) == [(number, number * number) for number in range(20)]


def test_each_lane_computes_on_one_core_and_afterwards_all_is_as_before() -> None:
    before = torch.get_num_threads()
    assert {threads for _, threads in parallel_map(lambda _: torch.get_num_threads(), range(8), workers=2)} == {1}
    assert torch.get_num_threads() == before


def test_no_more_is_taken_ahead_than_there_are_lanes() -> None:
    taken: list[int] = []
    free = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            if len(taken) == 4:  # two at work, one waiting, one to be given back before this one is begun
                free.set()
            yield number

    def work(number: int) -> int:
        assert free.wait(PATIENCE) if number > 0 else True
        return number

    results = parallel_map(work, items(), workers=2)
    assert next(results) == (0, 0)
    assert len(taken) <= 4
    free.set()
    results.close()


def test_an_error_in_a_lane_is_raised_where_the_results_are_wanted() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("the fourth")
        return number

    results = parallel_map(work, range(10), workers=2)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(results)
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())
