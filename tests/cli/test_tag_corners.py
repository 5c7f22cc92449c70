"""What `vidfind tag fill` and `vidfind learn fit` do at the edges: one tag, one video, vectors without a direction."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.ran import Run
from tests.support.rows import make_row
from tests.support.stored import put
from vidfind.encoders.encoder import Encoder
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.tagging.learning.examples import Recipe
from vidfind.tagging.learning.vectors import NEUTRAL

COLOURS = ("red", "green", "blue", "white")


class Films:
    """The default index of a home, of the built-in model: videos 00 to 15 of one segment, of four colours in turn."""

    def __init__(self, home: Path, folder: Path, encoder: Encoder, run: Run) -> None:
        self.folder, self.run, self.encoder = folder, run, encoder
        self.store = Store.create(home / "indexes" / "default", IndexSettings(encoder.identity), dim=128)
        texts = [f"a {colour} circle moves left" for colour in COLOURS]
        looks = encoder.encode_text(texts).numpy()
        self.add([(f"{number:02}", looks[number % 4]) for number in range(16)])

    def add(self, films: list[tuple[str, np.ndarray]]) -> None:
        rows = [
            make_row(str(self.folder / f"{name}.mp4"), 1, folder=self.folder, fingerprint=name) for name, _ in films
        ]
        noise = np.random.default_rng(0).normal(size=(len(films), 128)) * 0.04
        vectors = [vector + one * (np.abs(vector).max() > 0) for (_, vector), one in zip(films, noise, strict=True)]
        put(
            self.store,
            rows,
            [Embedded(row.content, [(0.0, 5.0)], one[None]) for row, one in zip(rows, vectors, strict=True)],
        )

    def tag(self, *words: str) -> None:
        """Tags videos of these numbers: `tag("00", "04", "--", "red")`."""
        at = words.index("--")
        names = [str(self.folder / f"{name}.mp4") for name in words[:at]]
        assert self.run("tag", "add", *names, *words[at:]).code == 0

    def fill(self, *options: object) -> tuple[dict[str, dict[str, int]], dict[str, object], str]:
        """The numbers of each tag, what is said of all, and the messages."""
        ran = self.run("tag", "fill", "--json", *options)
        assert ran.code == 0, ran.err
        *tags, last = map(json.loads, ran.out.splitlines())
        return {one.pop("tag"): one for one in tags}, last, ran.err


@pytest.fixture
def films(tmp_path: Path, run: Run, tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Films:
    monkeypatch.setattr("vidfind.tagging.learning.vectors.NEUTRAL", NEUTRAL[:2])  # a hundred take a second
    return Films(tmp_path / "home", tmp_path / "films", tiny_encoder, run)


def test_one_tag_of_one_video_is_only_suggested(films: Films) -> None:
    films.tag("00", "--", "red")
    tags, last, _ = films.fill()
    assert tags == {"red": {"yours": 1, "added": 0, "to_review": 10}}
    assert (last["used"], last["map"], last["steps"]) == ("blend", {}, 0)


def test_an_index_of_one_segment_has_nothing_to_be_found(films: Films, tmp_path: Path, run: Run) -> None:
    alone = tmp_path / "home" / "indexes" / "alone"
    store = Store.create(alone, IndexSettings(films.encoder.identity), dim=128)
    row = make_row(str(films.folder / "one.mp4"), 1, folder=films.folder)
    put(store, [row], [Embedded(row.content, [(0.0, 5.0)], np.eye(1, 128))])
    assert run("tag", "add", row.path, "red", "--index", "alone").code == 0
    assert films.fill("--index", "alone")[0] == {"red": {"yours": 1, "added": 0, "to_review": 0}}
    assert run("learn", "add", "pets:rex", row.path, "--index", "alone").code == 0
    ran = run("learn", "fit", "--mode", "linear", "--index", "alone")
    assert (ran.code, "Not validated, so given to nothing by themselves: pets:rex" in ran.err) == (0, True), ran.err


def test_a_single_tag_has_no_neighbours(films: Films) -> None:
    films.tag("00", "04", "08", "--", "red")
    tags, last, _ = films.fill("--max-seconds", 5)
    assert tags["red"]["yours"] == 3
    assert set(last["map"]) >= {"text", "blend"}  # type: ignore[call-overload]


def test_a_tag_of_every_tagged_video_is_added_to_none(films: Films, run: Run) -> None:
    films.tag("00", "04", "08", "01", "--", "film")
    tags, _, _ = films.fill("--max-seconds", 0)
    assert tags["film"]["added"] == 0
    ran = run("tag", "fill", "--max-seconds", 0)
    assert "Nearly every video that you tagged has film, so it is added to none" in ran.err
    assert "vidfind tag add VIDEO TAG --not" in ran.err


def test_vectors_without_a_direction_are_left_out_and_counted(films: Films, run: Run) -> None:
    films.add([("zero", np.zeros(128)), ("null", np.zeros(128))])
    films.tag("00", "04", "zero", "--", "red")
    ran = run("tag", "fill", "--max-seconds", 0)
    assert (ran.code, "2 segments without a usable vector left out." in ran.err) == (0, True), ran.err
    assert all(
        mark.content not in {row.content for row in films.store.videos().values() if row.path.stem in ("zero", "null")}
        for mark in films.store.marks()
    )


def test_a_training_that_fails_or_is_cut_is_said(films: Films, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, colour in enumerate(COLOURS):
        films.tag(*(f"{number + 4 * one:02}" for one in range(3)), "--", colour)
    monkeypatch.setattr("vidfind.tagging.learning.guard.fit_better_than_shuffled", lambda *_: True)
    _, last, _ = films.fill("--max-seconds", 0.05)
    assert (last["is_cut"], last["not_trained"]) == (True, None)
    ran = run("tag", "fill", "--max-seconds", 0.05)
    assert "The time was over after" in ran.err and "of training; what was learnt by then counts." in ran.err
    monkeypatch.setattr("vidfind.tagging.fill.Recipe", functools.partial(Recipe, steps=3, learning_rate=np.inf))
    ran = run("tag", "fill", "--max-seconds", 5)
    assert (ran.code, "Nothing was trained: the loss is not finite." in ran.err) == (0, True), ran.err


def test_a_tag_that_the_model_cannot_read_whole_is_refused(films: Films, run: Run) -> None:
    films.tag("00", "--", "".join(map(chr, range(0x20000, 0x20040))))
    ran = run("tag", "fill")
    assert (ran.code, "The model reads 77 tokens, and this is longer" in ran.err) == (2, True), ran.err
    assert films.store.marks() == []


def test_a_task_of_one_class_is_that_class_against_none(films: Films, run: Run) -> None:
    videos = [films.folder / f"{4 * number:02}.mp4" for number in range(3)]
    assert run("learn", "add", "colour:red", *videos).code == 0
    ran = run("learn", "fit", "--mode", "linear", "--json")
    assert (ran.code, json.loads(ran.out.splitlines()[0])["examples"]) == (0, 3), ran.err
    assert run("learn", "add", "colour:none", films.folder / "01.mp4").code == 0
    assert run("learn", "fit", "--mode", "prototype").code == 0
