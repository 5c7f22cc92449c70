"""Drives as the system lists them, without mounting any."""

from __future__ import annotations

from pathlib import Path

import pytest


def set_mounts(monkeypatch: pytest.MonkeyPatch, *points: Path) -> None:
    """Lets the system say that drives are mounted at `points`, and at the root of all."""
    monkeypatch.setattr("vidfind.system.mounts.read_mounts", lambda: dict.fromkeys((Path("/"), *points), ""))
