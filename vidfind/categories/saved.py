"""Learned classes as a file beside the tables of an index: arrays and names, never code.

A model is named by its content. The index says in its tables which one made its marks, so that a new model and its
marks come into use in one commit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from vidfind import __version__
from vidfind.categories.tasks import Heads, LearnedClasses, Task
from vidfind.encoders.names import EncoderIdentity
from vidfind.store.folder import model_file
from vidfind.store.store import Store
from vidfind.system.storage import atomic_write, storage_errors

FORMAT = 1
KIND = "classes"
COMPARED = ("model", "weights_digest", "encoder", "num_frames")
"""The parts of an identity that vectors depend on: classes that were learned with another of these mean nothing."""


def write_classes(store: Store, learned: LearnedClasses, seed: int) -> str:
    """Writes a model into the folder of an index, atomically, and returns its name. Raises StorageError."""
    arrays: dict[str, Any] = {
        "centred": learned.heads.centred,
        "bias": learned.heads.bias,
        "shift": learned.shift,
        "margins": learned.margins,
        "counts": learned.counts,
        "task_scores": np.array(learned.task_scores),
        "text_scores": learned.text_scores,
        "proven": learned.proven,
    }
    if learned.heads.plain is not None:
        arrays["plain"] = learned.heads.plain
    for number in range(len(learned.tasks)):
        arrays |= {f"right_{number}": learned.right[number], f"wrong_{number}": learned.wrong[number]}
    meta = {
        "format": FORMAT,
        "version": __version__,
        "seed": seed,
        "identity": described(store.settings.identity),
        "tasks": [dataclasses.asdict(task) for task in learned.tasks],
        "mode": learned.mode,
        "scores": learned.scores,
        "steps": learned.steps,
        "most_steps": learned.most_steps,
    }
    content = io.BytesIO()
    np.savez(content, meta=np.array(json.dumps(meta)), **arrays)
    run = f"{KIND}-{hashlib.sha256(content.getvalue()).hexdigest()[:16]}"
    file = model_file(store.path, run)
    with storage_errors(store.path):
        file.parent.mkdir(exist_ok=True)
    with atomic_write(file) as part:
        part.write_bytes(content.getvalue())
    return run


def read_classes(store: Store) -> LearnedClasses | None:
    """Returns the classes that the marks of an index were made with; None where none were learned with its vectors."""
    name = store.run_of("class")
    if not name:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):  # damaged: as if not learned
        content = model_file(store.path, name).read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        meta = json.loads(str(arrays.pop("meta")))
        if meta["format"] != FORMAT or meta["identity"] != described(store.settings.identity):
            return None
        return _learned(meta, arrays)
    return None


def _learned(meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> LearnedClasses:
    tasks = tuple(
        Task(task["name"], tuple(task["classes"]), tuple(task["descriptions"]), task["is_multi"])
        for task in meta["tasks"]
    )
    return LearnedClasses(
        tasks,
        Heads(arrays["centred"], arrays["bias"], arrays.get("plain")),
        arrays["shift"],
        arrays["margins"],
        arrays["counts"],
        meta["mode"],
        tuple(arrays[f"right_{number}"] for number in range(len(tasks))),
        tuple(arrays[f"wrong_{number}"] for number in range(len(tasks))),
        meta["scores"],
        tuple(arrays["task_scores"].tolist()),
        meta["steps"],
        meta["most_steps"],
        arrays["text_scores"],
        arrays.get("proven", arrays["counts"] > 0),  # an older vidfind did not judge it
    )


def described(identity: EncoderIdentity) -> dict[str, Any]:
    """Returns what the vectors of an index depend on."""
    return {name: getattr(identity, name) for name in COMPARED}


def delete_others(store: Store, run: str) -> None:
    """Deletes the models of earlier runs, and what a killed run left of one."""
    for file in model_file(store.path, run).parent.glob(f"*{KIND}-*"):
        if file != model_file(store.path, run):
            file.unlink(missing_ok=True)
