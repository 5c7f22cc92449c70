"""The indexing pipeline: walk folders, plan what to do, decode, encode, store.

Gets its store and a function that loads its encoder; never prints. `encode_videos` decodes and encodes ahead of the
caller's thread, and one more thread writes to the store, many videos with each commit. Times are in seconds.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.commands import adapter_command
from vidfind.encoders.stream import Progress
from vidfind.errors import UnreadableVideo
from vidfind.index.encode import FolderOf, encode_planned
from vidfind.index.events import Arranging, Event, NotRemoved, Offline, Outcome, Reencoding, Switched, Waiting
from vidfind.index.options import DEFAULT_OPTIONS, FEW_REMOVALS, IndexOptions
from vidfind.index.plan import Job, Known, Plan, Reuse, make_plan
from vidfind.index.prepare import check_folders, cost
from vidfind.index.presence import Disk
from vidfind.index.walk import Walk, walk_folders
from vidfind.media.dates import Recorded, when_recorded
from vidfind.media.decoding import DECODERS, probe, read_date, start_decoders
from vidfind.media.probe import SMALL_FILE
from vidfind.store.files import StoredVideos
from vidfind.store.places.progress import forget_run, noting_run
from vidfind.store.store import Store
from vidfind.store.tables import TRY_AGAIN, VideoRow
from vidfind.store.writer import StoreWriter
from vidfind.system.files import VideoFile, fingerprint
from vidfind.system.machine import running_clock
from vidfind.words.levels import update_levels

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
log = logging.getLogger(__name__)


def index_videos(
    folders: Sequence[Path],
    store: Store,
    load_encoder: Callable[[], Encoder],
    options: IndexOptions = DEFAULT_OPTIONS,
    ignored: frozenset[Path] = frozenset(),
) -> Generator[Event]:
    """Brings the index up to date with `folders`; yields an Outcome for each video, and other events on the way.

    Everything yielded is stored, also when the iteration ends early: close the generator (`contextlib.closing`), and
    the next run continues from there. An unfinished store also gets everything that the index in use has, even without
    `folders`, and takes its place when it is complete.

    Arguments:
        folders: folders and single videos. One that is not there now is kept in the index.
        store: the index, as `open_store` opens it.
        load_encoder: called at most once, and only if something must be encoded.
        options: how to go about it.
        ignored: files and folders about which nothing is done: they, and all below them, stay as they are stored.

    Raises BadInput for a folder that was never there, IndexBusy if another process writes to the index, and
    IndexMismatch if the encoder is not the index's."""
    with store.writing() as writer:
        walk = walk_folders(check_folders(folders, store.path), store, options, ignored)
        removed = [video.row for video in store.removed().values()]
        left_alone = walk.stored.under(ignored) if ignored else []
        known = Known(walk.stored, walk.before.keys(), removed, left_alone)
        disk = Disk(unreadable=[one.path for one in walk.survey.unreadable])
        plan = make_plan(
            walk.found,
            known,
            walk.folders,
            fingerprint,
            disk.presence,
            options.force,
            options.verify,
            is_moved=disk.is_moved,
            has_only_another_date=has_only_another_date,
        )
        log.info("%d videos found, %d to encode", len(walk.found), len(plan.encode))
        writer.note_links(walk.survey.other_names, [folder for folder in walk.folders if os.path.exists(folder)])
        if walk.survey.has_remarks:
            yield walk.survey
        lost = plan.lost(walk.stored)
        if _may_remove(len(lost), options):
            writer.leave_out(walk.left_out)
        else:
            plan = plan.without_removing(lost)
            yield NotRemoved(len(lost))
        encoder = yield from _run(plan, walk, writer, load_encoder, options, disk)
        if store.is_unfinished and not walk.before.under(ignored):
            yield from _finish(walk.before, writer, options)
        if segments := store.segments_to_arrange():
            yield Arranging(segments)
        writer.compact()
        update_levels(store, encoder)


def _run(
    plan: Plan,
    walk: Walk,
    writer: StoreWriter,
    load_encoder: Callable[[], Encoder],
    options: IndexOptions,
    disk: Disk,
) -> Generator[Event, None, Encoder | None]:
    """Carries out the plan. Returns the encoder, if it was needed."""
    store = writer.store
    if again := list(walk.before.rows(walk.before.numbers(job.file.path for job in plan.encode))):
        yield Reencoding(store.settings.identity.adapter, cost(store, again))
    yield from _settle(plan, walk, writer, disk)
    if not plan.encode:
        forget_run(store.path)
        return None
    if not options.cluster:
        start_decoders(min(len(plan.encode), options.workers or DECODERS))  # while the model is loaded
    encoder = load_encoder()
    store.require_identity(encoder.identity)
    with noting_run(store.path, len(plan.encode)) as note:
        done, started = 0, running_clock().now()
        left: float | None = None
        nodes = 0
        for event in encode_planned(plan.encode, walk.folder_of, writer, encoder, options):
            done += isinstance(event, Outcome)
            if isinstance(event, Progress):
                nodes = event.nodes
                if event.done_seconds:
                    speed = event.done_seconds / max(running_clock().now() - started, 1e-3)
                    left = round(max(0.0, event.total_seconds - event.done_seconds) / speed, 1)
            note(done, left, nodes)
            yield event
    yield from _settle_duplicates(plan.duplicates, walk.folder_of, writer, disk)
    return encoder


def _may_remove(videos: int, options: IndexOptions) -> bool:
    return videos <= FEW_REMOVALS or options.may_remove(videos)


def find_offline(plan: Plan, stored: StoredVideos) -> list[Offline]:
    """The folders of a plan that are not there now; `stored` are all videos of the index."""
    away: dict[Path, list[Path]] = defaultdict(list)
    for row, folder in plan.offline:
        away[folder].append(row.path)
    found: list[Offline] = []
    for folder, paths in sorted(away.items()):
        common = Path(os.path.commonpath([path.parent for path in paths])) if len(paths) > 1 else paths[0]
        numbers = set(stored.numbers(paths))
        missing = (one for one in (folder, common) if numbers.issuperset(stored.under([one])))
        found.append(Offline(folder, len(paths), next(missing, None)))
    return found


def has_only_another_date(row: VideoRow, file: VideoFile) -> bool:
    """Whether a file that has changed shows just what it did, and its metadata have another date."""
    is_likely = row.size == file.size or max(row.size, file.size) <= SMALL_FILE  # of which every packet is compared
    if not row.footage or not is_likely:
        return False
    with suppress(UnreadableVideo, OSError):
        info = probe(file.path)
        return info.footage == row.footage and info.created_from == "metadata" and info.created != row.created
    return False


def _finish(before: StoredVideos, writer: StoreWriter, options: IndexOptions) -> Iterator[Event]:
    """Puts tables that have all there is in the place of those in use, which hold `before`.

    Not so while videos are away that were not encoded again, or many are gone: they would be lost to searches."""
    store = writer.store
    now = store.stored_videos()
    rows = now.rows([number for number, path in enumerate(now) if path not in before])
    new = {row.fingerprint for row in rows if not row.failed}
    rows = before.rows([number for number, path in enumerate(before) if path not in now])
    missing = [row for row in rows if row.fingerprint not in new]  # nor moved
    presence = Disk().presence  # a new look: a drive may have been unplugged meanwhile
    offline = Counter(row.folder for row in missing if not row.failed and presence(row, row.folder) == "offline")
    if offline:
        folders = [Offline(folder, count) for folder, count in sorted(offline.items())]
        yield Waiting(
            store.settings.identity.adapter, folders, adapter_command(store.path, store.settings.identity.adapter)
        )
        return
    gone = sum(not row.failed for row in missing)
    if not _may_remove(gone, options):
        yield NotRemoved(gone)
        return
    writer.finish()
    for row in missing:
        yield Outcome(row.path, "removed", row.segments, row.duration)
    yield Switched(store.settings.identity.adapter)


def _settle(plan: Plan, walk: Walk, writer: StoreWriter, disk: Disk) -> Iterator[Event]:
    """Stores everything of the plan that needs no encoder, and yields its events."""
    now = datetime.now(UTC)
    rows = [
        disk.placed(_copy_row(reuse.source, reuse.file, walk.folder_of(reuse.file.path), now)) for reuse in plan.reuse
    ]
    unplaced = [*walk.stored.rows(_unplaced(plan.unchanged, walk.stored, disk)), *plan.failed]
    rows += [disk.placed(row) for row in unplaced if not disk.is_placed(row)]
    moved = [reuse.source.path for reuse in plan.reuse if reuse.status in ("moved", "failed")]
    writer.set_aside([*(row for row, _ in plan.removed), *plan.replaced])
    if rows:
        writer.put(rows)
    if moved or plan.removed:
        writer.remove([*moved, *(row.path for row, _ in plan.removed)])

    yield from find_offline(plan, walk.stored)
    for row, reason in plan.removed:
        yield Outcome(row.path, "removed", row.segments, row.duration, reason)
    segments, durations = walk.stored.segments, walk.stored.durations
    for file, number in plan.unchanged:
        yield Outcome(file.path, "unchanged", segments[number], durations[number])
    for row in plan.failed:
        yield _not_tried_again(row.path, row, walk)
    for reuse in plan.reuse:
        yield _reused(reuse, walk)


def _unplaced(unchanged: Sequence[tuple[VideoFile, int]], stored: StoredVideos, disk: Disk) -> list[int]:
    """The numbers of the videos whose rows do not name the drive that they are on."""
    unplaced: list[int] = []
    for folder, files in groupby(unchanged, key=lambda one: os.path.dirname(one[0].path)):
        drive = disk.drive_in(Path(folder))
        unplaced += [number for _, number in files if stored.drives[number] != drive]
    return unplaced


def _reused(reuse: Reuse, walk: Walk) -> Outcome:
    source = reuse.source
    if reuse.status == "failed":
        return _not_tried_again(reuse.file.path, source, walk)
    outcome = Outcome(reuse.file.path, reuse.status, source.segments, source.duration, damage=source.damage)
    if reuse.status == "unchanged":
        return outcome
    if reuse.status == "moved":
        return replace(outcome, message=f"from {source.path}")
    if reuse.is_removed:
        return replace(outcome, message=f"as {source.path} was, before it was removed", is_taken_back=True)
    copied_from = source.folder if reuse.is_source_away else None
    return replace(outcome, message=f"the same as {source.path}", same_as=source.path, copied_from=copied_from)


def _not_tried_again(path: Path, row: VideoRow, walk: Walk) -> Outcome:
    message = f"{row.failed} (not tried again: it has not changed since)"
    return Outcome(path, "failed", message=message, was_tried_before=True, is_asked_for=path in walk.named)


def _settle_duplicates(
    duplicates: Sequence[tuple[Job, Path]], folder_of: FolderOf, writer: StoreWriter, disk: Disk
) -> Iterator[Outcome]:
    """Stores the videos that have the same contents as one just encoded, and yields their outcomes."""
    stored = writer.store.stored_videos() if duplicates else StoredVideos.of([])
    rows = {row.path: row for row in stored.rows(stored.numbers(dict.fromkeys(first for _, first in duplicates)))}
    now = datetime.now(UTC)
    # An original without a row failed in passing (it vanished): its duplicates are new again on the next run.
    copies = [
        _copy_row(rows[first], job.file, folder_of(job.file.path), now) for job, first in duplicates if first in rows
    ]
    writer.put([disk.placed(copy) for copy in copies])
    for job, first in duplicates:
        path, row, message = job.file.path, rows.get(first), f"the same as {first}"
        if row is None or row.failed:
            message += f": {row.failed if row else 'it vanished'}"
            yield Outcome(path, "failed", message=message, same_as=first)
        else:
            yield Outcome(path, job.status, row.segments, row.duration, message, row.damage, same_as=first)


def _copy_row(source: VideoRow, file: VideoFile, folder: Path, now: datetime) -> VideoRow:
    mtime_ns = TRY_AGAIN if source.try_again else file.mtime_ns
    date = _date_of(source, file)
    return replace(
        source,
        path=file.path,
        folder=folder,
        size=file.size,
        mtime_ns=mtime_ns,
        created=date.created,
        created_from=date.created_from,
        indexed_at=now,
    )


def _date_of(source: VideoRow, file: VideoFile) -> Recorded:
    """Returns the date of a file with the contents of `source`, and what tells it.

    A file that was changed where it lies may have been given another date. One that was moved or copied keeps the date
    that is known, unless its new name tells one, or its time is an older one."""
    found = Recorded(source.created, source.created_from)
    if file.path == source.path and not source.failed and (file.mtime_ns, file.size) != (source.mtime_ns, source.size):
        with suppress(UnreadableVideo, OSError):
            found = read_date(file.path)
    elif file.path != source.path and source.created_from in ("name", "file"):
        here = when_recorded(file.path, file.mtime_ns)
        is_older = source.created_from == "file" and here.created < source.created
        found = here if here.created_from == "name" or is_older else found
    return found
