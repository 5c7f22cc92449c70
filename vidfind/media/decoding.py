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
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vidfind.errors import UnreadableVideo, VidfindError
from vidfind.media import probe as media_probe
from vidfind.media import read as video
from vidfind.media.files import fingerprint
from vidfind.media.frames import check_regular
from vidfind.media.probe import VideoInfo
from vidfind.media.sampling import DEFAULT_SAMPLING, Sampling, Segment, sample_times, split_segments
from vidfind.system.worker import TICK, Worker, borrow_worker

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
# to be read, from a slow network), and for each second of a segment.
PATIENCE = 60.0
PATIENCE_A_BYTE = 1 / 2e6
PATIENCE_A_SECOND = 2.0


@dataclass(frozen=True)
class Opened:
    """First of a video's messages. Its clips follow, one for each segment in order, then Done; or Failed, any time.

    A damaged video has fewer clips than segments."""

    path: Path
    fingerprint: str
    info: VideoInfo
    segments: list[Segment]


@dataclass(frozen=True)
class Clip:
    path: Path
    seconds: float
    frames: npt.NDArray[np.uint8]  # (T, S, S, 3)
    times: npt.NDArray[np.float64]  # (T,): when each frame is shown, in seconds


@dataclass(frozen=True)
class Done:
    """`until`: as far as the video could be decoded, in seconds, if that was not to its end. `off`: how far, at most,
    keyframes and other frames that were taken instead of those shown at the times wanted lie from these, in seconds."""

    path: Path
    until: float | None = None
    off: float = 0.0


@dataclass(frozen=True)
class Failed:
    """`try_again`: the disk or the rights were at fault, not what is in the file."""

    path: Path
    reason: str
    try_again: bool


Message = Opened | Clip | Done | Failed


class _Stopped(Exception):
    """Nobody wants more messages."""


def decode_ahead(
    paths: Sequence[Path],
    segment_length: float,
    num_frames: int,
    size: int,
    workers: int | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    batch_size: int = CLIPS_A_BATCH,
) -> Generator[list[Message]]:
    """Reads videos in `workers` processes (DECODERS of them by default); yields what they say until all are done.

    In batches of at most `batch_size` clips, of what is there already: full when the encoder is the slower side, short
    when decoding is. Messages of one video are in order, those of several are mixed. Close the generator to stop
    early."""
    todo: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for path in paths:
        todo.put(path)
    messages: queue.Queue[Message | Exception] = queue.Queue(max(CLIPS_WAITING, 2 * batch_size))
    stop = threading.Event()
    busy: list[Worker] = []

    count = min(workers or DECODERS, len(paths))
    decoder_threads = max(1, (os.cpu_count() or 1) // max(1, count))

    def say(message: Message | Exception) -> None:
        while not stop.is_set():
            try:
                return messages.put(message, timeout=TICK)
            except queue.Full:
                pass
        raise _Stopped

    def decode() -> None:
        try:
            with borrow_worker() as worker:
                busy.append(worker)
                while not stop.is_set():
                    path = todo.get_nowait()
                    with closing(
                        _decode_video(worker, path, segment_length, num_frames, size, sampling, decoder_threads)
                    ) as spoken:
                        for message in spoken:
                            say(message)
        except (queue.Empty, _Stopped):
            pass
        except Exception as error:  # a bug: raised again in the caller's thread, which would wait forever otherwise
            with suppress(_Stopped):
                say(error)

    threads = [threading.Thread(target=decode, name="decode", daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    unfinished = len(paths)
    try:
        while unfinished:
            batch = _take_batch(messages, batch_size)
            unfinished -= sum(isinstance(message, Done | Failed) for message in batch)
            if batch:
                yield batch
    finally:
        stop.set()
        if unfinished:
            for worker in busy:
                worker.end()
        for thread in threads:
            thread.join(PATIENCE_AT_END)


def _take_batch(messages: queue.Queue[Message | Exception], batch_size: int) -> list[Message]:
    """What is in the queue, until it makes a batch of clips; empty only after a while with nothing."""
    batch: list[Message] = []
    clips = 0
    try:
        while clips < batch_size:
            message = messages.get_nowait() if batch else messages.get(timeout=TICK)
            if isinstance(message, Exception):
                raise message
            batch.append(message)
            clips += isinstance(message, Clip)
    except queue.Empty:
        pass
    return batch


def _decode_video(
    worker: Worker, path: Path, segment_length: float, num_frames: int, size: int, sampling: Sampling, threads: int
) -> Generator[Message]:
    """What `read_video` says, run in a worker; a loss of the worker, and what is wrong with the file, as Failed."""
    try:
        yield from _run(worker, segment_length, read_video, path, segment_length, num_frames, size, sampling, threads)
    except UnreadableVideo as error:
        noise = worker.noise()
        yield Failed(path, f"{error}; it said: {noise}" if noise else str(error), try_again=False)
    except OSError as error:
        yield Failed(path, f"cannot be read: {error.strerror or error}", try_again=True)


def read_video(
    path: Path,
    segment_length: float,
    num_frames: int,
    size: int,
    sampling: Sampling = DEFAULT_SAMPLING,
    threads: int | None = None,
) -> Iterator[Message]:
    """All there is to know of a video, for `decode_ahead`: runs in a worker. Raises UnreadableVideo and OSError."""
    content = fingerprint(path)
    info = media_probe.probe(path)
    segments = split_segments(info.duration, segment_length)
    yield Opened(path, content, info, segments)
    clips = video.read_clips(path, segments, num_frames, size, sampling, threads)
    lengths = [segment.end - segment.start for segment in segments]
    off = 0.0
    while True:
        try:
            frames, times = next(clips)
        except StopIteration as ended:
            until: float | None = ended.value
            break
        if sampling != "exact":
            wanted = sample_times(segments[len(segments) - len(lengths)], num_frames)
            off = max(off, float(np.abs(times - wanted).max()))
        yield Clip(path, lengths.pop(0), frames, times)
    if len(lengths) == len(segments):
        raise UnreadableVideo("is damaged: nothing but its first frame can be decoded")
    if off:
        log.info("%s: frames lie up to %.2f seconds from the times wanted", path, off)
    yield Done(path, until, round(off, 3))


def _run(
    worker: Worker, longest: float, function: Callable[..., Iterable[T]], path: Path, *arguments: object
) -> Generator[T]:
    """What `function` yields, run in the worker with the patience that the file and its longest segment deserve.

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


def read_clips(path: Path, segments: Sequence[Segment], num_frames: int, size: int) -> Generator[npt.NDArray[np.uint8]]:
    """The frames of video.read_clips, in a worker: (T, S, S, 3) for each segment. Raises UnreadableVideo as `probe`."""
    longest = max((segment.end - segment.start for segment in segments), default=0.0)
    with closing(_run_once(video.read_clips, path, segments, num_frames, size, longest=longest)) as samples:
        for frames, _ in samples:
            yield frames


def read_picture(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """As video.read_picture, in a worker: (S, S, 3). Raises UnreadableVideo, as `probe` does."""
    return _first(_run_once(_read_picture, path, size))


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


def _read_picture(path: Path, size: int) -> Iterator[npt.NDArray[np.uint8]]:
    yield video.read_picture(path, size)
