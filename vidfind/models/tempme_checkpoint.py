"""Reads checkpoints that the public TempMe code has saved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.commands import models_command
from vidfind.errors import ModelUnavailable
from vidfind.models.adapter_file import Adapter, AdapterInfo, from_tempme
from vidfind.models.weights import NOT_A_CHECKPOINT, loading_problem
from vidfind.system.imports import import_open_clip

if TYPE_CHECKING:
    from torch import Tensor

NESTED_UNDER = ("state_dict", "model_state_dict", "model")
"""Where training scripts put a model's tensors among other things."""


def read_tempme(file: Path, model: str, pretrained: str) -> Adapter:
    state = _read_state(file)
    try:
        adapter = from_tempme(state)
    except (IndexError, RuntimeError) as error:
        raise ModelUnavailable(f"{file} has names of TempMe, but tensors of other shapes: {error}.") from error
    if not adapter.tensors:
        some = ", ".join(list(state)[:3])
        raise ModelUnavailable(
            f"{file} is no adapter: of the {len(state)} tensors in it ({some}{', ...' * (len(state) > 3)}) none has a "
            "name that the public TempMe code gives to what it trains, as TVPt_LoRA_a."
        )
    num_frames, rank = _check_fit(file, adapter, model)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    info = AdapterInfo(file.stem, model, pretrained, "", "tempme", num_frames, "lora", rank, created=created)
    return Adapter(adapter.tensors, info)


def _read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, wherever in it they are. Runs no code that the file may hold."""
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that may not load: what does not is told below
            loaded = _load_any(file)
    except Exception as error:  # torch.load raises whatever a wrong file leads to: KeyError, EOFError, RuntimeError
        problem = loading_problem(error)
        is_other = problem.startswith(NOT_A_CHECKPOINT)
        said = "is not an exported adapter, nor a checkpoint of the public TempMe code" if is_other else problem
        raise ModelUnavailable(f"{file} {said}.") from error
    for key in NESTED_UNDER:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise ModelUnavailable(f"{file} is no adapter: it holds a {type(loaded).__name__}, not tensors by name.")
    return {
        str(name).removeprefix("module."): tensor for name, tensor in loaded.items() if isinstance(tensor, torch.Tensor)
    }


def _load_any(file: Path) -> Any:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError:
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_fit(file: Path, adapter: Adapter, model: str) -> tuple[int, int]:
    """Frames and rank of a TempMe adapter. Raises ModelUnavailable if it is not whole, or not for `model`."""
    config = _tower_config(model)
    ranks = _ranks(adapter)
    positions = {name: len(position) for name, position in adapter.parameters().items()}
    num_frames = max(positions.values(), default=0)
    expected = _expected_positions(config["vision_cfg"]["layers"], num_frames)
    if not _is_whole(adapter) or len(ranks) != 1 or not positions or positions != expected:
        layers = sum(name.endswith("lora_a") for name in adapter.tensors)
        raise ModelUnavailable(
            f"{file} is not a whole TempMe adapter of {model}: LoRA of {layers} attention blocks, of rank "
            f"{', '.join(map(str, sorted(ranks))) or 'none'}, temporal positions of {positions or 'no blocks'}."
        )
    _try_fold(file, adapter, model, config)
    return num_frames, ranks.pop()


def _tower_config(model: str) -> Mapping[str, Any]:
    """open_clip's configuration of a model. Raises ModelUnavailable for one that TempMe cannot be trained on."""
    config: Mapping[str, Any] | None = import_open_clip().get_model_config(model)
    if config is None:
        raise ModelUnavailable(
            f"open_clip has no model called {model}. `{models_command()}` lists the recommended ones."
        )
    if not isinstance(config["vision_cfg"].get("layers"), int) or not {"width", "layers"} <= config["text_cfg"].keys():
        raise ModelUnavailable(f"{model} is not a CLIP that TempMe can be trained on: its towers are of another kind.")
    return config


def _ranks(adapter: Adapter) -> set[int]:
    """The ranks of the LoRA of all layers."""
    tensors = adapter.tensors.items()
    firsts = {tensor.shape[0] for name, tensor in tensors if name.endswith("lora_a")}
    return firsts | {tensor.shape[-1] for name, tensor in tensors if name.endswith("lora_b")}


def _is_whole(adapter: Adapter) -> bool:
    """Whether there are only matrices: those of LoRA in pairs, and temporal positions."""
    tensors = adapter.tensors
    seconds = {name.removesuffix("a") + "b" for name in tensors if name.endswith("lora_a")}
    has_nothing_else = 2 * len(seconds) + len(adapter.parameters()) == len(tensors)
    return seconds <= tensors.keys() and has_nothing_else and all(tensor.ndim == 2 for tensor in tensors.values())


def _expected_positions(depth: int, num_frames: int) -> dict[str, int]:
    """How many temporal positions each block of a model of `depth` blocks has, by their names in an adapter.

    Empty for a number of frames that TempMe cannot join."""
    from vidfind.encoders.tempme import position_name, tempme_position_shapes

    try:
        shapes = tempme_position_shapes(depth, num_frames)
    except ValueError:
        return {}
    return {position_name(block): frames for block, frames in shapes.items()}


def _try_fold(file: Path, adapter: Adapter, model: str, config: Mapping[str, Any]) -> None:
    """Folds an adapter into a model without weights. Raises ModelUnavailable if it does not fit."""
    import torch
    import torch._meta_registrations  # for the device "meta"; see `quicken_torch`

    from vidfind.models.lora import fold_adapter

    shape = {name: config[name] for name in ("embed_dim", "vision_cfg", "text_cfg")}
    try:
        with torch.device("meta"):
            empty = import_open_clip().CLIP(**shape)
        fold_adapter(empty, adapter)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{file} was not trained on {model}: {error} Name its model with --model.") from error
