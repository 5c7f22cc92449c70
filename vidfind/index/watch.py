"""When to look at folders again, as something in them has changed, and what to leave alone, as it is changing still.

Knows nothing of what is in a video, nor of the index. Times are in seconds.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import watchfiles

from vidfind.errors import VidfindError
from vidfind.media.files import find_videos, is_searched, is_video_name

log = logging.getLogger(__name__)

# A copy or a recording under way writes more often than this.
SETTLING = 5.0
# Some downloads and recorders do pause for longer: their files are waited for longer and longer, up to this.
LONGEST_SETTLING = 600.0
# Times what was waited: what changes again within that has not been waited for long enough.
SOON = 10
# How often changes are collected.
TICK = 0.5
# Between two walks through a network share that tells of no changes (WATCHFILES_FORCE_POLLING).
POLLING = 5.0

Changes = set[tuple[watchfiles.Change, str]]


def looks(
    folders: Sequence[Path], exclude: Sequence[str] = (), settling: float = SETTLING
) -> Generator[frozenset[Path], bool | None]:
    """Yields whenever it is time to bring an index of `folders` up to date: once at first, then after changes.

    What is yielded are the files and folders to be left alone, with all below them: they have changed (appeared,
    vanished) within the last seconds, and another look comes when they have not for `settling` seconds. A folder need
    not be there, and may go and come back. Send True to be told again after a while in any case.
    Raises VidfindError if the system cannot follow so many folders."""
    roots = [Path(os.path.abspath(folder)) for folder in folders]
    changing = _Changing(settling)
    while True:
        places = _places(roots)
        present = {root: Path(os.path.realpath(root)) for root in roots if root.exists()}
        with closing(_follow(present.values(), min(TICK, settling / 4))) as following:
            next(following)  # from here on, no change is missed
            with_videos = set(present)
            for file in find_videos(present, exclude):
                with_videos.update(file.path.parents)
                if file.mtime_ns > (time.time() - settling) * 1e9:
                    changing.note(file.path, time.monotonic())
            look_at = 0.0
            for changes in following:
                now = time.monotonic()  # one time for all, so that what changed together settles together
                for path in _relevant(changes, present, exclude, with_videos):
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
    """What has changed below `folders`, at least an empty set every `tick` seconds. Ends when it must be begun anew."""
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
    changes: Changes, present: Mapping[Path, Path], exclude: Sequence[str], with_videos: set[Path]
) -> Iterator[Path]:
    """The paths of changes that may concern videos, as the folders were named by the user; notes folders of videos."""
    for change, changed in changes:
        for root, real in present.items():
            if not Path(changed).is_relative_to(real):
                continue
            path = root / Path(changed).relative_to(real)
            if not is_searched(path, root, exclude):
                continue
            if is_video_name(path.name) or path == root:
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


def _folders_of_videos(folder: Path) -> Iterable[Path]:
    return (parent for file in find_videos([folder]) for parent in file.path.parents)


def _places(roots: Sequence[Path]) -> list[object]:
    """What changes when a folder goes or comes back, or when a drive is mounted in its place or below it."""
    import psutil

    mounts = (Path(partition.mountpoint) for partition in psutil.disk_partitions(all=True))
    return [*map(_device, roots), *sorted(mount for mount in mounts if any(map(mount.is_relative_to, roots)))]


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None
