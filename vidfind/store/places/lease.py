"""The right to write to an index in object storage, which one process has at a time: a lease.

There are no locks on files there. Who writes is said by the one row of a small table, whose commits are atomic: of two
that want the lease, one gets it. The holder then counts in a file of its own, again and again. A lease whose count
stands still for `LEASE_TIME` belongs to a process that was killed, and may be taken over. Nobody compares clocks: each
waits by its own. Times are in seconds.
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from vidfind.errors import IndexBusy, StorageError
from vidfind.store.places.bucket import bucket_errors, patiently
from vidfind.store.places.database import connect
from vidfind.store.places.path import RemotePath

if TYPE_CHECKING:
    from lancedb.table import Table

log = logging.getLogger(__name__)
LEASE_TIME = 30.0
BEAT_TIME = 5.0
"""How often the holder counts."""
LOOK_TIME = 1.0
"""How often one that waits looks."""
TABLE = "lease"
HELD = pa.schema({"holder": pa.string(), "machine": pa.string()})
VERSIONS_KEPT = 64
"""After so many commits, which are two for each writer, the table is tidied up."""


class Held(NamedTuple):
    """The content of the table: the name of the holder, empty if there is none, and its machine."""

    holder: str
    machine: str


class Lease:
    """The lease of the index at `path`, held by this process under the name `holder`."""

    def __init__(self, path: RemotePath, table: Table, holder: str) -> None:
        self._path, self._table, self._holder = path, table, holder
        self._count = 0
        self._beat_at = _now()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="lease")

    def start(self) -> None:
        self._beat()
        self._thread.start()

    def _keep(self) -> None:
        while not self._ended.wait(BEAT_TIME):
            try:
                self._beat()
            except Exception as error:  # the network may come back; `check` asks before each commit
                log.info("the lease could not be renewed: %s", error)

    def _beat(self) -> None:
        self._count += 1
        began = _now()
        _beat_file(self._path, self._holder).write_bytes(str(self._count).encode())
        self._beat_at = began

    def check(self) -> None:
        """Raises IndexBusy if another process has taken the lease, as while this one was paused or cut off.

        Raises StorageError if that cannot be found out."""
        since = max(now - then for now, then in zip(_now(), self._beat_at, strict=True))
        if since <= LEASE_TIME / 2:
            return
        with bucket_errors(self._path.root):
            is_lost = _read(self._table).holder != self._holder
        if is_lost:
            raise IndexBusy(
                f"The index {self._path.name!r} was not reached for {since:.0f} seconds, and another vidfind writes to "
                "it now. What was stored before is kept: run the command again later."
            )

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(Exception), bucket_errors(self._path.root):  # without it, the next waits until the lease is over
            self._table.update(where=f"holder = '{self._holder}'", values={"holder": "", "machine": ""})
            if self._table.version % VERSIONS_KEPT < 2:
                from datetime import timedelta

                self._table.optimize(cleanup_older_than=timedelta(minutes=30))
        with suppress(Exception):  # also where the index was deleted, and the table with it
            _beat_file(self._path, self._holder).unlink(missing_ok=True)


_held: dict[str, Lease] = {}
"""The leases of this process by the URL of their index."""


@contextmanager
def leased(path: RemotePath) -> Iterator[None]:
    """Holds the lease of the index at a path. Raises IndexBusy if another process has it and is alive.

    If one was killed, this takes up to `LEASE_TIME`. Raises StorageError."""
    path.require_bucket()
    holder = secrets.token_hex(8)
    with patiently():
        with bucket_errors(path.root):
            table = _open_table(path)
            _take(path, table, holder)
        lease = Lease(path, table, holder)
        try:
            lease.start()
            _held[path.root] = lease
            yield
        finally:
            _held.pop(path.root, None)
            lease.end()


def check_lease(url: str) -> None:
    """Raises IndexBusy if this process has lost the lease of an index. To be called before each commit."""
    if lease := _held.get(url):
        lease.check()


def is_being_written(path: RemotePath, patience: float = 1.5 * BEAT_TIME) -> bool:
    """Whether the holder of the lease of an index is alive, if there is one: it counts within `patience` seconds."""
    with suppress(Exception):
        held = _read(connect(path).open_table(TABLE))
        return bool(held.holder) and _moves(path, held, patience)
    return False


def is_of_lease(name: str) -> bool:
    """Whether a file or a folder of this name in the folder of an index is of its lease."""
    return re.fullmatch(rf"{TABLE}\.lance|lease-[0-9a-f]+\.count", name) is not None


def _take(path: RemotePath, table: Table, holder: str) -> None:
    """Takes the lease for a holder. Raises IndexBusy."""
    held = _read(table)
    if held.holder:
        log.info("the lease is held by %s", held)
        if _moves(path, held, LEASE_TIME, waits=True):
            raise _busy(path, held)
        now = _read(table)
        if now.holder not in ("", held.holder):
            raise _busy(path, now)
        held = now
    values = {"holder": holder, "machine": socket.gethostname()}
    # Atomic: if another process commits first, the row does not fit any more, and none is changed.
    if table.update(where=f"holder = '{held.holder}'", values=values).rows_updated != 1:
        raise _busy(path, _read(table))


def _moves(path: RemotePath, held: Held, patience: float, waits: bool = False) -> bool:
    """Whether the holder counts on within `patience` seconds; False also once the lease is given back."""
    table, file = _open_table(path), _beat_file(path, held.holder)
    first, began, has_said = _count(file), time.monotonic(), False
    while time.monotonic() - began < patience:
        time.sleep(min(LOOK_TIME, patience / 4))
        now = _read(table)
        if now.holder != held.holder:
            return bool(now.holder)
        if _count(file) != first:
            return True
        if waits and not has_said and time.monotonic() - began > 1.5 * BEAT_TIME:
            has_said = True
            log.warning(
                "A vidfind on %s was writing to the index %r and does not answer. Waiting %.0f s for it.",
                held.machine,
                path.name,
                max(0.0, patience - (time.monotonic() - began)),
            )
    return False


def _busy(path: RemotePath, held: Held) -> IndexBusy:
    where = f" on {held.machine}" if held.machine else ""
    return IndexBusy(f"Another vidfind{where} is writing to the index {path.name!r}: wait until it is done.")


def _open_table(path: RemotePath) -> Table:
    """The table of the lease, made if it is not there."""
    database = connect(path)
    with suppress(ValueError, FileNotFoundError):
        return database.open_table(TABLE)
    free = pa.Table.from_pylist([{"holder": "", "machine": ""}], schema=HELD)
    try:
        return database.create_table(TABLE, free, mode="create")
    except Exception:  # another process has just made it
        return database.open_table(TABLE)


def _read(table: Table) -> Held:
    rows = table.search().to_arrow().to_pylist()
    if len(rows) != 1:
        raise StorageError("The lease of the index is damaged: delete the folder lease.lance in it.")
    return Held(rows[0]["holder"], rows[0]["machine"])


def _beat_file(path: RemotePath, holder: str) -> RemotePath:
    return path / f"lease-{holder}.count"


def _count(file: RemotePath) -> str | None:
    with suppress(FileNotFoundError):
        return file.read_text()
    return None


def _now() -> tuple[float, float]:
    """The time by two clocks: the first stands still while a machine sleeps, the second may be set."""
    return time.monotonic(), time.time()
