"""Contrast and its gradient: against a slow version, and in chunks against all at once."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.gradients import gradient
from vidfind.training.optimize import Room, backward_in_chunks, contrastive_loss, fit_directions, hold_back


def slow_loss(video: torch.Tensor, text: torch.Tensor, scale: float, same: set[tuple[int, int]]) -> float:
    """Row and column cross-entropy, one sum after the other."""
    n = len(video)
    score = [[scale * float(torch.cosine_similarity(v, t, dim=0)) for t in text] for v in video]
    total = 0.0
    for i in range(n):
        row = sum(math.exp(score[i][j]) for j in range(n) if i == j or (i, j) not in same)
        column = sum(math.exp(score[j][i]) for j in range(n) if i == j or (j, i) not in same)
        total += math.log(row) + math.log(column) - 2 * score[i][i]
    return total / (2 * n)


@pytest.mark.parametrize("same", [set(), {(0, 3), (3, 0), (1, 2), (2, 1)}], ids=["all different", "some the same"])
def test_the_loss_equals_a_slow_version(same: set[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    video, text = torch.randn(2, 5, 7, dtype=torch.float64)
    mask = torch.eye(5, dtype=torch.bool)
    for i, j in same:
        mask[i, j] = True
    ours = contrastive_loss(video, text, torch.tensor(10.0), mask).item()
    assert ours == pytest.approx(slow_loss(video, text, 10.0, same), rel=1e-12)


def test_pairs_that_are_all_the_same_teach_nothing() -> None:
    everything = torch.ones(4, 4, dtype=torch.bool)
    assert contrastive_loss(torch.randn(4, 3), torch.randn(4, 3), torch.tensor(5.0), everything).item() == 0


@pytest.mark.parametrize("size", [0, 3000, math.inf], ids=["computed again", "some kept", "activations kept"])
@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("chunk", [1, 3, 12])
def test_chunks_give_the_gradients_of_the_whole_batch(chunk: int, lanes: int, size: float) -> None:
    """In double precision: what is left of a difference is no rounding."""
    torch.manual_seed(0)
    towers = nn.ModuleDict({name: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8)) for name in "vt"})
    towers.double()
    clips, ids = torch.randn(2, 12, 6, dtype=torch.float64)

    def gradients(chunk: int, lanes: int, room: Room | None) -> tuple[float, list[torch.Tensor]]:
        towers.zero_grad()
        video = [lambda part=part: towers["v"](part) for part in clips.split(chunk)]
        text = [lambda part=part: towers["t"](part) for part in ids.split(chunk)]
        parameters = list(towers.parameters())
        loss = backward_in_chunks(
            video, text, lambda v, t: contrastive_loss(v, t, torch.tensor(20.0)), parameters, lanes, room
        )
        return loss.item(), [gradient(p).clone() for p in parameters]

    loss, whole = gradients(12, 1, None)
    again, chunked = gradients(chunk, lanes, Room(size, lanes))
    assert again == pytest.approx(loss, rel=1e-12)
    for a, b in zip(chunked, whole, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("size", "computed"), [(0, 8), (1000, 7), (1400, 6), (math.inf, 4)])
def test_only_chunks_whose_activations_have_no_room_are_computed_again(size: float, computed: int) -> None:
    """The activations of a chunk are its tanh: 3 rows of 16 numbers of 8 bytes; weights need no room, nor its clips."""
    tower = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8)).double()
    calls = []

    def compute(part: torch.Tensor) -> torch.Tensor:
        calls.append(part)
        features: torch.Tensor = tower(part)
        return features

    clips = torch.randn(12, 6, dtype=torch.float64)
    known = {one.untyped_storage().data_ptr() for one in (*tower.parameters(), clips)}
    video = [partial(compute, part) for part in clips.split(3)]
    backward_in_chunks(
        video,
        [lambda: torch.ones(12, 8, dtype=torch.float64)],
        lambda v, t: contrastive_loss(v, t, torch.tensor(20.0)),
        list(tower.parameters()),
        room=Room(size, 1, known),
    )
    assert len(calls) == computed


def test_a_word_moves_to_the_clips_of_its_captions_as_far_as_they_speak_for_it() -> None:
    """Texts are sums of two vectors here, that of a word and that of a motion."""
    looks, motions = torch.eye(8)[:2], torch.eye(8)[2:5]
    unseen = torch.eye(8)[5]
    text = F.normalize(torch.cat([looks[0] + motions, looks[1] + motions]), dim=-1)
    present = torch.tensor([[1.0]] * 3 + [[0.0]] * 3)  # three captions have the word, which begins as the first look

    def fitted(look: torch.Tensor) -> torch.Tensor:
        clips = torch.cat([look + motions, looks[1] + motions])
        return fit_directions(clips, text, present, lambda v, t: contrastive_loss(v, t, torch.tensor(20.0)))[0]

    assert fitted(looks[0]).norm() < 0.1  # its noun fits
    assert fitted(unseen)[5] > 0.2


def test_what_moved_clips_too_far_goes_a_part_of_the_way_back() -> None:
    weight, start = nn.Parameter(torch.tensor([2.0])), torch.tensor([1.0])
    hold_back({"a": weight}, {"a": start}, drift=0.01, most=0.02)
    assert weight.item() == 2.0
    hold_back({"a": weight}, {"a": start}, drift=0.08, most=0.02)
    assert weight.item() == pytest.approx(1.5)
