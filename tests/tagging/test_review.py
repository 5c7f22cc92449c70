"""The order of suggestions."""

from __future__ import annotations

import numpy as np

from vidfind.tagging.edit import Suggested
from vidfind.tagging.review import review_order


def one(content: int, name: str, confidence: float) -> Suggested:
    return Suggested(f"video {content}", content, 0.0, 10.0, name, confidence)


def test_the_best_of_each_tag_comes_first() -> None:
    dogs = [one(1, "dog", 0.9), one(2, "Dog", 0.8), one(3, "dog", 0.7)]
    cats = [one(1, "cat", 0.5), one(4, "cat", 0.6)]
    assert review_order([*dogs, *cats]) == [dogs[0], cats[1], dogs[1], cats[0], dogs[2]]


def test_what_looks_like_rejected_ones_of_its_tag_comes_later() -> None:
    first, second, third, other = (one(content, "dog", 0.5) for content in (1, 2, 3, 4))
    cat = one(3, "cat", 0.5)
    rejected, accepted = one(5, "dog", 0.9), one(6, "dog", 0.9)
    directions = np.eye(6, dtype=np.float32)
    places = {1: 0, 2: 1, 3: 0, 4: 2, 5: 0, 6: 1}
    vectors = {(content, 0.0): directions[place] for content, place in places.items()}
    decided = [(rejected, False), (accepted, True)]
    assert review_order([first, third, other, second, cat], decided, vectors) == [second, cat, other, first, third]
