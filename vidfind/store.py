"""The index on disk: its settings, a row for each video, a vector for each segment, in two LanceDB tables.

Knows nothing of how vectors are made. Video rows point to their vectors by `content`, a number made anew for each
encoding: a moved or copied video is a new row with the same number, and a video encoded again switches from its old
vectors to the new ones in the one commit that writes its row. Vectors that no row points to are ignored by search and
cleared by `compact`, so a run that was killed leaves nothing to repair. An index that is encoded again keeps its tables
until new ones beside them are complete: see settings.py. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfind.errors import IndexBusy, IndexMismatch, IndexNotFound
from vidfind.paths import adapter_path
from vidfind.settings import (
    NEXT_FILE,
    SETTINGS_FILE,
    Generation,
    IndexSettings,
    adapter_command,
    adapter_file_name,
    delete_command,
    index_option,
    is_index,
    keep_adapter,
    read_generation,
    write_generation,
)

LOCK_FILE = "writing.lock"
SPEED_FILE = "speed.json"
# What an index folder may hold besides its settings: tables of all generations, adapters, and what a copy left behind.
OWN_FILES = re.compile(r"(videos|segments)(-\d+)?\.lance|\.?adapter-\w+\.safetensors(\.part)?|(settings|speed).*\.new")
# Longer than any search takes: a search that began before a compaction still finds its files.
KEEP_VERSIONS = timedelta(hours=1)
# Paths in one predicate: keeps the SQL text small (some 100 KB).
PATHS_A_DELETE = 1000

VIDEOS = pa.schema(
    [
        ("path", pa.string()),
        ("folder", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("fingerprint", pa.string()),
        ("content", pa.int64()),
        ("segments", pa.int32()),
        ("duration", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("codec", pa.string()),
        ("created", pa.timestamp("us", tz="UTC")),
        ("indexed_at", pa.timestamp("us", tz="UTC")),
        ("failed", pa.string()),
        ("damage", pa.string()),
    ]
)


@dataclass(frozen=True)
class VideoRow:
    """A video in the index. `folder` is what it was indexed under; `failed` is the reason, empty when all is well.

    `damage` says what of an indexed video could not be read, empty when it is whole."""

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
    """What `vidfind status` shows. `hours` of footage; `size_on_disk` in bytes; `damaged` are indexed, but not whole."""

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
        videos, segments = _table_names(generation.number)
        self._videos = database.open_table(videos)
        self._segments = database.open_table(segments)

    @classmethod
    def create(cls, path: Path, settings: IndexSettings, dim: int, adapter: Path | None = None) -> Store:
        """A new, empty index for vectors of `dim` numbers, in place of the one at `path` if that holds no videos.

        `adapter` is the file of the adapter in `settings`; the index keeps a copy. Raises IndexMismatch if the index
        at `path` does hold videos."""
        if is_index(path) and cls.open(path).videos():
            raise IndexMismatch(f"There already is an index {path.name!r}. To delete it: {delete_command(path)}")
        path.mkdir(parents=True, exist_ok=True)
        for file in (SETTINGS_FILE, NEXT_FILE, SPEED_FILE):
            (path / file).unlink(missing_ok=True)
        database = _connect(path)
        generation = _make_generation(path, database, Generation(settings), dim, adapter)
        write_generation(path, generation)  # last: a folder with settings is a whole index
        return cls(path, generation, database)

    @classmethod
    def open(cls, path: Path) -> Store:
        """The index at `path`. Raises IndexNotFound, and IndexMismatch if this version cannot read it."""
        if not is_index(path):
            others = sorted(entry.parent.name for entry in path.parent.glob(f"*/{SETTINGS_FILE}"))
            known = f" (there is: {', '.join(others)})" if others else ""
            option = index_option(path)
            raise IndexNotFound(f"There is no index {path.name!r} yet{known}. Make it: vidfind index FOLDER{option}")
        return cls(path, read_generation(path), _connect(path))

    @property
    def settings(self) -> IndexSettings:
        return self._generation.settings

    @property
    def adapter(self) -> Path | str | None:
        """What to load the index's encoder with: its own copy of its adapter, which nothing else can change."""
        if self._generation.adapter_file:
            return self.path / self._generation.adapter_file
        return self.settings.adapter

    def has_adapter(self, adapter: Path | None) -> bool:
        """Whether the file of an adapter (None: no adapter) has the content of the index's own."""
        if adapter is None:
            return self.settings.adapter is None
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
        adapter = begun.settings.adapter
        return Unfinished(adapter, len(begun.videos()), adapter_command(self.path, adapter))

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
        os.utime(self.path / NEXT_FILE)  # from now on the old ones wait to be cleared
        (self.path / NEXT_FILE).replace(self.path / SETTINGS_FILE)
        self.is_unfinished = False

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""
        return int(self._segments.schema.field("vector").type.list_size)

    def require(self, **asked: object) -> None:
        """Raises IndexMismatch, with the command that mends it, if any setting named differs from the index's own."""
        ours = dataclasses.asdict(self.settings)
        differing = [field for field, value in asked.items() if ours[field] != value]
        if "weights_digest" in asked and "weights_digest" not in differing and "model" not in differing:
            differing = [field for field in differing if field != "pretrained"]  # the same weights by another name
        if not differing:
            return
        difference = ", ".join(_describe_difference(field, ours[field], asked[field]) for field in differing)
        message = f"The index {self.path.name!r} was made with {difference}. "
        wanted = dataclasses.replace(self.settings, **{field: asked[field] for field in differing})  # type: ignore[arg-type]  # one value a field
        needed = ""
        if "adapter" not in asked and {"model", "pretrained", "encoder", "num_frames"} & set(differing):
            wanted = dataclasses.replace(wanted, adapter=None)  # an adapter is for what it was trained on
        elif wanted.adapter == ours["adapter"] and wanted.adapter and not adapter_path(wanted.adapter).is_file():
            needed = shlex.join(["vidfind", "adapters", "import", str(self.adapter)]) + " && "
        folders = [str(folder) for folder in self.folders()] or ["FOLDER"]
        options = [*_options(wanted), *(["--adapter", "none"] if asked.get("adapter", "") is None else [])]
        again = shlex.join(["vidfind", "index", *folders, *options])
        if "adapter" in differing and set(differing) <= {"adapter", "weights_digest", "num_frames"}:
            replace = f"To encode it again: {adapter_command(self.path, wanted.adapter)}"
        else:
            replace = f"To replace it: {needed}{delete_command(self.path)} && {again}{index_option(self.path)}"
        raise IndexMismatch(f"{message}To make another beside it: {needed}{again} --index NAME   {replace}")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other processes from writing to this index meanwhile.

        Raises IndexBusy if one does so already, or has put other tables or another adapter in its place."""
        with open(self.path / LOCK_FILE, "ab") as file:
            try:
                _lock(file.fileno())
            except OSError as error:
                raise IndexBusy(
                    f"Another vidfind is writing to the index {self.path.name!r}: wait until it is done."
                ) from error
            if not self._is_current():
                raise IndexBusy(f"Another vidfind has changed the index {self.path.name!r}: run the command again.")
            for one in filter(None, (self, self.unfinished())):
                one._migrate()
            yield  # closing the file, or the end of the process however it ends, gives the lock back

    def videos(self) -> dict[Path, VideoRow]:
        """Every video by its path, in no order; failed ones too."""
        folder_from_text = functools.cache(path_from_text)  # few folders, many videos: a third of the time saved
        rows: dict[Path, VideoRow] = {}
        for values in self._videos.to_arrow().to_pylist():
            path, folder = path_from_text(values.pop("path")), folder_from_text(values.pop("folder"))
            rows[path] = VideoRow(path=path, folder=folder, **values)
        return rows

    def folders(self) -> list[Path]:
        """The folders (or single files) that were indexed, sorted, without those inside another of them."""
        outer: list[Path] = []
        for folder in sorted({row.folder for row in self.videos().values()}):
            if not any(folder.is_relative_to(other) for other in outer):
                outer.append(folder)
        return outer

    def put(self, rows: Sequence[VideoRow], embedded: Sequence[Embedded] = ()) -> None:
        """Adds or replaces videos, and the vectors they point to: two commits, however many videos there are."""
        if tables := [self._segments_table(one) for one in embedded if len(one.spans)]:
            self._segments.add(pa.concat_tables(tables))
        if rows:
            unique = {row.path: row for row in rows}.values()
            table = pa.Table.from_pylist([_row_to_table(row) for row in unique], schema=VIDEOS)
            merge = self._videos.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(table)

    def remove(self, paths: Iterable[Path]) -> None:
        """Forgets videos; their vectors are cleared by the next `compact`. Paths that are not there are ignored."""
        texts = [path_to_text(path) for path in paths]
        for start in range(0, len(texts), PATHS_A_DELETE):
            listed = ", ".join(f"'{text}'" for text in texts[start : start + PATHS_A_DELETE])
            self._videos.delete(f"path IN ({listed})")

    def search(
        self, vector: npt.NDArray[np.floating], limit: int, contents: Collection[int] | None = None
    ) -> list[Hit]:
        """The `limit` segments most alike `vector` (D,), best first; only those of `contents` where given.

        May hold hits whose content no video row points to."""
        query = self._segments.search(np.asarray(vector, np.float32)).distance_type("cosine").limit(limit)
        if contents is not None:
            listed = ", ".join(map(str, contents)) or "NULL"
            query = query.where(f"content IN ({listed})", prefilter=True)
        found = query.select(["content", "start", "end", "_distance"]).to_arrow().to_pylist()
        hits = [Hit(row["content"], row["start"], row["end"], 1 - row["_distance"]) for row in found]
        return sorted(hits, key=lambda hit: (-hit.score, hit.content, hit.start))

    def compact(self) -> None:
        """Clears vectors that no video points to, and joins the small files that many commits leave behind."""
        stored = set(self._segments.search().select(["content"]).to_arrow()["content"].unique().to_pylist())
        orphans = sorted(stored - set(self._videos.to_arrow()["content"].to_pylist()))
        for start in range(0, len(orphans), PATHS_A_DELETE):
            listed = ", ".join(map(str, orphans[start : start + PATHS_A_DELETE]))
            self._segments.delete(f"content IN ({listed})")
        for table in (self._videos, self._segments):
            table.optimize(cleanup_older_than=KEEP_VERSIONS)
        self._clear_old_generations()

    def note_speed(self, footage: float, elapsed: float) -> None:
        """Remembers how fast this machine encodes with this model: seconds of footage, and what they took."""
        part = self.path / f"{SPEED_FILE}.new"
        part.write_text(json.dumps({"footage": footage, "elapsed": elapsed}), encoding="utf-8")
        part.replace(self.path / SPEED_FILE)

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
            folders=self.folders(),
            videos=sum(not row.failed for row in rows),
            hours=sum(row.duration for row in rows) / 3600,
            segments=sum(row.segments for row in rows),
            failed=[row for row in rows if row.failed],
            damaged=[row for row in rows if row.damage],
            size_on_disk=sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
            unfinished=self.describe_unfinished(),
        )

    def _migrate(self) -> None:
        """Brings tables of an older format up to date. Settings first, to keep an older vidfind from the new tables."""
        if "damage" not in self._videos.schema.names:
            write_generation(self.path, self._generation, self._settings_file)
            self._videos.add_columns({"damage": "cast('' as string)"})

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
            for table in _table_names(begun._generation.number):
                shutil.rmtree(self.path / f"{table}.lance", ignore_errors=True)

    def _clear_old_generations(self) -> None:
        """Deletes the tables and adapters that were in use before, once no search that began with them can be left."""
        if time.time() - (self.path / SETTINGS_FILE).stat().st_mtime < KEEP_VERSIONS.total_seconds():
            return
        used = {SETTINGS_FILE, NEXT_FILE}
        for file in (SETTINGS_FILE, NEXT_FILE):
            if (self.path / file).is_file():
                generation = read_generation(self.path, file)
                used |= {f"{table}.lance" for table in _table_names(generation.number)} | {generation.adapter_file}
        _delete_own(self.path, used)

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


def new_content() -> int:
    """A number for a fresh encoding; never 0, which failed videos have. Random: no two runs can hand out the same."""
    return secrets.randbelow(2**62) + 1


def delete_index(path: Path) -> None:
    """Deletes the index at `path`, even one that cannot be opened, and nothing but it. Raises IndexNotFound."""
    if not is_index(path):
        raise IndexNotFound(f"There is no index {path.name!r}: nothing to delete.")
    (path / SETTINGS_FILE).unlink()  # first: from here on it is no index
    _delete_own(path, ())
    for file in (NEXT_FILE, SPEED_FILE, LOCK_FILE):
        (path / file).unlink(missing_ok=True)
    if not any(path.iterdir()):
        path.rmdir()


def path_to_text(path: Path) -> str:
    """A path as plain ASCII, as in a file URI: keeps names that are no valid Unicode, needs no escaping in SQL."""
    return quote_from_bytes(os.fsencode(path))


def path_from_text(text: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(text)))


def _row_to_table(row: VideoRow) -> dict[str, object]:
    values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return values | {"path": path_to_text(row.path), "folder": path_to_text(row.folder)}


def _connect(path: Path) -> Any:
    os.environ.setdefault("LANCEDB_LOG", "error")  # read when lancedb is imported; its warnings would land on stderr
    import lancedb  # most of a second, which is not spent before a missing index or model is reported

    # An interval of nothing: what another process has written since is seen at once.
    return lancedb.connect(path, read_consistency_interval=timedelta(0))


def _table_names(number: int) -> tuple[str, str]:
    """Of the videos and the segments of a generation."""
    return (f"videos-{number}", f"segments-{number}") if number else ("videos", "segments")


def _make_generation(path: Path, database: Any, generation: Generation, dim: int, adapter: Path | None) -> Generation:
    """Makes the empty tables of a generation and its copy of the adapter, and says what the copy is called."""
    vector = pa.list_(pa.float16(), dim)
    segments = pa.schema([("content", pa.int64()), ("start", pa.float64()), ("end", pa.float64()), ("vector", vector)])
    for name, schema in zip(_table_names(generation.number), (VIDEOS, segments), strict=True):
        database.create_table(name, schema=schema, mode="overwrite")
    return dataclasses.replace(generation, adapter_file=_keep(path, adapter))


def _keep(path: Path, adapter: Path | None) -> str:
    if adapter is None:
        return ""
    name = adapter_file_name(adapter)
    keep_adapter(path, adapter, name)
    return name


def _delete_own(path: Path, used: Collection[str]) -> None:
    """Deletes the tables and adapters in an index's folder, but for those named."""
    for entry in path.iterdir():
        if OWN_FILES.fullmatch(entry.name) and entry.name not in used:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _describe_difference(field: str, ours: object, asked: object) -> str:
    if field == "weights_digest":
        return "other weights, which have changed since under the same name"
    name = field.replace("_", " ")
    return f"{name} {ours if ours is not None else 'none'}, not {asked if asked is not None else 'none'}"


def _options(settings: IndexSettings) -> list[str]:
    options = ["--model", settings.model, "--pretrained", settings.pretrained, "--encoder", settings.encoder]
    if settings.adapter is not None:
        options += ["--adapter", settings.adapter]
    if settings.segment_length != IndexSettings.segment_length:
        options += ["--segment", f"{settings.segment_length:g}"]
    return options


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
