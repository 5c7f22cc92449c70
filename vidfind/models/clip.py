"""Makes models of open_clip: plain ones read quickly from their weights, and models with random weights.

Knows nothing of where weights come from, or of how a model is used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.system.imports import import_open_clip

if TYPE_CHECKING:
    import torch


def read_plain_clip(
    model: str, weights: Path, dtype: torch.dtype, as_trained: Mapping[str, Any] | None = None
) -> Any | None:
    """Reads a CLIP of OpenAI's kind from a safetensors file with exactly its weights; None for all other models.

    open_clip reads those. For ViT-B-32 this takes a third of the time, and 0.4 GB instead of 1.2: no weights are
    initialised first, and each tensor is read by itself, as `dtype`. `as_trained`: options of
    `open_clip.create_model`."""
    import torch
    from safetensors import safe_open

    open_clip = import_open_clip()
    config = open_clip.get_model_config(model)
    is_plain = config.keys() <= {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
    if weights.suffix != ".safetensors" or not is_plain or "hf_model_name" in config["text_cfg"]:
        return None
    with _uninitialised():
        clip = open_clip.create_model(model, load_weights=False, **(as_trained or {}))
    shapes = {name: list(tensor.shape) for name, tensor in clip.state_dict().items()}
    with safe_open(weights, "pt") as file:
        if {name: file.get_slice(name).get_shape() for name in file.keys()} != shapes:  # noqa: SIM118, no mapping
            return None
    state = {}
    for name in shapes:
        with safe_open(
            weights, "pt"
        ) as file:  # opened for each tensor: pages that were read stay in memory while it is open
            state[name] = file.get_tensor(name).to(dtype, copy=True)
    clip.load_state_dict(state, assign=True)
    if clip.attn_mask is not None:  # the one tensor that is in no file
        clip.attn_mask = torch.full(clip.attn_mask.shape, float("-inf"), dtype=dtype).triu(1)
    return clip


def random_clip(model: str) -> Any:
    """Returns open_clip's model with random weights, which cost as much memory and time as real ones."""
    with _quiet_about_random_weights():
        return import_open_clip().create_model(model, load_weights=False)


@contextmanager
def _quiet_about_random_weights() -> Iterator[None]:
    manager = logging.root.manager
    level, manager.disable = manager.disable, logging.WARNING
    try:
        yield
    finally:
        manager.disable = level


@contextmanager
def _uninitialised() -> Iterator[None]:
    """Inside this context, new models have uninitialised weights, which take no memory until they are written.

    torch's "meta" device serves the same purpose, but it imports the compiler."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            options = kwargs or {}
            if getattr(function, "__module__", None) == "torch.nn.init":
                return options["tensor"] if "tensor" in options else args[0]
            if function in (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_):
                return args[0]
            return (torch.empty if function is torch.randn else function)(*args, **options)

    with Unfilled(), _quiet_about_random_weights():
        yield
