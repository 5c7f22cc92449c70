"""Checks the models in use and the cache of downloads."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from vidfind.commands import OTHER_INDEX, weights_command
from vidfind.doctor.data import index_folders
from vidfind.doctor.findings import Found
from vidfind.errors import ModelUnavailable, Problem, VidfindError
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import read_generation
from vidfind.system.text import file_size

STALE = 3600.0  # seconds; a file that was not written to for this long belongs to no running download
COMMIT = re.compile(rb"[0-9a-f]{40}\s*")


# Models ---------------------------------------------------------------------------------------------------------------


def models_in_use(indexes: Sequence[IndexPath]) -> list[tuple[str, str]]:
    """Returns model and weights of each index and adapter, and the recommended ones that are on this machine."""
    from vidfind.models.catalog import MODELS
    from vidfind.models.hub import find_in_cache
    from vidfind.models.saved_adapters import list_adapters

    used = []
    for path in indexes:
        with suppress(VidfindError, OSError):  # reported already
            identity = read_generation(path).settings.identity
            used.append((identity.model, identity.pretrained))
    used += [(saved.info.model, saved.info.pretrained) for saved in list_adapters() if saved.info]
    used += [(entry.model, entry.pretrained) for entry in MODELS if entry.hub and find_in_cache(entry.hub)]
    return list(dict.fromkeys(used))


def look_at_model(model: str, pretrained: str) -> Found:
    """Checks the weights of a model; reads them in full if their digest is known."""
    from vidfind.models.hub import look_for_weights
    from vidfind.models.weights import digest_problem, weights_problem

    try:
        path, hub = look_for_weights(model, pretrained)
    except ModelUnavailable as error:
        remedy = f"bring the file back, or say where it is now: `{weights_command(OTHER_INDEX)}`"
        return Found("", [Problem(error.reason.rstrip("."), remedy)])
    if path is None:
        return Found("not on this machine: fetched when it is needed")
    facts = file_size(path.stat().st_size)
    if trouble := weights_problem(path) or digest_problem(path):
        text = f"{path} {trouble}"
        if not hub:  # a file of the user's own
            return Found(facts, [Problem(text, "put a whole copy in its place")])
        return Found(
            facts, [Problem(text, "it is removed, and downloaded again when it is needed", partial(_remove, path))]
        )
    return Found(facts)


def _remove(path: Path) -> str:
    from vidfind.models.hub import remove_from_cache

    remove_from_cache(path)
    return f"Removed {path}."


def look_at_cache() -> Found:
    """Reports the folder of downloads, and what broken downloads have left there."""
    from vidfind.models.hub import cache_folder

    cache = cache_folder()
    blobs = [file for folder in _model_folders() for file in (folder / "blobs").glob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in blobs)
    facts = f"in {cache}" if cache.is_dir() else f"in {cache} (not made yet)"
    problems = [
        Problem(f"{file} {trouble}", "it is deleted", partial(_delete, file)) for file, trouble in _broken_in_cache()
    ]
    return Found(f"{facts}, {file_size(size)} of vidfind's", problems)


def _model_folders() -> list[Path]:
    """Returns the folders of vidfind's models in the Hugging Face cache, which other programs use too."""
    from vidfind.models.catalog import MODELS
    from vidfind.models.hub import cached_model, look_for_weights

    hubs = [entry.hub for entry in MODELS]
    for model, pretrained in models_in_use(index_folders()):
        with suppress(ModelUnavailable):  # its own check reports it
            hubs.append(look_for_weights(model, pretrained)[1])
    return [folder for folder in dict.fromkeys(cached_model(hub) for hub in hubs if hub) if folder.is_dir()]


def _broken_in_cache() -> Iterator[tuple[Path, str]]:
    """Yields files that broken downloads have left, and what is wrong with each; complete weights have other checks."""
    for folder in _model_folders():
        for file in (folder / "blobs").glob("*.incomplete"):
            if file.stat().st_mtime < time.time() - STALE:
                yield file, f"is {file_size(file.stat().st_size)} of a download that broke off"
        for file in (folder / "refs").glob("*"):
            if not COMMIT.fullmatch(file.read_bytes()):
                yield file, "does not say which version of the model is there"


def _delete(file: Path) -> str:
    file.unlink()
    return f"Deleted {file}."
