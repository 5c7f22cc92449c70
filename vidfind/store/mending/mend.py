"""Repairs the tables of a damaged index."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from vidfind.commands import adapter_command, index_command
from vidfind.errors import IndexDamaged
from vidfind.store.files import outer_folders
from vidfind.store.places.path import IndexPath, delete_entry
from vidfind.store.settings import (
    Generation,
    make_command,
)
from vidfind.store.store import Store
from vidfind.store.tables import (
    REQUIRED,
    SCHEMAS,
    VIDEOS,
    TableKind,
    VideoRow,
    connect,
    open_table,
    rows_of,
    segments_schema,
    table_errors,
    table_name,
)

NAMES_SHOWN = 3
KEYS = {
    TableKind.VIDEOS: ["path"],
    TableKind.SEGMENTS: ["content", "start"],
    TableKind.LABELS: ["id"],
    TableKind.MARKS: ["content", "start"],
}
"""The columns that no two rows of a table have in common."""
CONTENTS = {TableKind.VIDEOS: "videos", TableKind.LABELS: "tags and classes", TableKind.MARKS: "automatic tags"}
# A table that cannot be read at once is read in pieces of so many rows, and smaller ones where that fails.
ROWS_A_PIECE = 4096


def some(names: Iterable[str]) -> str:
    """Returns some of the names, and the number of the others."""
    every = list(names)
    more = f" and {len(every) - NAMES_SHOWN} more" if len(every) > NAMES_SHOWN else ""
    return ", ".join(every[:NAMES_SHOWN]) + more


# One generation


@dataclass(frozen=True)
class Part:
    """The tables and the adapter of one generation of an index."""

    path: IndexPath
    generation: Generation
    is_unfinished: bool = False

    def open(self) -> Store:
        return Store(self.path, self.generation, self.is_unfinished)

    def command(self, rows: Iterable[VideoRow]) -> str:
        """Returns the command that encodes missing videos again; `rows` are all known rows of videos."""
        if self.is_unfinished:
            return adapter_command(self.path, self.generation.settings.identity.adapter)
        return index_command(self.path, outer_folders(row.folder for row in rows))


def drop_indexes(path: IndexPath, name: str, kind: TableKind) -> str:
    with table_errors(path):
        table = open_table(connect(path), name, kind)
        for index in table.list_indices():
            table.drop_index(index.name)
        for entry in (path / f"{name}.lance/_indices").glob("*"):
            delete_entry(entry)
    return f"Deleted the search index of the table {name}; the next run makes it again where it is of use."


def check_values(kind: TableKind, rows: pa.Table | pa.RecordBatch) -> None:
    """Raises ValueError, TypeError or OverflowError for rows that are readable but impossible."""
    if kind is TableKind.VIDEOS:
        for _ in rows_of(rows):
            pass


def mend_table(part: Part, kind: TableKind) -> str:
    """Replaces a table by a new one with all its readable rows."""
    path, name = part.path, table_name(kind, part.generation.number)
    left = _rows_left(path, name, kind)
    if left is not None:
        _replace_table(path, name, left)
        kept = f"Kept {left.num_rows} rows of the table {name}, all that can be read."
    elif kind in SCHEMAS:
        _replace_table(path, name, SCHEMAS[kind].empty_table())
        kept = f"Made the table {name} anew, without {CONTENTS[kind]}: nothing of it could be read."
    elif dim := _known_dim(path):
        _replace_table(path, name, segments_schema(dim).empty_table())
        kept = f"Made the table {name} anew, without vectors: nothing of it could be read."
    else:  # without videos, the index is made anew by the next run, for vectors of whatever size
        _replace_table(path, name, segments_schema(1).empty_table())
        _replace_table(path, table_name(TableKind.VIDEOS, part.generation.number), VIDEOS.empty_table())
        settings = part.generation.settings
        again = make_command(path, (), settings, settings.identity.adapter)
        return f"Emptied the index: nothing of the table {name} could be read. To make it again: {again}"
    if kind not in REQUIRED:
        return kept
    rows: Iterable[VideoRow] = ()
    with suppress(IndexDamaged):  # the other table may be damaged too
        rows = part.open().videos().values()
    return f"{kept} What is missing is made again by {part.command(rows)}"


def _replace_table(path: IndexPath, name: str, rows: pa.Table) -> None:
    with table_errors(path):
        mended, old = path / f"{name}.mended.lance", path / f"{name}.lance"
        delete_entry(mended)
        connect(path).create_table(mended.stem, rows)
        delete_entry(old)
        if isinstance(mended, Path) and isinstance(old, Path):
            mended.replace(old)
        else:  # object storage renames no folder
            connect(path).create_table(name, rows)
            delete_entry(mended)


def _known_dim(path: IndexPath) -> int | None:
    """Returns the length of vectors, from any readable table of segments."""
    tables: list[IndexPath] = [*path.glob("segments*.lance")]
    for table in sorted(tables, key=str):
        with suppress(IndexDamaged), table_errors(path):
            return int(open_table(connect(path), table.stem, TableKind.SEGMENTS).schema.field("vector").type.list_size)
    return None


def _rows_left(path: IndexPath, name: str, kind: TableKind) -> pa.Table | None:
    """Returns all rows that are readable in any version of a table; None if not even the columns are.

    If versions differ, the newest one wins."""
    original: IndexPath = path / f"{name}.lance"
    if not original.is_dir():
        return None
    with tempfile.TemporaryDirectory(prefix="vidfind-") as folder:
        if isinstance(original, Path):  # hard links, which take no space, are for the same disk
            scratch = original.with_name(f"{name}.mending.lance")
            delete_entry(scratch)
            shutil.copytree(original, scratch, copy_function=_link)
        else:
            scratch = Path(folder, f"{name}.mending.lance")
            original.download(scratch)
        found = _rows_in(scratch, kind)
        delete_entry(scratch)
    return _first_of_each(pa.concat_tables(found), KEYS[kind]) if found else None


def _rows_in(scratch: Path, kind: TableKind) -> list[pa.Table]:
    """Returns all rows of all versions of a table that are readable, and deletes the versions that are not."""
    found: list[pa.Table] = []
    for manifest in sorted(scratch.glob("_versions/*.manifest")):  # their numbers count down: the newest comes first
        pieces, is_whole = _readable(scratch.parent, scratch.stem, kind)
        found.extend(pieces)
        if is_whole:
            break
        manifest.unlink()  # and look at the version before
    return found


def _readable(path: IndexPath, name: str, kind: TableKind) -> tuple[list[pa.Table], bool]:
    """Returns the readable rows of the newest version of a table, in pieces, and whether these are all rows."""
    try:
        table = open_table(connect(path), name, kind)
        count = table.count_rows()
        schema = SCHEMAS.get(kind, table.schema)
    except Exception:  # whatever LanceDB raises for a table that is damaged
        return [], False

    def read(start: int, length: int) -> pa.Table | None:
        try:
            rows = table.take_offsets(list(range(start, min(start + length, count)))).to_arrow()
            check_values(kind, rows)
            return _with_columns(rows, schema)
        except Exception:
            return None

    pieces = [schema.empty_table()]
    start = 0
    while start < count:
        length = ROWS_A_PIECE
        while (rows := read(start, length)) is None and length > 1:
            length //= 2
        if rows is None:
            start = _end_of_bad(lambda place: read(place, 1) is not None, start, count)
        else:
            pieces.append(rows)
            start += length
    return pieces, sum(piece.num_rows for piece in pieces) == count


def _end_of_bad(is_good: Callable[[int], bool], start: int, stop: int) -> int:
    """Returns the number of the next readable row after an unreadable one, searching in growing steps.

    A damaged file has many unreadable rows in a row. Readable rows between two bad ones may be skipped."""
    stride = 1
    while start + stride < stop and not is_good(start + stride):
        stride *= 2
    bad, end = start + stride // 2, min(start + stride, stop)
    while end - bad > 1:
        middle = (bad + end) // 2
        bad, end = (bad, middle) if is_good(middle) else (middle, end)
    return end


def _with_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns the rows with all columns of `schema`; an older format has fewer."""
    for name in set(schema.names) - set(rows.schema.names):
        rows = rows.append_column(name, pa.array([""] * rows.num_rows, pa.string()))
    return rows.select(schema.names).cast(schema)


def _first_of_each(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Returns the rows without those that have the same key as one before."""
    first: dict[tuple[object, ...], int] = {}
    for place, values in enumerate(zip(*(rows[name].to_pylist() for name in key), strict=True)):
        first.setdefault(values, place)
    return rows.take(pa.array(first.values(), pa.int64()))  # of no rows, the type would be null


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk that has no links
        shutil.copy2(source, target)
