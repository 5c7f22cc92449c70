"""Reads lists of files, such as those that `fd` and `find` print."""

import codecs
import os
import sys
from pathlib import Path

from vidfind.errors import BadInput

STDIN = "-"


def read_list(file: str, ends_with_nul: bool = False) -> list[Path]:
    """The paths in a file, or in standard input for `-`: one a line, or each ended by a NUL byte.

    Raises BadInput if it cannot be read, or if its paths are separated the other way."""
    name = "The list" if file == STDIN else file
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    has_nul = b"\0" in content
    if has_nul and not ends_with_nul:
        raise BadInput(f"{name} has NUL bytes between its paths: add -0.")
    if ends_with_nul and not has_nul and b"\n" in content:
        raise BadInput(f"{name} has one path a line, and no NUL bytes: leave out -0.")
    paths = content.split(b"\0") if ends_with_nul else [line.rstrip(b"\r") for line in content.split(b"\n")]
    return [Path(os.fsdecode(path)) for path in dict.fromkeys(paths) if path]
