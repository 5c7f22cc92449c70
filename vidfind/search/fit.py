"""Says how well moments fit the words of a search, and folds those that look alike.

The match is of the words alone: what is left out ranks moments, and does not change how well the words fit one.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfind.commands import index_command
from vidfind.errors import BadInput
from vidfind.search.moments import Candidate, Judge, LookAlike, Moment
from vidfind.search.question.filters import Filters
from vidfind.store.store import Store
from vidfind.words.bank import count_words
from vidfind.words.levels import FEWEST_SEGMENTS, Levels

Floats = npt.NDArray[np.floating]
ALIKE = 0.98
"""The cosine of vectors from which on moments look alike; so near to another is one in 150 of different videos."""
TOO_FEW = (
    "The index {name!r} has fewer than {fewest} segments: too few to say how well words match. --min-score works there."
)
UNKNOWN = "How well words match is not known yet in the index {name!r}. This finds out: {command}"


@dataclass(frozen=True)
class Words:
    """The words of a step; `is_alone` where there is nothing else to the step, so that its score is their cosine.

    Where the model knows none of them (not `is_known`), their vector is near some segments by chance: nothing
    matches."""

    text: str
    vector: Floats  # (D,), of unit length
    is_alone: bool
    is_known: bool = True


def require_levels(store: Store, levels: Levels | None) -> None:
    """Raises BadInput, with the remedy, if no match is known in an index."""
    if levels is None:
        is_small = store.count_segments() < FEWEST_SEGMENTS
        text, name = TOO_FEW if is_small else UNKNOWN, store.path.name
        raise BadInput(text.format(name=name, fewest=FEWEST_SEGMENTS, command=index_command(store.path)))


def least_score(filters: Filters, words: Sequence[Words] | None, levels: Levels | None) -> Filters:
    """The filters with a least score that says the same as the least match, where one follows from the other."""
    if not (filters.min_match and levels and words and len(words) == 1 and words[0].is_alone and words[0].is_known):
        return filters
    least = levels.score_of(filters.min_match, count_words([words[0].text])[0])
    return dataclasses.replace(filters, min_score=min(1.0, max(filters.min_score, least)))


def judging(store: Store, words: Sequence[Words] | None, levels: Levels | None, filters: Filters) -> Judge | None:
    """Judges the moments of a search for these words, one for each step; None where there is nothing to judge.

    `words` None: they only modify examples, and then there is no match."""
    has_match = bool(words) and levels is not None
    if not has_match and not filters.collapse:
        return None
    needs_vectors = filters.collapse or not all(one.is_alone for one in words or ())

    def judge(candidates: list[Candidate]) -> list[Moment]:
        moments = [candidate.moment for candidate in candidates]
        vectors = _best_vectors(store, candidates) if needs_vectors else [np.empty((0, 0))] * len(moments)
        if words and levels:
            moments = [_matched(one, words, levels, best) for one, best in zip(moments, vectors, strict=True)]
        fitting = [number for number, one in enumerate(moments) if (one.match or 0) >= filters.min_match]
        chosen = [candidates[number]._replace(moment=moments[number]) for number in fitting]
        return (
            _collapsed(chosen, [vectors[number] for number in fitting])
            if filters.collapse
            else [one.moment for one in chosen]
        )

    return judge


def _matched(moment: Moment, words: Sequence[Words], levels: Levels, vectors: Floats) -> Moment:
    """The moment with its match, and those of its steps; `vectors` (M, D) of its best segments, if they are needed."""
    scores = [step.score for step in moment.steps] or [moment.score]
    cosines = [
        score if one.is_alone else float(vectors[number] @ one.vector)
        for number, (score, one) in enumerate(zip(scores, words, strict=True))
    ]
    counts = count_words([one.text for one in words])
    matches = [
        levels.match(cosine, count) if one.is_known else 0
        for one, cosine, count in zip(words, cosines, counts, strict=True)
    ]
    steps = (dataclasses.replace(step, match=match) for step, match in zip(moment.steps, matches, strict=False))
    return dataclasses.replace(moment, match=min(matches), steps=tuple(steps))


def _collapsed(candidates: Sequence[Candidate], vectors: Sequence[Floats]) -> list[Moment]:
    """The moments, best first, without those that look like a better one, which names them.

    The same part of copies of one video, each of which is a result of its own, is no look-alike of itself."""
    kept: list[int] = []
    alike: dict[int, list[LookAlike]] = defaultdict(list)
    for number, (moment, content) in enumerate(candidates):
        like = next((one for one in kept if vectors[one][0] @ vectors[number][0] >= ALIKE), None)
        if like is None or (content, moment.best) == (candidates[like].content, candidates[like].moment.best):
            kept.append(number)
        else:
            alike[like].append(LookAlike(moment.path, moment.start, moment.end))
    return [dataclasses.replace(candidates[number].moment, alike=tuple(alike[number])) for number in kept]


def _best_vectors(store: Store, candidates: Sequence[Candidate]) -> list[Floats]:
    """For each moment the vectors (M, D), of unit length, of its best segment, or of that of each step."""
    segments: dict[int, list[tuple[Floats, Floats]]] = defaultdict(list)
    for contents, spans, vectors in store.segments({candidate.content for candidate in candidates}):
        for content in np.unique(contents).tolist():
            is_its = contents == content
            segments[content].append((spans[is_its].mean(axis=1), vectors[is_its]))
    found: list[Floats] = []
    for moment, content in candidates:
        times = [(step.start + step.end) / 2 for step in moment.steps] or [moment.best]
        if content not in segments:  # encoded again meanwhile
            found.append(np.zeros((len(times), store.dim)))
            continue
        middles, vectors = (np.concatenate(parts) for parts in zip(*segments[content], strict=True))
        best = vectors[[int(abs(middles - time).argmin()) for time in times]]
        found.append(best / np.linalg.norm(best, axis=1, keepdims=True))
    return found
