"""Selects videos of an index by folder, day and presence, on columns of its table: rows would take seconds for many.

Knows nothing of vectors. Days are those of local time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from vidfind.commands import status_command
from vidfind.errors import BadInput
from vidfind.media.files import find_present
from vidfind.store.store import Store
from vidfind.store.tables import path_from_text, path_to_text
from vidfind.system.times import local_time

MICROSECOND = timedelta(microseconds=1)
# No local time is so far from UTC: nearer to the border of a day, Python's calendar is asked about each time.
FURTHEST_ZONE = timedelta(hours=26) // MICROSECOND


@dataclass(frozen=True)
class SelectedVideos:
    """Some of the videos of an index, none of which failed."""

    _videos: pa.Table  # with the columns path, as text, and content

    def contents(self) -> set[int]:
        """The contents of the videos, which their segments have too."""
        return set(self._videos["content"].to_numpy().tolist())

    def paths_of(self, contents: Sequence[int]) -> set[Path]:
        """The paths of the selected videos that have one of these contents; copies of them may lie elsewhere."""
        wanted = pc.is_in(self._videos["content"], value_set=pa.array(contents, pa.int64()))
        return {path_from_text(text) for text in _texts(self._videos["path"].filter(wanted))}


def select_videos(
    store: Store,
    folder: Path | None = None,
    since: date | None = None,
    until: date | None = None,
    online: bool = False,
) -> SelectedVideos:
    """The videos under `folder` that were filmed from the day `since` to the day `until`, both included.

    None sets no limit. `online` leaves out the videos of folders that are not there now; a single file that was deleted
    is still selected. Raises BadInput if no video is under `folder`."""
    columns = ["path", "content"]
    if since is not None or until is not None:
        columns.append("created")
    if online:
        columns.append("folder")
    videos = store.columns(*columns)
    if folder is not None:
        videos = _under(videos, folder)
    if since is not None:
        videos = _on_days(videos, since, date.max)
    if until is not None:
        videos = _on_days(videos, date.min, until)
    if online:
        videos = _in_present_folders(videos)
    return SelectedVideos(videos.select(["path", "content"]))


def _under(videos: pa.Table, folder: Path) -> pa.Table:
    """The videos under `folder` as it is written, or else as its links resolve. Raises BadInput if there are none."""
    for resolve in (os.path.abspath, os.path.realpath):  # the latter asks the disk, which may take minutes to answer
        under = videos.filter(_is_under(videos["path"], Path(resolve(folder))))
        if under.num_rows:
            return under
    raise BadInput(f"No indexed video is under {folder}. See what is indexed: {status_command()}")


def _is_under(texts: pa.ChunkedArray[pa.StringScalar], root: Path) -> pa.Array[pa.BooleanScalar]:
    if os.name == "nt":  # where names that differ in case are the same
        return pa.array([path_from_text(text).is_relative_to(root) for text in _texts(texts)], pa.bool_())
    text = path_to_text(root)
    return pc.or_(pc.equal(texts, pa.scalar(text)), pc.starts_with(texts, text if text.endswith("/") else f"{text}/"))


def _texts(column: pa.Array[pa.StringScalar] | pa.ChunkedArray[pa.StringScalar]) -> list[str]:
    return cast("list[str]", column.to_pylist())  # paths are never null


def _on_days(videos: pa.Table, first: date, last: date) -> pa.Table:
    """The videos filmed from one day to another, both included."""
    begin, end = (_microseconds(day, edge) for day, edge in ((first, time.min), (last, time.max)))
    created = videos["created"].cast(pa.int64()).to_numpy()
    chosen = (created >= begin - FURTHEST_ZONE) & (created <= end + FURTHEST_ZONE)
    unsure = chosen & ((created < begin + FURTHEST_ZONE) | (created > end - FURTHEST_ZONE))
    moments = cast("list[datetime]", videos["created"].filter(pa.array(unsure)).to_pylist())  # never null
    chosen[unsure] = [first <= local_time(moment).date() <= last for moment in moments]
    return videos.filter(pa.array(chosen))


def _microseconds(day: date, edge: time) -> int:
    """Since 1970, as if local time were UTC."""
    return (datetime.combine(day, edge, UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


def _in_present_folders(videos: pa.Table) -> pa.Table:
    """The videos whose folder is there now, and all videos that were indexed one by one."""
    is_alone = pc.equal(videos["folder"], videos["path"])
    folders = {text: path_from_text(text) for text in _texts(videos["folder"].filter(pc.invert(is_alone)).unique())}
    there = find_present({folder: folder for folder in folders.values()})
    present = pa.array([text for text, folder in folders.items() if folder in there], pa.string())
    return videos.filter(pc.or_(is_alone, pc.is_in(videos["folder"], value_set=present)))
