"""The plan of an indexing run: what to do with each video, decided first, from what is on disk and what is stored.

Decodes nothing and writes nothing: a plan of ten thousand unchanged videos takes a moment.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from vidfind.index.presence import Presence
from vidfind.store.tables import VideoRow
from vidfind.system.files import VideoFile

log = logging.getLogger(__name__)
Status = Literal["new", "changed", "moved", "unchanged", "removed", "failed"]


@dataclass(frozen=True)
class Job:
    """A video to encode."""

    file: VideoFile
    status: Status


@dataclass(frozen=True)
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
    unchanged: list[VideoRow] = field(default_factory=list)
    failed: list[VideoRow] = field(default_factory=list)  # failed before, and not changed since
    removed: list[tuple[VideoRow, str]] = field(default_factory=list)  # with the reason, if it is not simply gone
    replaced: list[VideoRow] = field(default_factory=list)  # whose file seems to have other contents now
    offline: list[tuple[VideoRow, Path]] = field(default_factory=list)  # with the folder that is not there now

    def lost(self, stored: Mapping[Path, VideoRow]) -> list[VideoRow]:
        """The videos to be removed whose contents are in the index by no other path: `stored` are all its videos."""
        removed = {row.path for row, _ in self.removed}
        staying = {row.content for path, row in stored.items() if path not in removed}
        staying |= {reuse.source.content for reuse in self.reuse}
        return [row for row, _ in self.removed if not row.failed and row.content not in staying]

    def without_removing(self, rows: Sequence[VideoRow]) -> Plan:
        """The same plan, where `rows` stay in the index."""
        paths = {row.path for row in rows}
        return replace(self, removed=[(row, reason) for row, reason in self.removed if row.path not in paths])


@dataclass(frozen=True)
class Known:
    """The facts known of videos before a run."""

    stored: Mapping[Path, VideoRow]
    """The rows of the index."""
    before: Collection[Path] = ()
    """Paths that count as changed, not as new, where they have no row: those of the index that is encoded again."""
    removed: Collection[VideoRow] = ()
    """Videos that are not in the index any more, but whose vectors are there still."""
    ignored: Collection[Path] = ()
    """Paths among `stored` that stay as they are: their rows are used for matching contents only."""


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
    plan = Plan()
    take_fingerprint = functools.cache(take_fingerprint)
    todo: list[Job] = []
    for file in found:
        row = known.stored.get(file.path)
        if force or row is None or not _looks_unchanged(row, file):
            todo.append(Job(file, "new" if row is None and file.path not in known.before else "changed"))
        elif verify and not row.failed and _has_changed(row, take_fingerprint):
            todo.append(Job(file, "changed"))
        else:
            (plan.failed if row.failed else plan.unchanged).append(row)

    settled = {file.path for file in found}.union(known.ignored)
    missing = {path: row for path, row in known.stored.items() if path not in settled}
    if force:
        plan.encode.extend(todo)
    else:
        plan.replaced.extend(known.stored[job.file.path] for job in todo if job.file.path in known.stored)
        for path in _match_contents(
            plan, todo, known, missing, take_fingerprint, presence, is_moved, has_only_another_date
        ):
            del missing[path]
    _sort_missing(plan, missing, folders, presence)
    return plan


def _sort_missing(
    plan: Plan,
    missing: Mapping[Path, VideoRow],
    folders: Sequence[Path],
    presence: Callable[[VideoRow, Path], Presence],
) -> None:
    """Sorts stored videos that were not found into `plan`, if they lie in one of `folders`: removed, or offline."""
    for path, row in missing.items():
        asked = [folder for folder in folders if path.is_relative_to(folder)]
        # Its own folder, and those asked for: a mount point within the folder, asked for by itself, may be empty now.
        seen = {folder: presence(row, folder) for folder in (row.folder, *asked)} if asked else {}
        if away := [folder for folder, seen_as in seen.items() if seen_as == "offline"]:
            plan.offline.append((row, max(away, key=lambda folder: len(folder.parts))))
        elif asked:
            reason = "left out, or found by another path" if seen[row.folder] == "there" else ""
            plan.removed.append((row, reason))


def _match_contents(
    plan: Plan,
    todo: Sequence[Job],
    known: Known,
    missing: Mapping[Path, VideoRow],
    take_fingerprint: Callable[[Path], str],
    presence: Callable[[VideoRow, Path], Presence],
    is_moved: Callable[[VideoRow, Path], bool],
    has_only_another_date: Callable[[VideoRow, VideoFile], bool],
) -> set[Path]:
    """Sorts `todo` into `plan`: what must be encoded, and what the index or another file of `todo` has already.

    Returns the paths that videos were moved from."""
    stored = known.stored
    removed = {row.fingerprint: row for row in known.removed}
    sources: dict[str, list[VideoRow]] = defaultdict(list)
    for row in stored.values():
        if not row.failed:
            sources[row.fingerprint].append(row)

    @functools.cache
    def left_behind(fingerprint: str) -> dict[Presence, list[VideoRow]]:
        """The missing videos with a fingerprint that no file was found to be yet: those that are gone, and others."""
        missed: dict[Presence, list[VideoRow]] = {"gone": [], "offline": []}
        for row in reversed(sources[fingerprint]):
            if row.path in missing and (seen_as := presence(row, row.folder)) in missed:
                missed[seen_as].append(row)
        return missed

    def take_left_behind(fingerprint: str, path: Path) -> VideoRow | None:
        """The missing video that the file at `path` is now. Of one whose folder is not there now it may be a copy."""
        missed = left_behind(fingerprint)
        if missed["gone"]:
            return missed["gone"].pop()
        row = next((row for row in missed["offline"] if is_moved(row, path)), None)
        if row:
            missed["offline"].remove(row)
        return row

    failures: dict[tuple[int, int], list[VideoRow]] = defaultdict(list)
    for row in missing.values():
        if row.failed:
            failures[row.size, row.mtime_ns].append(row)

    def take_failed(file: VideoFile) -> VideoRow | None:
        """The missing video that could not be read, and that `file` is now by its size, time, and name or number."""
        rows = failures[file.size, file.mtime_ns]
        for row in rows:
            is_gone = row.path.name == file.path.name and presence(row, row.folder) == "gone"
            if is_gone or is_moved(row, file.path):
                rows.remove(row)
                return row
        return None

    sizes = Counter(row.size for row in (*stored.values(), *known.removed)) + Counter(job.file.size for job in todo)
    moved_from: set[Path] = set()
    originals: dict[str, Path] = {}  # by fingerprint
    for job in todo:
        path = job.file.path
        fingerprint = _try_fingerprint(path, take_fingerprint) if sizes[job.file.size] > 1 else ""
        own = stored.get(path)
        if own is None and (failed := take_failed(job.file)):
            plan.reuse.append(Reuse(job.file, "failed", failed))
            moved_from.add(failed.path)
        elif fingerprint in sources and own and own.fingerprint == fingerprint:
            plan.reuse.append(Reuse(job.file, "unchanged", own))  # only its date has changed
        elif fingerprint in sources and (left := take_left_behind(fingerprint, path)):
            plan.reuse.append(Reuse(job.file, "moved", left))
            moved_from.add(left.path)
        elif fingerprint in sources:
            here = [row for row in sources[fingerprint] if row.path not in missing]
            away = left_behind(fingerprint)["offline"]
            source = next(iter(here or away or sources[fingerprint]))
            plan.reuse.append(Reuse(job.file, job.status, source, is_source_away=bool(away) and not here))
        elif fingerprint in removed:
            plan.reuse.append(Reuse(job.file, job.status, removed[fingerprint], is_removed=True))
        elif own and not own.failed and has_only_another_date(own, job.file):
            taken = fingerprint or _try_fingerprint(path, take_fingerprint)
            plan.reuse.append(Reuse(job.file, "unchanged", replace(own, fingerprint=taken)))
        elif fingerprint in originals:
            plan.duplicates.append((job, originals[fingerprint]))
        else:
            plan.encode.append(job)
            if fingerprint:
                originals[fingerprint] = path
    return moved_from


def _looks_unchanged(row: VideoRow, file: VideoFile) -> bool:
    return not row.try_again and (row.size, row.mtime_ns) == (file.size, file.mtime_ns)


def _has_changed(row: VideoRow, take_fingerprint: Callable[[Path], str]) -> bool:
    try:
        return take_fingerprint(row.path) != row.fingerprint
    except OSError as error:
        log.warning("Cannot compare %s with the index: %s", row.path, error.strerror or error)
        return False  # what is stored may well be right


def _try_fingerprint(path: Path, take_fingerprint: Callable[[Path], str]) -> str:
    try:
        return take_fingerprint(path)
    except OSError:
        return ""  # it is to be encoded, and that reports the error
