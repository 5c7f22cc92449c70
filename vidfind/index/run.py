"""The indexing pipeline: walk folders, plan what to do, decode, encode, store.

Is handed its store and a way to get its encoder; never prints. Decoding threads feed a bounded queue, the caller's
thread encodes what is in it, and one thread writes to the store, many videos a commit. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vidfind.encoders.stream import encode_ahead
from vidfind.errors import BadInput, IndexNotFound, ModelUnavailable
from vidfind.index.plan import Job, Plan, Status, look_on_disk, make_plan
from vidfind.media.decoding import Clip, Done, Failed, Opened
from vidfind.media.files import VideoFile, find_videos, fingerprint
from vidfind.media.read import VideoInfo
from vidfind.media.sampling import DEFAULT_SAMPLING, Sampling
from vidfind.models.adapter_file import read_info
from vidfind.models.load import DEFAULT_ENCODER, check_needs_no_adapter, default_pretrained, look_for_weights
from vidfind.models.saved_adapters import find_adapter
from vidfind.store.settings import IndexSettings, adapter_command, is_index
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow, new_content
from vidfind.system.machine import running_clock
from vidfind.system.paths import adapter_path
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

log = logging.getLogger(__name__)
FolderOf = Callable[[Path], Path]
"""Which of the folders asked for a video belongs to."""

# Each commit costs a few ms and a file or two; what is lost to a power cut is at most this much.
VIDEOS_A_COMMIT = 64
SECONDS_A_COMMIT = 30.0
# No file has this modification time: a failure stored with it is tried again on every run.
TRY_AGAIN = -1
SAME = "the same as "
NOT_TRIED_AGAIN = "(not tried again: it has not changed since)"
# Seconds at the end of a video that need not be told: its last frames may be shown longer than its packets say.
DAMAGE = 0.5
LAST_SECOND = 253402300799  # of the year 9999


@dataclass(frozen=True)
class Outcome:
    """What became of one video. `seconds` is its length; `message` says why it failed, or where it was moved from;
    `damage` what could not be read of a video that is indexed; `off` how far, at most, frames taken of it lie from the
    times wanted, in seconds, where keyframes were taken instead, and None if none was taken in this run."""

    path: Path
    status: Status
    segments: int = 0
    seconds: float = 0.0
    message: str = ""
    damage: str = ""
    off: float | None = None

    @property
    def is_copy(self) -> bool:
        """Whether the content of a new or changed video was known already: it has not been encoded."""
        return self.status in ("new", "changed") and self.message.startswith(SAME)

    @property
    def is_news(self) -> bool:
        """Whether this run has found something out about the video."""
        return self.status != "unchanged" and not self.message.endswith(NOT_TRIED_AGAIN)


@dataclass(frozen=True)
class Progress:
    """How far the encoding is. `path` is the video at work; `total_seconds` is an estimate until all are opened."""

    path: Path
    done_seconds: float
    total_seconds: float
    done_files: int
    total_files: int


@dataclass(frozen=True)
class Offline:
    """Videos that are kept in the index although they cannot be looked at now: their folder is not there."""

    folder: Path
    videos: int


@dataclass(frozen=True)
class Vanished:
    """Videos that were to be encoded, but their folder went away meanwhile."""

    folder: Path
    videos: int


@dataclass(frozen=True)
class Cost:
    """What encoding videos again takes: `footage` in seconds of it; `elapsed` is about how long, where known."""

    videos: int
    footage: float
    elapsed: float | None


@dataclass(frozen=True)
class Reencoding:
    """What was indexed is encoded again with another adapter; searches use the old vectors until it is done."""

    adapter: str | None
    cost: Cost


@dataclass(frozen=True)
class Switched:
    """Everything has been encoded again, and searches use the new vectors from now on."""

    adapter: str | None


@dataclass(frozen=True)
class Waiting:
    """What could be encoded again has been, but searches go on with the old vectors: some folders are not there now.

    `command` goes on when they are."""

    adapter: str | None
    offline: list[Offline]
    command: str


@dataclass(frozen=True)
class Arranging:
    """What large collections are searched by is made next: for a million segments, that takes most of a minute."""

    segments: int


Event = Outcome | Progress | Offline | Vanished | Reencoding | Switched | Waiting | Arranging
Announce = Callable[[str], None]


def open_store(
    path: Path,
    load_encoder: Callable[..., Encoder],
    asked: Mapping[str, Any],
    default_adapter: Callable[[str | None, str | None], str | None] = lambda model, pretrained: None,
    announce: Announce = log.info,
) -> tuple[Store, Callable[[], Encoder]]:
    """The index at `path`, made now if there is none or an empty one, and a function that loads the encoder it needs.

    `asked` holds only what the user chose: any of `model`, `pretrained`, `encoder`, `adapter` (a saved one's name, or
    None for none), `segment_length`. `load_encoder` takes the first four. An index with videos keeps its settings:
    IndexMismatch if `asked` differs, but for the adapter. Another adapter is put in at once where it leaves video
    vectors as they are; else the store is a new one beside that in use, for `index_videos` to fill.
    One without videos keeps what it was begun with, but for what is asked.
    A new index takes `default_adapter` of the model and weights asked for, if no adapter is. `announce` is told, in a
    line, what was not asked for."""
    try:
        store = Store.open(path)
    except IndexNotFound:
        store = None
    if store is None:
        return _make_store(path, load_encoder, asked, default_adapter, announce)
    if not store.count_videos():
        return _make_store(path, load_encoder, {**_begun_with(store, asked), **asked}, default_adapter, announce)
    if asked.get("model", store.settings.model) != store.settings.model:
        # A name that was mistyped must not be answered with a command that deletes the index.
        look_for_weights(asked["model"], asked.get("pretrained") or default_pretrained(asked["model"]))
    if "adapter" in asked:
        return _change_adapter(store, load_encoder, asked, announce)
    if asked.get("encoder", store.settings.encoder) != store.settings.encoder:
        # Nor one that would fail after the deletion.
        check_needs_no_adapter(asked["encoder"], asked.get("model", store.settings.model))
    store.require(**asked)
    if begun := store.describe_unfinished():
        announce(f"Encoding again with {_with(begun.adapter)} is not finished. To go on with it: {begun.command}")
    return store, functools.cache(functools.partial(_load_own, store, load_encoder))


def _begun_with(store: Store, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an index without videos, as far as they go with what is asked."""
    ours = store.settings
    own: dict[str, Any] = {"segment_length": ours.segment_length}
    if all(asked.get(name, getattr(ours, name)) == getattr(ours, name) for name in ("model", "pretrained", "encoder")):
        own |= {"model": ours.model, "pretrained": ours.pretrained, "encoder": ours.encoder}
        if ours.adapter is None or adapter_path(ours.adapter).is_file():
            own["adapter"] = ours.adapter
    return own


def _make_store(
    path: Path,
    load_encoder: Callable[..., Encoder],
    asked: Mapping[str, Any],
    default_adapter: Callable[[str | None, str | None], str | None],
    announce: Announce,
) -> tuple[Store, Callable[[], Encoder]]:
    choice = {name: value for name, value in asked.items() if name != "segment_length"}
    default = None if "adapter" in asked else default_adapter(asked.get("model"), asked.get("pretrained"))
    if name := choice.get("adapter"):
        choice["adapter"] = find_adapter(name)
    if default is None:
        encoder = load_encoder(**choice)
    else:
        encoder, choice = _load_with_default(load_encoder, choice, default, announce)
    length = {"segment_length": asked["segment_length"]} if "segment_length" in asked else {}
    settings = IndexSettings(**dataclasses.asdict(encoder.identity), **length)
    return Store.create(path, settings, encoder.dim, choice.get("adapter")), lambda: encoder


def _load_with_default(
    load_encoder: Callable[..., Encoder], choice: Mapping[str, Any], default: str, announce: Announce
) -> tuple[Encoder, dict[str, Any]]:
    """The encoder with the default adapter, or without if that is of no use here; and what it was loaded with."""
    try:
        with_default = {**choice, "adapter": find_adapter(default)}
        encoder = load_encoder(**with_default)
    except ModelUnavailable as error:
        encoder = load_encoder(**choice)  # raises again if it is not for the adapter
        announce(f"The default adapter {default} is left out: {error}")
        return encoder, dict(choice)
    name = encoder.identity.encoder
    its_encoder = f", and its encoder {name}" if name != choice.get("encoder", DEFAULT_ENCODER) else ""
    announce(f"Using the adapter {default}, the default for this model{its_encoder}; --adapter none does without.")
    return encoder, with_default


def _change_adapter(
    store: Store, load_encoder: Callable[..., Encoder], asked: Mapping[str, Any], announce: Announce
) -> tuple[Store, Callable[[], Encoder]]:
    """The index with the adapter asked for: as it is, with its adapter switched, or a store beside it to be filled."""
    ours = store.settings
    store.require(**{name: value for name, value in asked.items() if name != "adapter"})
    file = find_adapter(asked["adapter"]) if asked["adapter"] is not None else None
    if file and (info := read_info(file)) and (info.model, info.encoder) != (ours.model, ours.encoder):
        store.require(model=info.model, pretrained=info.pretrained, encoder=info.encoder, adapter=info.name)
    begun = store.unfinished()
    if begun and begun.has_adapter(file):
        return begun, functools.cache(functools.partial(_load_own, begun, load_encoder))
    if store.has_adapter(file):
        if begun:
            _give_up(store, begun, announce)
        return store, functools.cache(functools.partial(_load_own, store, load_encoder))

    encoder = load_encoder(model=ours.model, pretrained=ours.pretrained, encoder=ours.encoder, adapter=file)
    settings = IndexSettings(**dataclasses.asdict(encoder.identity), segment_length=ours.segment_length)
    if settings.has_vectors_of(ours):
        if begun:
            _give_up(store, begun, announce)
        announce(
            f"Searches of the index {store.path.name!r} go through {_with(settings.adapter)} now. "
            "That changes queries alone: no video has to be encoded again."
        )
        return store.switch_adapter(settings, file), lambda: encoder
    if begun and settings.has_vectors_of(begun.settings):
        return begun.switch_adapter(settings, file), lambda: encoder
    if begun:
        _give_up(store, begun, announce)
    return store.begin_again(settings, file), lambda: encoder


def _give_up(store: Store, begun: Store, announce: Announce) -> None:
    store.give_up_unfinished()
    announce(f"Gave up encoding again with {_with(begun.settings.adapter)}, which was not finished.")


def _load_own(store: Store, load_encoder: Callable[..., Encoder]) -> Encoder:
    ours = store.settings
    return load_encoder(model=ours.model, pretrained=ours.pretrained, encoder=ours.encoder, adapter=store.adapter)


def _with(adapter: str | None) -> str:
    return f"the adapter {adapter}" if adapter else "no adapter"


def reencode_cost(store: Store) -> Cost:
    """What encoding all videos of an index again will take. Copies of a video cost nothing."""
    return _cost(store, (row for row in store.videos().values() if not row.failed))


def _cost(store: Store, rows: Iterable[VideoRow]) -> Cost:
    lengths = {row.content: row.duration for row in rows}
    footage, speed = sum(lengths.values()), store.speed()
    return Cost(len(lengths), footage, footage / speed if speed else None)


def check_folders(folders: Sequence[Path], store_path: Path) -> list[Path]:
    """`folders` made absolute. Raises BadInput for one that neither exists nor has videos in the index."""
    absolute = [Path(os.path.abspath(folder)) for folder in folders]
    absent = [folder for folder in absolute if not folder.exists()]
    known = list(Store.open(store_path).videos()) if absent and is_index(store_path) else []
    for folder in absent:
        if not any(path.is_relative_to(folder) for path in known):
            raise BadInput(f"There is no folder or video {folder}")
    return absolute


def needs_index(folders: Sequence[Path], store_path: Path, exclude: Sequence[str] = ()) -> bool:
    """Whether there is anything to index, or indexed already: else no model need be loaded, or even fetched."""
    if next(find_videos(folders, exclude), None):
        return True
    return is_index(store_path) and bool(Store.open(store_path).count_videos())


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
            yield Reencoding(store.settings.adapter, _cost(store, again))
        yield from _settle(plan, folder_of, store)
        if plan.encode:
            encoder = load_encoder()
            store.require(**dataclasses.asdict(encoder.identity))
            yield from _encode(plan.encode, folder_of, store, encoder, workers, sampling)
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
        yield Waiting(store.settings.adapter, folders, adapter_command(store.path, store.settings.adapter))
        return
    store.finish()
    for row in missing:
        yield Outcome(row.path, "removed", row.segments, row.duration)
    yield Switched(store.settings.adapter)


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


def _encode(
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
    with closing(encoding) as batches, closing(_Writer(store)) as writer:
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


class _Writer:
    """Collects finished videos and commits many at once, in a thread of its own: Ctrl-C cannot cut a commit in two."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        self._writing: Future[None] | None = None
        self._waiting: list[tuple[VideoRow, tuple[Embedded, ...]]] = []
        self._last_commit = time.monotonic()

    def add(self, row: VideoRow, *embedded: Embedded) -> None:
        self._waiting.append((row, embedded))

    def commit_when_due(self) -> None:
        if len(self._waiting) >= VIDEOS_A_COMMIT or time.monotonic() - self._last_commit >= SECONDS_A_COMMIT:
            self.commit()

    def commit(self) -> None:
        if self._writing:
            self._writing.result()  # one at a time, and raises what went wrong
        waiting, self._waiting = self._waiting, []
        rows = [row for row, _ in waiting]
        embedded = [one for _, ones in waiting for one in ones]
        self._writing = self._pool.submit(self._store.put, rows, embedded)
        self._last_commit = time.monotonic()

    def close(self) -> None:
        """Returns when everything added is in the store."""
        self.commit()
        self._pool.shutdown(wait=True)
        if self._writing:
            self._writing.result()
