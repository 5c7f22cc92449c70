"""The labels that an owner gives to videos, in a table of their own.

Labels are facts: they belong to the file, by its fingerprint, so that no encoding touches them and copies share them.
All labels that one command writes are one commit: whatever is killed, an index has the old labels or the new ones.
Knows nothing of how names are compared: see tagging/labels.py. Times in videos are in seconds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa

from vidfind.store.tables import LABELS, TableKind, Tables, VideoRow, literal, rows_of

LabelKind = Literal["tag", "class"]
# LanceDB joins no files by itself: after so many commits of a few rows it is asked to.
FILES_TO_JOIN = 64
NO_SEGMENT = 0
"""The content of labels whose video is not in the index, and of the row that names the models of the marks."""
LABEL_FIELDS = ("video", *(name for name in LABELS.names if name not in ("id", "video")))
"""The columns that the fields of a Label are read from."""


@dataclass(frozen=True)
class Label:
    """A statement of the owner: that a video, or a part of it, has a tag or belongs to a class, or that it does not.

    `content` is that of a video of the index, the lowest of copies that were encoded apart, and 0 of a video that is
    not in the index now. To write a label, either that or `video` is needed."""

    content: int
    start: float | None
    """Where the part begins, in seconds; None: the label is of the whole video."""
    end: float | None
    kind: LabelKind
    task: str
    """The task of a class; empty of a tag."""
    name: str
    value: int
    """1 for yes, -1 for no."""
    added: datetime = field(default_factory=lambda: datetime.now(UTC))
    video: str = ""
    """The fingerprint of the file."""
    described: str = ""
    """The look of its class, in the words of the owner; mostly empty."""

    @property
    def is_yes(self) -> bool:
        return self.value > 0

    @property
    def id(self) -> str:
        """An id that two labels share if they are of the same part of a video and of the same tag or class."""
        parts = (self.video, self.start, self.end, self.kind, self.task.casefold(), self.name.casefold())
        return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _of(texts: Collection[str], column: str) -> str:
    """Returns the predicate that a column has one of these texts."""
    return f"{column} IN ({', '.join(map(literal, sorted(texts))) or 'NULL'})"


def read_labels(
    tables: Tables,
    kind: LabelKind | None = None,
    videos: Collection[str] | Mapping[str, Sequence[int]] | None = None,
    names: Collection[str] | None = None,
) -> list[Label]:
    """Returns the labels of all videos, or of files of these fingerprints, in the order they were added.

    A mapping gives the contents of each file, which are looked up otherwise. `names`: only labels that are spelled so.
    Those of videos that are not in the index now are among them."""
    table = tables.find(TableKind.LABELS)
    if table is None:
        return []
    query = table.search()
    wanted = [f"kind = {literal(kind)}"] if kind else []
    if videos is not None:
        wanted.append(_of(videos, "video"))
    if names is not None:
        wanted.append(_of(names, "name"))
    rows = (query.where(" AND ".join(wanted)) if wanted else query).to_arrow().sort_by("added")
    known = videos if isinstance(videos, Mapping) else None
    contents = known or (contents_of_files(tables, videos) if rows.num_rows else {})
    lowest = {video: min(own) for video, own in contents.items()}
    columns = [rows[name].to_pylist() for name in LABEL_FIELDS]
    return [
        Label(lowest.get(values[0], NO_SEGMENT), **dict(zip(LABEL_FIELDS, values, strict=True)))
        for values in zip(*columns, strict=True)
    ]


def label_names(tables: Tables, kind: LabelKind) -> list[str]:
    """Returns the names of all labels of a kind in each of their spellings, in the order they were added."""
    table = tables.find(TableKind.LABELS)
    if table is None:
        return []
    rows = table.search().where(f"kind = {literal(kind)}").select(["name", "added"]).to_arrow()
    first = rows.group_by("name").aggregate([("added", "min")]).sort_by("added_min")
    return [row["name"] for row in first.to_pylist()]


def contents_of_files(tables: Tables, videos: Collection[str] | None = None) -> dict[str, list[int]]:
    """Returns the contents of each fingerprint, or of these; without videos that failed."""
    wanted = "failed = ''" if videos is None else f"failed = '' AND {_of(videos, 'fingerprint')}"
    columns = tables.videos.search().where(wanted).select(["fingerprint", "content"]).to_arrow()
    contents: dict[str, list[int]] = {}
    for row in columns.to_pylist():
        contents.setdefault(row["fingerprint"], []).append(row["content"])
    return contents


def change_labels(tables: Tables, put: Iterable[Label], drop: Iterable[Label] = ()) -> None:
    """Adds or replaces labels, and deletes others, in one commit. Raises ValueError for a label without a video."""
    added = with_videos(tables, put)
    rows = pa.Table.from_pylist([_row(label) for label in added.values()], schema=LABELS)
    dropped = {label.id for label in drop} - added.keys()
    table = tables.find(TableKind.LABELS)
    if table is None:
        if rows.num_rows:
            tables.fill(TableKind.LABELS, rows)
        return
    if not (rows.num_rows or dropped):
        return
    with tables.committing(TableKind.LABELS) as labels:
        merge = labels.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        if dropped:
            merge = merge.when_not_matched_by_source_delete(f"id IN ({', '.join(map(literal, sorted(dropped)))})")
        merge.execute(rows)
        if sum(1 for _ in tables.folder(TableKind.LABELS).glob("data/*")) > FILES_TO_JOIN:
            labels.optimize()


def with_videos(tables: Tables, labels: Iterable[Label]) -> dict[str, Label]:
    """Returns labels by their ids, the last of each, all with the fingerprints of their videos."""
    every = list(labels)
    videos: dict[int, str] = {}
    if any(not label.video for label in every):
        videos = {content: video for video, contents in contents_of_files(tables).items() for content in contents}
    complete = [label if label.video else _of_video(label, videos) for label in every]
    return {label.id: label for label in complete}


def _of_video(label: Label, videos: Mapping[int, str]) -> Label:
    if label.content not in videos:
        raise ValueError(f"no video of the index has the content {label.content}")
    return replace(label, video=videos[label.content])


def _row(label: Label) -> dict[str, object]:
    return {name: getattr(label, name) for name in LABELS.names}


def carry_labels(tables: Tables, renamed: Mapping[str, str]) -> None:
    """Gives the labels of files to those that took their places: `renamed` are new fingerprints by the old ones."""
    labels = [label for label in read_labels(tables) if label.video in renamed] if renamed else []
    change_labels(tables, [replace(label, video=renamed[label.video]) for label in labels])


def keep_labels(tables: Tables, rows: Mapping[Path, VideoRow]) -> list[VideoRow]:
    """Gives the labels of files that have changed in their places to the files as they are now.

    A label stays where it is if its file lies elsewhere now, and another has its place. Returns the rows to write: that
    of a file that cannot be read now keeps the fingerprint that its labels are known by."""
    if not has_labels(tables):
        return [*rows.values()]
    stored = {row.path: row for row in rows_of(tables.videos.to_arrow())}
    files = Counter(row.fingerprint for path, row in stored.items() if path not in rows)
    kept: list[VideoRow] = []
    renamed: dict[str, str] = {}
    for path, row in rows.items():
        old = stored.get(path, row).fingerprint
        row = replace(row, fingerprint=row.fingerprint or old) if row.failed else row
        if old and old != row.fingerprint and not files[old]:
            renamed[old] = row.fingerprint
        kept.append(row)
    carry_labels(tables, renamed)
    return kept


def has_labels(tables: Tables) -> bool:
    """Whether any video has labels, or had some."""
    return tables.find(TableKind.LABELS) is not None
