"""`vidfind tag fill` from its command line to its table, on an index of the built-in model's own texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.ran import Run
from tests.support.rows import make_row
from tests.support.stored import begin_again, put
from vidfind.encoders.encoder import Encoder
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store

COLOURS = ("red", "green", "blue", "white")


@pytest.fixture
def tagged(tmp_path: Path, run: Run, tiny_encoder: Encoder) -> Store:
    """24 videos of shapes of four colours; of the first twelve the colour is said."""
    store = Store.create(tmp_path / "home" / "indexes" / "default", IndexSettings(tiny_encoder.identity), dim=128)
    films = tmp_path / "films"
    rows = [make_row(str(films / f"{number:02}.mp4"), 1, folder=films) for number in range(24)]
    kinds = ("circle", "square", "star")
    texts = [f"a {COLOURS[number % 4]} {kinds[number // 4 % 3]} moves left" for number in range(24)]
    vectors = tiny_encoder.encode_text(texts).numpy() + np.random.default_rng(0).normal(size=(24, 128)) * 0.01
    parts = zip(rows, vectors, strict=True)
    put(store, rows, [Embedded(row.content, [(0.0, 5.0)], vector[None]) for row, vector in parts])
    lines = [f"{films / f'{number:02}.mp4'},{COLOURS[number % 4]}" for number in range(12)]
    (tmp_path / "tags.csv").write_text("path,tag\n" + "\n".join(lines))
    assert run("tag", "import", tmp_path / "tags.csv").code == 0
    return store


def test_tags_are_filled_shown_and_searched_for(tagged: Store, run: Run) -> None:
    dry = run("tag", "fill", "--max-seconds", "0", "--dry-run")
    assert (dry.code, tagged.marks()) == (0, [])
    assert "Nothing was changed." in dry.err
    ran = run("tag", "fill", "--max-seconds", "0")
    assert ran.code == 0, ran.err
    assert ran.out == dry.out and "Yours" in ran.out
    assert "Mean average precision on videos held out: their names alone" in ran.err
    lines = [json.loads(line) for line in run("tag", "fill", "--max-seconds", "0", "--json").out.splitlines()]
    assert [one["tag"] for one in lines[:-1]] == sorted(COLOURS)
    assert lines[-1]["used"] in ("text", "blend") and lines[-1]["segments"] == 24
    added = sum(one["added"] for one in lines[:-1])
    assert added >= 8
    found = run("search", "a circle", "--tag", "red", "--json", "-n", "20")
    automatic = [line for line in map(json.loads, found.out.splitlines()) if "red" in line["tags_auto"]]
    assert len(automatic) == next(one["added"] for one in lines if one.get("tag") == "red")

    for words in (["--only", "red, blue"], ["red", "blue"], ["RED", "--only", "blue"]):
        tags = run("tag", "fill", *words, "--max-seconds", "0", "--json").out.splitlines()
        assert [json.loads(line).get("tag") for line in tags] == ["blue", "red", None]


def test_of_few_examples_nothing_is_sure(tagged: Store, run: Run, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("circle\n")
    most = []
    for number in range(3):
        run("tag", "add", tmp_path / "films" / f"{number:02}.mp4", "zorp")
        run(
            "tag",
            "fill",
            "zorp",
            "--vocab",
            tmp_path / "words.txt",
            "--only",
            "circle",
            "--zero-shot",
            "--max-seconds",
            0,
        )
        lines = [json.loads(line) for line in run("tag", "review", "--json", "-n", 99).out.splitlines()]
        most.append({tag: max(one["confidence"] for one in lines if one["tag"] == tag) for tag in ("zorp", "circle")})
        assert all(mark.tags == {} for mark in tagged.marks()) or number == 2
    assert [round(one["zorp"], 1) <= least for one, least in zip(most, (0.4, 0.7, 1.0), strict=True)] == [True] * 3
    assert all(0 < one["circle"] < 0.15 for one in most)


def test_tags_are_filled_again_after_an_encoding_and_those_of_the_owner_stay(tagged: Store, run: Run) -> None:
    assert run("tag", "fill", "--max-seconds", "0").code == 0
    labels, rows = {label.id for label in tagged.labels("tag")}, [*tagged.videos().values()]
    stored = {
        one: vector
        for contents, _, vectors in tagged.segments()
        for one, vector in zip(contents.tolist(), vectors, strict=True)
    }
    begun = begin_again(tagged)
    put(begun, rows, [Embedded(row.content, [(0.0, 5.0)], stored[row.content][None]) for row in rows])
    with begun.writing() as writer:
        writer.finish()
        writer.compact()
    now = Store.open(tagged.path)
    assert ({label.id for label in now.labels("tag")}, now.marks()) == (labels, [])
    lines = [json.loads(line) for line in run("tag", "list", "--json").out.splitlines()]
    assert [(one["yours"], one["added"]) for one in lines] == [(3, 0)] * 4
    assert run("tag", "fill", "--max-seconds", "0").code == 0
    assert Store.open(tagged.path).marks()


def test_words_that_no_video_has_are_only_suggested(tagged: Store, run: Run, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("star\n\n" + "x" * 70 + "\n")
    ran = run("tag", "fill", "--max-seconds", "0", "--vocab", words, "--zero-shot", "--json")
    star = next(one for one in map(json.loads, ran.out.splitlines()) if one.get("tag") == "star")
    assert star == {"tag": "star", "yours": 0, "added": 0, "to_review": 10}
    assert "line 3" in ran.err and "70 characters" in ran.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "cat"], "no tag 'cat'"),
        (["--vocab", "none.txt"], "none.txt cannot be read"),
        (["--vocab", "bytes.txt"], "not UTF-8: byte 3"),
        (["--vocab", "empty.txt"], "has no tags"),
        (["--min-confidence", "2"], "--min-confidence must be"),
        (["--max-seconds", "-1"], "--max-seconds must be"),
        (["--seed", "-1"], "--seed must be"),
        (["--graph", "best"], "--graph"),
        (["--index", "none"], "There is no index 'none'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: list[str], words: str, tagged: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"abc\xff")
    (tmp_path / "empty.txt").write_text("\n \n")
    monkeypatch.chdir(tmp_path)
    ran = run("tag", "fill", *options)
    assert (ran.code, words in ran.err) == (2, True), ran.err
    assert not tagged.marks()


def test_an_index_without_tags_or_without_videos_says_what_to_do(
    run: Run, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    store = Store.create(tmp_path / "home" / "indexes" / "default", IndexSettings(tiny_encoder.identity), dim=128)
    ran = run("tag", "fill")
    assert (ran.code, "vidfind index FOLDER" in ran.err) == (2, True)
    row = make_row("/films/a.mp4", 1)
    put(store, [row], [Embedded(row.content, [(0.0, 5.0)], np.ones((1, 128)))])
    ran = run("tag", "fill")
    assert (ran.code, "vidfind tag add VIDEO TAG" in ran.err) == (2, True)
