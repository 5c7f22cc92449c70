"""The program: `vidfind`, and `python -m vidfind`. Ends quietly when it is interrupted, at whatever moment.

Until everything is imported, which takes a third of a second, Ctrl-C ends the process at once. So this module imports
nothing that Python has not loaded already: even `signal` takes long enough for a Ctrl-C.
"""

import _signal  # type: ignore[import-not-found]
import atexit
import os
import sys
import time

BEGAN = time.monotonic()
INTERRUPTED = 130  # errors.ExitCode.INTERRUPTED


def _leave(*_: object) -> None:
    """Ends the process at once: nothing is open yet, or everything is done."""
    os._exit(INTERRUPTED)


_listens = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler  # nohup, for instance, has it ignored
if _listens:
    _signal.signal(_signal.SIGINT, _leave)
_stopped_by: list[int] = []


def _stop(number: int, _: object) -> None:
    """Ends a command as Ctrl-C does, so that what is done is kept; the next such signal ends the process at once."""
    _signal.signal(number, _signal.SIG_DFL)
    _stopped_by.append(number)
    from vidfind.errors import Terminated

    raise Terminated


_codes: list[int] = []


def _end_at_once() -> None:
    """Ends the process with its exit code, and does not take apart what was imported: with PyTorch, half a second."""
    from contextlib import suppress

    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it is closed, or nobody reads it
            stream.flush()
    if _codes:
        os._exit(_codes[0])


def main() -> None:
    """Runs the program."""
    atexit.register(_end_at_once)  # before all others, so that it is called when they are done
    try:
        _run()
    except SystemExit as ending:
        if isinstance(ending.code, int):
            _codes.append(ending.code)
        raise


def _run() -> None:
    try:
        from vidfind.cli.app import main as run
        from vidfind.system.imports import quicken_torch

        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(_signal, name, None)  # Windows has no SIGHUP
            if number is not None and _signal.getsignal(number) == _signal.SIG_DFL:
                _signal.signal(number, _stop)
        if _listens:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        quicken_torch()
        run(BEGAN)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        if _listens:
            _signal.signal(_signal.SIGINT, _leave)
        for number in _stopped_by:  # whoever sent it sees that it worked
            _signal.signal(number, _signal.SIG_DFL)
            _signal.raise_signal(number)


if __name__ == "__main__":
    main()
