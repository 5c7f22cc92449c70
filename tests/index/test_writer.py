"""The queue between encoding and the index: no row is written before its vectors are, and no failure is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing

import pytest

from tests.support.rows import embed, make_row
from tests.support.waiting import wait_until
from vidfind.errors import StorageError
from vidfind.index.writer import CommitQueue
from vidfind.store.store import Embedded, Store
from vidfind.store.writer import StoreWriter

ROWS = [make_row(f"/v/{number}.mp4") for number in range(3)]


class SlowWriter(StoreWriter):
    """Adds the vectors of ROWS[1] only once `goes_on` is set, and then fails if it `fails`."""

    def __init__(self, store: Store, fails: bool = False) -> None:
        super().__init__(store)
        self.goes_on, self.fails = threading.Event(), fails

    def put_vectors(self, embedded: Sequence[Embedded]) -> None:
        if any(one.content == ROWS[1].content for one in embedded):
            assert self.goes_on.wait(30)
            if self.fails:
                raise StorageError("the disk is full")
        super().put_vectors(embedded)


def test_rows_are_written_while_the_vectors_of_the_next_are_and_never_before_their_own(store: Store) -> None:
    with store.writing():
        writer = SlowWriter(store)
        with closing(CommitQueue(writer, lambda embedded: [])) as queue:
            for row in ROWS[:2]:
                queue.add(row, embed(row))
                queue.commit()
            wait_until(lambda: list(store.videos()) == [ROWS[0].path])
            queue.add(ROWS[2], embed(ROWS[2]))
            queue.commit_when_due()  # too few, and vectors are being written
            assert list(store.videos()) == [ROWS[0].path]
            writer.goes_on.set()
    assert store.videos() == {row.path: row for row in ROWS}
    assert store.count_segments() == sum(row.segments for row in ROWS)


def test_rows_whose_vectors_could_not_be_written_are_not_either_and_the_reason_is_raised(store: Store) -> None:
    with store.writing():
        writer = SlowWriter(store, fails=True)
        queue = CommitQueue(writer, lambda embedded: [])
        for row in ROWS[:2]:
            queue.add(row, embed(row))
            queue.commit()
        queue.add(ROWS[2], embed(ROWS[2]))
        writer.goes_on.set()
        with pytest.raises(StorageError, match="the disk is full"):
            queue.close()
    assert store.videos() == {ROWS[0].path: ROWS[0]}
