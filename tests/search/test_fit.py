"""How well moments fit the words, and which look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.support.described import NEXT, SHOWN, add_films, describe, noisy
from tests.support.ran import NewPlace
from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput
from vidfind.models.catalog import TINY
from vidfind.search.moments import Moment
from vidfind.search.question.expression import Expression
from vidfind.search.question.filters import Filters
from vidfind.search.searcher import Searcher
from vidfind.store.folder import levels_file
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.words.bank import read_bank
from vidfind.words.levels import update_levels


@pytest.fixture(scope="module")
def index(new_place: NewPlace, tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Encoder) -> IndexPath:
    """The index of `describe`; searches only read it."""
    return describe(new_place(tmp_path_factory.mktemp("fit")), tiny_encoder).path


def matches(moments: Sequence[Moment]) -> list[int]:
    """The matches of moments, all of which must have one."""
    found = [moment.match for moment in moments if moment.match is not None]
    assert len(found) == len(moments) > 0
    return found


def test_of_a_plain_query_the_match_falls_with_the_rank(index: IndexPath) -> None:
    moments = Searcher(index).find("a red star growing", limit=30)
    assert moments[0].path.stem == "red star growing"
    assert matches(moments) == sorted(matches(moments), reverse=True)
    assert matches(moments)[0] > 80 and matches(moments)[-1] < 30


def test_the_match_of_a_moment_is_the_same_whatever_the_filters(index: IndexPath) -> None:
    searcher = Searcher(index)
    everywhere = {one.path: one.match for one in searcher.find("a red star growing", limit=30)}
    there = searcher.find("a red star growing", Filters(folder="/trips"), limit=30)
    assert there and {one.path: one.match for one in there}.items() <= everywhere.items()


def test_what_is_left_out_ranks_moments_and_leaves_their_match_alone(index: IndexPath) -> None:
    searcher = Searcher(index)
    plain = searcher.find("a red star", Filters(per_video=2), limit=60)
    without = searcher.find(Expression("a red star", without=["growing"]), Filters(per_video=2), limit=60)
    by_place = {(one.path, one.best): one.match for one in plain}
    assert [one.path for one in plain] != [one.path for one in without]
    assert all(by_place.get((one.path, one.best), one.match) == one.match for one in without)
    assert matches(without) != sorted(matches(without), reverse=True)


def test_a_sequence_matches_as_well_as_its_worst_step(index: IndexPath) -> None:
    first, then = SHOWN[3], SHOWN[(3 + NEXT) % len(SHOWN)]
    [best, *_] = Searcher(index).find(Expression(first, then=[then]), limit=3)
    assert best.path.stem == first
    assert best.match == min(step.match or 0 for step in best.steps) > 80
    [absent, *_] = Searcher(index).find(Expression(first, then=["a yellow triangle shrinking"]), limit=3)
    assert absent.match == absent.steps[1].match and absent.match is not None and absent.match < 80


@pytest.mark.parametrize(
    "expression",
    [
        Expression("a red star growing"),
        Expression("a red star", without=["growing"]),
        Expression("a star", then=["a circle"]),
    ],
    ids=["words", "not", "then"],
)
def test_a_least_match_leaves_out_what_matches_less(index: IndexPath, expression: Expression) -> None:
    searcher = Searcher(index)
    everything = searcher.find(expression, limit=60)
    least = sorted(matches(everything))[-3]
    found = searcher.find(expression, Filters(min_match=least), limit=60)
    assert [one.path for one in found] == [one.path for one in everything if (one.match or 0) >= least]


def test_a_least_match_looks_further_until_the_limit_is_filled(index: IndexPath) -> None:
    expression = Expression("a red star", without=["growing", "growing"])
    searcher = Searcher(index)
    fitting = [one for one in searcher.find(expression, limit=60) if (one.match or 0) >= 50]
    found = searcher.find(expression, Filters(min_match=50), limit=2)
    assert [one.path for one in found] == [one.path for one in fitting[:2]] and len(found) == 2


def test_with_an_example_the_match_is_not_known(index: IndexPath) -> None:
    searcher = Searcher(index)
    example = searcher.find("a red star growing", limit=1)[0].example
    assert {one.match for one in searcher.find(Expression("moving left", like=[example]), limit=5)} == {None}
    with pytest.raises(BadInput, match="--min-match judges words"):
        searcher.find(Expression(like=[example]), Filters(min_match=50))


def test_what_is_not_known_is_said(place: IndexPath, tiny_encoder: Encoder) -> None:
    store = Store.create(place, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    vectors = tiny_encoder.encode_text(SHOWN).numpy()
    add_films(store, {"/v/few.mp4": vectors[:19]})
    update_levels(store)
    searcher = Searcher(store.path)
    assert searcher.find("a red star")[0].match is None
    with pytest.raises(BadInput, match="fewer than 20 segments"):
        searcher.find("a red star", Filters(min_match=50))
    add_films(store, {"/v/more.mp4": vectors[19:]})
    with pytest.raises(BadInput, match="not known yet"):
        searcher.find("a red star", Filters(min_match=50))
    update_levels(store)
    assert matches(searcher.find("a red star")) and levels_file(store.path, 0).exists()


@pytest.mark.parametrize("least", [-1, 101])
def test_a_least_match_is_a_percentage(least: int) -> None:
    with pytest.raises(BadInput, match="between 0 and 100"):
        Filters(min_match=least)


@pytest.fixture(scope="module")
def twins(new_place: NewPlace, tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Encoder) -> IndexPath:
    """An index with three near twins and an exact copy of each of 12 videos."""
    path = new_place(tmp_path_factory.mktemp("twins"))
    store = Store.create(path, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    rng = np.random.default_rng(2)
    texts = list(read_bank(TINY)[2:60:5])
    films = {}
    for number, vector in enumerate(tiny_encoder.encode_text(texts).numpy()):
        for twin in ("0", "1", "2", "copy"):
            films[f"/v/{number:02}-{twin}.mp4"] = noisy(vector[np.newaxis], 0.1, rng)
    add_films(store, films)
    return path


def test_look_alikes_are_folded_only_when_asked_and_the_limit_is_filled(twins: IndexPath) -> None:
    searcher = Searcher(twins)
    every = searcher.find("a red star", limit=8)
    assert all(not one.alike for one in every) and len({one.path.name[:2] for one in every}) < 8
    folded = searcher.find("a red star", Filters(collapse=True), limit=8)
    assert len({one.path.name[:2] for one in folded}) == len(folded) == 8
    assert [one.rank for one in folded] == [*range(1, 9)]
    for moment in folded:
        assert {one.path.name[:2] for one in moment.alike} == {moment.path.name[:2]} and len(moment.alike) == 2
        assert (moment.alike[0].start, moment.alike[0].end) == (0, 10)


def test_a_moment_looks_like_another_from_a_cosine_of_098_on(place: IndexPath, tiny_encoder: Encoder) -> None:
    store = Store.create(place, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    query = tiny_encoder.encode_text(["a red star"]).numpy()[0]
    aside = np.roll(query, 1) - (np.roll(query, 1) @ query) * query
    aside /= np.linalg.norm(aside)
    cosines = {"same": 1.0, "near": 0.985, "far": 0.975}
    films = {f"/v/{name}.mp4": (one * query + np.sqrt(1 - one**2) * aside)[np.newaxis] for name, one in cosines.items()}
    add_films(store, films)
    found = Searcher(store.path).find("a red star", Filters(collapse=True))
    assert [(one.path.stem, [other.path.stem for other in one.alike]) for one in found] == [
        ("same", ["near"]),
        ("far", []),
    ]


def test_a_plain_query_finds_what_it_found_before_there_was_a_match(index: IndexPath) -> None:
    searcher = Searcher(index)
    with_match = searcher.find("a red star growing", limit=30)
    file = levels_file(index, 0)
    kept = file.read_bytes()
    file.unlink()
    try:
        before = searcher.find("a red star growing", limit=30)
    finally:
        file.write_bytes(kept)
    assert before == [replace(one, match=None) for one in with_match]


@pytest.mark.parametrize("query", ["dog catching frisbee", "a giraffe", "xyzzy qwerty"])
def test_nothing_matches_words_that_the_model_has_never_learnt(index: IndexPath, query: str) -> None:
    searcher = Searcher(index)
    assert set(matches(searcher.find(query))) == {0}
    assert searcher.find(query, Filters(min_match=1)) == []
    assert max(matches(searcher.find(f"{query}, a red star growing"))) > 0
