"""Videos decoded ahead of the encoder: threads that read files, and a bounded queue of clips.

Knows nothing of encoders or the index. Memory is bounded by the queue, not by the collection.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidfind.errors import UnreadableVideo
from vidfind.files import fingerprint
from vidfind.video import Segment, VideoInfo, probe, read_clips, split_segments

CLIPS_A_BATCH = 8
# 1.8 MB each (12 frames of 224 x 224): some 60 MB whatever the collection.
CLIPS_WAITING = 32
# A decoder uses about two cores by itself; more than four only contend for the disk.
DECODERS = max(1, min(4, (os.cpu_count() or 1) // 2))
# Seconds a decoder gets to end when it is no longer needed; one that hangs in a file is left behind.
PATIENCE = 3.0
# Waits are cut into pieces this long (seconds), so that Ctrl-C and the end of the run are noticed.
TICK = 0.2


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


@dataclass(frozen=True)
class Done:
    path: Path


@dataclass(frozen=True)
class Failed:
    """`try_again`: the disk or the rights were at fault, not what is in the file."""

    path: Path
    reason: str
    try_again: bool


Message = Opened | Clip | Done | Failed


class _Stopped(Exception):
    """Nobody wants more messages."""


def decode_ahead(paths: Sequence[Path], segment_length: float, num_frames: int, size: int) -> Generator[list[Message]]:
    """Reads videos in threads; yields what they say until all are done, in batches of at most CLIPS_A_BATCH clips.

    A batch is what is there already: full when the encoder is the slower side, short when decoding is. Messages of
    one video are in order, those of several are mixed. Close the generator to stop early."""
    todo: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for path in paths:
        todo.put(path)
    messages: queue.Queue[Message | Exception] = queue.Queue(CLIPS_WAITING)
    stop = threading.Event()

    def say(message: Message | Exception) -> None:
        while not stop.is_set():
            try:
                return messages.put(message, timeout=TICK)
            except queue.Full:
                pass
        raise _Stopped

    def decode() -> None:
        try:
            while not stop.is_set():
                _decode_video(todo.get_nowait(), segment_length, num_frames, size, say)
        except (queue.Empty, _Stopped):
            pass
        except Exception as error:  # a bug: raised again in the caller's thread, which would wait forever otherwise
            with suppress(_Stopped):
                say(error)

    threads = [threading.Thread(target=decode, name="decode", daemon=True) for _ in range(min(DECODERS, len(paths)))]
    for thread in threads:
        thread.start()
    unfinished = len(paths)
    try:
        while unfinished:
            batch = _take_batch(messages)
            unfinished -= sum(isinstance(message, Done | Failed) for message in batch)
            if batch:
                yield batch
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


def _take_batch(messages: queue.Queue[Message | Exception]) -> list[Message]:
    """What is in the queue, until it makes a batch of clips; empty only after a while with nothing."""
    batch: list[Message] = []
    clips = 0
    try:
        while clips < CLIPS_A_BATCH:
            message = messages.get_nowait() if batch else messages.get(timeout=TICK)
            if isinstance(message, Exception):
                raise message
            batch.append(message)
            clips += isinstance(message, Clip)
    except queue.Empty:
        pass
    return batch


def _decode_video(
    path: Path, segment_length: float, num_frames: int, size: int, say: Callable[[Message], None]
) -> None:
    try:
        content = fingerprint(path)
        info = probe(path)
        segments = split_segments(info.duration, segment_length)
        say(Opened(path, content, info, segments))
        for segment, frames in zip(segments, read_clips(path, segments, num_frames, size), strict=False):
            say(Clip(path, segment.end - segment.start, frames))
        say(Done(path))
    except UnreadableVideo as error:
        say(Failed(path, str(error), try_again=False))
    except OSError as error:
        say(Failed(path, f"cannot be read: {error.strerror or error}", try_again=True))
