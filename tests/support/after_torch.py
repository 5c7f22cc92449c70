"""A process that has imported PyTorch, and forks a child for each piece of code: the import takes seconds, a fork none.

Run by itself, it reads a piece of code a line, as JSON, on stdin, and answers with what the child has printed and its
exit code. Where there is no fork, each piece of code gets a new Python that imports PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeAlias

RunAfterTorch: TypeAlias = Callable[[str], str]
"""Returns what a piece of code prints that is run in a process in which nothing but PyTorch is imported."""
IMPORT = "import torch\n"


@contextmanager
def starting() -> Iterator[RunAfterTorch]:
    if os.name == "nt":
        yield lambda code: checked(*in_new_process(IMPORT + code))
        return
    command = [sys.executable, "-m", "tests.support.after_torch"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        asking, telling = process.stdin, process.stdout
        assert asking and telling

        def run(code: str) -> str:
            print(json.dumps(code), file=asking, flush=True)
            return checked(*json.loads(telling.readline()))

        yield run
        asking.close()


def checked(printed: str, exit_code: int) -> str:
    assert exit_code == 0, printed
    return printed.strip()


def in_new_process(code: str) -> tuple[str, int]:
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    return ran.stdout, ran.returncode


def main() -> None:
    exec(IMPORT, {})
    for line in sys.stdin:
        print(json.dumps(in_child(json.loads(line))), flush=True)


def in_child(code: str) -> tuple[str, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        run_child(code, writing)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as printed:
        text = printed.read()
    _, status = os.waitpid(child, 0)
    return text, os.waitstatus_to_exitcode(status)


def run_child(code: str, writing: int) -> NoReturn:
    os.dup2(writing, 1)
    exit_code = 0
    try:
        exec(code, {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        exit_code = 1
    sys.stdout.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
