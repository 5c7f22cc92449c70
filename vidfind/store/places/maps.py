"""Where folders of shared indexes are on this machine: OLD=NEW, kept in the settings of each user.

An index holds the paths of the machine that indexed. With a map every command shows, opens and takes the paths of this
machine, and stores those of the other. Paths are text here, of either kind of system.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from vidfind.errors import BadInput
from vidfind.system.paths import home
from vidfind.system.storage import storage_errors, write_text

MAPS_FILE = "maps.json"
WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_known: dict[str | None, dict[str, str]] = {}
"""The maps by the value of VIDFIND_HOME: they are read once."""


def read_maps() -> dict[str, str]:
    """Returns the folders of this machine by those that indexes hold; none if the file is missing or damaged."""
    key = os.environ.get("VIDFIND_HOME")
    if key not in _known:
        try:
            values = json.loads((home() / MAPS_FILE).read_text(encoding="utf-8"))
            _known[key] = {str(old): str(new) for old, new in values.items()}
        except (OSError, ValueError, AttributeError, BadInput):
            _known[key] = {}
    return _known[key]


def keep_map(text: str) -> None:
    """Keeps a map given as OLD=NEW from now on, in place of any of OLD; `OLD=` forgets it.

    Raises BadInput for what is no map, StorageError."""
    old, _, new = text.partition("=")
    old = old.rstrip("/\\") or old
    if not (old.startswith("/") or WINDOWS.match(f"{old}\\")):
        raise BadInput(f"{text!r} is no map: give OLD=NEW, where OLD is the whole path of a folder in the index.")
    maps = {one: other for one, other in read_maps().items() if one != old}
    if new:
        local = os.path.abspath(os.path.expanduser(new))
        if local == old:
            raise BadInput(f"{text!r} maps a folder to itself.")
        maps[old] = local
    with storage_errors(home()):
        home().mkdir(parents=True, exist_ok=True)
    write_text(home() / MAPS_FILE, json.dumps(maps, indent=2) + "\n")
    _known.clear()


def local_path(stored: str) -> Path:
    """Returns the path on this machine of a path as an index holds it."""
    for old, new in read_maps().items():
        separators = "\\/" if _is_windows(old) else "/"
        if stored.startswith(old) and stored[len(old) : len(old) + 1] in ("", *separators):
            return Path(new, *filter(None, re.split(f"[{re.escape(separators)}]", stored[len(old) :])))
    return Path(stored)


def stored_path(path: Path) -> str:
    """Returns a path of this machine as an index holds it: what `local_path` makes the path of."""
    for old, new in read_maps().items():
        if path.is_relative_to(new):
            separator = "\\" if _is_windows(old) else "/"
            return separator.join([old.rstrip(separator), *path.relative_to(new).parts])
    return os.fspath(path)


def _is_windows(path: str) -> bool:
    return bool(WINDOWS.match(f"{path}\\"))
