"""Numbers as short texts, for messages of every package."""

import math


def file_size(size: int) -> str:
    """A size in bytes for people, as 605 MB.

    >>> file_size(604_000_000), file_size(1_710_517_724)
    ('604 MB', '1.7 GB')
    """
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{math.ceil(size / 1e3)} kB"


def plural(count: int, noun: str, several: str = "") -> str:
    """A number of things: `1 video`, `1,234 videos`; `several` is a plural that ends otherwise, as in `2 copies`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {several or f'{noun}s'}"
