"""Pictures of the moments of an answer: `--pictures` in the terminal, `--sheet` in a file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidfind.export.sheet import Card
    from vidfind.search.moments import Moment


def can_show_pictures() -> bool:
    """Whether the terminal shows pictures; says why if not."""
    from vidfind.display import console
    from vidfind.display.pictures import why_no_pictures

    if reason := why_no_pictures():
        console.message(reason)
    return not reason


def show_with_pictures(moments: "Sequence[Moment]", query: str | None) -> None:
    """Shows moments with pictures, or as a table where the terminal shows none. `query` is for the table."""
    from vidfind.display.pictures import show_pictures
    from vidfind.display.search import show_moments

    if can_show_pictures():
        show_pictures(moments, pictures_of(moments))
    else:
        show_moments(moments, query)


def pictures_of(moments: "Sequence[Moment]") -> Iterator[bytes | str]:
    """Yields a JPEG of each moment, or the reason why there is none."""
    from vidfind.pictures.cache import PictureCache
    from vidfind.pictures.thumbnail import shot_of

    shots = [shot_of(one.path, one.fingerprint, one.start, one.end, one.best, one.online) for one in moments]
    return PictureCache().pictures(shots)


def save_sheet(moments: "Sequence[Moment]", title: str, file: Path) -> None:
    """Writes a sheet of moments, and says where it is. Raises BadInput and StorageError, as `write_sheet` does."""
    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.text import plural, printable
    from vidfind.export.sheet import write_sheet

    with Activity("Making a sheet"):
        written = write_sheet(file, printable(title), cards_of(moments), pictures_of(moments))
    console.message(f"{plural(len(moments), 'moment')} in {written}")


def cards_of(moments: "Sequence[Moment]") -> "list[Card]":
    """Returns what a sheet says of each moment."""
    from vidfind.display.search import how_well, mark_of
    from vidfind.display.text import home_path, printable, span
    from vidfind.export.sheet import Card

    return [
        Card(
            name=printable(one.path.name),
            folder=home_path(one.path.parent),
            moment=span(one.start, one.end),
            match=fit,
            note=mark_of(one).plain.strip(),
            rank=one.rank,
            link=f"{one.path.absolute().as_uri()}#t={one.start:.2f},{one.end:.2f}",
        )
        for one, fit in zip(moments, how_well(moments), strict=True)
    ]
