"""Blocks of an image tower whose products are in 8-bit integers. Everything between the products stays float32.

Knows no family of towers: each brings the `Parts` of its blocks.

Weights are rounded once, each row with its own scale; inputs when they come, with one scale for a clip, and before the
last product of a block with one for each token. Two changes of the weights, which leave the function as it is, keep
single large channels from costing all others their precision:

- the inputs of a product after a norm are made smaller and the weights larger, or the reverse (SmoothQuant, Xiao et
  al., ICML 2023, eq. 4 with alpha 0.5). Departure: the largest input is not measured but taken from the norm's weights;
- the value channels of attention are made as large where they come from as where they go to (Nagel et al., ICCV 2019),
  unless there is a norm between.

Letters as in towers/tokens.py: S sequences, N tokens, C width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.precision.integers import Product, quantise, quantise_rows, round_weights
from vidfind.system.machine import give_back_memory

LOWEST = 0.17
"""No activation is below -LOWEST: GELU ends at -0.16997, QuickGELU at -0.1636; tanh's -0.17004 is rounded to it."""
GELUS = {"gelu": "none", "tanh": "tanh"}
"""The activations that a product applies by itself, by its names for them."""
SMALLEST = 1e-5
NORM = ("weight", "bias")
DEVIATIONS = 3
"""Normed values are taken to lie within so many standard deviations."""


def activation_of(act: Any) -> str:
    """The name in `Parts` of an activation without a gate; empty for one that `Int8Block` does not know."""
    if isinstance(act, nn.GELU):
        return "tanh" if act.approximate == "tanh" else "gelu"
    return {"GELU": "gelu", "GELUTanh": "tanh", "QuickGELU": "quick"}.get(type(act).__name__, "")


Linear = tuple[Tensor, Tensor]
"""The weight (N, C) and the bias (N) of a linear layer."""


@dataclass(frozen=True)
class Parts:
    """The parts of a transformer block, of which an `Int8Block` is made, in the order in which x goes through them."""

    heads: int
    norm_1: Any
    qkv: Linear
    norm_inside: Any
    """The norm of what attention gives; None in most blocks."""
    out: Linear
    norm_2: Any
    first: Linear
    activation: str
    """`gelu`, its approximation `tanh` or `quick`; or `gated`: SiLU of the first half of the outputs is multiplied by
    the second."""
    norm_hidden: Any
    """The norm of what a gate gives; None for none, and in blocks without a gate."""
    last: Linear


Rounded = Mapping[str, Tensor]
"""The tensors of an `Int8Block` or of a `Product` by name."""
PRODUCTS = ("qkv", "out", "first", "last")


def round_blocks(
    blocks: Any, parts_of: Callable[[Any], Parts], largest: int, is_careful: bool
) -> Iterator[tuple[int, Rounded]]:
    """Yields what the `Int8Block`s of blocks are made of, by number: all but the first and the last if `is_careful`."""
    own = {0, len(blocks) - 1} if is_careful else set()
    for i, block in enumerate(blocks):
        if i not in own:
            yield i, round_parts(parts_of(block), largest)
            give_back_memory()  # of a block in floats, which else stays until all are rounded: 0.5 GB for ViT-B


def round_parts(parts: Parts, largest: int) -> dict[str, Tensor]:
    """Returns the tensors of an `Int8Block` by name. `largest`: as `round_weights` takes it."""
    (qkv, qkv_bias), (out, out_bias) = parts.qkv, parts.out
    (first, first_bias), (last, last_bias) = parts.first, parts.last
    norms: dict[str, tuple[Tensor, Tensor]] = {}
    if parts.norm_inside is None:
        qkv, qkv_bias, out = equalise_values(qkv, qkv_bias, out, parts.norm_1.weight.float())
    else:
        norms["norm_inside"], out = smooth(parts.norm_inside, out)
    norms["norm_1"], qkv = smooth(parts.norm_1, qkv)
    norms["norm_2"], first = smooth(parts.norm_2, first)
    if parts.norm_hidden is not None:
        norms["norm_hidden"], last = smooth(parts.norm_hidden, last)
    linears = ((qkv, qkv_bias), (out, out_bias), (first, first_bias), (last, last_bias))
    rounded = {f"{norm}.{part}": one for norm, ones in norms.items() for part, one in zip(NORM, ones, strict=True)}
    for product, linear in zip(PRODUCTS, linears, strict=True):
        rounded |= {f"{product}.{name}": tensor for name, tensor in round_weights(*linear, largest).items()}
    return rounded


def part_of(weights: Rounded, part: str) -> dict[str, Tensor]:
    """Those of `weights` whose names begin with `part` and a dot, by the rest of their names."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in weights.items() if name.startswith(f"{part}.")}


class Norm:
    """A layer norm with weights that differ from its own."""

    def __init__(self, norm: Any, weights: Rounded) -> None:
        self.weight, self.bias, self.eps = weights["weight"].clone(), weights["bias"].clone(), float(norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class Int8Block:
    """A transformer block with products of 8-bit integers. What adds to x may change it in place."""

    def __init__(self, parts: Parts, rounded: Rounded) -> None:
        """`rounded`: as `round_parts` returns it; the numbers in `parts` are not read."""
        self.heads, self.activation = parts.heads, parts.activation
        self.norm_1, self.norm_2 = (Norm(getattr(parts, name), part_of(rounded, name)) for name in ("norm_1", "norm_2"))
        self.norm_inside, self.norm_hidden = (
            Norm(getattr(parts, name), part_of(rounded, name)) if getattr(parts, name) is not None else None
            for name in ("norm_inside", "norm_hidden")
        )
        self.qkv, self.out, self.first, self.last = (Product(part_of(rounded, name)) for name in PRODUCTS)
        self.last_bias = self.last.bias - LOWEST * self.last.sums

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (S, N, C) -> queries, keys and values, each (S, heads, N, d), where d is the width of a head."""
        sequences, n, width = x.shape
        qkv = self.qkv(*quantise(self.norm_1(x.reshape(-1, width))))
        q, k, v = qkv.view(sequences, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v

    def add_attended(self, x: Tensor, attended: Tensor) -> Tensor:
        """x (S, N, C) and what attention gives (S, heads, N, d) -> x with the output of attention added."""
        rows, attended = (
            x.reshape(-1, x.shape[-1]),
            attended.transpose(1, 2).reshape(-1, self.heads * attended.shape[-1]),
        )
        if self.norm_inside:
            attended = self.norm_inside(attended)
        self.out.add_to(rows, *quantise(attended))
        return rows.view(x.shape)

    def add_mlp(self, x: Tensor) -> Tensor:
        """x (S, N, C) -> x with the output of the MLP added."""
        rows = x.reshape(-1, x.shape[-1])
        gelu = GELUS.get(self.activation, "")
        hidden = self.first(*quantise(self.norm_2(rows)), gelu=gelu)
        if self.activation == "gated":
            gate, values = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * values
            if self.norm_hidden:
                hidden = self.norm_hidden(hidden)
            self.last.add_to(rows, *quantise(hidden))
            return rows.view(x.shape)
        if self.activation == "quick":
            hidden = hidden * torch.sigmoid(1.702 * hidden)
        integers, scales = quantise_rows(hidden, LOWEST)
        rows.add_(self.last_bias).addcmul_(self.last(integers, 1.0, 0, with_bias=False), scales)
        return rows.view(x.shape)


def scaled(linear: Any, gamma: Tensor | None) -> Linear:
    """The weight and the bias of a linear layer with the LayerScale (N) after it, if there is one, multiplied in."""
    weight, bias = linear.weight.float(), linear.bias.float()
    return (weight, bias) if gamma is None else (weight * gamma.float()[:, None], bias * gamma.float())


def smooth(norm: Any, weight: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """A norm (C) and the weight (N, C) after it, with the differences between channels shared among both.

    Returns the norm's weight and bias, and the weight of the product."""
    gamma, beta = norm.weight.float(), norm.bias.float()
    inputs = (DEVIATIONS * gamma.abs() + beta.abs()).clamp_min(SMALLEST)
    factors = (inputs / weight.abs().amax(0).clamp_min(SMALLEST)).sqrt()
    return (gamma / factors, beta / factors), weight * factors


def equalise_values(qkv: Tensor, bias: Tensor, out: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weight (3 A, C) and bias (3 A) of queries, keys and values, and weight (C, A) of the output, with value channels
    as large where they come from as where they go to. `gamma` (C): the weight of the norm before."""
    width = out.shape[1]
    made = (qkv[-width:] * gamma).norm(dim=1).clamp_min(SMALLEST)
    factors = made.sqrt() / out.abs().amax(0).clamp_min(SMALLEST).sqrt()
    factors = factors / factors.log().mean().exp()
    of_all = torch.cat([torch.ones(2 * width), factors])
    return qkv / of_all[:, None], bias / of_all, out * factors
