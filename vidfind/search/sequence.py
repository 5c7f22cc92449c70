"""Finds sequences, "first this, then that": different segments of one video, in order and within a time.

Of one video, `V_1(j) = z_1(j)` and `V_k(j) = z_k(j) + max V_(k-1)(i)` over the segments i that end at most `within`
seconds before segment j starts, where z is a score divided by its spread over the index. The best V of the last step is
the answer. All videos are computed together on plain arrays. Times are in seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from vidfind.search.moments import (
    FEW_VIDEOS,
    Asked,
    Found,
    Judge,
    Moment,
    MomentStep,
    allowing,
    fold,
    select,
    show_best,
    videos_of,
)
from vidfind.search.question.filters import LIMIT, NO_FILTERS, Filters
from vidfind.search.spans import ScoredSpan
from vidfind.search.tagged import NamedSegments, named_segments
from vidfind.store.nearest import Hit
from vidfind.store.store import Store

if TYPE_CHECKING:
    from vidfind.store.select import SelectedVideos

# Hits of each step that tell which videos can be among the best; then so many times more.
FIRST_HITS = 500
MORE_HITS = 4
# With more hits, it is quicker to read all segments.
MOST_HITS = 2000
# LanceDB computes scores in another order than NumPy does.
ROUNDING = 1e-4
# Segments of damaged files may overlap by so many seconds, and follow one another at most so much later.
TOUCH = 0.01
NEVER = -np.inf

Floats = npt.NDArray[np.floating]


class Step(NamedTuple):
    """A step of an expression, with all that is to be like it and is left out."""

    vector: Floats
    """(D,), of unit length."""
    spread: float = 1.0
    """The spread of its similarities over the index."""
    text: str = ""
    """Its words; empty where there are only examples."""
    words: Floats | None = None
    """The vector of the words alone, (D,)."""
    is_known: bool = True
    """Whether the model knows any of the words."""


class Segments(NamedTuple):
    """N segments in any order: contents (N,), starts and ends (N,), cosines to each step (M, N)."""

    contents: npt.NDArray[np.int64]
    starts: Floats
    ends: Floats
    cosines: Floats


def search_sequences(
    store: Store,
    steps: Sequence[Step],
    within: float,
    filters: Filters = NO_FILTERS,
    limit: int = LIMIT,
    asked: Sequence[Asked] = (),
    judge: Judge | None = None,
) -> list[Moment]:
    """The `limit` best sequences of steps that `filters` allow, best first: fewer if fewer videos have one.

    A moment goes from the start of the first step to the end of the last. The first step is not in `asked`. Raises
    BadInput if `limit` is below 1, or no video is in a place of `filters.folder`."""
    tagged = named_segments(store, filters)
    chosen = select(store, filters, tagged)

    def find(count: int) -> list[Found]:
        return _best_sequences(store, steps, within, count, filters, chosen, tagged, asked)

    return show_best(store, find, filters, limit, judge)


def best_chains(segments: Segments, scores: Floats, within: float) -> Iterator[tuple[int, list[int]]]:
    """Yields contents with the numbers of the segments of a chain, best first; `scores` (M, N) are added up.

    Of each segment that a chain can end with, it is the best chain; none with a score of NEVER."""
    contents, starts = segments.contents, segments.starts
    ends = np.maximum(segments.ends, starts + 2 * TOUCH)  # no segment comes after itself
    within = min(within, float(ends.max(initial=0.0)))
    # Times of all contents on one line, so far apart that none reaches into the time of another.
    offsets = np.unique(contents, return_inverse=True)[1] * (2 * float(ends.max(initial=0.0)) + 1)
    order = np.argsort(ends + offsets, kind="stable")
    ends_in_order = (ends + offsets)[order]
    first = np.searchsorted(ends_in_order, starts + offsets - within - TOUCH, "left")
    last = np.searchsorted(ends_in_order, starts + offsets + TOUCH, "right")
    values = [scores[0]]
    for step in scores[1:]:
        values.append(step + _window_max(values[-1][order], first, last))
    for end in np.argsort(-values[-1], kind="stable").tolist():
        if not np.isfinite(values[-1][end]):
            return
        path = [end]
        for value in reversed(values[:-1]):
            before = order[first[path[0]] : last[path[0]]]
            path.insert(0, int(before[value[before].argmax()]))
        yield int(contents[end]), path


def _window_max(
    values: Floats, first: npt.NDArray[np.integer], last: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """The greatest of `values[first:last]` for each pair of numbers (N,); NEVER where that is empty.

    `level[i]` is the greatest of the `size` values from i on, and two of these cover a window."""
    found = np.full(len(first), NEVER)
    widths = last - first
    level, size = values, 1
    while size <= widths.max(initial=0):
        fits = (widths >= size) & (widths < 2 * size)
        found[fits] = np.maximum(level[first[fits]], level[last[fits] - size])
        level, size = np.maximum(level[:-size], level[size:]), 2 * size
    return found


def _best_sequences(
    store: Store,
    steps: Sequence[Step],
    within: float,
    limit: int,
    filters: Filters,
    chosen: SelectedVideos | None,
    tagged: NamedSegments | None,
    asked: Sequence[Asked],
) -> list[Found]:
    """The `limit` best sequences with their videos, best first; only of the `chosen` videos, if given.

    The best hits of each step bound what a sequence of a video is worth: a segment that is no hit scores less than the
    last one. Only videos that can be among the best are read, the most promising first: the answer is exact."""
    used = set(store.columns("content")["content"].to_numpy().tolist()) if chosen is None else chosen.contents()
    total = sum(1 / step.spread for step in steps)
    has_bounds = chosen is None or len(used) > FEW_VIDEOS
    count, read, seen, found = FIRST_HITS, list[Segments](), set[int](), list[Found]()
    worth, others = _bounds(store, steps, count) if has_bounds else (None, NEVER)
    while True:
        is_full = len(found) == limit
        least = total * max(filters.min_score, found[-1].span.score if is_full else -1.0) - ROUNDING
        among: set[int] | None = None
        if worth is not None:
            good = [content for content in worth if worth[content] >= least and content not in seen and content in used]
            if not good and others <= least:
                return found
            if not good:
                count *= MORE_HITS
                worth, others = _bounds(store, steps, count)
                continue
            among = set(good[: max(2 * limit, 4 * len(seen))])
            seen |= among
        if among is None or len(seen) > FEW_VIDEOS:
            among, worth = None if chosen is None or len(used) > FEW_VIDEOS else used, None
            read.clear()
        read.append(_read(store, steps, among))
        segments = Segments(*(np.concatenate(parts, axis=-1) for parts in zip(*read, strict=True)))
        scores = _allowed(segments, steps, used, filters, chosen, tagged, asked)
        found = _found(store, segments, scores, steps, within, limit, filters, chosen)
        if worth is None:
            return found


def _bounds(store: Store, steps: Sequence[Step], count: int) -> tuple[dict[int, float] | None, float]:
    """The most that a sequence of a content is worth, by the `count` best hits of each step, the greatest first; and
    the most that one of any other content is worth. None: all are to be looked at."""
    if count > MOST_HITS:
        return None, NEVER
    with ThreadPoolExecutor(len(steps)) as pool:
        hits = [*pool.map(lambda step: store.search(step.vector, count), steps)]
    if len(hits[0]) < count:
        return None, NEVER
    best = [{hit.content: hit.score for hit in reversed(one)} for one in hits]  # of each content its first hit
    spreads = [step.spread for step in steps]
    last = [one[-1].score for one in hits]

    def worth(content: int) -> float:
        return sum(one.get(content, least) / spread for one, least, spread in zip(best, last, spreads, strict=True))

    bounds = {content: worth(content) for content in set().union(*best)}
    return dict(sorted(bounds.items(), key=lambda one: -one[1])), worth(0)


def _read(store: Store, steps: Sequence[Step], contents: set[int] | None) -> Segments:
    """The segments of some contents, or of all, and how well they answer each step."""
    vectors = np.stack([step.vector for step in steps])
    numbers, spans, cosines = [np.empty(0, np.int64)], [np.empty((0, 2))], [np.empty((0, len(steps)))]
    for batch, times, stored in store.segments(contents):
        numbers.append(batch)
        spans.append(times)
        lengths = np.sqrt(np.einsum("ij,ij->i", stored, stored))[:, np.newaxis]
        cosines.append(stored @ vectors.T / np.maximum(lengths, 1e-12))
    starts, ends = np.concatenate(spans).T
    return Segments(np.concatenate(numbers), starts, ends, np.concatenate(cosines).T)


def _allowed(
    segments: Segments,
    steps: Sequence[Step],
    used: set[int],
    filters: Filters,
    chosen: SelectedVideos | None,
    tagged: NamedSegments | None,
    asked: Sequence[Asked],
) -> Floats:
    """The scores (M, N) divided by their spread; NEVER where a segment cannot be a part of an answer."""
    scores: Floats = segments.cosines / np.array([[step.spread] for step in steps])
    scores[:, ~np.isin(segments.contents, [*used])] = NEVER
    allows, is_example = allowing(filters, chosen, (), tagged), allowing(NO_FILTERS, None, asked)
    examples = {content for one in asked for content in one.contents}
    is_any_in_doubt = filters.between is not None or tagged is not None
    is_in_doubt = np.isfinite(scores[0]) if is_any_in_doubt else np.isin(segments.contents, [*examples])
    for number in np.flatnonzero(is_in_doubt):
        hit = Hit(int(segments.contents[number]), segments.starts[number], segments.ends[number], 0.0)
        if not allows(hit):
            scores[:, number] = NEVER
        elif not is_example(hit):
            scores[0, number] = NEVER
    return scores


def _found(
    store: Store,
    segments: Segments,
    scores: Floats,
    steps: Sequence[Step],
    within: float,
    limit: int,
    filters: Filters,
    chosen: SelectedVideos | None,
) -> list[Found]:
    """The `limit` best sequences of the segments, with their videos, best first."""
    best = _best_contents(segments, scores, steps, within, filters)
    answers: dict[int, list[Answer]] = {}
    while True:
        more = dict(itertools.islice(best, limit))
        answers |= more
        videos = fold(videos_of(store, list(answers), chosen))
        found = [
            Found(answer.span, rows, answer.parts)
            for content, all_rows in videos.items()
            for answer in answers[content]
            for rows in ([[row] for row in all_rows] if filters.copies else [all_rows])
        ]
        if len(videos) >= limit or len(more) < limit:
            found.sort(key=lambda one: (-one.span.score, min(row.path for row in one.rows), one.span.start))
            return found[:limit]


class Answer(NamedTuple):
    """A sequence, and the segments of its steps."""

    span: ScoredSpan
    parts: tuple[MomentStep, ...]


def _best_contents(
    segments: Segments, scores: Floats, steps: Sequence[Step], within: float, filters: Filters
) -> Iterator[tuple[int, list[Answer]]]:
    """Yields contents, best first, each with its sequences: as many as filters allow, none over another."""
    seen = set()
    for content, chain in best_chains(segments, scores, within):
        if content in seen:
            continue
        seen.add(content)
        answers = [_answer(segments, chain, steps)]
        if answers[0].span.score < filters.min_score:
            return
        left = scores
        while len(answers) < filters.per_video:
            span = answers[-1].span
            is_taken = (segments.starts < span.end) & (span.start < segments.ends)
            left = np.where(is_taken | (segments.contents != content), NEVER, left)
            _, chain = next(best_chains(segments, left, within), (0, []))
            if not chain or (answer := _answer(segments, chain, steps)).span.score < filters.min_score:
                break
            answers.append(answer)
        yield content, answers


def _answer(segments: Segments, chain: list[int], steps: Sequence[Step]) -> Answer:
    weights = np.array([1 / step.spread for step in steps])
    begins, ends = segments.starts[chain].tolist(), segments.ends[chain].tolist()
    cosines = segments.cosines[range(len(chain)), chain]
    span = ScoredSpan(float(cosines @ weights / weights.sum()), begins[0], ends[-1], (begins[0] + ends[0]) / 2)
    return Answer(span, tuple(map(MomentStep, begins, ends, cosines.tolist())))
