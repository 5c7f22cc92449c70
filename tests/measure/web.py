"""Measures the page of `vidfind web`: answers in a large index, pictures, films, and memory over many queries.

    uv run python -m tests.measure.web [SEGMENTS] [QUERIES]

Makes an index of so many segments (100,000) with random vectors of 512 numbers, ten for each video, 24 of which are
real files of 1080p. The vectors of words are random too, so that no model is needed. Asks a real server in this
process, as a browser would, over connections that stay open. Prints medians and the longest of each.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil

from vidfind.cli.web import read_query
from vidfind.encoders.names import EncoderIdentity
from vidfind.media.write import write_video
from vidfind.pictures.cache import PictureCache
from vidfind.search.searcher import Searcher
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow
from vidfind.system.files import fingerprint
from vidfind.web.app import opened_app
from vidfind.web.serve import listen, serve

DIM, A_VIDEO, GRID, CONNECTIONS = 512, 10, 24, 6
TOKEN = "token"
DAY = datetime(2024, 5, 17, tzinfo=UTC)


class RandomWords:
    """Vectors of words as the text half of a model makes them, but random: those of "grid" find the real files."""

    def prepare(self) -> None:
        """There is nothing to load."""

    def vector(self, query: str, typed: str | None = None) -> np.ndarray:
        return look() if query == "grid" else unit(int(hashlib.sha256(query.encode()).hexdigest()[:8], 16))

    def knows_nothing(self, query: str) -> bool:
        return False


def unit(seed: int, count: int | None = None) -> np.ndarray:
    """Random vectors of length 1: (D,), or (count, D)."""
    vectors = np.random.default_rng(seed).standard_normal((count or 1, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors if count else vectors[0]


def look() -> np.ndarray:
    return unit(10**9)


def make_index(folder: Path, segments: int) -> None:
    """An index of `segments`, whose first videos are there as files."""
    settings = IndexSettings(EncoderIdentity("ViT-B-32", "none", "digest", "mean", None, 12))
    store = Store.create(folder / "index", settings, dim=DIM)
    videos = folder / "videos"
    videos.mkdir()
    film = folder / "film.mp4"
    blocks = np.random.default_rng(0).integers(0, 256, (60, 27, 48, 3), np.uint8)
    write_video(film, blocks.repeat(40, axis=1).repeat(40, axis=2), 6)
    data = film.read_bytes()
    rows, embedded = [], []
    spans = [(float(start), float(start + 10)) for start in range(0, 10 * A_VIDEO, 10)]
    for number in range(segments // A_VIDEO):
        path, digest = videos / f"{number:06}.mp4", f"{number:032x}"
        if number < GRID:
            path.write_bytes(data + (24).to_bytes(4, "big") + b"free" + os.urandom(16))
            digest = fingerprint(path)
        size = path.stat().st_size if number < GRID else 10**6
        content = number + 1
        rows.append(VideoRow(path, videos, size, 1, digest, DAY, DAY, content, A_VIDEO, 100.0, 1920, 1080, "h264"))
        vectors = unit(number, A_VIDEO)
        if number < GRID:
            vectors[0] = look()
        embedded.append(Embedded(content, spans, vectors))
    with store.writing() as writer:
        for start in range(0, len(rows), 1000):
            writer.put(rows[start : start + 1000], embedded[start : start + 1000])
        writer.compact()


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of the server."""
    searcher = Searcher(folder / "index")
    searcher.encoder = RandomWords()  # type: ignore[assignment]
    listening, ready, ends = listen("127.0.0.1", 0), threading.Event(), list[Callable[[], None]]()

    def started(end: Callable[[], None]) -> None:
        ends.append(end)
        ready.set()

    with opened_app(searcher, read_query, TOKEN, pictures=PictureCache(folder / "pictures")) as app:
        thread = threading.Thread(target=serve, args=[app, listening, started])
        thread.start()
        ready.wait()
        try:
            yield listening.getsockname()[1]
        finally:
            ends[0]()
            thread.join()


class Browser:
    """Connections to the server that stay open, one for each thread."""

    def __init__(self, port: int) -> None:
        self._port, self._own = port, threading.local()

    def get(self, path: str) -> bytes:
        connection = getattr(self._own, "connection", None) or http.client.HTTPConnection("127.0.0.1", self._port)
        self._own.connection = connection
        connection.request("GET", f"/{TOKEN}/{path}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
        return bytes(body)

    def search(self, query: str, more: str = "") -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = json.loads(self.get(f"api/search?q={quote(query)}{more}"))["results"]
        return results


def took(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def show(name: str, times: list[float]) -> None:
    print(f"{name:<46} {1000 * statistics.median(times):7.0f} ms   longest {1000 * max(times):6.0f} ms", flush=True)


def words() -> str:
    return f"a dog {secrets.token_hex(4)}"


def main(segments: int, queries: int) -> None:
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        print(f"{segments:,} segments, {DIM} numbers each; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        make_index(folder, segments)
        with served(folder) as port:
            browser = Browser(port)
            browser.search(words())
            show("first page of 60, new words", [took(lambda: browser.search(words())) for _ in range(20)])
            show("  in a folder", [took(lambda: browser.search(words(), f"&in={folder}/videos")) for _ in range(10)])
            show("  with --not", [took(lambda: browser.search(f"{words()} --not rain")) for _ in range(10)])
            first = browser.search("grid")
            alike = f"&like={first[0]['id']}"
            show("  more like this", [took(lambda: browser.search("", alike)) for _ in range(10)])
            query = words()
            browser.search(query)
            pages = [took(lambda page=page: browser.search(query, f"&offset={page}")) for page in range(60, 3000, 60)]  # type: ignore[misc]
            show("further pages of 60, to 3,000 results", pages)
            grid = [f"picture/{one['video']}?at={one['at']}" for one in first[:GRID]]
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                show(f"{GRID} pictures of 1080p, cold", [took(lambda: list(pool.map(browser.get, grid)))])
                kept = [took(lambda: list(pool.map(browser.get, grid))) for _ in range(5)]
                show(f"{GRID} pictures of 1080p, kept", kept)
            play = f"play/{first[0]['video']}?start=2&end=8"
            show("a film of 6 s of 1080p, whole", [took(lambda: browser.get(play)) for _ in range(3)])
            show("status", [took(lambda: browser.get("api/status")) for _ in range(10)])
            show("folders", [took(lambda: browser.get("api/folders")) for _ in range(3)])
            process = psutil.Process()
            for done in range(queries + 1):
                if done % (queries // 5) == 0:
                    memory = process.memory_info().rss / 2**20
                    print(f"after {done:5} queries: {memory:.0f} MB, {process.num_threads()} threads", flush=True)
                browser.search(words())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
