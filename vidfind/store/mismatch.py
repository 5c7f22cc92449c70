"""Compares the settings of an index with what is asked of it, and makes the error for settings that differ.

Knows nothing of tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidfind.commands import (
    NO_ADAPTER,
    OTHER_INDEX,
    adapter_command,
    delete_command,
    import_command,
    weights_command,
)
from vidfind.encoders.names import EncoderChoice, EncoderIdentity, is_lost_file, is_path
from vidfind.encoders.views import joint_digest, view_words
from vidfind.errors import IndexMismatch, ModelUnavailable
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings, fields_of, make_command
from vidfind.system.paths import adapter_path

TRAINED_FOR = frozenset({"model", "pretrained", "encoder", "num_frames"})
"""The settings that an adapter is trained for: it is of no use with others."""
CHANGED_BY_ADAPTER = frozenset({"adapter", "weights_digest", "num_frames", "reading"})
"""The settings that another adapter may bring with it, for the same model and encoder."""

READINGS = {"clip": "all at once", "frame": "one by one", "parts": "in parts of the clip"}
"""The words for each `names.Reading`."""


@dataclass(frozen=True)
class Mismatch:
    """The settings of an index, those of one that would do, and the names of the settings that differ."""

    ours: IndexSettings
    wanted: IndexSettings
    names: Sequence[str]
    adapter: str | None
    """The `--adapter` of a command that makes the index wanted; None: the command has none."""

    def __str__(self) -> str:
        """`encoder tempme, not mean`, and so on."""
        ours, wanted = fields_of(self.ours), fields_of(self.wanted)
        if self.names == ["weights_digest"] and self._was_cut:
            return "the middles of pictures, as vidfind once did, where its model wants all of them"
        return ", ".join(_difference(name, ours[name], wanted[name]) for name in self.names)

    @property
    def _was_cut(self) -> bool:
        """Whether the index differs in nothing but how pictures were prepared for its model."""
        ours, wanted = self.ours.identity, self.wanted.identity
        words = view_words(wanted.model, wanted.pretrained)
        return bool(words) and joint_digest(ours.weights_digest, words) == wanted.weights_digest


def choice_mismatch(
    ours: IndexSettings, asked: EncoderChoice, segment_length: float | None = None, overlap: bool | None = None
) -> Mismatch | None:
    """Compares an index with what a user asks for, where None is not asked for. None if they agree."""
    overlaps = ours.overlap if overlap is None else overlap
    wanted = IndexSettings(asked.over(ours.identity), segment_length or ours.segment_length, overlaps)
    names = _differing(ours, wanted)
    if not names:
        return None
    identity = wanted.identity
    if "model" in names and asked.pretrained is None:
        identity = dataclasses.replace(identity, pretrained="")  # weights of another model have another name
    if asked.adapter is None and TRAINED_FOR & set(names):
        identity = dataclasses.replace(identity, adapter=None)
    adapter = NO_ADAPTER if asked.adapter == NO_ADAPTER else identity.adapter
    return Mismatch(ours, dataclasses.replace(wanted, identity=identity), names, adapter)


def identity_mismatch(ours: IndexSettings, identity: EncoderIdentity) -> Mismatch | None:
    """Compares an index with an encoder; None if their vectors can be compared, whatever the weights are called."""
    own = ours.identity
    if (identity.model, identity.weights_digest) == (own.model, own.weights_digest):
        identity = dataclasses.replace(identity, pretrained=own.pretrained)
    wanted = dataclasses.replace(ours, identity=identity)
    names = _differing(ours, wanted)
    return Mismatch(ours, wanted, names, identity.adapter or NO_ADAPTER) if names else None


def mismatch_error(
    index: IndexPath, mismatch: Mismatch, folders: Sequence[Path], own_adapter: Path | str | None
) -> IndexMismatch:
    """The error for the index at a path, with the commands that mend it.

    `folders` are those indexed. `own_adapter` is the index's copy of its adapter if the index wanted has the same, else
    None; a command saves it first if no adapter of that name is saved."""
    adapter, needed = mismatch.adapter, ""
    if own_adapter and adapter and not adapter_path(adapter).is_file():
        needed = f"{import_command(own_adapter)} && "
    again, beside = (make_command(path, folders, mismatch.wanted, adapter) for path in (index, OTHER_INDEX))
    if "adapter" in mismatch.names and CHANGED_BY_ADAPTER.issuperset(mismatch.names):
        replace = f"To encode it again: {adapter_command(index, mismatch.wanted.identity.adapter)}"
    else:
        replace = f"To replace it: {needed}{delete_command(index)} && {again}"
    ours = mismatch.ours.identity
    if "weights_digest" in mismatch.names and "adapter" not in mismatch.names and is_path(ours.pretrained):
        replace = f"If the file it was made with is elsewhere: {weights_command(index)}   {replace}"
    return IndexMismatch(
        f"The index {index.name!r} was made with {mismatch}. To make another beside it: {needed}{beside}   {replace}"
    )


def require_weights(index: IndexPath, identity: EncoderIdentity) -> None:
    """Raises ModelUnavailable, with the command that mends it, if the checkpoint file of the index is not there."""
    if is_lost_file(identity.pretrained):
        raise ModelUnavailable(
            f"The index {index.name!r} needs its weights, and {identity.pretrained} is not there. If the file was "
            f"moved, say where it is now: {weights_command(index)}"
        )


def _differing(ours: IndexSettings, wanted: IndexSettings) -> list[str]:
    own, other = fields_of(ours), fields_of(wanted)
    return [name for name, value in own.items() if other[name] != value]


def _difference(name: str, ours: object, wanted: object) -> str:
    if name == "weights_digest":
        return "other weights, which have changed since under the same name"
    if name == "reading":
        return f"frames read {READINGS[str(ours)]}, not {READINGS[str(wanted)]}"
    if name == "overlap":
        return f"segments that {'overlap' if ours else 'do not overlap'}"
    words = name.replace("_", " ")
    return f"{words} {'none' if ours is None else ours}, not {'none' if wanted is None else wanted}"
