"""The program in a process of its own, or in this one, and its output as objects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def program(*arguments: object, home: Path | None = None, **options: Any) -> subprocess.Popen[str]:
    """Starts vidfind in a process of its own, with a home that is nowhere by default."""
    environment = {**os.environ, "VIDFIND_HOME": str(home or "/nowhere")}
    command = [sys.executable, "-m", "vidfind", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, text=True, **{**pipes, **options})


def run_here(home: Path, *arguments: object) -> None:
    """Runs a command of vidfind in this process, for fixtures of a module or a session: it must succeed."""
    from vidfind.cli.app import main

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setenv("VIDFIND_HOME", str(home))
        patch.setattr(sys, "argv", ["vidfind", *map(str, arguments)])
        main()
    assert not ended.value.code


def objects(text: str) -> list[dict[str, Any]]:
    """One object for each line of JSON."""
    return [json.loads(line) for line in text.splitlines()]
