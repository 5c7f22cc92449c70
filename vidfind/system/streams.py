"""Standard output and error of the program, which outlive their reader: `vidfind demo | head -1` makes the whole index.

Knows nothing of what is written.
"""

from __future__ import annotations

import errno
import io
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

READER_LEFT = {errno.EPIPE, errno.EINVAL} if sys.platform == "win32" else {errno.EPIPE}


class _Output(io.FileIO):
    """A file descriptor to write to. What is written after its reader has left is dropped."""

    has_reader = True

    def write(self, data: ReadableBuffer) -> int:
        if self.has_reader:
            try:
                return super().write(data)
            except OSError as error:
                if error.errno not in READER_LEFT:
                    raise
                self.has_reader = False
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Lets standard output and error outlive their readers, and print what their encoding lacks as escapes."""
    for name in ("stdout", "stderr"):
        stream = cast("io.TextIOWrapper | None", getattr(sys, name))
        if stream is None:  # closed by the caller
            continue
        raw = _raw(stream)
        if isinstance(raw, io.FileIO) and not isinstance(raw, _Output) and not raw.isatty():
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
