"""The contents of an index, in numbers for users."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vidfind.commands import adapter_command
from vidfind.store.files import outer_folders
from vidfind.store.folder import Precision, read_precision, size_of_index
from vidfind.store.memory import LeftOut, RemovedVideo, read_left_out
from vidfind.store.places.progress import RunState, read_run
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow


@dataclass(frozen=True)
class Unfinished:
    """An encoding of the whole index with another adapter that was begun: how far it is, and what goes on with it."""

    adapter: str | None
    videos: int
    command: str


@dataclass(frozen=True)
class IndexStatus:
    """The contents of an index: `hours` of footage, `size_on_disk` in bytes; `damaged` videos are indexed in part."""

    name: str
    settings: IndexSettings
    folders: list[Path]
    videos: int
    hours: float
    segments: int
    failed: list[VideoRow]
    damaged: list[VideoRow]
    size_on_disk: int
    unfinished: Unfinished | None = None
    left_out: LeftOut = field(default_factory=LeftOut)
    """The paths and patterns that runs leave out until a user asks for them."""
    removed: list[RemovedVideo] = field(default_factory=list)
    """The removed videos whose vectors are kept for a while, should they come back."""
    precision: Precision | None = None
    """The number formats of the vectors; None if they are not known."""
    tags: int = 0
    """How many tags the owner uses."""
    tagged: int = 0
    """How many videos the owner has tagged, also with a no."""
    tagged_automatically: int = 0
    """How many videos have tags that a saved model gave."""
    run: RunState | None = None
    """How far the run is that is under way; None if there is none."""


def index_status(store: Store) -> IndexStatus:
    """The status of an index. Raises IndexDamaged."""
    rows = sorted(store.videos().values(), key=lambda row: row.path)
    labels = store.labels("tag")
    return IndexStatus(
        name=store.path.name,
        settings=store.settings,
        folders=outer_folders(row.folder for row in rows),
        videos=sum(not row.failed for row in rows),
        hours=sum(row.duration for row in rows) / 3600,
        segments=sum(row.segments for row in rows),
        failed=[row for row in rows if row.failed],
        damaged=[row for row in rows if row.damage],
        size_on_disk=size_of_index(store.path),
        unfinished=find_unfinished(store),
        left_out=read_left_out(store.path),
        removed=list(store.removed().values()),
        precision=read_precision(store.path),
        tags=len({label.name.casefold() for label in labels}),
        tagged=len({label.video for label in labels}),
        tagged_automatically=len({mark.content for mark in store.marks() if mark.tags}),
        run=read_run(store.path),
    )


def find_unfinished(store: Store) -> Unfinished | None:
    """The encoding of the index with another adapter that was begun and is not in use yet; None if there is none."""
    begun = store.unfinished()
    if begun is None:
        return None
    adapter = begun.settings.identity.adapter
    return Unfinished(adapter, begun.count_videos(), adapter_command(store.path, adapter))
