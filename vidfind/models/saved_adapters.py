"""The adapters saved by name: find, list, remove, export, import, and which one new indexes use.

They lie side by side in one folder, as the files that adapter.py reads and writes; `default.json` beside them names
the one to use for each model. Loads no model; torch is imported where tensors are touched.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from vidfind.encoders.names import EncoderName
from vidfind.errors import BadInput, ModelUnavailable
from vidfind.models.adapter_file import (
    Adapter,
    AdapterInfo,
    find_adapter,
    read_adapter,
    read_info,
    write_adapter,
)
from vidfind.models.catalog import TEMPME_MODEL, TEMPME_PRETRAINED
from vidfind.models.default_adapters import read_defaults, write_defaults
from vidfind.models.tempme_checkpoint import read_tempme
from vidfind.system.paths import adapter_path, home
from vidfind.system.storage import storage_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter that fine-tuning has saved, or that was imported."""

    name: str
    """The name, as `load_encoder` and `--adapter` take it."""
    path: Path
    """The file of the adapter."""
    size_bytes: int
    is_default: bool
    """Whether new indexes of its model use this adapter."""
    info: AdapterInfo | None
    """The header of the file; None if it cannot be read."""
    problem: str = ""
    """Why the file cannot be read; empty if it can."""


def list_adapters() -> list[SavedAdapter]:
    """Returns all saved adapters, by name. Those that cannot be read have a `problem`.

    >>> from vidfind import list_adapters, load_encoder
    >>> for adapter in list_adapters():
    ...     encoder = load_encoder(adapter=adapter.name)
    """
    return [_describe(path) for path in sorted((home() / "adapters").glob("*.safetensors"))]


def saved_adapter(name: str) -> SavedAdapter:
    """Returns the saved adapter of this name. Raises ModelUnavailable if there is none."""
    return _describe(find_adapter(name))


def _describe(path: Path) -> SavedAdapter:
    is_default = path.stem in read_defaults().values()
    size = path.stat().st_size
    try:
        adapter_path(path.stem)  # files copied here by hand may be called anything
        return SavedAdapter(path.stem, path, size, is_default, read_info(path))
    except (ModelUnavailable, BadInput) as error:
        return SavedAdapter(path.stem, path, size, False, None, str(error))


def remove_adapter(name: str) -> None:
    """Deletes a saved adapter; indexes made with it keep their copies. Raises ModelUnavailable."""
    path = find_adapter(name)
    write_defaults({model: default for model, default in read_defaults().items() if default != name})
    with storage_errors(path.parent):
        path.unlink()


def export_adapter(name: str, target: str | Path, force: bool = False) -> Path:
    """Copies a saved adapter to a file or into a folder; returns the new file.

    A name that ends with a slash, or has no extension, is that of a folder, which is made. Raises BadInput if the file
    exists already, or cannot be written."""
    source = find_adapter(name)
    read_info(source)  # what is broken is not handed on
    file = Path(target).expanduser()
    if file.is_dir() or str(target).endswith(("/", os.sep)) or not (file.suffix or file.exists()):
        file = file / source.name
    if parent := next((parent for parent in file.parents if parent.exists() and not parent.is_dir()), None):
        raise BadInput(f"{parent} is a file, not a folder.")
    if file.exists() and not force:
        raise BadInput(f"{file} is there already. To replace it, add --force.")
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise BadInput(f"{file} cannot be written: {error.strerror or error}.") from error
    return file


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
        adapter = read_tempme(file, model or TEMPME_MODEL, pretrained or TEMPME_PRETRAINED)
        try:
            adapter = _renamed(adapter, name or file.name.partition(".")[0])
        except BadInput as error:
            raise BadInput(str(error) if name else f"{error} To give it a name, add --name NAME.") from error
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
    """Returns the file for a new adapter. Raises BadInput if `name` cannot be a name, or is taken."""
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
