"""The forms of the answers that an assistant gets: pydantic makes their schemas. Times and lengths are in seconds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, Field

from vidfind.assistants.videos import plain_text
from vidfind.search.moments import Moment
from vidfind.search.tagged import Tags
from vidfind.store.status import IndexStatus
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow

LISTED = 20
"""At most so many videos that could not be read are listed."""
NAMED = 200
"""At most so many tags and classes are listed."""


class Step(BaseModel):
    """The part of a moment that answers one step of a sequence."""

    start: float
    end: float
    match: int | None


class FoundMoment(BaseModel):
    """A part of a video that fits what was searched for."""

    rank: int = Field(description="Its place among the results, from 1.")
    video: str = Field(description="The path of the video: give it to the other tools as it is.")
    start: float = Field(description="Where the moment begins in the video, in seconds.")
    end: float = Field(description="Where the moment ends in the video, in seconds.")
    best: float = Field(description="The time of the best part, in seconds: look there first.")
    match: int | None = Field(
        description="How well the words fit, from 0 to 100 percent. Below 30 they fit hardly better than nonsense. "
        "Null where that is not known."
    )
    score: float = Field(description="The similarity that ranks the results; comparable within one search only.")
    video_seconds: float = Field(description="Length of the whole video in seconds.")
    filmed: datetime = Field(description="When the video was filmed, in UTC.")
    present: bool = Field(description="Whether the file is there now. If not, its drive may not be connected.")
    tags: list[str] = Field(description="Tags that the owner gave.")
    automatic_tags: list[str] = Field(description="Tags that a model added; they may be wrong.")
    copies: list[str] = Field(description="Paths of other files with the same contents.")
    steps: list[Step] = Field(default=[], description="The parts that answer each step, if `then` was given.")

    @classmethod
    def of(cls, moment: Moment) -> FoundMoment:
        return cls(
            rank=moment.rank,
            video=plain_text(moment.path),
            start=round(moment.start, 3),
            end=round(moment.end, 3),
            best=round(moment.best, 3),
            match=moment.match,
            score=round(moment.score, 4),
            video_seconds=round(moment.duration, 3),
            filmed=moment.created,
            present=moment.online,
            tags=[*moment.tags],
            automatic_tags=[*moment.tags_auto],
            copies=[plain_text(path) for path in moment.copies],
            steps=[Step(start=round(one.start, 3), end=round(one.end, 3), match=one.match) for one in moment.steps],
        )


class Found(BaseModel):
    """The answer to a search."""

    moments: list[FoundMoment] = Field(description="The moments, best first.")
    remarks: list[str] = Field(description="Sentences about the search, such as why nothing was found.")


class Video(BaseModel):
    """The details of a video."""

    video: str = Field(description="The path of the video.")
    present: bool = Field(description="Whether the file is there now.")
    seconds: float = Field(description="Length in seconds.")
    width: int = Field(description="Width of the picture in pixels.")
    height: int = Field(description="Height of the picture in pixels.")
    codec: str = Field(description="How the picture is encoded, such as h264.")
    size: int = Field(description="Size of the file in bytes.")
    filmed: datetime = Field(description="When the video was filmed, in UTC.")
    filmed_from: str = Field(
        description="Where that is known from: metadata, name, or file (its last change, the least certain)."
    )
    indexed_at: datetime = Field(description="When it was indexed.")
    damage: str = Field(description="Which part could not be read; empty if the video is whole.")
    tags: list[str] = Field(description="Tags that the owner gave to the video or to a part of it.")
    automatic_tags: list[str] = Field(description="Tags that a model added; they may be wrong.")
    copies: list[str] = Field(description="Paths of other files with the same contents.")

    @classmethod
    def of(cls, rows: Sequence[VideoRow], store: Store, present: bool) -> Video:
        row = rows[0]
        tags, added = Tags(store, {row.content: row.fingerprint}).of(row.content, 0.0, max(row.duration, 1e-3))
        return cls(
            video=plain_text(row.path),
            present=present,
            seconds=round(row.duration, 3),
            width=row.width,
            height=row.height,
            codec=row.codec,
            size=row.size,
            filmed=row.created,
            filmed_from=row.created_from,
            indexed_at=row.indexed_at,
            damage=plain_text(row.damage),
            tags=[*tags],
            automatic_tags=[*added],
            copies=[plain_text(copy.path) for copy in rows[1:]],
        )


class Folder(BaseModel):
    """A folder that is indexed."""

    path: str
    present: bool = Field(description="Whether the folder is there now. If not, its drive may not be connected.")


class Unreadable(BaseModel):
    """A video that could not be read, or only in part."""

    video: str
    reason: str


class Run(BaseModel):
    """A run of `vidfind index` that is under way: `done` of `total` videos."""

    done: int
    total: int
    seconds_left: float | None = Field(description="How long it still takes, in seconds; null if that is not known.")


class Status(BaseModel):
    """The contents of the index."""

    index: str = Field(description="The name of the index.")
    videos: int = Field(description="How many videos can be searched.")
    segments: int = Field(description="How many parts of videos can be searched.")
    segment_seconds: float = Field(description="Length of such a part: a moment is no shorter.")
    seconds: float = Field(description="Length of all videos together.")
    folders: list[Folder]
    model: str = Field(description="The CLIP model that sees the videos.")
    encoder: str = Field(description="How the frames of a segment become one vector.")
    adapter: str | None = Field(description="What the model has learnt from the owner's captions, if anything.")
    tags: list[str] = Field(description=f"Tags that `search` takes, {NAMED} at most.")
    classes: list[str] = Field(description=f"Classes that the owner taught and that `search` takes, {NAMED} at most.")
    run: Run | None = Field(description="What is being indexed now; null if nothing is.")
    failed: int = Field(description="How many videos could not be read.")
    unreadable: list[Unreadable] = Field(description=f"The first {LISTED} videos that could not be read, or in part.")

    @classmethod
    def of(cls, status: IndexStatus, store: Store, present: Collection[Path]) -> Status:
        ours = status.settings.identity
        unread = [(row.path, row.failed) for row in status.failed] + [(row.path, row.damage) for row in status.damaged]
        return cls(
            index=status.name,
            videos=status.videos,
            segments=status.segments,
            segment_seconds=status.settings.segment_length,
            seconds=round(status.hours * 3600, 3),
            folders=[Folder(path=plain_text(one), present=one in present) for one in status.folders],
            model=ours.model,
            encoder=ours.encoder,
            adapter=ours.adapter,
            tags=sorted({*store.label_names("tag"), *store.mark_names("tags")}, key=str.casefold)[:NAMED],
            classes=sorted(store.mark_names("classes"), key=str.casefold)[:NAMED],
            run=Run(**vars(status.run)) if status.run else None,
            failed=len(status.failed),
            unreadable=[Unreadable(video=plain_text(path), reason=plain_text(why)) for path, why in unread[:LISTED]],
        )


class MadeClip(BaseModel):
    """A clip that was written."""

    clip: str = Field(description="The path of the new file.")
    seconds: float = Field(description="Its length in seconds.")
    missing: float = Field(description="Seconds at the end that could not be read.")
