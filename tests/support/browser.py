"""The page of `vidfind web` in a real Chromium: a library of drawn videos, a server beside the tests, and a browser."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Browser, Error, Playwright
from starlette.types import ASGIApp

from tests.support.page import Words, make_index
from vidfind.demo.captions import caption
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.world import Scene
from vidfind.encoders.encoder import Encoder
from vidfind.media.write import write_video
from vidfind.web.serve import listen
from vidfind.words.levels import update_levels

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FILM, AVI, GONE, ODD_NAME = "film.mp4", "mpeg4.avi", "gone.mp4", 'a "odd" <b>name<b> & 100% #1? é.mp4'
SHORT = ("trips/one.mp4", "trips/two.mp4", GONE, ODD_NAME)
SCENES = 20  # of the film, 10 seconds each: with these there are segments enough to tell a match
HEIGHT, WIDTH, RATE = 90, 160, 2


def launch(playwright: Playwright) -> Browser:
    """Starts a Chromium of this machine; skips the tests where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    options = ["--no-sandbox", "--host-resolver-rules=MAP elsewhere.test 127.0.0.1"]
    try:
        if found:
            return playwright.chromium.launch(executable_path=found, args=options)
        return playwright.chromium.launch(channel="chrome", args=options)
    except Error as error:
        pytest.skip(f"There is no Chromium for the tests of the page (apt-get install chromium): {error.message[:200]}")


def make_library(home: Path, clips: Path, encoder: Encoder) -> Path:
    """Makes a library below `home`, and its index in `home / "index"`; returns the folder of the videos.

    There is a film of many scenes, there are short videos, one with an odd name, and one that no browser plays."""
    folder, rng = home / "library", Random(5)
    (folder / "trips").mkdir(parents=True)
    scenes = list(distinct_scenes(rng, SCENES + len(SHORT)))
    words = [caption(scene, rng) for scene in scenes]
    shown: dict[Path, Words] = {folder / FILM: words[:SCENES], folder / AVI: "a white star"}
    write_video(folder / FILM, np.concatenate([_drawn(scene, 10) for scene in scenes[:SCENES]]), RATE, gop=RATE)
    for name, scene, said in zip(SHORT, scenes[SCENES:], words[SCENES:], strict=True):
        write_video(folder / name, _drawn(scene, 3), RATE, gop=RATE)
        shown[folder / name] = said
    shutil.copy(clips / AVI, folder)
    update_levels(make_index(home / "index", encoder, shown), encoder)
    return folder


def _drawn(scene: Scene, seconds: int) -> np.ndarray:
    return draw(scene, seconds * RATE, HEIGHT, WIDTH)


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Yields the address, without the token, at which an application answers meanwhile."""
    with listen("127.0.0.1", 0) as listening:
        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()
