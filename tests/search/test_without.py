"""What is left out of a search, on scenes of the drawn world, and in an index that is searched approximately."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from tests.measure.expressions import Ways, has_enough, plain_tasks, score_tasks, spread_over
from tests.support.drawn_world import kept_world
from tests.support.rows import embed, make_row, unit_vectors
from tests.support.stored import compact, put
from vidfind.encoders.encoder import Encoder
from vidfind.search.query import combined
from vidfind.store import nearest
from vidfind.store.store import Store


def test_what_is_left_out_leaves_the_first_ten(tiny_encoder: Encoder) -> None:
    """In 50 tasks such as "a red shape" without "a circle"."""
    world = kept_world()
    tasks = [task for task in Random(3).sample(list(plain_tasks()), 120) if has_enough(world, task, 10)][:50]
    assert len(tasks) == 50
    ways = Ways(tiny_encoder, world)
    scores = score_tasks(
        world, {"words": lambda task: ways.text(task.words), "without": lambda task: ways.subtracted(task, 0.5)}, tasks
    )
    (precision, leak, _), (without_precision, without_leak, _) = scores["words"], scores["without"]
    assert without_precision >= precision + 8
    assert without_leak <= leak / 2


def test_a_large_index_has_the_ten_of_a_scan_for_what_is_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "INDEXED_ROWS", 500)
    monkeypatch.setattr(nearest, "ROWS_A_PART", 100)
    rows = [make_row(f"/v/{number}.mp4", 30) for number in range(20)]
    put(store, rows, [embed(row, number) for number, row in enumerate(rows)])
    compact(store)
    everything = np.concatenate([vectors for _, _, vectors in store.segments()])
    words = unit_vectors(10, seed=99)
    for wanted, unwanted in zip(words[:5], words[5:], strict=True):
        vector = combined([wanted], [unwanted], spread_over(store.sample(2000)))
        assert vector is not None
        expected = np.sort(everything @ vector)[::-1][:10]
        assert [hit.score for hit in store.search(vector, 10)] == pytest.approx(expected, abs=2e-3)
