"""The suggestions that an owner decides about, the most useful first, and what each decision changes.

Knows nothing of a screen. Times in videos are in seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vidfind.store.store import Store
from vidfind.tagging.edit import Suggested, add_labels, known_tag, said_by_owner, suggestions, tag_label
from vidfind.tagging.labels import Changes, name_key
from vidfind.tagging.learning.vectors import unit

DECISIONS_AN_ORDER = 10
"""After so many decisions, the order of those that are left is made anew."""
LIKENESS = 0.5
"""How much it changes a confidence that a segment looks just like one that was accepted or rejected."""

Vectors = Mapping[tuple[int, float], npt.NDArray[np.float32]]
"""Vectors (D,) of segments by their content and start."""


class Decision(NamedTuple):
    """The answer of the owner to a suggestion, and the labels that it changed."""

    suggested: Suggested
    is_yes: bool
    changes: Changes


def review_order(
    suggested: Sequence[Suggested], decided: Sequence[tuple[Suggested, bool]] = (), vectors: Vectors | None = None
) -> list[Suggested]:
    """Returns suggestions with the most useful first: the best of each tag, then the second best of each, and so on.

    `decided` are suggestions that the owner has said yes or no to: one that looks more like a rejected segment of its
    tag than like an accepted one comes later, and the other way round. `vectors` are those of all these segments."""
    found = vectors or {}
    worth = {one: one.confidence + LIKENESS * _likeness(one, decided, found) for one in suggested}
    by_tag: dict[str, list[Suggested]] = defaultdict(list)
    for one in sorted(suggested, key=lambda one: (-worth[one], one.video, name_key(one.name))):
        by_tag[name_key(one.name)].append(one)
    place = {one: number for every in by_tag.values() for number, one in enumerate(every)}
    return sorted(suggested, key=lambda one: (place[one], -worth[one], one.video, name_key(one.name)))


def _likeness(one: Suggested, decided: Sequence[tuple[Suggested, bool]], vectors: Vectors) -> float:
    """Returns how much more a segment is like accepted ones of its tag than like rejected ones, from -1 to 1."""
    own = vectors.get((one.content, one.start))
    likest = {True: 0.0, False: 0.0}
    for other, is_yes in decided:
        vector = vectors.get((other.content, other.start))
        if own is not None and vector is not None and name_key(other.name) == name_key(one.name):
            likest[is_yes] = max(likest[is_yes], float(own @ vector))
    return likest[True] - likest[False]


class Review:
    """Goes through the suggestions of an index, one by one; keeps each decision at once."""

    def __init__(self, store: Store, tag: str | None, limit: int) -> None:
        """At most `limit` suggestions are decided or skipped; with a `tag`, only those of it. Raises Unusable for a
        tag that nothing has."""
        self._store, self._limit = store, limit
        self._key = name_key(known_tag(store, tag)) if tag is not None else None
        self.decisions: list[Decision] = []
        self._skipped: set[Suggested] = set()
        self._order_anew()

    def _order_anew(self) -> None:
        """Puts what is left in order, as the store has it now: another program may have changed it."""
        found = suggestions(self._store, said_by_owner(self._store))
        left = [one for (key, _), one in found.items() if self._key in (None, key) and one not in self._skipped]
        decided = [(one.suggested, one.is_yes) for one in self.decisions]
        vectors = _vectors_of(self._store, [*left, *(one for one, _ in decided)]) if decided else None
        self._left = review_order(left, decided, vectors)

    @property
    def count_left(self) -> int:
        """The number of suggestions that are neither decided nor skipped."""
        return len(self._left)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to decide, or as much as was asked for is decided or skipped."""
        return not self._left or len(self.decisions) + len(self._skipped) >= self._limit

    def upcoming(self) -> list[Suggested]:
        """The suggestions to be decided, in their order, as many as are asked for."""
        return self._left[: self._limit - len(self.decisions) - len(self._skipped)]

    def decide(self, is_yes: bool) -> None:
        """Says yes or no to the next suggestion, and stores that. Raises IndexBusy; then nothing is decided."""
        one = self._left[0]
        row = next(row for row in self._store.videos_of([one.content]))
        changes = add_labels(self._store, [tag_label(row, one.name, 1 if is_yes else -1)])
        self.decisions.append(Decision(one, is_yes, changes))
        self._left.pop(0)
        if len(self.decisions) % DECISIONS_AN_ORDER == 0:
            self._order_anew()

    def skip(self) -> None:
        """Leaves the next suggestion undecided; this review does not come back to it."""
        self._skipped.add(self._left.pop(0))

    def undo(self) -> Suggested | None:
        """Takes the last decision back, and returns its suggestion, which is the next one; None if there is none."""
        if not self.decisions:
            return None
        last = self.decisions[-1]
        with self._store.writing() as writer:
            writer.change_labels(last.changes.drop.values(), last.changes.put.values())
        self.decisions.pop()
        self._left.insert(0, last.suggested)
        return last.suggested


def _vectors_of(store: Store, suggested: Sequence[Suggested]) -> dict[tuple[int, float], npt.NDArray[np.float32]]:
    """Returns the vectors of segments without what all of these have in common, of unit length."""
    wanted = {(one.content, one.start) for one in suggested}
    found: dict[tuple[int, float], npt.NDArray[np.float32]] = {}
    for contents, spans, vectors in store.segments({content for content, _ in wanted}):
        for content, start, vector in zip(contents.tolist(), spans[:, 0].tolist(), vectors, strict=True):
            if (content, start) in wanted:
                found[content, start] = vector
    if not found:
        return found
    rows = np.stack([*found.values()])
    return dict(zip(found, unit(rows - rows.mean(axis=0)), strict=True))
