"""Indexing on a cluster of three nodes gives what indexing here gives, whatever happens to the nodes."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.measure.cluster.faults import DRIVER_FAULTS, KINDS, make_clean, survive
from tests.measure.cluster.runs import draw, index
from tests.support.equal import differences
from tests.support.nodes import Nodes
from vidfind.cluster import run
from vidfind.cluster.encode import encode_on_cluster
from vidfind.cluster.node import NodeProcess
from vidfind.cluster.options import ClusterOptions
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.encoders.stream import EncodedVideo, FailedVideo, Progress
from vidfind.index.events import IndexSummary, Outcome
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.store.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray runs clusters of several nodes on Linux alone")


def test_an_index_made_on_three_nodes_equals_one_made_here_though_a_process_is_killed(
    nodes: Nodes, clips: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("vfr.mp4", "damaged.mp4", "sound.mp4", "long.mkv", "gif.gif", "h264.ts", "vp9.webm"):
        shutil.copy(clips / name, folder)
    seen = IndexSummary()
    for path, cluster in (("here", None), ("there", ClusterOptions(nodes.address, dtype="float32"))):
        store, load = open_store(tmp_path / path, lambda choice: tiny_encoder, EncoderChoice())
        for event in index_videos([folder], store, load, IndexOptions(cluster=cluster)):
            if cluster and isinstance(event, Outcome) and not seen.counts:
                next(process for name in nodes.names for process in nodes.workers(name)).kill()
            if cluster:
                seen.add(event)
    assert seen.counts == {"new": 6, "failed": 1}
    assert not differences(Store.open(tmp_path / "here"), Store.open(tmp_path / "there"))


def test_a_video_that_ends_processes_fails_alone(
    nodes: Nodes, clips: Path, tmp_path: Path, tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TRIES", 2)  # each takes a process, which imports PyTorch anew
    monkeypatch.setattr(run, "LOOK_EVERY", 0.0)  # its loss may show in a question before it does in the video

    class Mortal(NodeProcess):
        def encode(self, path: str, stored: str) -> EncodedVideo | FailedVideo:
            if "poison" in path:
                os._exit(1)
            return super().encode(path, stored)

    store, _ = open_store(tmp_path / "index", lambda choice: tiny_encoder, EncoderChoice())
    elsewhere = Path("/elsewhere")  # where the clips are on the machine that indexes, and not on the nodes
    names = ("poison.mp4", "h264.mp4", "vfr.mp4", "short.mp4")
    options = ClusterOptions(nodes.address, [f"{elsewhere}={clips}"], dtype="float32")
    sizes = {elsewhere / name: 1000 for name in names}
    events = list(encode_on_cluster(sizes, store, "exact", "cpu", options, Mortal))
    done = {event.path.name: event for event in events if not isinstance(event, Progress)}
    assert sorted(done) == sorted(names) and len(done) == sum(not isinstance(event, Progress) for event in events)
    poison = done["poison.mp4"]
    assert isinstance(poison, FailedVideo) and "and 2 tries in all" in poison.reason and not poison.try_again
    assert all(isinstance(done[name], EncodedVideo) for name in ("h264.mp4", "vfr.mp4", "short.mp4"))


def test_a_video_that_no_node_can_read_is_tried_on_each_and_names_them(
    nodes: Nodes, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    store, _ = open_store(tmp_path / "index", lambda choice: tiny_encoder, EncoderChoice())
    options = ClusterOptions(nodes.address, dtype="float32")
    events = encode_on_cluster({tmp_path / "gone.mp4": 1000}, store, "exact", "cpu", options)
    [gone] = [event for event in events if not isinstance(event, Progress)]
    assert isinstance(gone, FailedVideo) and gone.try_again and "No such file" in gone.reason
    assert sorted(gone.reason.partition("(on ")[2].rstrip(".)").split(" and ")) == sorted(nodes.names)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_missing_or_stored_twice_after_a_fault_and_one_more_run(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))
    folder, clean = make_clean(tmp_path, videos=4)
    _, after, again = survive(tmp_path, folder, clean, nodes, kind, delay=6.0, rng=random.Random(1))
    assert again == []
    assert after == [] or kind in DRIVER_FAULTS


OTHERS = {
    "without": """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "vidfind":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Finder())""",
    "older": "import vidfind; vidfind.__version__ = '0.0.1'",
    "oldest": "sys.modules['vidfind.cluster'] = None",
    "newer": "from vidfind.cluster.node import NodeProcess; NodeProcess.__init__ = lambda self, work: None",
}
"""Programs that make the processes of a node run no vidfind, or another one, by the names of the nodes."""


@pytest.mark.soak
def test_nodes_with_another_vidfind_or_none_are_left_out_with_the_reason(
    nodes: Nodes, tmp_path: Path, tiny_encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    folder = draw(tmp_path / "drawn", 12)
    for name, code in OTHERS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "sitecustomize.py").write_text(f"import sys\n{code}\n")
        nodes.add(name, environment={"PYTHONPATH": str(tmp_path / name)})
    try:
        summary = index(folder, tmp_path / "index", nodes.address)
    finally:
        for name in OTHERS:
            nodes.kill_node(name)
    assert summary.counts == {"new": 12}
    said = "\n".join(dict.fromkeys(caplog.messages))
    for name in OTHERS:
        assert f"The node {name} is left out of this run: " in said
    assert "No module named 'vidfind'. Install it" in said
    assert "It has vidfind 0.0.1" in said
    assert "Are its versions of vidfind, Ray and Python those of" in said
