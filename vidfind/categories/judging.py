"""How good learned classes are on examples that they were not learned from, and which scores are good enough.

Plain functions on numpy arrays. Letters: B bags (see vectors.py), C classes of one task.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.integer[Any]]

UNLABELLED_WEIGHT = 0.25
"""Weight of all unlabelled segments together, where each example counts 1: some of them do show a class."""


def accuracy(predicted: Numbers, right: Numbers, balanced: bool = False) -> float:
    """Returns how many of 100 rows are right; `balanced`: the mean over the classes that have rows."""
    if not len(right):
        return 0.0
    hits = predicted == right
    if not balanced:
        return 100 * float(hits.mean())
    return 100 * float(np.mean([hits[right == one].mean() for one in np.unique(right)]))


def leads(logits: Floats, none: Floats | float) -> tuple[Numbers, Floats]:
    """Returns the best class (B,) for logits (B, C), and by how much it beats the next best and "none" (B,)."""
    best = logits.argmax(axis=1)
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, best] = -np.inf
    rival = np.maximum(others.max(axis=1), none)
    return best, logits[rows, best] - rival


def best_limit(values: Floats, gains: Floats) -> float:
    """Returns the value from which on accepting is worth most: the sum of the gains (B,) of all rows (B,) at or above.

    Of equally good limits the highest; infinity where accepting is worth nothing."""
    if not len(values):
        return np.inf
    order = np.argsort(-values, kind="stable")
    ordered, worth = values[order], np.cumsum(gains[order])
    is_last = np.append(ordered[1:] != ordered[:-1], True)  # equal values are accepted together
    worth = np.where(is_last, worth, -np.inf)
    return float(ordered[worth.argmax()]) if worth.max() > 0 else np.inf
