"""Selects videos of an index by folder, date and presence, on columns of its table: rows would take seconds for many.

Knows nothing of vectors. Days are those of local time.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias, cast

import pyarrow as pa
import pyarrow.compute as pc

from vidfind.commands import status_command
from vidfind.errors import BadInput
from vidfind.store.folder import targets_of
from vidfind.store.places.maps import read_maps
from vidfind.store.places.path import IndexPath
from vidfind.store.store import Store
from vidfind.store.tables import TableKind, path_from_text, path_to_text
from vidfind.system.files import find_present
from vidfind.system.times import local_time, touches_time_of_day

NO_LINKS: Mapping[Path, Path] = {}
MICROSECOND = timedelta(microseconds=1)
# No local time is so far from UTC: nearer to the border of a day, Python's calendar is asked about each time.
FURTHEST_ZONE = timedelta(hours=26) // MICROSECOND


DATE_COLUMNS = ("duration", "created_from")
MAGIC = frozenset("*?[")
"""The characters that make a pattern of a name."""


@dataclass(frozen=True)
class SelectedVideos:
    """Some of the videos of an index, none of which failed, unless failed ones were asked for."""

    _videos: pa.Table  # with the columns path, as text, content, and created if dates were asked for

    def contents(self) -> set[int]:
        """The contents of the videos, which their segments have too."""
        return set(self._videos["content"].to_numpy().tolist())

    def has_more_contents(self, count: int) -> bool:
        """Whether the videos have more than so many contents."""
        return len(self._videos) > count and self._contents > count

    @functools.cached_property
    def _contents(self) -> int:
        number: int = pc.count_distinct(self._videos["content"]).as_py()
        return number

    def contents_among(self, contents: Sequence[int]) -> set[int]:
        """Those of a few contents that selected videos have: quicker than all of theirs, where these are many."""
        wanted = pc.is_in(self._videos["content"], value_set=pa.array(contents, pa.int64()))
        return set(self._videos["content"].filter(wanted).to_numpy().tolist())

    def paths(self) -> list[Path]:
        """The paths of the selected videos, sorted."""
        return sorted(map(path_from_text, _texts(self._videos["path"])))

    def paths_of(self, contents: Sequence[int]) -> set[Path]:
        """The paths of the selected videos that have one of these contents; copies of them may lie elsewhere."""
        wanted = pc.is_in(self._videos["content"], value_set=pa.array(contents, pa.int64()))
        return {path_from_text(text) for text in _texts(self._videos["path"].filter(wanted))}

    def in_present_folders(self) -> SelectedVideos:
        """Those whose folder is there now, and all that were indexed one by one."""
        there = frozenset(find_present({folder: folder for folder in self._folders.values()}))
        last = vars(self).setdefault("_last", {})
        if there not in last:
            last.clear()
            present = pa.array([text for text, folder in self._folders.items() if folder in there], pa.string())
            wanted = pc.or_(self._are_alone, pc.is_in(self._videos["folder"], value_set=present))
            last[there] = SelectedVideos(self._videos.filter(wanted))
        found: SelectedVideos = last[there]
        return found

    @functools.cached_property
    def _are_alone(self) -> Mask:
        """Which of the videos were indexed one by one."""
        return pc.equal(self._videos["folder"], self._videos["path"])

    @functools.cached_property
    def _folders(self) -> dict[str, Path]:
        """The folders that the others were indexed under, by their texts."""
        folders = self._videos["folder"].filter(pc.invert(self._are_alone)).unique()
        return {text: path_from_text(text) for text in _texts(folders)}

    def beginnings(self) -> dict[int, list[datetime]]:
        """When the recording of each content began, in UTC, if a time of day was asked for; of copies, each its own."""
        found: dict[int, list[datetime]] = defaultdict(list)
        for content, began in zip(self._videos["content"].to_pylist(), _times(self._videos["began"]), strict=True):
            found[cast("int", content)].append(began)
        return found


def select_videos(
    store: Store,
    places: Sequence[str] = (),
    since: date | None = None,
    until: date | None = None,
    online: bool = False,
    exclude: Sequence[str] = (),
    between: tuple[time, time] | None = None,
    with_failed: bool = False,
    contents: Collection[int] | None = None,
) -> SelectedVideos:
    """The videos under one of `places` that were filmed from the day `since` to the day `until`, both included.

    Nothing given sets no limit. A place is a folder, a video or a pattern; `exclude` takes the same, and names.
    `online` leaves out the videos of folders that are not there now; a file indexed by itself that was deleted is still
    selected. `between` leaves out videos of which no part was filmed at this time of day. `with_failed` selects also
    videos that could not be read, and `contents` only videos that have one of these. Raises BadInput if no video is in
    a place."""
    limits = (tuple(places), tuple(exclude), since, until, between, with_failed)
    last = store.tables.kept(TableKind.VIDEOS, "selected", dict[object, SelectedVideos])
    if contents is not None:
        chosen = _select(store, *limits, contents)
    elif not (known := last.get(limits)):
        last.clear()  # searches one after another mostly have the same limits
        last[limits] = chosen = _select(store, *limits)
    else:
        chosen = known
    return chosen.in_present_folders() if online else chosen


def _select(
    store: Store,
    places: Sequence[str],
    exclude: Sequence[str],
    since: date | None,
    until: date | None,
    between: tuple[time, time] | None,
    with_failed: bool,
    contents: Collection[int] | None = None,
) -> SelectedVideos:
    more = DATE_COLUMNS if between else ()
    videos = store.columns("path", "content", "created", "folder", *more, with_failed=with_failed)
    if contents is not None:
        videos = videos.filter(pc.is_in(videos["content"], value_set=pa.array(contents, pa.int64())))
    if places:
        links = store.links()
        videos = videos.filter(_any([_in_place(videos["path"], place, links, store.path) for place in places]))
    if exclude:
        videos = videos.filter(pc.invert(_any([_is_excluded(videos, pattern) for pattern in exclude])))
    if since is not None:
        videos = _on_days(videos, since, date.max)
    if until is not None:
        videos = _on_days(videos, date.min, until)
    if between is not None:
        lengths = cast("list[float]", videos["duration"].to_pylist())
        began = _beginnings(videos, lengths)
        touching = [touches_time_of_day(one, 0.0, length, *between) for one, length in zip(began, lengths, strict=True)]
        videos = videos.append_column("began", pa.array(began, pa.timestamp("us", tz="UTC")))
        videos = videos.filter(pa.array(touching, pa.bool_()))
    return SelectedVideos(videos)


def find_content(store: Store, path: str | os.PathLike[str]) -> int | None:
    """The content of the video at a path as it is written, or as its links resolve; None if none is indexed there.

    The file need not be there."""
    videos, links = store.columns("path", "content"), store.links()
    typed = os.path.expanduser(path)
    for resolve in (os.path.abspath, os.path.realpath):
        whole = Path(resolve(typed))
        texts = pa.array([path_to_text(one) for one in (whole, *targets_of(whole, links))], pa.string())
        found = videos["content"].filter(pc.is_in(videos["path"], value_set=texts))
        if len(found):
            return cast("int", found[0].as_py())
    return None


def _beginnings(videos: pa.Table, lengths: Sequence[float]) -> list[datetime]:
    """When each video began: its date, but a file was last changed when its recording ended."""
    began = _times(videos["created"])
    for number, source in enumerate(_texts(videos["created_from"])):
        if source == "file":
            with suppress(OverflowError):  # at the beginning of the calendar
                began[number] -= timedelta(seconds=lengths[number])
    return began


Mask: TypeAlias = "pa.ChunkedArray[pa.BooleanScalar] | pa.Array[pa.BooleanScalar]"
"""Whether each video is wanted."""


def _any(masks: Sequence[Mask]) -> Mask:
    first, *others = masks
    for other in others:
        first = pc.or_(first, other)
    return first


def _in_place(
    texts: pa.ChunkedArray[pa.StringScalar],
    place: str,
    links: Mapping[Path, Path] = NO_LINKS,
    index: IndexPath | None = None,
) -> Mask:
    """Which paths are under a folder as it is written, or as `links` lead on from it, or else as its links resolve, or
    fit a pattern.

    Raises BadInput if none is."""
    typed = os.path.expanduser(place)
    for resolve in (os.path.abspath, os.path.realpath):  # the latter asks the disk, which may take minutes to answer
        whole = Path(resolve(typed))
        for under in (_is_under, _fits) if MAGIC & set(typed) else (_is_under,):
            mask = _any([under(texts, whole), *(_is_under(texts, target) for target in targets_of(whole, links))])
            if pc.any(mask).as_py():
                return mask
    near = None if MAGIC & set(typed) else _nearest(texts, Path(os.path.abspath(typed)))
    hint = f" Did you mean {near}?" if near else ""
    raise BadInput(f"No indexed video is under {place}.{hint} See what is indexed: {status_command(index)}")


def _nearest(texts: pa.ChunkedArray[pa.StringScalar], place: Path) -> Path | None:
    """The indexed video, or folder of some, whose name is most like that of `place`: in the same folder if there is one
    such, or else anywhere."""
    known = {path_from_text(text) for text in _texts(texts)}
    known |= {folder for path in known for folder in path.parents}
    missing = next((step for step in reversed((place, *place.parents)) if step not in known), place)
    beside = {path.name: path for path in known if path.parent == missing.parent}
    anywhere = {path.name: path for path in sorted(known, reverse=True)}
    for name, named in ((missing.name, beside), (place.name, anywhere)):
        for similar in difflib.get_close_matches(name, named, n=1, cutoff=0.75):
            return named[similar]
    return None


def _fits(texts: pa.ChunkedArray[pa.StringScalar], pattern: Path) -> Mask:
    """Which paths are at or under what a pattern names."""
    # Of several ** in a row one says the same, and the others would take long.
    parts = [part for before, part in pairwise(["", *pattern.parts]) if not before == part == "**"]
    return pa.array([_matches(path_from_text(text).parts, parts) for text in _texts(texts)], pa.bool_())


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the first parts of a path match the parts of a pattern, in which `**` stands for any number."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_matches(parts[start:], pattern[1:]) for start in range(len(parts)))
    return bool(parts) and _is_named(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _is_named(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch(name, pattern)


def _is_excluded(videos: pa.Table, pattern: str) -> Mask:
    """Which videos are under a folder or a pattern of paths. The pattern may begin at the indexed folder, and one of a
    single name fits any name on the way from there to the video."""
    try:
        in_place = _in_place(videos["path"], pattern)
    except BadInput:
        in_place = pa.array([False] * videos.num_rows, pa.bool_())
    wanted = Path(pattern).parts
    named = []
    for text, folder in zip(_texts(videos["path"]), _texts(videos["folder"]), strict=True):
        path, root = path_from_text(text), path_from_text(folder)
        steps = path.parts[len(root.parts) :] or path.parts[-1:]
        first = range(len(steps) if len(wanted) == 1 else 1)
        named.append(any(_matches(steps[start:], wanted) for start in first))
    return pc.or_(in_place, pa.array(named, pa.bool_()))


def _is_under(texts: pa.ChunkedArray[pa.StringScalar], root: Path) -> Mask:
    if os.name == "nt" or read_maps():  # where names that differ in case are the same, or paths are of another system
        return pa.array([path_from_text(text).is_relative_to(root) for text in _texts(texts)], pa.bool_())
    text = path_to_text(root)
    return pc.or_(pc.equal(texts, pa.scalar(text)), pc.starts_with(texts, text if text.endswith("/") else f"{text}/"))


def _texts(column: pa.Array[pa.StringScalar] | pa.ChunkedArray[pa.StringScalar]) -> list[str]:
    return cast("list[str]", column.to_pylist())  # paths are never null


def _times(column: pa.ChunkedArray[pa.TimestampScalar]) -> list[datetime]:
    return cast("list[datetime]", column.to_pylist())  # dates are never null


def _on_days(videos: pa.Table, first: date, last: date) -> pa.Table:
    """The videos filmed from one day to another, both included."""
    begin, end = (_microseconds(day, edge) for day, edge in ((first, time.min), (last, time.max)))
    created = videos["created"].cast(pa.int64()).to_numpy()
    chosen = (created >= begin - FURTHEST_ZONE) & (created <= end + FURTHEST_ZONE)
    unsure = chosen & ((created < begin + FURTHEST_ZONE) | (created > end - FURTHEST_ZONE))
    moments = _times(videos["created"].filter(pa.array(unsure)))
    chosen[unsure] = [first <= local_time(moment).date() <= last for moment in moments]
    return videos.filter(pa.array(chosen))


def _microseconds(day: date, edge: time) -> int:
    """Since 1970, as if local time were UTC."""
    return (datetime.combine(day, edge, UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
