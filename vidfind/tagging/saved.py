"""Trained tags as a file beside the tables of an index: arrays and names, never code.

A model is named by its content. The index says in its tables which one made its marks, so that a new model and its
marks come into use in one commit.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfind import __version__
from vidfind.encoders.names import EncoderIdentity
from vidfind.store.folder import model_file
from vidfind.store.marks import Mark
from vidfind.store.store import Store
from vidfind.system.storage import atomic_write, storage_errors
from vidfind.tagging.examples import Weights
from vidfind.tagging.guard import HeldOut, confidences
from vidfind.tagging.vectors import Flags, Floats, Numbers, centred, pooled

FORMAT = 1
KIND = "tags"
COMPARED = ("model", "weights_digest", "encoder", "num_frames")
"""The parts of an identity that vectors depend on: tags that were trained with another of these mean nothing."""


@dataclass(frozen=True)
class Tagger:
    """Trained tags, which need no model and no text to tag more segments. C tags; see examples.py."""

    names: tuple[str, ...]
    weights: Weights
    shift: npt.NDArray[np.float32]
    """The common part of all segments (D,)."""
    thresholds: npt.NDArray[np.float64]
    """The pooled score (C,) from which on a video is given a tag; infinity for a tag that is never given."""
    held_out: HeldOut
    """The held-out scores that confidence is counted from."""
    way: str
    precisions: Mapping[str, float]
    """Of each way that was tried, in percent; see guard.Choice."""

    def mark_segments(
        self, contents: Sequence[int], spans: Sequence[Sequence[float]], vectors: Floats
    ) -> Iterator[Mark]:
        """Yields what the tags say of new segments (N, D); those of a video must come one after the other."""
        good = usable(vectors)
        logits = self.weights.logits(centred(np.where(good[:, None], vectors, 1), self.shift))
        logits[~good] = -np.inf
        numbers = np.asarray(contents, np.int64)
        starts = np.append(np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1)), len(numbers))
        given = self.given(logits, starts, pooled(logits, starts) >= self.thresholds)
        for row, tags in given.items():
            start, end = spans[row]
            yield Mark(contents[row], start, end, tags=tags)

    def given(
        self, logits: Floats, starts: Numbers, accepted: Flags, scores: Floats | None = None
    ) -> dict[int, dict[str, float]]:
        """Returns the tags of segments by their rows, each with its confidence, for the `accepted` (B, C) of videos.

        Of an accepted video, the segments have the tag whose own logits (N, C) reach the threshold, and at least the
        best one. `scores` (B, C) are those that videos were accepted for; by default the pooled logits."""
        scores = pooled(logits, starts) if scores is None else scores
        found: dict[int, dict[str, float]] = {}
        for tag in np.flatnonzero(accepted.any(axis=0)).tolist():
            bags = np.flatnonzero(accepted[:, tag])
            sure = confidences(scores[bags, tag], self.held_out, tag)
            for bag, confidence in zip(bags.tolist(), sure.tolist(), strict=True):
                own = logits[starts[bag] : starts[bag + 1], tag]
                reached = own >= self.thresholds[tag]
                reached[own.argmax()] = True
                for row in np.flatnonzero(reached).tolist():
                    found.setdefault(int(starts[bag]) + row, {})[self.names[tag]] = confidence
        return dict(sorted(found.items()))


def usable(vectors: Floats) -> Flags:
    """Returns which vectors (N, D) have a direction."""
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(np.asarray(vectors, np.float32), axis=1)
    result: Flags = np.isfinite(lengths) & (lengths > 1e-3)
    return result


def write_tagger(store: Store, tagger: Tagger, text_shift: Floats, seed: int) -> str:
    """Writes trained tags into the folder of an index, atomically, and returns their name. Raises StorageError."""
    arrays: dict[str, Any] = {
        "vectors": tagger.weights.vectors,
        "bias": tagger.weights.bias,
        "shift": tagger.shift,
        "text_shift": text_shift,
        "thresholds": tagger.thresholds,
        "scores": tagger.held_out.scores,
        "states": tagger.held_out.states,
    }
    meta = {
        "format": FORMAT,
        "version": __version__,
        "seed": seed,
        "identity": described(store.settings.identity),
        "names": tagger.names,
        "scale": tagger.weights.scale,
        "steps": tagger.weights.steps,
        "way": tagger.way,
        "precisions": tagger.precisions,
    }
    return _write(store, arrays, meta)


def rename_in_tagger(store: Store, renamed: Callable[[str], str | None]) -> str:
    """Gives tags of the saved model other names, and returns that of the model; one without a new name is never given.

    Returns the name of the model in use where it cannot be read: it gives no tags either. Raises StorageError."""
    run = store.run_of("tag")
    try:
        with np.load(model_file(store.path, run), allow_pickle=False) as file:
            arrays = dict(file)
        meta = json.loads(str(arrays.pop("meta")))
        names = [renamed(name) for name in meta["names"]]
        arrays["thresholds"] = np.where([name is None for name in names], np.inf, arrays["thresholds"])
        meta["names"] = [name or old for name, old in zip(names, meta["names"], strict=True)]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
        return run
    return _write(store, arrays, meta)


def _write(store: Store, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """Writes a model, and returns its name. Raises StorageError."""
    content = io.BytesIO()
    np.savez(content, meta=np.array(json.dumps(meta)), **arrays)
    run = f"{KIND}-{hashlib.sha256(content.getvalue()).hexdigest()[:16]}"
    file = model_file(store.path, run)
    if not file.is_file():
        with storage_errors(store.path):
            file.parent.mkdir(exist_ok=True)
        with atomic_write(file) as part:
            part.write_bytes(content.getvalue())
    return run


def read_tagger(store: Store) -> Tagger | None:
    """Returns the tags that the marks of an index were made with; None where none were trained with its vectors."""
    name = store.run_of("tag")
    if not name:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):  # damaged: as if not trained
        with np.load(model_file(store.path, name), allow_pickle=False) as file:
            arrays = dict(file)
        meta = json.loads(str(arrays["meta"]))
        if meta["format"] != FORMAT or meta["identity"] != described(store.settings.identity):
            return None
        scores = arrays["scores"]
        return Tagger(
            tuple(meta["names"]),
            Weights(arrays["vectors"], arrays["bias"], meta["scale"], meta["steps"]),
            arrays["shift"],
            arrays["thresholds"],
            HeldOut(np.arange(len(scores)), scores, arrays["states"]),
            meta["way"],
            meta["precisions"],
        )
    return None


def described(identity: EncoderIdentity) -> dict[str, Any]:
    """Returns what the vectors of an index depend on."""
    return {name: getattr(identity, name) for name in COMPARED}


def delete_others(store: Store, run: str) -> None:
    """Deletes the models of earlier runs, and what a killed run left of one."""
    for file in model_file(store.path, run).parent.glob(f"*{KIND}-*"):
        if file != model_file(store.path, run):
            file.unlink(missing_ok=True)
