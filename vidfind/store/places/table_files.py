"""The files of LanceDB's tables: whether a table is there, and whether its files were written to the end."""

from __future__ import annotations

import os
from pathlib import Path

from vidfind.store.places.path import IndexPath
from vidfind.system.files import state_of

VERSIONS = "_versions"
"""The folder in that of a table with a file for each version."""
LANCE_FILES = (".lance", ".idx")
LANCE_END = b"LANC"
"""The last bytes of LanceDB's files of data, and of its indexes."""


def is_made(folder: IndexPath) -> bool:
    """Whether a folder holds a table, and not just the beginning of one."""
    return any(folder.glob(f"{VERSIONS}/*.manifest"))


def is_whole(file: Path) -> bool:
    """Whether a file of a table ends as it should, if it is of a kind that shows."""
    if file.suffix not in LANCE_FILES or file.is_dir():
        return True
    with open(file, "rb") as opened:
        opened.seek(max(0, os.fstat(opened.fileno()).st_size - len(LANCE_END)))
        return opened.read() == LANCE_END


def files_in(folder: Path) -> set[str]:
    """Returns the paths of all files below a folder, of which a table that was not tidied up has ten thousands."""
    return {os.path.join(place, name) for place, _, names in os.walk(folder) for name in names}


def state_of_folder(folder: IndexPath) -> object:
    """A value that changes when another folder takes the place of this one; in object storage, where none has a state
    of its own, always None."""
    return state_of(folder) if isinstance(folder, Path) else None
