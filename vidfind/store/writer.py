"""All writing to an index: videos with their vectors, labels and marks, and encodings with another adapter.

Each command writes in as few commits as it can, in an order that leaves a whole index wherever it is killed: see
store.py and settings.py. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfind.store.folder import (
    KEEP_VERSIONS,
    delete_leftovers,
    drop_unfinished,
    make_generation,
    read_links,
    write_links,
    write_precision,
    write_speed,
)
from vidfind.store.labelled.labels import Label, LabelKind, carry_labels, change_labels, has_labels, keep_labels
from vidfind.store.labelled.marks import Mark, add_marks, drop_marks, rename_marks, replace_marks
from vidfind.store.memory import LeftOut, RemovedVideo, read_left_out, still_kept, write_left_out, write_removed
from vidfind.store.nearest import is_worthwhile, make_indexes
from vidfind.store.places.reading import TableReader
from vidfind.store.settings import (
    FORMAT_VERSION,
    NEXT_FILE,
    Generation,
    IndexSettings,
    copy_settings,
    finish_generation,
    format_of,
    keep_adapter,
    write_generation,
)
from vidfind.store.store import BATCH, Embedded, Store
from vidfind.store.tables import (
    ADDED_COLUMNS,
    REQUIRED,
    TableKind,
    VideoRow,
    content_in,
    path_to_text,
    table_errors,
    videos_to_table,
)

# Paths in one predicate: keeps the SQL text small (some 100 KB).
PATHS_A_DELETE = 1000
FOREVER = timedelta(days=36500)
AT_ONCE = timedelta(milliseconds=1)  # LanceDB takes no less


class StoreWriter:
    """Writes to the index of `store`. Make one with `Store.writing`: who has a writer holds the lock of the index."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._path, self._tables = store.path, store.tables
        self._known = KnownPaths()

    def put(self, rows: Sequence[VideoRow], embedded: Sequence[Embedded] = ()) -> None:
        """Adds or replaces videos, and the vectors they point to: two commits, however many videos there are."""
        self.put_vectors(embedded)
        self.put_rows(rows)

    def put_vectors(self, embedded: Sequence[Embedded]) -> None:
        """Adds vectors, which no search shows before `put_rows` has added a video that points to them."""
        if with_segments := [one for one in embedded if len(one.spans)]:
            with self._tables.committing(TableKind.SEGMENTS) as segments:
                segments.add(_segments_table(with_segments, segments.schema))

    def put_rows(self, rows: Sequence[VideoRow]) -> None:
        """Adds or replaces videos whose vectors are there. May be called while `put_vectors` adds those of others."""
        if not rows:
            return
        with table_errors(self._path):
            unique = keep_labels(self._tables, {row.path: row for row in rows})
        table = videos_to_table(unique)
        with self._tables.committing(TableKind.VIDEOS) as videos:
            if self._known.has_any(table, videos.version, self._tables.videos):
                merge = videos.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(table)
            else:
                videos.add(table.select(videos.schema.names))
            self._known.note(table, videos.version)

    def purge_labels(self, removed: Collection[VideoRow] | None) -> None:
        """Deletes the labels of files that are not in the index now: of these, or of all."""
        there = {row.fingerprint for one in self.generations() for row in one.store.videos().values()}
        files = None if removed is None else {row.fingerprint for row in removed}
        gone = [
            label
            for label in self.store.labels(also_gone=True)
            if label.video not in there and (files is None or label.video in files)
        ]
        self.change_labels([], gone)

    def carry_labels(self) -> None:
        """Gives the labels of files that changed during an encoding of the whole index to the files as they are now."""
        with table_errors(self._path):
            if has_labels(self._tables):
                new = self.store.videos()
                old = {path: row.fingerprint for path, row in self.store.in_use().videos().items() if path in new}
                there = {row.fingerprint for row in new.values()}
                carry_labels(
                    self._tables,
                    {print_: new[path].fingerprint for path, print_ in old.items() if print_ and print_ not in there},
                )

    def change_labels(self, put: Iterable[Label], drop: Iterable[Label] = ()) -> None:
        """Adds labels, in place of those that say yes or no to the same, and deletes others, in one commit."""
        with table_errors(self._path):
            change_labels(self._tables, put, drop)

    def replace_marks(self, kind: LabelKind, run: str, names: Iterable[str], marks: Iterable[Mark]) -> None:
        """Puts the marks of a saved model in the place of all of their kind, in one commit.

        `run` is the name of the model, and `names` are all that it may give, also to videos that come later."""
        with table_errors(self._path):
            replace_marks(self._tables, kind, run, names, marks)

    def rename_marks(self, kind: LabelKind, run: str, renamed: Callable[[str], str | None]) -> None:
        """Gives names of marks of a kind other names, and deletes those whose new name is None, in one commit.

        `run` is the model that has the new names. Of two names that become one, the surer counts."""
        with table_errors(self._path):
            rename_marks(self._tables, kind, run, renamed)

    def add_marks(self, marks: Sequence[Mark]) -> None:
        """Adds the marks of new segments, in one commit; nothing if the index has no saved model."""
        with table_errors(self._path):
            add_marks(self._tables, marks)

    def remove(self, paths: Iterable[Path]) -> None:
        """Forgets videos; their vectors are cleared by the next `compact`. Paths that are not there are ignored."""
        texts = [path_to_text(path) for path in paths]
        for start in range(0, len(texts), PATHS_A_DELETE):
            listed = ", ".join(f"'{text}'" for text in texts[start : start + PATHS_A_DELETE])
            with self._tables.committing(TableKind.VIDEOS) as videos:
                videos.delete(f"path IN ({listed})")

    def leave_out(self, left_out: LeftOut) -> None:
        """Stores what runs leave out from now on."""
        if left_out != read_left_out(self._path):
            write_left_out(self._path, left_out)

    def set_aside(self, rows: Iterable[VideoRow]) -> None:
        """Keeps the vectors of videos for a while, should they be removed or replaced now. See memory.py."""
        now = datetime.now(UTC)
        if aside := {row.content: RemovedVideo(row, now) for row in rows if not row.failed}:
            write_removed(self._path, self.store.generation.number, [*(self.store.removed() | aside).values()])

    def purge(self, paths: Collection[Path]) -> None:
        """Deletes the kept vectors of removed videos: nothing of them is left on disk."""
        left = [video for video in self.store.removed().values() if video.row.path not in paths]
        write_removed(self._path, self.store.generation.number, left)
        self.compact(AT_ONCE)

    def compact(self, keep: timedelta = KEEP_VERSIONS) -> None:
        """Clears vectors that no video points to, and that need not be kept any more; joins the small files that many
        commits leave behind, and brings the approximate index up to date, or makes it: see nearest.py.

        What searches may still read, or nothing uses, is deleted when it is older than `keep`."""
        with table_errors(self._path):
            stored, used = (
                table.search().select(["content"]).to_arrow()["content"].to_numpy()
                for table in (self._tables.segments, self._tables.videos)
            )
        contents, counts = np.unique(stored, return_counts=True)
        stored_counts = dict(zip(contents.tolist(), counts.tolist(), strict=True))
        removed = self.store.removed()
        kept = still_kept(removed, set(used.tolist()), stored_counts, self.store.dim)
        if kept.keys() != removed.keys():
            write_removed(self._path, self.store.generation.number, [*kept.values()])
        orphans = np.setdiff1d(contents, np.array([*used.tolist(), *kept], np.int64))
        for start in range(0, len(orphans), PATHS_A_DELETE):
            with self._tables.committing(TableKind.SEGMENTS) as segments:
                segments.delete(content_in(orphans[start : start + PATHS_A_DELETE]))
        with table_errors(self._path):
            drop_marks(self._tables, {*used.tolist(), *kept})
            kinds = [*REQUIRED, *(kind for kind in TableKind if kind not in REQUIRED and self._tables.find(kind))]
        is_on_disk = isinstance(self._path, Path)
        for kind in kinds:
            with self._tables.committing(kind) as table:
                # Joins files. On disk it deletes none before the new ones are known to be whole.
                table.optimize(cleanup_older_than=FOREVER if is_on_disk else keep)
            if kind is TableKind.SEGMENTS and is_worthwhile(self._tables.segments):
                with self._tables.committing(kind) as segments:
                    make_indexes(segments)
            if is_on_disk:  # in object storage, the lease of one that was cut off may be taken over, and it goes on
                with self._tables.committing(kind) as table:
                    # Unverified are files of no version, as of a commit that is being made. Here none is: they are of
                    # commits that were killed.
                    table.optimize(cleanup_older_than=keep, delete_unverified=True)
        delete_leftovers(self._path, keep)

    def note_speed(self, footage: float, elapsed: float) -> None:
        """Remembers how fast this machine encodes with this model: seconds of footage, and what they took."""
        write_speed(self._path, footage, elapsed)

    def note_precision(self, number_format: str, words: str) -> None:
        """Remembers the number format in which videos were encoded, and in `words` what a trial of it has found."""
        write_precision(self._path, number_format, words)

    def note_links(self, links: Mapping[Path, Path], folders: Collection[Path]) -> None:
        """Remembers the links found in `folders`, in place of those found there before."""
        known = read_links(self._path)
        kept = {link: path for link, path in known.items() if not any(map(link.is_relative_to, folders))}
        if {**kept, **links} != known:
            write_links(self._path, {**kept, **links})

    def move_weights(self, pretrained: str) -> Store:
        """The same index, with its weights under another name: they are the same, and so are the vectors."""
        for one in self.generations():
            old = one.store.generation
            identity = dataclasses.replace(old.settings.identity, pretrained=pretrained)
            settings = dataclasses.replace(old.settings, identity=identity)
            write_generation(self._path, dataclasses.replace(old, settings=settings), one.store.settings_file)
        copy_settings(self._path)
        return Store.open(self._path)

    # Encodings with another adapter

    def generations(self) -> list[StoreWriter]:
        """This writer, and one for the encoding that is to take the place of the index, if that was begun."""
        begun = None if self.store.is_unfinished else self.store.unfinished()
        return [self, StoreWriter(begun)] if begun else [self]

    def switch_adapter(self, settings: IndexSettings, adapter: Path | None) -> Store:
        """The same videos and vectors with another adapter, one that leaves video vectors as they are."""
        assert settings.has_vectors_of(self.store.settings)
        name = keep_adapter(self._path, adapter) if adapter else ""
        generation = dataclasses.replace(self.store.generation, settings=settings, adapter_file=name)
        write_generation(self._path, generation, self.store.settings_file)
        return Store(self._path, generation, self.store.is_unfinished)

    def begin_again(self, settings: IndexSettings, adapter: Path | None) -> Store:
        """New, empty tables for the same index with another adapter; searches go on with the old ones.

        One that was begun before and is unfinished is given up."""
        self.give_up_unfinished()
        generation = Generation(settings, self.store.generation.number + 1)
        generation = make_generation(self._path, generation, self.store.dim, adapter)
        write_generation(self._path, generation, NEXT_FILE)
        return Store(self._path, generation, is_unfinished=True)

    def give_up_unfinished(self) -> None:
        """Deletes what an unfinished encoding has made; nothing if there is none."""
        drop_unfinished(self._path)

    def finish(self) -> None:
        """Makes these unfinished tables the ones in use, atomically."""
        assert self.store.is_unfinished
        self.carry_labels()
        finish_generation(self._path)
        self.store.is_unfinished = False

    def bring_up_to_date(self) -> None:
        """Brings tables of an older format up to date, and the copy of the settings."""
        for one in self.generations():
            one._migrate()
        copy_settings(self._path)

    def _migrate(self) -> None:
        """Settings first, to keep an older vidfind from the new tables."""
        present = self._tables.videos.schema.names
        missing: dict[str, Any] = {name: value for name, value in ADDED_COLUMNS.items() if name not in present}
        if missing or format_of(self._path, self.store.settings_file) < FORMAT_VERSION:
            write_generation(self._path, self.store.generation, self.store.settings_file)
        if missing:
            with self._tables.committing(TableKind.VIDEOS) as videos:
                videos.add_columns(missing)


class KnownPaths:
    """The paths in a table of videos, kept while only one writer commits: videos that are new need not be merged.

    LanceDB reads the paths of all videos to merge a few. A first commit is merged, so that they are not read twice for
    a single one."""

    def __init__(self) -> None:
        self._version = -1
        self._hashes: npt.NDArray[np.int64] | None = None
        """Of the paths in this version of the table, sorted, 8 MB of a million; None if they were not read."""

    def has_any(self, table: pa.Table, version: int, videos: TableReader) -> bool:
        """Whether any row of `table` may be in `videos`, the table of this version, already."""
        if version != self._version:  # a first commit, or something else was committed
            self._hashes = None
            return True
        if self._hashes is None:
            batches = [_hashes_of(batch) for batch in videos.search().select(["path"]).to_batches(BATCH)]
            self._hashes = np.sort(np.concatenate([np.empty(0, np.int64), *batches]))
        new = _hashes_of(table)
        left, right = (np.searchsorted(self._hashes, new, side) for side in ("left", "right"))
        return bool((left != right).any())

    def note(self, table: pa.Table, version: int) -> None:
        """Takes note that the rows of `table` were committed, which has made this version."""
        self._version = version
        if self._hashes is not None:
            new = np.sort(_hashes_of(table))
            self._hashes = np.insert(self._hashes, np.searchsorted(self._hashes, new), new)


def _hashes_of(videos: pa.Table | pa.RecordBatch) -> npt.NDArray[np.int64]:
    return np.fromiter(map(hash, videos["path"].to_pylist()), np.int64, videos.num_rows)


def _segments_table(embedded: Sequence[Embedded], schema: pa.Schema) -> pa.Table:
    """The segments of videos as rows of the table of segments, which has this schema."""
    lengths = [len(one.spans) for one in embedded]
    vectors = np.empty((sum(lengths), schema.field("vector").type.list_size), np.float16)
    for one, end in zip(embedded, np.cumsum(lengths), strict=True):  # twice as fast as to join what was converted
        vectors[end - len(one.spans) : end] = one.vectors
    times = np.concatenate([np.asarray(one.spans, np.float64) for one in embedded])
    columns = {
        "content": np.repeat([one.content for one in embedded], lengths),
        "start": np.ascontiguousarray(times[:, 0]),
        "end": np.ascontiguousarray(times[:, 1]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
    }
    return pa.table(columns, schema=schema)
