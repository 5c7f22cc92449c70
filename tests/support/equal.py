"""What two indexes of the same videos must have in common."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from vidfind.store.store import Store

OWN = ("content", "indexed_at")
"""Fields of a row that differ each time a video is encoded."""
CLOSE = 2e-3
"""By so much numbers of a vector may differ: machines round in different ways."""


def differences(one: Store, other: Store) -> list[str]:
    """Returns in words how the rows, spans and vectors of two indexes differ; nothing if they are equal."""
    ours, theirs = one.videos(), other.videos()
    found = [f"only in one of them: {path}" for path in sorted(ours.keys() ^ theirs.keys())]
    a, b = _segments(one), _segments(other)
    for path in sorted(ours.keys() & theirs.keys()):
        here, there = (dataclasses.asdict(rows[path]) for rows in (ours, theirs))
        found += [f"{path}: {key} {here[key]} and {there[key]}" for key in here if _differs(key, here, there)]
        if ours[path].failed or theirs[path].failed:
            continue
        (spans, vectors), (their_spans, their_vectors) = a[ours[path].content], b[theirs[path].content]
        if not np.array_equal(spans, their_spans):
            found.append(f"{path}: other spans")
        elif (off := float(np.abs(vectors - their_vectors).max())) > CLOSE:
            found.append(f"{path}: vectors differ by {off:.4f}")
    counts = [(len(segments), store.count_segments()) for segments, store in ((a, one), (b, other))]
    return found + ([f"contents and segments: {counts[0]} and {counts[1]}"] if counts[0] != counts[1] else [])


def _differs(key: str, here: dict[str, object], there: dict[str, object]) -> bool:
    return key not in OWN and here[key] != there[key]


def _segments(store: Store) -> dict[int, tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]]:
    """Returns the spans and vectors of each content, in the order of their times."""
    batches = list(store.segments())
    if not batches:
        return {}
    contents, spans, vectors = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    order = np.lexsort((spans[:, 1], spans[:, 0], contents))
    contents, spans, vectors = contents[order], spans[order], vectors[order]
    return {int(one): (spans[contents == one], vectors[contents == one]) for one in np.unique(contents)}
