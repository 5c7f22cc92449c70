"""Where indexes, models and adapters live.

Order of precedence, first found wins:

1. `VIDFIND_HOME`: everything below this folder.
2. The platform's user data folder (platformdirs).

Model weights that open_clip downloads stay in the Hugging Face cache (`HF_HOME`), where other programs share them.
"""

import os
import re
from pathlib import Path

from vidfind.commands import DEFAULT_INDEX as DEFAULT_INDEX
from vidfind.commands import NO_ADAPTER as NO_ADAPTER
from vidfind.errors import BadInput


def home() -> Path:
    """Returns the folder that holds all data of vidfind. Raises BadInput if it cannot be known."""
    if override := os.environ.get("VIDFIND_HOME"):
        folder = Path(os.path.expanduser(override))
        if folder.parts[0].startswith("~"):
            raise BadInput(f"VIDFIND_HOME is {override}, and there is no such user. Set it to a folder.")
        if folder.is_file():
            raise BadInput(f"VIDFIND_HOME is {override}, which is a file. Set it to a folder.")
        return folder
    return default_home()


def default_home() -> Path:
    """Returns the folder that holds all data of vidfind without VIDFIND_HOME. Raises BadInput if there is none."""
    from platformdirs import user_data_path  # takes a few ms, and is not needed with VIDFIND_HOME

    folder = user_data_path("vidfind", appauthor=False)
    if folder.parts[0].startswith("~"):
        raise BadInput("You have no home folder here. Set VIDFIND_HOME to a folder for what vidfind stores.")
    return folder


def has_current_folder() -> bool:
    """Returns False if the folder in which the program was started has been deleted."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def footage_path() -> Path:
    """Returns the folder of the drawn videos of `vidfind bench`: a cache that may be deleted at any time."""
    return _cache() / "bench-videos"


def pictures_path() -> Path:
    """Returns the folder of small pictures of moments: a cache that may be deleted at any time."""
    return _cache() / "pictures"


def int8_towers_path() -> Path:
    """Returns the folder of image towers in 8-bit integers: a cache that may be deleted at any time."""
    return _cache() / "int8-towers"


def remote_indexes_path() -> Path:
    """Returns the folder for copies of indexes in object storage: a cache that may be deleted at any time."""
    return _cache() / "remote-indexes"


def cluster_path() -> Path:
    """Returns the folder of weights and adapters that a cluster has brought: a cache, which may be deleted."""
    return _cache() / "cluster"


def _cache() -> Path:
    if os.environ.get("VIDFIND_HOME"):
        return home()
    from platformdirs import user_cache_path

    return user_cache_path("vidfind", appauthor=False)


def index_path(name: str = DEFAULT_INDEX) -> Path:
    """Returns the folder of the index called `name`. Raises BadInput for a name that is not a plain word."""
    return home() / "indexes" / plain_name(name, "index")


def adapter_path(name: str) -> Path:
    """Returns the file of the adapter called `name`. Raises BadInput if the name is no plain word, or is `none`."""
    if name.lower() == NO_ADAPTER:
        raise BadInput(f"{name!r} cannot name an adapter: it stands for none.")
    return home() / "adapters" / f"{plain_name(name, 'adapter')}.safetensors"


def plain_name(name: str, kind: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", name):
        raise BadInput(f"{name!r} cannot name an {kind}: use letters, digits, '.', '_' and '-', 64 characters at most.")
    return name
