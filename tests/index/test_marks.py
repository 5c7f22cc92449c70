"""Tags that were learnt before, on videos that are indexed later."""

from pathlib import Path

import numpy as np

from tests.support.indexing import Index
from tests.support.stored import begin_again
from vidfind.index.writer import make_marker
from vidfind.store.store import Embedded, Store
from vidfind.tagging.learning.examples import YES, Weights
from vidfind.tagging.learning.guard import HeldOut
from vidfind.tagging.saved import Tagger, write_tagger


def learn(store: Store, vector: np.ndarray) -> None:
    """Stores a tag that segments have whose vector is nearly this one."""
    held_out = HeldOut(
        np.arange(4), np.array([[0.9], [0.9], [0.9], [0.0]], np.float32), np.array([[YES]] * 3 + [[0]], np.int8)
    )
    weights = Weights(vector[None].astype(np.float32), np.zeros(1, np.float32), 1.0)
    shift = np.zeros(len(vector), np.float32)
    tagger = Tagger(("dog",), weights, shift, np.array([0.99]), held_out, "blend", {})
    with store.writing() as writer:
        writer.replace_marks("tag", write_tagger(store, tagger, shift, 0), ["dog"], [])


def test_new_videos_are_tagged_as_they_are_indexed(index: Index, film_store: Store, made: Path, library: Path) -> None:
    index(library)
    rows = film_store.videos()
    first = min(rows)
    contents, _, vectors = next(film_store.segments())
    learn(film_store, vectors[contents == rows[first].content][0])
    assert not film_store.marks()

    index(library, force=True)
    marks = film_store.marks()
    tagged = {row.path for row in film_store.videos().values() if row.content in {mark.content for mark in marks}}
    assert tagged == {first}
    assert all(0 < mark.tags["dog"] < 1 for mark in marks)

    content, vector = 7, vectors[:1]
    one = Embedded(content, [(0.0, 1.0)], vectors[contents == rows[first].content][:1])
    assert [mark.content for mark in make_marker(film_store)([one, Embedded(8, [], vector[:0])])] == [7]
    again = begin_again(film_store, "home")
    assert make_marker(again)([one]) == []  # of another encoding, tags must be learnt again
