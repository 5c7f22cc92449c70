"""What `--pictures` and `--sheet` add to an answer: a picture of each moment, in the terminal and in a file."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
