"""Matrix products of 8-bit integers on a CPU, by operators that PyTorch's wheels bring: weights int8, inputs uint8.

The operators are those of PyTorch's own compiler (`torch.ops.onednn`) and not documented as stable; so nothing is
taken on trust: `largest_weight` tries them in each process. Letters: M rows, K inputs, N outputs.

CPUs without VNNI add pairs of products in 16 bits. With weights up to 127 and inputs up to 255 these overflow, and the
results are wrong without any error. Weights up to 64 cannot overflow: 2 * 64 * 255 < 2 ** 15.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping

import torch
from torch import Tensor

log = logging.getLogger(__name__)

ZERO = 128
"""The input that stands for 0 where inputs have both signs."""
LIMITS = (127, 64)
"""Largest weights: of 8 bits, and of 7 bits for CPUs that add in 16 bits."""
SMALLEST = 1e-12


class Product:
    """A linear layer with weights (N, K) in 8 bits, one scale for each row, and biases (N,) in float32."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """`weights`: as `round_weights` returns them."""
        self.scales, self.sums, self.bias = (weights[name].clone() for name in ("scales", "sums", "bias"))
        self._packed = torch.ops.onednn.qlinear_prepack(weights["integers"], None)
        self._zeros = torch.zeros(len(self.scales), dtype=torch.int64)

    def __call__(
        self, inputs: Tensor, scale: float, zero: int = ZERO, with_bias: bool = True, gelu: str = ""
    ) -> Tensor:
        """uint8 (M, K) -> float32 (M, N): the product of `scale * (inputs - zero)`, the bias added, then a GELU.

        `gelu`: its approximation by PyTorch's name, `none` or `tanh`; empty for no GELU."""
        bias = self.bias if with_bias else None
        after: tuple[str, list[float], str] = ("gelu", [], gelu) if gelu else ("none", [], "")
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            inputs, scale, zero, self._packed, self.scales, self._zeros, bias, 1.0, 0, torch.float32, *after
        )
        return out

    def add_to(self, x: Tensor, inputs: Tensor, scale: float) -> None:
        """Adds the product of `scale * (inputs - 128)` and the bias to x (M, N), in place."""
        torch.ops.onednn.qlinear_pointwise.binary(
            inputs,
            scale,
            ZERO,
            self._packed,
            self.scales,
            self._zeros,
            x,
            self.bias,
            1.0,
            0,
            torch.float32,
            1.0,
            0,
            "sum",
            1.0,
            "none",
            [],
            "",
        )


def round_weights(weight: Tensor, bias: Tensor, largest: int) -> dict[str, Tensor]:
    """Weights (N, K) and biases (N,) in float32 -> what a `Product` is made of, by name.

    `largest`: the largest integer that a weight may become. The `sums` are the outputs (N,) if all inputs were 1."""
    scales = (weight.abs().amax(1).clamp_min(SMALLEST) / largest).contiguous()
    integers = (weight / scales[:, None]).round().to(torch.int8)
    return {
        "integers": integers,
        "scales": scales,
        "sums": integers.float().sum(1) * scales,
        "bias": bias.contiguous(),
    }


def agrees(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the integers among many tensors, as `round_weights` names them, have the sums that stand beside them."""
    parts = [name.removesuffix("integers") for name in tensors if name.endswith("integers")]
    return all(
        torch.equal(
            tensors[f"{part}integers"].sum(1, dtype=torch.int32).float() * tensors[f"{part}scales"],
            tensors[f"{part}sums"],
        )
        for part in parts
    )


def quantise(x: Tensor) -> tuple[Tensor, float]:
    """x in float32 -> uint8 of the same shape and its scale: x is about `scale * (integers - 128)`.

    Numbers that are not finite give a scale that is not."""
    largest = torch.maximum(x.amax(), -x.amin())  # a NaN stays one
    scale = max(float(largest), SMALLEST) / 127 if largest.isfinite() else float("nan")
    return torch.add(_HALF, x, alpha=1 / scale).to(torch.uint8), scale


_HALF = torch.tensor(ZERO + 0.5)  # conversion to integers cuts off the fraction


def quantise_rows(x: Tensor, lowest: float) -> tuple[Tensor, Tensor]:
    """x (M, K) of numbers above `-lowest` -> uint8 (M, K) and scales (M, 1): x is about `scales * integers - lowest`.

    Changes x."""
    steps = 255 / x.amax(-1, keepdim=True).add_(lowest)
    return torch.addcmul(steps * lowest + 0.5, x, steps, out=x).to(torch.uint8), steps.reciprocal_()


# Whether this machine has exact products ------------------------------------------------------------------------------


@functools.cache
def largest_weight() -> int:
    """Returns the largest weight with which products are exact in this process; 0 if there are no such products.

    Tried with the largest numbers there are, and with few and many rows, which other kernels may multiply."""
    try:
        with torch.inference_mode():
            return next((largest for largest in LIMITS if _is_exact(largest)), 0)
    except Exception as error:  # no such operators, or with other arguments: AttributeError, RuntimeError, TypeError
        log.info("no products of 8-bit integers: %s: %s", type(error).__name__, str(error).partition("\n")[0])
        return 0


def _is_exact(largest: int) -> bool:
    weight = torch.full((33, 512), float(largest))
    weight[::2] *= -1
    product = Product(round_weights(weight, torch.arange(33.0), largest))
    for rows in (1, 8, 64):
        inputs = torch.full((rows, 512), 255, dtype=torch.uint8)
        exact = 255 * weight.sum(1) + product.bias
        if not torch.equal(product(inputs, 1.0, 0), exact.expand(rows, -1)):
            return False
        around_zero, added = (255 - ZERO) * weight.sum(1), torch.ones(rows, 33)
        product.add_to(added, inputs, 1.0)
        if not torch.equal(added, (around_zero + product.bias + 1).expand(rows, -1)):
            return False
        for kind in ("none", "tanh"):
            gelu = torch.nn.functional.gelu(1e-6 * around_zero + product.bias, approximate=kind).expand(rows, -1)
            if not torch.allclose(product(inputs, 1e-6, gelu=kind), gelu, atol=1e-3):
                return False
    return True
