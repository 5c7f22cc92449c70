"""Runs work that may crash, hang or use too much memory in separate processes; they are reused, and replaced if lost.

A `Worker` runs one generator function at a time and yields what it yields. Knows nothing of videos.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import psutil

from vidfind.commands import doctor_command
from vidfind.errors import DecoderLost, VidfindError

T = TypeVar("T")
log = logging.getLogger("vidfind")  # the logger of all modules: a worker's log is repeated here

# Seconds; a wait is cut into pieces of this length, so that too much memory is noticed this soon.
TICK = 0.2
# The imports of a worker take half a second; on a machine that swaps, much longer.
START_SECONDS = 120.0
# An 8K film of 10 bits with all its reference frames takes 3 GB.
MAX_MEMORY = min(4 * 2**30, psutil.virtual_memory().total // 2)
# A worker that has grown this large between two files leaks memory; it is replaced before a file is lost.
MAX_IDLE_MEMORY = 2**30
NOISE = 300  # characters of the worker's last output that are kept with the reason of a failure


@dataclass(frozen=True)
class _Log:
    level: int
    text: str


class _End:
    """The function has yielded everything."""


@dataclass(frozen=True)
class _Raised:
    error: Exception


class Worker:
    """A process that runs one generator function after another. It starts when first needed, and again after a loss."""

    def __init__(self, imports: str = "") -> None:
        """`imports`: the name of a module that the process imports as soon as it is there, before it is asked for."""
        self._imports = imports
        self._starting = threading.Lock()
        self._process: BaseProcess | None = None
        self._connection: Connection[Any, Any]
        self._printed: int | None = None  # descriptor of the file that its libraries print to

    def run(self, function: Callable[..., Iterable[T]], *arguments: object, seconds: float) -> Generator[T]:
        """Yields what `function` yields in the worker. It must be importable by name, and its arguments picklable.

        Errors of the function are raised here. Raises DecoderLost if the process ends, needs more than MAX_MEMORY, or
        yields nothing for `seconds`; time in which this process or the machine was stopped does not count. Raises
        VidfindError if no process can be started. Closing the generator early ends the process."""
        self.start()
        assert self._printed is not None
        os.ftruncate(self._printed, 0)
        is_done = False
        try:
            self._connection.send((function, arguments, log.getEffectiveLevel(), _current_folder()))
            while True:
                message = self._receive(seconds)
                if isinstance(message, _End | _Raised):
                    is_done = True
                    break
                yield message
        except OSError as error:  # of the pipe: the process was gone before the request
            raise self._loss() from error
        finally:
            if not is_done or self._memory() > MAX_IDLE_MEMORY:
                self.end()
        if isinstance(message, _Raised):
            raise message.error

    def start(self) -> None:
        """Starts the process, if there is none. Raises VidfindError if that fails."""
        with self._starting:
            if self._process is None:
                self._start()

    def noise(self) -> str:
        """Returns the end of what libraries have printed in the worker since the last `run` began."""
        if self._printed is None:
            return ""
        size = os.lseek(self._printed, 0, os.SEEK_END)
        os.lseek(self._printed, max(0, size - 4 * NOISE), os.SEEK_SET)
        text = os.read(self._printed, 4 * NOISE).decode(errors="replace")
        return " ".join(text.split())[-NOISE:]

    @property
    def pid(self) -> int | None:
        """The process id; None while there is no process."""
        return self._process.pid if self._process else None

    def end(self) -> None:
        """Ends the process, whatever it is doing; the next `run` starts another."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.join(1.0)  # one that waits for a dead network share cannot be killed, and is left behind

    def _start(self) -> None:
        spawning = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._connection, theirs = spawning.Pipe()
        if self._printed is not None:
            os.close(self._printed)
        self._printed, printed = tempfile.mkstemp(prefix="vidfind-")
        process = spawning.Process(target=_serve, args=(theirs, printed, self._imports), name="decode", daemon=True)
        with _no_interrupt():
            process.start()
        theirs.close()
        self._process = process
        try:
            self._receive(START_SECONDS)
        except DecoderLost as error:  # no file is the cause of it
            raise VidfindError(
                f"The process that decodes videos does not start. Check: {doctor_command()} "
                "(A Python program that calls vidfind must do so under `if __name__ == '__main__':`, as that process "
                "imports it again.)"
            ) from error
        finally:
            with suppress(OSError):  # Windows: not while it is open
                os.unlink(printed)

    def _receive(self, seconds: float) -> Any:
        waited = 0.0
        while waited < seconds:
            if self._process is None:
                raise DecoderLost("was given up: its process was ended")
            if self._memory() > MAX_MEMORY:
                self.end()
                raise DecoderLost(f"needs more than {MAX_MEMORY / 2**30:.0f} GB of memory to be decoded")
            before = time.monotonic()
            try:
                if self._connection.poll(TICK):
                    message = self._connection.recv()
                    if not isinstance(message, _Log):
                        return message
                    log.log(message.level, message.text)
            except (EOFError, OSError) as error:
                raise self._loss() from error
            waited += min(time.monotonic() - before, 2 * TICK)  # a longer wait was Ctrl-Z, or a closed laptop
        self.end()
        raise DecoderLost(f"cannot be decoded: nothing came of it in {seconds:.0f} seconds")

    def _memory(self) -> int:
        with suppress(psutil.Error, TypeError):  # no such process any more
            return int(psutil.Process(self.pid).memory_info().rss) if self.pid else 0
        return 0

    def _loss(self) -> DecoderLost:
        """Returns the reason why the process has ended, and forgets the process."""
        process, self._process = self._process, None
        code = None
        if process:
            process.join(TICK)
            code = process.exitcode
            process.kill()
        name = signal.Signals(-code).name if code and code < 0 and -code in set(signal.Signals) else f"exit code {code}"
        return DecoderLost(f"makes its decoder crash ({name})")


_idle: list[Worker] = []


def start_ahead(count: int, imports: str) -> None:
    """Starts `count` workers of the pool, if it has none, while this process does other things, such as imports.

    They import the module `imports`, as a `Worker` does. Whoever borrows one meanwhile waits until it is there."""
    if not _idle:
        for worker in [Worker(imports) for _ in range(count)]:
            threading.Thread(target=_start_quietly, args=[worker], name="start", daemon=True).start()
            _idle.append(worker)


def _start_quietly(worker: Worker) -> None:
    with suppress(Exception):  # raised again when the worker is needed
        worker.start()


@contextmanager
def borrow_worker() -> Iterator[Worker]:
    """Lends a worker of the pool, which grows as needed and lives as long as this process."""
    worker = _idle.pop() if _idle else Worker()
    try:
        yield worker
    finally:
        _idle.append(worker)


def _current_folder() -> str | None:
    """The folder that relative paths begin at; None if it was deleted."""
    with suppress(OSError):
        return os.getcwd()
    return None


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hides Ctrl-C from processes that are started inside: their parent receives it, and ends them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the worker --------------------------------------------------------------------------------------------------------


def _serve(connection: Connection[Any, Any], printed: str, imports: str) -> None:
    """Runs requests until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":  # the terminal was closed: the parent ends this process when it is ready
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    descriptor = os.open(printed, os.O_WRONLY | os.O_APPEND)
    with suppress(OSError):  # as in the parent, which may have been killed meanwhile
        os.unlink(printed)
    for stream in (1, 2):  # what C libraries print must not reach the user's screen, nor a pipe of results
        os.dup2(descriptor, stream)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log.handlers = [_LogToParent(connection)]
    log.propagate = False
    connection.send(None)  # ready
    with suppress(Exception):  # raised again when it is asked for
        importlib.import_module(imports)
    with suppress(EOFError, OSError):
        while True:
            function, arguments, level, folder = connection.recv()
            log.setLevel(level)
            if folder and folder != _current_folder():  # paths may be relative to where the parent is now
                with suppress(OSError):
                    os.chdir(folder)
            connection.send(_answer(connection, function, arguments))


def _answer(connection: Connection[Any, Any], function: Callable[..., Iterable[Any]], arguments: Any) -> _End | _Raised:
    try:
        for item in function(*arguments):
            connection.send(item)
    except BrokenPipeError:
        raise
    except Exception as error:
        if not isinstance(error, VidfindError | OSError):
            log.debug("In a worker:", exc_info=True)
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # exceptions of libraries may fail in any way when they are pickled
            return _Raised(RuntimeError(f"{type(error).__name__}: {error}"))
        return _Raised(error)
    return _End()


class _LogToParent(logging.Handler):
    def __init__(self, connection: Connection[Any, Any]) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else ""
        for text in (
            record.getMessage(),
            *trace.splitlines(),
        ):  # file names may contain line ends, but a message is one line
            self._connection.send(_Log(record.levelno, text))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
