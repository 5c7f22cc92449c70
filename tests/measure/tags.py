"""Times of tags in a large index: `uv run python tests/measure/tags.py [VIDEOS]`, by default 20,000 of five segments.

Vectors are random and short, so that what is measured is the work on tags.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.rows import DIM, make_row, unit_vectors
from tests.support.stored import put
from vidfind.encoders.names import EncoderIdentity
from vidfind.search.moments import search_moments
from vidfind.search.question.filters import Filters
from vidfind.store.labelled.marks import Mark
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.tagging.edit import add_labels, count_tags, rename_tag, tag_label
from vidfind.tagging.review import Review

SEGMENTS = 5
TAGS = 100


def timed(what: str, act: Callable[[], object]) -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    print(f"{what:<50}{sorted(times)[1] * 1000:>10,.0f} ms", flush=True)


def main() -> None:
    videos = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
        store = Store.create(Path(folder) / "indexes" / "default", settings, dim=DIM)
        rows = [make_row(f"/videos/{number}.mp4", SEGMENTS) for number in range(videos)]
        vectors = unit_vectors(videos * SEGMENTS).reshape(videos, SEGMENTS, DIM)
        spans = [(10.0 * number, 10.0 * number + 10) for number in range(SEGMENTS)]
        put(store, rows, [Embedded(row.content, spans, own) for row, own in zip(rows, vectors, strict=True)])
        query = unit_vectors(1)[0]
        timed("search without tags in the index", lambda: search_moments(store, query))

        choose = np.random.default_rng(0)
        labels = [
            tag_label(row, f"tag {number}", 1 if number % 4 else -1)
            for row in rows
            for number in choose.choice(TAGS, 5, replace=False).tolist()
        ]
        began = time.perf_counter()
        add_labels(store, labels)
        print(f"{f'{len(labels):,} labels written at once':<50}{(time.perf_counter() - began) * 1000:>10,.0f} ms")
        marks = [
            Mark(
                row.content,
                *spans[0],
                tags={f"tag {number % TAGS}": 0.9},
                suggested={f"tag {(number + 1) % TAGS}": 0.5},
            )
            for number, row in enumerate(rows)
        ]
        with store.writing() as writer:
            began = time.perf_counter()
            writer.replace_marks("tag", "run", [f"tag {number}" for number in range(TAGS)], marks)
        print(f"{f'{len(marks):,} marks written at once':<50}{(time.perf_counter() - began) * 1000:>10,.0f} ms")
        timed(
            "one label written",
            lambda: add_labels(store, [tag_label(rows[0], "new", 1), tag_label(rows[1], "new", -1)]),
        )
        timed("search", lambda: search_moments(store, query))
        timed("search --tag", lambda: search_moments(store, query, Filters(tags=["tag 1"])))
        timed(
            "search --tag --tags-from user",
            lambda: search_moments(store, query, Filters(tags=["tag 1"], tags_from="user")),
        )
        timed("search --no-tag", lambda: search_moments(store, query, Filters(no_tags=["tag 1"])))
        timed("tag list", lambda: count_tags(store))
        timed("tag review, until the first question", lambda: Review(store, None, 20))
        timed("tag rename", lambda: (rename_tag(store, "tag 1", "other"), rename_tag(store, "other", "tag 1")))


if __name__ == "__main__":
    main()
