"""Pictures in the terminal: as pixels where it shows them, as half blocks of colour elsewhere.

Kitty shows pixels, and terminals that know Sixel, such as iTerm2, WezTerm, foot and Windows Terminal.
"""

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from vidfind.display.console import is_screen, results
from vidfind.display.search import how_well, linked, mark_of
from vidfind.display.text import short_paths, span

if TYPE_CHECKING:
    from vidfind.search.moments import Moment

NARROWEST = 24  # cells of a picture: a table of 80 has three in a row
GAP = 2  # cells between two pictures
CELL = 2.0  # height divided by width of a cell
FLATTEST = 16 / 9  # width divided by height of the box that pictures are fitted into


def why_no_pictures() -> str:
    """Returns why the terminal of the results shows no pictures, as a sentence; empty if it does."""
    if not is_screen(results):
        return "Pictures are shown only in a terminal. For a file of them: --sheet FILE."
    if results.is_dumb_terminal:
        return "This terminal shows no pictures (TERM is dumb). For a file of them: --sheet FILE."
    has_colours = results.color_system not in (None, "standard", "windows") and not results.no_color
    if has_colours or shows_pixels():
        return ""
    cause = "NO_COLOR is set" if results.no_color else "it has too few colours"
    return f"This terminal shows no pictures: {cause}. For a file of them: --sheet FILE."


def shows_pixels() -> bool:
    """Whether the terminal shows pixels; it is asked once."""
    library = _library()
    return library.Image in (library.SixelImage, library.TGPImage)


def _library() -> Any:
    """Returns textual-image, which asks the terminal when it is first imported, and reads the answer from stdin."""
    if sys.stdin is not None and sys.stdin.isatty():
        import textual_image.renderable as library
    else:  # otherwise it would take a part of a query for the answer
        stdin, vars(sys)["__stdin__"] = sys.__stdin__, None
        try:
            import textual_image.renderable as library
        finally:
            vars(sys)["__stdin__"] = stdin
    return library


def show_pictures(moments: Sequence["Moment"], pictures: Iterable[bytes | str]) -> None:
    """Shows the picture of each moment, with its rank, match, time and file below, as soon as each row is there.

    `pictures` are the JPEG of each moment, or the reason why there is none."""
    for row in picture_rows(moments, pictures, results.width, _library().Image):
        results.print(row)


def picture_of(picture: bytes | str, width: int) -> RenderableType:
    """Returns a JPEG in a box of so many cells, or the reason why there is none, for this terminal."""
    return _fitted(picture, width, _library().Image)


def picture_rows(
    moments: Sequence["Moment"], pictures: Iterable[bytes | str], width: int, draw: Callable[..., RenderableType]
) -> Iterator[RenderableType]:
    """Yields rows of pictures and captions, at most `width` cells wide. `draw` makes a renderable of a PIL image."""
    count = max(1, (width + GAP) // (NARROWEST + GAP))
    each = (width + GAP) // count - GAP
    captions = _captions(moments, each)
    rest = iter(pictures)
    for start in range(0, len(moments), count):
        below = captions[start : start + count]
        yield _row([_fitted(next(rest), each, draw) for _ in below], each)
        yield _row(below, each)
        yield Text("")


def _row(cells: Sequence[RenderableType], width: int) -> Table:
    table = Table.grid(padding=(0, GAP, 0, 0))
    for _ in cells:
        table.add_column(width=width, overflow="fold")
    table.add_row(*cells)
    return table


def _captions(moments: Sequence["Moment"], width: int) -> list[Text]:
    names = short_paths([moment.path for moment in moments], width)
    captions = []
    for moment, fit in zip(moments, how_well(moments), strict=True):
        place = span(moment.start, moment.end)
        first = Text.assemble((str(moment.rank), "bold"), "  ", (fit, "cyan"), "  ", (place, "green"))
        lines = [first, linked(names[moment.path], moment.path), Text(mark_of(moment).plain.strip(), style="dim")]
        captions.append(Text("\n").join(line for line in lines if line.plain))
    return captions


def _fitted(picture: bytes | str, width: int, draw: Callable[..., RenderableType]) -> RenderableType:
    """Returns a picture in a box of so many cells, or the reason why there is none."""
    if isinstance(picture, str):
        return Text(picture, style="dim italic")
    from PIL import Image

    image = Image.open(io.BytesIO(picture))
    if image.width >= FLATTEST * image.height:
        return draw(image, width=width, height="auto")
    return draw(image, width="auto", height=max(1, round(width / FLATTEST / CELL)))
