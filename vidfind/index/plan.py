"""The plan of an indexing run: what to do with each video, decided first, from what is on disk and what is stored.

Decodes nothing and writes nothing: a plan of ten thousand unchanged videos takes a moment.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from vidfind.index.presence import Presence
from vidfind.store.files import StoredVideos
from vidfind.store.tables import VideoRow
from vidfind.system.files import VideoFile

log = logging.getLogger(__name__)
Status = Literal["new", "changed", "moved", "unchanged", "removed", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """A video to encode."""

    file: VideoFile
    status: Status


@dataclass(frozen=True, slots=True)
class Reuse:
    """A video whose content is in the index already, as `source`: nothing is encoded."""

    file: VideoFile
    status: Status
    source: VideoRow
    is_removed: bool = False
    """Whether `source` was removed, and only its vectors are there still."""
    is_source_away: bool = False
    """Whether `source` stays although its folder is not there now: this may be a backup of it."""


@dataclass(frozen=True)
class Plan:
    """Each video found, and each stored one under the folders asked for, is in just one of these.

    Only `replaced` has some of them a second time."""

    encode: list[Job] = field(default_factory=list)
    duplicates: list[tuple[Job, Path]] = field(default_factory=list)  # with the path in `encode` of the same contents
    reuse: list[Reuse] = field(default_factory=list)
    unchanged: list[tuple[VideoFile, int]] = field(default_factory=list)  # with its number among the stored videos
    failed: list[VideoRow] = field(default_factory=list)  # failed before, and not changed since
    removed: list[tuple[VideoRow, str]] = field(default_factory=list)  # with the reason, if it is not simply gone
    replaced: list[VideoRow] = field(default_factory=list)  # whose file seems to have other contents now
    offline: list[tuple[VideoRow, Path]] = field(default_factory=list)  # with the folder that is not there now

    def lost(self, stored: StoredVideos) -> list[VideoRow]:
        """The videos to be removed whose contents are in the index by no other path: `stored` are all its videos."""
        if not self.removed:
            return []
        leaving = Counter(row.content for row, _ in self.removed)
        having = Counter(content for content in stored.contents if content in leaving)
        staying = {content for content, videos in leaving.items() if having[content] > videos}
        staying |= {reuse.source.content for reuse in self.reuse}
        return [row for row, _ in self.removed if not row.failed and row.content not in staying]

    def without_removing(self, rows: Sequence[VideoRow]) -> Plan:
        """The same plan, where `rows` stay in the index."""
        paths = {row.path for row in rows}
        return replace(self, removed=[(row, reason) for row, reason in self.removed if row.path not in paths])


@dataclass(frozen=True)
class Known:
    """The facts known of videos before a run."""

    stored: StoredVideos
    """The videos of the index."""
    before: Collection[Path] = ()
    """Paths that count as changed, not as new, where they have no row: those of the index that is encoded again."""
    removed: Collection[VideoRow] = ()
    """Videos that are not in the index any more, but whose vectors are there still."""
    ignored: Collection[int] = ()
    """The numbers of those among `stored` that stay as they are: they are used for matching contents only."""


def make_plan(
    found: Sequence[VideoFile],
    known: Known,
    folders: Sequence[Path],
    take_fingerprint: Callable[[Path], str],
    presence: Callable[[VideoRow, Path], Presence],
    force: bool = False,
    verify: bool = False,
    is_moved: Callable[[VideoRow, Path], bool] = lambda row, path: False,
    has_only_another_date: Callable[[VideoRow, VideoFile], bool] = lambda row, file: False,
) -> Plan:
    """Decides what to do with each video, from what is on disk and what is known.

    Arguments:
        found: the files on disk.
        known: the rows of the index, and how to take them.
        folders: those asked for, absolute; stored videos outside them are left alone.
        take_fingerprint: reads a file; called only for new and changed files that have the size of another video.
        presence: called only for stored videos that were not found: is the video gone, or is its folder not there now?
        force: encode every file found.
        verify: compare also the fingerprints of files that seem unchanged.
        is_moved: called for a stored video whose folder is not there now and a file with its contents: is the file
            that video, for instance on a drive under another letter, and not a copy?
        has_only_another_date: called for a stored video whose file has changed: does it still show the same?"""
    plan, stored = Plan(), known.stored
    take_fingerprint = functools.cache(take_fingerprint)
    todo: list[Job] = []
    failed: list[int] = []
    missing = set(range(len(stored)))
    missing.difference_update(known.ignored)
    for file in found:
        if (number := stored.number(file.path)) is None:
            todo.append(Job(file, "changed" if file.path in known.before else "new"))
            continue
        missing.discard(number)
        if force or not stored.looks_like(number, file):
            todo.append(Job(file, "changed"))
        elif stored.failed[number]:
            failed.append(number)
        elif verify and _has_changed(file.path, stored.fingerprint(number), take_fingerprint):
            todo.append(Job(file, "changed"))
        else:
            plan.unchanged.append((file, number))
    plan.failed.extend(stored.rows(failed))

    if force:
        plan.encode.extend(todo)
    elif todo:
        sizes = Counter(job.file.size for job in todo)
        alike = _rows_like(todo, sizes, stored)
        sizes.update(size for size in chain(stored.sizes, (row.size for row in known.removed)) if size in sizes)
        plan.replaced.extend(alike[job.file.path] for job in todo if job.file.path in alike)
        gone = {path: row for path, row in alike.items() if stored.number(path) in missing}
        left_behind = _LeftBehind(gone, presence, is_moved)
        matcher = _Matcher(plan, alike, known.removed, left_behind, gone, take_fingerprint, has_only_another_date)
        for job in todo:
            is_alone = sizes[job.file.size] == 1
            matcher.sort(job, "" if is_alone else _try_fingerprint(job.file.path, take_fingerprint))
        missing.difference_update(stored.numbers(left_behind.taken))
    _sort_missing(plan, stored.rows(stored.under(folders, sorted(missing))), folders, presence)
    return plan


def _rows_like(todo: Sequence[Job], sizes: Collection[int], stored: StoredVideos) -> dict[Path, VideoRow]:
    """The stored videos that the files of jobs may be, moved or copied: those of their sizes, and those of their paths.

    No other row is needed: what has another size has another fingerprint."""
    own = set(stored.numbers(job.file.path for job in todo))
    numbers = [number for number, size in enumerate(stored.sizes) if size in sizes or number in own]
    return {row.path: row for row in stored.rows(numbers)}


def _sort_missing(
    plan: Plan,
    missing: Iterable[VideoRow],
    folders: Sequence[Path],
    presence: Callable[[VideoRow, Path], Presence],
) -> None:
    """Sorts stored videos that were not found into `plan`: removed, or offline. All lie in `folders`."""
    for row in missing:
        asked = [folder for folder in folders if row.path.is_relative_to(folder)]
        # Its own folder, and those asked for: a mount point within the folder, asked for by itself, may be empty now.
        seen = {folder: presence(row, folder) for folder in (row.folder, *asked)}
        if away := [folder for folder, seen_as in seen.items() if seen_as == "offline"]:
            plan.offline.append((row, max(away, key=lambda folder: len(folder.parts))))
        else:
            plan.removed.append((row, "left out, or found by another path" if seen[row.folder] == "there" else ""))


class _LeftBehind:
    """The stored videos that were not found, and that files found elsewhere may be now. Each is taken once."""

    def __init__(
        self,
        missing: Mapping[Path, VideoRow],
        presence: Callable[[VideoRow, Path], Presence],
        is_moved: Callable[[VideoRow, Path], bool],
    ) -> None:
        self._presence, self._is_moved = presence, is_moved
        self._rows: dict[str, list[VideoRow]] = defaultdict(list)  # by fingerprint
        self._failed: dict[tuple[int, int], list[VideoRow]] = defaultdict(list)  # by size and time
        self._sorted: dict[str, dict[Presence, list[VideoRow]]] = {}
        self.taken: set[Path] = set()
        """The paths that videos were moved from."""
        for row in missing.values():
            if row.failed:
                self._failed[row.size, row.mtime_ns].append(row)
            else:
                self._rows[row.fingerprint].append(row)

    def take(self, fingerprint: str, path: Path) -> VideoRow | None:
        """Returns the missing video that the file at `path` is now, if it is one.

        If the folder of a missing video is not there now, the file may be a copy of it, and `is_moved` decides."""
        missed = self._by_presence(fingerprint)
        row = missed["gone"].pop() if missed["gone"] else None
        if row is None and (row := next((row for row in missed["offline"] if self._is_moved(row, path)), None)):
            missed["offline"].remove(row)
        if row:
            self.taken.add(row.path)
        return row

    def take_failed(self, file: VideoFile) -> VideoRow | None:
        """Returns the missing video that could not be read and that `file` is now, if it is one.

        It has the size and time of the file, and its name or its number on the disk."""
        rows = self._failed.get((file.size, file.mtime_ns), [])
        for row in rows:
            is_gone = row.path.name == file.path.name and self._presence(row, row.folder) == "gone"
            if is_gone or self._is_moved(row, file.path):
                rows.remove(row)
                self.taken.add(row.path)
                return row
        return None

    def offline(self, fingerprint: str) -> Sequence[VideoRow]:
        """Returns the videos with a fingerprint whose folders are not there now."""
        return self._by_presence(fingerprint)["offline"]

    def _by_presence(self, fingerprint: str) -> dict[Presence, list[VideoRow]]:
        """Returns the videos with a fingerprint that are gone, and those that are offline, without those taken.

        It is asked when it is needed, once for each fingerprint: `presence` looks at the disk."""
        if fingerprint not in self._sorted:
            missed: dict[Presence, list[VideoRow]] = {"gone": [], "offline": []}
            for row in reversed(self._rows[fingerprint]):
                if (seen_as := self._presence(row, row.folder)) in missed:
                    missed[seen_as].append(row)
            self._sorted[fingerprint] = missed
        return self._sorted[fingerprint]


class _Matcher:
    """Sorts jobs into a plan: what must be encoded, and what the index or another file found has already."""

    def __init__(
        self,
        plan: Plan,
        stored: Mapping[Path, VideoRow],
        removed: Iterable[VideoRow],
        left_behind: _LeftBehind,
        missing: Collection[Path],
        take_fingerprint: Callable[[Path], str],
        has_only_another_date: Callable[[VideoRow, VideoFile], bool],
    ) -> None:
        self._plan, self._stored, self._left_behind = plan, stored, left_behind
        self._missing, self._take_fingerprint = missing, take_fingerprint
        self._has_only_another_date = has_only_another_date
        self._removed = {row.fingerprint: row for row in removed}
        self._sources: dict[str, list[VideoRow]] = defaultdict(list)  # by fingerprint
        self._originals: dict[str, Path] = {}  # files to encode, by fingerprint
        for row in stored.values():
            if not row.failed:
                self._sources[row.fingerprint].append(row)

    def sort(self, job: Job, fingerprint: str) -> None:
        """Sorts one job. `fingerprint` is that of its file; empty: no other video has its size, or it is unreadable."""
        if reuse := self._reuse(job, fingerprint):
            self._plan.reuse.append(reuse)
        elif fingerprint in self._originals:
            self._plan.duplicates.append((job, self._originals[fingerprint]))
        else:
            self._plan.encode.append(job)
            if fingerprint:
                self._originals[fingerprint] = job.file.path

    def _reuse(self, job: Job, fingerprint: str) -> Reuse | None:
        """Returns how the index has the content of a file already; None if it does not."""
        file = job.file
        own = self._stored.get(file.path)
        if own is None and (failed := self._left_behind.take_failed(file)):
            return Reuse(file, "failed", failed)
        if fingerprint in self._sources:
            return self._reuse_stored(job, fingerprint, own)
        if fingerprint in self._removed:
            return Reuse(file, job.status, self._removed[fingerprint], is_removed=True)
        if own and not own.failed and self._has_only_another_date(own, file):
            taken = fingerprint or _try_fingerprint(file.path, self._take_fingerprint)
            return Reuse(file, "unchanged", replace(own, fingerprint=taken))
        return None

    def _reuse_stored(self, job: Job, fingerprint: str, own: VideoRow | None) -> Reuse:
        """Returns which stored video with this fingerprint a file is, or is a copy of."""
        if own and own.fingerprint == fingerprint:
            return Reuse(job.file, "unchanged", own)  # only its date has changed
        if left := self._left_behind.take(fingerprint, job.file.path):
            return Reuse(job.file, "moved", left)
        sources = self._sources[fingerprint]
        here = [row for row in sources if row.path not in self._missing]
        away = self._left_behind.offline(fingerprint)
        source = next(iter(here or away or sources))
        return Reuse(job.file, job.status, source, is_source_away=bool(away) and not here)


def _has_changed(path: Path, fingerprint: str, take_fingerprint: Callable[[Path], str]) -> bool:
    try:
        return take_fingerprint(path) != fingerprint
    except OSError as error:
        log.warning("Cannot compare %s with the index: %s", path, error.strerror or error)
        return False  # what is stored may well be right


def _try_fingerprint(path: Path, take_fingerprint: Callable[[Path], str]) -> str:
    try:
        return take_fingerprint(path)
    except OSError:
        return ""  # it is to be encoded, and that reports the error
