"""What an index remembers of videos that were taken out of it.

The vectors of a removed video stay in the table of segments for a while, where no search shows them: a folder that
comes back, a typo or a mistake then costs no encoding. Its row is kept in a file of the generation, because the row
says which vectors are of which contents; vectors of another generation are of no use to this one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pyarrow as pa

from vidfind.store.tables import VIDEOS, VideoRow, row_to_table, rows_of
from vidfind.system.storage import atomic_write

log = logging.getLogger(__name__)

KEPT_TIME = timedelta(days=30)
"""Vectors of removed videos are kept for so long."""
KEPT_BYTES = 10**9
"""And no more of them than this: those removed last. A thousand hours of footage, with vectors of 512 numbers."""
BYTES_A_NUMBER = 2
REMOVED_AT = "removed_at"


@dataclass(frozen=True)
class RemovedVideo:
    """A video that was removed, with its row as it was, and the time of the removal."""

    row: VideoRow
    removed_at: datetime


def removed_file(path: Path, number: int) -> Path:
    """The file of the removed videos of a generation of the index at `path`."""
    return path / (f"removed-{number}.arrow" if number else "removed.arrow")


def read_removed(path: Path, number: int) -> dict[int, RemovedVideo]:
    """The removed videos of a generation by their contents; none if the file is not there, or damaged."""
    file = removed_file(path, number)
    if not file.is_file():
        return {}
    try:
        table = pa.ipc.open_file(pa.py_buffer(file.read_bytes())).read_all()
        times = cast("list[datetime]", table[REMOVED_AT].to_pylist())  # never null
        rows = rows_of(table.drop_columns([REMOVED_AT]))
        return {row.content: RemovedVideo(row, at) for row, at in zip(rows, times, strict=True)}
    except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's own are among these
        log.warning("Cannot read which videos were removed: %s", error)
        return {}


def write_removed(path: Path, number: int, videos: Collection[RemovedVideo]) -> None:
    """Stores the removed videos of a generation. Raises StorageError."""
    file = removed_file(path, number)
    if not videos:
        file.unlink(missing_ok=True)
        return
    rows = pa.Table.from_pylist([row_to_table(video.row) for video in videos], schema=VIDEOS)
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
