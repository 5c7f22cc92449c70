"""Measures how far indexing on a cluster grows: nodes, the driver, the writer and planning."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.measure.cluster.runs import draw
from tests.support.nodes import starting
from tests.support.rows import embed, make_row
from vidfind.cluster.connect import import_ray, joined
from vidfind.cluster.options import ClusterOptions
from vidfind.cluster.run import Run
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.encoders.stream import EncodedVideo
from vidfind.index.events import Outcome
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.index.writer import CommitQueue, make_marker
from vidfind.media.probe import VideoInfo
from vidfind.media.sampling import Segment
from vidfind.models.load import load_encoder
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.system.mounts import Places

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder  # which imports PyTorch

SLEEP = 0.2
"""Seconds for which a simulated process has a video; it has two at a time."""
SEGMENTS, DIM = 60, 512
"""Of a video of ten minutes, in the index of ViT-B-32."""


class Sleeper:
    """What the driver takes for a `NodeProcess`: it sleeps in place of encoding. One stands for many."""

    async def start(self) -> str:
        return "float32"

    async def progress(self) -> dict[str, tuple[float, float]]:
        return {}

    async def encode(self, path: str, stored: str) -> EncodedVideo:
        await asyncio.sleep(SLEEP)
        return encoded_video(Path(path))


def encoded_video(path: Path) -> EncodedVideo:
    """A video of ten minutes, as a node returns it."""
    info = VideoInfo(10.0 * SEGMENTS, Fraction(25), 1920, 1080, "h264", 0, datetime.now(UTC), "metadata")
    spans = [Segment(10.0 * i, 10.0 * i + 10) for i in range(SEGMENTS)]
    return EncodedVideo(path, str(path), info, spans, [np.zeros((SEGMENTS, DIM), np.float32)])


def scale(base: Path, videos: int, files: int) -> None:
    for count, names in ((1, ["a"]), (2, ["a", "b"])):
        with starting(names, base) as nodes:
            folder = draw(base / "drawn", 60)
            took = seconds_of_encoding(folder, base / "indexes" / f"nodes-{count}", nodes.address)
            print(f"{count} node of one core: {60 * 3600 / took:,.0f} drawn videos an hour", flush=True)
    for workers in (1, 4, 16, 64, 200):
        few = max(20, min(videos, workers * 100))
        took, busy = seconds_of_handing_out(base, workers, few)
        print(
            f"{workers:4} that sleep: {few / took:7.1f} videos a second of {2 * workers / SLEEP:6,.0f}; "
            f"driver busy {100 * busy / took:3.0f} %, {few / busy:6,.0f} videos a second of processor time",
            flush=True,
        )
    for segments in (6, SEGMENTS):
        took, busy = seconds_of_writing(base, videos, segments)
        print(
            f"writer, {segments} segments each: {videos / took:,.0f} videos a second, {videos / busy:,.0f} a busy one",
            flush=True,
        )
    for line in planning(base, files):
        print(line, flush=True)


def seconds_of_encoding(folder: Path, path: Path, address: str) -> float:
    """Seconds from the first video done to the last."""
    encoder = load_encoder("tiny", device="cpu", dtype="float32")
    store, load = open_store(path, lambda choice: encoder, EncoderChoice("tiny"))
    options = IndexOptions(cluster=ClusterOptions(address, dtype="float32"))
    times = [time.perf_counter() for one in index_videos([folder], store, load, options) if isinstance(one, Outcome)]
    return (times[-1] - times[0]) * len(times) / (len(times) - 1)


def seconds_of_handing_out(base: Path, workers: int, videos: int) -> tuple[float, float]:
    """Wall and processor seconds in which the driver has so many videos encoded by processes that sleep."""
    with starting([], base) as nodes, joined(nodes.address):
        ray = import_ray()
        nodes.add("wide", cores=workers)
        sleepers = [
            ray.remote(Sleeper).options(num_cpus=0, max_concurrency=1000).remote() for _ in range(min(workers, 4))
        ]
        ray.get([sleeper.start.remote() for sleeper in sleepers])
        handed = itertools.cycle(sleepers)
        options = ClusterOptions(nodes.address, cores=1)
        run = Run({Path(f"/{n}"): n for n in range(videos)}, options, lambda *_: Lasting(next(handed)), None)
        began, busy = time.perf_counter(), time.process_time()
        for _ in run.events():
            pass
        return time.perf_counter() - began, time.process_time() - busy


class Lasting:
    """The handle of a process that stays when a seat is given up."""

    def __init__(self, actor: Any) -> None:
        self.start, self.progress, self.encode = actor.start, actor.progress, actor.encode


def seconds_of_writing(base: Path, videos: int, segments: int) -> tuple[float, float]:
    """Wall and processor seconds in which the writer stores so many videos as they come."""
    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    store = Store.create(base / "indexes" / f"written-{segments}", settings, DIM)
    rows = [make_row(f"/videos/{number}.mp4", segments) for number in range(videos)]
    embedded = [embed(row, 1, DIM) for row in rows]
    began, busy = time.perf_counter(), time.process_time()
    with store.writing() as writer, closing(CommitQueue(writer, make_marker(store))) as queue:
        for row, one in zip(rows, embedded, strict=True):
            queue.add(row, one)
            queue.commit_when_due()
    return time.perf_counter() - began, time.process_time() - busy


class Planned(Exception):
    """The plan is made, and the encoder is wanted."""


def planning(base: Path, files: int) -> Iterator[str]:
    """Plans so many files, new and known, which have sizes of their own and no content, in programs of their own."""
    folder = make_files(base / "million", files)
    for known in ((), ("--known",)):
        program = [sys.executable, "-m", "tests.measure.cluster", "plan", "--folder", str(folder), *known]
        yield subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()


def make_files(folder: Path, files: int) -> Path:
    for number in range(files):
        if number % 1000 == 0:
            (folder / f"{number // 1000:04}").mkdir(parents=True)
        with open(folder / f"{number // 1000:04}" / f"{number:07}.mp4", "wb") as file:
            file.truncate(100_000 + number)
    return folder


def plan(base: Path, folder: Path, known: bool) -> None:
    """Prints what a run over a folder costs up to its first video to encode; `known`: the index has all of them."""
    path = base / "indexes" / "planned"
    child = multiprocessing.get_context("spawn").Process(target=make_index, args=[path, folder if known else None])
    child.start()  # so that what this takes is not measured, and PyTorch not imported, as in a run that encodes nothing
    child.join()
    store = Store.open(path)

    def load() -> Encoder:
        raise Planned

    count = sum(len(os.listdir(one)) for one in folder.iterdir())
    began, busy, before = time.perf_counter(), time.process_time(), peak()
    with suppress(Planned):
        for _ in index_videos([folder], store, load, IndexOptions()):
            pass
    took, busy = time.perf_counter() - began, time.process_time() - busy
    what = "a whole run over" if known else "planning"
    print(
        f"{what} {count:,} {'unchanged' if known else 'new'} files: {took:.1f} s, of which {busy:.1f} s of processor "
        f"time; {peak():,.0f} MB at most, of which {before:,.0f} MB before",
        flush=True,
    )


def peak() -> float:
    """The most memory in MB that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def make_index(path: Path, folder: Path | None) -> None:
    """Makes an index, which has all files of a folder as videos, without their vectors."""
    encoder = load_encoder("tiny", device="cpu")
    store, _ = open_store(path, lambda choice: encoder, EncoderChoice("tiny"))
    if folder:
        fill(store, folder)


def fill(store: Store, folder: Path) -> None:
    """Stores all files of a folder as videos, without their vectors."""
    places = Places()
    with store.writing() as writer:
        inner = sorted(folder.iterdir())
        for start in range(0, len(inner), 10):
            found = [(file, file.stat()) for one in inner[start : start + 10] for file in one.iterdir()]
            rows = [
                make_row(str(file), 2, folder=folder, size=stat.st_size, mtime_ns=stat.st_mtime_ns, codec="h264")
                for file, stat in found
            ]
            texts = [hashlib.sha256(bytes(row.path)).hexdigest() for row in rows]
            rows = [
                replace(
                    row, fingerprint=text[:32], footage=text, created_from="metadata", place=places.place_of(row.path)
                )
                for row, text in zip(rows, texts, strict=True)
            ]
            writer.put(rows)
        writer.compact()
