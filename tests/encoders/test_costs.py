"""What encoding a clip costs, against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vidfind.encoders.costs import clip_costs, clips_to_time, count, time_interleaved
from vidfind.encoders.encoder import Encoder

TOKENS = 12 * 50


@pytest.fixture(scope="module")
def clip(tiny_encoder: Encoder) -> np.ndarray:
    size = tiny_encoder.image_size
    return np.random.default_rng(0).integers(0, 256, (1, tiny_encoder.num_frames, size, size, 3), np.uint8)


def by_hand(encoder: Encoder) -> int:
    """Multiply-adds of plain CLIP for a clip: of each block and, for each frame, of the patches and the projection."""
    visual = encoder.model.visual
    width, pixels = visual.transformer.width, 3 * visual.patch_size[0] ** 2
    patches, frames = visual.grid_size[0] * visual.grid_size[1], encoder.num_frames
    n = patches + 1
    block = n * width * (3 * width + width + 2 * 4 * width) + 2 * n * n * width
    multiply_adds: int = frames * (
        patches * pixels * width + len(visual.transformer.resblocks) * block + width * encoder.dim
    )
    return multiply_adds


def test_flops_of_plain_clip_are_two_for_each_multiply_add_counted_by_hand(
    tiny_encoder: Encoder, clip: np.ndarray
) -> None:
    tokens, flops = count(tiny_encoder.with_encoder("mean"), clip)
    assert tokens == TOKENS
    assert flops == 2 * by_hand(tiny_encoder)


def test_attention_over_all_frames_is_counted_too(tiny_encoder: Encoder, clip: np.ndarray) -> None:
    """The joint blocks of tfvl make sequences 12 times as long: only attention costs more for that."""
    _, flops = count(tiny_encoder.with_encoder("tfvl"), clip)
    _, plain = count(tiny_encoder.with_encoder("mean"), clip)
    width = tiny_encoder.model.visual.transformer.width
    joint = 2 * 2 * width * (TOKENS**2 - TOKENS * 50)  # of one block
    assert flops > plain + 2 * joint


def test_the_clusters_of_centerclip_are_counted(tiny_encoder: Encoder, clip: np.ndarray) -> None:
    """Half of the blocks see 600 tokens and half 200; the products of clustering come on top."""
    tokens, flops = count(tiny_encoder.with_encoder("centerclip"), clip)
    assert tokens == 4 * (1 + 49)
    _, plain = count(tiny_encoder.with_encoder("mean"), clip)
    assert plain * (1 / 2 + 1 / 2 * 200 / TOKENS) < flops < 0.75 * plain


def test_counts_are_of_all_clips_and_leave_nothing_behind(tiny_encoder: Encoder, clip: np.ndarray) -> None:
    before = tiny_encoder.encode_video(clip)
    one, two = count(tiny_encoder, clip), count(tiny_encoder, np.concatenate([clip, clip]))
    assert two == (2 * one[0], 2 * one[1])
    assert not tiny_encoder.model.visual.transformer.resblocks[-1].mlp._forward_pre_hooks
    assert tiny_encoder.encode_video(clip).equal(before)


def test_costs_are_those_of_one_clip_however_many_there_are(tiny_encoder: Encoder, clip: np.ndarray) -> None:
    mean = tiny_encoder.with_encoder("mean")
    turns: list[str] = []
    costs = clip_costs({"a": (tiny_encoder, clip), "b": (mean, np.repeat(clip, 3, axis=0))}, turns.append)
    assert costs["b"].tokens == TOKENS
    assert costs["a"].tokens < TOKENS and costs["a"].flops < costs["b"].flops
    assert all(cost.seconds > 0 for cost in costs.values())
    assert turns[2:6] == ["a", "b", "a", "b"]
    assert costs["a"].as_dict()["ms"] == 1000 * costs["a"].seconds


def test_a_cpu_is_timed_with_a_clip_on_each_core(tiny_encoder: Encoder) -> None:
    assert clips_to_time(tiny_encoder) == tiny_encoder.lanes


def test_what_is_measured_in_turn_stops_when_it_has_taken_long_enough() -> None:
    seconds = iter(range(0, 1000, 4))
    ran: list[str] = []
    works = {"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}
    times = time_interleaved(works, runs=5, clock=lambda: float(next(seconds)))
    assert ran == ["a", "b"] * 3  # a third time, as 8 seconds are less than enough, and no fourth
    assert times == {"a": [4.0] * 3, "b": [4.0] * 3}
