"""Encodes the planned videos and turns each result into rows of the index."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfind.encoders.stream import encode_ahead
from vidfind.index.events import Outcome, Progress, Vanished
from vidfind.index.plan import Job
from vidfind.index.presence import look_on_disk
from vidfind.index.writer import Writer
from vidfind.media.decoding import Clip, Done, Failed, Opened
from vidfind.media.files import VideoFile
from vidfind.media.probe import VideoInfo
from vidfind.media.sampling import Sampling
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow, new_content
from vidfind.system.machine import running_clock
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

FolderOf = Callable[[Path], Path]
"""Which of the folders asked for a video belongs to."""
# No file has this modification time: a failure stored with it is tried again on every run.
TRY_AGAIN = -1
# Seconds at the end of a video that need not be told: its last frames may be shown longer than its packets say.
DAMAGE = 0.5
LAST_SECOND = 253402300799  # of the year 9999


@dataclass
class _Totals:
    """What Progress is made from. Lengths of videos not opened yet are estimated from their size in bytes."""

    files: int
    bytes: int
    opened_bytes: int = 0
    opened_seconds: float = 0.0
    done_seconds: float = 0.0
    done_files: int = 0

    def progress(self, path: Path) -> Progress:
        left_bytes = self.bytes - self.opened_bytes
        left_seconds = left_bytes * self.opened_seconds / self.opened_bytes if self.opened_bytes else 0.0
        return Progress(path, self.done_seconds, self.opened_seconds + left_seconds, self.done_files, self.files)


def encode_planned(
    jobs: Sequence[Job],
    folder_of: FolderOf,
    store: Store,
    encoder: Encoder,
    workers: int | None,
    sampling: Sampling,
) -> Iterator[Outcome | Progress | Vanished]:
    """Decodes, encodes and stores videos; yields their Outcomes, and Progress after every batch."""
    files = {job.file.path: job for job in jobs}
    totals = _Totals(len(jobs), sum(job.file.size for job in jobs))
    opened: dict[Path, Opened] = {}
    vectors: dict[Path, list[npt.NDArray[np.float32]]] = defaultdict(list)
    vanished: Counter[Path] = Counter()
    started = running_clock().now()
    encoding = encode_ahead(list(files), store.settings.segment_length, [encoder], workers, sampling)
    with closing(encoding) as batches, closing(Writer(store)) as writer:
        for batch, [encoded] in batches:
            clips = [message for message in batch if isinstance(message, Clip)]
            for clip, vector in zip(clips, encoded, strict=True):
                vectors[clip.path].append(vector)
                totals.done_seconds += clip.seconds
            for message in batch:
                path, job = message.path, files[message.path]
                folder = folder_of(path)
                if isinstance(message, Opened):
                    opened[path] = message
                    totals.opened_bytes += job.file.size
                    totals.opened_seconds += message.info.duration
                elif isinstance(message, Done):
                    totals.done_files += 1
                    totals.opened_seconds -= _seconds_left(opened[path], len(vectors[path]))
                    row, embedded = _encoded_row(job.file, folder, opened.pop(path), message, vectors.pop(path))
                    writer.add(row, embedded)
                    yield Outcome(path, job.status, row.segments, row.duration, damage=row.damage, off=message.off)
                elif isinstance(message, Failed):
                    totals.done_files += 1
                    totals.opened_bytes += 0 if path in opened else job.file.size
                    totals.opened_seconds -= _seconds_left(opened.pop(path, None), len(vectors.pop(path, [])))
                    row = _failed_row(job.file, folder, message)
                    presence = look_on_disk()(row, folder)
                    if presence == "there":  # else it is not here to be recorded: the next run sees what became of it
                        writer.add(row)
                    if presence == "offline":
                        vanished[folder] += 1
                    else:
                        yield Outcome(path, "failed", message=message.reason)
            writer.commit_when_due()
            yield totals.progress(batch[-1].path)
    for folder, count in sorted(vanished.items()):
        yield Vanished(folder, count)
    if totals.done_seconds:
        store.note_speed(totals.done_seconds, running_clock().now() - started)


def _encoded_row(
    file: VideoFile, folder: Path, opened: Opened, done: Done, vectors: Sequence[npt.NDArray[np.float32]]
) -> tuple[VideoRow, Embedded]:
    info = opened.info
    row = VideoRow(
        path=file.path,
        folder=folder,
        size=file.size,
        mtime_ns=file.mtime_ns,
        fingerprint=opened.fingerprint,
        created=info.created or _modified(file),
        indexed_at=datetime.now(UTC),
        content=new_content(),
        segments=len(vectors),
        duration=info.duration,
        width=info.width,
        height=info.height,
        codec=info.codec,
        damage=_damage(opened.info, done.until),
    )
    spans = [(segment.start, segment.end) for segment in opened.segments[: len(vectors)]]
    return row, Embedded(row.content, spans, np.stack(vectors))


def _damage(info: VideoInfo, until: float | None) -> str:
    """What of a video could not be read, in words that follow its name."""
    length, missing = info.duration, info.missing
    early = f"ends early: {clock(round(length))} of {clock(round(length + missing))} is there" if missing else ""
    is_damaged = until is not None and length - until > DAMAGE + 2 / info.frame_rate
    damaged = (
        f"is damaged: nothing after {clock(round(until or 0))} of {clock(round(length))} can be decoded"
        if is_damaged
        else ""
    )
    return "; ".join(filter(None, [early, damaged]))


def _failed_row(file: VideoFile, folder: Path, failed: Failed) -> VideoRow:
    return VideoRow(
        path=file.path,
        folder=folder,
        size=file.size,
        mtime_ns=TRY_AGAIN if failed.try_again else file.mtime_ns,
        fingerprint="",
        created=_modified(file),
        indexed_at=datetime.now(UTC),
        failed=failed.reason,
    )


def _modified(file: VideoFile) -> datetime:
    # Broken clocks leave dates far outside what a datetime can hold.
    return datetime.fromtimestamp(min(max(file.mtime_ns // 10**9, 0), LAST_SECOND), UTC)


def _seconds_left(opened: Opened | None, num_encoded: int) -> float:
    return sum(segment.end - segment.start for segment in opened.segments[num_encoded:]) if opened else 0.0
