"""CenterCLIP's segments, class tokens and whole tower, against the authors' numbers and by properties."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from tests.support.golden_clip import load_golden
from tests.support.rounding import rounding
from vidfind.encoders.backbone import Backbone
from vidfind.encoders.centerclip import centerclip_reduction, centerclip_spectral_reduction, kept_tokens
from vidfind.encoders.clusters import medoid_tokens
from vidfind.towers.clip import ClipTower
from vidfind.towers.loop import Reduction, encode_frames
from vidfind.towers.tokens import Tokens

TEXT = {"context_length": 77, "vocab_size": 100, "width": 8, "heads": 2, "layers": 1}


def small_clip(width: int = 16, depth: int = 4) -> CLIP:
    """Nine patches a frame."""
    vision = {"image_size": 24, "patch_size": 8, "width": width, "layers": depth, "head_width": 8}
    return CLIP(12, vision, TEXT, quick_gelu=True).eval()


class NormalisedTower(ClipTower):
    """Takes frames (B * T, 3, S, S) that are normalised already."""

    def embed(self, frames: Tensor) -> tuple[Tensor, None]:
        return self.add_positions(self.visual.conv1(frames).flatten(2).transpose(1, 2)), None


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load_golden("centerclip_visual_tiny")


@torch.inference_mode()
def test_the_whole_tower_equals_the_authors(golden: dict[str, np.ndarray]) -> None:
    weights = {k.removeprefix("w__"): torch.tensor(v) for k, v in golden.items() if k.startswith("w__")}
    visual = small_clip().visual
    visual.load_state_dict(weights)
    model = small_clip()
    model.visual = visual
    tower = NormalisedTower(model)
    reduction = centerclip_reduction(Backbone(tower, 6, {}), segments=2)
    entering: dict[int, Tensor] = {}
    leaving: dict[int, Tensor] = {}

    def watched(i: int, tokens: Tokens) -> Tokens:
        entering[i] = tokens.x
        tokens = reduction.before_block(i, tokens)
        leaving[i] = tokens.x
        return tokens

    frames = torch.tensor(golden["frames"]).flatten(0, 1)
    cls = encode_frames(tower, frames, Reduction(watched, reduction.before_mlp, reduction.pool), 6)
    np.testing.assert_allclose(entering[2], golden["after_block2"], atol=1e-4)
    patches = torch.tensor(golden["after_block2"])[:, 1:].reshape(4, 27, 16)
    medoids = torch.tensor(golden["medoids"]).reshape(4, 9, 1).expand(-1, -1, 16)
    np.testing.assert_allclose(leaving[2][:, 1:], patches.gather(1, medoids), atol=1e-4)
    segments = cls @ visual.proj
    np.testing.assert_allclose(segments, golden["segment_emb"], atol=1e-4)
    for clip, mask in enumerate(golden["mask2"]):  # segments of padding are left out: vidfind has none
        real = int(mask.sum())
        video = F.normalize(reduction.pool(cls[clip : clip + 1, :real], segments[clip : clip + 1, :real]), dim=-1)
        np.testing.assert_allclose(video[0], golden["video_emb"][clip], atol=1e-4)


def test_segments_are_pooled_as_the_authors_pool_them() -> None:
    golden = load_golden("centerclip_mask_pooling")
    reduction = centerclip_reduction(Backbone(ClipTower(small_clip()), 12, {}))
    clips = zip(golden["emb_S4"], golden["mask_S4"], golden["video_emb_S4"], strict=True)
    for segments, mask, expected in list(clips)[:3]:  # the others have no real segment, and theirs is no number
        real = torch.tensor(segments[mask.astype(bool)])[None]
        np.testing.assert_allclose(F.normalize(reduction.pool(real, real), dim=-1)[0], expected, atol=rounding())


def cluster(x: Tensor, num_frames: int, **options: Any) -> Tokens:
    """Tokens (B * T, 10, C) before and after the block in the middle."""
    model = small_clip(x.shape[-1])
    return centerclip_reduction(Backbone(ClipTower(model), num_frames, {}), **options).before_block(
        2, Tokens(x, None, 1, num_frames)
    )


def random_tokens(sequences: int, width: int = 8) -> Tensor:
    return torch.randn(sequences, 10, width, generator=torch.Generator().manual_seed(0))


def test_frames_that_cannot_be_shared_out_evenly_make_segments_that_differ_by_one() -> None:
    x = random_tokens(2 * 10)
    tokens = cluster(x, num_frames=10)
    assert (tokens.x.shape, tokens.num_sequences, tokens.num_cls) == ((2 * 4, 10, 8), 4, 1)
    frames = x.view(2, 10, 10, 8)
    for clip in range(2):
        for number, (start, end) in enumerate([(0, 2), (2, 5), (5, 7), (7, 10)]):
            segment = frames[clip, start:end]
            own = tokens.x[clip * 4 + number]
            torch.testing.assert_close(own[0], segment[:, 0].mean(dim=0))
            patches = segment[:, 1:].flatten(0, 1)
            assert torch.equal(own[1:], patches[medoid_tokens(patches[None], 9).medoids[0]])


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_a_clip_of_fewer_frames_than_segments_keeps_all_its_tokens(num_frames: int) -> None:
    x = random_tokens(num_frames)
    assert torch.equal(cluster(x, num_frames).x, x)


def test_of_frames_that_are_all_the_same_those_of_the_first_are_kept() -> None:
    frame = random_tokens(1)
    tokens = cluster(frame.expand(6, -1, -1), num_frames=6, segments=2)
    torch.testing.assert_close(tokens.x, frame.expand(2, -1, -1))


def test_a_clip_is_clustered_the_same_alone_and_among_others() -> None:
    x = random_tokens(3 * 12)
    x[12:24] *= 1000
    together = cluster(x, num_frames=12).x.view(3, 4, 10, 8)
    for clip in range(3):
        alone = cluster(x[clip * 12 :][:12], num_frames=12).x
        assert torch.equal(together[clip, :, 1:], alone[:, 1:])  # the tokens kept
        size = alone.abs().max().item()
        torch.testing.assert_close(together[clip, :, 0], alone[:, 0], atol=rounding(size), rtol=0)  # means


def test_gradients_reach_the_tokens_that_are_kept_and_no_others() -> None:
    x = random_tokens(6).requires_grad_()
    cluster(x, num_frames=6, segments=2).x.sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().sum(dim=-1) > 0
    assert reached[:, 0].all() and reached[:, 1:].sum() == 2 * 9


def test_nothing_happens_at_other_blocks_and_sizes_are_of_no_account() -> None:
    model = small_clip()
    reduction = centerclip_reduction(Backbone(ClipTower(model), 12, {}))
    tokens = Tokens(random_tokens(12, 16), None, 1, 12)
    assert all(reduction.before_block(i, tokens) is tokens for i in (0, 1, 3))
    assert reduction.before_block(2, tokens).size is None


def test_the_papers_numbers_of_kept_tokens() -> None:
    assert [kept_tokens(patches) for patches in (9, 49, 196)] == [9, 49, 160]


def test_the_spectral_variant_keeps_as_many_tokens_and_other_ones() -> None:
    x = random_tokens(12)
    backbone = Backbone(ClipTower(small_clip(8)), 12, {})
    plain, spectral = (
        make(backbone).before_block(2, Tokens(x, None, 1, 12)).x
        for make in (centerclip_reduction, centerclip_spectral_reduction)
    )
    assert spectral.shape == plain.shape and not torch.equal(spectral, plain)
    torch.testing.assert_close(spectral[:, 0], plain[:, 0])
