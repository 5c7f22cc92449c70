"""The beginning of fine-tuning and evaluation: the index, if there is one, and the pairs of a file of captions."""

from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.store.places.path import index_path
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.store.store import Store
    from vidfind.training.pairs import Pair


def store_if_any(index_name: str) -> "Store | None":
    """Returns the index, if there is one. Raises IndexNotFound for a missing one that was named."""
    from vidfind.store.settings import is_index
    from vidfind.store.store import Store

    path = index_path(index_name)
    return Store.open(path) if index_name != paths.DEFAULT_INDEX or is_index(path) else None


def read_good_pairs(path: Path, skip_bad: bool) -> "list[Pair]":
    """Returns the pairs of a file of captions; shows all bad lines, which are an error unless they are ignored."""
    from vidfind.display.training import show_bad_lines
    from vidfind.training.pairs import read_pairs, require_good

    pairs, bad = read_pairs(path)
    show_bad_lines(path, bad)
    if not skip_bad:
        require_good(path, bad)
    return pairs
