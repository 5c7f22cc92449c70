"""Merging against a slow independent version, ToMe's golden numbers, and by properties."""

import numpy as np
import pytest
import torch

from tests.support.golden_clip import load_golden
from vidfind.towers.tokens import Tokens, join, merge


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


@pytest.mark.parametrize("case", [f"c{i}" for i in range(6)])
def test_merging_equals_tome(case: str) -> None:
    golden = {name.removeprefix(f"{case}_"): torch.tensor(x) for name, x in load_golden("tome_bipartite").items()}
    x, c = golden["x"], int(golden["class_token"])
    r = min(int(golden["r"]), (x.shape[1] - c) // 2)
    merged = merge(Tokens(x, golden["size_in"], c, 1), golden["metric"], r)
    size = golden["size_in"] if merged.size is None else merged.size
    if c:
        torch.testing.assert_close(merged.x, golden["y"], atol=1e-5, rtol=0)
        torch.testing.assert_close(size, golden["size_out"])
    else:  # there those that stay are ordered by their score, here always by their place
        torch.testing.assert_close(in_any_order(merged.x), in_any_order(golden["y"]), atol=1e-5, rtol=0)
    # What each merged token is made of: the same merge of tokens that are their own numbers.
    numbers = torch.eye(x.shape[1]).expand(len(x), -1, -1)
    parts = merge(Tokens(numbers, golden["size_in"], c, 1), golden["metric"], r).x > 0  # (2, N - r, N)
    torch.testing.assert_close(parts.float().transpose(1, 2) @ merged.x, golden["unmerged"], atol=1e-5, rtol=0)


def in_any_order(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([one[one[:, 0].argsort()] for one in x])
