"""Names of exported files: safe on every system, and never those of files that are there already.

A file is written under a hidden name, and gets its own when it is whole.
"""

from __future__ import annotations

import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from vidfind.errors import StorageError

LONGEST = 200
"""Bytes of a name in UTF-8: file systems allow 255, and encrypted ones some 140 fewer for a part of them."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # names of devices in Windows
FORBIDDEN = set('<>:"/\\|?*')
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, marks of direction, halves of characters


def safe_name(text: str, longest: int = LONGEST) -> str:
    """Returns text as a part of a file name of at most `longest` bytes; "video" if nothing of it can be used.

    >>> safe_name("a/b: c?"), safe_name("..")
    ('a_b_ c_', 'video')
    """
    text = "".join("_" if char in FORBIDDEN or unicodedata.category(char) in INVISIBLE else char for char in text)
    text = text.encode()[:longest].decode("utf-8", "ignore").strip(" .")
    if text.startswith("-"):
        text = "_" + text[1:]
    if RESERVED.match(text):
        text = "_" + text
    return text or "video"


@contextmanager
def new_file(wanted: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Gives a path to write to, and a list that holds, after the end, the path that the file got.

    That is `wanted`, or `wanted` with a number if there is such a file. After an error, or Ctrl-C, nothing is left.
    Raises StorageError if the folder cannot be written to."""
    part = wanted.with_name(f".vidfind-{secrets.token_hex(6)}.part")
    placed: list[Path] = []
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        part.touch(exist_ok=False)
    except OSError as error:
        raise StorageError(f"{wanted.parent} cannot be written to: {error.strerror}.") from error
    try:
        yield part, placed
        placed.append(_place(part, wanted))
    finally:
        part.unlink(missing_ok=True)


def _place(part: Path, wanted: Path) -> Path:
    """Moves a file to the first free name, which no other program can take in between; returns it."""
    for path in _numbered(wanted):
        with suppress(FileExistsError):
            try:
                os.link(part, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                path.touch(exist_ok=False)
                os.replace(part, path)
            return path
    raise AssertionError("numbers do not end")


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem} ({number}){path.suffix}")
