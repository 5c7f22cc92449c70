"""The videos that were taken out of an index, as it remembers them, and those that runs leave out from then on.

The vectors of a removed video stay in the table of segments for a while, where no search shows them: a folder that
comes back, a typo or a mistake then costs no encoding. Its row is kept in a file of the generation, because the row
says which vectors are of which contents; vectors of another generation are of no use to this one.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pyarrow as pa

from vidfind.store.places.path import IndexPath, atomic_write, place_errors, write_text
from vidfind.store.settings import damaged
from vidfind.store.tables import VIDEOS, VideoRow, path_from_text, path_to_text, rows_of, videos_to_table

log = logging.getLogger(__name__)

KEPT_TIME = timedelta(days=30)
"""Vectors of removed videos are kept for so long."""
KEPT_BYTES = 10**9
"""And no more of them than this: those removed last. A thousand hours of footage, with vectors of 512 numbers."""
BYTES_A_NUMBER = 2
REMOVED_AT = "removed_at"
LEFT_OUT_FILE = "left-out.json"


@dataclass(frozen=True)
class RemovedVideo:
    """A video that was removed, with its row as it was, and the time of the removal."""

    row: VideoRow
    removed_at: datetime


@dataclass(frozen=True)
class LeftOut:
    """The paths and patterns that runs leave out of an index until a user asks for them."""

    removed: frozenset[Path] = frozenset()
    """Files, and folders with all in them, that a user has removed from the index."""
    patterns: frozenset[tuple[Path, str]] = frozenset()
    """Patterns of `--exclude`, each with the folder that it was given for."""
    taken: frozenset[Path] = frozenset()
    """Files and folders within those left out that a user has asked for by name later."""

    def without(self, paths: Collection[Path]) -> LeftOut:
        """The same, and `paths` with all in them removed too."""

        def is_within(path: Path) -> bool:
            return any(path.is_relative_to(one) for one in paths)

        removed = {path for path in self.removed if not is_within(path)} | set(paths)
        return LeftOut(frozenset(removed), self.patterns, frozenset(one for one in self.taken if not is_within(one)))

    def moved(self, old: Path, new: Path) -> LeftOut:
        """The same, where the folder `old` is `new` now."""

        def move(path: Path) -> Path:
            return new / path.relative_to(old) if path.is_relative_to(old) else path

        def move_pattern(pattern: str) -> str:
            is_within = os.path.isabs(pattern) and Path(pattern).is_relative_to(old)
            return str(new / Path(pattern).relative_to(old)) if is_within else pattern

        patterns = {(move(folder), move_pattern(pattern)) for folder, pattern in self.patterns}
        # What was left out of a folder above `old` stays out of it where it is now.
        above = [(folder, pattern) for folder, pattern in self.patterns if old.is_relative_to(folder)]
        patterns |= {(new, move_pattern(pattern)) for folder, pattern in above if not new.is_relative_to(move(folder))}
        return LeftOut(frozenset(map(move, self.removed)), frozenset(patterns), frozenset(map(move, self.taken)))


def read_left_out(path: IndexPath) -> LeftOut:
    """The paths and patterns that runs leave out of the index at `path`. Raises IndexDamaged, StorageError."""
    file = path / LEFT_OUT_FILE
    try:
        with place_errors(path):
            values = json.loads(file.read_text(encoding="utf-8"))
        removed, taken = (frozenset(map(path_from_text, values[name])) for name in ("removed", "taken"))
        patterns = frozenset((path_from_text(folder), str(pattern)) for folder, pattern in values["patterns"])
        return LeftOut(removed, patterns, taken)
    except FileNotFoundError:
        return LeftOut()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"{LEFT_OUT_FILE} cannot be read: {error}") from error


def write_left_out(path: IndexPath, left_out: LeftOut) -> None:
    """Stores what runs leave out of the index at `path`. Raises StorageError."""
    values = {
        "removed": sorted(map(path_to_text, left_out.removed)),
        "patterns": sorted([path_to_text(folder), pattern] for folder, pattern in left_out.patterns),
        "taken": sorted(map(path_to_text, left_out.taken)),
    }
    write_text(path / LEFT_OUT_FILE, json.dumps(values, indent=2) + "\n")


def removed_file(path: IndexPath, number: int) -> IndexPath:
    """The file of the removed videos of a generation of the index at `path`."""
    return path / (f"removed-{number}.arrow" if number else "removed.arrow")


def read_removed(path: IndexPath, number: int) -> dict[int, RemovedVideo]:
    """The removed videos of a generation by their contents; none if the file is not there, or damaged."""
    file = removed_file(path, number)
    try:
        table = pa.ipc.open_file(pa.py_buffer(file.read_bytes())).read_all()
        times = cast("list[datetime]", table[REMOVED_AT].to_pylist())  # never null
        rows = rows_of(table.drop_columns([REMOVED_AT]))
        return {row.content: RemovedVideo(row, at) for row, at in zip(rows, times, strict=True)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's own are among these
        log.warning("Cannot read which videos were removed: %s", error)
        return {}


def write_removed(path: IndexPath, number: int, videos: Collection[RemovedVideo]) -> None:
    """Stores the removed videos of a generation. Raises StorageError."""
    file = removed_file(path, number)
    if not videos:
        file.unlink(missing_ok=True)
        return
    rows = videos_to_table(video.row for video in videos)
    times = pa.array([video.removed_at for video in videos], VIDEOS.field("created").type)
    table = rows.append_column(REMOVED_AT, times)
    with atomic_write(file) as part, open(part, "wb") as opened, pa.ipc.new_file(opened, table.schema) as writer:
        writer.write_table(table)


def still_kept(
    removed: Mapping[int, RemovedVideo], in_use: Collection[int], segments: Mapping[int, int], dim: int
) -> dict[int, RemovedVideo]:
    """Those of the removed videos whose vectors are to be kept: neither in use nor too old, nor too many.

    `in_use` are the contents of the videos of the index, `segments` the number of stored segments of each content, and
    `dim` the length of a vector."""
    oldest = datetime.now(UTC) - KEPT_TIME
    kept: dict[int, RemovedVideo] = {}
    size = 0
    for content, video in sorted(removed.items(), key=lambda item: item[1].removed_at, reverse=True):
        is_whole = segments.get(content, 0) == video.row.segments
        if content in in_use or not is_whole or video.removed_at < oldest:
            continue
        size += video.row.segments * dim * BYTES_A_NUMBER
        if size > KEPT_BYTES:
            break
        kept[content] = video
    return kept
