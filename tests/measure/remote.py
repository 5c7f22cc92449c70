"""How long an index in object storage takes against one on disk: made, written, opened and searched, and copied.

    uv run python -m tests.measure.remote [--videos 1000] [--segments 20] [--dim 512] [--delay 0]

Object storage is moto's S3 in a process on this machine, so that the network costs nothing and the server much; each
request takes `--delay` milliseconds more. Prints a table of wall seconds; of writing also the videos a second of wall
time and of processor time, the processor time of the server, and the number of requests. Videos are rows, and vectors
random.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support.object_storage import environment, new_place, serving
from tests.support.rows import embed, make_row, unit_vectors
from vidfind.encoders.names import EncoderIdentity
from vidfind.index.writer import CommitQueue, make_marker
from vidfind.store.places.path import IndexPath, RemotePath, machine_folder
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store

Work = tuple[float, int]
"""Of the server: processor seconds, and number of requests."""
SETTINGS = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))


@contextmanager
def serving_apart(delay: float) -> Iterator[tuple[str, Callable[[], Work]]]:
    """Yields the URL of a server in a process of its own, and what tells its work so far."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, delay), daemon=True)
    process.start()

    def work() -> Work:
        ours.send("work")
        done: Work = ours.recv()
        return done

    yield ours.recv(), work
    process.kill()


def serve(asked: Connection, delay: float) -> None:
    """Serves, and sends the URL, then its work whenever it is asked."""
    from werkzeug.serving import WSGIRequestHandler

    requests = itertools.count()
    run = WSGIRequestHandler.run_wsgi

    def slow_run(handler: WSGIRequestHandler) -> None:
        next(requests)
        time.sleep(delay)
        run(handler)

    WSGIRequestHandler.run_wsgi = slow_run  # type: ignore[method-assign, assignment]
    with serving() as url:
        asked.send(url)
        while asked.recv():
            asked.send((time.process_time(), next(requests)))


def measure(place: IndexPath, videos: int, segments: int, dim: int, work: Callable[[], Work]) -> dict[str, float]:
    """Returns the seconds that each step takes at a place where no index is, and what writing costs."""
    seconds: dict[str, float] = {}
    vector = unit_vectors(1, seed=1, dim=dim)[0]

    def timed(step: str, work: Callable[[], Store]) -> Store:
        began = time.perf_counter()
        made = work()
        seconds[step] = time.perf_counter() - began
        return made

    store = timed("create", lambda: Store.create(place, SETTINGS, dim))

    spans, some = embed(make_row("x", segments)).spans, unit_vectors(segments + 99, seed=2, dim=dim)
    rows = [make_row(f"{number}.mp4", segments) for number in range(videos)]
    embedded = [Embedded(row.content, spans, some[i % 99 : i % 99 + segments].copy()) for i, row in enumerate(rows)]

    def write() -> Store:
        with closing(CommitQueue(writer, make_marker(store))) as queue:
            for row, one in zip(rows, embedded, strict=True):
                queue.add(row, one)
                queue.commit_when_due()
        return store

    def tidy() -> Store:
        writer.compact()
        return store

    with store.writing() as writer:
        before, busy = work(), time.process_time()
        timed(step := f"write {videos} videos", write)
        busy, after = time.process_time() - busy, work()
        seconds["  processor, of vidfind"], seconds["  processor, of the server"] = busy, after[0] - before[0]
        counts = {
            "  videos a second": videos / seconds[step],
            "  videos a second of processor": videos / busy,
            "  requests": after[1] - before[1] - 1,  # a question counts as one
        }
        seconds |= counts
        timed("tidy up", tidy)

    def search(opened: Store) -> Store:
        opened.videos_of([hit.content for hit in opened.search(vector, 20)])
        return opened

    if isinstance(place, RemotePath):
        timed("open and search where it is", lambda: search(Store.open(place)))
        shutil.rmtree(machine_folder(place), ignore_errors=True)
    opened = timed("open and search, no copies yet", lambda: search(Store.open(place, copied=True)))
    timed("search again", lambda: search(opened))
    timed("open and search, copies there", lambda: search(Store.open(place, copied=True)))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--segments", type=int, default=20, help="of each video")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--delay", type=float, default=0, help="milliseconds that each request takes more")
    options = parser.parse_args()
    server = serving_apart(options.delay / 1000)
    with tempfile.TemporaryDirectory(prefix="vidfind-") as folder, server as (url, work):
        os.environ |= {**environment(url), "VIDFIND_HOME": str(Path(folder, "home"))}
        asked = (options.videos, options.segments, options.dim, work)
        measure(Path(folder, "warm"), 10, 2, options.dim, work)  # the libraries are loaded
        disk, remote = (measure(place, *asked) for place in (Path(folder, "index"), new_place()))
    print(f"{'seconds':34}{'disk':>10}{'S3':>10}")
    for step, took in remote.items():
        on_disk = f"{disk[step]:10.2f}" if step in disk else f"{'':10}"
        print(f"{step:34}{on_disk}{took:10.2f}")


if __name__ == "__main__":
    main()
