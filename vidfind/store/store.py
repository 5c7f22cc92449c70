"""The index on disk: its settings, a row for each video, a vector for each segment, in LanceDB tables.

Knows nothing of how vectors are made. Video rows point to their vectors by `content`, a number made anew for each
encoding: a moved or copied video is a new row with the same number, and a video encoded again switches from its old
vectors to the new ones in the one commit that writes its row. Vectors that no row points to are ignored by search and
cleared by `compact`, so a run that was killed leaves nothing to repair. An index that is encoded again keeps its tables
until new ones beside them are complete: see settings.py. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfind.commands import NO_ADAPTER, delete_command
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.errors import IndexBusy, IndexMismatch
from vidfind.store.files import StoredVideos, outer_folders
from vidfind.store.folder import (
    PRECISION_FILE,
    SPEED_FILE,
    make_generation,
    read_links,
    read_speed,
    require_free,
    require_index,
    writing_lock,
)
from vidfind.store.labelled.labels import Label, LabelKind, contents_of_files, label_names, read_labels
from vidfind.store.labelled.marks import Mark, mark_names, marks_with, read_marks, run_of
from vidfind.store.memory import RemovedVideo, read_removed
from vidfind.store.mismatch import Mismatch, choice_mismatch, identity_mismatch, mismatch_error
from vidfind.store.nearest import Hit, is_worthwhile, nearest, spread
from vidfind.store.places.path import IndexPath, local_copy, place_errors
from vidfind.store.places.reading import RowsInMemory
from vidfind.store.settings import (
    NEXT_FILE,
    SETTINGS_FILE,
    Generation,
    IndexSettings,
    adapter_file_name,
    begun_generation,
    damaged,
    is_index,
    read_generation,
    write_generation,
)
from vidfind.store.tables import (
    TableKind,
    Tables,
    VideoRow,
    content_in,
    path_in,
    read_columns,
    rows_of,
    table_errors,
    vectors_of,
)
from vidfind.system.files import find_present
from vidfind.system.storage import storage_errors

if TYPE_CHECKING:
    from vidfind.store.writer import StoreWriter

# Segments read at a time: a product with so many is four times as quick as one with LanceDB's thousand.
BATCH = 8192


@dataclass(frozen=True)
class Embedded:
    """The segments of one content: N pairs of start and end, and N unit vectors (N, D)."""

    content: int
    spans: Sequence[tuple[float, float]]
    vectors: npt.NDArray[np.floating]


class Store:
    """An index on disk, to be read without a lock. Make one with `create` or `open`; `writing` gives a StoreWriter.

    >>> store = Store.open(index_path("default"))
    >>> hits = store.search(vector, limit=20)
    """

    def __init__(
        self, path: IndexPath, generation: Generation, is_unfinished: bool = False, copied: bool = False
    ) -> None:
        """The tables of `generation`, which must exist; `copied`: of an index in object storage, copies of them.

        Raises IndexDamaged, StorageError."""
        self.path = path
        self.generation = generation
        self.is_unfinished = is_unfinished
        """Whether these are the tables of an encoding that searches do not use yet."""
        self.tables = Tables(path, generation.number, copied)
        """For the modules of this package alone."""
        self._searched: object = None
        """The state of the table of videos when single ones were last asked for."""

    @classmethod
    def create(cls, path: IndexPath, settings: IndexSettings, dim: int, adapter: Path | None = None) -> Store:
        """Makes an empty index for vectors of length `dim`, in place of the one at `path` if that holds no videos.

        `adapter` is the file of the adapter in `settings`; the index keeps a copy. Raises IndexMismatch if the index
        at `path` does hold videos, BadInput if other data lie there in object storage, IndexBusy, StorageError."""
        require_free(path)
        if isinstance(path, Path):
            with storage_errors(path):
                path.mkdir(parents=True, exist_ok=True)
        with writing_lock(path):
            old = cls.open(path) if is_index(path) else None
            if old and old.count_videos():
                raise IndexMismatch(f"There already is an index {path.name!r}. To delete it: {delete_command(path)}")
            if old and old.removed() and old.settings == settings and old.dim == dim and old.has_adapter(adapter):
                return old  # with the vectors of the videos removed from it
            with place_errors(path):
                for file in (SETTINGS_FILE, NEXT_FILE, SPEED_FILE, PRECISION_FILE):
                    (path / file).unlink(missing_ok=True)
            generation = make_generation(path, Generation(settings), dim, adapter)
            write_generation(path, generation)  # last: a folder with settings is a whole index
        return cls(path, generation)

    @classmethod
    def open(cls, path: IndexPath, generation: Generation | None = None, copied: bool = False) -> Store:
        """The index at `path`, as the `generation` that was read from it before, or the one in use.

        `copied`: for searches alone, from copies on this machine where it is in object storage.

        Raises IndexNotFound, IndexMismatch if a newer vidfind made it, IndexDamaged."""
        require_index(path)
        return cls(path, generation or read_generation(path), copied=copied)

    @contextmanager
    def writing(self) -> Iterator[StoreWriter]:
        """Yields what writes to this index, and keeps other processes from writing to it meanwhile.

        Raises IndexNotFound, and IndexBusy if one does so already, or has put other tables or another adapter in its
        place."""
        from vidfind.store.writer import StoreWriter

        require_index(self.path)
        with writing_lock(self.path):
            if not self._is_current():
                raise IndexBusy(f"Another vidfind has changed the index {self.path.name!r}: run the command again.")
            writer = StoreWriter(self)
            writer.bring_up_to_date()
            yield writer

    # What the index was made with

    @property
    def settings(self) -> IndexSettings:
        return self.generation.settings

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return int(self.tables.segments.schema.field("vector").type.list_size)

    @property
    def adapter(self) -> Path | str | None:
        """The adapter to load the index's encoder with: the index's own copy, which nothing else can change.

        Raises IndexDamaged if that is missing."""
        if not self.generation.adapter_file:
            return self.settings.identity.adapter
        file = self.path / self.generation.adapter_file
        if not file.is_file():
            raise damaged(self.path, f"its copy of the adapter {self.settings.identity.adapter} is missing")
        return local_copy(file)

    @property
    def choice(self) -> EncoderChoice:
        """The choice that loads the encoder of the index. Raises IndexDamaged if its adapter is missing."""
        ours = self.settings.identity
        reading = None if ours.adapter else ours.reading
        return EncoderChoice(ours.model, ours.pretrained, ours.encoder, self.adapter or NO_ADAPTER, reading=reading)

    def has_adapter(self, adapter: Path | None) -> bool:
        """Whether the file of an adapter (None: no adapter) has the content of the index's own."""
        if adapter is None:
            return self.settings.identity.adapter is None
        own = self.generation.adapter_file
        return own == adapter_file_name(adapter) and (self.path / own).is_file()

    def require(self, asked: EncoderChoice, segment_length: float | None = None, overlap: bool | None = None) -> None:
        """Raises IndexMismatch, with the command that mends it, if the index was made with something else.

        What is None is not asked for, and may be anything."""
        self._refuse(choice_mismatch(self.settings, asked, segment_length, overlap))

    def require_identity(self, identity: EncoderIdentity) -> None:
        """Raises IndexMismatch, with the command that mends it, if the vectors of the index are not of this encoder."""
        self._refuse(identity_mismatch(self.settings, identity))

    def _refuse(self, mismatch: Mismatch | None) -> None:
        if mismatch:
            keeps_adapter = mismatch.adapter is not None and mismatch.adapter == self.settings.identity.adapter
            folders = find_present({folder: folder for folder in self.folders()})
            raise mismatch_error(self.path, mismatch, sorted(folders), self.adapter if keeps_adapter else None)

    def unfinished(self) -> Store | None:
        """The encoding of this index with another adapter that was begun and is not in use yet, if there is one."""
        begun = begun_generation(self.path)
        return Store(self.path, begun, is_unfinished=True) if begun else None

    def in_use(self) -> Store:
        """The tables that searches use: those of another generation if this one is unfinished."""
        return Store.open(self.path) if self.is_unfinished else self

    def speed(self) -> float | None:
        """Seconds of footage that were encoded in a second the last time, if that is known."""
        return read_speed(self.path)

    def links(self) -> dict[Path, Path]:
        """Paths through links, as the last run found them, with the paths of the index that they lead to."""
        return read_links(self.path)

    @property
    def settings_file(self) -> str:
        """The name of the file that the settings are in."""
        return NEXT_FILE if self.is_unfinished else SETTINGS_FILE

    def _is_current(self) -> bool:
        with suppress(FileNotFoundError):
            return read_generation(self.path, self.settings_file) == self.generation
        return False

    # Videos and segments

    def videos(self) -> dict[Path, VideoRow]:
        """Every video by its path, in no order; failed ones too."""
        with table_errors(self.path):
            return {row.path: row for row in rows_of(self.tables.videos.to_arrow())}

    def stored_videos(self) -> StoredVideos:
        """The same, but far quicker where few of the rows are needed."""
        with table_errors(self.path):
            return StoredVideos(self.tables.videos.to_arrow())

    def count_videos(self, with_failed: bool = True) -> int:
        """How many videos there are, failed ones too unless `with_failed` is not set."""
        with table_errors(self.path):
            return int(self.tables.videos.count_rows(None if with_failed else "failed = ''"))

    def removed(self) -> dict[int, RemovedVideo]:
        """The removed videos by their contents whose vectors are kept for a while: no search shows them."""
        return read_removed(self.path, self.generation.number)

    def videos_of(self, contents: Collection[int]) -> list[VideoRow]:
        """The videos that have one of these contents, in no order; none that failed.

        From the second call on after a commit, those of all are in memory: 35 MB of 100,000, of which LanceDB would
        take 20 ms to find a few."""
        with table_errors(self.path):
            if self._searched == (state := self.tables.state(TableKind.VIDEOS)):
                found = self._videos_in_memory().where_in(contents)
            else:
                self._searched = state
                found = self.tables.videos.search().where(content_in(contents)).to_arrow()
            return [row for row in rows_of(found) if not row.failed]

    def _videos_in_memory(self) -> RowsInMemory:
        read = self.tables.videos.to_arrow
        return self.tables.kept(TableKind.VIDEOS, "rows", lambda: RowsInMemory(read(), "content"))

    def videos_at(self, paths: Collection[Path]) -> dict[Path, VideoRow]:
        """The videos with these paths, by path; failed ones too. None for a path that is not in the index."""
        with table_errors(self.path):
            return {row.path: row for row in rows_of(self.tables.videos.search().where(path_in(paths)).to_arrow())}

    def version(self) -> tuple[int, ...]:
        """A value that changes with every commit to the videos of the index."""
        with table_errors(self.path):
            return self.generation.number, int(self.tables.videos.version)

    def contents_like(self, fingerprint: str) -> set[int]:
        """The contents of all videos with this fingerprint, which copies have in common; none that failed."""
        with table_errors(self.path):
            query = self.tables.videos.search().where(f"fingerprint = '{fingerprint}' AND failed = ''")
            return set(query.select(["content"]).to_arrow()["content"].to_numpy().tolist())

    def columns(self, *names: str, with_failed: bool = False) -> pa.Table:
        """Columns of all videos that did not fail, in no order, as an Arrow table: far quicker than their rows.

        `with_failed` takes the others too. A column of texts that an older vidfind did not have is empty. Columns that
        were read before are read again only after a commit: those of 100,000 videos take 70 ms."""
        with table_errors(self.path):
            wanted, videos = (names, with_failed), self.tables.videos
            return self.tables.kept(TableKind.VIDEOS, wanted, lambda: read_columns(videos, *wanted))

    def folders(self) -> list[Path]:
        """The folders (or single files) that were indexed, sorted, without those inside another of them."""
        return outer_folders(self.stored_videos().folders())

    def segments(
        self, contents: Collection[int] | None = None
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float32]]]:
        """All segments in batches, in no order: contents (N,), starts and ends (N, 2), vectors (N, D).

        Only those of `contents` where given. May hold segments whose content no video row points to."""
        with table_errors(self.path):
            query = self.tables.segments.search()
            if contents is not None:
                query = query.where(content_in(contents))
            for batch in query.to_batches(BATCH):
                whole = batch.drop_null()  # which only damage makes
                spans = np.stack([whole["start"].to_numpy(), whole["end"].to_numpy()], axis=1)
                yield whole["content"].to_numpy(), spans, vectors_of(whole)

    def count_segments(self) -> int:
        """How many segments there are, those of no video included."""
        with table_errors(self.path):
            return int(self.tables.segments.count_rows())

    def sample(self, count: int) -> npt.NDArray[np.float32]:
        """The vectors (N, D) of at most `count` segments that are spread evenly over the table."""
        with table_errors(self.path):
            return spread(self.tables.segments, count)

    # Labels of the owner, and marks of saved models: see labels.py and marks.py

    def labels(
        self,
        kind: LabelKind | None = None,
        videos: Collection[str] | Mapping[str, Sequence[int]] | None = None,
        names: Collection[str] | None = None,
        *,
        also_gone: bool = False,
    ) -> list[Label]:
        """The labels of the videos of the index, or of files of these fingerprints, in the order they were added.

        A mapping gives the contents of each file, which are looked up otherwise. `names`: only labels that are spelled
        so. `also_gone`: also of videos that are not in the index now; their labels wait for them."""
        with table_errors(self.path):
            labels = read_labels(self.tables, kind, videos, names)
            return [label for label in labels if label.content or also_gone]

    def label_names(self, kind: LabelKind) -> list[str]:
        """The names of all labels of a kind in each of their spellings, in the order they were added."""
        with table_errors(self.path):
            return label_names(self.tables, kind)

    def mark_names(self, column: Literal["tags", "classes"]) -> set[str]:
        """The tags or classes that a saved model may give."""
        with table_errors(self.path):
            return mark_names(self.tables, column)

    def contents_of_files(self) -> dict[str, list[int]]:
        """The contents by the fingerprint of their file: more than one of copies that were encoded apart."""
        with table_errors(self.path):
            return contents_of_files(self.tables)

    def marks(self, contents: Collection[int] | None = None) -> list[Mark]:
        """The marks that saved models gave to the segments of these contents, or of all, by content and time."""
        with table_errors(self.path):
            return read_marks(self.tables, contents)

    def marks_with(self, column: Literal["tags", "classes"], names: Collection[str]) -> list[Mark]:
        """The marks of the segments that saved models gave one of these tags or classes, whatever their case."""
        with table_errors(self.path):
            return marks_with(self.tables, column, names)

    def run_of(self, kind: LabelKind) -> str:
        """The name of the saved model that made the marks of a kind; empty if there is none."""
        with table_errors(self.path):
            return run_of(self.tables, kind)

    def segments_to_arrange(self) -> int:
        """How many segments the next `compact` makes an approximate index of, which takes it a while; mostly none."""
        with table_errors(self.path):
            return int(self.tables.segments.count_rows()) if is_worthwhile(self.tables.segments) else 0

    def read_ahead(self) -> None:
        """Reads now what searches need of the tables, so that the first of several is as quick as the others."""
        with table_errors(self.path):
            self._searched = self.tables.state(TableKind.VIDEOS)
            self._videos_in_memory()
            nearest(self.tables.segments, np.ones(self.dim, np.float32), 1)

    def search(
        self, vector: npt.NDArray[np.floating], limit: int, contents: Collection[int] | None = None
    ) -> list[Hit]:
        """The `limit` segments most alike `vector` (D,), best first; only those of `contents` where given.

        Fewer only if there are no more. May hold hits whose content no video row points to. In an index of many
        segments, and without `contents`, a few of the last may be missed: see nearest.py."""
        with table_errors(self.path):
            found = nearest(self.tables.segments, vector, limit, contents)
        columns = [found[name].to_numpy().tolist() for name in ("content", "start", "end", "_distance")]
        hits = [Hit(content, start, end, 1 - far) for content, start, end, far in zip(*columns, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.content, hit.start))
