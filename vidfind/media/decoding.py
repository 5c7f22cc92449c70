"""Videos decoded ahead of the encoder, in worker processes: a bounded queue of clips, and single files on demand.

Knows nothing of encoders or the index. A file whose decoder crashes, hangs or takes too much memory costs that file
alone. Memory is bounded by the queue, not by the collection.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vidfind.errors import DecoderLost, UnreadableVideo, VidfindError
from vidfind.media import probe as media_probe
from vidfind.media import read as video
from vidfind.media.dates import Recorded
from vidfind.media.frames import check_regular
from vidfind.media.hardware import PROCESSOR, Decoder, DeviceChoice
from vidfind.media.messages import NO_FRAMES, Clip, Done, Failed, Message, Opened, Queued, read_video
from vidfind.media.probe import VideoInfo
from vidfind.media.sampling import (
    DEFAULT_SAMPLING,
    Sampling,
    Segment,
    View,
)
from vidfind.system.worker import TICK, Worker, borrow_worker, start_ahead

log = logging.getLogger(__name__)
T = TypeVar("T")

CLIPS_A_BATCH = 8
# 1.8 MB each (12 frames of 224 x 224): some 30 MB whatever the collection.
CLIPS_WAITING = 16
# One for each core: the encoder waits for none then, and has them all when nothing is left to decode. More than eight
# only contend for the disk. Two at least, so that one may hang.
DECODERS = max(2, min(8, os.cpu_count() or 1))
# Seconds for what reads files to end when nobody wants more of it.
PATIENCE_AT_END = 5.0
# How long a decoder may be silent before it is given up: seconds for the start, for each byte (all of a file may have
# to be read, from a slow network), and for each second of a segment (4K HEVC of 60 frames a second takes a free core 6,
# and a slow or busy one several times as long).
PATIENCE = 60.0
PATIENCE_A_BYTE = 1 / 2e6
PATIENCE_A_SECOND = 20.0
# Seconds after which the lengths of the videos that still wait are read from their headers: a shorter run needs none.
HEADER_DELAY = 1.0
HEADER_PATIENCE = 10.0  # seconds for one header: it takes milliseconds, from a slow network a second


def decode_ahead(
    paths: Sequence[Path],
    segment_length: float,
    num_frames: int,
    view: View | int,
    workers: int | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    batch_size: int = CLIPS_A_BATCH,
    overlap: bool = False,
    decoder: Decoder = "cpu",
    threads: int | None = None,
) -> Generator[list[Message]]:
    """Decodes videos in `workers` processes (DECODERS of them by default), and yields their messages.

    Each process has so many `threads`; None: as many as keep all cores busy. With `overlap`, there is one more segment
    between each two, as `add_between` makes it; nothing is decoded twice.

    Each batch holds at most `batch_size` clips, of what is there already: full when the encoder is the slower side,
    short when decoding is, and empty after TICK seconds without any message, so that the caller can go on with other
    things while a decoder hangs. Messages of one video are in order, those of several are mixed. Close the generator to
    stop early. Raises DeviceMissing for the decoder `hardware` where there is none."""
    count = min(workers or DECODERS, len(paths))
    decoder_threads = threads or max(1, (os.cpu_count() or 1) // max(1, count))
    arguments = (segment_length, num_frames, view, sampling, decoder_threads, overlap)
    choice = DeviceChoice(decoder, segment_length, num_frames, view, sampling, count)
    feed = _Feed(paths, lambda worker, path: _decode_video(worker, path, choice, *arguments), count, batch_size)
    headers = _Headers(paths[count:])
    unfinished = len(paths)
    try:
        while unfinished:
            batch = feed.take_batch()
            unfinished -= sum(isinstance(message, Done | Failed) for message in batch)
            headers.opened.update(message.path for message in batch if isinstance(message, Opened))
            yield [*headers.take(), *batch]
    finally:
        headers.close()
        feed.close(is_finished=not unfinished)


def start_decoders(count: int) -> None:
    """Starts processes for `decode_ahead`, libraries and all, if there are none, while this one does other things."""
    start_ahead(count, read_video.__module__)


class _Stopped(Exception):
    """Nobody wants more messages."""


class _Feed:
    """Threads that decode videos, each with a worker process of its own, into one bounded queue of messages."""

    def __init__(
        self,
        paths: Iterable[Path],
        decode: Callable[[Worker, Path], Generator[Message]],
        count: int,
        batch_size: int,
    ) -> None:
        self._decode, self._batch_size = decode, batch_size
        self._todo: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for path in paths:
            self._todo.put(path)
        self._messages: queue.Queue[Message | Exception] = queue.Queue(max(CLIPS_WAITING, 2 * batch_size))
        self._stop = threading.Event()
        self._busy: list[Worker] = []
        self._threads = [threading.Thread(target=self._run, name="decode", daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def take_batch(self) -> list[Message]:
        """The messages in the queue, up to `batch_size` clips; empty only after TICK seconds without any.

        Raises whatever a thread has raised."""
        batch: list[Message] = []
        clips = 0
        with suppress(queue.Empty):
            while clips < self._batch_size:
                message = self._messages.get_nowait() if batch else self._messages.get(timeout=TICK)
                if isinstance(message, Exception):
                    raise message
                batch.append(message)
                clips += isinstance(message, Clip)
        return batch

    def close(self, is_finished: bool) -> None:
        """Stops the threads. If not all videos are finished, the workers end in the middle of what they are at."""
        self._stop.set()
        if not is_finished:
            for worker in self._busy:
                worker.end()
        for thread in self._threads:
            thread.join(PATIENCE_AT_END)

    def _run(self) -> None:
        """Decodes videos until none is left."""
        try:
            with borrow_worker() as worker:
                self._busy.append(worker)
                while not self._stop.is_set():
                    path = self._todo.get_nowait()
                    with closing(self._decode(worker, path)) as messages:
                        for message in messages:
                            self._put(message)
        except (queue.Empty, _Stopped):
            pass
        except Exception as error:  # a bug: raised again in the caller's thread, which would wait forever otherwise
            with suppress(_Stopped):
                self._put(error)

    def _put(self, message: Message | Exception) -> None:
        """Waits for room in the queue. Raises _Stopped when the feed is closed."""
        while not self._stop.is_set():
            try:
                return self._messages.put(message, timeout=TICK)
            except queue.Full:
                pass
        raise _Stopped


class _Headers:
    """A thread that reads the lengths of videos that wait for a decoder, in a worker process of its own."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.opened: set[Path] = set()
        """Videos that need not be looked at any more."""
        self._paths = paths
        self._found: queue.SimpleQueue[Queued] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._worker: Worker | None = None
        self._thread = threading.Thread(target=self._run, name="headers", daemon=True)
        if paths:
            self._thread.start()

    def take(self) -> Iterator[Queued]:
        """Yields the lengths found since the last call, of videos that still wait."""
        while not self._found.empty():
            found = self._found.get()
            if found.path not in self.opened:
                yield found

    def close(self) -> None:
        """Stops the thread, in the middle of a header if need be."""
        self._stop.set()
        if worker := self._worker:
            worker.end()
        if self._paths:
            self._thread.join(PATIENCE_AT_END)

    def _run(self) -> None:
        if self._stop.wait(HEADER_DELAY):
            return
        with borrow_worker() as self._worker:
            for path in self._paths:
                if self._stop.is_set():
                    break
                if path not in self.opened:
                    with suppress(Exception):  # its decoder will say what is wrong with it
                        for seconds in self._worker.run(_claimed_length, path, seconds=HEADER_PATIENCE):
                            self._found.put(Queued(path, seconds))
            self._worker = None


def _decode_video(
    worker: Worker, path: Path, choice: DeviceChoice, segment_length: float, *arguments: Any
) -> Generator[Message]:
    """The messages of `read_video`, run in a worker. Whatever is wrong, also the loss of the worker, becomes Failed.

    `arguments` are those of `read_video` after `segment_length`. If the worker is lost while a device decodes, the
    processor goes on where it stopped."""
    delivered, frames = 0, NO_FRAMES
    device = choice.device_for(worker, path)
    try:
        for one in dict.fromkeys((device, PROCESSOR)):
            try:
                messages = _run(worker, segment_length, read_video, path, segment_length, *arguments, one)
                for message in islice(messages, delivered, None):
                    if isinstance(message, Clip):
                        message = replace(message, frames=frames) if message.is_repeat else message
                        frames = message.frames
                    yield message
                    delivered += 1
                return
            except DecoderLost as error:
                if one == PROCESSOR:
                    raise
                choice.give_up(f"{path} {error}")
    except UnreadableVideo as error:
        noise = worker.noise()
        yield Failed(path, f"{error}; it said: {noise}" if noise else str(error), try_again=False)
    except OSError as error:
        yield Failed(path, f"cannot be read: {error.strerror or error}", try_again=True)


def _run(
    worker: Worker, longest: float, function: Callable[..., Iterable[T]], path: Path, *arguments: object
) -> Generator[T]:
    """Yields the results of `function`, run in the worker with the patience that the file and its segments deserve.

    Raises UnreadableVideo whatever is wrong with the file, and OSError if it is the disk."""
    patience = PATIENCE + os.stat(path).st_size * PATIENCE_A_BYTE + longest * PATIENCE_A_SECOND
    try:
        with closing(worker.run(function, path, *arguments, seconds=patience)) as results:
            yield from results
    except (VidfindError, OSError):
        raise
    except Exception as error:  # a file so odd that a library, or vidfind, stumbles over it must not end the run
        raise UnreadableVideo(f"cannot be decoded: {type(error).__name__}: {error}") from error


# One file -------------------------------------------------------------------------------------------------------------


def probe(path: Path) -> VideoInfo:
    """As video.probe, in a worker. Raises UnreadableVideo, also where the decoder crashes or hangs."""
    return _first(_run_once(_probe, path))


def read_date(path: Path) -> Recorded:
    """As probe.read_date, in a worker. Raises UnreadableVideo, as `probe` does."""
    return _first(_run_once(_read_date, path))


def read_clips(
    path: Path, segments: Sequence[Segment], num_frames: int, view: View | int, sampling: Sampling = "exact"
) -> Generator[npt.NDArray[np.uint8]]:
    """The frames of video.read_clips, in a worker: (T, S, S, 3) for each segment. Raises UnreadableVideo as `probe`."""
    longest = max((segment.end - segment.start for segment in segments), default=0.0)
    with closing(_run_once(video.read_clips, path, segments, num_frames, view, sampling, longest=longest)) as samples:
        for sample in samples:
            yield sample.frames


def read_clip(path: Path, segment: Segment, num_frames: int, view: View | int) -> npt.NDArray[np.uint8]:
    """The frames of one segment, in a worker: (T, S, S, 3). Raises UnreadableVideo, also where there are none."""
    # All of them, though there is one: a worker that is left in the middle ends, and another takes a second to start.
    clips = list(read_clips(path, [segment], num_frames, view))
    if not clips:
        raise UnreadableVideo(f"is damaged: nothing can be decoded at {segment.start:g} seconds")
    return clips[0]


def read_picture(path: Path, num_frames: int, view: View | int) -> npt.NDArray[np.uint8]:
    """As video.read_picture, in a worker: (T, S, S, 3). Raises UnreadableVideo, as `probe` does."""
    return _first(_run_once(_read_picture, path, num_frames, view))


def _run_once(
    function: Callable[..., Iterable[T]], path: Path, *arguments: object, longest: float = 0.0
) -> Generator[T]:
    check_regular(path)
    with borrow_worker() as worker, closing(_run(worker, longest, function, path, *arguments)) as results:
        yield from results


def _first(results: Generator[T]) -> T:
    [result] = results
    return result


def _probe(path: Path) -> Iterator[VideoInfo]:
    yield media_probe.probe(path)


def _claimed_length(path: Path) -> Iterator[float]:
    yield media_probe.claimed_length(path)


def _read_date(path: Path) -> Iterator[Recorded]:
    yield media_probe.read_date(path)


def _read_picture(path: Path, num_frames: int, view: View | int) -> Iterator[npt.NDArray[np.uint8]]:
    yield video.read_picture(path, num_frames, view)
