"""The indexing pipeline: walk folders, plan what to do, decode, encode, store.

Is handed its store and a way to get its encoder; never prints. Decoding threads feed a bounded queue, the caller's
thread encodes what is in it, and one thread writes to the store, many videos a commit. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.commands import adapter_command
from vidfind.index.encode import FolderOf, encode_planned
from vidfind.index.events import (
    NOT_TRIED_AGAIN,
    SAME,
    Arranging,
    Event,
    Offline,
    Outcome,
    Reencoding,
    Switched,
    Waiting,
)
from vidfind.index.plan import Job, Plan, make_plan
from vidfind.index.prepare import check_folders, cost
from vidfind.index.presence import look_on_disk
from vidfind.media.files import VideoFile, find_videos, fingerprint
from vidfind.media.sampling import DEFAULT_SAMPLING, Sampling
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
log = logging.getLogger(__name__)


def index_videos(
    folders: Sequence[Path],
    store: Store,
    load_encoder: Callable[[], Encoder],
    exclude: Sequence[str] = (),
    force: bool = False,
    workers: int | None = None,
    verify: bool = False,
    leave: frozenset[Path] = frozenset(),
    sampling: Sampling = DEFAULT_SAMPLING,
) -> Generator[Event]:
    """Brings the index up to date with `folders`; yields an Outcome for each video, and what happens meanwhile.

    The encoder is loaded only if something must be encoded. Whatever has been yielded is stored, also when the
    iteration is left early: close the generator (`contextlib.closing`) and the next run goes on from there.
    An unfinished store gets all that the index in use has as well, also without `folders`, and takes its place when it
    is complete. To `verify`, files that seem unchanged are compared with what is stored of them. Nothing is done about
    the paths to `leave`, nor about what lies below them: they stay as they are stored.
    Raises BadInput for a folder that was never there, IndexBusy, IndexMismatch if the encoder is not the index's."""
    roots = check_folders(folders, store.path)
    with store.writing():
        walked = [root for root in roots if root.exists()]
        found = [file for file in find_videos(walked, exclude) if not _is_under(file.path, leave)]
        before = store.in_use().videos() if store.is_unfinished else {}
        known = {**before, **store.videos()} if store.is_unfinished else {}
        elsewhere = [path for path in known if not _is_under(path, leave | set(walked))]
        found += find_videos(elsewhere)
        kept_under = {path: row.folder for path, row in known.items()}
        planned = dict.fromkeys([*roots, *kept_under.values()])

        def folder_of(path: Path) -> Path:
            return kept_under.get(path) or next(one for one in (*reversed(path.parents), path) if one in planned)

        stored = store.videos()
        left = {path for path in stored if _is_under(path, leave)}
        plan = make_plan(found, stored, list(planned), fingerprint, look_on_disk(), force, before, verify, left)
        log.info("%d videos found, %d to encode", len(found), len(plan.encode))
        again = [before[job.file.path] for job in plan.encode if job.file.path in before]
        if again:
            yield Reencoding(store.settings.identity.adapter, cost(store, again))
        yield from _settle(plan, folder_of, store)
        if plan.encode:
            encoder = load_encoder()
            store.require_identity(encoder.identity)
            yield from encode_planned(plan.encode, folder_of, store, encoder, workers, sampling)
            yield from _settle_twins(plan.twins, folder_of, store)
        if store.is_unfinished and not any(_is_under(path, leave) for path in before):
            yield from _finish(before, store)
        if segments := store.segments_to_arrange():
            yield Arranging(segments)
        store.compact()


def _is_under(path: Path, folders: frozenset[Path]) -> bool:
    """Whether `path` is one of `folders`, or lies below one."""
    return bool(folders) and not folders.isdisjoint((path, *path.parents))


def _finish(before: Mapping[Path, VideoRow], store: Store) -> Iterator[Event]:
    """Puts tables that have all there is in the place of those in use, which hold `before`.

    Not so while videos are away that were not encoded again: they would be lost to searches."""
    rows = store.videos()
    new = {row.fingerprint for path, row in rows.items() if path not in before and not row.failed}
    missing = [row for path, row in before.items() if path not in rows and row.fingerprint not in new]  # nor moved
    look = look_on_disk()  # a new one: a drive may have been unplugged meanwhile
    offline = Counter(row.folder for row in missing if not row.failed and look(row, row.folder) == "offline")
    if offline:
        folders = [Offline(folder, count) for folder, count in sorted(offline.items())]
        yield Waiting(
            store.settings.identity.adapter, folders, adapter_command(store.path, store.settings.identity.adapter)
        )
        return
    store.finish()
    for row in missing:
        yield Outcome(row.path, "removed", row.segments, row.duration)
    yield Switched(store.settings.identity.adapter)


def _settle(plan: Plan, folder_of: FolderOf, store: Store) -> Iterator[Event]:
    """Stores and tells everything of the plan that needs no encoder."""
    now = datetime.now(UTC)
    rows = [_copy_row(reuse.source, reuse.file, folder_of(reuse.file.path), now) for reuse in plan.reuse]
    moved = [reuse.source.path for reuse in plan.reuse if reuse.status == "moved"]
    if rows:
        store.put(rows)
    if moved or plan.removed:
        store.remove([*moved, *(row.path for row, _ in plan.removed)])

    for folder, count in Counter(folder for _, folder in plan.offline).items():
        yield Offline(folder, count)
    for row, reason in plan.removed:
        yield Outcome(row.path, "removed", row.segments, row.duration, reason)
    for row in plan.unchanged:
        yield Outcome(row.path, "unchanged", row.segments, row.duration)
    for row in plan.failed:
        yield Outcome(row.path, "failed", message=f"{row.failed} {NOT_TRIED_AGAIN}")
    for reuse in plan.reuse:
        source = reuse.source
        message = {"moved": f"from {source.path}", "unchanged": ""}.get(reuse.status, f"{SAME}{source.path}")
        yield Outcome(reuse.file.path, reuse.status, source.segments, source.duration, message, source.damage)


def _settle_twins(twins: Sequence[tuple[Job, Path]], folder_of: FolderOf, store: Store) -> Iterator[Outcome]:
    """Stores and tells the videos that are the same as one just encoded."""
    rows = store.videos() if twins else {}
    now = datetime.now(UTC)
    # A first that is not there failed in passing (it vanished): its twins are new again on the next run.
    store.put(
        [_copy_row(rows[first], job.file, folder_of(job.file.path), now) for job, first in twins if first in rows]
    )
    for job, first in twins:
        row = rows.get(first)
        failed = "it vanished" if row is None else row.failed
        if row is None or row.failed:
            yield Outcome(job.file.path, "failed", message=f"{SAME}{first}: {failed}")
        else:
            yield Outcome(job.file.path, job.status, row.segments, row.duration, f"{SAME}{first}", row.damage)


def _copy_row(source: VideoRow, file: VideoFile, folder: Path, now: datetime) -> VideoRow:
    return dataclasses.replace(
        source, path=file.path, folder=folder, size=file.size, mtime_ns=file.mtime_ns, indexed_at=now
    )
