"""Finds the videos of a run: those in the folders asked for, and those that were named before, without those left out.

Reads folders and the index, and writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from vidfind.errors import BadInput
from vidfind.folders.names import Reason
from vidfind.folders.patterns import Exclusions, without_current_folder
from vidfind.folders.walk import Survey, find_videos, is_searched, survey_folders
from vidfind.index.encode import FolderOf
from vidfind.index.options import IndexOptions
from vidfind.store.files import StoredVideos
from vidfind.store.memory import LeftOut, read_left_out
from vidfind.store.store import Store
from vidfind.system.files import VideoFile

NOTHING_EXCLUDED = Exclusions()


@dataclass(frozen=True)
class Walk:
    """The videos on disk and in the index, as far as a run is concerned."""

    found: list[VideoFile]
    survey: Survey
    """The findings in the folders that are there."""
    stored: StoredVideos
    before: StoredVideos
    """The videos of the index in use, where the store is an unfinished one beside it; else empty."""
    folders: list[Path]
    """The folders asked for, there or not, and those of the videos that are indexed again."""
    folder_of: FolderOf
    named: frozenset[Path]
    """The folders and files that the user has just named."""
    left_out: LeftOut
    """The paths and patterns that the index leaves out from now on."""


def walk_folders(
    roots: Sequence[Path], store: Store | None, options: IndexOptions, ignored: frozenset[Path] = frozenset()
) -> Walk:
    """Looks through the folders `roots`, absolute paths, for a run on `store`.

    `ignored` are files and folders that are not looked at. Raises BadInput for an `include` that no run excluded."""
    stored = store.stored_videos() if store else StoredVideos.of([])
    before = store.in_use().stored_videos() if store and store.is_unfinished else StoredVideos.of([])
    again = [stored, before] if store and store.is_unfinished else []
    left_out = _left_out(roots, store, options)
    leaving = _Leaving(left_out)
    present = [root for root in roots if os.path.exists(root)]
    # What all folders leave out need not even be looked through.
    known = {pattern for _, pattern in left_out.patterns}
    known = {pattern for pattern in known if all((root, pattern) in left_out.patterns for root in present)}
    survey = survey_folders(present, [*dict.fromkeys([*options.exclude, *sorted(known)])], options.all_files)
    survey = replace(survey, unused=[unused for unused in survey.unused if unused.pattern in options.exclude])

    named = dict(_named_before(present, survey.videos, stored, options))
    files = {file.path: file for file in (*survey.videos, *named)}
    if survey.left_out:
        survey = replace(survey, left_out=_not_taken(survey.left_out, files.keys() | set(roots) | set(named.values())))
    found = [file for path, file in files.items() if not is_under(path, ignored) and not leaving.leaves_out(path)]
    others = (path for path in chain(*again) if path not in files and not is_under(path, ignored | set(present)))
    found += find_videos(others)
    own_folder = {root: root for root in roots if os.path.isfile(root)}
    own_folder |= {file.path: folder for file, folder in named.items()}
    kept = [folder for one in again for folder in one.folders()]
    planned = dict.fromkeys([*roots, *own_folder.values(), *kept])

    def folder_of(path: Path) -> Path:
        if known := next((one for one in again if path in one), None):
            return known.folder_of(path)
        if path in own_folder:
            return own_folder[path]
        above = [one for one in (*reversed(path.parents), path) if one in planned]
        # The outermost of them, if it is enough to name that one; a later run of it must not lose the video.
        return next((one for one in above[:-1] if is_searched(path, one, NOTHING_EXCLUDED)), above[-1])

    folders = [*dict.fromkeys([*roots, *kept])]
    named_now = frozenset(roots if options.is_asked else ())
    return Walk(found, survey, stored, before, folders, folder_of, named_now, left_out)


def is_under(path: Path, folders: frozenset[Path]) -> bool:
    """Whether `path` is one of `folders`, or lies below one."""
    return bool(folders) and not folders.isdisjoint((path, *path.parents))


def _named_before(
    roots: Sequence[Path], found: Iterable[VideoFile], stored: StoredVideos, options: IndexOptions
) -> Iterable[tuple[VideoFile, Path]]:
    """The videos of folders and files within `roots` that an earlier run was asked for by name, and that are not among
    those `found`, because they are hidden, have no extension of a video, or the like. Each comes with that folder."""
    folders = {one for one in stored.folders() if any(one != root and one.is_relative_to(root) for root in roots)}
    if not folders:
        return
    reached = _with_folders(file.path for file in found)
    exclusions = Exclusions(options.exclude)
    for folder in sorted(folders - reached):
        root = next(root for root in roots if folder != root and folder.is_relative_to(root))
        real, base = Path(os.path.realpath(folder)), Path(os.path.realpath(root))
        if real.is_relative_to(base) and root / real.relative_to(base) in reached:
            continue  # a link to what was found
        steps = [step for step in (folder, *folder.parents) if step != root and step.is_relative_to(root)]
        if not any(exclusions.match(str(step), str(root), str(step)) for step in steps):
            yield from ((file, folder) for file in find_videos([folder], options.exclude, options.all_files))


def _not_taken(left_out: Mapping[Reason, Sequence[Path]], taken: Collection[Path]) -> dict[Reason, list[Path]]:
    """The things left out of a walk, without files and folders that are among `taken`, because they were named, and
    without folders in which every video is."""
    holding = _with_folders(path.parent for path in taken)
    rest: dict[Reason, list[Path]] = {}
    for reason, paths in left_out.items():
        if reason is Reason.NO_VIDEO:  # named, and left out all the same
            rest[reason] = list(paths)
            continue
        for path in paths:
            held = find_videos([path]) if path in holding else ()
            if path not in taken and (path not in holding or any(file.path not in taken for file in held)):
                rest.setdefault(reason, []).append(path)
    return rest


def _with_folders(paths: Iterable[Path]) -> set[Path]:
    """The paths, and all folders that they lie in."""
    reached: set[Path] = set()
    for path in paths:
        while path not in reached:
            reached.add(path)
            path = path.parent
    return reached


def _left_out(roots: Sequence[Path], store: Store | None, options: IndexOptions) -> LeftOut:
    """The paths and patterns left out from now on: those of before, but for what this run is asked to change."""
    left_out = read_left_out(store.path) if store else LeftOut()
    patterns = set(left_out.patterns)
    include = {one for pattern in options.include for one in (pattern, without_current_folder(pattern))}
    for pattern in options.include:
        if not any(known in (pattern, without_current_folder(pattern)) for _, known in patterns):
            excluded = ", ".join(sorted({repr(known) for _, known in patterns})) or "none"
            raise BadInput(f"No earlier run has left out {pattern!r}. Patterns that are left out: {excluded}.")
    patterns = {(folder, pattern) for folder, pattern in patterns if pattern not in include}
    left_out = replace(left_out, patterns=frozenset(patterns))
    if options.is_asked:
        left_out = replace(left_out, removed=left_out.removed.difference(roots))
        leaving = _Leaving(left_out)
        left_out = replace(left_out, taken=left_out.taken.union(root for root in roots if leaving.leaves_out(root)))
    lasting = set(map(without_current_folder, options.exclude))
    asked = frozenset((root, pattern) for root in roots if not os.path.isfile(root) for pattern in lasting)
    excluding = _Leaving(LeftOut(patterns=asked))
    taken = frozenset(path for path in left_out.taken if not excluding.leaves_out(path))
    return replace(left_out, patterns=left_out.patterns | asked, taken=taken)


class _Leaving:
    """Decides which paths are left out."""

    def __init__(self, left_out: LeftOut) -> None:
        self._left_out = left_out
        self._exclusions = [(folder, Exclusions([pattern])) for folder, pattern in left_out.patterns]
        self._folders: dict[Path, bool] = {}
        """Whether each folder is left out, as far as is known."""

    def leaves_out(self, path: Path) -> bool:
        """Whether a path is left out: the nearest above it that was named, removed or excluded decides."""
        decided = self._decide(path)
        return self._leaves_out_folder(path.parent) if decided is None else decided

    def _leaves_out_folder(self, folder: Path) -> bool:
        steps: list[Path] = []
        while (decided := self._folders.get(folder)) is None and (decided := self._decide(folder)) is None:
            steps.append(folder)
            if folder == folder.parent:
                decided = False
                break
            folder = folder.parent
        self._folders |= dict.fromkeys([*steps, folder], decided)
        return decided

    def _decide(self, step: Path) -> bool | None:
        """Whether a file or folder itself is left out; None if it is as the folder that it lies in."""
        if step in self._left_out.taken:
            return False
        return True if step in self._left_out.removed or self._is_excluded(step) else None

    def _is_excluded(self, step: Path) -> bool:
        return any(
            step != folder and step.is_relative_to(folder) and exclusions.match(str(step), str(folder), str(step))
            for folder, exclusions in self._exclusions
        )
