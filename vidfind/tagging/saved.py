"""Learned models of tags and classes, as files beside the tables of an index: arrays and names, never code.

A model is named by its kind and content. The index says in its tables which one made its marks, so that a new model
and its marks come into use in one commit.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vidfind import __version__
from vidfind.encoders.names import EncoderIdentity, first_reading
from vidfind.store.folder import model_file
from vidfind.store.labelled.labels import LabelKind
from vidfind.store.labelled.marks import Mark
from vidfind.store.places.path import IndexPath, write_bytes
from vidfind.store.store import Store
from vidfind.tagging.learning.examples import Weights
from vidfind.tagging.learning.guard import HeldOut, confidences
from vidfind.tagging.learning.vectors import Flags, Floats, Numbers, centred, pooled

FORMAT = 1
FILES: Mapping[LabelKind, str] = {"tag": "tags", "class": "classes"}
"""The names of files of a model begin with this, by the kind of its marks."""
COMPARED = ("model", "weights_digest", "encoder", "num_frames")
"""The parts of an identity that vectors depend on: what was learnt with another of these means nothing."""
DAMAGED = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError)
"""The errors of reading a file that is damaged or missing."""
Model = TypeVar("Model")


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
        "seed": seed,
        "names": tagger.names,
        "scale": tagger.weights.scale,
        "steps": tagger.weights.steps,
        "way": tagger.way,
        "precisions": tagger.precisions,
    }
    return write_model(store, "tag", arrays, meta)


def rename_in_tagger(store: Store, renamed: Callable[[str], str | None]) -> str:
    """Gives tags of the saved model other names, and returns that of the model; one without a new name is never given.

    Returns the name of the model in use where it cannot be read: it gives no tags either. Raises StorageError."""
    run = store.run_of("tag")
    try:
        arrays, meta = _read(model_file(store.path, run))
        names = [renamed(name) for name in meta["names"]]
        arrays["thresholds"] = np.where([name is None for name in names], np.inf, arrays["thresholds"])
        meta["names"] = [name or old for name, old in zip(names, meta["names"], strict=True)]
    except DAMAGED:
        return run
    return _write(store, "tag", arrays, meta)


def read_tagger(store: Store) -> Tagger | None:
    """Returns the tags that the marks of an index were made with; None where none were trained with its vectors."""
    return read_model(store, "tag", _tagger)


def _tagger(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> Tagger:
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


# Files of any kind


def write_model(store: Store, kind: LabelKind, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """Writes a model into the folder of an index, atomically, and returns its name. Raises StorageError.

    `meta` are values that JSON can hold; the format and what the vectors depend on are added."""
    known = {"format": FORMAT, "version": __version__, "identity": described(store.settings.identity)}
    return _write(store, kind, arrays, known | dict(meta))


def _write(store: Store, kind: LabelKind, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    content = io.BytesIO()
    np.savez(content, meta=np.array(json.dumps(meta)), **arrays)
    run = f"{FILES[kind]}-{hashlib.sha256(content.getvalue()).hexdigest()[:16]}"
    file = model_file(store.path, run)
    write_bytes(file, content.getvalue())  # also where there is one of this name: it may be damaged
    return run


def read_model(store: Store, kind: LabelKind, make: Callable[[dict[str, Any], dict[str, Any]], Model]) -> Model | None:
    """Returns what `make` makes of the arrays and meta values of the model that the marks of an index were made with.

    None where there is no model, where it is damaged, and where it was learnt with other vectors."""
    run = store.run_of(kind)
    if not run:
        return None
    with suppress(*DAMAGED):
        arrays, meta = _read(model_file(store.path, run))
        if meta["format"] == FORMAT and meta["identity"] == described(store.settings.identity):
            return make(arrays, meta)
    return None


def _read(file: IndexPath) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the arrays and the meta values of a model. Raises one of DAMAGED."""
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
        arrays = dict(stored)
    meta = json.loads(str(arrays.pop("meta")))
    return arrays, meta


def described(identity: EncoderIdentity) -> dict[str, Any]:
    """Returns what the vectors of an index depend on."""
    values = {name: getattr(identity, name) for name in COMPARED}
    # Models that were learnt before there was another reading do not name theirs.
    is_first = identity.reading == first_reading(identity.encoder, identity.num_frames)
    return values if is_first else {**values, "reading": identity.reading}


def delete_others(store: Store, kind: LabelKind, run: str) -> None:
    """Deletes the models of a kind but that of this run: those of earlier runs, and what a killed one left."""
    for file in model_file(store.path, run).parent.glob(f"*{FILES[kind]}-*"):
        if file != model_file(store.path, run):
            file.unlink(missing_ok=True)
