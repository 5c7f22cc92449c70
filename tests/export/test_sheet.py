"""Contact sheets show each moment with what is known of it, and hold everything that they show."""

from __future__ import annotations

import base64
import io
import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.corners import draw_corners, read_corners
from vidfind.errors import BadInput, StorageError
from vidfind.export.sheet import BOX, HEIGHT, MOST_DRAWN, WIDTH, Card, check_sheet, draw_sheet, write_sheet
from vidfind.pictures.thumbnail import to_jpeg

WIDE, TALL = to_jpeg(draw_corners(320, 180)), to_jpeg(draw_corners(180, 320))
NASTY = "<script>alert(1)</script> & \"quotes\" 'single' </li> 日本語 🐕 &amp;.mp4"


def card(rank: int, name: str = "dog.mp4", **fields: str) -> Card:
    return Card(name, "~/Videos", "1:23-1:33", "87 %", rank=rank, **fields)


class Page(HTMLParser):
    """The elements of a page, and the texts in each kind of them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


def test_a_page_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    cards = [card(1, link="file:///dog.mp4#t=83.00,93.00"), card(2, note="offline")]
    page = Page(write_sheet(tmp_path / "sheet.html", "a dog", cards, [WIDE, "is offline"]))
    assert not page.open
    names = [name for name, _ in page.elements]
    assert not {"script", "link", "iframe", "object", "base"} & set(names) and names.count("li") == 2
    [source] = [values["src"] for name, values in page.elements if name == "img"]
    assert source and base64.b64decode(source.removeprefix("data:image/jpeg;base64,")) == WIDE
    assert [values["href"] for name, values in page.elements if name == "a"] == ["file:///dog.mp4#t=83.00,93.00"]
    assert "url(" not in page.texts["style"][0] and "prefers-color-scheme: dark" in page.texts["style"][0]
    [policy] = [values["content"] for _, values in page.elements if values.get("http-equiv")]
    assert policy and policy.startswith("default-src 'none'; img-src data:;")
    assert page.texts["dd"][:5] == ["1", "87 %", "1:23-1:33", "dog.mp4", "~/Videos"]
    assert page.texts["dd"][-1] == "offline" and page.texts["span"] == ["is offline"]
    assert page.texts["h1"] == page.texts["title"] == ["a dog"]


def test_names_are_only_text_on_a_page(tmp_path: Path) -> None:
    cards = [Card(NASTY, NASTY, "0:00-0:10", NASTY, NASTY, 1, f'file:///{NASTY}"')]
    page = Page(write_sheet(tmp_path / "sheet.html", NASTY, cards, [WIDE]))
    assert not page.open and not any(name == "script" for name, _ in page.elements)
    assert page.texts["h1"] == [NASTY] and page.texts["dd"].count(NASTY) == 4
    alt = next(values["alt"] for name, values in page.elements if name == "img")
    assert alt == f"{NASTY}, 0:00-0:10"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPEG"])
def test_a_drawn_sheet_shows_all_of_each_picture(suffix: str, tmp_path: Path) -> None:
    written = write_sheet(tmp_path / f"sheet{suffix}", "a dog", [card(1), card(2), card(3)], [WIDE, TALL, "gone"])
    with Image.open(written) as image:
        assert image.format == ("PNG" if suffix == ".png" else "JPEG")
        sheet = np.asarray(image.convert("RGB"))
    boxes = [sheet[60 : 60 + HEIGHT, 16 + (WIDTH + 16) * number :][:, :WIDTH] for number in range(3)]
    assert read_corners(boxes[0]) == "RGBW"
    wide = HEIGHT * 180 // 320
    assert read_corners(boxes[1][:, (WIDTH - wide) // 2 :][:, :wide]) == "RGBW"
    grey = np.array(Image.new("RGB", (1, 1), BOX))[0, 0].astype(int)
    assert np.abs(boxes[1][:, 0].astype(int) - grey).max() < 12
    assert np.abs(boxes[2].astype(int) - grey).max() > 60  # words


def test_a_text_is_cut_to_its_picture_and_odd_letters_are_drawn() -> None:
    names = [NASTY * 5, "a" * 300, "\u200b", "", "नमस्ते", "\U0010ffff"]
    sheet = np.asarray(draw_sheet(NASTY * 9, [card(9, name) for name in names], [WIDE] * len(names)))
    gaps = [sheet[60:, 16 + WIDTH + (WIDTH + 16) * number :][:, :16] for number in range(3)]
    assert all((gap == sheet[0, 0]).all() for gap in gaps)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (20, 5, 4)])
def test_a_drawn_sheet_is_about_as_high_as_wide(count: int, columns: int, rows: int) -> None:
    sheet = draw_sheet("", [card(1)] * count, ["gone"] * count)
    assert sheet.size == (16 + columns * (WIDTH + 16), 60 + rows * (HEIGHT + 80 + 16))


def test_no_file_is_overwritten_and_none_is_half(tmp_path: Path) -> None:
    file = tmp_path / "new" / "sheet.html"
    assert [write_sheet(file, "", [card(1)], [WIDE]).name for _ in range(2)] == ["sheet.html", "sheet (2).html"]

    def stopped() -> object:
        yield WIDE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sheet(file, "", [card(1), card(2)], stopped())  # type: ignore[arg-type]
    assert sorted(os.listdir(file.parent)) == ["sheet (2).html", "sheet.html"]


@pytest.mark.parametrize("name", ["sheet", "sheet.pdf", "sheet.html.gz", ".html", ""])
def test_other_kinds_of_files_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match=r"let it end in \.html, \.jpg or \.png"):
        check_sheet(Path(name))


def test_a_sheet_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="1,000 moments at most, not 1,001"):
        write_sheet(tmp_path / "sheet.jpg", "", [card(1)] * (MOST_DRAWN + 1), [])
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written to"):
        write_sheet(tmp_path / "file" / "sheet.jpg", "", [card(1)], [WIDE])


def test_a_single_moment_is_one(tmp_path: Path) -> None:
    assert "1 moment, " in write_sheet(tmp_path / "a.htm", "", [card(1)], [io.BytesIO(TALL).read()]).read_text()
