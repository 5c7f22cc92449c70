"""The work that a run of `vidfind index` would do, and about how long it would take.

Encodes nothing and writes nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from vidfind.errors import UnreadableVideo, VidfindError
from vidfind.folders.walk import Survey
from vidfind.index.events import Offline
from vidfind.index.options import DEFAULT_OPTIONS, IndexOptions
from vidfind.index.plan import Job, Known, Plan, Reuse, Status, make_plan
from vidfind.index.prepare import check_folders
from vidfind.index.presence import Disk
from vidfind.index.run import find_offline, has_only_another_date
from vidfind.index.walk import walk_folders
from vidfind.media.decoding import DECODERS, probe
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings, is_index
from vidfind.store.store import Store
from vidfind.system.files import VideoFile, fingerprint
from vidfind.system.paths import home

PROBED = 100
"""At most so many videos are opened to learn their length; that of the others is estimated from their size."""


@dataclass(frozen=True)
class Preview:
    """The work of a run. Times are in seconds."""

    videos: list[tuple[Path, Status]]
    """Each video that is not unchanged, and what a run would count it as; `new` and `changed` ones may be copies."""
    unchanged: int
    encoded: int
    """Number of videos that would be encoded."""
    footage: float
    """Length of those videos together: an estimate if there are more than PROBED."""
    elapsed: float | None
    """About how long encoding them would take; None if no index of this machine knows how fast that is."""
    survey: Survey
    """The findings in the folders."""
    lost: int = 0
    """Number of videos to be removed whose contents are nowhere else in the index: many must be confirmed."""
    offline: list[Offline] = field(default_factory=list)
    """The videos that stay in the index although their folder is not there now."""

    @property
    def counts(self) -> Counter[Status]:
        """Number of videos by status."""
        counts: Counter[Status] = Counter(status for _, status in self.videos)
        counts["unchanged"] = self.unchanged
        return counts


def preview_index(
    folders: Sequence[Path],
    index: IndexPath,
    options: IndexOptions = DEFAULT_OPTIONS,
    model: str | None = None,
    segment_length: float | None = None,
    overlap: bool = False,
) -> Preview:
    """Returns what `index_videos` would do with `folders` and the index at the path `index`, which need not exist.

    `model` is the model of a new index, and `segment_length`, in seconds, and `overlap` are its segments: another index
    of that model knows how fast it is. Raises BadInput for a folder that was never there."""
    roots = check_folders(folders, index)
    store = Store.open(index) if is_index(index) else None
    walk = walk_folders(roots, store, options)
    removed = [video.row for video in store.removed().values()] if store else []
    known = Known(walk.stored, removed=removed)
    disk = Disk(unreadable=[one.path for one in walk.survey.unreadable])
    plan = make_plan(
        walk.found,
        known,
        roots,
        fingerprint,
        disk.presence,
        options.force,
        options.verify,
        disk.is_moved,
        has_only_another_date,
    )
    footage = _footage([job.file for job in plan.encode])
    rate = _clips_a_second(segment_length or IndexSettings.segment_length, overlap)
    speed = (
        store.speed()
        if store
        else _speed_of_others(index.parent if isinstance(index, Path) else home() / "indexes", model, rate)
    )
    return Preview(
        _videos(plan),
        len(plan.unchanged) + sum(reuse.status == "unchanged" for reuse in plan.reuse),
        len(plan.encode),
        footage,
        footage / speed if speed else None,
        walk.survey,
        len(plan.lost(walk.stored)),
        find_offline(plan, walk.stored),
    )


def _videos(plan: Plan) -> list[tuple[Path, Status]]:
    jobs: list[Job | Reuse] = [*plan.encode, *(job for job, _ in plan.duplicates), *plan.reuse]
    videos: list[tuple[Path, Status]] = [(job.file.path, job.status) for job in jobs if job.status != "unchanged"]
    videos += [(row.path, "removed") for row, _ in plan.removed]
    videos += [(row.path, "failed") for row in plan.failed]
    return sorted(videos)


def _footage(files: Sequence[VideoFile]) -> float:
    """The length of all files in seconds, from some of them, spread evenly, and the sizes of the others."""
    if not files:
        return 0.0
    step = max(1, len(files) / PROBED)
    chosen = [files[int(i * step)] for i in range(min(len(files), PROBED))]

    def duration(file: VideoFile) -> float:
        try:
            return probe(file.path).duration
        except (UnreadableVideo, OSError):
            return 0.0  # a run would report it as failed

    with ThreadPoolExecutor(DECODERS, thread_name_prefix="probe") as pool:
        seconds = sum(pool.map(duration, chosen))
    size = sum(file.size for file in chosen)
    return seconds * sum(file.size for file in files) / size if size else 0.0


def _clips_a_second(segment_length: float, overlap: bool) -> float:
    """Number of clips to encode for a second of footage."""
    return (2 if overlap else 1) / segment_length


def _speed_of_others(folder: Path, model: str | None, rate: float) -> float | None:
    """Seconds of footage a second at `rate` clips for each second of footage, from what another index of the same model
    remembers whose rate is most like it; where that is lower, as if encoding took all the time."""
    speeds: list[tuple[float, float]] = []
    for path in sorted(folder.glob("*")):
        try:
            store = Store.open(path) if is_index(path) else None
        except VidfindError:
            continue  # vidfind doctor reports it
        if store and store.settings.identity.model == model and (speed := store.speed()):
            settings = store.settings
            more = rate / _clips_a_second(settings.segment_length, settings.overlap)
            speeds.append((abs(math.log(more)), speed / max(1.0, more)))
    return min(speeds)[1] if speeds else None
