"""TempMe's schedule, and the golden shapes."""

import pytest
import torch
from golden_clip import GOLDEN_FILES, golden_encoder, load_golden

from vidfind.tempme import tempme_joins, tempme_position_shapes
from vidfind.tokens import Tokens


def test_schedule_of_the_paper() -> None:
    assert tempme_joins(12, 12) == {8: 2, 9: 2, 10: 3}
    assert tempme_position_shapes(12, 12) == {8: 12, 9: 6, 10: 3}
    assert tempme_joins(12, 8) == {8: 2, 9: 2, 10: 2}


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
