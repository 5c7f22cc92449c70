"""Following folders: brings an index up to date, and again after each change in the folders.

`watch_videos` decides when to run, what to leave alone, and what happens after an error; `looks` follows the folders,
and knows nothing of the index. Times are in seconds.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import watchfiles

from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput, IndexBusy, VidfindError
from vidfind.folders.contents import may_be_video
from vidfind.folders.patterns import IGNORE_FILE, Exclusions
from vidfind.folders.walk import Survey, find_videos, is_searched
from vidfind.index.events import Event, NotRemoved, Offline, Outcome, Vanished, Waiting
from vidfind.index.options import DEFAULT_OPTIONS, IndexOptions
from vidfind.index.run import index_videos
from vidfind.system.mounts import read_mounts

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
    from vidfind.store.store import Store

log = logging.getLogger(__name__)

# A copy or a recording under way writes more often than this.
SETTLING = 5.0
# Some downloads and recorders do pause for longer: their files are waited for longer and longer, up to this.
LONGEST_SETTLING = 600.0
# Times what was waited: what changes again within that has not been waited for long enough.
SOON = 10
# How often changes are collected.
TICK = 0.5
# Between two walks through a network share that reports no changes (WATCHFILES_FORCE_POLLING).
POLLING = 5.0

Changes = set[tuple[watchfiles.Change, str]]
OpenIndex = Callable[[Sequence[Path], EncoderChoice], "tuple[Store, Callable[[], Encoder]] | None"]
"""`open_to_index`, without what stays the same from run to run."""


@dataclass(frozen=True)
class RunEnded:
    """A run is over. Where it `has_news`, its summary is worth showing."""

    is_first: bool
    has_news: bool


@dataclass(frozen=True)
class Watching:
    """The first run is over; from now on the folders are followed. `changing` files are still being written."""

    folders: int
    changing: int


@dataclass(frozen=True)
class Retrying:
    """A run failed, and another follows in a while. `is_new`: the run before did not fail for the same reason."""

    reason: str
    is_new: bool


@dataclass(frozen=True)
class FolderLeft:
    """A folder is not there any more: its videos stay in the index."""

    folder: Path


@dataclass(frozen=True)
class FolderBack:
    """A folder is there again."""

    folder: Path


WatchEvent = Event | RunEnded | Watching | Retrying | FolderLeft | FolderBack


def watch_videos(
    folders: Sequence[Path],
    open_index: OpenIndex,
    asked: EncoderChoice,
    options: IndexOptions = DEFAULT_OPTIONS,
    settling: float = SETTLING,
) -> Generator[WatchEvent]:
    """Brings an index up to date with `folders`, and again whenever something in them changes; never ends by itself.

    The first run yields all events, and ends the watch with an error. Later runs yield only news, and after an error
    the next run tries again, as after an IndexBusy in the first one. `open_index` is called for each run, with the
    folders that are there and the encoder asked for. Files are left alone until they have not changed for `settling`
    seconds. Only the first run verifies the contents of files that look unchanged.
    Raises BadInput for a folder that was never there, and VidfindError if the system cannot follow so many folders."""
    watching = looks(folders, options.exclude, settling, options.all_files)
    changing, reason = next(watching), ""
    away: set[Path] = set()
    told: set[NotRemoved] = set()
    is_first = True
    while True:
        away, was_away = {folder for folder in folders if not os.path.exists(folder)}, away
        if not is_first:
            yield from (
                FolderLeft(folder) if folder in away else FolderBack(folder) for folder in sorted(away ^ was_away)
            )
        present = [folder for folder in folders if is_first or folder not in away]
        try:
            if present:
                asked = yield from _run_once(present, open_index, asked, options, changing, is_first, told)
        except (VidfindError, OSError) as error:
            if is_first and not isinstance(error, IndexBusy):
                raise
            yield Retrying(str(error), is_new=str(error) != reason)
            reason = str(error)
        else:
            reason = ""
            if is_first:
                yield Watching(len(folders), len(changing))
            is_first, options = False, replace(options, verify=False, include=(), is_asked=False)
        changing = watching.send(bool(reason))


def _run_once(
    folders: Sequence[Path],
    open_index: OpenIndex,
    asked: EncoderChoice,
    options: IndexOptions,
    changing: frozenset[Path],
    is_first: bool,
    told: set[NotRemoved],
) -> Generator[WatchEvent, None, EncoderChoice]:
    """One of the runs of `watch_videos`; returns the encoder to ask for in the next. `told` is news no more."""
    opened = open_index(folders, asked)
    has_news = is_first and not changing
    if opened:
        store, load_encoder = opened
        with closing(index_videos(folders, store, load_encoder, options, ignored=changing)) as events:
            for event in events:
                is_told = isinstance(event, NotRemoved) and event in told
                if is_first or (_is_news(event, has_news) and not is_told):
                    has_news = has_news or isinstance(event, Outcome | Vanished | NotRemoved)
                    yield event
                if isinstance(event, NotRemoved):
                    told.add(event)
        if not store.is_unfinished:
            # The adapter asked for is in use now. From here on the index's own is, which another command may change.
            asked = replace(asked, adapter=None)
    yield RunEnded(is_first, has_news)
    return asked


def _is_news(event: Event, has_news: bool) -> bool:
    """Whether a later run yields an event; `has_news`: whether the run has found out something already."""
    if isinstance(event, Outcome):
        return event.is_news
    if isinstance(event, Waiting):
        return has_news
    return not isinstance(event, Offline | Survey)


def looks(
    folders: Sequence[Path], exclude: Sequence[str] = (), settling: float = SETTLING, all_files: bool = False
) -> Generator[frozenset[Path], bool | None]:
    """Yields whenever it is time to bring an index of `folders` up to date: once at first, then after changes.

    Yields the files and folders to be left alone, with all below them: they have changed (appeared, vanished) within
    the last seconds, and another look comes when they have not for `settling` seconds. A folder need not be there, and
    may go and come back. Send True for another look after a while in any case.
    Raises VidfindError if the system cannot follow so many folders."""
    roots = [Path(os.path.abspath(folder)) for folder in folders]
    is_relevant = functools.partial(is_searched, exclusions=Exclusions(exclude), all_files=all_files)
    changing = _Changing(settling)
    while True:
        places = _places(roots)
        present = {root: Path(os.path.realpath(root)) for root in roots if os.path.exists(root)}
        with closing(_follow(present.values(), min(TICK, settling / 4))) as following:
            next(following)  # from here on, no change is missed
            with_videos = set(present)
            with suppress(BadInput):  # an ignore file that cannot be used, which the run reports
                for file in find_videos(present, exclude, all_files):
                    with_videos.update(file.path.parents)
                    if file.mtime_ns > (time.time() - settling) * 1e9:
                        changing.note(file.path, time.monotonic())
            look_at = 0.0
            for changes in following:
                now = time.monotonic()  # one time for all, so that what changed together settles together
                for path in _relevant(changes, present, is_relevant, with_videos):
                    changing.note(path, now)
                if time.monotonic() >= look_at or changing.settle():
                    again = yield changing.paths
                    look_at = time.monotonic() + settling if again else math.inf
                if _places(roots) != places or _has_gone(changes, present.values()):
                    break


@dataclass(frozen=True)
class _Change:
    """How a file was when it was last seen to change, when that was, and how long it must stay like that."""

    stamp: tuple[int, int] | None
    since: float
    wait: float


class _Changing:
    """Files and folders that changed a moment ago."""

    def __init__(self, settling: float) -> None:
        self._settling = settling
        self._seen: dict[Path, _Change] = {}
        self._settled: dict[Path, tuple[float, float]] = {}  # when, and how long that was waited for

    @property
    def paths(self) -> frozenset[Path]:
        return frozenset(self._seen)

    def note(self, path: Path, now: float) -> None:
        stamp = _stamp(path)
        wait = self._seen[path].wait if path in self._seen else self._wait_for(path)
        self._seen[path] = _Change(stamp, now, wait if stamp else self._settling)

    def settle(self) -> bool:
        """Forgets those that have stayed as they were for long enough; whether there were any."""
        now = time.monotonic()
        due = {path for path, change in self._seen.items() if now - change.since >= change.wait}
        if len(due) < len(self._seen):  # what has gone may be on its way to another name that is not settled yet
            due = {path for path in due if self._seen[path].stamp or now - self._seen[path].since >= 2 * self._settling}
        settled = {path for path in due if _stamp(path) == self._seen[path].stamp}
        for path in due - settled:
            self.note(path, now)
        for path in settled:
            self._settled[path] = now, self._seen.pop(path).wait
        return bool(settled)

    def _wait_for(self, path: Path) -> float:
        """Twice as long as the last time, if that was a short while ago: then it was not long enough."""
        settled, waited = self._settled.get(path, (-math.inf, 0.0))
        was_hasty = time.monotonic() - settled < SOON * waited
        return min(2 * waited, LONGEST_SETTLING) if was_hasty else self._settling


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _follow(folders: Collection[Path], tick: float) -> Generator[Changes]:
    """The paths that have changed below `folders`, at least an empty set every `tick` seconds.

    Ends when it must be begun anew."""
    while not folders:
        yield set()
        time.sleep(tick)
    milliseconds = int(tick * 1000)
    try:
        yield from watchfiles.watch(
            *folders,
            watch_filter=None,
            debounce=milliseconds,
            step=milliseconds // 2,
            rust_timeout=milliseconds,
            yield_on_timeout=True,
            poll_delay_ms=int(POLLING * 1000),
            ignore_permission_denied=True,
        )
    except (FileNotFoundError, RuntimeError) as error:  # a folder went away just now, or the system's own queue failed
        log.info("following anew: %s", error)
        yield set()
        time.sleep(tick)
    except OSError as error:
        raise VidfindError(
            f"Cannot follow so many folders ({error}). Raise the system's limit (on Linux fs.inotify.max_user_watches) "
            "or set WATCHFILES_FORCE_POLLING=1: then vidfind looks again and again."
        ) from error


def _relevant(
    changes: Changes, present: Mapping[Path, Path], is_searched: Callable[[Path, Path], bool], with_videos: set[Path]
) -> Iterator[Path]:
    """The paths of changes that may concern videos, as the folders were named by the user; notes folders of videos."""
    for change, changed in changes:
        for root, real in present.items():
            if not Path(changed).is_relative_to(real):
                continue
            path = root / Path(changed).relative_to(real)
            if path.name == IGNORE_FILE:
                yield path
            if not is_searched(path, root):
                continue
            if may_be_video(path.name) or path == root:
                with_videos.update(path.parents)
                yield path
            elif change == watchfiles.Change.added and path.is_dir():
                with_videos.update(_folders_of_videos(path))
                yield path
            elif change == watchfiles.Change.deleted and path in with_videos:
                yield path


def _has_gone(changes: Changes, folders: Iterable[Path]) -> bool:
    """Whether one of the folders followed has been deleted or moved: what has its name now is another."""
    return not {(watchfiles.Change.deleted, str(folder)) for folder in folders}.isdisjoint(changes)


def _folders_of_videos(folder: Path) -> set[Path]:
    with suppress(BadInput):  # an ignore file that cannot be used, which the run reports
        return {parent for file in find_videos([folder]) for parent in file.path.parents}
    return set()


def _places(roots: Sequence[Path]) -> list[object]:
    """The paths that change when a folder goes or comes back, or when a drive is mounted in its place or below it."""
    return [*map(_device, roots), *sorted(mount for mount in read_mounts() if any(map(mount.is_relative_to, roots)))]


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None
