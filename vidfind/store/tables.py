"""The LanceDB tables of an index: what a row of each holds, and how they are opened, made, read and committed to.

The only module that opens LanceDB. Knows nothing of what an index does with its tables: see store.py.
"""

from __future__ import annotations

import errno
import functools
import os
import secrets
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfind.errors import VidfindError
from vidfind.store.places.copies import copy_of
from vidfind.store.places.database import connect as connect
from vidfind.store.places.lease import check_lease
from vidfind.store.places.maps import local_path, read_maps, stored_path
from vidfind.store.places.path import IndexPath, delete_entry, place_errors
from vidfind.store.places.reading import TableReader
from vidfind.store.places.table_files import VERSIONS, files_in, is_made, is_whole, state_of_folder
from vidfind.store.settings import damaged
from vidfind.system.mounts import Place

if TYPE_CHECKING:
    from lancedb.db import DBConnection
    from lancedb.table import Table

T = TypeVar("T")
VIDEO_COLUMNS: Mapping[str, pa.DataType] = {
    "path": pa.string(),
    "folder": pa.string(),
    "size": pa.int64(),
    "mtime_ns": pa.int64(),
    "fingerprint": pa.string(),
    "content": pa.int64(),
    "segments": pa.int32(),
    "duration": pa.float64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "codec": pa.string(),
    "created": pa.timestamp("us", tz="UTC"),
    "indexed_at": pa.timestamp("us", tz="UTC"),
    "failed": pa.string(),
    "damage": pa.string(),
    "created_from": pa.string(),
    "footage": pa.string(),
    "mount": pa.string(),
    "volume": pa.string(),
    "file_id": pa.string(),
}
VIDEOS = pa.schema(VIDEO_COLUMNS)
TIMES = ("created", "indexed_at")
PLACE_COLUMNS = ("mount", "volume", "file_id")
REPEATED = frozenset({"codec", "failed", "damage", "created_from", "mount", "volume"})
UNKNOWN_PLACE = Place()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ADDED_COLUMNS: Mapping[str, str] = dict.fromkeys(
    ("damage", "created_from", "footage", *PLACE_COLUMNS), "cast('' as string)"
)
"""The columns that tables of an older format do not have, with the SQL of the value that their rows get."""
SEGMENT_COLUMNS = frozenset({"content", "start", "end", "vector"})
LABEL_COLUMNS: Mapping[str, pa.DataType] = {
    "id": pa.string(),
    "video": pa.string(),
    "start": pa.float64(),
    "end": pa.float64(),
    "kind": pa.string(),
    "task": pa.string(),
    "name": pa.string(),
    "value": pa.int8(),
    "described": pa.string(),
    "added": pa.timestamp("us", tz="UTC"),
}
LABELS = pa.schema(LABEL_COLUMNS)
MARK_COLUMNS: Mapping[str, pa.DataType] = {
    "content": pa.int64(),
    "start": pa.float64(),
    "end": pa.float64(),
    "tags_auto": pa.list_(pa.string()),
    "tags_auto_confidence": pa.list_(pa.float32()),
    "classes_auto": pa.list_(pa.string()),
    "classes_auto_confidence": pa.list_(pa.float32()),
    "suggested": pa.list_(pa.string()),
    "suggested_confidence": pa.list_(pa.float32()),
    "tag_run": pa.string(),
    "class_run": pa.string(),
}
MARKS = pa.schema(MARK_COLUMNS)
TRY_AGAIN = -1
"""Stored as `mtime_ns` of a video whose failure was not its own, but the disk's: no file has this modification time."""


class TableKind(StrEnum):
    """The tables of an index."""

    VIDEOS = "videos"
    SEGMENTS = "segments"
    LABELS = "labels"
    """The labels that the owner gives to videos: see labels.py. An index has one such table, whatever its encoder."""
    MARKS = "marks"
    """The marks that saved models give to segments: see marks.py."""


REQUIRED = (TableKind.VIDEOS, TableKind.SEGMENTS)
"""The tables that every index has; the others are made when their first rows are written."""
SCHEMAS = {TableKind.VIDEOS: VIDEOS, TableKind.LABELS: LABELS, TableKind.MARKS: MARKS}
"""The columns of each table but that of the segments, which depend on the model."""


@dataclass(frozen=True, slots=True)
class VideoRow:
    """A video in the index. `folder` is what it was indexed under; `failed` is the reason, empty when all is well.

    `damage` says what of an indexed video could not be read, empty when it is whole. `created_from` names the source of
    `created`, as `media.dates` does, and `footage` is that of `VideoInfo`; both are empty in rows of an older vidfind.
    `place` says on which drive the file was when it was last seen."""

    path: Path
    folder: Path
    size: int
    mtime_ns: int
    fingerprint: str
    created: datetime
    indexed_at: datetime
    content: int = 0
    segments: int = 0
    duration: float = 0.0
    width: int = 0
    height: int = 0
    codec: str = ""
    failed: str = ""
    damage: str = ""
    created_from: str = ""
    footage: str = ""
    place: Place = UNKNOWN_PLACE

    @property
    def try_again(self) -> bool:
        """Whether every run tries this failed video again, though its file has not changed."""
        return self.mtime_ns == TRY_AGAIN


def new_content() -> int:
    """A number for a fresh encoding; never 0, which failed videos have. Random: no two runs can hand out the same."""
    return secrets.randbelow(2**62) + 1


def segments_schema(dim: int) -> pa.Schema:
    """Returns the Arrow schema of the segments table, for vectors of length `dim`."""
    columns: Mapping[str, pa.DataType] = {
        "content": pa.int64(),
        "start": pa.float64(),
        "end": pa.float64(),
        "vector": pa.list_(pa.float16(), dim),
    }
    return pa.schema(columns)


def table_name(kind: TableKind, number: int) -> str:
    """The name of a table of the generation `number`."""
    return f"{kind}-{number}" if number and kind is not TableKind.LABELS else str(kind)


def open_table(database: DBConnection, name: str, kind: TableKind) -> Table:
    """A table of an index. Raises ValueError if it lacks columns, which LanceDB does not notice."""
    table = database.open_table(name)
    require_columns(table.schema, name, kind)
    return table


def require_columns(schema: pa.Schema, name: str, kind: TableKind) -> None:
    """Raises ValueError if a table lacks columns."""
    needed = SEGMENT_COLUMNS if kind is TableKind.SEGMENTS else set(SCHEMAS[kind].names) - ADDED_COLUMNS.keys()
    if missing := needed - set(schema.names):
        raise ValueError(f"the table {name} has no columns {', '.join(sorted(missing))}")


def make_table(path: IndexPath, database: DBConnection, name: str, schema: pa.Schema) -> None:
    """Makes an empty table in place of any of this name. Raises StorageError."""
    with table_errors(path):
        delete_entry(path / f"{name}.lance")  # LanceDB writes on top even of what it cannot read
        database.create_table(name, schema=schema)


class Tables:
    """The open tables of one generation of the index at `path`. Both see at once what other processes commit."""

    videos: TableReader
    segments: TableReader

    def __init__(self, path: IndexPath, number: int, copied: bool = False) -> None:
        """`copied`: tables in object storage are read from copies on this machine, which follow them within a second.

        Raises IndexDamaged, StorageError."""
        self._path, self._number, self._copied = path, number, copied
        self._committed: dict[TableKind, Table] = {}
        """The tables that were committed to, which do not look at each step for what other processes commit."""
        self._found: dict[TableKind, tuple[object, TableReader]] = {}
        """The open tables that are not in every index, and the state of the folder of each."""
        self._kept: dict[tuple[TableKind, Hashable], tuple[object, object]] = {}
        self._open()

    def _open(self) -> None:
        self._found.clear()
        self._committed.clear()
        with table_errors(self._path):
            self.videos, self.segments = map(self._reader, REQUIRED)

    def _reader(self, kind: TableKind) -> TableReader:
        name = table_name(kind, self._number)
        place, follow = self._path, None
        if self._copied and not isinstance(place, Path) and (copy := copy_of(place, name)):
            place, follow = copy
        reader = TableReader(place, name, lambda: open_table(connect(place), name, kind), follow or (lambda: None))
        require_columns(reader.schema, name, kind)
        return reader

    def find(self, kind: TableKind) -> TableReader | None:
        """A table that is not in every index; None if it has no rows. Raises IndexDamaged, StorageError."""
        folder = self.folder(kind)
        if not (any(folder.glob("data/*")) and is_made(folder)):  # before it is opened: most indexes have none
            return None
        state, reader = self._found.get(kind, (None, None))
        if reader is None or state != state_of_folder(folder):  # it may be another table in the same place
            state = state_of_folder(folder)
            with table_errors(self._path):
                reader = self._reader(kind)
            self._found[kind] = state, reader
        return reader

    def state(self, kind: TableKind) -> object:
        """A value that changes with every commit to a table, and when another takes its place."""
        table = self.videos if kind is TableKind.VIDEOS else self.find(kind)
        return table and (table, table.version, state_of_folder(self.folder(kind) / VERSIONS))

    def kept(self, kind: TableKind, name: Hashable, read: Callable[[], T]) -> T:
        """Returns what `read` returned when it was last called for this name, if nothing was committed since."""
        state = self.state(kind)
        if (kept := self._kept.get((kind, name))) is None or kept[0] != state:
            self._kept[kind, name] = kept = state, read()
        return cast("T", kept[1])

    def fill(self, kind: TableKind, rows: pa.Table) -> None:
        """Makes `rows` all rows of a table that is not in every index, in one commit."""
        name = self.folder(kind).stem
        if not is_made(self.folder(kind)):
            make_table(self._path, connect(self._path), name, SCHEMAS[kind])
        with self.committing(kind) as table:
            table.add(rows, mode="overwrite")

    def folder(self, kind: TableKind) -> IndexPath:
        return self._path / f"{table_name(kind, self._number)}.lance"

    @contextmanager
    def committing(self, kind: TableKind) -> Iterator[Table]:
        """Yields a table to commit to, and undoes the commits if LanceDB has not written all their files to the end.

        LanceDB does not notice when a disk is full just then. Raises StorageError."""
        folder = self.folder(kind)
        if not isinstance(folder, Path):  # in object storage, where no file is half written
            check_lease(folder.root)
            assert not self._copied
            with table_errors(self._path):
                yield self._to_commit(kind)
            return
        before = files_in(folder)
        with table_errors(self._path):
            yield self._to_commit(kind)
            new = [Path(file) for file in files_in(folder) - before]
            if all(map(is_whole, new)):
                return
            for file in new:
                if file.suffix == ".manifest":
                    file.unlink()  # without it, its version is none, and the one before is the newest
            self._open()  # the open tables remember the version
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _to_commit(self, kind: TableKind) -> Table:
        """Returns a table as it is now, which does not look again before each step of a commit."""
        reader = {TableKind.VIDEOS: self.videos, TableKind.SEGMENTS: self.segments}.get(kind)
        if reader is None:  # one of few commits
            return self._reader(kind).whole
        if kind not in self._committed:
            database = connect(self._path, sees_others=False)
            self._committed[kind] = open_table(database, table_name(kind, self._number), kind)
        table = self._committed[kind]
        if table.version != reader.version:
            table.checkout_latest()  # type: ignore[no-untyped-call]
        return table


def rows_of(videos: pa.Table | pa.RecordBatch) -> Iterator[VideoRow]:
    """The rows of an Arrow table of videos. Raises ValueError or TypeError for values that can be none of a video."""
    folder_from_text = functools.cache(path_from_text)  # few folders, many videos
    mount_from_text = functools.cache(lambda text: path_from_text(text) if text else None)
    columns = {name: videos[name].to_pylist() for name in videos.schema.names if name not in TIMES}
    for name in REPEATED & columns.keys():  # one text in memory for all rows that have it
        texts: dict[Any, Any] = {}
        columns[name] = [texts.setdefault(text, text) for text in columns[name]]
    columns |= {name: [EPOCH + timedelta(microseconds=time) for time in _microseconds(videos[name])] for name in TIMES}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        path, folder = path_from_text(row.pop("path")), folder_from_text(row.pop("folder"))
        mount, volume, file_id = (row.pop(name, "") for name in PLACE_COLUMNS)
        place = Place(mount_from_text(mount), volume, file_id)
        yield VideoRow(path=path, folder=folder, place=place, **row)


def read_columns(videos: TableReader, names: Sequence[str], with_failed: bool) -> pa.Table:
    """Returns columns of all videos, or of those that did not fail; those that an older vidfind lacks are empty."""
    known = videos.schema.names
    query = videos.search().select([name for name in names if name in known])
    table = (query if with_failed else query.where("failed = ''")).to_arrow()
    for name in names:
        if name not in known:
            table = table.append_column(name, pa.array([""] * table.num_rows, pa.string()))
    return table


def _microseconds(times: pa.Array[pa.TimestampScalar] | pa.ChunkedArray[pa.TimestampScalar]) -> list[int]:
    """Times as numbers since EPOCH: Arrow takes five times as long to make times of Python of them.

    Without `cast`, and `vectors_of` without its like, because the import of Arrow's functions takes 90 ms."""
    chunks = times.chunks if isinstance(times, pa.ChunkedArray) else [times]
    numbers = [number for chunk in chunks for number in chunk.view(pa.int64()).to_pylist()]
    return cast("list[int]", numbers)  # a null, which only damage makes, is no number


def literal(text: str) -> str:
    """Returns a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def content_in(contents: Iterable[int]) -> str:
    """Returns the predicate that a row has one of these contents; no row meets it if there are none."""
    return f"content IN ({', '.join(map(str, contents)) or 'NULL'})"


def path_in(paths: Iterable[Path]) -> str:
    """Returns the predicate that a row of videos has one of these paths; no row meets it if there are none."""
    return f"path IN ({', '.join(literal(path_to_text(path)) for path in paths) or 'NULL'})"


def vectors_of(segments: pa.Table | pa.RecordBatch) -> npt.NDArray[np.float32]:
    """Returns the vectors (N, D) of rows of the segments table. Rows without a vector must be dropped before."""
    column, size = segments["vector"], segments.schema.field("vector").type.list_size
    chunks: list[Any] = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    numbers = [chunk.flatten().to_numpy().reshape(-1, size).astype(np.float32) for chunk in chunks]
    return numbers[0] if len(numbers) == 1 else np.concatenate([np.empty((0, size), np.float32), *numbers])


def videos_to_table(rows: Iterable[VideoRow]) -> pa.Table:
    """Returns videos as rows of the table of videos."""
    rows = list(rows)
    to_text = functools.cache(lambda path: path_to_text(path) if path else "")
    columns: dict[str, list[object]] = {
        "path": [path_to_text(row.path) for row in rows],
        "folder": [to_text(row.folder) for row in rows],
        "mount": [to_text(row.place.mount) for row in rows],
        "volume": [row.place.volume for row in rows],
        "file_id": [row.place.file_id for row in rows],
    }
    columns |= {name: [getattr(row, name) for row in rows] for name in VIDEO_COLUMNS if name not in columns}
    return pa.table({name: pa.array(columns[name], kind) for name, kind in VIDEO_COLUMNS.items()}, schema=VIDEOS)


def path_to_text(path: Path) -> str:
    """A path as plain ASCII, as in a file URI: keeps names that are no valid Unicode, needs no escaping in SQL."""
    return quote_from_bytes(os.fsencode(stored_path(path) if read_maps() else path))


def path_from_text(text: str) -> Path:
    stored = os.fsdecode(unquote_to_bytes(text))
    return local_path(stored) if read_maps() else Path(stored)


@contextmanager
def table_errors(path: IndexPath) -> Iterator[None]:
    """Raises what LanceDB says of an index's tables as IndexDamaged, or StorageError where the disk is at fault."""
    try:
        with place_errors(path):
            yield
    except (VidfindError, MemoryError):
        raise
    except Exception as error:  # RuntimeError, ValueError, KeyError, Arrow's own, a panic in Rust: there is no limit
        raise damaged(path, "its tables cannot be read") from error  # -v shows what LanceDB said
