"""The program as a process: terminals, Ctrl-C, and readers that leave early, as head does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import program
from tests.support.ran import Run


def test_verbose_says_on_stderr_what_is_done(indexed_home: Path, films: Path) -> None:
    process = program("index", films, "-v", home=indexed_home)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, "4 unchanged.\n")
    assert "4 videos found, 0 to encode" in err


@pytest.mark.skipif(os.name == "nt", reason="there are no such terminals there")
def test_a_terminal_sees_what_is_going_on_and_stdout_stays_clean(
    indexed_home: Path, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, its = os.openpty()
    process = program("index", films, home=indexed_home, stderr=its)
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # so a terminal ends when nobody writes to it any more
        while part := os.read(ours, 1000):
            shown += part
    os.close(ours)
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, "4 unchanged.\n")
    assert b"Opening the index" in shown
    assert shown.endswith((b"\x1b[2K", b"\x1b[?25h", b"\x1b[1A\x1b[2K"))  # wiped away, with the cursor back


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(run: Run, indexed: Path, films: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so its children
    process = program("-v", "index", "--force", films, home=indexed)
    assert process.stderr
    while "to encode" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "with --force, the next run begins anew" in err
    assert "Traceback" not in err
    ran = run("index", films)
    assert (ran.code, ran.out) == (0, "4 unchanged.\n")


@pytest.mark.skipif(os.name == "nt", reason="there are no such terminals there")
@pytest.mark.parametrize(
    ("words", "is_told"), [(["index", "--force"], True), (["search", "star"], False)], ids=["hangup", "gone"]
)
def test_a_terminal_that_closes_ends_the_program_and_loses_nothing(
    run: Run, indexed: Path, films: Path, words: list[str], is_told: bool
) -> None:
    """With a terminal of its own, a program gets SIGHUP; otherwise only what it writes fails."""
    ours, its = os.openpty()
    code = (
        "import fcntl, os, sys, termios\n"
        "if sys.argv.pop(1) == 'True': os.setsid(); fcntl.ioctl(2, termios.TIOCSCTTY, 0)\n"
        "from vidfind.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, str(is_told), *words, *([str(films)] if is_told else [])]
    environment = {**os.environ, "VIDFIND_HOME": str(indexed), "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    assert os.read(ours, 1)  # it has begun
    os.close(ours)
    assert process.wait(60) == (-signal.SIGHUP if is_told else 1)
    assert run("index", films).out == "4 unchanged.\n"


no_windows_pipes = pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise there")


def run_unread(*arguments: object, home: Path, with_errors: bool = False) -> tuple[int, list[str]]:
    """The exit code, and the complaints on stderr, of a command whose output has no reader from the start."""
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": writing, "stderr": writing if with_errors else subprocess.PIPE}
    process = program(*arguments, home=home, **streams)
    os.close(writing)
    _, err = process.communicate()
    complaints = [line for line in (err or "").splitlines() if re.search("Traceback|Exception|Error|[Bb]roken", line)]
    return process.returncode, complaints


@no_windows_pipes
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["models"],
        ["status"],
        ["search", "circle"],
        ["search", "circle", "--paths"],
        ["search", "circle", "--json"],
        pytest.param(["encoders", "--model", "tiny"], marks=pytest.mark.soak),  # it measures for 20 seconds
        ["adapters", "--json"],
    ],
    ids=" ".join,
)
def test_a_reader_that_leaves_early_is_no_error(arguments: list[str], indexed_home: Path) -> None:
    assert run_unread(*arguments, home=indexed_home) == (0, [])


@no_windows_pipes
def test_exit_codes_stay_what_they_are(tmp_path: Path) -> None:
    assert run_unread("status", home=tmp_path, with_errors=True) == (1, [])
    assert run_unread("search", "--nonsense", home=tmp_path, with_errors=True) == (2, [])


@no_windows_pipes
@pytest.mark.parametrize("with_errors", [False, True], ids=["stdout", "both"])
def test_an_index_becomes_whole_without_a_reader(run: Run, with_errors: bool, films: Path, tmp_path: Path) -> None:
    command = ["-v", "index", films, "--model", "tiny", "--device", "cpu", "--json"]
    assert run_unread(*command, home=tmp_path / "home", with_errors=with_errors) == (0, [])
    assert re.search(r"^Videos +4 *$", run("status").out, re.MULTILINE)


@no_windows_pipes
def test_a_watch_ends_when_nobody_reads_on(films: Path, tmp_path: Path) -> None:
    assert run_unread("index", films, "--model", "tiny", "--watch", "--json", home=tmp_path)[0] == 0
