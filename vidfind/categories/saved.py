"""Learned classes as a file beside the tables of an index: see tagging/saved.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from vidfind.categories.tasks import Heads, LearnedClasses, Task
from vidfind.store.store import Store
from vidfind.tagging.saved import read_model, write_model


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
        "seed": seed,
        "tasks": [dataclasses.asdict(task) for task in learned.tasks],
        "mode": learned.mode,
        "scores": learned.scores,
        "steps": learned.steps,
        "most_steps": learned.most_steps,
    }
    return write_model(store, "class", arrays, meta)


def read_classes(store: Store) -> LearnedClasses | None:
    """Returns the classes that the marks of an index were made with; None where none were learned with its vectors."""
    return read_model(store, "class", _learned)


def _learned(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> LearnedClasses:
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
