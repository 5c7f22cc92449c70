"""What an indexing run will do with each video: decided first, from what is on disk and what is stored.

Decodes nothing and writes nothing: a plan of ten thousand unchanged videos takes a moment.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vidfind.index.presence import Look
from vidfind.media.files import VideoFile
from vidfind.store.tables import VideoRow

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


@dataclass(frozen=True)
class Plan:
    """Each video found, and each stored one under the folders asked for, is in just one of these."""

    encode: list[Job] = field(default_factory=list)
    twins: list[tuple[Job, Path]] = field(default_factory=list)  # with the path in `encode` that has the same content
    reuse: list[Reuse] = field(default_factory=list)
    unchanged: list[VideoRow] = field(default_factory=list)
    failed: list[VideoRow] = field(default_factory=list)  # failed before, and not changed since
    removed: list[tuple[VideoRow, str]] = field(default_factory=list)  # with the reason, if it is not simply gone
    offline: list[tuple[VideoRow, Path]] = field(default_factory=list)  # with the folder that is not there now


def make_plan(
    found: Sequence[VideoFile],
    stored: Mapping[Path, VideoRow],
    folders: Sequence[Path],
    fingerprint: Callable[[Path], str],
    look: Look,
    force: bool = False,
    known: Collection[Path] = (),
    verify: bool = False,
    left: Collection[Path] = (),
) -> Plan:
    """Decides what to do, from what is on disk, what is stored, and two functions that look closer where it matters.

    `folders` are those asked for, absolute; stored videos outside them are left alone. Fingerprints are taken only of
    new and changed files that have the size of another video; to `verify`, also of those that seem unchanged.
    `look(row, folder)` is asked only about stored videos that were not found: is the video gone, or only its folder
    not there now? What is `known` counts as changed, not as new, when it is not stored. Of the stored videos `left`
    alone, only the contents count."""
    plan = Plan()
    fingerprint = functools.cache(fingerprint)
    on_disk = {file.path for file in found}
    todo: list[Job] = []
    for file in found:
        row = stored.get(file.path)
        if force or row is None or (row.size, row.mtime_ns) != (file.size, file.mtime_ns):
            todo.append(Job(file, "new" if row is None and file.path not in known else "changed"))
        elif verify and not row.failed and _has_changed(row, fingerprint):
            todo.append(Job(file, "changed"))
        else:
            (plan.failed if row.failed else plan.unchanged).append(row)

    missing = {path: row for path, row in stored.items() if path not in on_disk and path not in left}
    if force:
        plan.encode.extend(todo)
    else:
        for path in _match_contents(plan, todo, stored, missing, fingerprint, look):
            del missing[path]

    for path, row in missing.items():
        asked = [folder for folder in folders if path.is_relative_to(folder)]
        # Its own folder, and those asked for: a mount point within the folder, asked for by itself, may be empty now.
        seen = {folder: look(row, folder) for folder in (row.folder, *asked)} if asked else {}
        if away := [folder for folder, presence in seen.items() if presence == "offline"]:
            plan.offline.append((row, away[0]))
        elif asked:
            reason = "left out, or found by another path" if seen[row.folder] == "there" else ""
            plan.removed.append((row, reason))
    return plan


def _match_contents(
    plan: Plan,
    todo: Sequence[Job],
    stored: Mapping[Path, VideoRow],
    missing: Mapping[Path, VideoRow],
    fingerprint: Callable[[Path], str],
    look: Look,
) -> set[Path]:
    """Sorts `todo` into `plan`: what must be encoded, and what the index or another file of `todo` has already.

    Returns the paths that videos were moved from."""
    sources: dict[str, list[VideoRow]] = defaultdict(list)
    for row in stored.values():
        if not row.failed:
            sources[row.fingerprint].append(row)

    @functools.cache
    def left_behind(content: str) -> Iterator[VideoRow]:
        """The missing videos of a content, each given once. Those that are gone come first; one whose folder is not
        there now counts as moved too: a drive under a new letter is encoded once."""
        missed = [(look(row, row.folder), row) for row in sources[content] if row.path in missing]
        return iter([row for wanted in ("gone", "offline") for presence, row in missed if presence == wanted])

    sizes = Counter(row.size for row in stored.values()) + Counter(job.file.size for job in todo)
    moved_from: set[Path] = set()
    firsts: dict[str, Path] = {}
    for job in todo:
        path = job.file.path
        content = _try_fingerprint(path, fingerprint) if sizes[job.file.size] > 1 else ""
        own = stored.get(path)
        if content in sources and own and own.fingerprint == content:
            plan.reuse.append(Reuse(job.file, "unchanged", own))  # only its date has changed
        elif content in sources and (left := next(left_behind(content), None)):
            plan.reuse.append(Reuse(job.file, "moved", left))
            moved_from.add(left.path)
        elif content in sources:
            plan.reuse.append(Reuse(job.file, job.status, sources[content][0]))
        elif content in firsts:
            plan.twins.append((job, firsts[content]))
        else:
            plan.encode.append(job)
            if content:
                firsts[content] = path
    return moved_from


def _has_changed(row: VideoRow, fingerprint: Callable[[Path], str]) -> bool:
    try:
        return fingerprint(row.path) != row.fingerprint
    except OSError as error:
        log.warning("Cannot compare %s with the index: %s", row.path, error.strerror or error)
        return False  # what is stored may well be right


def _try_fingerprint(path: Path, fingerprint: Callable[[Path], str]) -> str:
    try:
        return fingerprint(path)
    except OSError:
        return ""  # it goes on to be encoded, and the trouble is told there
