"""How the program ends when it is interrupted, at whatever moment, and when its streams are closed or full."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import program

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and closed streams are others there")
INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal({number})
sys.meta_path.insert(0, Interrupting())
from vidfind.__main__ import main
sys.argv = ["vidfind", "models"]
main()
"""


@pytest.mark.parametrize("module", ["vidfind.cli.app", "pydantic", "rich"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)]
)
def test_a_command_that_is_interrupted_while_it_imports_says_nothing(module: str, number: int, code: int) -> None:
    script = INTERRUPTED.format(module=module, number=int(number))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    script = INTERRUPTED.format(module="rich", number=int(signal.SIGINT)).replace("default_int_handler", "SIG_IGN")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "vidfind", "models"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert closed != "2>&-" or "ViT-B-32" in done.stdout


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False), ({}, False)],
    ids=["forced", "both", "neither"],
)
def test_colours_in_a_pipe_are_only_those_that_are_forced(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_coloured: bool
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out, _ = program("models").communicate()
    assert ("\x1b[3" in out) == is_coloured
    assert "\tlaion2b_s34b_b79k\t605 MB\t" in re.sub(r"\x1b\[[\d;]*m", "", out)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"]], ids=" ".join)
def test_a_full_disk_for_the_output_is_an_error_of_one_sentence(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        process = program(*arguments, stdout=full)
        _, err = process.communicate()
    assert (process.returncode, err) == (1, "Error: The output cannot be written: No space left on device.\n")


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere such a folder cannot be deleted, or is found all the same"
)
def test_a_current_folder_that_was_deleted_is_named(tmp_path: Path) -> None:
    command = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    words = ["sh", "-c", command, "sh", sys.executable, "-c", "from vidfind.__main__ import main; main()"]
    done = subprocess.run([*words, "index", "."], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The current folder is not there any more.")
    assert done.stderr.count("\n") == 1
