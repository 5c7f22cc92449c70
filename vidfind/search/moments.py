"""The search pipeline: a vector finds segments, and neighbouring segments become moments of videos.

Is handed its store and a vector; never prints. How words become a vector: query.py. How pictures do: like.py. Times in
videos are in seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from vidfind.errors import BadInput
from vidfind.search.question.expression import Example
from vidfind.search.question.filters import LIMIT, NO_FILTERS, Filters
from vidfind.search.spans import ScoredSpan, merge_hits
from vidfind.search.tagged import NamedSegments, Tags, named_segments
from vidfind.store.files import find_present_files
from vidfind.store.nearest import Hit
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow
from vidfind.system.times import touches_time_of_day

if TYPE_CHECKING:
    from vidfind.store.select import SelectedVideos

# Segments asked for at first for each video wanted; a second look goes four times as far.
HITS_A_VIDEO = 8
# So many videos are compared each, where a search is limited to them, unless they are a quarter of all: of so many,
# some are soon found among all.
FEW_VIDEOS = 1000
# So many times more moments than wanted are looked at first, where those that look alike are folded.
COLLAPSED = 4
# Below this match, in percent, words fit hardly better than nonsense.
NOTHING = 30
# Of more moments it is not asked how well they fit, or which look alike.
MOST_JUDGED = 2000

Allows = Callable[[Hit], bool]
"""Whether a segment may be a part of an answer."""


@dataclass(frozen=True)
class MomentStep:
    """The segment that answers one step of a sequence: its start and end in seconds, its score and its match."""

    start: float
    end: float
    score: float
    match: int | None = None


@dataclass(frozen=True)
class LookAlike:
    """A moment that looks like a better one: its video, and its start and end in seconds."""

    path: Path
    start: float
    end: float


@dataclass(frozen=True)
class Moment:
    """A part of a video that answers a query: one segment, or neighbours that score nearly alike."""

    rank: int
    """Its place among the results, from 1."""
    score: float
    """The cosine similarity of its best segment to the query, from -1 to 1; comparable within one search only. Of a
    sequence, the mean of its steps, each divided by how much it differs among the segments of the index."""
    path: Path
    """The video file, as it was indexed."""
    start: float
    """Where the moment begins, in seconds from the start of the video."""
    end: float
    """Where the moment ends, in seconds from the start of the video."""
    duration: float
    """Length of the whole video in seconds."""
    created: datetime
    """When the video was filmed, in UTC, as far as `created_from` tells."""
    online: bool = True
    """Whether the file is there now."""
    damage: str = ""
    """Which part of the video could not be read; empty when it is whole."""
    created_from: str = ""
    """Where `created` is from: `metadata`, `name`, or `file`, its time of last change; empty if not known."""
    copies: tuple[Path, ...] = ()
    """Other files with the same contents, which the filters allow too."""
    match: int | None = None
    """How well it fits the words, from 0 to 100: the share of 256 descriptions of things that nobody films, as long as
    the words, that fit no segment of the index as well. Below 30, the words fit hardly better than nonsense. Of a
    sequence, the lowest of its steps. None where that is not known: with examples, in an index of few segments, or of
    an older vidfind."""
    alike: tuple[LookAlike, ...] = ()
    """Moments that look alike and rank lower, with `Filters.collapse`."""
    steps: tuple[MomentStep, ...] = ()
    """The segment of each step of a sequence, in order; empty for an expression of one step."""
    best: float = 0.0
    """The middle of its best segment in seconds; of a sequence, of its first step."""
    fingerprint: str = ""
    """That of the contents of the file, as the index has it."""
    tags: tuple[str, ...] = ()
    """The tags that the owner gave to it, or to the whole video."""
    tags_auto: tuple[str, ...] = ()
    """The tags that were added automatically, and that the owner has not decided about."""

    @property
    def fits_badly(self) -> bool:
        """Whether the words fit it hardly better than nonsense does, as far as that is known."""
        return self.match is not None and self.match < NOTHING

    @property
    def example(self) -> Example:
        """The moment as one to look for the like of: `Expression(like=[moment.example])`."""
        return Example(self.path, self.best)


class Asked(NamedTuple):
    """The part of videos that a search looks for the like of, and that is no answer to it."""

    contents: frozenset[int]
    time: float | None = None
    """In seconds; None: all of the video."""
    length: float = 0.0
    """The length of the part around `time`, in seconds."""

    def holds(self, hit: Hit) -> bool:
        """Whether a segment contains the time, or at least half of it lies in the part."""
        if hit.content not in self.contents or self.time is None:
            return hit.content in self.contents
        begin, end = self.time - self.length / 2, self.time + self.length / 2
        is_mostly_in = min(hit.end, end) - max(hit.start, begin) >= (hit.end - hit.start) / 2
        return is_mostly_in or hit.start <= self.time < hit.end


class Found(NamedTuple):
    """A part of a video, and all videos that have it: copies of one another."""

    span: ScoredSpan
    rows: Sequence[VideoRow]
    steps: tuple[MomentStep, ...] = ()


class Candidate(NamedTuple):
    """A moment, and the content that its vectors are stored under."""

    moment: Moment
    content: int


Judge = Callable[[list[Candidate]], list[Moment]]
"""A function that says more about moments, best first, and leaves some out: see fit.py."""


def search_moments(
    store: Store,
    vector: npt.NDArray[np.floating],
    filters: Filters = NO_FILTERS,
    limit: int = LIMIT,
    asked: Sequence[Asked] = (),
    judge: Judge | None = None,
) -> list[Moment]:
    """The `limit` best moments for a vector (D,) of unit length that `filters` allow, best first, without `asked`.

    Raises BadInput if `limit` is below 1, or no video is in a place of `filters.folder`."""
    tagged = named_segments(store, filters)
    chosen = select(store, filters, tagged)
    allows = allowing(filters, chosen, asked, tagged)
    find = functools.partial(_best_moments, store, vector, filters=filters, chosen=chosen, allows=allows)
    return show_best(store, find, filters, limit, judge)


def show_best(
    store: Store, find: Callable[[int], list[Found]], filters: Filters, limit: int, judge: Judge | None = None
) -> list[Moment]:
    """The `limit` best moments that can be shown, ranked; `find` returns so many of the best that are found.

    `judge` may leave some out: then more are looked at, but not all of a large index. Raises BadInput if `limit` is
    below 1."""
    if limit < 1:
        raise BadInput("The number of results must be at least 1.")
    count = limit * (COLLAPSED if filters.collapse else 1)
    while True:
        found = find(count)
        there = find_present_files([row for one in found for row in one.rows])
        moments = [Candidate(_moment(one, there, filters.online), one.rows[0].content) for one in found]
        moments.sort(key=lambda one: (-one.moment.score, not one.moment.online))  # of equals, first what can be played
        there_or_not = [one for one in moments if one.moment.online or not filters.online]
        shown = judge(there_or_not) if judge else [one.moment for one in there_or_not]
        has_looked_far = len(shown) < len(there_or_not) and count >= MOST_JUDGED
        if len(shown) >= limit or len(found) < count or has_looked_far:
            ranked = [dataclasses.replace(moment, rank=rank) for rank, moment in enumerate(shown[:limit], start=1)]
            return _with_tags(store, ranked, {row.path: row for one in found for row in one.rows})
        count *= 4


def _with_tags(store: Store, moments: Sequence[Moment], rows: Mapping[Path, VideoRow]) -> list[Moment]:
    """The same moments with their tags."""
    tags = Tags(store, {rows[moment.path].content: rows[moment.path].fingerprint for moment in moments})
    found = [tags.of(rows[moment.path].content, moment.start, moment.end) for moment in moments]
    return [
        dataclasses.replace(moment, tags=yours, tags_auto=added)
        for moment, (yours, added) in zip(moments, found, strict=True)
    ]


def select(store: Store, filters: Filters, tagged: NamedSegments | None = None) -> SelectedVideos | None:
    """The videos that the filters allow; None where they allow all, which is found more quickly."""
    contents = tagged.contents() if tagged else None
    narrowing = (filters.places, filters.excluded, filters.since, filters.until, filters.online, filters.between)
    if not any(narrowing) and contents is None:
        return None
    from vidfind.store.select import select_videos  # only here: Arrow's functions take time

    return select_videos(
        store,
        filters.places,
        filters.since,
        filters.until,
        filters.online,
        exclude=filters.excluded,
        between=filters.between,
        contents=contents,
    )


def allowing(
    filters: Filters, chosen: SelectedVideos | None, asked: Sequence[Asked], tagged: NamedSegments | None = None
) -> Allows:
    """Decides about single segments: those asked for are out, those of another time of day, or with other tags."""
    between = filters.between
    beginnings = chosen.beginnings() if chosen and between else {}

    def allows(hit: Hit) -> bool:
        if any(one.holds(hit) for one in asked):
            return False
        if tagged and not tagged.allows(hit.content, hit.start, hit.end):
            return False
        return between is None or any(
            touches_time_of_day(began, hit.start, hit.end, *between) for began in beginnings.get(hit.content, ())
        )

    return allows


def _moment(found: Found, there: set[Path], only_online: bool) -> Moment:
    """The moment of the video that serves best: one that is there and whole; the others are its copies."""
    (score, start, end, best), rows, steps = found
    first, *others = sorted(rows, key=lambda row: (row.path not in there, bool(row.damage), row.path))
    return Moment(
        rank=0,
        score=score,
        path=first.path,
        start=start,
        end=end,
        duration=first.duration,
        created=first.created,
        online=first.path in there,
        damage=first.damage,
        created_from=first.created_from,
        copies=tuple(row.path for row in others if row.path in there or not only_online),
        steps=steps,
        best=best,
        fingerprint=first.fingerprint,
    )


def _best_moments(
    store: Store,
    vector: npt.NDArray[np.floating],
    limit: int,
    filters: Filters,
    chosen: SelectedVideos | None,
    allows: Allows,
) -> list[Found]:
    """The `limit` best moments with their videos, best first; only of the `chosen` videos, if given."""
    videos = _best_videos(store, vector, limit, filters, chosen, allows)
    # A second look, at all segments of the few videos found: which neighbours belong to a moment must not depend on
    # how many hits of other videos came between.
    hits_by_content: dict[int, list[Hit]] = defaultdict(list)
    if videos:
        for hit in store.search(vector, sum(rows[0].segments for rows in videos.values()), videos):
            if allows(hit):
                hits_by_content[hit.content].append(hit)
    found = [
        Found(span, rows)
        for content, hits in hits_by_content.items()
        for span in merge_hits(hits, filters.per_video)
        for rows in ([[row] for row in videos[content]] if filters.copies else [videos[content]])
        if span.score >= filters.min_score
    ]
    found.sort(key=lambda one: (-one.span.score, min(row.path for row in one.rows), one.span.start))
    return found[:limit]


def _best_videos(
    store: Store,
    vector: npt.NDArray[np.floating],
    limit: int,
    filters: Filters,
    chosen: SelectedVideos | None,
    allows: Allows,
) -> dict[int, list[VideoRow]]:
    """The contents of the `limit` best videos, or fewer if no more are there, best first, each with its videos.

    Looks further as long as one video with many good segments, or vectors without a video, crowd the others out."""
    few = min(FEW_VIDEOS, store.count_videos() // 4)
    is_few = chosen is not None and not chosen.has_more_contents(few)
    count = limit * HITS_A_VIDEO
    while True:
        hits = store.search(vector, count, chosen.contents() if chosen is not None and is_few else None)
        good = dict.fromkeys(hit.content for hit in hits if hit.score >= filters.min_score and allows(hit))
        wanted = good if chosen is None else chosen.contents_among([*good])
        contents = [content for content in good if content in wanted]
        videos = fold(videos_of(store, contents, chosen))
        if len(videos) >= limit or len(hits) < count or hits[-1].score < filters.min_score:
            return dict(itertools.islice(videos.items(), limit))
        is_few = chosen is not None  # they are hard to find among all others
        count *= 4


def videos_of(store: Store, contents: Sequence[int], chosen: SelectedVideos | None) -> dict[int, list[VideoRow]]:
    """The videos of each content, in the order of these; without contents that have none, and copies not chosen."""
    rows = store.videos_of(contents) if contents else []
    if chosen is not None:
        paths = chosen.paths_of(contents)
        rows = [row for row in rows if row.path in paths]
    videos: dict[int, list[VideoRow]] = {content: [] for content in contents}
    for row in rows:
        videos[row.content].append(row)
    return {content: rows for content, rows in videos.items() if rows}


def fold(videos: dict[int, list[VideoRow]]) -> dict[int, list[VideoRow]]:
    """Puts copies that were encoded apart, and so have contents of their own, with the first content of the file."""
    first: dict[str, int] = {}
    folded: dict[int, list[VideoRow]] = {}
    for content, rows in videos.items():
        folded.setdefault(first.setdefault(rows[0].fingerprint, content), []).extend(rows)
    return folded
