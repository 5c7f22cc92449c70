"""The index on disk: its settings, a row for each video, a vector for each segment, in two LanceDB tables.

Knows nothing of how vectors are made. Video rows point to their vectors by `content`, a number made anew for each
encoding: a moved or copied video is a new row with the same number, and a video encoded again switches from its old
vectors to the new ones in the one commit that writes its row. Vectors that no row points to are ignored by search and
cleared by `compact`, so a run that was killed leaves nothing to repair. An index that is encoded again keeps its tables
until new ones beside them are complete: see settings.py. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfind.commands import NO_ADAPTER, OTHER_INDEX, adapter_command, delete_command, import_command
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.errors import IndexBusy, IndexMismatch
from vidfind.store.folder import (
    KEEP_VERSIONS,
    SPEED_FILE,
    delete_entry,
    leftovers,
    require_index,
    size_on_disk,
    writing_lock,
)
from vidfind.store.nearest import is_worthwhile, make_indexes, nearest
from vidfind.store.settings import (
    NEXT_FILE,
    SETTINGS_FILE,
    Generation,
    IndexSettings,
    adapter_file_name,
    copy_settings,
    damaged,
    differing_fields,
    is_index,
    keep_adapter,
    make_command,
    mismatch,
    read_generation,
    write_generation,
)
from vidfind.store.tables import (
    VIDEOS,
    VideoRow,
    connect,
    is_whole,
    make_table,
    open_table,
    path_to_text,
    row_to_table,
    rows_of,
    segments_schema,
    table_errors,
    table_names,
)
from vidfind.system.paths import adapter_path
from vidfind.system.storage import storage_errors, write_text

# What LanceDB calls a file of a table until it is whole. When it is killed then, it forgets about it.
HALF_WRITTEN = re.compile(r"\.tmp.*|.*#\d+")
# Paths in one predicate: keeps the SQL text small (some 100 KB).
PATHS_A_DELETE = 1000
FOREVER = timedelta(days=36500)
Table = Literal["videos", "segments"]


@dataclass(frozen=True)
class Embedded:
    """The segments of one content: N pairs of start and end, and N unit vectors (N, D)."""

    content: int
    spans: Sequence[tuple[float, float]]
    vectors: npt.NDArray[np.floating]


@dataclass(frozen=True)
class Hit:
    """A segment found; `score` is its cosine similarity to the query."""

    content: int
    start: float
    end: float
    score: float


@dataclass(frozen=True)
class Unfinished:
    """An encoding of the whole index with another adapter that was begun: how far it is, and what goes on with it."""

    adapter: str | None
    videos: int
    command: str


@dataclass(frozen=True)
class IndexStatus:
    """What `vidfind status` shows. `hours` of footage; `size_on_disk` in bytes; `damaged` are in it, but not whole."""

    name: str
    settings: IndexSettings
    folders: list[Path]
    videos: int
    hours: float
    segments: int
    failed: list[VideoRow]
    damaged: list[VideoRow]
    size_on_disk: int
    unfinished: Unfinished | None = None


class Store:
    """An index on disk. Make one with `create` or `open`; reading needs no lock, writing goes inside `writing`.

    >>> store = Store.open(index_path("default"))
    >>> hits = store.search(vector, limit=20)
    """

    def __init__(self, path: Path, generation: Generation, database: Any, is_unfinished: bool = False) -> None:
        self.path = path
        self.is_unfinished = is_unfinished
        """Whether these are the tables of an encoding that searches do not use yet."""
        self._generation = generation
        self._database = database
        self._videos, self._segments = self._open_tables()

    @classmethod
    def create(cls, path: Path, settings: IndexSettings, dim: int, adapter: Path | None = None) -> Store:
        """A new, empty index for vectors of `dim` numbers, in place of the one at `path` if that holds no videos.

        `adapter` is the file of the adapter in `settings`; the index keeps a copy. Raises IndexMismatch if the index
        at `path` does hold videos, IndexBusy, StorageError."""
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        with writing_lock(path):
            if is_index(path) and cls.open(path).count_videos():
                raise IndexMismatch(f"There already is an index {path.name!r}. To delete it: {delete_command(path)}")
            with storage_errors(path):
                for file in (SETTINGS_FILE, NEXT_FILE, SPEED_FILE):
                    (path / file).unlink(missing_ok=True)
            database = connect(path)
            generation = _make_generation(path, database, Generation(settings), dim, adapter)
            write_generation(path, generation)  # last: a folder with settings is a whole index
        return cls(path, generation, database)

    @classmethod
    def open(cls, path: Path, generation: Generation | None = None) -> Store:
        """The index at `path`, as the `generation` that was read from it before, or the one in use.

        Raises IndexNotFound, IndexMismatch if a newer vidfind made it, IndexDamaged."""
        require_index(path)
        return cls(path, generation or read_generation(path), connect(path))

    @property
    def settings(self) -> IndexSettings:
        return self._generation.settings

    @property
    def adapter(self) -> Path | str | None:
        """What to load the index's encoder with: its own copy of its adapter, which nothing else can change.

        Raises IndexDamaged if that is missing."""
        if not self._generation.adapter_file:
            return self.settings.identity.adapter
        file = self.path / self._generation.adapter_file
        if not file.is_file():
            raise damaged(self.path, f"its copy of the adapter {self.settings.identity.adapter} is missing")
        return file

    def has_adapter(self, adapter: Path | None) -> bool:
        """Whether the file of an adapter (None: no adapter) has the content of the index's own."""
        if adapter is None:
            return self.settings.identity.adapter is None
        own = self._generation.adapter_file
        return own == adapter_file_name(adapter) and (self.path / own).is_file()

    def unfinished(self) -> Store | None:
        """The encoding of this index with another adapter that was begun and is not in use yet, if there is one."""
        try:
            return Store(self.path, read_generation(self.path, NEXT_FILE), self._database, is_unfinished=True)
        except FileNotFoundError:
            return None

    def describe_unfinished(self) -> Unfinished | None:
        """What there is to tell of `unfinished`."""
        begun = self.unfinished()
        if begun is None:
            return None
        adapter = begun.settings.identity.adapter
        return Unfinished(adapter, begun.count_videos(), adapter_command(self.path, adapter))

    def in_use(self) -> Store:
        """The tables that searches use: those of another generation if this one is unfinished."""
        return Store.open(self.path) if self.is_unfinished else self

    def switch_adapter(self, settings: IndexSettings, adapter: Path | None) -> Store:
        """The same videos and vectors with another adapter, one that leaves video vectors as they are."""
        assert settings.has_vectors_of(self.settings)
        with self.writing():
            name = _keep(self.path, adapter)
            generation = dataclasses.replace(self._generation, settings=settings, adapter_file=name)
            write_generation(self.path, generation, self._settings_file)
        return Store(self.path, generation, self._database, self.is_unfinished)

    def begin_again(self, settings: IndexSettings, adapter: Path | None) -> Store:
        """New, empty tables for the same index with another adapter; searches go on with the old ones.

        One that was begun before and is unfinished is given up."""
        with self.writing():
            self._drop_unfinished()
            generation = Generation(settings, self._generation.number + 1)
            generation = _make_generation(self.path, self._database, generation, self.dim, adapter)
            write_generation(self.path, generation, NEXT_FILE)
        return Store(self.path, generation, self._database, is_unfinished=True)

    def give_up_unfinished(self) -> None:
        """Deletes what an unfinished encoding has made; nothing if there is none."""
        with self.writing():
            self._drop_unfinished()

    def finish(self) -> None:
        """Makes these unfinished tables the ones in use, in one step; call it inside `writing`."""
        assert self.is_unfinished
        with storage_errors(self.path):
            os.utime(self.path / NEXT_FILE)  # from now on the old ones wait to be cleared
            (self.path / NEXT_FILE).replace(self.path / SETTINGS_FILE)
            copy_settings(self.path)
        self.is_unfinished = False

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""
        return int(self._segments.schema.field("vector").type.list_size)

    def require(self, asked: EncoderChoice, segment_length: float | None = None) -> None:
        """Raises IndexMismatch, with the command that mends it, if the index was made with something else.

        What is None is not asked for, and may be anything."""
        ours = self.settings
        identity = asked.over(ours.identity)
        wanted = IndexSettings(identity, segment_length or ours.segment_length)
        differing = differing_fields(ours, wanted)
        if not differing:
            return
        if "model" in differing and asked.pretrained is None:
            identity = dataclasses.replace(identity, pretrained="")  # those of the other model are not called the same
        if asked.adapter is None and {"model", "pretrained", "encoder", "num_frames"} & set(differing):
            identity = dataclasses.replace(identity, adapter=None)  # an adapter is for what it was trained on
        wanted = dataclasses.replace(wanted, identity=identity)
        raise self._mismatch(wanted, differing, NO_ADAPTER if asked.adapter == NO_ADAPTER else identity.adapter)

    def require_identity(self, identity: EncoderIdentity) -> None:
        """Raises IndexMismatch, with the command that mends it, if the vectors of the index are not of this encoder."""
        ours = self.settings.identity
        if (identity.model, identity.weights_digest) == (ours.model, ours.weights_digest):
            identity = dataclasses.replace(identity, pretrained=ours.pretrained)  # the same weights by another name
        wanted = dataclasses.replace(self.settings, identity=identity)
        if differing := differing_fields(self.settings, wanted):
            raise self._mismatch(wanted, differing, identity.adapter or NO_ADAPTER)

    def _mismatch(self, wanted: IndexSettings, differing: Sequence[str], adapter: str | None) -> IndexMismatch:
        """The error that the settings `differing` are others than `wanted`, with the commands that mend it.

        `adapter` is what those commands say of the adapter; None: nothing."""
        own, needed = self.settings.identity.adapter, ""
        if own and own == adapter and self.adapter and not adapter_path(own).is_file():
            needed = f"{import_command(self.adapter)} && "
        again, beside = (make_command(index, self.folders(), wanted, adapter) for index in (self.path, OTHER_INDEX))
        if "adapter" in differing and set(differing) <= {"adapter", "weights_digest", "num_frames"}:
            replace = f"To encode it again: {adapter_command(self.path, wanted.identity.adapter)}"
        else:
            replace = f"To replace it: {needed}{delete_command(self.path)} && {again}"
        return IndexMismatch(
            f"The index {self.path.name!r} was made with {mismatch(self.settings, wanted, differing)}. "
            f"To make another beside it: {needed}{beside}   {replace}"
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other processes from writing to this index meanwhile.

        Raises IndexBusy if one does so already, or has put other tables or another adapter in its place."""
        with writing_lock(self.path):
            if not self._is_current():
                raise IndexBusy(f"Another vidfind has changed the index {self.path.name!r}: run the command again.")
            for one in filter(None, (self, self.unfinished())):
                one._migrate()
            copy_settings(self.path)
            yield

    def videos(self) -> dict[Path, VideoRow]:
        """Every video by its path, in no order; failed ones too."""
        with table_errors(self.path):
            return {row.path: row for row in rows_of(self._videos.to_arrow())}

    def count_videos(self) -> int:
        """How many videos there are, failed ones too."""
        with table_errors(self.path):
            return int(self._videos.count_rows())

    def segments_to_arrange(self) -> int:
        """How many segments the next `compact` makes an approximate index of, which takes it a while; mostly none."""
        with table_errors(self.path):
            return int(self._segments.count_rows()) if is_worthwhile(self._segments) else 0

    def videos_of(self, contents: Collection[int]) -> list[VideoRow]:
        """The videos that have one of these contents, in no order; none that failed."""
        with table_errors(self.path):
            query = self._videos.search().where(f"content IN ({_listed(contents)})")
            return [row for row in rows_of(query.to_arrow()) if not row.failed]

    def columns(self, *names: str) -> Any:
        """Columns of all videos that did not fail, in no order, as an Arrow table: far quicker than their rows."""
        with table_errors(self.path):
            return self._videos.search().where("failed = ''").select(list(names)).to_arrow()

    def segments(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float32]]]:
        """All segments in batches, in no order: contents (N,), starts and ends (N, 2), vectors (N, D)."""
        with table_errors(self.path):
            for batch in self._segments.search().to_batches():
                whole = batch.drop_null()  # which only damage makes
                spans = np.stack([whole["start"].to_numpy(), whole["end"].to_numpy()], axis=1)
                vectors = whole["vector"].flatten().to_numpy().reshape(-1, self.dim).astype(np.float32)
                yield whole["content"].to_numpy(), spans, vectors

    def folders(self) -> list[Path]:
        """The folders (or single files) that were indexed, sorted, without those inside another of them."""
        return outer_folders(self.videos().values())

    def put(self, rows: Sequence[VideoRow], embedded: Sequence[Embedded] = ()) -> None:
        """Adds or replaces videos, and the vectors they point to: two commits, however many videos there are."""
        if tables := [self._segments_table(one) for one in embedded if len(one.spans)]:
            with self._committing("segments"):
                self._segments.add(pa.concat_tables(tables))
        if rows:
            unique = {row.path: row for row in rows}.values()
            table = pa.Table.from_pylist([row_to_table(row) for row in unique], schema=VIDEOS)
            with self._committing("videos"):
                merge = self._videos.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(table)

    def remove(self, paths: Iterable[Path]) -> None:
        """Forgets videos; their vectors are cleared by the next `compact`. Paths that are not there are ignored."""
        texts = [path_to_text(path) for path in paths]
        for start in range(0, len(texts), PATHS_A_DELETE):
            listed = ", ".join(f"'{text}'" for text in texts[start : start + PATHS_A_DELETE])
            with self._committing("videos"):
                self._videos.delete(f"path IN ({listed})")

    def search(
        self, vector: npt.NDArray[np.floating], limit: int, contents: Collection[int] | None = None
    ) -> list[Hit]:
        """The `limit` segments most alike `vector` (D,), best first; only those of `contents` where given.

        Fewer only if there are no more. May hold hits whose content no video row points to. In an index of many
        segments, and without `contents`, a few of the last may be missed: see nearest.py."""
        with table_errors(self.path):
            found = nearest(self._segments, vector, limit, contents)
        hits = [Hit(row["content"], row["start"], row["end"], 1 - row["_distance"]) for row in found.to_pylist()]
        return sorted(hits, key=lambda hit: (-hit.score, hit.content, hit.start))

    def compact(self, keep: timedelta = KEEP_VERSIONS) -> None:
        """Clears vectors that no video points to, joins the small files that many commits leave behind, and brings the
        approximate index up to date, or makes it: see nearest.py.

        Call it inside `writing`. What searches may still read, or has no use, is deleted when it is older than `keep`.
        """
        with table_errors(self.path):
            stored, used = (
                table.search().select(["content"]).to_arrow()["content"].to_numpy()
                for table in (self._segments, self._videos)
            )
        orphans = np.setdiff1d(stored, used)
        for start in range(0, len(orphans), PATHS_A_DELETE):
            with self._committing("segments"):
                self._segments.delete(f"content IN ({_listed(orphans[start : start + PATHS_A_DELETE])})")
        tables: tuple[Table, Table] = ("videos", "segments")
        for name in tables:
            with self._committing(name) as table:
                table.optimize(cleanup_older_than=FOREVER)  # joins files; deletes none before it is known to be whole
            if name == "segments" and is_worthwhile(self._segments):
                with self._committing(name) as table:
                    make_indexes(table)
            with self._committing(name) as table:
                # Unverified are files of no version, which might be of a commit that is being made. Here none is: they
                # are of commits that were killed.
                table.optimize(cleanup_older_than=keep, delete_unverified=True)
        for file in self.path.glob("*.lance/**/*"):
            if HALF_WRITTEN.fullmatch(file.name):
                file.unlink(missing_ok=True)
        for entry in leftovers(self.path, keep):
            delete_entry(entry)

    def note_speed(self, footage: float, elapsed: float) -> None:
        """Remembers how fast this machine encodes with this model: seconds of footage, and what they took."""
        write_text(self.path / SPEED_FILE, json.dumps({"footage": footage, "elapsed": elapsed}))

    def speed(self) -> float | None:
        """Seconds of footage that were encoded in a second the last time, if that is known."""
        try:
            values = json.loads((self.path / SPEED_FILE).read_text(encoding="utf-8"))
            return float(values["footage"]) / float(values["elapsed"])
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
            return None

    def status(self) -> IndexStatus:
        """What is in the index."""
        rows = sorted(self.videos().values(), key=lambda row: row.path)
        return IndexStatus(
            name=self.path.name,
            settings=self.settings,
            folders=outer_folders(rows),
            videos=sum(not row.failed for row in rows),
            hours=sum(row.duration for row in rows) / 3600,
            segments=sum(row.segments for row in rows),
            failed=[row for row in rows if row.failed],
            damaged=[row for row in rows if row.damage],
            size_on_disk=sum(map(size_on_disk, self.path.rglob("*"))),
            unfinished=self.describe_unfinished(),
        )

    def _migrate(self) -> None:
        """Brings tables of an older format up to date. Settings first, to keep an older vidfind from the new tables."""
        if "damage" not in self._videos.schema.names:
            write_generation(self.path, self._generation, self._settings_file)
            with self._committing("videos"):
                self._videos.add_columns({"damage": "cast('' as string)"})

    def _open_tables(self) -> tuple[Any, Any]:
        with table_errors(self.path):
            videos, segments = (open_table(self._database, name) for name in table_names(self._generation.number))
        return videos, segments

    @contextmanager
    def _committing(self, table: Table) -> Iterator[Any]:
        """Undoes what is committed to a table inside if LanceDB has committed files that it could not write to the end.

        It does not notice when a disk is full just then. Raises StorageError."""
        videos, segments = table_names(self._generation.number)
        folder = self.path / f"{videos if table == 'videos' else segments}.lance"
        before = set(folder.rglob("*"))
        with table_errors(self.path):
            yield self._videos if table == "videos" else self._segments
            new = set(folder.rglob("*")) - before
            if all(map(is_whole, new)):
                return
            for file in new:
                if file.suffix == ".manifest":
                    file.unlink()  # without it, its version is none, and the one before is the newest
            self._database = connect(self.path)  # this one remembers it
            self._videos, self._segments = self._open_tables()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def _settings_file(self) -> str:
        return NEXT_FILE if self.is_unfinished else SETTINGS_FILE

    def _is_current(self) -> bool:
        try:
            return read_generation(self.path, self._settings_file) == self._generation
        except FileNotFoundError:
            return False

    def _drop_unfinished(self) -> None:
        if begun := self.unfinished():
            (self.path / NEXT_FILE).unlink()  # first: from here on there is none
            for table in table_names(begun._generation.number):
                shutil.rmtree(self.path / f"{table}.lance", ignore_errors=True)

    def _segments_table(self, embedded: Embedded) -> Any:
        vectors = np.ascontiguousarray(embedded.vectors, np.float16)
        starts, ends = zip(*embedded.spans, strict=True)
        return pa.table(
            {
                "content": pa.array([embedded.content] * len(starts), pa.int64()),
                "start": pa.array(starts, pa.float64()),
                "end": pa.array(ends, pa.float64()),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self.dim),
            },
            schema=self._segments.schema,
        )


def _listed(contents: Iterable[int]) -> str:
    """Contents for a predicate; NULL, which equals none, for none."""
    return ", ".join(map(str, contents)) or "NULL"


def outer_folders(rows: Iterable[VideoRow]) -> list[Path]:
    """The folders that videos were indexed under, sorted, without those inside another of them."""
    outer: list[Path] = []
    for folder in sorted({row.folder for row in rows}):  # what lies inside a folder comes next after it
        if not outer or not folder.is_relative_to(outer[-1]):
            outer.append(folder)
    return outer


def _make_generation(path: Path, database: Any, generation: Generation, dim: int, adapter: Path | None) -> Generation:
    """Makes the empty tables of a generation and its copy of the adapter, and says what the copy is called."""
    for name, schema in zip(table_names(generation.number), (VIDEOS, segments_schema(dim)), strict=True):
        make_table(path, database, name, schema)
    return dataclasses.replace(generation, adapter_file=_keep(path, adapter))


def _keep(path: Path, adapter: Path | None) -> str:
    if adapter is None:
        return ""
    name = adapter_file_name(adapter)
    keep_adapter(path, adapter, name)
    return name
