"""How well captions find what they tell of, and the other way round: recall, and ranks.

Works on similarities alone; knows nothing of files or models. Letters: Q queries, N items.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Recall:
    """How `count` queries did. R@k: of 100 queries, how many have a right item among their first k.

    The rank of a query is that of its best right item; 1 is best."""

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
        """Nothing but dicts and numbers, for JSON."""
        return {**dataclasses.asdict(self), "r_sum": self.r_sum}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Retrieval:
        """What `as_dict` gave."""
        return cls(Recall(**values["text_to_video"]), Recall(**values["video_to_text"]))


def judge(similarity: npt.NDArray[np.floating], relevant: npt.NDArray[np.bool_]) -> Retrieval:
    """Both directions at once, from similarities of captions and items (C, N) and which of them belong together.

    A caption or item to which nothing belongs is no query; it stays among what the others have to be told from.
    Raises ValueError when nothing belongs together."""
    captions, items = relevant.any(axis=1), relevant.any(axis=0)
    return Retrieval(
        recall_of(ranks(similarity[captions], relevant[captions])),
        recall_of(ranks(similarity[:, items].T, relevant[:, items].T)),
    )


def ranks(similarity: npt.NDArray[np.floating], relevant: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The rank of each query's best right item among all that are not right: (Q, N), (Q, N) -> (Q,), 1 is best.

    Every query needs a right item. What scores the same as it counts half, as a fair lot would have it: an encoder to
    which all is the same gets no credit. Something that is not a number is worse than anything."""
    similarity = np.where(np.isnan(similarity), -np.inf, similarity)
    if not relevant.any(axis=1).all():
        raise ValueError("every query needs a right item")
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)  # (Q, 1)
    better = ((similarity > best) & ~relevant).sum(axis=1)
    as_good = ((similarity == best) & ~relevant).sum(axis=1)
    found: npt.NDArray[np.float64] = 1.0 + better + as_good / 2
    return found


def recall_of(ranks: npt.NDArray[np.float64]) -> Recall:
    """Recall from the rank of each query. Raises ValueError when there is none."""
    if not len(ranks):
        raise ValueError("there are no queries")
    r1, r5, r10 = (100 * float(np.mean(ranks <= k)) for k in (1, 5, 10))
    return Recall(r1, r5, r10, float(np.median(ranks)), float(np.mean(ranks)), len(ranks))
