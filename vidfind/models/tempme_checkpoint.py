"""Reads checkpoints that the public TempMe code has saved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.commands import models_command
from vidfind.errors import ModelUnavailable
from vidfind.models.adapter_file import Adapter, AdapterInfo, from_tempme
from vidfind.models.weights import loading_problem
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
        raise ModelUnavailable(f"{file} {loading_problem(error)}.") from error
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
    import torch

    from vidfind.encoders.tempme import position_name, tempme_position_shapes
    from vidfind.models.lora import fold_adapter

    open_clip = import_open_clip()
    config = open_clip.get_model_config(model)
    if config is None:
        raise ModelUnavailable(
            f"open_clip has no model called {model}. `{models_command()}` lists the recommended ones."
        )
    depth = config["vision_cfg"].get("layers")
    if not isinstance(depth, int) or not {"width", "layers"} <= config["text_cfg"].keys():
        raise ModelUnavailable(f"{model} is not a CLIP that TempMe can be trained on: its towers are of another kind.")

    tensors = adapter.tensors
    firsts = sorted(name for name in tensors if name.endswith("lora_a"))
    pairs = {name: name.removesuffix("a") + "b" for name in firsts}
    ranks = {tensors[a].shape[0] for a in pairs} | {tensors[b].shape[-1] for b in pairs.values() if b in tensors}
    positions = {name: len(position) for name, position in adapter.parameters().items()}
    num_frames = max(positions.values(), default=0)
    try:
        wanted = {position_name(block): f for block, f in tempme_position_shapes(depth, num_frames).items()}
    except ValueError:
        wanted = {}
    is_whole = len(pairs) * 2 + len(positions) == len(tensors) and all(b in tensors for b in pairs.values())
    is_whole = is_whole and all(tensor.ndim == 2 for tensor in tensors.values())
    if not is_whole or len(ranks) != 1 or not positions or positions != wanted:
        raise ModelUnavailable(
            f"{file} is not a whole TempMe adapter of {model}: LoRA of {len(pairs)} attention blocks, of rank "
            f"{', '.join(map(str, sorted(ranks))) or 'none'}, temporal positions of {positions or 'no blocks'}."
        )
    shape = {"embed_dim": config["embed_dim"], "vision_cfg": config["vision_cfg"], "text_cfg": config["text_cfg"]}
    try:
        with torch.device("meta"):
            empty = open_clip.CLIP(**shape)
        fold_adapter(empty, adapter)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{file} was not trained on {model}: {error} Name its model with --model.") from error
    return num_frames, ranks.pop()
