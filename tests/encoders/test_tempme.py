"""TempMe's schedule, and the golden shapes."""

from math import prod

import pytest
import torch
from open_clip import CLIP
from torch.utils.flop_counter import FlopCounterMode

from tests.support.golden_clip import GOLDEN_FILES, golden_encoder, load_golden
from vidfind.encoders.backbone import Backbone
from vidfind.encoders.table import ENCODERS
from vidfind.encoders.tempme import tempme_joins, tempme_position_shapes
from vidfind.towers.clip import ClipTower
from vidfind.towers.loop import encode_frames
from vidfind.towers.tokens import Tokens


def test_schedule_of_the_paper() -> None:
    assert tempme_joins(12, 12) == {8: 2, 9: 2, 10: 3}
    assert tempme_position_shapes(12, 12) == {8: 12, 9: 6, 10: 3}
    assert tempme_joins(12, 8) == {8: 2, 9: 2, 10: 2}
    assert tempme_joins(12, 16) == {8: 2, 9: 2, 10: 4}
    assert tempme_position_shapes(12, 16) == {8: 16, 9: 8, 10: 4}


@pytest.mark.parametrize("num_frames", [8, 12, 16, 18, 24, 27, 32, 48, 64])
def test_joins_make_one_sequence_of_the_whole_clip(num_frames: int) -> None:
    factors = list(tempme_joins(12, num_frames).values())
    assert prod(factors) == num_frames and factors == sorted(factors) and min(factors) >= 2


def test_clips_of_earlier_versions_are_joined_in_parts() -> None:
    assert tempme_joins(12, 16, in_parts=True) == tempme_joins(12, 32, in_parts=True) == {8: 2, 9: 2, 10: 2}
    assert tempme_joins(12, 24, in_parts=True) == tempme_joins(12, 12) == {8: 2, 9: 2, 10: 3}
    assert tempme_joins(12, 32) == {8: 2, 9: 4, 10: 4}


@pytest.mark.parametrize("depth", [5, 6, 8, 12, 24, 32, 48])
def test_schedule_scales_to_any_depth_and_leaves_a_last_block(depth: int) -> None:
    joins = tempme_joins(depth, 12)
    assert len(joins) == 3 and max(joins) < depth - 1
    assert min(joins) == min(depth * 2 // 3, depth - 4)


@pytest.mark.parametrize(("depth", "num_frames"), [(4, 12), (12, 10), (12, 1)])
def test_schedule_refuses_what_it_cannot_join(depth: int, num_frames: int) -> None:
    with pytest.raises(ValueError, match="TempMe"):
        tempme_joins(depth, num_frames)


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_token_counts_equal_the_authors(name: str) -> None:
    golden = load_golden(name)
    encoder = golden_encoder(golden)
    clips, frames = golden["frames"].shape[:2]
    depth = len(encoder.model.visual.transformer.resblocks)
    x = torch.randn(clips * frames, encoder.model.visual.positional_embedding.shape[0], 64)
    tokens = Tokens(x, None, 1, frames)
    for i in range(depth):
        entering = tokens.x.shape[:2]
        tokens = encoder.reduction.before_block(i, tokens)
        tokens = encoder.reduction.before_mlp(i, tokens, tokens.x)
        assert [*entering, *tokens.x.shape[:2]] == golden["token_shapes"][i].tolist()


@pytest.mark.parametrize("patch_size", [32, 16])
def test_the_fast_schedule_keeps_the_promise_of_the_paper(patch_size: int) -> None:
    """At least 95 % fewer tokens and 51 % fewer GFLOPs than plain CLIP, counted on towers of CLIP's own sizes."""
    with torch.device("meta"):  # nothing is computed: the counts depend on shapes alone
        vision = {"image_size": 224, "patch_size": patch_size, "width": 768, "layers": 12}
        model = CLIP(512, vision, {"vocab_size": 100, "width": 64, "heads": 1, "layers": 1})
        model.visual.image_mean, model.visual.image_std = (0.0,) * 3, (1.0,) * 3
        tower = ClipTower(model)
        frames = torch.zeros(12, 224, 224, 3, dtype=torch.uint8)
        flops, tokens = {}, {}
        for name in ("mean", "tempme-fast"):
            reduction = ENCODERS[name].reduction(Backbone(tower, 12, {}))
            leaving: list[int] = []
            hook = model.visual.transformer.resblocks[-1].mlp.register_forward_pre_hook(
                lambda module, args, leaving=leaving: leaving.append(args[0].shape[0] * args[0].shape[1])
            )
            with FlopCounterMode(display=False) as counter:
                encode_frames(tower, frames, reduction, 12)
            hook.remove()
            flops[name], (tokens[name],) = counter.get_total_flops(), leaving
    assert tokens["tempme-fast"] <= 0.05 * tokens["mean"]
    assert flops["tempme-fast"] <= 0.49 * flops["mean"]
