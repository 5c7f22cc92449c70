"""open_clip, made lean: imported without what vidfind has no use for, and its plain models read without detours.

Knows nothing of where weights come from, nor of what is done with a model.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

COMPILER = "torch._dynamo"


def import_open_clip() -> Any:
    """The package open_clip, in a quarter of the time and with 170 MB less.

    By itself it imports every image tower of timm, and torchvision, for one function, the whole compiler of PyTorch.
    Models with a tower of timm cannot be made, which vidfind does not run either."""
    if "open_clip" in sys.modules:
        return sys.modules["open_clip"]
    before = set(sys.modules)
    try:
        with _stand_ins():
            return importlib.import_module("open_clip")
    except Exception as error:  # another version of some library, that needs more
        log.info("open_clip is imported as a whole: %s", error)
        for name in sys.modules.keys() - before:
            if name.partition(".")[0] in ("open_clip", "torchvision", "timm"):
                del sys.modules[name]
        return importlib.import_module("open_clip")


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Meanwhile there is no timm, which open_clip can do without, and the compiler is what torchvision needs of it."""
    utils, compiler = ModuleType(f"{COMPILER}.utils"), ModuleType(COMPILER)
    utils.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    compiler.utils = utils  # type: ignore[attr-defined]
    modules: dict[str, Any] = {"timm": None, COMPILER: compiler, utils.__name__: utils}  # None: "not there"
    stand_ins = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def read_plain_clip(
    model: str, weights: Path, dtype: torch.dtype, as_trained: Mapping[str, Any] | None = None
) -> Any | None:
    """OpenAI's kind of CLIP from a safetensors file that has just its weights; None for any other, which open_clip
    reads.

    Of ViT-B-32 that takes a third of the time and 0.4 GB instead of 1.2: no weights are made up first, and each is read
    by itself, as `dtype`. `as_trained`: options of `open_clip.create_model`."""
    import torch
    from safetensors import safe_open

    open_clip = import_open_clip()
    config = open_clip.get_model_config(model)
    is_plain = config.keys() <= {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
    if weights.suffix != ".safetensors" or not is_plain or "hf_model_name" in config["text_cfg"]:
        return None
    with _without_numbers():
        clip = open_clip.create_model(model, load_weights=False, **(as_trained or {}))
    shapes = {name: list(tensor.shape) for name, tensor in clip.state_dict().items()}
    with safe_open(weights, "pt") as file:
        if {name: file.get_slice(name).get_shape() for name in file.keys()} != shapes:  # noqa: SIM118, no mapping
            return None
    state = {}
    for name in shapes:
        with safe_open(weights, "pt") as file:  # anew: what is read stays in memory as long as it is open
            state[name] = file.get_tensor(name).to(dtype, copy=True)
    clip.load_state_dict(state, assign=True)
    if clip.attn_mask is not None:  # the one tensor that is in no file
        clip.attn_mask = torch.full(clip.attn_mask.shape, float("-inf"), dtype=dtype).triu(1)
    return clip


def random_clip(model: str) -> Any:
    """open_clip's model with random weights, which cost what real ones cost: in memory, and in time."""
    with _no_warning_of_no_weights():
        return import_open_clip().create_model(model, load_weights=False)


@contextmanager
def _no_warning_of_no_weights() -> Iterator[None]:
    manager = logging.root.manager
    level, manager.disable = manager.disable, logging.WARNING
    try:
        yield
    finally:
        manager.disable = level


@contextmanager
def _without_numbers() -> Iterator[None]:
    """Models made meanwhile have weights that are not filled, and take no memory until they are: others follow.

    torch's "meta" device is for this too, but imports the compiler."""
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

    with Unfilled(), _no_warning_of_no_weights():
        yield
