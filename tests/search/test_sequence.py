"""Sequences: one step after another in the same video, found exactly."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from datetime import time as datetime_time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.rows import make_row
from tests.support.stored import put, remove
from vidfind.search import sequence
from vidfind.search.moments import Asked, Moment
from vidfind.search.question.filters import Filters
from vidfind.search.sequence import Segments, Step, best_chains, search_sequences
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow

A, B, C, OTHER = np.eye(16, dtype=np.float32)[:4]


@pytest.fixture
def films(store: Store) -> Store:
    """Videos of ten-second segments, by their names; lower-case letters are weaker."""
    for name in ("xABx", "BAxx", "AxxxxB", "abxx", "xxxx", "A"):
        add(store, name, [scene(letter) for letter in name])
    return store


def scene(letter: str) -> np.ndarray:
    vector = {"A": A, "B": B, "C": C}.get(letter.upper(), OTHER)
    weight = 0.9 if letter.isupper() else 0.6
    mixed: np.ndarray = weight * vector + np.sqrt(1 - weight**2) * np.eye(16, dtype=np.float32)[5]
    return mixed


def add(store: Store, name: str, vectors: Sequence[np.ndarray], spans: Sequence[tuple[float, float]] = ()) -> VideoRow:
    spans = spans or [(10.0 * i, 10.0 * i + 10) for i in range(len(vectors))]
    row = make_row(f"/v/{name}", len(spans), duration=spans[-1][1], folder=Path("/v"))
    put(store, [row], [Embedded(row.content, spans, np.stack(vectors))])
    return row


def found(store: Store, *steps: np.ndarray, within: float = 30, limit: int = 10, **filters: Any) -> list[Moment]:
    spread = {id(step): 0.5 for step in steps}
    return search_sequences(store, [Step(step, spread[id(step)]) for step in steps], within, Filters(**filters), limit)


def names(moments: Sequence[Moment]) -> list[str]:
    assert [moment.rank for moment in moments] == list(range(1, len(moments) + 1))
    return [moment.path.name for moment in moments]


def test_the_video_with_both_in_order_is_first(films: Store) -> None:
    moments = found(films, A, B)
    assert names(moments)[:2] == ["xABx", "abxx"]
    assert names(found(films, B, A))[0] == "BAxx"
    assert "A" not in names(moments)  # the order inside one segment cannot be known
    best = moments[0]
    assert (best.start, best.end, best.best) == (10, 30, 15)
    assert [(step.start, step.end) for step in best.steps] == [(10, 20), (20, 30)]
    assert best.score == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize(("within", "first"), [(0, "xABx"), (30, "xABx"), (40, "AxxxxB"), (1e9, "AxxxxB")], ids=str)
def test_steps_follow_one_another_soon_enough(films: Store, within: float, first: str) -> None:
    stronger = found(films, A, B, within=within, folder=["/v/AxxxxB", "/v/xABx"], min_score=0.89)
    assert set(names(stronger)) == {"xABx", first}


def test_three_steps_span_from_the_first_to_the_last(store: Store) -> None:
    add(store, "ABC", [scene(letter) for letter in "xAxBCx"])
    add(store, "ACB", [scene(letter) for letter in "xACBxx"])
    moments = found(store, A, B, C)
    assert names(moments) == ["ABC", "ACB"]
    assert [(step.start, step.end) for step in moments[0].steps] == [(10, 20), (30, 40), (40, 50)]
    assert (moments[0].start, moments[0].end) == (10, 50)


def test_filters_narrow_sequences_too(films: Store) -> None:
    assert names(found(films, A, B, folder="/v/abxx")) == ["abxx"]
    assert names(found(films, A, B, limit=1)) == ["xABx"]
    assert names(found(films, A, B, min_score=0.8)) == ["xABx"]
    assert names(found(films, A, B, min_score=0.95)) == []
    # Filmed from 12:30:00 UTC on: no first step after 12:30:10 remains, so that xABx has only its x before its B.
    assert found(films, A, B, between=(datetime_time(12, 30), datetime_time(12, 30, 10))) == []


def test_a_video_answers_as_often_as_is_asked_for(store: Store) -> None:
    add(store, "ABxABx", [scene(letter) for letter in "ABxABx"])
    add(store, "copy", [scene(letter) for letter in "ab"])
    assert [(moment.start, moment.end) for moment in found(store, A, B, per_video=2, limit=2)] == [(0, 20), (30, 50)]
    assert names(found(store, A, B)) == ["ABxABx", "copy"]


def test_copies_are_one_result_and_removed_videos_none(films: Store) -> None:
    row = films.videos()[Path("/v/xABx")]
    put(films, [dataclasses.replace(row, path=Path("/v/a-copy"))])
    remove(films, [Path("/v/abxx")])
    moments = found(films, A, B)
    assert names(moments)[0] == "a-copy" and moments[0].copies == (Path("/v/xABx"),)
    assert names(found(films, A, B, copies=True))[:2] == ["a-copy", "xABx"]
    assert "abxx" not in names(moments)


def test_the_first_step_is_not_its_own_example(films: Store) -> None:
    content = films.videos()[Path("/v/xABx")].content
    steps = [Step(A, 0.5), Step(B, 0.5)]
    moments = search_sequences(films, steps, 30, asked=[Asked(frozenset({content}), 15, 10)])
    assert names(moments)[0] == "abxx"
    again = search_sequences(films, steps, 30, asked=[Asked(frozenset({content}), 25, 10)])
    assert names(again)[0] == "xABx"  # its second step may be an example of the first


def test_segments_that_touch_or_nearly_overlap_follow_one_another(store: Store) -> None:
    add(store, "damaged", [scene("A"), scene("B")], [(0, 10.004), (9.999, 20)])
    add(store, "halves", [scene("A"), scene("B")], [(0, 10), (5, 15)])
    assert names(found(store, A, B, within=0)) == ["damaged"]


def test_an_index_without_segments_has_no_sequences(store: Store) -> None:
    assert found(store, A, B) == []


def slow_best(segments: Segments, scores: np.ndarray, within: float) -> dict[int, float]:
    """The value of the best chain of each content, by trying all."""
    best: dict[int, float] = {}
    for content in np.unique(segments.contents).tolist():
        numbers = np.flatnonzero(segments.contents == content).tolist()
        for chain in itertools.permutations(numbers, len(scores)):
            gaps = [segments.starts[j] - segments.ends[i] for i, j in itertools.pairwise(chain)]
            if all(-0.01 <= gap <= within + 0.01 for gap in gaps):
                value = sum(float(scores[step, number]) for step, number in enumerate(chain))
                best[content] = max(value, best.get(content, -np.inf))
    return best


@pytest.mark.parametrize("within", [0, 7.5, 1000], ids=str)
@pytest.mark.parametrize("count", [2, 3])
def test_chains_are_the_best_of_all_that_there_are(count: int, within: float) -> None:
    rng = np.random.default_rng(3)
    lengths = [1, 2, 5, 6, 7]
    contents = np.repeat([5, 6, 900, 901, 902], lengths)
    starts = np.concatenate([np.cumsum(rng.uniform(3, 9, length)) for length in lengths])
    ends = starts + rng.uniform(1, 6, len(starts))
    scores = rng.standard_normal((count, len(starts)))
    segments = Segments(contents, starts, ends, scores)
    found: dict[int, float] = {}
    values = []
    for content, chain in best_chains(segments, scores, within):
        values.append(float(scores[range(count), chain].sum()))
        found.setdefault(content, values[-1])
    assert values == sorted(values, reverse=True)
    assert found == pytest.approx(slow_best(segments, scores, within))


@pytest.mark.parametrize("first_hits", [4, 5000], ids=["the best hits first", "all segments"])
def test_a_large_index_has_the_answers_of_a_scan_of_all(
    store: Store, monkeypatch: pytest.MonkeyPatch, first_hits: int
) -> None:
    """Few hits at first make a large index of this small one."""
    monkeypatch.setattr(sequence, "FIRST_HITS", first_hits)
    rng = np.random.default_rng(5)
    rows, embedded = [], []
    for number in range(60):
        spans = [(10.0 * i, 10.0 * i + 10) for i in range(int(rng.integers(1, 9)))]
        vectors = rng.standard_normal((len(spans), 16)).astype(np.float32)
        rows.append(make_row(f"/v/{number}", len(spans), duration=spans[-1][1]))
        embedded.append(Embedded(rows[-1].content, spans, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
    put(store, rows, embedded)
    contents = np.concatenate([np.full(len(one.spans), one.content) for one in embedded])
    starts, ends = np.concatenate([one.spans for one in embedded]).T
    vectors = np.concatenate([one.vectors for one in embedded]).astype(np.float16).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    steps = [Step(A, 0.2), Step(B, 0.3)]
    scores = np.stack([vectors @ step.vector / step.spread for step in steps])
    expected = slow_best(Segments(contents, starts, ends, scores), scores, 25)
    best = sorted(expected, key=lambda content: -expected[content])[:10]
    moments = search_sequences(store, steps, 25)
    of_path = {row.path: row.content for row in rows}
    assert [of_path[moment.path] for moment in moments] == best
    assert [moment.score * (1 / 0.2 + 1 / 0.3) for moment in moments] == pytest.approx([expected[c] for c in best])
    assert search_sequences(store, steps, 25, limit=3) == moments[:3]
    assert search_sequences(store, steps, 25, Filters(min_score=moments[2].score)) == moments[:3]
