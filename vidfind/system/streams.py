"""Standard output and error of the program, which outlive their reader: `vidfind demo | head -1` makes the whole index.

Knows nothing of what is written.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from vidfind.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

READER_LEFT = {errno.EPIPE, errno.EINVAL} if sys.platform == "win32" else {errno.EPIPE}
STDERR = 2


class _Output(io.FileIO):
    """A file descriptor to write to. What is written after its reader has left is dropped.

    So is what comes after another failure, such as a full disk; that of standard output is raised as StorageError."""

    has_reader = True
    is_lost = False

    def write(self, data: ReadableBuffer) -> int:
        if not self.is_lost:
            try:
                return super().write(data)
            except OSError as error:
                self.is_lost = True
                if error.errno in READER_LEFT or self.isatty():  # a terminal that was closed
                    self.has_reader = False
                elif self.fileno() != STDERR:
                    raise StorageError(f"The output cannot be written: {error.strerror}.") from error
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Lets standard output and error outlive their readers, and print what their encoding lacks as escapes.

    Streams that the caller has closed are read as empty, and what is written to them is dropped."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            free = os.open(os.devnull, os.O_RDWR)  # its number is that of the stream, and of no file opened later
            setattr(sys, name, os.fdopen(free, mode, encoding="utf-8", closefd=False))
    for name in ("stdout", "stderr"):
        stream = cast("io.TextIOWrapper", getattr(sys, name))
        raw = _raw(stream)
        if isinstance(raw, io.FileIO) and not isinstance(raw, _Output):
            output = _Output(raw.fileno(), "w", closefd=False)
            buffer = output if raw is stream.buffer else io.BufferedWriter(output)  # as PYTHONUNBUFFERED says
            lines, through = stream.line_buffering, stream.write_through
            stream = io.TextIOWrapper(buffer, stream.encoding, line_buffering=lines, write_through=through)
            setattr(sys, name, stream)
        stream.reconfigure(errors="backslashreplace")  # a terminal that has no "…"


def has_reader() -> bool:
    """Whether standard output and error both had readers when something was last written to them."""
    return all(raw.has_reader for raw in map(_raw, (sys.stdout, sys.stderr)) if isinstance(raw, _Output))


def _raw(stream: Any) -> Any:
    """The lowest layer of a stream: an `io.FileIO` where a file, pipe or terminal is below it."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)
