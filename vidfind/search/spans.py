"""Moments of one video: neighbouring segments that score nearly alike become one. Times in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vidfind.store.nearest import Hit

# Neighbours of one scene score within about 0.02 of each other (ViT-B-32); another scene differs by more.
MERGE_MARGIN = 0.02
# Without an end, one long quiet shot would be one "moment": a minute with segments of ten seconds.
SEGMENTS_A_MOMENT = 6
# Seconds between the end of one segment and the start of another that still touch.
GAP = 1e-3


class ScoredSpan(NamedTuple):
    """A part of a video, from `start` to `end` in seconds, the score of its best segment, and the middle of that."""

    score: float
    start: float
    end: float
    best: float = 0.0


def merge_hits(hits: Sequence[Hit], count: int) -> list[ScoredSpan]:
    """The `count` best moments of one video, best first, from all its hits.

    A moment grows from its best segment to neighbours that score nearly as well, which may overlap it. Moments do not
    overlap: what was seen by several segments is found once."""
    ordered = sorted(hits, key=lambda hit: hit.start)
    free = [True] * len(ordered)
    moments: list[ScoredSpan] = []
    for best in sorted(range(len(ordered)), key=lambda i: (-ordered[i].score, i)):
        if len(moments) == count:
            break
        if not free[best]:
            continue
        least = ordered[best].score - MERGE_MARGIN
        first = last = best
        while _side_by_side(ordered[first : last + 1]) < SEGMENTS_A_MOMENT:
            sides = []
            if first > 0 and ordered[first - 1].end > ordered[first].start - GAP:
                sides.append(first - 1)
            if last + 1 < len(ordered) and ordered[last + 1].start < ordered[last].end + GAP:
                sides.append(last + 1)
            sides = [i for i in sides if free[i] and ordered[i].score >= least]
            if not sides:
                break
            better = max(sides, key=lambda i: ordered[i].score)
            first, last = min(first, better), max(last, better)
        begin, end = ordered[first].start, ordered[last].end
        for i in range(max(0, first - 1), min(last + 2, len(ordered))):
            free[i] &= ordered[i].end <= begin + GAP or ordered[i].start >= end - GAP
        moments.append(ScoredSpan(ordered[best].score, begin, end, (ordered[best].start + ordered[best].end) / 2))
    return moments


def _side_by_side(hits: Sequence[Hit]) -> int:
    """How many of the hits, which are in the order of their starts, follow one another without an overlap."""
    count, end = 0, -math.inf
    for hit in hits:
        if hit.start > end - GAP:
            count, end = count + 1, hit.end
    return count
