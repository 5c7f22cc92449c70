"""The search pipeline: a vector finds segments, and neighbouring segments become moments of videos.

Is handed its store and a vector; never prints. How words become a vector: query.py. How pictures do: like.py. Times in
videos are in seconds.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vidfind.errors import BadInput
from vidfind.media.files import find_present
from vidfind.search.filters import LIMIT, NO_FILTERS, Filters
from vidfind.store.select import SelectedVideos, select_videos
from vidfind.store.store import Hit, Store
from vidfind.store.tables import VideoRow

# Neighbours of one scene score within about 0.02 of each other (ViT-B-32); another scene differs by more.
MERGE_MARGIN = 0.02
# Without an end, one long quiet shot would be one "moment": a minute with segments of ten seconds.
SEGMENTS_A_MOMENT = 6
# Segments asked for at first for each video wanted; a second look goes four times as far.
HITS_A_VIDEO = 8
# So many videos are compared each, where a search is limited to them; of more, some are soon found among all.
FEW_VIDEOS = 1000


@dataclass(frozen=True)
class Moment:
    """A part of a video that answers a query: one segment, or neighbours that score nearly alike."""

    rank: int
    """Its place among the results, from 1."""
    score: float
    """The cosine similarity of its best segment to the query, from -1 to 1; comparable within one search only."""
    path: Path
    """The video file, as it was indexed."""
    start: float
    """Where the moment begins, in seconds from the start of the video."""
    end: float
    """Where the moment ends, in seconds from the start of the video."""
    duration: float
    """Length of the whole video in seconds."""
    created: datetime
    """When the video was filmed as far as the file says, in UTC."""
    online: bool = True
    """Whether the file is there now."""
    damage: str = ""
    """Which part of the video could not be read; empty when it is whole."""


class ScoredSpan(NamedTuple):
    """A part of a video, from `start` to `end` in seconds, and the score of its best segment."""

    score: float
    start: float
    end: float


def search_moments(
    store: Store, vector: npt.NDArray[np.floating], filters: Filters = NO_FILTERS, limit: int = LIMIT
) -> list[Moment]:
    """The `limit` best moments for a vector (D,) of unit length that `filters` allow, best first.

    Raises BadInput if `limit` is below 1, or no video is under `filters.folder`."""
    if limit < 1:
        raise BadInput("The number of results must be at least 1.")
    chosen = _select(store, filters)
    count = limit
    while True:
        found = _best_moments(store, vector, count, filters, chosen)
        there = find_present({row.path: _folder_of(row) for row, _ in found})
        marked = [dataclasses.replace(moment, online=row.path in there) for row, moment in found]
        marked.sort(key=lambda moment: (-moment.score, not moment.online))  # of two copies, first the one to be played
        shown = [moment for moment in marked if moment.online or not filters.online]
        if len(shown) >= limit or len(found) < count:
            return [dataclasses.replace(moment, rank=rank) for rank, moment in enumerate(shown[:limit], start=1)]
        count *= 4


def _select(store: Store, filters: Filters) -> SelectedVideos | None:
    """The videos that the filters allow; None where they allow all, which is found more quickly."""
    folder = None if filters.folder is None else Path(os.path.expanduser(filters.folder))
    if folder is None and filters.since is None and filters.until is None and not filters.online:
        return None
    return select_videos(store, folder, filters.since, filters.until, filters.online)


def merge_hits(hits: Sequence[Hit], count: int) -> list[ScoredSpan]:
    """The `count` best moments of one video, best first, from all its hits.

    A moment grows from its best segment to neighbours that score nearly as well."""
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
        while last - first + 1 < SEGMENTS_A_MOMENT:
            sides = [
                i for i in (first - 1, last + 1) if 0 <= i < len(ordered) and free[i] and ordered[i].score >= least
            ]
            if not sides:
                break
            better = max(sides, key=lambda i: ordered[i].score)
            first, last = min(first, better), max(last, better)
        free[first : last + 1] = [False] * (last + 1 - first)
        moments.append(ScoredSpan(ordered[best].score, ordered[first].start, ordered[last].end))
    return moments


def _best_moments(
    store: Store, vector: npt.NDArray[np.floating], limit: int, filters: Filters, chosen: SelectedVideos | None
) -> list[tuple[VideoRow, Moment]]:
    """The `limit` best moments with their videos, best first; only of the `chosen` videos, if given."""
    videos = _best_videos(store, vector, limit, filters.min_score, chosen)
    # A second look, at all segments of the few videos found: which neighbours belong to a moment must not depend on
    # how many hits of other videos came between.
    hits_by_content: dict[int, list[Hit]] = defaultdict(list)
    if videos:
        for hit in store.search(vector, sum(rows[0].segments for rows in videos.values()), videos):
            hits_by_content[hit.content].append(hit)
    moments = [
        (row, Moment(0, score, row.path, start, end, row.duration, row.created, damage=row.damage))
        for content, hits in hits_by_content.items()
        for score, start, end in merge_hits(hits, filters.per_video)
        for row in videos[content]
        if score >= filters.min_score
    ]
    moments.sort(key=lambda found: (-found[1].score, found[1].path, found[1].start))
    return moments[:limit]


def _best_videos(
    store: Store, vector: npt.NDArray[np.floating], limit: int, min_score: float, chosen: SelectedVideos | None
) -> dict[int, list[VideoRow]]:
    """The contents of the `limit` best videos, or fewer if no more are there, best first, each with its videos.

    Looks further as long as one video with many good segments, or vectors without a video, crowd the others out."""
    wanted = None if chosen is None else chosen.contents()
    is_few = wanted is not None and len(wanted) <= FEW_VIDEOS
    count = limit * HITS_A_VIDEO
    while True:
        hits = store.search(vector, count, wanted if is_few else None)
        good = dict.fromkeys(hit.content for hit in hits if hit.score >= min_score)
        videos = _videos_of(store, [content for content in good if wanted is None or content in wanted], chosen)
        if len(videos) >= limit or len(hits) < count or hits[-1].score < min_score:
            return dict(itertools.islice(videos.items(), limit))
        is_few = wanted is not None  # they are hard to find among all others
        count *= 4


def _videos_of(store: Store, contents: Sequence[int], chosen: SelectedVideos | None) -> dict[int, list[VideoRow]]:
    """The videos of each content, in the order of these; without contents that have none, and copies not chosen."""
    rows = store.videos_of(contents) if contents else []
    if chosen is not None:
        paths = chosen.paths_of(contents)
        rows = [row for row in rows if row.path in paths]
    videos: dict[int, list[VideoRow]] = {content: [] for content in contents}
    for row in rows:
        videos[row.content].append(row)
    return {content: rows for content, rows in videos.items() if rows}


def _folder_of(row: VideoRow) -> Path:
    return row.path.parent if row.folder == row.path else row.folder
