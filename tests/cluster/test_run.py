"""Indexing on a cluster of three nodes gives what indexing here gives, whatever happens to the nodes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.equal import differences
from tests.support.nodes import Nodes
from vidfind.cluster.options import ClusterOptions
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.index.events import IndexSummary
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.store.store import Store


def indexed(index: Path, folder: Path, encoder: Encoder, **options: object) -> tuple[Store, IndexSummary]:
    """Indexes a folder with fields of ClusterOptions; without any, here."""
    store, load = open_store(index, lambda choice: encoder, EncoderChoice())
    cluster = ClusterOptions(dtype="float32", **options) if options else None  # type: ignore[arg-type]
    summary = IndexSummary()
    for event in index_videos([folder], store, load, IndexOptions(cluster=cluster)):
        summary.add(event)
    return Store.open(index), summary


def test_an_index_made_on_three_nodes_equals_one_made_here(
    nodes: Nodes, clips: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("vfr.mp4", "damaged.mp4", "sound.mp4", "long.mkv", "gif.gif", "h264.ts"):
        shutil.copy(clips / name, folder)
    here, _ = indexed(tmp_path / "here", folder, tiny_encoder)
    there, summary = indexed(tmp_path / "there", folder, tiny_encoder, address=nodes.address)
    assert summary.counts == {"new": 5, "failed": 1}
    assert not differences(here, there)


def test_without_cluster_nothing_of_ray_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; import vidfind.index.run, vidfind.cli.index, vidfind.cluster.encode; "
        "sys.exit('ray' in sys.modules or 'grpc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0
