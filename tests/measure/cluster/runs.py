"""Runs of indexing that are compared: with the tiny model, here or on a cluster."""

from __future__ import annotations

import time
from pathlib import Path

from vidfind.cluster.options import ClusterOptions
from vidfind.demo.collection import draw_collection
from vidfind.encoders.names import EncoderChoice
from vidfind.index.events import IndexSummary
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.models.load import load_encoder

CLIPS = Path(__file__).parents[2] / "clips"


def index(folder: Path, path: Path, address: str | None = None) -> IndexSummary:
    """Indexes a folder with the tiny model in float32: on the cluster at an address, or here."""
    encoder = load_encoder("tiny", device="cpu", dtype="float32")
    store, load = open_store(path, lambda choice: encoder, EncoderChoice("tiny"))
    cluster = ClusterOptions(address, dtype="float32") if address else None
    summary, began = IndexSummary(), time.perf_counter()
    for event in index_videos([folder], store, load, IndexOptions(cluster=cluster)):
        summary.add(event)
    summary.elapsed = time.perf_counter() - began
    return summary


def draw(folder: Path, count: int) -> Path:
    """Draws so many videos of 3 to 6 seconds into a folder."""
    draw_collection(folder, count, seed=1)
    return folder
