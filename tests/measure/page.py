"""Measures the page of `vidfind web` as its user feels it, in a Chromium: typing, pictures, playing, scrolling.

    uv run vidfind web --no-browser
    uv run python -m tests.measure.page ADDRESS QUERY...

The queries should find at least a dozen moments, and have different answers. Prints the median and the longest of each,
and the moments that do not play. Times of typing include the pause after which the page asks.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence

from playwright.sync_api import Page, sync_playwright

from tests.support.browser import launch

WINDOW = {"width": 1280, "height": 1700}  # four columns of six whole rows
PATIENCE = 10  # seconds
PLAYED = 24
STEPS = 300
IS_NEW = "before => { const first = document.querySelector('.card'); return first && first !== before }"
HAS_PICTURES = """() => [...document.querySelectorAll('.card')]
    .filter(card => card.getBoundingClientRect().top < innerHeight)
    .every(card => card.querySelector('img.there, .lost'))"""
PLAYS = """() => {
    const video = document.querySelector('.card video.there');
    if (!video || !video.currentTime) return '';
    return video.getAttribute('src').startsWith('play/') ? 'converted' : 'direct';
}"""
SCROLL = """async (steps) => {
    const gaps = [], height = document.documentElement.scrollHeight - innerHeight;
    let last = performance.now();
    for (let step = 0; step <= steps; step++) {
        scrollTo(0, height * step / steps);
        await new Promise(requestAnimationFrame);
        gaps.push(performance.now() - last);
        last = performance.now();
    }
    return gaps;
}"""


def main(address: str, queries: Sequence[str]) -> None:
    with sync_playwright() as playwright:
        page = launch(playwright).new_page(viewport=WINDOW)  # type: ignore[arg-type]
        began = time.perf_counter()
        page.goto(address)
        page.get_by_role("searchbox").wait_for()
        show("the page is there", [time.perf_counter() - began])
        answers, pictures = zip(*[type_query(page, query) for query in queries], strict=True)
        show("from a query to its first moments", answers)
        show("to all pictures in the window", pictures)
        played = play_each(page)
        for kind in ("direct", "converted"):
            show(f"from pointing to playing, {kind}", [seconds for one, seconds in played.values() if one == kind])
        print("does not play:", ", ".join(name for name, (kind, _) in played.items() if not kind) or "none")
        show(f"a frame while scrolling through {page.locator('#count').text_content()}", scroll(page))


def type_query(page: Page, query: str) -> tuple[float, float]:
    """Returns the seconds from a query to its first moments, and to all their pictures."""
    before = page.query_selector(".card")
    began = time.perf_counter()
    page.get_by_role("searchbox").fill(query)
    page.wait_for_function(IS_NEW, arg=before)
    answered = time.perf_counter() - began
    page.wait_for_function(HAS_PICTURES)
    return answered, time.perf_counter() - began


def play_each(page: Page) -> dict[str, tuple[str, float]]:
    """Returns, by what the first moments are called, how each is played, and the seconds until it moves."""
    played = {}
    for shot in page.locator(".card .shot").all()[:PLAYED]:
        page.get_by_role("searchbox").hover()
        began = time.perf_counter()
        shot.hover()
        kind = wait_for(page, lambda: str(page.evaluate(PLAYS)))
        played[str(shot.get_attribute("aria-label"))] = (kind, time.perf_counter() - began)
    return played


def wait_for(page: Page, answer: Callable[[], str]) -> str:
    """Returns the answer as soon as there is one; an empty text after PATIENCE seconds."""
    ends = time.perf_counter() + PATIENCE
    while not (found := answer()) and time.perf_counter() < ends:
        page.wait_for_timeout(5)
    return found


def scroll(page: Page) -> list[float]:
    gaps: list[float] = page.evaluate(SCROLL, STEPS)
    return [gap / 1000 for gap in gaps]


def show(what: str, seconds: Sequence[float]) -> None:
    if seconds:
        print(f"{what:<60} {1000 * statistics.median(seconds):7.0f} {1000 * max(seconds):7.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
