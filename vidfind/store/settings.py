"""The settings that an index was made with, as files in its folder, and its copies of adapters.

An index that is encoded again keeps its old tables in use meanwhile. Each set of tables is a *generation*: its
`Generation` says what it was made with, under which number its tables are, and which copy of the adapter is its own.
`settings.json` is the generation in use, `settings.next.json` the unfinished one; each is written atomically, and the
step from one to the other is a rename. `settings.copy.json` is there should the first be damaged. Knows nothing of
tables.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from vidfind.commands import index_command, mend_command
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, READINGS, EncoderIdentity, first_reading
from vidfind.errors import BadInput, IndexDamaged, IndexMismatch, VidfindError
from vidfind.media.sampling import SEGMENT_LENGTH
from vidfind.store.places.path import IndexPath, atomic_write, place_errors, write_text

FORMAT_VERSION = 4
READING_FORMAT = 5
READABLE_FORMATS = (1, 2, 3, FORMAT_VERSION, READING_FORMAT)
"""Older ones are brought up to date by `Store.writing`. Format 1 did not say what is damaged, nor formats 1 and 2 what
tells the date and on which drive a video is. Format 3 had no tags and classes, which its vidfind would not keep when a
file changes. Format 5 is format 4 with the `reading` of the encoder, written only where it is not the first that
there was, so that an older vidfind opens all other indexes."""
SETTINGS_FILE = "settings.json"
NEXT_FILE = "settings.next.json"
COPY_FILE = "settings.copy.json"
"""`settings.json` as it was when the index was last written to: without it, the vectors would be of no use."""


@dataclass(frozen=True)
class IndexSettings:
    """Everything that the vectors of an index depend on; vectors with other settings are never compared."""

    identity: EncoderIdentity
    segment_length: float = SEGMENT_LENGTH
    """Length of a segment in seconds."""
    overlap: bool = False
    """Whether there is one more segment between each two."""

    def has_vectors_of(self, other: IndexSettings) -> bool:
        """Whether video vectors are the same with both settings; their adapters may still change queries."""
        plain, others = (
            dataclasses.replace(one, identity=dataclasses.replace(one.identity, adapter=None)) for one in (self, other)
        )
        return plain == others


@dataclass(frozen=True)
class Generation:
    """One encoding of a whole index. `adapter_file` is the index's own copy of its adapter, empty without one."""

    settings: IndexSettings
    number: int = 0
    adapter_file: str = ""


def is_index(path: IndexPath) -> bool:
    return (path / SETTINGS_FILE).is_file()


def read_generation(path: IndexPath, file: str = SETTINGS_FILE) -> Generation:
    """Raises FileNotFoundError if there is none, IndexMismatch for a newer vidfind's, IndexDamaged, StorageError."""
    try:
        with place_errors(path):
            values = json.loads((path / file).read_text(encoding="utf-8"))
        version = values.pop("format")
        if isinstance(version, int) and version > READABLE_FORMATS[-1]:
            raise IndexMismatch(
                f"The index {path.name!r} was made by a newer vidfind (its format is {version}, this one knows up to "
                f"{READABLE_FORMATS[-1]}): update vidfind."
            )
        if version not in READABLE_FORMATS:
            raise ValueError(f"there is no format {version!r}")
        number, adapter_file = int(values.pop("generation", 0)), str(values.pop("adapter_file", ""))
        return Generation(_read_settings(values), number, adapter_file)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise damaged(path, f"{file}: {reason}") from error


def begun_generation(path: IndexPath) -> Generation | None:
    """The unfinished generation of an index; None if there is none, or if it has just been put in use.

    Raises the errors of `read_generation`."""
    try:
        begun = read_generation(path, NEXT_FILE)
        return begun if isinstance(path, Path) or begun != read_generation(path) else None
    except FileNotFoundError:
        return None


def format_of(path: IndexPath, file: str = SETTINGS_FILE) -> int:
    """Returns the format of settings that can be read."""
    return int(json.loads((path / file).read_text(encoding="utf-8"))["format"])


def _read_settings(values: Mapping[str, Any]) -> IndexSettings:
    """The settings in a file, where the identity is not a part of its own: all lie side by side.

    Raises TypeError for a setting that is missing, unknown or no value of its kind."""
    kinds = {**get_type_hints(EncoderIdentity), "segment_length": int | float, "overlap": bool}
    first = first_reading(str(values.get("encoder")), values.get("num_frames", DEFAULT_NUM_FRAMES))
    found = {"overlap": False, "reading": first, **values}
    for name, kind in kinds.items():
        if not isinstance(found.get(name), kind):
            raise TypeError(f"{name} is {found.get(name)!r}")
    if found["reading"] not in READINGS:
        raise TypeError(f"reading is {found['reading']!r}")
    length, overlap = found.pop("segment_length"), found.pop("overlap")
    return IndexSettings(EncoderIdentity(**found), length, overlap)


def write_generation(path: IndexPath, generation: Generation, file: str = SETTINGS_FILE) -> None:
    values = {"format": FORMAT_VERSION, **fields_of(generation.settings)}
    identity = generation.settings.identity
    if identity.reading == first_reading(identity.encoder, identity.num_frames):
        del values["reading"]
    else:
        values["format"] = READING_FORMAT
    if not generation.settings.overlap:
        del values["overlap"]
    if generation.number:
        values["generation"] = generation.number
    if generation.adapter_file:
        values["adapter_file"] = generation.adapter_file
    write_text(path / file, json.dumps(values, indent=2) + "\n")


def finish_generation(path: IndexPath) -> None:
    """Puts the unfinished generation in the place of the one in use. Raises StorageError."""
    with place_errors(path):
        if isinstance(path, Path):
            os.utime(path / NEXT_FILE)  # from now on the tables of the other wait to be cleared
            (path / NEXT_FILE).replace(path / SETTINGS_FILE)
        else:  # in two steps: `begun_generation` knows the state between them
            (path / NEXT_FILE).replace(path / SETTINGS_FILE)
        copy_settings(path)


def copy_settings(path: IndexPath) -> None:
    """Keeps a copy of the settings in use. Raises StorageError."""
    text, copy = (path / SETTINGS_FILE).read_text(encoding="utf-8"), path / COPY_FILE
    if not copy.is_file() or copy.read_bytes() != text.encode():
        write_text(copy, text)


def adapter_file_name(adapter: Path) -> str:
    """Returns the name of an adapter's copy inside an index; equal contents have equal names."""
    with open(adapter, "rb") as file:
        return f"adapter-{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}.safetensors"


def keep_adapter(path: IndexPath, adapter: Path, name: str = "") -> str:
    """Copies an adapter into the index at `path`, and returns the name of the copy, by default `adapter_file_name`.

    A copy, not a hard link: `cp` and `rsync --inplace` write into a file that is there. Raises BadInput if the adapter
    has changed since, StorageError."""
    name = name or adapter_file_name(adapter)
    if not (path / name).is_file():
        with atomic_write(path / name) as part:
            shutil.copyfile(adapter, part)
            if adapter_file_name(part) != name:
                raise BadInput(f"The adapter {adapter} was replaced while it was read: run the command again.")
    return name


def indexes_with(adapter: str, folder: Path) -> list[str]:
    """Returns the names of the indexes in `folder` that use the adapter of this name, or are being made with it."""
    names = set()
    for file in (SETTINGS_FILE, NEXT_FILE):
        for entry in folder.glob(f"*/{file}"):
            try:
                if is_index(entry.parent) and read_generation(entry.parent, file).settings.identity.adapter == adapter:
                    names.add(entry.parent.name)
            except (VidfindError, OSError):
                continue  # nobody searches it either
    return sorted(names)


def damaged(path: IndexPath, reason: str) -> IndexDamaged:
    """The error of an index at `path` whose files are not as they should be."""
    advice = f"To mend it: {mend_command(path)}"
    return IndexDamaged(f"The index {path.name!r} is damaged ({reason}). {advice}", reason)


def make_command(index: IndexPath, folders: Iterable[Path], settings: IndexSettings, adapter: str | None) -> str:
    """The command that makes an index of these settings, but of `adapter`."""
    identity, length = settings.identity, settings.segment_length
    return index_command(
        index,
        folders,
        model=identity.model,
        pretrained=identity.pretrained or None,
        encoder=identity.encoder,
        adapter=adapter,
        segment_length=length if length != IndexSettings.segment_length else None,
        overlap=settings.overlap,
    )


def fields_of(settings: IndexSettings) -> dict[str, object]:
    """All settings side by side, as they lie in a file."""
    return {**vars(settings.identity), "segment_length": settings.segment_length, "overlap": settings.overlap}
