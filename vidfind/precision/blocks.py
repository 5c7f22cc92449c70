"""Blocks of an image tower whose products are in 8-bit integers. Everything between the products stays float32.

Weights are rounded once, each row with its own scale; inputs when they come, with one scale for a clip, and before the
last product of a block with one for each token. Two changes of the weights, which leave the function as it is, keep
single large channels from costing all others their precision:

- the inputs of a product after a norm are made smaller and the weights larger, or the reverse (SmoothQuant, Xiao et
  al., ICML 2023, eq. 4 with alpha 0.5). Departure: the largest input is not measured but taken from the norm's weights;
- the value channels of attention are made as large where they come from as where they go to (Nagel et al., ICCV 2019).

Letters as in towers/tokens.py: S sequences, N tokens, C width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.precision.integers import Product, quantise, quantise_rows

LOWEST = 0.17
"""No activation is below -LOWEST: GELU ends at -0.16997, QuickGELU at -0.1636."""
SMALLEST = 1e-5
DEVIATIONS = 3
"""Normed values are taken to lie within so many standard deviations."""


def can_quantise(block: Any) -> bool:
    """Whether `Int8Block` knows the activation of a block of open_clip."""
    gelu = getattr(block.mlp, "gelu", None)
    return (isinstance(gelu, nn.GELU) and gelu.approximate == "none") or type(gelu).__name__ == "QuickGELU"


class Int8Block:
    """A transformer block of open_clip with products of 8-bit integers. Both methods may change x in place."""

    def __init__(self, block: Any, largest: int) -> None:
        """`largest`: as `Product` takes it."""
        attn, mlp = block.attn, block.mlp
        self.heads = int(attn.num_heads)
        self.is_quick = not isinstance(mlp.gelu, nn.GELU)
        qkv, qkv_bias = attn.in_proj_weight.float(), attn.in_proj_bias.float()
        out, out_bias = scaled(attn.out_proj, block.ls_1)
        qkv, qkv_bias, out = equalise_values(qkv, qkv_bias, out, block.ln_1.weight.float())
        self.norm_1, qkv = smooth(block.ln_1, qkv)
        self.norm_2, first = smooth(block.ln_2, mlp.c_fc.weight.float())
        self.qkv, self.out = Product(qkv, qkv_bias, largest), Product(out, out_bias, largest)
        self.first = Product(first, mlp.c_fc.bias.float(), largest)
        self.last = Product(*scaled(mlp.c_proj, block.ls_2), largest)
        self.last_bias = self.last.bias - LOWEST * self.last.sums

    def attend(self, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (S, N, C) -> x with the output of attention added, and the keys (S, N, C / heads), averaged over heads.

        `bias`: what is added to the logits of attention, that of `key_bias`."""
        sequences, n, width = x.shape
        rows = x.reshape(-1, width)
        qkv = self.qkv(*quantise(F.layer_norm(rows, (width,), *self.norm_1)))
        q, k, v = qkv.view(sequences, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (S, heads, N, C / heads)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        self.out.add_to(rows, *quantise(out.transpose(1, 2).reshape(-1, width)))
        return rows.view(sequences, n, width), k.mean(dim=1)

    def add_mlp(self, x: Tensor) -> Tensor:
        """x (S, N, C) -> x with the output of the MLP added."""
        rows = x.reshape(-1, x.shape[-1])
        hidden = self.first(*quantise(F.layer_norm(rows, rows.shape[-1:], *self.norm_2)), gelu=not self.is_quick)
        if self.is_quick:
            hidden = hidden * torch.sigmoid(1.702 * hidden)
        integers, scales = quantise_rows(hidden, LOWEST)
        rows.add_(self.last_bias).addcmul_(self.last(integers, 1.0, 0, with_bias=False), scales)
        return rows.view(x.shape)


def scaled(linear: Any, layer_scale: Any) -> tuple[Tensor, Tensor]:
    """The weight and the bias of a linear layer with the LayerScale after it, if there is one, multiplied in."""
    weight, bias = linear.weight.float(), linear.bias.float()
    gamma = getattr(layer_scale, "gamma", None)
    return (weight, bias) if gamma is None else (weight * gamma.float()[:, None], bias * gamma.float())


def smooth(norm: Any, weight: Tensor) -> tuple[tuple[Tensor, Tensor, float], Tensor]:
    """A norm (C) and the weight (N, C) after it, with the differences between channels shared among both.

    Returns the norm's weight, bias and epsilon, and the weight of the product."""
    gamma, beta = norm.weight.float(), norm.bias.float()
    inputs = (DEVIATIONS * gamma.abs() + beta.abs()).clamp_min(SMALLEST)
    factors = (inputs / weight.abs().amax(0).clamp_min(SMALLEST)).sqrt()
    return (gamma / factors, beta / factors, float(norm.eps)), weight * factors


def equalise_values(qkv: Tensor, bias: Tensor, out: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weight (3 C, C) and bias (3 C) of queries, keys and values, and weight (C, C) of the output, with value channels
    as large where they come from as where they go to. `gamma` (C): the weight of the norm before."""
    made = (qkv[-len(out) :] * gamma).norm(dim=1).clamp_min(SMALLEST)
    factors = made.sqrt() / out.abs().amax(0).clamp_min(SMALLEST).sqrt()
    factors = factors / factors.log().mean().exp()
    of_all = torch.cat([torch.ones(2 * len(out)), factors])
    return qkv / of_all[:, None], bias / of_all, out * factors
