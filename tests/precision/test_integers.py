import platform

import pytest
import torch

from tests.support.after_torch import RunAfterTorch
from vidfind.precision.integers import LIMITS, Product, largest_weight, quantise, quantise_rows, round_weights

needs_integers = pytest.mark.skipif(
    not largest_weight(), reason="this CPU, or its PyTorch, has no products of integers"
)


def test_rounding_to_integers_is_off_by_half_a_step() -> None:
    x = torch.randn(7, 33, generator=torch.Generator().manual_seed(0)) * 3
    integers, scale = quantise(x)
    assert integers.dtype == torch.uint8
    torch.testing.assert_close(scale * (integers.float() - 128), x, atol=0.51 * scale, rtol=0)
    assert torch.equal(quantise(torch.zeros(2, 3))[0], torch.full((2, 3), 128, dtype=torch.uint8))


def test_rows_are_rounded_each_by_its_own_scale() -> None:
    x = torch.rand(4, 33) * torch.tensor([[0.01], [1.0], [100.0], [0.0]]) - 0.17
    integers, scales = quantise_rows(x.clone(), 0.17)
    assert integers.dtype == torch.uint8
    assert ((scales * integers - 0.17 - x).abs() <= 0.51 * scales).all()


@needs_integers
@pytest.mark.parametrize("gelu", ["", "none", "tanh"])
def test_products_of_integers_are_close_to_those_of_floats(gelu: str) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(40, 96), torch.randn(33, 96) * 0.1, torch.randn(33)
    exact = x @ weight.T + bias
    exact = torch.nn.functional.gelu(exact, approximate=gelu) if gelu else exact
    product = Product(round_weights(weight, bias, largest_weight()))
    assert torch.cosine_similarity(product(*quantise(x), gelu=gelu), exact).min() > 0.999
    torch.testing.assert_close(
        product(torch.ones(1, 96, dtype=torch.uint8), 1.0, 0, with_bias=False)[0], product.sums, atol=1e-4, rtol=1e-4
    )
    if not gelu:
        added = x[:, :33].clone()
        product.add_to(added, *quantise(x))
        assert torch.cosine_similarity(added, exact + x[:, :33]).min() > 0.999


@needs_integers
def test_numbers_that_are_not_finite_stay_so() -> None:
    product = Product(round_weights(torch.ones(3, 4), torch.zeros(3), largest_weight()))
    for number in (torch.nan, torch.inf):
        x = torch.ones(2, 4)
        x[0, 0] = number
        assert not product(*quantise(x))[0].isfinite().any()


@needs_integers
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only these CPUs can be held back")
def test_a_cpu_without_vnni_gets_weights_of_seven_bits(after_torch: RunAfterTorch) -> None:
    """Here only the products themselves can tell: with 8 bits, such a CPU gives wrong numbers without any error."""
    code = """
import os
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
from vidfind.precision.integers import largest_weight
print(largest_weight())
"""
    assert int(after_torch(code)) == LIMITS[1]
