"""What a shell completes, through the real program as shells call it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.heavy import HEAVY

SCRIPT = """
import os, sys
from vidfind.cli.app import main
for line in sys.stdin.read().splitlines():
    os.environ |= {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_VIDFIND_COMPLETE": "complete_bash"}
    sys.argv = ["vidfind"]
    try:
        main()
    except SystemExit:
        print("--")
print(*(sys.modules.keys() & HEAVY))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two indexes and an adapter, as far as their names go."""
    for name in ("films", "holidays"):
        (tmp_path / "indexes" / name).mkdir(parents=True)
        (tmp_path / "indexes" / name / "settings.json").touch()
    (tmp_path / "indexes" / "no-index").mkdir()
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "home.safetensors").touch()
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    program = str(Path(sys.executable).parent)
    return {**os.environ, "VIDFIND_HOME": str(home), "PATH": f"{program}{os.pathsep}{os.environ['PATH']}"}


def test_names_are_completed_without_importing_anything_heavy(home: Path) -> None:
    expected = {
        "vidfind rel": ["relink"],
        "vidfind search --index ": ["films", "holidays"],
        "vidfind doctor --index f": ["films"],
        "vidfind index --encoder temp": ["tempme", "tempme-fast"],
        "vidfind index --adapter ": ["home", "none"],
        "vidfind adapters show h": ["home"],
        "vidfind adapters remove h": ["home"],
        "vidfind index --model ViT-L": ["ViT-L-14"],
        "vidfind index --model ViT-B-16 --pretrained l": ["laion2b_s34b_b88k"],
        "vidfind eval --compare mean,tom": ["mean,tome"],
        "vidfind eval --compare h": ["home"],
    }
    script = f"HEAVY = {set(HEAVY)!r}\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input="\n".join(expected),
        capture_output=True,
        text=True,
        env=environment(home),
        check=True,
    )
    *answers, heavy = done.stdout.split("--\n")
    assert [answer.split() for answer in answers] == list(expected.values())
    assert heavy.strip() == ""
    assert done.stderr == ""


@pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="there is no bash")
def test_bash_completes_with_the_script_that_the_program_prints(home: Path) -> None:
    script = """
        source <(vidfind --show-completion bash)
        COMP_WORDS=(vidfind search --index fi) COMP_CWORD=3
        $(complete -p vidfind | sed 's/.*-F \\([^ ]*\\).*/\\1/') vidfind
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**environment(home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert (done.stdout, done.stderr) == ("films\n", "")
