"""Collects encoded videos, gives them the tags and classes learnt before, and writes many with each commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from vidfind.categories.fitting import mark_segments
from vidfind.categories.saved import read_classes
from vidfind.store.labelled.marks import Mark
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow
from vidfind.store.writer import StoreWriter
from vidfind.tagging.saved import read_tagger

# Each commit costs a few ms and a file or two; what is lost to a power cut is at most this much.
VIDEOS_A_COMMIT = 64
SECONDS_A_COMMIT = 30.0
MOST_BYTES = 128 * 10**6
"""While a commit is made, videos are collected until their vectors take so much: a commit takes a second in object
storage, whether it is of 64 videos or of 1,000."""


Marker = Callable[[Sequence[Embedded]], list[Mark]]


class CommitQueue:
    """Collects finished videos and commits many at once, in threads of its own: Ctrl-C cannot cut a commit in two.

    While the rows of some videos are written, the vectors of the next are."""

    def __init__(self, writer: StoreWriter, marks_of: Marker) -> None:
        """`marks_of` makes the marks of new videos, as `make_marker` returns it."""
        self._writer, self._marks_of = writer, marks_of
        self._vectors, self._rows = (ThreadPoolExecutor(1, f"write-{name}") for name in ("vectors", "rows"))
        self._writing: list[Future[None]] = []
        """The vectors of the last commit, and the rows of it and of the one before."""
        self._waiting: list[tuple[VideoRow, tuple[Embedded, ...]]] = []
        self._bytes = 0
        self._last_commit = time.monotonic()

    def add(self, row: VideoRow, *embedded: Embedded) -> None:
        self._waiting.append((row, embedded))
        self._bytes += sum(one.vectors.nbytes for one in embedded)

    def commit_when_due(self) -> None:
        is_late = time.monotonic() - self._last_commit >= SECONDS_A_COMMIT
        is_due = len(self._waiting) >= VIDEOS_A_COMMIT or (self._waiting and is_late)
        is_writing = not all(future.done() for future in self._writing[:-1])
        if is_due and (not is_writing or self._bytes >= MOST_BYTES):
            self.commit()

    def commit(self) -> None:
        for future in self._writing[:-1]:
            future.result()  # raises what went wrong
        rows_before = self._writing[-1:]
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        rows = [row for row, _ in waiting]
        vectors = self._vectors.submit(self._put_vectors, [one for _, ones in waiting for one in ones])
        self._writing = [vectors, *rows_before, self._rows.submit(self._put_rows, rows, [vectors, *rows_before])]
        self._last_commit = time.monotonic()

    def _put_vectors(self, embedded: Sequence[Embedded]) -> None:
        """Writes marks first: a video that is there has its marks, and those of no video are cleared by `compact`."""
        self._writer.add_marks(self._marks_of(embedded))
        self._writer.put_vectors(embedded)

    def _put_rows(self, rows: Sequence[VideoRow], before: Sequence[Future[None]]) -> None:
        """Writes rows once all that was to be written before is there; raises what went wrong with it."""
        for future in before:
            future.result()
        self._writer.put_rows(rows)

    def close(self) -> None:
        """Returns when everything added is in the store."""
        try:
            self.commit()
        finally:
            for pool in (self._vectors, self._rows):
                pool.shutdown(wait=True)
        for future in self._writing:
            future.result()


def make_marker(store: Store) -> Marker:
    """Returns what makes the marks of new videos: none where nothing was learnt from the vectors of this index."""
    tagger, classes = read_tagger(store), read_classes(store)

    def marks_of(embedded: Sequence[Embedded]) -> list[Mark]:
        marks: list[Mark] = []
        for one in embedded if tagger or classes else ():
            vectors = np.asarray(one.vectors, np.float16).astype(np.float32)  # as they are stored
            contents = [one.content] * len(one.spans)
            if tagger and contents:
                marks += tagger.mark_segments(contents, one.spans, vectors)
            if classes and contents:
                marks += mark_segments(classes, contents, one.spans, vectors)
        return marks

    return marks_of
