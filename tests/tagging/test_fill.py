"""Completing the tags of an index: what is added, what is only suggested, and what is never changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.rows import DIM, make_row
from tests.support.stored import put
from vidfind.errors import Unusable
from vidfind.store.folder import model_file
from vidfind.store.labelled.labels import Label
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow
from vidfind.tagging.edit import drop_tags, rename_tag
from vidfind.tagging.fill import FillOptions, fill_tags, make_examples, read_library
from vidfind.tagging.learning.examples import LEFT_OUT, NO, UNKNOWN, YES
from vidfind.tagging.learning.vectors import unit
from vidfind.tagging.saved import read_tagger

WORDS = ("dog", "beach", "snow", "party", "lake", "road")
RNG = np.random.default_rng(5)
LOOKS = unit(np.linalg.qr(RNG.normal(size=(DIM, DIM)))[0])
COMMON = LOOKS[-1]
QUICK = FillOptions(seconds=0.0)
"""Nothing is trained: most of what is tested here is the same with training."""


def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The vectors of texts: the look of the word that they name, beside what all have in common."""
    vectors = [
        COMMON + sum((LOOKS[number] for number, word in enumerate(WORDS) if word in text), np.zeros(DIM))
        for text in texts
    ]
    return unit(np.array(vectors))


class Home(NamedTuple):
    """An index of videos; `shown` are the words that each of them shows."""

    store: Store
    rows: list[VideoRow]
    shown: list[set[str]]

    def say(self, video: int, name: str, value: int = 1, start: float | None = None, end: float | None = None) -> None:
        row = self.rows[video]
        label = Label(row.content, start, end, "tag", "", name, value, video=row.fingerprint)
        with self.store.writing() as writer:
            writer.change_labels([label])

    def tags(self) -> dict[int, set[str]]:
        """The automatic tags of each video that has any."""
        found: dict[int, set[str]] = {}
        numbers = {row.content: number for number, row in enumerate(self.rows)}
        for mark in self.store.marks():
            if mark.tags:
                found.setdefault(numbers[mark.content], set()).update(mark.tags)
        return found


def embedded(row: VideoRow, shown: Sequence[set[str]], seed: int) -> Embedded:
    noise = np.random.default_rng(seed).normal(size=(len(shown), DIM)) * 0.08
    looks = [sum((LOOKS[WORDS.index(word)] for word in words), COMMON) for words in shown]
    spans = [(10.0 * number, 10.0 * number + 10) for number in range(len(shown))]
    return Embedded(row.content, spans, unit(np.array(looks) + noise))


@pytest.fixture
def home(store: Store) -> Home:
    """60 videos of two segments, of which the first shows one of six words; those of the first 20 are tags.

    The contents have ids in this order: what is held out is chosen by it."""
    rows = [make_row(f"/videos/{number:02}.mp4", content=number + 1) for number in range(60)]
    shown = [{WORDS[number % 6]} for number in range(60)]
    put(store, rows, [embedded(row, [words, set()], n) for n, (row, words) in enumerate(zip(rows, shown, strict=True))])
    built = Home(store, rows, shown)
    with store.writing() as writer:
        writer.change_labels(
            Label(row.content, None, None, "tag", "", sorted(words)[0].title(), 1, video=row.fingerprint)
            for row, words in zip(rows[:20], shown[:20], strict=True)
            if not words & {"party", "lake", "road"}
        )
    return built


def test_tags_are_added_where_they_are_sure_and_what_the_owner_said_stays(home: Home) -> None:
    before = home.store.labels()
    filled = fill_tags(home.store, encode, FillOptions())
    assert set(filled.choice.precisions) == {"text", "blend", "trained"}
    tags = home.tags()
    added = [(video, name.lower()) for video, names in tags.items() for name in names]
    right = [name in home.shown[video] for video, name in added]
    assert len(added) >= 4 and np.mean(right) > 0.9
    assert sum(one.added for one in filled.tags) == len(added)
    assert {one.name for one in filled.tags} == {"Beach", "Dog", "Snow"}
    first = [mark for mark in home.store.marks() if mark.tags and mark.start == 0]
    assert len(first) > 0.9 * len([mark for mark in home.store.marks() if mark.tags])  # the segment that shows it
    assert all(0.8 <= sure <= 1 for mark in first for sure in mark.tags.values())
    assert home.store.labels() == before
    known = {(label.content, label.name) for label in before}
    assert not known & {(mark.content, name) for mark in home.store.marks() for name in (*mark.tags, *mark.suggested)}


def test_filling_twice_is_filling_once_and_a_rejected_tag_never_comes_back(home: Home) -> None:
    fill_tags(home.store, encode, QUICK)
    marks, run = home.store.marks(), home.store.run_of("tag")
    fill_tags(home.store, encode, QUICK)
    assert (home.store.marks(), home.store.run_of("tag")) == (marks, run)
    assert [file.stem for file in model_file(home.store.path, run).parent.iterdir()] == [run]
    video, names = next(iter(home.tags().items()))
    home.say(video, sorted(names)[0], -1)
    fill_tags(home.store, encode, QUICK)
    assert sorted(names)[0] not in home.tags().get(video, set())
    suggested = {(mark.content, name) for mark in home.store.marks() for name in mark.suggested}
    assert (home.rows[video].content, sorted(names)[0]) not in suggested


def test_a_damaged_model_is_written_again(home: Home) -> None:
    fill_tags(home.store, encode, QUICK)
    file = model_file(home.store.path, home.store.run_of("tag"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert read_tagger(home.store) is None
    fill_tags(home.store, encode, QUICK)
    assert file.read_bytes() == whole and read_tagger(home.store)


def test_a_dry_run_writes_nothing(home: Home) -> None:
    filled = fill_tags(home.store, encode, dataclasses.replace(QUICK, dry_run=True))
    assert sum(one.added for one in filled.tags) > 0
    assert not home.store.marks() and not home.store.run_of("tag")
    assert not model_file(home.store.path, "x").parent.exists()


def test_new_videos_are_tagged_by_what_was_learnt(home: Home) -> None:
    fill_tags(home.store, encode, QUICK)
    tagger = read_tagger(home.store)
    assert tagger and tagger.way in ("text", "blend")
    row = make_row("/videos/new.mp4")
    new = embedded(row, [set(), {"dog"}], 99)
    marks = list(tagger.mark_segments([row.content] * 2, [(0, 10), (10, 20)], new.vectors))
    assert [(mark.start, {*mark.tags}) for mark in marks] == [(10, {"Dog"})]
    assert 0.8 <= marks[0].tags["Dog"] < 1
    broken = np.full_like(new.vectors, np.nan)
    assert not [*tagger.mark_segments([row.content] * 2, [(0, 10), (10, 20)], broken)]


def test_new_videos_get_tags_by_their_new_names_and_none_that_are_taken_away(home: Home) -> None:
    fill_tags(home.store, encode, QUICK)
    given = home.tags()
    rename_tag(home.store, "dog", "Hound")
    tagger = read_tagger(home.store)
    assert tagger and "Hound" in tagger.names and "Dog" not in tagger.names
    assert {name for tags in home.tags().values() for name in tags} == {
        "Hound" if name == "Dog" else name for tags in given.values() for name in tags
    }
    row = make_row("/videos/new.mp4")
    new = embedded(row, [set(), {"dog"}], 99)
    segments = [row.content] * 2, [(0, 10), (10, 20)], new.vectors
    assert [{*mark.tags} for mark in tagger.mark_segments(*segments)] == [{"Hound"}]
    drop_tags(home.store, ["hound"])
    tagger = read_tagger(home.store)
    assert tagger and not [*tagger.mark_segments(*segments)]


def test_tags_of_other_vectors_are_not_used(home: Home) -> None:
    fill_tags(home.store, encode, QUICK)
    identity = dataclasses.replace(home.store.settings.identity, weights_digest="other")
    settings = dataclasses.replace(home.store.settings, identity=identity)
    home.store.generation = dataclasses.replace(home.store.generation, settings=settings)
    assert read_tagger(home.store) is None


def test_few_examples_are_only_suggested_and_names_alone_only_if_asked(home: Home) -> None:
    home.say(30, "party")
    plain = fill_tags(home.store, encode, dataclasses.replace(QUICK, vocabulary=("snowman",)))
    found = {one.name: one for one in plain.tags}
    assert (found["party"].added, found["party"].to_review) == (0, 10)
    assert (found["snowman"].added, found["snowman"].to_review) == (0, 0)
    asked = dataclasses.replace(QUICK, vocabulary=("snowman",), zero_shot=True)
    found = {one.name: one for one in fill_tags(home.store, encode, asked).tags}
    assert (found["snowman"].added, found["snowman"].to_review) == (0, 10)


def test_only_some_tags_are_filled(home: Home) -> None:
    fill_tags(home.store, encode, QUICK)
    before = {(mark.content, name) for mark in home.store.marks() for name in mark.tags}
    filled = fill_tags(home.store, encode, dataclasses.replace(QUICK, only=("dog",), min_confidence=0.99))
    assert [one.name for one in filled.tags] == ["Dog"]
    after = {(mark.content, name) for mark in home.store.marks() for name in mark.tags}
    assert {one for one in before if one[1] != "Dog"} == {one for one in after if one[1] != "Dog"}
    assert len(after) < len(before)


def test_a_single_video_with_one_tag_is_no_error(store: Store) -> None:
    row = make_row("/videos/a.mp4", 1)
    put(store, [row], [embedded(row, [{"dog"}], 0)])
    Home(store, [row], [{"dog"}]).say(0, "dog")
    filled = fill_tags(store, encode)
    assert filled.choice.way == "blend" and not filled.choice.precisions
    assert [(one.added, one.to_review) for one in filled.tags] == [(0, 0)]


def test_a_tag_of_nearly_every_tagged_video_is_not_added(home: Home) -> None:
    for video in range(20):
        home.say(video, "holidays")
    found = {one.name: one for one in fill_tags(home.store, encode, QUICK).tags}
    assert found["holidays"].needs_no and found["holidays"].added == 0
    for video in range(20, 25):
        home.say(video, "holidays", -1)
    assert not {one.name: one for one in fill_tags(home.store, encode, QUICK).tags}["holidays"].needs_no


def test_segments_without_a_usable_vector_are_left_out(home: Home) -> None:
    row = make_row("/videos/broken.mp4", 3)
    vectors = np.zeros((3, DIM), np.float32)  # LanceDB takes no NaN
    vectors[2] = COMMON
    put(home.store, [row], [Embedded(row.content, [(0, 10), (10, 20), (20, 30)], vectors)])
    library = read_library(home.store)
    assert library.unusable == 2 and np.isfinite(library.vectors).all()
    assert library.starts[-1] == len(library.vectors) == 2 * 60 + 1


def test_nothing_to_learn_from_is_an_error(store: Store, home: Home) -> None:
    with pytest.raises(Unusable, match="no tag 'cat'"):
        fill_tags(home.store, encode, FillOptions(only=("cat",)))
    with home.store.writing() as writer:
        writer.change_labels([], home.store.labels())
    with pytest.raises(Unusable, match="No video has a tag yet"):
        fill_tags(home.store, encode)
    with pytest.raises(Unusable, match="--zero-shot"):
        fill_tags(home.store, encode, FillOptions(vocabulary=("dog",)))
    filled = fill_tags(home.store, encode, FillOptions(vocabulary=("dog",), zero_shot=True))
    assert [(one.yours, one.added, one.to_review) for one in filled.tags] == [(0, 0, 10)]
    best = next(mark for mark in home.store.marks() if mark.suggested)
    assert best.content in {row.content for row in home.rows}


def test_an_index_without_videos_is_an_error(store: Store) -> None:
    with pytest.raises(Unusable, match="holds no videos"):
        fill_tags(store, encode, FillOptions(vocabulary=("dog",), zero_shot=True))


def test_a_label_of_a_part_speaks_of_the_segments_that_it_overlaps(home: Home) -> None:
    home.say(30, "dog", 1, 0.0, 8.0)
    home.say(31, "dog", -1, 12.0, 15.0)
    home.say(31, "beach", 1)
    home.say(32, "dog", 1, 90.0, 95.0)  # after its end: no segment
    library = read_library(home.store)
    labels = home.store.labels("tag")
    examples = make_examples(
        library, labels, ["dog", "beach"], home.store.contents_of_files(), encode(["dog", "beach"])
    )
    bag = {int(content): number for number, content in enumerate(library.contents)}
    states = {number: examples.states[bag[home.rows[number].content]].tolist() for number in (30, 31, 32)}
    assert states == {30: [LEFT_OUT, UNKNOWN], 31: [UNKNOWN, YES], 32: [LEFT_OUT, UNKNOWN]}
    assert len(examples.states) == 62
    assert examples.states[60:].tolist() == [[YES, LEFT_OUT], [NO, LEFT_OUT]]
    assert examples.sizes[60:].tolist() == [1, 1]
    np.testing.assert_allclose(examples.vectors[120], library.vectors[library.starts[bag[home.rows[30].content]]])
    assert examples.groups[60] == examples.groups[bag[home.rows[30].content]]


def test_copies_of_a_video_have_its_labels(home: Home) -> None:
    copy = make_row("/videos/copy.mp4", fingerprint=home.rows[0].fingerprint)
    put(home.store, [copy], [embedded(copy, [home.shown[0], set()], 0)])
    library = read_library(home.store)
    key = sorted(home.shown[0])[0]
    examples = make_examples(library, home.store.labels("tag"), [key], home.store.contents_of_files(), encode([key]))
    bags = np.flatnonzero(np.isin(library.contents, [copy.content, home.rows[0].content]))
    assert examples.states[bags].tolist() == [[YES], [YES]]
    assert len(set(examples.groups[bags])) == 1


def test_a_kill_between_the_files_leaves_the_old_state(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidfind.store.writer import StoreWriter

    fill_tags(home.store, encode, QUICK)
    marks, run = home.store.marks(), home.store.run_of("tag")
    home.say(40, "party")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "replace_marks", killed)
        with pytest.raises(KeyboardInterrupt):
            fill_tags(home.store, encode, QUICK)
    assert (home.store.marks(), home.store.run_of("tag")) == (marks, run)
    assert read_tagger(home.store) is not None
    fill_tags(home.store, encode, QUICK)
    assert len([*model_file(home.store.path, run).parent.iterdir()]) == 1
