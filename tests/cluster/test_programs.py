"""The program on a cluster, as a user starts it: with an index in object storage, and interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.measure.cluster.runs import draw, index
from tests.support.equal import differences
from tests.support.nodes import OBJECTS, SETTINGS, Nodes, starting
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


AUTOSCALER: dict[str, Any] = {
    "cluster_name": "simulated",
    "max_workers": 2,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "one core": {"resources": {"CPU": 1, "object_store_memory": OBJECTS}, "node_config": {}, "max_workers": 2},
    },
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 5,
    "provider": {
        "type": "fake_multinode",  # Ray's own: its nodes are processes on this machine
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    **{f"{what}_commands": [] for what in ("initialization", "setup", "head_setup", "worker_setup")},
    **{f"{what}_start_ray_commands": [] for what in ("head", "worker")},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
    "auth": {},
}


def test_nodes_that_an_autoscaler_starts_for_a_run_encode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, path = draw(tmp_path / "drawn", 12), tmp_path / "home" / "indexes" / "tried"
    (tmp_path / "autoscaler.json").write_text(json.dumps(AUTOSCALER))
    for name, value in (SETTINGS | {"VIDFIND_HOME": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    # The port is that which the nodes ask.
    options = ("--num-cpus=0", "--port=6379", f"--autoscaling-config={tmp_path / 'autoscaler.json'}")
    with begun(*options, RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1") as address:
        run = program("index", folder, "--index", "tried", "--cluster", address, *INDEX, home=tmp_path / "home")
        _, told = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, told
    assert "waiting for one" in told
    assert Store.open(path).count_videos() == 12


def test_a_cluster_that_wants_the_token_of_this_machine_is_joined_by_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, home = draw(tmp_path / "drawn", 2), tmp_path / "user"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("a" * 64)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("RAY_AUTH_MODE")
    with begun("--num-cpus=1", "--port=0") as address:
        run = program("index", folder, "--index", "tried", "--cluster", address, *INDEX, home=tmp_path / "home")
        _, told = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, told


@contextmanager
def begun(*options: str, **variables: str) -> Iterator[str]:
    """Begins a cluster as a user does, with `ray start`, yields its address, and ends all its processes."""
    ray = Path(sys.executable).with_name("ray")
    with tempfile.TemporaryDirectory() as short, pytest.MonkeyPatch.context() as patch:  # it is in names of sockets
        patch.setenv("RAY_TMPDIR", short)
        try:
            command = [str(ray), "start", "--head", *options]
            said = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
            address = re.search(r"ray start --address='([^']+)'", said.stdout)
            assert address, said
            yield address[1]
        finally:
            for process in psutil.process_iter():
                if short in " ".join(_command(process)):
                    process.kill()


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
