"""The videos that an assistant may name: those of the index, and no other file.

An assistant sees a path as text. Names that are no valid Unicode have `\\xff` in place of such a byte.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from vidfind.commands import index_command
from vidfind.errors import BadInput
from vidfind.search.question.expression import Example
from vidfind.store.files import IndexedFiles, find_present_files
from vidfind.store.select import find_content
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow
from vidfind.system.times import parse_time


def plain_text(value: object) -> str:
    """Returns a path or a sentence as valid Unicode, which is all that JSON can hold."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def path_of(text: str) -> Path:
    """Returns the path that `plain_text` made this text of."""
    return Path(
        os.fsdecode(re.sub(rb"\\x([89a-f][0-9a-f])", lambda byte: bytes.fromhex(byte[1].decode()), text.encode()))
    )


def find_video(store: Store, text: str) -> list[VideoRow]:
    """Returns the video at a path, then its copies. Raises BadInput for a path that is not in the index."""
    for path in dict.fromkeys((Path(text), path_of(text))):
        if "\0" not in text and (content := find_content(store, path)) is not None:
            [first, *_] = store.videos_of([content])
            rows = store.videos_of(store.contents_like(first.fingerprint))
            return sorted(rows, key=lambda row: (row.path != path, row.content != content, row.path))
    raise BadInput(f"The index holds no video {text!r}. Take a path that a search found, as it is written there.")


def file_of(rows: Sequence[VideoRow], files: IndexedFiles) -> Path:
    """Returns the first file that is there and holds the same as when it was indexed.

    So what has taken the place of a video, such as a link to another file, is never read. Raises BadInput."""
    there = find_present_files(rows)
    for row in rows:
        try:
            if row.path in there and (opened := files.open(row)):
                opened.file.close()
                return row.path
        except OSError:
            continue
    if there:
        again = index_command(folders=[rows[0].path])
        raise BadInput(f"{rows[0].path} is not what was indexed. Somebody must index it again: {again}")
    raise BadInput(f"{rows[0].path} is not there now: it was moved or deleted, or its drive is not connected.")


def example_of(store: Store, text: str) -> Example:
    """Returns the moment that `PATH@SECONDS` names. Raises BadInput for what is no moment of a video in the index."""
    name, _, time = text.rpartition("@")
    try:
        seconds = parse_time(time)
    except ValueError as error:
        raise BadInput(f"{text!r} is no moment: write PATH@SECONDS, such as /videos/trip.mp4@83.") from error
    return Example(find_video(store, name)[0].path, seconds)
