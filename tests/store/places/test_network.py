"""An index in object storage while the network is away: a run goes on, or fails with its reason and loses nothing.

Whoever only reads is told soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.object_storage import Wire, environment, new_place
from tests.support.ran import Run
from tests.support.rows import DIM, embed, make_row
from tests.support.stored import put
from vidfind.encoders.names import EncoderIdentity
from vidfind.errors import StorageError
from vidfind.store.mending import health
from vidfind.store.mending.health import check_index
from vidfind.store.places import bucket, lease, reading
from vidfind.store.places.bucket import Patience
from vidfind.store.places.copies import LOOK_EVERY
from vidfind.store.places.path import RemotePath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.store.tables import TableKind, open_table

SETTINGS = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
ROWS = [make_row(f"/v/{number}.mp4") for number in range(4)]


@pytest.fixture
def wire(object_server: str, remote: RemotePath, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The connection to the server, which can be cut."""
    with Wire(object_server) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
        yield wire


@contextmanager
def short_times(lasting: int) -> Iterator[None]:
    """Times that tests can wait for; tables are tried again for `lasting` seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket, "CONNECT_TIMEOUT", 1)
        patch.setattr(bucket, "READING", Patience(silence=1, tries=1, table_silence=0.4, lasting=0))
        patch.setattr(bucket, "WRITING", Patience(silence=1, tries=1, table_silence=0.2, lasting=lasting))
        for name, seconds in (("LEASE_TIME", 0.9), ("BEAT_TIME", 0.15), ("LOOK_TIME", 0.05)):
            patch.setattr(lease, name, seconds)
        yield


def write_around_a_cut(store: Store, wire: Wire, seconds: float) -> None:
    """Puts a video before the network is cut for so long, and the others meanwhile."""
    with store.writing() as writer:
        for row in ROWS:
            writer.put([row], [embed(row)])
            if row is ROWS[0]:
                wire.cut()
                threading.Timer(seconds, wire.mend).start()
        writer.compact()


def assert_whole(place: RemotePath) -> None:
    assert Store.open(place).videos() == {row.path: row for row in ROWS}
    assert not check_index(place)


def make_readers_short(monkeypatch: pytest.MonkeyPatch, table_silence: float) -> None:
    """The patience of readers alone: a test that needs that of writers does not end."""
    short = Patience(silence=1, tries=1, table_silence=table_silence, lasting=0)
    monkeypatch.setattr(bucket, "READING", short)
    monkeypatch.setattr(reading, "READING", short)
    monkeypatch.setattr(bucket, "WRITING", Patience(silence=3600, tries=9, table_silence=3600, lasting=36000))


@pytest.fixture(scope="module")
def place(object_server: str, tmp_path_factory: pytest.TempPathFactory) -> RemotePath:
    """An index with a table of segments of some 40 KB, which no test changes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(object_server).items():
            patch.setenv(name, value)
        patch.setenv("VIDFIND_HOME", str(tmp_path_factory.mktemp("home")))
        place, row = new_place(), make_row("/v/a.mp4", segments=700)
        put(Store.create(place, SETTINGS, DIM), [row], [embed(row)])
    return place


@pytest.fixture
def filled(place: RemotePath, wire: Wire) -> Store:
    """The same index, behind the wire."""
    return Store.open(place)


COMMANDS = ("status", "list", "tag list", "remove a.mp4", "relink /v /w", "index .")


@pytest.mark.parametrize("command", ["search fun", *(pytest.param(one, marks=pytest.mark.soak) for one in COMMANDS)])
def test_a_command_on_a_server_that_is_silent_ends_with_its_reason(
    run: Run, filled: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    make_readers_short(monkeypatch, table_silence=0.1)
    wire.cut()
    ran = run(*command.split(), "--index", filled.path.name)
    assert (ran.code, "does not answer. Check the network" in ran.err) == (1, True), ran.err


def test_readers_of_open_tables_are_told_soon_that_the_server_is_silent(
    filled: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_readers_short(monkeypatch, table_silence=0.1)
    opened = Store.open(filled.path)
    wire.cut()
    with pytest.raises(StorageError, match="does not answer"):
        opened.count_videos()
    wire.mend()
    assert opened.count_videos() == 1


def test_a_server_that_is_silent_is_no_damage(filled: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def cutting(*arguments: Any) -> Any:
        table = open_table(*arguments)
        wire.cut()
        return table

    make_readers_short(monkeypatch, table_silence=0.1)
    monkeypatch.setattr(health, "open_table", cutting)
    with pytest.raises(StorageError, match="does not answer"):
        health._bad_versions(filled.path, "videos", TableKind.VIDEOS)


def test_a_table_that_comes_slowly_is_read(filled: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    make_readers_short(monkeypatch, table_silence=0.4)
    opened = Store.open(filled.path)
    wire.pause = 0.06  # ten times for the vectors
    assert sum(len(contents) for contents, _, _ in opened.segments()) == 700


@pytest.mark.soak
def test_a_copy_that_comes_slowly_is_made(filled: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    make_readers_short(monkeypatch, table_silence=1)
    wire.pause = 0.2
    assert Store.open(filled.path, copied=True).count_segments() == 700


@pytest.mark.soak
def test_without_short_times_readers_wait_for_half_a_minute_at_most(filled: Store, wire: Wire, run: Run) -> None:
    opened = [Store.open(filled.path), Store.open(filled.path, copied=True)]
    time.sleep(LOOK_EVERY)
    wire.cut()
    reads: list[Callable[[], object]] = [*(store.count_videos for store in opened), lambda: Store.open(filled.path)]
    for read in reads:
        began = time.monotonic()
        with pytest.raises(StorageError, match="does not answer"):
            read()
        assert 10 < time.monotonic() - began < 40


def test_a_run_goes_on_when_the_network_comes_back(remote: RemotePath, wire: Wire) -> None:
    Store.create(remote, SETTINGS, DIM)
    with short_times(lasting=60):
        write_around_a_cut(Store.open(remote), wire, seconds=0.5)
    assert_whole(remote)


@pytest.mark.soak
def test_a_run_goes_on_when_the_network_was_away_for_a_minute(remote: RemotePath, wire: Wire) -> None:
    write_around_a_cut(Store.create(remote, SETTINGS, DIM), wire, seconds=60)
    assert_whole(remote)


def test_a_run_fails_with_its_reason_when_the_network_stays_away_and_the_next_goes_on(
    remote: RemotePath, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.create(remote, SETTINGS, DIM)
    told = pytest.raises(StorageError, match=r"cannot be used: 127\.0\.0\.1:\d+ does not answer")
    with short_times(lasting=0), told, Store.open(remote).writing() as one:
        one.put(ROWS[:1], [embed(ROWS[0])])
        wire.cut()
        one.put(ROWS[1:], [embed(row) for row in ROWS[1:]])
    wire.mend()
    monkeypatch.setattr(lease, "LEASE_TIME", 0.9)
    monkeypatch.setattr(lease, "LOOK_TIME", 0.05)
    assert Store.open(remote).videos() == {ROWS[0].path: ROWS[0]}
    with Store.open(remote).writing() as writer:
        writer.put(ROWS[1:], [embed(row) for row in ROWS[1:]])
        writer.compact()
    assert_whole(remote)
