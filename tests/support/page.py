"""The page of `vidfind web` without a network: an index of real clips, and a client that has the token."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from vidfind.cli.web import read_query
from vidfind.encoders.encoder import Encoder
from vidfind.media.probe import probe
from vidfind.pictures.cache import PictureCache
from vidfind.search.searcher import Searcher
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow, new_content
from vidfind.system.files import fingerprint
from vidfind.web.app import opened_app

TOKEN = "a-secret-of-many-letters"
ADDRESS = "http://127.0.0.1:8000"
SEGMENT = 10.0


Words = str | Sequence[str]
"""What a video is found by: words for all of it, or for one segment after the other."""


def make_index(path: IndexPath, encoder: Encoder, videos: Mapping[Path, Words]) -> Store:
    """Returns an index of video files, each found by the words given for it."""
    store = Store.create(path, IndexSettings(encoder.identity), encoder.dim)
    add_videos(store, encoder, videos)
    return store


def add_videos(store: Store, encoder: Encoder, videos: Mapping[Path, Words]) -> None:
    """Adds video files to an index; each segment has the vector of its words."""
    day = datetime(2024, 5, 17, tzinfo=UTC)
    rows, embedded = [], []
    for file, words in videos.items():
        vectors = encoder.encode_text([words] if isinstance(words, str) else list(words)).numpy()
        info, status = probe(file), file.stat()
        starts = [SEGMENT * number for number in range(max(1, round(info.duration / SEGMENT)))]
        spans = [(start, min(start + SEGMENT, info.duration)) for start in starts]
        row = VideoRow(
            path=file,
            folder=file.parent,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            fingerprint=fingerprint(file),
            created=day,
            indexed_at=day,
            content=new_content(),
            segments=len(spans),
            duration=info.duration,
            width=info.width,
            height=info.height,
            codec=info.codec,
        )
        rows.append(row)
        embedded.append(Embedded(row.content, spans, [vectors[number % len(vectors)] for number in range(len(spans))]))  # type: ignore[arg-type]
    with store.writing() as writer:
        writer.put(rows, embedded)


@contextmanager
def opened_page(index: IndexPath, pictures: Path, encoder: Encoder, **options: Any) -> Iterator[TestClient]:
    """Yields a client of the page, whose addresses are relative to the token."""
    searcher = Searcher(index, lambda choice: encoder, repeats_remarks=True)
    with (
        opened_app(searcher, read_query, TOKEN, pictures=PictureCache(pictures), **options) as app,
        TestClient(app, f"{ADDRESS}/{TOKEN}/", follow_redirects=False, raise_server_exceptions=False) as client,
    ):
        yield client


VIDEOS = {"h264.mp4": "a red circle", "long.mp4": "a blue star", "vp9.webm": "a green square", "mpeg4.avi": "yellow"}
"""Real clips, and the words that find each."""


@contextmanager
def page_of_clips(folder: Path, clips: Path, encoder: Encoder) -> Iterator[TestClient]:
    """Yields the page of an index of VIDEOS, which are copied into `folder`/videos."""
    videos = folder / "videos"
    videos.mkdir()
    for name in VIDEOS:
        shutil.copy(clips / name, videos)
    make_index(folder / "index", encoder, {videos / name: words for name, words in VIDEOS.items()})
    with opened_page(folder / "index", folder / "pictures", encoder) as client:
        yield client


def first_result(client: TestClient, query: str) -> dict[str, Any]:
    """Returns the best moment for a query."""
    results = client.get("api/search", params={"q": query}).json()["results"]
    found: dict[str, Any] = results[0]
    return found
