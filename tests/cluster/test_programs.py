"""The program on a cluster, as a user starts it: with an index in object storage, and interrupted."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.measure.cluster.runs import draw, index
from tests.support.equal import differences
from tests.support.nodes import Nodes, starting
from tests.support.object_storage import BUCKET, environment
from tests.support.program import objects, program
from tests.support.waiting import PATIENCE, wait_until
from vidfind.store.places.path import RemotePath
from vidfind.store.places.progress import read_run
from vidfind.store.store import Store

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="Ray runs clusters of several nodes on Linux alone"),
]
VIDEOS = 60
INDEX = ("--model", "tiny", "--dtype", "float32")


def test_a_cluster_fills_an_index_in_object_storage_whose_status_other_machines_see(
    nodes: Nodes, object_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = 4 * VIDEOS  # the run takes longer than it takes to ask a few times
    folder = draw(tmp_path / "drawn", videos)
    index(folder, tmp_path / "here")
    place = f"s3://{BUCKET}/cluster"
    for name, value in environment(object_server).items():
        monkeypatch.setenv(name, value)
    run = program("index", folder, "--index", place, "--cluster", nodes.address, *INDEX, home=tmp_path / "one")
    seen = []
    while run.poll() is None:
        asked = program("status", "--index", place, "--json", home=tmp_path / "two")
        seen += [one["run"] for one in objects(asked.communicate()[0]) if one.get("run")]
    _, said = run.communicate()
    assert run.returncode == 0, said
    assert any(one["total"] == videos and one["nodes"] for one in seen), seen
    assert not differences(Store.open(tmp_path / "here"), Store.open(RemotePath(place)))
    found = program("search", "a red square", "--index", place, "--json", home=tmp_path / "two")
    assert len(objects(found.communicate()[0])) > 1


@pytest.mark.parametrize("is_there", [False, True], ids=["a cluster for this run", "one that was there"])
def test_an_interrupt_keeps_what_is_encoded_and_ends_no_cluster_but_its_own(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    folder, path = draw(tmp_path / "drawn", VIDEOS), tmp_path / "home" / "indexes" / "tried"
    before = {process for name in nodes.names for process in nodes.processes(name)[:1]}
    with tempfile.TemporaryDirectory() as short:  # the names of Ray's sockets are in it
        monkeypatch.setenv("RAY_TMPDIR", short)
        if is_there:
            monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        asked = ("index", folder, "--index", "tried", "--cluster", "auto", *INDEX)
        run = program(*asked, home=tmp_path / "home", start_new_session=True)
        wait_until(lambda: (noted := read_run(path)) and noted.done)
        started = psutil.Process(run.pid).children(recursive=True)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does, to all that the program has started
        _, said = run.communicate(timeout=PATIENCE)
        assert run.returncode == 130, said
        kept, told = (
            Store.open(path).count_videos(),
            re.search(r"kept in this run: (\d+) video", " ".join(said.split())),
        )
        assert 0 < kept < VIDEOS
        assert told and kept - int(told[1]) in (0, 1)  # one may be stored and not counted yet
        psutil.wait_procs(started, timeout=PATIENCE)
        assert not [process for process in started if process.is_running()]
        assert not [one.cmdline() for one in psutil.process_iter() if short in " ".join(_command(one))]
    assert all(process.is_running() for process in before)
    index(folder, path)
    assert Store.open(path).count_videos() == VIDEOS


def test_where_the_first_machine_is_lost_what_is_encoded_is_kept_and_the_run_can_be_ended(tmp_path: Path) -> None:
    folder, path = draw(tmp_path / "drawn", VIDEOS), tmp_path / "home" / "indexes" / "tried"
    with starting(["a", "b"], tmp_path / "cache") as nodes:
        asked = ("index", folder, "--index", "tried", "--cluster", nodes.address, *INDEX)
        run = program(*asked, home=tmp_path / "home", start_new_session=True)
        wait_until(lambda: (noted := read_run(path)) and noted.done)
        nodes.kill_first()
        time.sleep(10)  # the run looks at the nodes every two seconds
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130, said
    kept = Store.open(path).count_videos()
    assert kept and f"Done and kept in this run: {kept} video" in " ".join(said.split())
    index(folder, path)
    assert Store.open(path).count_videos() == VIDEOS


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
