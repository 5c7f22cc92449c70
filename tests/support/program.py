"""The program in a process of its own, and its output as objects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def program(*arguments: object, home: Path | None = None, **options: Any) -> subprocess.Popen[str]:
    """Starts vidfind in a process of its own, with a home that is nowhere by default."""
    environment = {**os.environ, "VIDFIND_HOME": str(home or "/nowhere")}
    command = [sys.executable, "-m", "vidfind", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, text=True, **{**pipes, **options})


def objects(text: str) -> list[dict[str, Any]]:
    """One object for each line of JSON."""
    return [json.loads(line) for line in text.splitlines()]
