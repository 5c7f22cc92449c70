"""Recall and ranks: how well captions find their videos, and videos their captions.

Works on similarities only; knows nothing of files or models. Letters: Q queries, N items.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfind.training.recipe import FEWEST_OF_WORD, FEWEST_TO_TELL
from vidfind.words.naming import has_any, has_word, replaced

CHANCE = 0.01  # not 0.05: the best of several states of a training is judged, which flatters it


@dataclass(frozen=True)
class Recall:
    """Results of `count` queries. R@k is the percentage of queries with a right item among their first k.

    `median` and `mean` are of the ranks. The rank of a query is that of its best right item; 1 is best."""

    r1: float
    r5: float
    r10: float
    median: float
    mean: float
    count: int


@dataclass(frozen=True)
class Retrieval:
    """Captions as queries for videos, and videos as queries for captions."""

    text_to_video: Recall
    video_to_text: Recall

    @property
    def r_sum(self) -> float:
        """The sum of the six recalls: 600 is perfect."""
        return sum(recall.r1 + recall.r5 + recall.r10 for recall in (self.text_to_video, self.video_to_text))

    def as_dict(self) -> dict[str, Any]:
        """Returns nested dicts of numbers, for JSON."""
        return {**dataclasses.asdict(self), "r_sum": self.r_sum}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Retrieval:
        """Returns the object that `as_dict` was called on."""
        return cls(Recall(**values["text_to_video"]), Recall(**values["video_to_text"]))


@dataclass(frozen=True)
class Validated:
    """The held-out pairs judged after `step` steps; `is_best` if never better before."""

    step: int
    loss: float
    retrieval: Retrieval
    is_best: bool


@dataclass(frozen=True)
class Firsts:
    """How many of `count` held-out captions find their video first."""

    count: int
    before: int
    """Found first before training."""
    after: int
    """Found first after it."""


@dataclass(frozen=True)
class WordMarks(Firsts):
    """How the held-out captions that have a learned word find their videos."""

    gain: float
    """By how much the word adds to the logarithm of the probability of the right video, in the mean of the captions:
    more than without the word."""
    error: float
    """The standard error of `gain`."""

    @property
    def verdict(self) -> str:
        """`learned`, `not learned`, or `unknown` where nothing tells: the captions are too few, or all of them find
        their video, with the word and without it."""
        if self.count >= FEWEST_OF_WORD and self.gain > self.error:
            return "learned"
        return "not learned" if self.count >= FEWEST_OF_WORD and self.gain <= 0 and not self.finds_all else "unknown"

    @property
    def finds_all(self) -> bool:
        """Whether every caption finds its video first after training."""
        return self.after == self.count >= FEWEST_OF_WORD

    def as_dict(self) -> dict[str, Any]:
        """Returns the marks that an adapter keeps; none without captions."""
        if not self.count:
            return {}
        return {"held_out": self.count, "before": self.before, "after": self.after, "verdict": self.verdict}


def likely_range(found: int, count: int) -> tuple[float, float]:
    """Returns the shares, in percent, between which `found` of `count` leave the true share with 95 % confidence.

    Wilson's interval."""
    if not count:
        return 0.0, 100.0
    z = 1.96
    share, spread = found / count, z * math.sqrt(found * (count - found) / count + z * z / 4) / count
    middle, width = share + z * z / (2 * count), 1 + z * z / count
    return 100 * max(0.0, (middle - spread) / width), 100 * min(1.0, (middle + spread) / width)


def clearly_rose(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> bool:
    """Whether more queries find a right item first than before, beyond chance. Both (Q,), of the same queries.

    McNemar's exact test, one-sided: of the queries that changed, gained ones are as likely as lost ones if nothing has
    improved. With fewer queries than `FEWEST_TO_TELL`, False."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    changed = gained + lost
    chance = sum(math.comb(changed, count) for count in range(gained, changed + 1)) / 2**changed
    return len(before) >= FEWEST_TO_TELL and chance <= CHANCE


def judge(
    similarity: npt.NDArray[np.floating],
    relevant: npt.NDArray[np.bool_],
    captions: int | None = None,
    items: int | None = None,
) -> Retrieval:
    """Returns both directions, from similarities of captions and items (C, N) and a mask (C, N) of right pairs.

    Only the first `captions` and `items` are queries, by default all; the others stay candidates. So does a caption or
    item without a right partner. Raises ValueError if there is no right pair."""
    queries, asked = relevant[:captions].any(axis=1), relevant[:, :items].any(axis=0)
    return Retrieval(
        recall_of(ranks(similarity[:captions][queries], relevant[:captions][queries])),
        recall_of(ranks(similarity[:, :items][:, asked].T, relevant[:, :items][:, asked].T)),
    )


def log_probabilities(logits: npt.NDArray[np.floating], relevant: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Returns the logarithm of the probability (softmax) of a right item for each query: (Q, N), (Q, N) -> (Q,)."""
    logits = logits - logits.max(axis=1, keepdims=True)
    right = np.where(relevant, np.exp(logits), 0.0).sum(axis=1)
    found: npt.NDArray[np.float64] = np.log(np.maximum(right, 1e-30)) - np.log(np.exp(logits).sum(axis=1))
    return found


@dataclass(frozen=True)
class Judged:
    """How well the held-out captions and clips are found in one state of a training."""

    retrieval: Retrieval
    loss: float
    """The mean of minus the logarithm of the probability of a right clip, over the held-out captions."""
    first: npt.NDArray[np.bool_]
    """(C,) whether each held-out caption finds its clip first."""
    words: Mapping[str, tuple[Sequence[int], npt.NDArray[np.float64]]]
    """Of each learned word, the places of the held-out captions that have it, and how much the word adds to the
    logarithm of the probability of their right clips."""
    rest: Sequence[int] = ()
    """The places of the held-out captions without a learned word."""

    def since(self, before: npt.NDArray[np.bool_]) -> tuple[bool, Firsts, dict[str, WordMarks]]:
        """Compares this state with one in which the captions `before` (C,) found their clip first.

        Returns whether clearly more do now (`clearly_rose`), how many without a learned word do, and how many of those
        with each."""
        rest = list(self.rest)
        marks = {word: mark_word(before[own], self.first[own], gains) for word, (own, gains) in self.words.items()}
        without = Firsts(len(rest), int(before[rest].sum()), int(self.first[rest].sum()))
        return clearly_rose(before, self.first), without, marks


def judge_held_out(
    similarity: Callable[[Sequence[str]], npt.NDArray[np.floating]],
    captions: Sequence[str],
    relevant: npt.NDArray[np.bool_],
    held_out: int,
    clips: int,
    words: Sequence[str],
    scale: float,
) -> Judged:
    """Judges the first `held_out` captions and the first `clips` clips among all.

    `similarity` turns captions into similarities (C, N) with the clips; `relevant` (P, N) are the right ones of all P
    captions; `scale` makes logits of similarities."""
    found = similarity(captions)
    placed = log_probabilities(scale * found[:held_out], relevant[:held_out])
    gains = {}
    for word in words:
        places = [place for place, caption in enumerate(captions[:held_out]) if has_word(caption, word)]
        gains[word] = places, placed[places]
        if places:
            without = similarity([replaced(captions[place], word, "") for place in places])
            gains[word] = places, placed[places] - log_probabilities(scale * without, relevant[places])
    first = ranks(found[:held_out], relevant[:held_out]) <= 1
    rest = [place for place, caption in enumerate(captions[:held_out]) if not has_any(caption, words)]
    return Judged(judge(found, relevant, held_out, clips), float(-placed.mean()), first, gains, rest)


def mark_word(
    before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], gains: npt.NDArray[np.floating]
) -> WordMarks:
    """Returns the marks of a word, from the captions (C,) that have it: which find their item first before training and
    after, and how much the word adds to the logarithm of the probability of the right item."""
    count = len(gains)
    error = float(gains.std(ddof=1) / math.sqrt(count)) if count > 1 else math.inf
    return WordMarks(count, int(before.sum()), int(after.sum()), float(gains.mean()) if count else 0.0, error)


def ranks(similarity: npt.NDArray[np.floating], relevant: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Returns the rank of each query's best right item among all wrong items: (Q, N), (Q, N) -> (Q,); 1 is best.

    Every query needs a right item. A wrong item with the same score counts half, as the average over random orders, so
    that an encoder that gives everything the same score gets no credit. NaN counts as the lowest score."""
    similarity = np.where(np.isnan(similarity), -np.inf, similarity)
    if not relevant.any(axis=1).all():
        raise ValueError("every query needs a right item")
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)  # (Q, 1)
    better = ((similarity > best) & ~relevant).sum(axis=1)
    as_good = ((similarity == best) & ~relevant).sum(axis=1)
    found: npt.NDArray[np.float64] = 1.0 + better + as_good / 2
    return found


def recall_of(ranks: npt.NDArray[np.float64]) -> Recall:
    """Returns the recall for the rank of each query (Q,). Raises ValueError if there are no queries."""
    if not len(ranks):
        raise ValueError("there are no queries")
    r1, r5, r10 = (100 * float(np.mean(ranks <= k)) for k in (1, 5, 10))
    return Recall(r1, r5, r10, float(np.median(ranks)), float(np.mean(ranks)), len(ranks))
