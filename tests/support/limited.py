"""Runs commands of vidfind one after another, in one process that is not allowed what they need.

    python tests/support/limited.py LIMIT COMMAND...

LIMIT is `rights` (root does without the right to write everywhere) or a number: bytes that a file may have, which is a
full disk wherever there is something longer to be written. Prints a line of JSON for each command.
"""

import ctypes
import io
import json
import os
import resource
import shlex
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def main(limit: str, *commands: str) -> None:
    if limit == "rights" and sys.platform == "linux" and not os.environ.get("VIDFIND_LIMITED"):
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused to others than root, who do not have it
        os.environ["VIDFIND_LIMITED"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])  # what is dropped is gone from the next program on
    from vidfind.cli.app import main as vidfind

    for command in commands:
        if limit != "rights":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
        sys.argv = ["vidfind", *shlex.split(command)]
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        code: object = None
        with redirect_stdout(out), redirect_stderr(err):
            try:
                vidfind()
            except SystemExit as ended:
                code = ended.code
        said = {}
        for name, stream in (("out", out), ("err", err)):
            stream.seek(0)
            said[name] = stream.read()
        print(json.dumps({"code": code or 0, **said}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
