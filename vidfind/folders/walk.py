"""Walks through folders and yields what it finds: videos, what it leaves out, and what it cannot read.

Knows nothing of the contents of videos, or of the index.
"""

import logging
import os
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from vidfind.folders.companions import PROXY_FOLDERS, SONY_FOLDER, Companions, ProxyFolder, companions
from vidfind.folders.contents import is_video, may_be_video
from vidfind.folders.names import Reason, why_left_out
from vidfind.folders.patterns import IGNORE_FILE, Exclusions, IgnoreFile, Unused, is_ignored, read_ignore_file
from vidfind.folders.unreadable import why_unreadable
from vidfind.system.files import VideoFile

log = logging.getLogger(__name__)

JUNCTION = 0xA0000003
"""The mark of junctions, and of drives mounted in a folder, in the file systems of Windows."""


@dataclass(frozen=True)
class LeftOut:
    """A folder or file that is left out by default, or by an ignore file, and would be taken if it were named."""

    path: Path
    reason: Reason


@dataclass(frozen=True)
class Unreadable:
    """A folder that cannot be listed, or a file that cannot be looked at; `reason` follows its name."""

    path: Path
    reason: str


@dataclass(frozen=True)
class OtherName:
    """Another path of a folder or video that is found by `path`: through a link, or, where `path` itself is a link, the
    path without it."""

    link: Path
    path: Path


Finding = VideoFile | LeftOut | Unreadable | OtherName


@dataclass(frozen=True)
class Survey:
    """The findings of a walk through folders."""

    videos: list[VideoFile]
    left_out: dict[Reason, list[Path]]
    unreadable: list[Unreadable]
    unused: list[Unused]
    """Patterns that matched nothing."""
    other_names: dict[Path, Path]
    """Other paths of folders and videos, which links make, with the paths that these were found by."""

    @property
    def has_remarks(self) -> bool:
        """Whether there is more to tell than videos."""
        return bool(self.left_out or self.unreadable or self.unused)


def survey_folders(folders: Iterable[Path], exclude: Sequence[str] = (), all_files: bool = False) -> Survey:
    """All that `look_through` finds."""
    exclusions = Exclusions(exclude)
    survey = Survey([], {}, [], [], {})
    for found in look_through(folders, exclusions, all_files):
        if isinstance(found, VideoFile):
            survey.videos.append(found)
        elif isinstance(found, Unreadable):
            survey.unreadable.append(found)
        elif isinstance(found, OtherName):
            survey.other_names[found.link] = found.path
        else:
            survey.left_out.setdefault(found.reason, []).append(found.path)
    survey.unused.extend(exclusions.unused())
    return survey


def find_videos(
    folders: Iterable[Path], exclude: Sequence[str] | Exclusions = (), all_files: bool = False
) -> Iterator[VideoFile]:
    """Yields the videos that `look_through` finds."""
    return (found for found in look_through(folders, exclude, all_files) if isinstance(found, VideoFile))


def look_through(
    folders: Iterable[Path], exclude: Sequence[str] | Exclusions = (), all_files: bool = False
) -> Iterator[Finding]:
    """Yields every video below `folders` once, what is left out, and what cannot be read; in the order of names.

    A folder is searched for files with an extension of a video; hidden files and folders are skipped, and so is what
    `exclude` matches (see `Exclusions`) or a `.vidfindignore` (in the syntax of gitignore). `names.LEFT_OUT` and
    `companions` say what else is left out, unless `all_files` is set. A file among `folders` is yielded whatever its
    name, unless its bytes are those of a picture, a text or a sound.

    Links are followed last, so that a video has its own path wherever that lies in one of `folders`. A folder or file
    that is reached a second time is skipped, so that loops end. Paths that are missing or not regular files are
    skipped. Raises BadInput for a `.vidfindignore` that cannot be used."""
    exclusions = exclude if isinstance(exclude, Exclusions) else Exclusions(exclude)
    roots = dict.fromkeys(map(os.path.abspath, folders))
    yield from _Walk(exclusions, all_files).run(list(roots))


def is_searched(path: Path, root: Path, exclusions: Exclusions, all_files: bool = False) -> bool:
    """Whether `look_through(root)` can reach `path`: no step on the way there is hidden, excluded or left out."""
    names = [root.name.lower()]
    for step in reversed([path, *path.parents][: len(path.parts) - len(root.parts)]):
        if step.name.startswith(".") or exclusions.match(str(step), str(root), str(step)):
            return False
        if not all_files and why_left_out(step.name, names):
            return False
        names.append(step.name.lower())
    return True


@dataclass(frozen=True)
class _Folder:
    """A folder to search. `real` is its path without links; `root` the folder asked for that it lies in."""

    path: str
    real: str
    root: str
    ignores: tuple[IgnoreFile, ...] = ()
    names: tuple[str, ...] = ()
    """The names of the folders from `root` to this one, in small letters."""
    proxies: ProxyFolder | None = None
    """The folder of proxies that this one is, or lies in."""
    is_link: bool = False


@dataclass(frozen=True)
class _Link:
    """A link in `folder`, with the names that lie `beside` it."""

    name: str
    path: str
    folder: _Folder
    beside: Companions


@dataclass
class _Walk:
    """One walk: what it has seen, and the links it has still to follow."""

    exclusions: Exclusions
    all_files: bool
    seen: dict[str, str] = field(default_factory=dict)
    """The path that each folder and file was first met by; the keys are made in `_known_path`."""
    shut: set[str] = field(default_factory=set)
    """Paths without links of what was left out."""
    told: set[str] = field(default_factory=set)
    links: deque[_Link] = field(default_factory=deque)

    def run(self, roots: Sequence[str]) -> Iterator[Finding]:
        for root in roots:
            try:
                os.stat(root)
            except OSError as error:
                yield from self._tell(root, error)
            except ValueError:  # a NUL in the path
                continue
        reals = {root: os.path.realpath(root) for root in roots if os.path.exists(root)}
        # What is named itself comes first, then paths without links.
        for root in sorted(reals, key=lambda root: (os.path.isdir(root), reals[root] != root)):
            if os.path.isdir(root):
                names = (os.path.basename(root).lower(),)
                is_link = reals[root] != root
                yield from self._descend(_Folder(root, reals[root], root, _ignores_above(root), names, is_link=is_link))
            elif not self.exclusions.match(root, os.path.dirname(root), reals[root]):
                yield from self._named_file(root, reals[root])
        while self.links:
            yield from self._follow(self.links.popleft())

    def _descend(self, start: _Folder) -> Iterator[Finding]:
        """Walks through a folder. Without recursion: folders may be a thousand deep."""
        stack = [self._steps(start)]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
            elif isinstance(step, _Folder):
                stack.append(self._steps(step))
            else:
                yield step

    def _steps(self, folder: _Folder) -> Iterator[Finding | _Folder]:
        """Yields what lies in one folder: findings, and folders to descend into."""
        try:
            if known := self._known_path(folder.path, folder.real, os.stat(folder.path)):
                yield from _other_name(folder.path, known)
                return
        except OSError as error:
            yield from self._tell(folder.path, error)
            return
        if folder.is_link:
            yield OtherName(Path(folder.real), Path(folder.path))
        entries, ended = _list(folder.path)
        if ended:
            yield from self._tell(folder.path, ended)
        if any(entry.name == IGNORE_FILE for entry in entries) and (ignore := read_ignore_file(folder.path)):
            folder = replace(folder, ignores=(*folder.ignores, ignore))
        beside = companions(entry.name for entry in entries)
        for listed in entries:
            name, path = listed.name, listed.path
            try:
                if name.startswith("."):
                    continue
                if _is_link(listed):
                    self.links.append(_Link(name, path, folder, beside))
                else:
                    real = path if folder.real == folder.path else os.path.join(folder.real, name)
                    is_folder = listed.is_dir(follow_symlinks=False)
                    yield from self._look_at(name, path, folder, beside, real, is_folder)
            except OSError as error:
                # A folder that may be listed, but whose files may not be looked at, is told of once.
                yield from self._tell(folder.path if isinstance(error, PermissionError) else path, error)

    def _follow(self, link: _Link) -> Iterator[Finding]:
        try:
            is_folder = S_ISDIR(os.stat(link.path).st_mode)
            real = os.path.realpath(link.path)
            if self._is_shut(real):
                return
            for step in self._look_at(link.name, link.path, link.folder, link.beside, real, is_folder):
                if isinstance(step, _Folder):
                    yield from self._descend(replace(step, is_link=True))
                    continue
                yield step
                if isinstance(step, VideoFile):
                    yield OtherName(Path(real), step.path)
        except OSError as error:
            yield from self._tell(link.path, error)

    def _look_at(
        self, name: str, path: str, folder: _Folder, beside: Companions, real: str, is_folder: bool
    ) -> Iterator[Finding | _Folder]:
        """Yields a file if it is a video, a folder to descend into, or that it is left out. Raises OSError.

        It lies in `folder`, with the names `beside` it; `real` is its path without links."""
        is_excluded = self.exclusions.match(path, folder.root, real)
        if not is_folder and not may_be_video(name):
            return
        if is_excluded or is_ignored(path, is_folder, folder.ignores):
            self.shut.add(real)
            if not is_excluded:
                yield LeftOut(Path(path), Reason.IGNORED)
            return
        if is_folder:
            reason = why_left_out(name, folder.names)
        else:
            status = os.stat(path)
            if not S_ISREG(status.st_mode):
                return
            if known := self._known_path(path, real, status):
                yield from _other_name(path, known)
                return
            reason = beside.why_left_out(name, path, folder.proxies)
        if reason and not self.all_files:
            self.shut.add(real)
            yield LeftOut(Path(path), reason)
        elif is_folder:
            names = (*folder.names, name.lower())
            proxies = folder.proxies or _proxy_folder(name, folder, beside)
            yield _Folder(path, real, folder.root, folder.ignores, names, proxies)
        elif is_video(path, status.st_size):
            yield VideoFile(Path(path), status.st_size, status.st_mtime_ns)

    def _named_file(self, path: str, real: str) -> Iterator[Finding]:
        try:
            status = os.stat(path)
        except OSError as error:
            yield from self._tell(path, error)
            return
        if not S_ISREG(status.st_mode) or self._known_path(path, real, status):
            return
        if is_video(path, status.st_size, is_named=True):
            yield VideoFile(Path(path), status.st_size, status.st_mtime_ns)
            if real != path:
                yield OtherName(Path(real), Path(path))
        else:
            yield LeftOut(Path(path), Reason.NO_VIDEO)

    def _known_path(self, path: str, real: str, status: os.stat_result) -> str | None:
        """The path by which a file or folder was met before; None for the first time.

        Two names of one file (hard links) are two videos; two spellings of one name, where case makes no difference,
        are one."""
        for key in (unicodedata.normalize("NFC", real).casefold(), f"\0{real}"):
            if key not in self.seen:
                self.seen[key] = path
                return None
            if _is_same(self.seen[key], status):
                return self.seen[key]
            # Where case makes a difference, the second of two such files is kept by its own spelling.
        return None

    def _is_shut(self, real: str) -> bool:
        """Whether a path without links is, or lies in, what was left out."""
        return bool(self.shut) and any(str(path) in self.shut for path in (Path(real), *Path(real).parents))

    def _tell(self, path: str, error: OSError) -> Iterator[Unreadable]:
        """Yields once that a path cannot be read. What is not there, or not any more, is no news."""
        log.info("cannot look at %s: %s", path, error)
        if not isinstance(error, FileNotFoundError | NotADirectoryError) and path not in self.told:
            self.told.add(path)
            yield Unreadable(Path(path), why_unreadable(error))


def _other_name(link: str, path: str) -> Iterator[OtherName]:
    """Yields the link, unless it leads to a folder that it lies in, or is no link but was reached twice."""
    if not Path(link).is_relative_to(path):
        yield OtherName(Path(link), Path(path))


def _ignores_above(root: str) -> tuple[IgnoreFile, ...]:
    """The ignore files of the folders above `root`. None if they ignore `root`: it is named, and so taken."""
    found: list[IgnoreFile] = []
    for folder in reversed(Path(root).parents):
        if ignore := read_ignore_file(str(folder)):
            found.append(ignore)
    return () if is_ignored(root, True, found) else tuple(found)


def _is_same(path: str, status: os.stat_result) -> bool:
    """Whether the file or folder at `path` is the one with this status."""
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False


def _proxy_folder(name: str, above: _Folder, beside: Companions) -> ProxyFolder | None:
    """The folder of this name in `above` as one of proxies, if its name is that of one: with what lies above and
    beside it."""
    name = name.lower()
    if name not in PROXY_FOLDERS and name != SONY_FOLDER:
        return None
    originals = set(beside.originals)
    for listed in _list(above.path)[0]:
        if listed.name.lower() != name and not listed.is_symlink() and os.path.isdir(listed.path):
            originals |= companions(inner.name for inner in _list(listed.path)[0]).originals
    return ProxyFolder(name, frozenset(originals))


def _list(folder: str) -> tuple[list[os.DirEntry[str]], OSError | None]:
    """The entries of a folder in the order of their names: all that could be read, and the error that ended it."""
    entries: list[os.DirEntry[str]] = []
    ended = None
    try:
        with os.scandir(folder) as listing:
            entries.extend(listing)
    except OSError as error:
        ended = error
    return sorted(entries, key=lambda entry: entry.name), ended


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a symbolic link, or a junction of Windows."""
    if entry.is_symlink():
        return True
    return os.name == "nt" and getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == JUNCTION
