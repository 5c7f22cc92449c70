"""The page of `vidfind web`, as somebody uses it in a real Chromium."""

from __future__ import annotations

import csv
import io
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect, sync_playwright

from tests.support.browser import AVI, FILM, GONE, ODD_NAME, launch, make_library, served
from tests.support.page import TOKEN, make_index
from tests.support.players import noting_player
from tests.support.waiting import wait_until
from vidfind.cli.web import read_query
from vidfind.encoders.encoder import Encoder
from vidfind.pictures.cache import PictureCache
from vidfind.search.searcher import Searcher
from vidfind.store.places.progress import noting_run
from vidfind.web.app import opened_app

QUERY = "a blue star"
PATIENCE = 60_000  # milliseconds; only a busy machine takes more than some hundred
WIDE, NARROW = {"width": 1200, "height": 700}, {"width": 400, "height": 700}
Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here: to start it takes a second."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE)
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def library(browser: Browser, tmp_path_factory: pytest.TempPathFactory, clips: Path, tiny_encoder: Encoder) -> Path:
    """The folder of the videos; made only if there is a browser to look at them."""
    return make_library(tmp_path_factory.mktemp("page"), clips, tiny_encoder)


@pytest.fixture(scope="module")
def address(library: Path, tiny_encoder: Encoder) -> Iterator[str]:
    """The address of the page, with the token."""
    with page_at(library.parent, tiny_encoder) as address:
        yield address


@contextmanager
def page_at(home: Path, encoder: Encoder) -> Iterator[str]:
    """Yields the address of the page for the index in a folder, where it also keeps its pictures."""
    searcher, pictures = Searcher(home / "index", lambda choice: encoder), PictureCache(home / "pictures")
    with opened_app(searcher, read_query, TOKEN, pictures=pictures) as app, served(app) as base:
        yield f"{base}{TOKEN}/"


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Opened]:
    """Opens the page, with a question and as the options of a browser's context say; no script of it may fail."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def opened(question: str = "", base: str = address, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Policy" in said.text else None)
        page.goto(base + question)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def cards(page: Page) -> Locator:
    return page.locator(".card:not(.empty)")


def card_of(page: Page, name: str) -> Locator:
    return cards(page).filter(has=page.get_by_title(name, exact=False).filter(has_text=name)).first


def plays(video: Locator) -> None:
    """Waits until frames come."""
    wait_until(lambda: video.evaluate("video => !video.paused && video.currentTime > 0 && video.videoWidth > 0"))


def test_moments_come_as_one_types_and_play_when_pointed_at(opened: Opened) -> None:
    page = opened()
    expect(page.get_by_role("heading", name="What do you remember?")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type(QUERY)
    expect(page.locator("#count")).to_contain_text("moments, the best matches by")
    expect(page.locator(".card img.there").first).to_be_visible()
    assert "q=a+blue+star" in page.url
    for name, source in ((FILM, "video/"), (AVI, "play/")):  # as it is, and converted on the way
        card_of(page, name).hover()
        plays(page.locator(".card video"))
        assert source in str(page.locator(".card video").get_attribute("src"))
    page.get_by_role("searchbox").hover()
    expect(page.locator(".card video")).to_have_count(0)


def test_an_old_answer_never_comes_after_a_new_one(opened: Opened) -> None:
    page = opened()
    held: list[Route] = []
    page.route(re.compile("q=slow"), lambda route: held.append(route))
    with page.expect_request(re.compile("q=slow")):
        page.keyboard.type("slow")
    page.get_by_role("searchbox").fill(QUERY)
    expect(page.locator(".card img.there").first).to_be_visible()
    before = page.locator("#grid").text_content()
    held[0].fulfill(json={"total": 0, "results": [], "remarks": ["old"], "nothing_fits": True})
    page.wait_for_timeout(100)
    assert page.locator("#grid").text_content() == before


def test_keys_do_everything(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player, played = noting_player(tmp_path)
    monkeypatch.setenv("VIDFIND_PLAYER", player)
    page = opened(f"?q={QUERY}")
    shots = cards(page).locator(".shot")
    expect(shots.first).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(shots.first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(shots.nth(1)).to_be_focused()
    plays(page.locator(".card video"))
    page.keyboard.press("e")
    expect(page.get_by_role("complementary", name="Tray").get_by_role("listitem")).to_have_count(1)
    page.keyboard.press("o")
    wait_until(played.is_file)
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    plays(viewer.locator("video"))
    page.keyboard.press(" ")
    wait_until(lambda: viewer.locator("video").evaluate("video => video.paused"))
    name = viewer.get_by_role("heading").text_content()
    page.keyboard.press("ArrowRight")
    expect(viewer.get_by_role("heading")).not_to_have_text(str(name))
    page.keyboard.press("Escape")
    expect(shots.nth(2)).to_be_focused()
    page.keyboard.press("Home")
    expect(shots.first).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).to_have_value(QUERY)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    expect(page.get_by_role("button", name="Take out: like")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Keys").click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_a_video_shows_all_its_moments_on_its_timeline(opened: Opened) -> None:
    page = opened(f"?q={QUERY}")
    card_of(page, FILM).locator(".shot").click()
    marks = page.get_by_role("dialog").locator(".mark")
    expect(marks.nth(1)).to_be_attached()
    last = marks.last
    last.click()
    expect(last).to_have_attribute("aria-current", "true")
    start = page.evaluate("document.querySelector('.viewer video').src.split('t=')[1]")
    wait_until(lambda: page.get_by_label("Place in the video").input_value() >= start[:1])
    plays(page.locator(".viewer video"))


def test_filters_narrow_stay_in_the_address_and_go_again(opened: Opened, library: Path) -> None:
    page = opened(f"?q={QUERY}")
    expect(cards(page)).not_to_have_count(0)
    total = page.locator("#count").text_content()
    page.get_by_role("button", name="Folder", exact=True).click()
    page.get_by_label(re.compile("trips")).check()
    expect(page.get_by_role("button", name="Folder: trips")).to_be_visible()
    expect(cards(page)).to_have_count(2)
    page.keyboard.press("Escape")
    page.reload()
    expect(cards(page)).to_have_count(2)
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("#count")).to_have_text(str(total))
    page.get_by_role("button", name="Match", exact=True).click()
    page.get_by_role("slider", name="Matches by at least").fill("100")
    expect(page.locator("#count")).not_to_have_text(str(total))
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Date", exact=True).click()
    page.get_by_label("Until").fill("2001-02-03")
    expect(page.get_by_role("heading", name="No moment fits")).to_be_visible()
    page.get_by_role("button", name="Clear filters").last.click()
    expect(page.locator("#count")).to_have_text(str(total))


def test_a_picture_that_is_dropped_is_searched_with(opened: Opened) -> None:
    page = opened(f"?q={QUERY}")
    picture = page.locator(".card img.there").first
    expect(picture).to_be_visible()
    page.evaluate(
        """async (address) => {
            const file = new File([await (await fetch(address)).blob()], "star.jpg", {type: "image/jpeg"});
            const data = new DataTransfer();
            data.items.add(file);
            for (const kind of ["dragenter", "drop"]) {
                document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
            }
        }""",
        picture.get_attribute("src"),
    )
    expect(page.get_by_role("button", name="Take out: star.jpg")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    expect(page.locator("#count")).to_contain_text("moment")
    assert "picture=" in page.url
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Take out: star.jpg").click()  # at once: what was typed just now is not lost
    expect(page.get_by_role("heading", name="What do you remember?")).to_be_visible()


def test_moments_of_the_tray_are_exported_in_their_order(opened: Opened) -> None:
    page = opened(f"?q={QUERY}")
    for name in (FILM, ODD_NAME):
        card_of(page, name).hover()
        card_of(page, name).get_by_label("In the tray").click()
    page.get_by_role("button", name=f"Earlier: {ODD_NAME}").click()
    page.reload()  # the tray stays
    tray = page.get_by_role("complementary", name="Tray")
    expect(tray.get_by_role("listitem")).to_have_count(2)
    tray.get_by_label("As").select_option("csv")
    with page.expect_download() as download:
        tray.get_by_role("button", name="Export").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [Path(row["path"]).name for row in rows] == [ODD_NAME, FILM]
    tray.get_by_label("As").select_option("clips")
    with page.expect_download() as download:
        tray.get_by_role("button", name="Export").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 2
    tray.get_by_role("button", name="Empty").click()
    expect(tray).to_be_hidden()


def test_only_who_has_the_token_and_the_right_name_sees_anything(
    opened: Opened, address: str, browser: Browser
) -> None:
    page = browser.new_page()
    for wrong in (address.replace(TOKEN, "b" * len(TOKEN)), address.replace("127.0.0.1", "elsewhere.test")):
        answer = page.goto(wrong)
        assert answer is not None
        assert answer.status in (400, 403, 404, 421)
        assert "<title>" not in page.content()
    page.close()
    inside = opened()
    for path in (
        "video/..%2f..%2fetc%2fpasswd",
        "static/..%2fapp.py",
        "static/../../../../etc/passwd",
        "picture/%00?at=0",
    ):
        assert inside.evaluate("async (path) => (await fetch(path)).status", path) == 404


def test_a_video_that_has_vanished_says_so(opened: Opened, library: Path) -> None:
    page = opened(f"?q={QUERY}")
    card = card_of(page, GONE)
    expect(card).to_be_visible()
    kept = shutil.move(library / GONE, library.parent / "kept.mp4")
    try:
        card.locator(".shot").click()
        expect(page.get_by_role("alert").filter(has_text="does not play")).to_be_visible()
        page.reload()
        expect(card_of(page, GONE).get_by_text("offline")).to_be_visible()
    finally:
        shutil.move(kept, library / GONE)


def test_errors_say_what_helps_and_a_server_that_has_gone_is_noticed(opened: Opened) -> None:
    page = opened(f"?q={QUERY} --nonsense")
    expect(page.get_by_role("alert").filter(has_text="There is no option --nonsense")).to_be_visible()
    page.get_by_role("searchbox").fill(QUERY)
    expect(cards(page)).not_to_have_count(0)
    page.context.set_offline(True)
    page.get_by_role("searchbox").fill("a red circle")
    expect(page.get_by_role("alert").filter(has_text="vidfind has stopped")).to_be_visible()
    expect(cards(page)).not_to_have_count(0)
    page.context.set_offline(False)
    page.get_by_role("searchbox").fill("a red star")
    expect(page.get_by_role("alert").filter(has_text="vidfind has stopped")).to_be_hidden()


def test_ten_thousand_moments_make_few_elements(opened: Opened) -> None:
    page = opened()
    count = 10_000

    def many(route: Route) -> None:
        """Answers with the real moments, again and again."""
        real = route.fetch().json()
        asked = re.search(r"offset=(\d+)", route.request.url)
        assert asked
        results = [{**one, "id": f"{one['id']}{asked[1]}"} for one in (real["results"] or first) * 60][:60]
        first[:] = first or results
        route.fulfill(json={**real, "total": count, "results": results})

    first: list[dict[str, Any]] = []
    page.route(re.compile("api/search"), many)
    page.keyboard.type(QUERY)
    expect(page.locator(".card img.there").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(page.locator(f".card[aria-posinset='{count}'] img.there")).to_be_visible()
    expect(page.locator(f".card[aria-posinset='{count}'] .shot")).to_be_focused()
    assert page.locator(".card").count() < 60


def test_an_empty_index_says_how_to_fill_it(opened: Opened, tmp_path: Path, tiny_encoder: Encoder) -> None:
    make_index(tmp_path / "index", tiny_encoder, {})
    with page_at(tmp_path, tiny_encoder) as address:
        page = opened(base=address)
        expect(page.get_by_role("heading", name="There are no videos in this index yet")).to_be_visible()
        page.close()


def test_a_run_that_encodes_videos_is_shown(opened: Opened, library: Path) -> None:
    with noting_run(library.parent / "index", 8):
        page = opened()
        expect(page.get_by_text("Indexing 0 of 8")).to_be_visible()
        expect(page.get_by_role("progressbar", name="Indexing")).to_be_visible()


def test_the_page_is_usable_400_pixels_wide_and_dark(opened: Opened) -> None:
    page = opened(f"?q={QUERY}", viewport=NARROW, color_scheme="dark")
    expect(page.locator(".card img.there").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(20, 21, 23)"
    for button in page.locator(":is(.top, .tray, .card.chosen) button").filter(visible=True).all():
        box = button.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= NARROW["width"]
    page.keyboard.press("Enter")
    plays(page.locator(".viewer video"))
    assert not serious(page)


def test_nothing_moves_by_itself_for_who_wants_that(opened: Opened) -> None:
    page = opened(f"?q={QUERY}", reduced_motion="reduce")
    card_of(page, FILM).hover()
    page.wait_for_timeout(400)
    expect(page.locator(".card video")).to_have_count(0)


def test_a_checker_of_accessibility_finds_nothing(opened: Opened) -> None:
    page = opened(f"?q={QUERY}")
    expect(page.locator(".card img.there").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    page.get_by_role("button", name="Date", exact=True).click()
    assert not serious(page)


def serious(page: Page) -> str:
    """Returns what axe-core finds."""
    result = Axe().run(page)
    return str(result.generate_report()) if result.violations_count else ""
