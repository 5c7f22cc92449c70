"""Errors a user can act on, and how the program ends. A message says which file or setting, what was wrong, what to do.

VidfindError
├── UnreadableVideo    a file that cannot be decoded; the run goes on without it
│   └── DecoderLost    decoding it crashed, hung or took too much memory
├── ModelUnavailable   a model, checkpoint or adapter that cannot be found or loaded
├── UnsupportedModel   a model whose image tower vidfind cannot drive
├── IndexNotFound      no index of that name
├── IndexMismatch      an index made with other settings than those asked for
├── IndexDamaged       an index whose files cannot be read as they should
├── IndexBusy          an index that another process is writing to
├── BrokenInstallation a library that vidfind needs and that cannot be imported
├── ClusterError       a cluster that cannot be joined, or none of whose nodes can encode
├── StorageError       a disk that is full, or a folder that may not be read or written
└── BadInput           a query, option or path that makes no sense
    ├── Unusable       a list, an index or an option of which nothing can be used
    ├── BadPairs       a file of captions with lines that cannot be used
    └── DeviceMissing  a device for the model that this machine does not have
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The exit codes of the program."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    """A command line that makes no sense."""
    SOME_FAILED = 3
    """Done, but some videos could not be indexed, which is news or concerns a file that was named; or listed files are
    not there; or videos were not removed without a confirmation."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


class Terminated(KeyboardInterrupt):
    """The system asks the program to end (SIGTERM, SIGHUP). It ends as with Ctrl-C, also where that has another use."""


class VidfindError(Exception):
    """An error that the user sees as one line on stderr, with exit code 1."""

    def __init__(self, message: str, reason: str = "") -> None:
        """`reason` says what is wrong, without advice; by default it is the whole message."""
        super().__init__(message)
        self.reason = reason or message


@dataclass(frozen=True)
class Problem:
    """A broken thing, and what mends it, in words for users."""

    text: str
    remedy: str
    mend: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    """Does what `remedy` says, and returns what was done; None where only the user can do it."""


class UnreadableVideo(VidfindError):
    """A file that is not a video vidfind can decode. `str(error)` is the reason alone, without the path."""


class DecoderLost(UnreadableVideo):
    """The process that decoded the file ended, hung or took too much memory, and was replaced."""


class ModelUnavailable(VidfindError):
    """A model, checkpoint or adapter that is not there, cannot be fetched or does not load."""


class UnsupportedModel(VidfindError):
    """A model that loads, but whose image tower is not a plain vision transformer."""


class IndexNotFound(VidfindError):
    """There is no index of that name."""


class ReaderFailed(VidfindError):
    """One way of reading a video has failed, where there is a more careful one; the message follows its name."""


class IndexMismatch(VidfindError):
    """The index was made with another model, encoder, adapter or segment length."""


class IndexDamaged(VidfindError):
    """The index is there, but its files are not as they should be."""


class IndexBusy(VidfindError):
    """Another process is writing to the index."""


class BrokenInstallation(VidfindError):
    """A library that vidfind needs is missing, or cannot be imported."""


class ClusterError(VidfindError):
    """A cluster cannot be joined, or none of its nodes can encode."""


class StorageError(VidfindError):
    """A folder of vidfind's own cannot be read or written: no room, no rights, a failing disk."""


class BadInput(VidfindError):
    """A query, option or path that cannot be used."""


class Unusable(BadInput):
    """A list, an index or an option of which nothing can be used; the program ends as for a wrong command line."""


class BadPairs(BadInput):
    """A file of captions with lines that cannot be used; `bad` holds all of them (pairs.BadLine)."""

    def __init__(self, message: str, bad: Sequence[Any]) -> None:
        super().__init__(message)
        self.bad = bad


class DeviceMissing(BadInput):
    """A device for the model that this machine, or its PyTorch, does not have."""
