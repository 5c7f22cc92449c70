"""Keeps image towers in 8-bit integers on disk, so that not every process must read and round the weights in floats.

A cache that may be deleted at any time. What is kept are tensors by name; this module knows nothing of towers.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vidfind.errors import StorageError
from vidfind.precision.formats import VERSION
from vidfind.precision.integers import agrees, largest_weight
from vidfind.system.paths import int8_towers_path
from vidfind.system.storage import atomic_write

log = logging.getLogger(__name__)

MAX_TOWERS = 4
"""How many towers are kept; one of ViT-B takes 90 MB, one of ViT-L 300."""


@dataclass(frozen=True)
class KeptTower:
    """The file of a tower."""

    file: Path
    size: int
    """In bytes."""
    is_stale: bool
    """Whether no process reads it any more, since it was made with another PyTorch or vidfind, or is damaged."""


def tower_key(weights: str, stage: str) -> str:
    """Everything that a tower depends on. `weights`: a model and the digest of its weights; `stage`: of a trial."""
    return f"{weights}, {stage}, {_format()}"


def read_tower(key: str) -> dict[str, Tensor] | None:
    """Returns the tensors of a tower, which stay in their file until they are used; None if there are none to trust."""
    file = _file(key)
    try:
        with safe_open(file, "pt") as opened:
            if (opened.metadata() or {}).get("key") != key:
                return None
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118, no mapping
        if not agrees(tensors):
            log.info("the kept tower %s is damaged", file)
            return None
        with suppress(OSError):
            os.utime(file)  # used last: it is deleted after the others
    except (OSError, SafetensorError) as error:
        log.debug("no kept tower: %s", error)
        return None
    log.info("the image tower is read in 8-bit integers from %s", file)
    return tensors


def write_tower(key: str, tensors: Mapping[str, Tensor]) -> None:
    """Keeps a tower, in place of those that are stale and of those that were not used for longest."""
    file = _file(key)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        by_use = sorted(kept_towers(), key=lambda one: (one.is_stale, -_used(one.file)))
        delete_towers([one for number, one in enumerate(by_use, 1) if one.is_stale or number >= MAX_TOWERS])
        with atomic_write(file) as part:
            save_file(dict(tensors), part, {"key": key})
    except (OSError, StorageError, SafetensorError) as error:  # the next process rounds the weights again
        log.info("the image tower is not kept: %s", error)


def kept_towers() -> list[KeptTower]:
    """Returns all towers that are kept."""
    found = []
    for file in sorted(int8_towers_path().glob("*.safetensors")):
        with suppress(OSError):  # deleted meanwhile
            found.append(KeptTower(file, file.stat().st_size, not _key_of(file).endswith(_format())))
    return found


def delete_towers(towers: list[KeptTower]) -> None:
    """Deletes towers, as far as they can be deleted: Windows keeps those that a process reads."""
    for tower in towers:
        with suppress(OSError):
            tower.file.unlink()


def _format() -> str:
    return f"weights to {largest_weight()}, version {VERSION}, torch {torch.__version__}"


def _file(key: str) -> Path:
    return int8_towers_path() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def _key_of(file: Path) -> str:
    """The key of a kept tower; empty if the file is damaged."""
    with suppress(OSError, SafetensorError), safe_open(file, "pt") as opened:
        return str((opened.metadata() or {}).get("key", ""))
    return ""


def _used(file: Path) -> float:
    with suppress(OSError):
        return file.stat().st_mtime
    return 0.0
