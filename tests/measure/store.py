"""Measures what a search costs without the reading of its words, in indexes of random vectors that lie as CLIP's do.

    python -m tests.measure.store make HOME SEGMENTS WEIGHTS [MODEL]

makes an index in the folder HOME, to be used with VIDFIND_HOME=HOME: ten segments a video, which are empty files in
HOME/videos. WEIGHTS is a checkpoint file of MODEL, by default ViT-B-32: what the vectors are said to be made with.

    python -m tests.measure.store warm HOME
    python -m tests.measure.store recall HOME

print how long a search takes from vector to moments, and how many of the 20 nearest segments it finds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vidfind.store.store import Embedded
    from vidfind.store.tables import VideoRow

SEGMENTS_A_VIDEO = 10
VIDEOS_A_FOLDER = 250
VIDEOS_A_COMMIT = 2000
SCENES = 2000
FIRST_DAY = datetime(2012, 1, 1, 12, tzinfo=UTC)


class World:
    """Where CLIP's vectors lie: pictures in one narrow cone, in clusters; words in another cone, far from theirs.

    Two pictures have a cosine of about 0.5, two of one scene 0.7, two of one video 0.85; words have one of 0.25 with
    pictures of what they say, and of 0.15 with others. Directions have the decaying spectrum that features have."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._scales = np.arange(1, dim + 1) ** -0.4
        self.dim = dim
        self.pictures, self.words = self._directions(2)
        self.scenes = self._directions(SCENES)

    def video(self, segments: int) -> np.ndarray:
        """The vectors of a video: (segments, D), all of one scene."""
        scene = self.scenes[self._rng.integers(SCENES)]
        own, *each = self._directions(1 + segments)
        return unit(0.7 * self.pictures + 0.45 * scene + 0.4 * own + 0.39 * np.array(each)).astype(np.float32)

    def queries(self, count: int) -> np.ndarray:
        """Words for scenes: (count, D)."""
        scenes = self.scenes[self._rng.integers(SCENES, size=count)]
        towards = 0.2 * self.pictures + 0.25 * scenes
        return unit(0.75 * self.words + towards + 0.6 * self._directions(count)).astype(np.float32)

    def _directions(self, count: int) -> np.ndarray:
        return unit(self._rng.standard_normal((count, self.dim)) * self._scales)


def unit(vectors: np.ndarray) -> np.ndarray:
    unit_vectors: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit_vectors


def make(home: Path, segments: int, weights: Path, model: str = "ViT-B-32") -> None:
    """An index of so many segments in `home`, and the empty files that its videos are."""
    from vidfind.encoders.names import EncoderIdentity
    from vidfind.models.load import weights_digest
    from vidfind.store.settings import IndexSettings
    from vidfind.store.store import Store

    dim = 768 if "L" in model else 512
    digest = weights_digest(model, weights)
    settings = IndexSettings(EncoderIdentity(model, str(weights.resolve()), digest, "tempme", None, 12))
    store = Store.create(home.resolve() / "indexes" / "default", settings, dim)
    world, rows, embedded = World(dim), [], []
    with store.writing() as writer:
        for row in make_videos(home.resolve() / "videos", segments // SEGMENTS_A_VIDEO):
            rows.append(row)
            embedded.append(embed(row.content, world))
            if len(rows) == VIDEOS_A_COMMIT:
                writer.put(rows, embedded)
                rows, embedded = [], []
        writer.put(rows, embedded)
        began = time.monotonic()
        writer.compact(timedelta(milliseconds=1))
        print(f"compacted in {time.monotonic() - began:.1f} s")


def make_videos(root: Path, count: int) -> Iterator[VideoRow]:
    """Empty files in folders of `root`, each with the row that an index would have of it."""
    from vidfind.store.tables import VideoRow, new_content

    for number in range(count):
        day = FIRST_DAY + timedelta(hours=number * 100_000 / count)
        path = root / f"{day:%Y}" / f"trip {number // VIDEOS_A_FOLDER:04}" / f"VID_{day:%Y%m%d}_{number:06}.mp4"
        if number % VIDEOS_A_FOLDER == 0 or not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, 10_000_000 + number)
        stat = path.stat()
        length = 10.0 * SEGMENTS_A_VIDEO
        shape = (new_content(), SEGMENTS_A_VIDEO, length, 1920, 1080, "h264")
        yield VideoRow(path, root, stat.st_size, stat.st_mtime_ns, f"{number:032x}", day, datetime.now(UTC), *shape)


def embed(content: int, world: World) -> Embedded:
    from vidfind.store.store import Embedded

    spans = [(10.0 * i, 10.0 * i + 10) for i in range(SEGMENTS_A_VIDEO)]
    return Embedded(content, spans, world.video(SEGMENTS_A_VIDEO))


def warm(home: Path, searches: int = 20) -> None:
    """The time from a vector to moments: the median, and the longest, without and with filters."""
    from vidfind.search.moments import search_moments
    from vidfind.search.question.filters import Filters
    from vidfind.store.store import Store

    store = Store.open(home.resolve() / "indexes" / "default")
    folder = home.resolve() / "videos"
    year = min(path for path in folder.iterdir() if path.is_dir())
    filters = {
        "none": Filters(),
        "--in, of much": Filters(folder=folder),
        "--in, of little": Filters(folder=next(year.iterdir())),
        "--since": Filters(since=date(2014, 5, 1)),
        "--since --until": Filters(since=date(2014, 5, 1), until=date(2014, 5, 31)),
        "--online": Filters(online=True),
    }
    queries = World(store.dim).queries(searches + 2)
    for name, chosen in filters.items():
        times = []
        for query in queries:
            began = time.perf_counter()
            search_moments(store, query, chosen)
            times.append(1000 * (time.perf_counter() - began))
        print(
            f"{name:16} {np.median(times[2:]):6.1f} ms, at most {max(times[2:]):6.1f}; the first {times[0]:6.1f}",
            flush=True,
        )


def recall(home: Path, searches: int = 40, nearest: int = 20) -> None:
    """Of the nearest segments by exact search, the share that `Store.search` finds; for words and for pictures."""
    from vidfind.store.store import Store

    store = Store.open(home.resolve() / "indexes" / "default")
    world = World(store.dim)
    kinds = {"words": world.queries(searches), "pictures": np.concatenate([world.video(1) for _ in range(searches)])}
    for kind, queries in kinds.items():
        best = np.full((searches, nearest), -1.0, np.float32)
        for _, _, vectors in store.segments():
            scores = queries @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
            best = np.sort(np.concatenate([best, scores], axis=1), axis=1)[:, -nearest:]
        shares = []
        for query, expected in zip(queries, best, strict=True):
            hits = store.search(query, 80)[:nearest]
            shares.append(sum(hit.score >= expected[0] - 2e-4 for hit in hits) / nearest)
        print(f"{kind}: recall@{nearest} {np.mean(shares):.3f}, at least {min(shares):.2f}", flush=True)


if __name__ == "__main__":
    command, home, *rest = sys.argv[1:]
    if command == "make":
        make(Path(home), int(rest[0]), Path(rest[1]), *rest[2:])
    else:
        {"warm": warm, "recall": recall}[command](Path(home))
