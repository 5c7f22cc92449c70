"""Recall and ranks: how well captions find their videos, and videos their captions.

Works on similarities only; knows nothing of files or models. Letters: Q queries, N items.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfind.training.recipe import FEWEST_OF_WORD, FEWEST_TO_TELL

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
class WordMarks:
    """How the held-out captions that have a learned word find their videos. `count` captions; the others in number."""

    count: int
    before: int
    """Found first before training, when the model did not know the word."""
    after: int
    """Found first after it."""
    gain: float
    """By how much the word adds to the logarithm of the probability of the right video, in the mean of the captions:
    more than without the word."""
    error: float
    """The standard error of `gain`."""

    @property
    def verdict(self) -> str:
        """`learned`, `not learned`, or `unknown` where the captions are too few to tell."""
        if self.count >= FEWEST_OF_WORD and self.gain <= 0:
            return "not learned"
        return "learned" if self.count >= FEWEST_OF_WORD and self.gain > self.error else "unknown"


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


def judge(similarity: npt.NDArray[np.floating], relevant: npt.NDArray[np.bool_]) -> Retrieval:
    """Returns both directions, from similarities of captions and items (C, N) and a mask (C, N) of right pairs.

    A caption or item without a right partner is not a query, but stays a candidate for the others. Raises ValueError
    if there is no right pair."""
    captions, items = relevant.any(axis=1), relevant.any(axis=0)
    return Retrieval(
        recall_of(ranks(similarity[captions], relevant[captions])),
        recall_of(ranks(similarity[:, items].T, relevant[:, items].T)),
    )


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
