"""What goes wrong in decoders, for workers to run: real crashes, hangs and hunger, by the name of the file."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until
from vidfind.errors import UnreadableVideo
from vidfind.media import messages


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.write(2, b"[h264 @ 0x55] corrupted size vs. prev_size\n")
    os.abort()


def leave() -> None:
    os._exit(7)


def hang() -> None:
    time.sleep(1000)


def spin() -> None:
    while True:
        pass


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def eat() -> None:
    """Takes 2 GiB of memory and keeps it: more than it may have, and no more than a machine can spare."""
    eaten = []
    for _ in range(2**7):
        eaten.append(bytearray(os.urandom(1)) * 2**24)
        time.sleep(0.01)
    time.sleep(1000)


def io_error() -> None:
    raise OSError(errno.EIO, "Input/output error")


def deceive() -> None:
    raise IndexError("list index out of range")


FAULTS: dict[str, Callable[[], None]] = {
    function.__name__: function for function in (segfault, abort, leave, hang, spin, stop, eat, io_error, deceive)
}


def read_video(path: Path, *arguments: Any) -> Iterator[messages.Message]:
    """As messages.read_video, but for files called after a fault: `hang.mp4` at once, `late-hang.mp4` after a clip."""
    late, _, name = path.stem.rpartition("-")
    fault = FAULTS.get(name)
    if fault and not late:
        fault()
    for message in messages.read_video(path, *arguments):
        yield message
        if fault and isinstance(message, messages.Clip):
            fault()


def read_video_on_device(path: Path, *arguments: Any) -> Iterator[messages.Message]:
    """As messages.read_video, but the driver of every device crashes after a clip. The last argument is the device."""
    *others, device = arguments
    for message in messages.read_video(path, *others):
        yield message
        if device and isinstance(message, messages.Clip):
            segfault()


def read_badly(fault: str, *_: object) -> Iterator[object]:
    """A reader with a fault; it is here because a worker imports the module that it is in."""
    FAULTS[fault]()
    yield None


# For test_worker.py


def count(until: int) -> Iterator[tuple[int, int]]:
    for number in range(until):
        yield os.getpid(), number


def fail(name: str) -> Iterator[int]:
    yield 1
    FAULTS[name]()


def print_much() -> Iterator[int]:
    print("to stdout", flush=True)
    os.write(2, b"x" * 100_000 + b"\nlast\x1b[31m words\n")
    yield 1


def grow(size: int) -> Iterator[int]:
    grown = bytearray(os.urandom(1)) * size
    sys.modules["grown"] = grown  # type: ignore[assignment]  # kept, as a leak is
    yield os.getpid()


def work(begun: str, go: str) -> Iterator[str]:
    """Makes a file, and says something once there is another."""
    Path(begun).touch()
    wait_until(Path(go).exists)
    yield "done"


class Unpicklable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def refuse(kind: str) -> Iterator[int]:
    yield 1
    if kind == "unreadable":
        raise UnreadableVideo("is damaged")
    if kind == "forbidden":
        raise PermissionError(13, "Permission denied", "a.mp4")
    raise Unpicklable(1, 2)
