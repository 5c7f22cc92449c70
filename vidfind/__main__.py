"""The program: `vidfind`, and `python -m vidfind`. Ends quietly when it is interrupted, at whatever moment.

Imports nothing before it is ready for Ctrl-C, which may come while everything else is imported.
"""

import os
import signal
import sys
import time
from types import FrameType

BEGAN = time.monotonic()
INTERRUPTED = 130  # errors.ExitCode.INTERRUPTED
STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _leave(*_: object) -> None:
    """Ends the process at once: nothing is open yet, or everything is done."""
    os._exit(INTERRUPTED)


def _stop(number: int, frame: FrameType | None) -> None:
    """Ends a command as Ctrl-C does, so that what is done is kept; the next such signal ends the process at once."""
    signal.signal(number, signal.SIG_DFL)
    _stopped_by.append(number)
    from vidfind.errors import Terminated

    raise Terminated


_stopped_by: list[int] = []


def main() -> None:
    """Runs the program."""
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # it is ignored below nohup, for instance
    if listens:
        signal.signal(signal.SIGINT, _leave)
    try:
        from vidfind.cli.app import main as run

        for number in STOPPING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _stop)
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run(BEGAN)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        if listens:
            signal.signal(signal.SIGINT, _leave)
        for number in _stopped_by:  # whoever sent it sees that it worked
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


if __name__ == "__main__":
    main()
