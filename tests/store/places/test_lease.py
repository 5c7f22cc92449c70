"""The lease of an index in object storage: one writer at a time, whatever becomes of the others."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.object_storage import new_place
from tests.support.rows import DIM, embed, make_row
from vidfind.encoders.names import EncoderIdentity
from vidfind.errors import IndexBusy
from vidfind.store.mending.health import check_index
from vidfind.store.places import lease
from vidfind.store.places.path import RemotePath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store

SETTINGS = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that tests can wait for, in the same proportions."""
    make_short(monkeypatch.setattr)


def make_short(setattr_: object = setattr) -> None:
    for name, seconds in (("LEASE_TIME", 0.9), ("BEAT_TIME", 0.15), ("LOOK_TIME", 0.15)):
        setattr_(lease, name, seconds)  # type: ignore[operator]


@pytest.fixture
def index(remote: RemotePath) -> Iterator[Store]:
    yield Store.create(remote, SETTINGS, DIM)


def test_a_second_writer_is_refused_while_the_first_is_alive_and_not_afterwards(index: Store) -> None:
    with index.writing() as writer:
        writer.put([make_row("a.mp4")])
        with pytest.raises(IndexBusy, match="is writing to the index 's3://"), index.writing():
            pass
    with Store.open(index.path).writing() as writer:
        writer.put([make_row("b.mp4")])
    assert index.count_videos() == 2


def test_of_many_that_begin_at_once_one_writes_at_a_time(index: Store) -> None:
    barrier, inside, most = threading.Barrier(4), [], []

    def write(number: int) -> bool:
        store = Store.open(index.path)
        barrier.wait()
        try:
            with store.writing() as writer:
                inside.append(number)
                most.append(len(inside))
                writer.put([make_row(f"{number}.mp4")])
                time.sleep(0.3)
                inside.remove(number)
            return True
        except IndexBusy:
            return False

    with ThreadPoolExecutor(4) as pool:
        wrote = [*pool.map(write, range(4))]
    assert sum(wrote) == index.count_videos() >= 1  # one that comes late finds the lease given back
    assert max(most) == 1


def test_a_lease_that_nobody_renews_is_taken_over_and_its_holder_commits_nothing_more(
    index: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IndexBusy, match="another vidfind writes to it"), index.writing() as first:
        held = lease._held.pop(index.path.name)  # what the other writes belongs to another process
        held._ended.set()  # as if the machine slept, or the network was cut
        with Store.open(index.path).writing() as second:
            second.put([make_row("second.mp4")])
            lease._held[index.path.name] = held
            first.put([make_row("first.mp4")])
    assert [path.name for path in index.videos()] == ["second.mp4"]


def write_until_killed(url: str, started: object) -> None:
    """Puts videos with vectors, removes some and tidies up, until the process is killed."""
    make_short()
    with Store.open(RemotePath(url)).writing() as writer:
        started.set()  # type: ignore[attr-defined]
        for number in range(1000):
            row = make_row(f"{number % 7}.mp4")
            writer.put([row], [embed(row)])
            if number % 3 == 2:
                writer.compact()


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.BaseContext:
    """Starts processes that have imported all they need: a fork takes milliseconds, these imports seconds."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_a_writer_that_is_killed_leaves_a_whole_index_and_keeps_the_next_waiting_for_its_lease_alone(
    remote: RemotePath, times: int, processes: Any
) -> None:
    for _ in range(times):  # a new index after 20: the server takes long to list the versions of all these runs
        kill_writers(Store.create(new_place(), SETTINGS, DIM), 20, processes)


def kill_writers(index: Store, kills: int, processes: Any) -> None:
    for number in range(kills):
        started = processes.Event()
        process = processes.Process(target=write_until_killed, args=(index.path.name, started))
        process.start()
        assert started.wait(300)
        time.sleep(0.05 + number * 0.37 % 1.1)
        process.kill()
        process.join()
        before = {path: row for path, row in index.videos().items()}
        with Store.open(index.path).writing() as writer:
            writer.compact()
        assert index.videos() == before
    assert not check_index(index.path)  # what is damaged stays so
