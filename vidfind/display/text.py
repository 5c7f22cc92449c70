"""Values as short texts for people: sizes, lengths, moments, paths. Writes nothing to a screen."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from rich.cells import cell_len

from vidfind.system.text import file_size as file_size
from vidfind.system.text import plural as plural
from vidfind.system.times import clock

# Text


def printable(text: object) -> str:
    """Returns `text` on one line, without anything that a terminal would execute.

    >>> printable("a\\x1b[31m\\nb")
    'a\\\\x1b[31m\\\\nb'
    """
    return "".join(map(_escape, str(text)))


def _escape(char: str) -> str:
    # Cc, Cf: controls and marks that turn text around; Cs: halves of a letter; Zl, Zp: line breaks.
    # The two joiners are needed to write Persian, and emoji of several people.
    if "\udc80" <= char <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\u200c\u200d":
        return char.encode("unicode_escape", "surrogatepass").decode("ascii")
    return char


def span(start: float, end: float) -> str:
    """Returns a moment as `1:23-1:33`; even a very short one gets a length."""
    return f"{clock(start)}-{clock(max(int(start) + 1, round(end)))}"


def footage(seconds: float) -> str:
    """Returns a length in words, because `1:30` could be hours or minutes."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"


def times_real(speed: float) -> str:
    return f"{speed:.1f}x real time" if speed < 10 else f"{speed:,.0f}x real time"


def gflops(flops: int) -> str:
    """Returns billions of operations, with at least two digits.

    >>> gflops(105_811_476_480), gflops(535_058_256)
    ('105.8', '0.54')
    """
    return f"{flops / 1e9:,.1f}" if flops >= 1e9 else f"{flops / 1e9:.2f}"


def milliseconds(seconds: float) -> str:
    """Returns seconds as milliseconds, with at least two digits.

    >>> milliseconds(0.4213), milliseconds(0.00632)
    ('421', '6.3')
    """
    return f"{1000 * seconds:,.0f}" if seconds >= 0.01 else f"{1000 * seconds:.1f}"


def short_paths(paths: Iterable[Path], width: int, taken: Mapping[Path, int] | None = None) -> dict[Path, str]:
    """Shortens each path to at most `width` cells, from the left, at a folder; no two results are equal.

    `taken` is the number of these cells that a path must leave free. A result is longer than `width` if the name of the
    file is, or if a shorter text would fit two of the paths.

    >>> short_paths([Path("/films/summer/a.mp4")], 16)
    {PosixPath('/films/summer/a.mp4'): '…/summer/a.mp4'}
    """
    distinct = set(paths)
    tails = Counter(path.parts[start:] for path in distinct for start in range(len(path.parts)))
    return {path: _short_path(path, width - (taken or {}).get(path, 0), tails) for path in distinct}


def _short_path(path: Path, width: int, tails: Counter[tuple[str, ...]]) -> str:
    shortest = near_path(path)
    for start in range(1, len(path.parts)):
        if cell_len(shortest) <= width or tails[path.parts[start:]] > 1:
            break
        shortest = min(shortest, printable(os.sep.join(("…", *path.parts[start:]))), key=cell_len)
    return shortest


def near_path(path: Path) -> str:
    """Returns a path inside the current folder as it is written there, any other as `home_path` does."""
    shown = home_path(path)
    with suppress(OSError, ValueError):  # the current folder is deleted, or not above the path
        shown = min(shown, printable(path.relative_to(Path.cwd())), key=cell_len)
    return shown


def home_path(path: Path) -> str:
    """Returns the whole path, with `~` for the user's home folder."""
    home = Path(os.path.expanduser("~"))
    inside = path.is_relative_to(home) and path != home
    return printable(os.path.join("~", path.relative_to(home)) if inside else path)
