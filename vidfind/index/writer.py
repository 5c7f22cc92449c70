"""Collects encoded videos and writes several with each commit."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

from vidfind.store.store import Embedded, StoreWriter
from vidfind.store.tables import VideoRow

# Each commit costs a few ms and a file or two; what is lost to a power cut is at most this much.
VIDEOS_A_COMMIT = 64
SECONDS_A_COMMIT = 30.0


class CommitQueue:
    """Collects finished videos and commits many at once, in a thread of its own: Ctrl-C cannot cut a commit in two."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        self._writing: Future[None] | None = None
        self._waiting: list[tuple[VideoRow, tuple[Embedded, ...]]] = []
        self._last_commit = time.monotonic()

    def add(self, row: VideoRow, *embedded: Embedded) -> None:
        self._waiting.append((row, embedded))

    def commit_when_due(self) -> None:
        is_late = time.monotonic() - self._last_commit >= SECONDS_A_COMMIT
        if len(self._waiting) >= VIDEOS_A_COMMIT or (self._waiting and is_late):
            self.commit()

    def commit(self) -> None:
        if self._writing:
            self._writing.result()  # one at a time, and raises what went wrong
        waiting, self._waiting = self._waiting, []
        rows = [row for row, _ in waiting]
        embedded = [one for _, ones in waiting for one in ones]
        self._writing = self._pool.submit(self._writer.put, rows, embedded)
        self._last_commit = time.monotonic()

    def close(self) -> None:
        """Returns when everything added is in the store."""
        self.commit()
        self._pool.shutdown(wait=True)
        if self._writing:
            self._writing.result()
