"""Rows of an index with random vectors, for tests that need a filled store and no videos."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow, new_content

DIM = 16
"""Length of the vectors in the `store` fixture."""
DAY = datetime(2024, 5, 17, 12, 30, tzinfo=UTC)


def make_row(path: str, num_segments: int = 2, **changes: Any) -> VideoRow:
    """The row of a video with a new content id; `changes` are other fields of the row."""
    row = VideoRow(Path(path), Path("/videos"), 1000, 5, path, DAY, DAY, new_content(), num_segments, 20.0)
    return dataclasses.replace(row, **changes)


def unit_vectors(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """Random vectors of length 1, (count, dim) float32."""
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def embed(row: VideoRow, seed: int = 0, dim: int = DIM) -> Embedded:
    """Random vectors for the segments of a video, ten seconds each."""
    spans = [(10.0 * i, 10.0 * i + 10) for i in range(row.segments)]
    return Embedded(row.content, spans, unit_vectors(row.segments, seed, dim))


def contents_found(store: Store) -> set[int]:
    """The content ids of all segments that a search finds."""
    return {hit.content for hit in store.search(unit_vectors(1)[0], 1000)}
