"""The search pipeline: a vector finds segments, segments become moments of videos; and examples become vectors.

Is handed its store and its encoder; never prints. How words become a vector: queries.py. What decodes is imported where
an example is read. Times in videos are in seconds.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfind.errors import BadInput
from vidfind.media.files import find_present
from vidfind.search.filters import choose_videos, paths_of
from vidfind.store.store import Hit, Store
from vidfind.store.tables import VideoRow

LIMIT = 10
PER_VIDEO = 1
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
    """A stretch of a video that answers the query. `score` is that of its best segment; `duration` the whole video's;
    `created` when it was filmed as far as the file tells, in UTC; `online` whether the file is there now; `damage` what
    of the video could not be read, empty when it is whole."""

    rank: int
    score: float
    path: Path
    start: float
    end: float
    duration: float
    created: datetime
    online: bool = True
    damage: str = ""


def search_moments(
    store: Store,
    vector: npt.NDArray[np.floating],
    limit: int = LIMIT,
    per_video: int = PER_VIDEO,
    folder: Path | None = None,
    since: date | None = None,
    until: date | None = None,
    min_score: float = -1.0,
    online: bool = False,
) -> list[Moment]:
    """The `limit` best moments, at most `per_video` of each video, best first; only `online` ones where asked.

    `since` and `until` are days in local time, both included. A share that does not answer at once is not online.
    Raises BadInput for a folder without videos."""
    if limit < 1 or per_video < 1:
        raise BadInput("The number of results, and of moments for each video, must be at least 1.")
    is_limited = folder is not None or since is not None or until is not None or online
    chosen = choose_videos(store, folder, since, until, online) if is_limited else None
    count = limit
    while True:
        found = _best_moments(store, vector, count, per_video, chosen, min_score)
        there = find_present({row.path: _folder_of(row) for row, _ in found})
        marked = [dataclasses.replace(moment, online=row.path in there) for row, moment in found]
        marked.sort(key=lambda moment: (-moment.score, not moment.online))  # of two copies, first the one to be played
        shown = [moment for moment in marked if moment.online or not online]
        if len(shown) >= limit or len(found) < count:
            return [dataclasses.replace(moment, rank=rank) for rank, moment in enumerate(shown[:limit], start=1)]
        count *= 4


def merge_hits(hits: Sequence[Hit], count: int) -> list[tuple[float, float, float]]:
    """The `count` best moments of one video, as score, start and end, from all its hits.

    A moment grows from its best segment to neighbours that score nearly as well."""
    ordered = sorted(hits, key=lambda hit: hit.start)
    free = [True] * len(ordered)
    moments: list[tuple[float, float, float]] = []
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
        moments.append((ordered[best].score, ordered[first].start, ordered[last].end))
    return moments


def _best_moments(
    store: Store, vector: npt.NDArray[np.floating], limit: int, per_video: int, chosen: Any | None, min_score: float
) -> list[tuple[VideoRow, Moment]]:
    """The `limit` best moments, best first; of those videos alone that `choose_videos` has chosen, if it has."""
    videos = _best_videos(store, vector, limit, chosen, min_score)
    # A second look, at all segments of the few videos found: which neighbours belong to a moment must not depend on
    # how many hits of other videos came between.
    hits_by_content: dict[int, list[Hit]] = defaultdict(list)
    if videos:
        for hit in store.search(vector, sum(rows[0].segments for rows in videos.values()), videos):
            hits_by_content[hit.content].append(hit)
    moments = [
        (row, Moment(0, score, row.path, start, end, row.duration, row.created, damage=row.damage))
        for content, hits in hits_by_content.items()
        for score, start, end in merge_hits(hits, per_video)
        for row in videos[content]
        if score >= min_score
    ]
    moments.sort(key=lambda found: (-found[1].score, found[1].path, found[1].start))
    return moments[:limit]


def _best_videos(
    store: Store, vector: npt.NDArray[np.floating], limit: int, chosen: Any | None, min_score: float
) -> dict[int, list[VideoRow]]:
    """The contents of the `limit` best videos, or fewer if no more are there, best first, each with its videos.

    Looks further as long as one video with many good segments, or vectors without a video, crowd the others out."""
    wanted = None if chosen is None else set(chosen["content"].to_numpy().tolist())
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


def _videos_of(store: Store, contents: Sequence[int], chosen: Any | None) -> dict[int, list[VideoRow]]:
    """The videos of each content, in the order of these; without contents that have none, and copies not chosen."""
    rows = store.videos_of(contents) if contents else []
    if chosen is not None:
        paths = paths_of(chosen, contents)
        rows = [row for row in rows if row.path in paths]
    videos: dict[int, list[VideoRow]] = {content: [] for content in contents}
    for row in rows:
        videos[row.content].append(row)
    return {content: rows for content, rows in videos.items() if rows}


def _folder_of(row: VideoRow) -> Path:
    return row.path.parent if row.folder == row.path else row.folder
