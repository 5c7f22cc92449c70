"""Runs a program in a separate process and measures seconds, CPU seconds, and the memory of it and its children.

Knows nothing of the programs. Memory is resident memory in bytes, sampled every few hundredths of a second.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from vidfind.errors import VidfindError

log = logging.getLogger(__name__)

SECONDS_A_LOOK = 0.05


@dataclass(frozen=True)
class Measured:
    """The cost of a run: `memory` is the peak of all processes together, `largest` that of the largest one.

    `processor` are the seconds that cores worked for it and its children: other programs hardly change them."""

    output: str
    seconds: float
    processor: float
    memory: int
    largest: int


class ProgramFailed(VidfindError):
    """A measured program ended with an error."""


def run_python(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Runs this Python with `arguments`, without its stderr on the screen. Raises ProgramFailed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(environment or {})},
        )
        peaks = _Peaks(child.pid)
        try:
            code = child.wait()
            seconds = time.monotonic() - began
        except BaseException:
            child.terminate()
            child.wait()
            raise
        finally:
            peaks.stop()
        out.seek(0)
        err.seek(0)
        if code:
            said = err.read().strip()
            log.debug("%s ended with %d:\n%s", " ".join(arguments[:3]), code, said)
            last = said.splitlines()[-1] if said else f"its process ended with {code}"
            raise ProgramFailed(f"It could not be measured: {last.removeprefix('Error: ')}")
        return Measured(out.read(), seconds, peaks.processor, peaks.all, peaks.largest)


class _Peaks:
    """Samples the memory of a process and its children, in a thread, until it is stopped."""

    def __init__(self, pid: int) -> None:
        self.all, self.largest = 0, 0
        self._processor: dict[int, float] = {}  # by process id
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=[pid], name="memory", daemon=True)
        self._thread.start()

    @property
    def processor(self) -> float:
        return sum(self._processor.values())

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self, pid: int) -> None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            while not self._stopped.wait(SECONDS_A_LOOK):
                sizes = []
                for one in [process, *process.children(recursive=True)]:
                    with suppress(psutil.Error):
                        sizes.append(one.memory_info().rss)
                        self._processor[one.pid] = sum(one.cpu_times()[:2])
                self.all, self.largest = max(self.all, sum(sizes)), max(self.largest, *sizes, 0)
