"""A plugin of pytest: torch rounds otherwise, as another CPU might. For `everywhere.py`.

Each result of a matrix product, a sum or a function such as `exp` is moved by about one rounding step, up or down: the
same way for the same numbers in the same shape, so that nothing becomes a matter of chance. Whole numbers stay: sums of
whole numbers are exact on every CPU. Computations in other processes are left as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "mv", "dot", "convolution", "_scaled_dot_product_flash_attention_for_cpu"}
"""Sums of products, whose error depends on the size of the products: noise is as large as a step at the row's mean."""
SUMS = {"sum", "mean", "cumsum", "var", "std", "logsumexp", "linalg_vector_norm", "norm"}
FUNCTIONS = {"exp", "expm1", "log", "log1p", "pow", "rsqrt", "sin", "cos", "tanh", "sigmoid", "erf", "gelu", "silu"}
LAYERS = {"_softmax", "_log_softmax", "native_layer_norm", "_cdist_forward", "var_mean", "_upsample_bilinear2d_aa"}


class RoundedOtherwise(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in PRODUCTS | SUMS | FUNCTIONS | LAYERS or func._schema.is_mutable:
            return result
        if name in SUMS and isinstance(result, Tensor) and result.numel() == args[0].numel():  # each of one number
            return result
        if isinstance(result, tuple):
            return (moved(result[0], name in PRODUCTS), *result[1:])
        return moved(result, name in PRODUCTS)


def moved(x: Any, is_product: bool) -> Any:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.device.type != "cpu" or not x.numel():
        return x
    size = x.abs()
    if is_product and x.ndim:
        size = torch.maximum(size, x.square().mean(dim=-1, keepdim=True).sqrt())
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    bits = x.contiguous().view(whole).long() + x.numel()
    direction = ((bits * 2654435761 >> 9) & 3).sub(1).clamp(max=1)  # -1, 0 or 1
    noise = direction * torch.finfo(x.dtype).eps * size
    return torch.where(x == x.round(), x, (x + noise).to(x.dtype))


def pytest_configure() -> None:
    run = threading.Thread.run

    def run_rounded(thread: threading.Thread) -> None:
        with RoundedOtherwise():  # type: ignore[no-untyped-call]  # of torch's
            run(thread)

    threading.Thread.run = run_rounded  # type: ignore[method-assign, assignment]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    with RoundedOtherwise():  # type: ignore[no-untyped-call]  # of torch's
        return (yield)
