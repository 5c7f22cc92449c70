"""Every command line that a message of vidfind names."""

from __future__ import annotations

from pathlib import Path

from vidfind.system.paths import DEFAULT_INDEX


def index_option(path: Path) -> str:
    """What a command needs to mean the index at `path`."""
    return "" if path.name == DEFAULT_INDEX else f" --index {path.name}"


def delete_command(path: Path) -> str:
    return f"vidfind remove --all{index_option(path)}"


def adapter_command(path: Path, adapter: str | None) -> str:
    """The command that encodes the index at `path` again with another adapter, or goes on with that."""
    return f"vidfind index --adapter {adapter or 'none'}{index_option(path)}"
