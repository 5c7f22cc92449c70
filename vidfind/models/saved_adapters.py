"""The adapters saved by name: find, list, remove, export, import, and which one new indexes use.

They lie side by side in one folder, as the files that adapter.py reads and writes; `default.json` beside them names
the one to use for each model. Loads no model; torch is imported where tensors are touched.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vidfind.encoders.names import EncoderName
from vidfind.errors import BadInput, ModelUnavailable
from vidfind.models.adapter_file import Adapter, AdapterInfo, from_tempme, read_adapter, read_info, write_adapter
from vidfind.models.clip import import_open_clip
from vidfind.models.weights import loading_problem
from vidfind.system.paths import adapter_path, home
from vidfind.system.storage import write_text

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

TEMPME_MODEL = "ViT-B-32"
TEMPME_PRETRAINED = "openai"
"""What the public TempMe code trains on."""
NESTED_UNDER = ("state_dict", "model_state_dict", "model")
"""Where training scripts put a model's tensors among other things."""


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter's file. `info` is None where it cannot be read, for the reason in `problem`."""

    name: str
    path: Path
    size_bytes: int
    is_default: bool
    info: AdapterInfo | None
    problem: str = ""


def find_adapter(adapter: str | Path) -> Path:
    """The file of the adapter of this name; a file itself is given back.

    Raises ModelUnavailable, with the names there are, and BadInput for what can be no name."""
    if isinstance(adapter, Path):
        return adapter
    path = adapter_path(adapter)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in path.parent.glob("*.safetensors")))
        known = f"there is: {names}" if names else "there is none yet"
        raise ModelUnavailable(f"There is no adapter {adapter!r} ({known}).")
    return path


def list_adapters() -> list[SavedAdapter]:
    """All saved adapters by name, those that cannot be read among them."""
    return [_describe(path) for path in sorted((home() / "adapters").glob("*.safetensors"))]


def saved_adapter(name: str) -> SavedAdapter:
    """Raises ModelUnavailable when there is none of this name."""
    return _describe(find_adapter(name))


def _describe(path: Path) -> SavedAdapter:
    is_default = path.stem in _read_defaults().values()
    size = path.stat().st_size
    try:
        adapter_path(path.stem)  # files copied here by hand may be called anything
        return SavedAdapter(path.stem, path, size, is_default, read_info(path))
    except (ModelUnavailable, BadInput) as error:
        return SavedAdapter(path.stem, path, size, False, None, str(error))


def remove_adapter(name: str) -> None:
    """Deletes a saved adapter; indexes made with it keep their copies. Raises ModelUnavailable."""
    path = find_adapter(name)
    _write_defaults({model: default for model, default in _read_defaults().items() if default != name})
    path.unlink()


def export_adapter(name: str, file: Path, force: bool = False) -> Path:
    """Copies a saved adapter to a file or into a folder; the file made. Raises BadInput if it is there already."""
    source = find_adapter(name)
    read_info(source)  # what is broken is not handed on
    target = file / source.name if file.is_dir() else file
    if target.exists() and not force:
        raise BadInput(f"{target} is there already. To replace it, add --force.")
    if not target.parent.is_dir():
        raise BadInput(f"There is no folder {target.parent}")
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    part.replace(target)
    return target


def import_adapter(
    file: Path, name: str | None = None, model: str | None = None, pretrained: str | None = None, force: bool = False
) -> SavedAdapter:
    """Saves the adapter in a file: one of vidfind's own, or a checkpoint of the public TempMe code.

    `name` is by default the adapter's own, or the file's. `model` and `pretrained` say what a checkpoint was trained
    on, by default what the public code uses; vidfind's own files know. Raises BadInput for a name that is taken or can
    be none, ModelUnavailable for a file that is no adapter or does not fit its model."""
    if not file.is_file():
        raise BadInput(f"There is no file {file}")
    adapter = _read_own(file)
    if adapter is None:
        adapter = _read_tempme(file, model or TEMPME_MODEL, pretrained or TEMPME_PRETRAINED)
        adapter = _renamed(adapter, name or file.name.partition(".")[0])
    elif (model or pretrained) and adapter.info:
        trained_on = f"{adapter.info.model} / {adapter.info.pretrained}"
        raise BadInput(f"{file} says itself what it was trained on, {trained_on}: leave out --model and --pretrained.")
    elif name:
        adapter = _renamed(adapter, name)
    assert adapter.info
    path = check_free(adapter.info.name, force)
    write_adapter(path, adapter)
    return _describe(path)


def check_free(name: str, force: bool = False) -> Path:
    """The file for an adapter to be saved as `name`. Raises BadInput for what can be no name, or is one already."""
    path = adapter_path(name)
    if name in get_args(EncoderName):
        raise BadInput(
            f"{name} is the name of an encoder, which it would be mistaken for: add --name with another name."
        )
    if path.exists() and not force:
        raise BadInput(
            f"There already is an adapter {name!r}. "
            "To save it under another name, add --name NAME; to replace that one, add --force."
        )
    return path


def _renamed(adapter: Adapter, name: str) -> Adapter:
    assert adapter.info
    adapter_path(name)  # raises for what can be no name
    return dataclasses.replace(adapter, info=dataclasses.replace(adapter.info, name=name))


def _read_own(file: Path) -> Adapter | None:
    """The adapter in a file of vidfind's; None for any other file. Raises ModelUnavailable for a broken one."""
    with open(file, "rb") as opened:
        is_safetensors = opened.read(9)[8:] == b"{"  # eight bytes of length, then JSON
    if not is_safetensors:
        return None
    adapter = read_adapter(file)
    return adapter if adapter.info else None


def _read_tempme(file: Path, model: str, pretrained: str) -> Adapter:
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
        raise ModelUnavailable(f"open_clip has no model called {model}. `vidfind models` lists the recommended ones.")
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


# The default adapter of each model


def default_name(model: str, pretrained: str) -> str | None:
    """The name of the adapter that new indexes of this model and weights use, if it is still there and for them."""
    name = _read_defaults().get(_model_key(model, pretrained))
    try:
        if name is None or (info := read_info(find_adapter(name))).model != model:
            return None
        return name if info.pretrained == pretrained else None
    except (ModelUnavailable, BadInput) as error:
        log.info("the default adapter cannot be used: %s", error)
        return None


def set_default_adapter(name: str) -> None:
    """Makes a saved adapter the one that new indexes use, of the model and weights it was trained on."""
    info = read_info(find_adapter(name))
    _write_defaults({**_read_defaults(), _model_key(info.model, info.pretrained): name})


def default_adapters() -> dict[str, str]:
    """The name of the default adapter of each model and weights, `MODEL / WEIGHTS`, whatever became of it."""
    return _read_defaults()


def lost_defaults() -> dict[str, str]:
    """Those of `default_adapters` that can never be used: why not, each. For a file that cannot be read, the key is "".

    An adapter that is there and cannot be read is not among them: it may be brought back."""
    lost = {}
    try:
        defaults = _load_defaults()
    except BadInput as error:
        return {"": str(error)}
    for model, name in defaults.items():
        try:
            info = read_info(find_adapter(name))
            if model != _model_key(info.model, info.pretrained):
                lost[model] = f"the adapter {name!r} is the default of {model}, but was trained on another"
        except (ModelUnavailable, BadInput) as error:
            if isinstance(error, BadInput) or not adapter_path(name).is_file():
                lost[model] = f"the adapter {name!r} is the default of {model}, but there is none of that name"
    return lost


def forget_lost_defaults() -> list[str]:
    """Makes what `lost_defaults` gives the default no more; what was wrong."""
    lost = lost_defaults()
    if lost:
        _write_defaults({model: name for model, name in _read_defaults().items() if model not in lost})
    return list(lost.values())


def _model_key(model: str, pretrained: str) -> str:
    return f"{model} / {pretrained}"


def _defaults_file() -> Path:
    return home() / "adapters" / "default.json"


def _read_defaults() -> dict[str, str]:
    try:
        return _load_defaults()
    except BadInput:
        return {}  # a lost default costs an option, not an index


def _load_defaults() -> dict[str, str]:
    """Raises BadInput where the file cannot be read."""
    file = _defaults_file()
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return {str(model): str(name) for model, name in values.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error


def _write_defaults(defaults: Mapping[str, str]) -> None:
    file = _defaults_file()
    if not defaults:
        file.unlink(missing_ok=True)
        return
    write_text(file, json.dumps(defaults, indent=2) + "\n")
