"""An index in object storage while the network is away: a run goes on, or fails with its reason and loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.object_storage import Wire
from tests.support.rows import DIM, embed, make_row
from vidfind.encoders.names import EncoderIdentity
from vidfind.errors import StorageError
from vidfind.store.mending.health import check_index
from vidfind.store.places import bucket, lease
from vidfind.store.places.path import RemotePath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store

SETTINGS = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
ROWS = [make_row(f"/v/{number}.mp4") for number in range(4)]


@pytest.fixture
def wire(object_server: str, remote: RemotePath, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The connection to the server, which can be cut."""
    with Wire(object_server) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
        yield wire


def make_short(monkeypatch: pytest.MonkeyPatch, lasting: int, tries: int = bucket.TRIES) -> None:
    """Times that tests can wait for; tables are tried again for `lasting` seconds, other files `tries` times."""
    for name in ("CONNECT_TIMEOUT", "REQUEST_TIMEOUT"):
        monkeypatch.setattr(bucket, name, 1)
    monkeypatch.setattr(bucket, "LASTING_TIMEOUT", lasting)
    monkeypatch.setattr(bucket, "TRIES", tries)
    monkeypatch.setattr(lease, "LEASE_TIME", 0.9)
    monkeypatch.setattr(lease, "BEAT_TIME", 0.15)
    monkeypatch.setattr(lease, "LOOK_TIME", 0.05)


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


def test_a_run_goes_on_when_the_network_comes_back(
    remote: RemotePath, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_short(monkeypatch, lasting=60)
    write_around_a_cut(Store.create(remote, SETTINGS, DIM), wire, seconds=0.5)
    assert_whole(remote)


@pytest.mark.soak
def test_a_run_goes_on_when_the_network_was_away_for_a_minute(remote: RemotePath, wire: Wire) -> None:
    write_around_a_cut(Store.create(remote, SETTINGS, DIM), wire, seconds=60)
    assert_whole(remote)


def test_a_run_fails_with_its_reason_when_the_network_stays_away_and_the_next_goes_on(
    remote: RemotePath, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_short(monkeypatch, lasting=1, tries=1)
    store = Store.create(remote, SETTINGS, DIM)
    with pytest.raises(StorageError, match=r"cannot be used: 127\.0\.0\.1:\d+ does not answer"), store.writing() as one:
        one.put(ROWS[:1], [embed(ROWS[0])])
        wire.cut()
        one.put(ROWS[1:], [embed(row) for row in ROWS[1:]])
    wire.mend()
    assert Store.open(remote).videos() == {ROWS[0].path: ROWS[0]}
    with Store.open(remote).writing() as writer:
        writer.put(ROWS[1:], [embed(row) for row in ROWS[1:]])
        writer.compact()
    assert_whole(remote)
