"""Makes models of open_clip: plain ones read quickly from their weights, and models with random weights.

Knows nothing of where weights come from, or of how a model is used.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.models.catalog import timm_tower
from vidfind.system.imports import import_open_clip

if TYPE_CHECKING:
    import torch

PLAIN_CONFIG = frozenset({"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"})
PLAIN_VISION_CONFIG = frozenset({"image_size", "layers", "width", "patch_size", "head_width"})
"""The settings that a model may have whose image tower is CLIP's own; any other setting may change the tower."""
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
INCEPTION = (0.5, 0.5, 0.5)


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
    is_plain = config.keys() <= PLAIN_CONFIG
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


def read_image_half(
    config: Mapping[str, Any],
    weights: Path,
    dtype: torch.dtype,
    read_all: Callable[[], Any],
    is_inception: bool = False,
    is_mapped: bool = False,
) -> ImageHalf | None:
    """Reads only the image tower of a CLIP of OpenAI's kind from a safetensors file, without importing open_clip.

    `config` is open_clip's configuration of the model; None for all other kinds. `read_all` reads the whole model, when
    something else of it is asked for. `is_inception`: pixels are normalised from -1 to 1, not as OpenAI does.
    `is_mapped`: the weights stay in the file, and are read when they are used: it must not be overwritten meanwhile."""
    import torch
    from safetensors import safe_open

    tower = empty_tower(config, is_inception) if weights.suffix == ".safetensors" else None
    if tower is None:
        return None
    shapes = {f"visual.{name}": list(tensor.shape) for name, tensor in tower.state_dict().items()}
    with safe_open(weights, "pt") as file:
        names = [name for name in file.keys() if name.startswith("visual.")]  # noqa: SIM118, no mapping
        if {name: file.get_slice(name).get_shape() for name in names} != shapes:
            return None
        state = {name.removeprefix("visual."): file.get_tensor(name).to(dtype, copy=not is_mapped) for name in names}
    if not all(torch.isfinite(weight.sum()) for weight in state.values()):
        return None  # reading all of it says what is wrong
    tower.load_state_dict(state, assign=True)
    return ImageHalf(tower, read_all)


def empty_tower(config: Mapping[str, Any], is_inception: bool = False) -> Any | None:
    """Returns an image tower of CLIP whose weights have no values yet, by open_clip's configuration of the model.

    None for all other kinds. `is_inception` is as in `read_image_half`."""
    vision = config["vision_cfg"]
    is_plain = config.keys() <= PLAIN_CONFIG and vision.keys() <= PLAIN_VISION_CONFIG
    if not is_plain or not all(isinstance(one, int) for one in vision.values()):
        return None
    from vidfind.models.image_tower import ImageTower

    with _uninitialised():
        tower = ImageTower(**vision, embed_dim=config["embed_dim"], quick_gelu=bool(config.get("quick_gelu")))
    tower.image_mean, tower.image_std = (INCEPTION, INCEPTION) if is_inception else (OPENAI_MEAN, OPENAI_STD)
    return tower


def read_timm_half(
    model: str, weights: Path, dtype: torch.dtype, read_all: Callable[[], Any], as_trained: Mapping[str, Any]
) -> ImageHalf | None:
    """Reads only the image tower of a model with a tower of timm from a safetensors file with open_clip's names.

    None for other files. `read_all` as for `read_image_half`, `as_trained` as for `read_plain_clip`."""
    import torch
    from safetensors import safe_open

    if weights.suffix != ".safetensors":
        return None
    open_clip = import_open_clip()
    import_open_clip(timm_tower(open_clip.get_model_config(model)))
    with _uninitialised():
        visual = open_clip.create_model(model, load_weights=False, **as_trained).visual
    shapes = {f"visual.{name}": list(tensor.shape) for name, tensor in visual.state_dict().items()}
    with safe_open(weights, "pt") as file:
        names = [name for name in file.keys() if name.startswith("visual.")]  # noqa: SIM118, no mapping
        if {name: file.get_slice(name).get_shape() for name in names} != shapes:
            return None
        state = {name.removeprefix("visual."): file.get_tensor(name) for name in names}
    state = {name: _as_type(tensor, dtype) for name, tensor in state.items()}
    if not all(torch.isfinite(weight.sum()) for weight in state.values()):
        return None  # reading all of it says what is wrong
    visual.load_state_dict(state, assign=True)
    return ImageHalf(visual, read_all)


def _as_type(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Returns a copy of a tensor in a number format; one of integers, such as a counter, stays as it is."""
    return tensor.to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True)


class ImageHalf:
    """The image tower of a CLIP in place of the whole model, which is read when something else of it is asked for.

    Most weights of the tower may be left in their file too, until somebody borrows them."""

    def __init__(self, visual: Any, read_all: Callable[[], Any], is_dropped: bool = False) -> None:
        """`is_dropped`: most weights were left in their file."""
        self.visual = visual
        self.read_weights: Callable[[], Mapping[str, torch.Tensor]] | None = None
        """Reads the weights of the tower by their names in it; None: they cannot be dropped."""
        self._read_all = read_all
        self._whole: Any = None
        self._place: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._borrowers, self._is_dropped = 0, is_dropped
        self._left: Collection[str] | None = None
        """The weights that stay when the last borrower is gone; None: all."""

    @contextmanager
    def borrow_weights(self) -> Iterator[None]:
        """Inside, all weights of the tower are there; if they were dropped, they are read again."""
        with self._lock:
            if self._is_dropped and self._whole is None and self.read_weights:
                self._assign(self.read_weights)
            self._is_dropped = False
            self._borrowers += 1
        try:
            yield
        finally:
            with self._lock:
                self._borrowers -= 1
                self._drop()

    def drop_weights(self, all_but: Collection[str]) -> None:
        """Frees the memory of most weights of the tower, once nobody borrows them."""
        with self._lock:
            self._left = all_but
            self._drop()

    def _drop(self) -> None:
        if self._left is None or self._borrowers or self._whole is not None or self.read_weights is None:
            return
        left, self._left = self._left, None
        state = {name: tensor for name, tensor in self.visual.state_dict().items() if name in left}
        self._assign(lambda: only(self.visual, state))
        self._is_dropped = True

    def _assign(self, state: Callable[[], Mapping[str, torch.Tensor]]) -> None:
        import torch

        with torch.inference_mode(False):  # as in `whole`
            self.visual.load_state_dict(state(), assign=True)

    def to(self, **place: Any) -> ImageHalf:
        self.visual.to(**place)
        if self._whole is not None:
            self._whole.to(**place)
        self._place = place
        return self

    def eval(self) -> ImageHalf:
        self.visual.eval()
        return self

    def whole(self) -> Any:
        """The whole model. Its image tower, with the weights as they are now, becomes that of the half."""
        if self._whole is None:
            import torch

            with torch.inference_mode(False):  # else nothing could be trained that was first read for a query
                whole = self._read_all().to(**self._place).eval()
                if not self._is_dropped:
                    whole.visual.load_state_dict(self.visual.state_dict())
            self.visual, self._whole = whole.visual, whole
        return self._whole

    def __getattr__(self, name: str) -> Any:  # of what it has not itself
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.whole(), name)

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.deepcopy(self.whole(), memo)


def only(visual: Any, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All weights of an image tower, by name: copies of the given ones, and for others NaN without any memory."""
    import torch

    nothing = torch.full((), float("nan"))
    return {
        name: weights[name].clone() if name in weights else nothing.to(tensor.dtype).expand(tensor.shape)
        for name, tensor in visual.state_dict().items()
    }


def as_trained(model: str, pretrained: str) -> dict[str, Any]:
    """The options of `open_clip.create_model` for weights that it gets as a file."""
    return {
        # open_clip only warns when the model's name says otherwise.
        "force_quick_gelu": import_open_clip().get_pretrained_cfg(model, pretrained).get("quick_gelu", False),
        "force_preprocess_cfg": preprocessing(model, pretrained),
    }


PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


def preprocessing(model: str, pretrained: str) -> dict[str, Any]:
    """How weights of open_clip want pictures prepared, by open_clip's names; of a checkpoint file, what all weights
    that open_clip knows of the model agree on. What is missing is as CLIP has it."""
    open_clip = import_open_clip()
    names = (
        [pretrained]
        if open_clip.get_pretrained_cfg(model, pretrained)
        else open_clip.list_pretrained_tags_by_model(model)
    )
    tags = [open_clip.get_pretrained_cfg(model, name) for name in names]
    agreed = [key for key in PREPROCESSING if len({str(tag.get(key)) for tag in tags}) == 1]
    return {key: tags[0][key] for key in agreed if key in tags[0]}


def random_clip(model: str) -> Any:
    """Returns open_clip's model with random weights, which cost as much memory and time as real ones."""
    open_clip = import_open_clip()
    import_open_clip(timm_tower(open_clip.get_model_config(model)))
    with _quiet_about_random_weights():
        return open_clip.create_model(model, load_weights=False)


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
