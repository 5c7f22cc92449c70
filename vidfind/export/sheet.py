"""Contact sheets: the pictures of moments with what is known of each, as one picture or one page.

A page holds everything that it shows, and fetches nothing.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.errors import BadInput
from vidfind.export.names import new_file
from vidfind.system.storage import storage_errors

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

MOST_DRAWN = 1000
"""Moments in a sheet that is a picture: some 80 million pixels."""
PAGES = frozenset({".html", ".htm"})
DRAWINGS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


@dataclass(frozen=True)
class Card:
    """A moment on a sheet, in texts without control characters."""

    name: str
    """The name of the file, without its folder."""
    folder: str
    moment: str
    match: str
    note: str = ""
    """Anything else to say, such as `offline`."""
    rank: int = 0
    link: str = ""
    """The address of the moment in its file, for a page."""


def check_sheet(file: Path) -> None:
    """Raises BadInput for a file that no sheet can be."""
    if file.suffix.lower() not in PAGES | DRAWINGS.keys():
        raise BadInput(f"{file} is no name of a sheet: let it end in .html, .jpg or .png.")


def write_sheet(file: Path, title: str, cards: Sequence[Card], pictures: Iterable[bytes | str]) -> Path:
    """Writes a sheet, and returns its path: another if there is a file already. `pictures` are the JPEG of each card,
    or the reason why there is none.

    Raises BadInput for more cards than a picture can show, and StorageError if the folder cannot be written to."""
    check_sheet(file)
    if file.suffix.lower() in DRAWINGS and len(cards) > MOST_DRAWN:
        raise BadInput(f"A picture holds {MOST_DRAWN:,} moments at most, not {len(cards):,}: write a page, .html.")
    with new_file(file) as (part, placed), storage_errors(part.parent):
        if form := DRAWINGS.get(file.suffix.lower()):
            draw_sheet(title, cards, pictures).save(part, form, quality=88)
        else:
            with open(part, "w", encoding="utf-8", newline="\n") as page:
                page.writelines(page_of(title, cards, pictures))
    return placed[0]


# Pages ----------------------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6370; --paper: #fafafa; --card: #fff; --edge: #e3e5e8;
  --box: #e9ebee }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #9aa0a6; --paper: #17181a; --card: #202124; --edge: #33363b;
    --box: #000 }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem; max-width: 100rem; color: var(--ink); background: var(--paper);
  font: 15px/1.45 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.4rem; overflow-wrap: anywhere }
p { margin: .25rem 0 1.5rem; color: var(--soft) }
ol { display: grid; gap: 1rem; margin: 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)) }
li { overflow: hidden; border: 1px solid var(--edge); border-radius: .6rem; background: var(--card) }
.picture { position: relative; display: grid; place-items: center; aspect-ratio: 16 / 9; padding: 0 1rem;
  color: var(--soft); background: var(--box); font-style: italic; text-align: center }
.picture img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain }
a.picture:focus-visible { outline: 3px solid #3b82f6; outline-offset: -3px }
dl { display: grid; grid-template-columns: auto auto 1fr; gap: .1rem .7rem; margin: 0; padding: .6rem .75rem .75rem }
dt { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
dd { margin: 0; font-variant-numeric: tabular-nums }
.rank { font-weight: 600 }
.moment { text-align: right; color: var(--soft) }
.name, .folder, .note { grid-column: 1 / -1; overflow-wrap: anywhere }
.folder, .note { color: var(--soft); font-size: .85em }
@media print { body { padding: 0; background: none } li { break-inside: avoid } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page_of(title: str, cards: Sequence[Card], pictures: Iterable[bytes | str]) -> Iterator[str]:
    """Yields the parts of a page."""
    heading = html.escape(title or "Moments")
    count = f"{len(cards):,} moment{'' if len(cards) == 1 else 's'}"
    yield (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{heading}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{heading}</h1>\n<p>{count}, found by vidfind</p>\n<ol>\n"
    )
    for card, picture in zip(cards, pictures, strict=True):
        yield f"<li>\n{_pictured(card, picture)}\n<dl>\n{''.join(_facts(card))}</dl>\n</li>\n"
    yield "</ol>\n</main>\n</body>\n</html>\n"


def _pictured(card: Card, picture: bytes | str) -> str:
    """Returns the picture of a card, as a link to its moment."""
    if isinstance(picture, bytes):
        data = base64.b64encode(picture).decode()
        inside = f'<img alt="{html.escape(card.name)}, {card.moment}" src="data:image/jpeg;base64,{data}">'
    else:
        inside = f"<span>{html.escape(picture)}</span>"
    if not card.link:
        return f'<div class="picture">{inside}</div>'
    return f'<a class="picture" href="{html.escape(card.link)}">{inside}</a>'


def _facts(card: Card) -> Iterator[str]:
    facts = {
        "rank": str(card.rank),
        "match": card.match,
        "moment": card.moment,
        "name": card.name,
        "folder": card.folder,
        "note": card.note,
    }
    for name, fact in facts.items():
        if fact:
            yield f'<dt>{name.title()}</dt><dd class="{name}" dir="auto">{html.escape(fact)}</dd>\n'


# Pictures -------------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 320, 180  # pixels of the box of a picture
LINE = 20  # pixels
GAP = 16
PAPER, INK, SOFT, BOX = "#fafafa", "#1c1e21", "#5c6370", "#e9ebee"
# The first that is there and has most letters of a text: those of the systems for the scripts of the world.
FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "segoeui.ttf",
    "Helvetica.ttc",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "Nirmala.ttc",
    "seguiemj.ttf",
)


def draw_sheet(title: str, cards: Sequence[Card], pictures: Iterable[bytes | str]) -> Image.Image:
    """Returns a sheet that is about as high as wide."""
    from PIL import Image, ImageDraw

    columns = max(1, min(len(cards), max(4, math.ceil(math.sqrt(len(cards))))))
    rows = math.ceil(len(cards) / columns)
    top, high, wide = 3 * LINE, HEIGHT + 4 * LINE, WIDTH + GAP
    sheet = Image.new("RGB", (GAP + columns * wide, top + rows * (high + GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (GAP, LINE - 4), title or "Moments", INK, sheet.width - 2 * GAP, 20)
    for number, (card, picture) in enumerate(zip(cards, pictures, strict=True)):
        x, y = GAP + number % columns * wide, top + number // columns * (high + GAP)
        pen.rectangle((x, y, x + WIDTH - 1, y + HEIGHT - 1), BOX)
        if isinstance(picture, bytes):
            small = Image.open(io.BytesIO(picture))
            small.thumbnail((WIDTH, HEIGHT))
            sheet.paste(small, (x + (WIDTH - small.width) // 2, y + (HEIGHT - small.height) // 2))
        else:
            _write(pen, (x + GAP, y + HEIGHT // 2 - 8), picture, SOFT, WIDTH - 2 * GAP)
        first = "   ".join(text for text in (str(card.rank), card.match, card.moment, card.note) if text)
        for line, (text, colour) in enumerate([(first, INK), (card.name, INK), (card.folder, SOFT)]):
            _write(pen, (x, y + HEIGHT + 6 + line * LINE), text, colour, WIDTH)
    return sheet


def _write(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, colour: str, width: int, size: int = 14
) -> None:
    """Writes a line; what does not fit into so many pixels is left out of its middle."""
    font = _font_for(text, size)
    kept = len(text)
    shown = text
    while kept > 1 and font.getlength(shown) > width:
        kept = min(kept - 1, int(kept * width / font.getlength(shown)))
        shown = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
    pen.text(place, shown, colour, font)


def _font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Returns the font that has most letters of a text."""
    letters = frozenset(text) - {" "}
    return max(_fonts(size), key=lambda font: sum(_has(font, letter) for letter in letters))


@cache
def _fonts(size: int) -> list[ImageFont.FreeTypeFont]:
    from PIL import ImageFont

    found = []
    for name in FONTS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    own = ImageFont.load_default(size)  # for systems without any of them
    return [*found, own] if isinstance(own, ImageFont.FreeTypeFont) else found


@cache
def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether a font has a letter: it draws it in another way than one that no font has."""
    return bytes(font.getmask(letter)) != bytes(font.getmask("\U0010ffff"))
