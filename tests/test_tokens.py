"""Merging against a slow independent version, the golden shapes, and by properties."""

import numpy as np
import pytest
import torch
from golden_clip import GOLDEN_FILES, golden_encoder, load_golden

from vidfind.tokens import Tokens, join, merge, tempme_position_shapes, tempme_reduction, tempme_schedule


def slow_merge(
    x: np.ndarray, size: np.ndarray, num_cls: int, metric: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """One sequence, token by token, as the paper describes it."""
    patches = range(num_cls, len(x))
    a = [p for p in patches if (p - num_cls) % 2 == num_cls % 2]
    b = [p for p in patches if p not in a]
    unit = metric / np.linalg.norm(metric, axis=1, keepdims=True)
    best = {i: max(b, key=lambda j: unit[i] @ unit[j]) for i in a}
    merged = sorted(a, key=lambda i: -(unit[i] @ unit[best[i]]))[:k]
    total, weight = x * size[:, None], size.copy()
    for i in merged:
        total[best[i]] += total[i]
        weight[best[i]] += weight[i]
    order = [*range(num_cls), *(i for i in a if i not in merged), *b]
    return (total / weight[:, None])[order], weight[order]


def random_tokens(n: int, num_cls: int, sequences: int = 3, width: int = 8, seed: int = 0) -> Tokens:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(sequences, n, width, generator=rng, dtype=torch.float64)
    size = torch.randint(1, 5, (sequences, n, 1), generator=rng).double()
    return Tokens(x, size, num_cls, num_sequences=sequences)


@pytest.mark.parametrize("num_cls", [1, 2, 4, 12])
@pytest.mark.parametrize("patches", [4, 9, 16])
def test_merge_equals_the_slow_version(num_cls: int, patches: int) -> None:
    tokens = random_tokens(num_cls + patches, num_cls)
    assert tokens.size is not None
    for k in range(1, patches // 2 + 1):
        merged = merge(tokens, tokens.x, k)
        assert merged.size is not None
        for i in range(len(tokens.x)):
            x, size = slow_merge(tokens.x[i].numpy(), tokens.size[i, :, 0].numpy(), num_cls, tokens.x[i].numpy(), k)
            np.testing.assert_allclose(merged.x[i].numpy(), x, atol=1e-12)
            np.testing.assert_array_equal(merged.size[i, :, 0].numpy(), size)


def test_merging_nothing_changes_nothing() -> None:
    tokens = random_tokens(9, 1)
    assert merge(tokens, tokens.x, 0) is tokens


@pytest.mark.parametrize("num_cls", [1, 6])
def test_merging_keeps_class_tokens_and_the_sum_of_all_tokens(num_cls: int) -> None:
    tokens = random_tokens(num_cls + 20, num_cls)
    merged = merge(tokens, tokens.x, 7)
    assert tokens.size is not None and merged.size is not None
    assert merged.x.shape[1] == num_cls + 13
    torch.testing.assert_close(merged.x[:, :num_cls], tokens.x[:, :num_cls])
    torch.testing.assert_close(merged.size.sum(), tokens.size.sum())
    torch.testing.assert_close((merged.x * merged.size).sum(1), (tokens.x * tokens.size).sum(1))


def test_equal_tokens_merge_first() -> None:
    tokens = random_tokens(9, 1)
    tokens.x[:, 2] = tokens.x[:, 3] * 2  # the same direction: patch 1 (in A) and patch 2 (in B)
    merged = merge(tokens, tokens.x, 1)
    assert merged.size is not None and tokens.size is not None
    joined_size = tokens.size[:, 2] + tokens.size[:, 3]
    assert all((merged.size[i] == joined_size[i]).any() for i in range(3))


def test_no_gradient_flows_through_the_matching() -> None:
    tokens = random_tokens(9, 1)
    metric = tokens.x.clone().requires_grad_()
    x = tokens.x.clone().requires_grad_()
    merge(Tokens(x, tokens.size, 1, 3), metric, 3).x.sum().backward()
    assert metric.grad is None and x.grad is not None


def test_join_puts_class_tokens_first_in_frame_order() -> None:
    x = torch.arange(2 * 4 * 3).reshape(8, 3, 1).double()  # 2 clips of 4 frames: a class token and 2 patches each
    joined = join(Tokens(x, None, num_cls=1, num_sequences=4), 2)
    assert (joined.num_cls, joined.num_sequences) == (2, 2)
    assert joined.x[0, :, 0].tolist() == [0, 3, 1, 2, 4, 5]
    assert joined.x[3, :, 0].tolist() == [18, 21, 19, 20, 22, 23]


def test_schedule_of_the_paper() -> None:
    assert tempme_schedule(12, 12).joins == {8: 2, 9: 2, 10: 3}
    assert tempme_position_shapes(12, 12) == {8: 12, 9: 6, 10: 3}
    assert tempme_schedule(12, 8).joins == {8: 2, 9: 2, 10: 2}


@pytest.mark.parametrize("depth", [5, 6, 8, 12, 24, 32, 48])
def test_schedule_scales_to_any_depth_and_leaves_a_last_block(depth: int) -> None:
    joins = tempme_schedule(depth, 12).joins
    assert len(joins) == 3 and max(joins) < depth - 1
    assert min(joins) == min(depth * 2 // 3, depth - 4)


@pytest.mark.parametrize(("depth", "num_frames"), [(4, 12), (12, 10), (12, 1)])
def test_schedule_refuses_what_it_cannot_join(depth: int, num_frames: int) -> None:
    with pytest.raises(ValueError, match="TempMe"):
        tempme_schedule(depth, num_frames)


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_token_counts_equal_the_authors(name: str) -> None:
    golden = load_golden(name)
    encoder = golden_encoder(golden)
    clips, frames = golden["frames"].shape[:2]
    depth = len(encoder.model.visual.transformer.resblocks)
    reduction = tempme_reduction(depth, frames, encoder.positions)
    x = torch.randn(clips * frames, encoder.model.visual.positional_embedding.shape[0], 64)
    tokens = Tokens(x, None, 1, frames)
    for i in range(depth):
        entering = tokens.x.shape[:2]
        tokens = reduction.before_block(i, tokens)
        tokens = reduction.before_mlp(i, tokens, tokens.x)
        assert [*entering, *tokens.x.shape[:2]] == golden["token_shapes"][i].tolist()
