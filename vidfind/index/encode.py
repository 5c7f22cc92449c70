"""Encodes the planned videos and turns each result into rows of the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.cluster.encode import encode_on_cluster
from vidfind.encoders.stream import EncodedVideo, FailedVideo, Progress, encode_videos
from vidfind.index.events import Outcome, Vanished
from vidfind.index.options import IndexOptions
from vidfind.index.plan import Job
from vidfind.index.presence import Disk
from vidfind.index.writer import CommitQueue, make_marker
from vidfind.media.dates import when_recorded
from vidfind.media.probe import VideoInfo
from vidfind.media.sampling import MISSING
from vidfind.store.store import Embedded
from vidfind.store.tables import TRY_AGAIN, VideoRow, new_content
from vidfind.store.writer import StoreWriter
from vidfind.system.files import VideoFile
from vidfind.system.machine import running_clock
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

FolderOf = Callable[[Path], Path]
"""Which of the folders asked for a video belongs to."""


def encode_planned(
    jobs: Sequence[Job], folder_of: FolderOf, writer: StoreWriter, encoder: Encoder, options: IndexOptions
) -> Iterator[Outcome | Progress | Vanished]:
    """Decodes, encodes and stores videos; yields their Outcomes, and Progress now and then."""
    files = {job.file.path: job for job in jobs}
    vanished: Counter[Path] = Counter()
    seconds, started, has_encoded = 0.0, running_clock().now(), False
    disk = Disk()
    settings = writer.store.settings
    if options.cluster:
        sizes = {path: job.file.size for path, job in files.items()}
        encoding = encode_on_cluster(sizes, writer.store, options.sampling, options.decoder, options.cluster)
    else:
        encoding = encode_videos(
            list(files),
            [encoder],
            settings.segment_length,
            options.workers,
            options.sampling,
            settings.overlap,
            options.decoder,
        )
    try:
        with closing(encoding) as events, closing(CommitQueue(writer, make_marker(writer.store))) as queue:
            for event in events:
                queue.commit_when_due()
                if isinstance(event, Progress):
                    seconds = event.done_seconds
                    yield event
                    continue
                job, folder = files[event.path], folder_of(event.path)
                if isinstance(event, EncodedVideo):
                    has_encoded = True
                    row, embedded = _encoded_row(job.file, folder, event)
                    queue.add(disk.placed(row), embedded)
                    yield Outcome(
                        row.path, job.status, row.segments, row.duration, damage=row.damage, time_error=event.time_error
                    )
                else:
                    row = _failed_row(job.file, folder, event)
                    row = disk.placed(row)
                    presence = Disk().presence(row, folder)
                    if presence == "there":  # else it is not here to be recorded: the next run sees what became of it
                        queue.add(row)
                    if presence == "offline":
                        vanished[folder] += 1
                    else:
                        yield Outcome(row.path, "failed", message=event.reason)
    finally:
        if has_encoded:  # also of a run that is stopped
            writer.note_precision(encoder.number_format, encoder.describe_format())
    for folder, count in sorted(vanished.items()):
        yield Vanished(folder, count)
    if seconds:
        writer.note_speed(seconds, running_clock().now() - started)


def _encoded_row(file: VideoFile, folder: Path, video: EncodedVideo) -> tuple[VideoRow, Embedded]:
    info, [vectors] = video.info, video.vectors
    row = VideoRow(
        path=file.path,
        folder=folder,
        size=file.size,
        mtime_ns=file.mtime_ns,
        fingerprint=video.fingerprint,
        created=info.created,
        created_from=info.created_from,
        footage=info.footage,
        indexed_at=datetime.now(UTC),
        content=new_content(),
        segments=len(video.segments),
        duration=info.duration,
        width=info.width,
        height=info.height,
        codec=info.codec,
        damage=_damage(info, video.readable_until),
    )
    return row, Embedded(row.content, [(segment.start, segment.end) for segment in video.segments], vectors)


def _damage(info: VideoInfo, until: float | None) -> str:
    """The part of a video that could not be read, in words that follow its name; "" for none."""
    length, missing = info.duration, info.missing
    early = f"ends early: {clock(round(length))} of {clock(round(length + missing))} is there" if missing else ""
    is_damaged = until is not None and length - until > MISSING + 2 / info.frame_rate
    damaged = (
        f"is damaged: nothing after {clock(round(until or 0))} of {clock(round(length))} can be decoded"
        if is_damaged
        else ""
    )
    more = "is joined from several files, of which only the first can be read" if info.has_more else ""
    return "; ".join(filter(None, [early, damaged, more]))


def _failed_row(file: VideoFile, folder: Path, failed: FailedVideo) -> VideoRow:
    recorded = when_recorded(file.path, file.mtime_ns)
    return VideoRow(
        path=file.path,
        folder=folder,
        size=file.size,
        mtime_ns=TRY_AGAIN if failed.try_again else file.mtime_ns,
        fingerprint="",
        created=recorded.created,
        created_from=recorded.created_from,
        indexed_at=datetime.now(UTC),
        failed=failed.reason,
    )
