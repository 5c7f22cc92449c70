"""Which videos a search is limited to, decided on columns of the table of videos: rows would take seconds for many.

Knows nothing of vectors. Days are those of local time.
"""

from __future__ import annotations

import calendar
import os
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vidfind.errors import BadInput
from vidfind.media.files import find_present
from vidfind.store.store import Store
from vidfind.store.tables import path_from_text, path_to_text

MICROSECOND = timedelta(microseconds=1)
# No local time is so far from UTC: nearer to the border of a day, Python's calendar is asked about each time.
FURTHEST_ZONE = timedelta(hours=26) // MICROSECOND


def choose_videos(
    store: Store, folder: Path | None = None, since: date | None = None, until: date | None = None, online: bool = False
) -> Any:
    """The paths, as texts, and the contents of the videos that a search is limited to, as an Arrow table.

    As `search_moments` takes them; `online` leaves out only those of folders that are not there. Raises BadInput for a
    folder without videos."""
    dated = ["created"] if since is not None or until is not None else []
    videos = store.columns("path", "content", *dated, *(["folder"] if online else []))
    if folder is not None:
        videos = _under(videos, folder)
    if since is not None:
        videos = _on_days(videos, since, date.max)
    if until is not None:
        videos = _on_days(videos, date.min, until)
    if online:
        videos = _in_present_folders(videos)
    return videos.select(["path", "content"])


def paths_of(chosen: Any, contents: Sequence[int]) -> set[Path]:
    """Of the videos that `choose_videos` has chosen, those of some contents: a copy of one may lie elsewhere."""
    texts = chosen["path"].filter(pc.is_in(chosen["content"], value_set=pa.array(contents, pa.int64())))
    return {path_from_text(text) for text in texts.to_pylist()}


def _under(videos: Any, folder: Path) -> Any:
    """Those of a folder by the path it is given, else by the one it leads to. Raises BadInput if there are none."""
    for resolve in (os.path.abspath, os.path.realpath):  # the latter asks the disk, which may take minutes to answer
        under = videos.filter(_is_under(videos["path"], Path(resolve(folder))))
        if under.num_rows:
            return under
    raise BadInput(f"No indexed video is under {folder}. See what is indexed: vidfind status")


def _is_under(texts: Any, root: Path) -> Any:
    if os.name == "nt":  # where names that differ in case are the same
        return pa.array([path_from_text(text).is_relative_to(root) for text in texts.to_pylist()], pa.bool_())
    text = path_to_text(root)
    return pc.or_(pc.equal(texts, text), pc.starts_with(texts, text if text.endswith("/") else f"{text}/"))


def _on_days(videos: Any, first: date, last: date) -> Any:
    """Those filmed from one day to another, both included."""
    begin, end = (_microseconds(day, edge) for day, edge in ((first, time.min), (last, time.max)))
    created = videos["created"].cast(pa.int64()).to_numpy()
    chosen = (created >= begin - FURTHEST_ZONE) & (created <= end + FURTHEST_ZONE)
    unsure = chosen & ((created < begin + FURTHEST_ZONE) | (created > end - FURTHEST_ZONE))
    chosen[unsure] = [
        first <= local_day(moment) <= last for moment in videos["created"].filter(pa.array(unsure)).to_pylist()
    ]
    return videos.filter(pa.array(chosen))


def _microseconds(day: date, edge: time) -> int:
    """Since 1970, as if local time were UTC."""
    return (datetime.combine(day, edge, UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


def local_day(moment: datetime) -> date:
    try:
        return moment.astimezone().date()
    except OverflowError:  # a clock set wrong: the last day of the calendar may be over here already
        return moment.date()


def _in_present_folders(videos: Any) -> Any:
    """Those of folders that are there now; of each video by itself only those found are asked about."""
    is_alone = pc.equal(videos["folder"], videos["path"])
    folders = {text: path_from_text(text) for text in videos["folder"].filter(pc.invert(is_alone)).unique().to_pylist()}
    there = find_present({folder: folder for folder in folders.values()})
    present = pa.array([text for text, folder in folders.items() if folder in there], pa.string())
    return videos.filter(pc.or_(is_alone, pc.is_in(videos["folder"], value_set=present)))


def parse_period(text: str) -> tuple[date, date]:
    """`2024`, `2024-05` or `2024-05-17` -> its first and last day. Raises BadInput."""
    try:
        if not re.fullmatch(r"\d{4}(-\d{1,2}){0,2}", text.strip()):
            raise ValueError
        year, *rest = map(int, text.split("-"))
        if len(rest) == 2:
            return date(year, *rest), date(year, *rest)
        first, last = (rest[0], rest[0]) if rest else (1, 12)
        return date(year, first, 1), date(year, last, calendar.monthrange(year, last)[1])
    except ValueError as error:
        raise BadInput(f"{text!r} is not a date: write 2024, 2024-05 or 2024-05-17.") from error
