"""The index on disk: its settings, a row for each video, a vector for each segment, in two LanceDB tables.

Knows nothing of how vectors are made. Video rows point to their vectors by `content`, a number made anew for each
encoding: a moved or copied video is a new row with the same number, and a video encoded again switches from its old
vectors to the new ones in the one commit that writes its row. Vectors that no row points to are ignored by search and
cleared by `compact`, so a run that was killed leaves nothing to repair. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import secrets
import shlex
import shutil
import sys
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
from vidfind.paths import DEFAULT_INDEX

FORMAT_VERSION = 1
SETTINGS_FILE = "settings.json"
LOCK_FILE = "writing.lock"
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
    ]
)


@dataclass(frozen=True)
class IndexSettings:
    """What the vectors of an index depend on; vectors made with other settings are never compared."""

    model: str
    pretrained: str
    weights_digest: str
    encoder: str
    adapter: str | None
    num_frames: int
    segment_length: float = 10.0


@dataclass(frozen=True)
class VideoRow:
    """A video in the index. `folder` is what it was indexed under; `failed` is the reason, empty when all is well."""

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
class IndexStatus:
    """What `vidfind status` shows. `hours` of footage; `size_on_disk` in bytes; `offline` are folders not there now."""

    name: str
    settings: IndexSettings
    folders: list[Path]
    offline: list[Path]
    videos: int
    hours: float
    segments: int
    failed: list[VideoRow]
    size_on_disk: int


class Store:
    """An index on disk. Make one with `create` or `open`; reading needs no lock, writing goes inside `writing`.

    >>> store = Store.open(index_path("default"))
    >>> hits = store.search(vector, limit=20)
    """

    def __init__(self, path: Path, settings: IndexSettings, database: Any) -> None:
        self.path = path
        self.settings = settings
        self._videos = database.open_table("videos")
        self._segments = database.open_table("segments")

    @classmethod
    def create(cls, path: Path, settings: IndexSettings, dim: int) -> Store:
        """A new, empty index for vectors of `dim` numbers, in place of the one at `path` if that holds no videos.

        Raises IndexMismatch if it does hold videos."""
        if is_index(path) and cls.open(path).videos():
            raise IndexMismatch(f"There already is an index {path.name!r}. To delete it: {_delete_command(path)}")
        path.mkdir(parents=True, exist_ok=True)
        (path / SETTINGS_FILE).unlink(missing_ok=True)
        database = _connect(path)
        segments = pa.schema(
            [
                ("content", pa.int64()),
                ("start", pa.float64()),
                ("end", pa.float64()),
                ("vector", pa.list_(pa.float16(), dim)),
            ]
        )
        database.create_table("videos", schema=VIDEOS, mode="overwrite")
        database.create_table("segments", schema=segments, mode="overwrite")
        _write_settings(path, settings)  # last: a folder with settings is a whole index
        return cls(path, settings, database)

    @classmethod
    def open(cls, path: Path) -> Store:
        """The index at `path`. Raises IndexNotFound, and IndexMismatch if this version cannot read it."""
        if not is_index(path):
            others = sorted(entry.parent.name for entry in path.parent.glob(f"*/{SETTINGS_FILE}"))
            known = f" (there is: {', '.join(others)})" if others else ""
            option = "" if path.name == DEFAULT_INDEX else f" --index {path.name}"
            raise IndexNotFound(f"There is no index {path.name!r} yet{known}. Make it: vidfind index FOLDER{option}")
        return cls(path, _read_settings(path), _connect(path))

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
        wanted = dataclasses.replace(self.settings, **{field: asked[field] for field in differing})  # type: ignore[arg-type]  # one value a field
        difference = ", ".join(_describe_difference(field, ours[field], asked[field]) for field in differing)
        folders = [str(folder) for folder in self.folders()] or ["FOLDER"]
        again = shlex.join(["vidfind", "index", *folders, *_options(wanted)])
        option = "" if self.path.name == DEFAULT_INDEX else f" --index {self.path.name}"
        raise IndexMismatch(
            f"The index {self.path.name!r} was made with {difference}. "
            f"To make another beside it: {again} --index NAME   "
            f"To replace it: {_delete_command(self.path)} && {again}{option}"
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other processes from writing to this index meanwhile. Raises IndexBusy if one does so already."""
        with open(self.path / LOCK_FILE, "ab") as file:
            try:
                _lock(file.fileno())
            except OSError as error:
                raise IndexBusy(
                    f"Another vidfind is writing to the index {self.path.name!r}: wait until it is done."
                ) from error
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

    def status(self) -> IndexStatus:
        """What is in the index, and which of its folders are not there now."""
        rows = sorted(self.videos().values(), key=lambda row: row.path)
        folders = self.folders()
        return IndexStatus(
            name=self.path.name,
            settings=self.settings,
            folders=folders,
            offline=[folder for folder in folders if not folder.exists()],
            videos=sum(not row.failed for row in rows),
            hours=sum(row.duration for row in rows) / 3600,
            segments=sum(row.segments for row in rows),
            failed=[row for row in rows if row.failed],
            size_on_disk=sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
        )

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


def is_index(path: Path) -> bool:
    return (path / SETTINGS_FILE).is_file()


def delete_index(path: Path) -> None:
    """Deletes the index at `path`, even one that cannot be opened, and nothing but it. Raises IndexNotFound."""
    if not is_index(path):
        raise IndexNotFound(f"There is no index {path.name!r}: nothing to delete.")
    (path / SETTINGS_FILE).unlink()  # first: from here on it is no index
    for table in ("videos", "segments"):
        shutil.rmtree(path / f"{table}.lance", ignore_errors=True)
    (path / LOCK_FILE).unlink(missing_ok=True)
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


def _write_settings(path: Path, settings: IndexSettings) -> None:
    text = json.dumps({"format": FORMAT_VERSION, **dataclasses.asdict(settings)}, indent=2)
    unfinished = path / f"{SETTINGS_FILE}.new"
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path / SETTINGS_FILE)


def _read_settings(path: Path) -> IndexSettings:
    try:
        values = json.loads((path / SETTINGS_FILE).read_text(encoding="utf-8"))
        version = values.pop("format")
        if version != FORMAT_VERSION:
            raise ValueError(f"its format is {version}, this vidfind reads {FORMAT_VERSION}")
        return IndexSettings(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexMismatch(
            f"The index {path.name!r} cannot be read: {error}. To delete it: {_delete_command(path)}"
        ) from error


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


def _delete_command(path: Path) -> str:
    option = "" if path.name == DEFAULT_INDEX else f" --index {path.name}"
    return f"vidfind remove --all{option}"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
