"""The labels that an owner gives to videos, and the marks that saved models give to segments, in tables of their own.

Labels are facts: they belong to the file, by its fingerprint, so that no encoding touches them and copies share them.
Marks belong to the vectors that they were made from. All rows that one command writes are one commit: whatever is
killed, an index has the old labels or the new ones. Knows nothing of how names are compared: see tagging/labels.py.
Times in videos are in seconds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidfind.store.tables import LABELS, MARKS, TableKind, Tables, VideoRow, content_in, rows_of

LabelKind = Literal["tag", "class"]
# LanceDB joins no files by itself: after so many commits of a few rows it is asked to.
FILES_TO_JOIN = 64
# From so many segments with marks on, an index of the lists pays.
INDEXED_MARKS = 10_000
NO_SEGMENT = 0
"""The content of the row that names the models of the marks; no video has it."""
MARK_LISTS = {"tags": "tags_auto", "classes": "classes_auto", "suggested": "suggested"}
"""The columns of the lists of a Mark; the confidences are in columns beside them."""
LABEL_FIELDS = ("video", *(name for name in LABELS.names if name not in ("id", "video")))
"""The columns that the fields of a Label are read from."""
RUNS: Mapping[LabelKind, str] = {"tag": "tag_run", "class": "class_run"}
PLACE = ("content", "start", "end")
"""The columns that say which segment a mark is of."""
LISTS_OF: Mapping[LabelKind, Sequence[str]] = {"tag": ("tags", "suggested"), "class": ("classes",)}


@dataclass(frozen=True)
class Label:
    """What the owner says of a video, or of a part of it: that it has a tag or belongs to a class, or that it does not.

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
    """What its class looks like, in the words of the owner; mostly empty."""

    @property
    def is_yes(self) -> bool:
        return self.value > 0

    @property
    def id(self) -> str:
        """The same for two labels that say yes or no to the same of the same part."""
        parts = (self.video, self.start, self.end, self.kind, self.task.casefold(), self.name.casefold())
        return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


@dataclass(frozen=True)
class Mark:
    """What saved models say of a segment: names, each with a confidence from 0 to 1."""

    content: int
    start: float
    end: float
    tags: Mapping[str, float] = field(default_factory=dict)
    """Tags that the segment was given."""
    classes: Mapping[str, float] = field(default_factory=dict)
    """Classes that the segment was given, as `pets:rex`."""
    suggested: Mapping[str, float] = field(default_factory=dict)
    """Tags that the owner is asked about."""


def literal(text: str) -> str:
    """Returns a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _of(texts: Collection[str], column: str) -> str:
    """Returns the predicate that a column has one of these texts."""
    return f"{column} IN ({', '.join(map(literal, sorted(texts))) or 'NULL'})"


# Labels


def read_labels(
    tables: Tables,
    kind: LabelKind | None = None,
    videos: Collection[str] | None = None,
    names: Collection[str] | None = None,
) -> list[Label]:
    """Returns the labels of all videos, or of files of these fingerprints, in the order they were added.

    `names`: only labels that are spelled so. Those of videos that are not in the index now are among them."""
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
    contents = contents_of_files(tables, videos) if rows.num_rows else {}
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
    """Adds or replaces labels, and deletes others, in one commit. Raises ValueError for one of no video."""
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


# Marks


def read_marks(tables: Tables, contents: Collection[int] | None = None) -> list[Mark]:
    """Returns the marks of the segments of these contents, or of all, by content and time; one of each segment."""
    table = tables.find(TableKind.MARKS)
    if table is None:
        return []
    wanted = content_in(contents) if contents is not None else "content != 0"
    return [*_joined(table.search().where(wanted).to_arrow())]


def marks_with(tables: Tables, column: Literal["tags", "classes"], names: Collection[str]) -> list[Mark]:
    """Returns the marks of the segments that have one of these names, which are compared without case."""
    table = tables.find(TableKind.MARKS)
    if table is None:
        return []
    keys = {name.casefold() for name in names}
    known = [name for name in mark_names(tables, column) if name.casefold() in keys]
    if not known:
        return []
    listed = ", ".join(map(literal, known))
    rows = table.search().where(f"content != 0 AND array_has_any({MARK_LISTS[column]}, [{listed}])").to_arrow()
    return [*_joined(rows)]


def mark_names(tables: Tables, column: str) -> set[str]:
    """Returns the names that a saved model may give."""
    table = tables.find(TableKind.MARKS)
    rows = table.search().where(f"content = {NO_SEGMENT}").to_arrow().to_pylist() if table is not None else []
    return {name for row in rows for name in row[MARK_LISTS[column]] or ()}


def _joined(rows: pa.Table) -> Iterator[Mark]:
    """Yields one mark of each segment, by content and time: tags and classes may come from two rows."""
    segments: dict[tuple[int, float, float], dict[str, dict[str, float]]] = {}
    places: list[Any] = [*zip(*(rows[name].to_pylist() for name in PLACE), strict=True)]
    lists_of: dict[str, list[Any]] = {
        name: [*zip(rows[column].to_pylist(), rows[f"{column}_confidence"].to_pylist(), strict=True)]
        for name, column in MARK_LISTS.items()
    }
    for number, place in enumerate(places):
        lists = segments.setdefault(place, {name: {} for name in MARK_LISTS})
        for name, every in lists_of.items():
            names, sure = every[number]
            if names:
                lists[name] |= dict(zip(names, sure, strict=True))
    for (content, start, end), lists in sorted(segments.items(), key=itemgetter(0)):
        yield Mark(content, start, end, **lists)


def run_of(tables: Tables, kind: LabelKind) -> str:
    """Returns the name of the saved model that made the marks of a kind; empty if there are none."""
    table = tables.find(TableKind.MARKS)
    if table is None:
        return ""
    rows = table.search().where(f"content = {NO_SEGMENT}").select([RUNS[kind]]).to_arrow().to_pylist()
    return next((row[RUNS[kind]] for row in rows if row[RUNS[kind]]), "")


def replace_marks(tables: Tables, kind: LabelKind, run: str, names: Iterable[str], marks: Iterable[Mark]) -> None:
    """Puts marks, with the name of the model that made them, in the place of all of their kind, in one commit.

    `names` are all that the model may give, also to videos that come later."""
    other: LabelKind = "class" if kind == "tag" else "tag"
    own, others = LISTS_OF[kind][0], LISTS_OF[other][0]
    known = {own: dict.fromkeys(names, 0.0), others: dict.fromkeys(mark_names(tables, others), 0.0)}
    runs = {kind: run, other: run_of(tables, other)}
    rows = [
        _mark_rows([Mark(NO_SEGMENT, 0.0, 0.0, **known)], runs),
        _rows_of_kind(tables, other),
        _mark_rows([_only(mark, LISTS_OF[kind]) for mark in marks if any(getattr(mark, n) for n in LISTS_OF[kind])]),
    ]
    tables.fill(TableKind.MARKS, pa.concat_tables(rows))
    index_marks(tables)


def rename_marks(tables: Tables, kind: LabelKind, run: str, renamed: Callable[[str], str | None]) -> None:
    """Gives names of marks of a kind other names, and deletes those whose new name is None, in one commit.

    `run` is the model that has the new names. Of two names that become one, the surer counts."""
    table = tables.find(TableKind.MARKS)
    if table is None:
        return

    def change(names: Mapping[str, float]) -> dict[str, float]:
        changed: dict[str, float] = {}
        for name, sure in names.items():
            if new := renamed(name):
                changed[new] = max(sure, changed.get(new, 0.0))
        return changed

    rows = table.to_arrow()
    own = [MARK_LISTS[name] for name in LISTS_OF[kind]]
    stored: set[Any] = {name for column in own for name in pc.unique(pc.list_flatten(rows[column])).to_pylist()}
    touched = {name for name in stored if renamed(name) != name}
    is_touched = np.zeros(rows.num_rows, bool)
    for column in own:
        owners = pc.list_parent_indices(rows[column].combine_chunks()).to_numpy()
        named = pc.is_in(pc.list_flatten(rows[column].combine_chunks()), pa.array(sorted(touched), pa.string()))
        is_touched[owners[named.to_numpy(zero_copy_only=False)]] = True
    is_touched |= rows["content"].to_numpy() == NO_SEGMENT  # names the model
    changed = rows.filter(pa.array(is_touched)).to_pylist()
    for row in changed:
        for column in own:
            lists = change(dict(zip(row[column] or (), row[f"{column}_confidence"] or (), strict=True)))
            row |= {column: [*lists], f"{column}_confidence": [*lists.values()]}
        if row["content"] == NO_SEGMENT:
            row[RUNS[kind]] = run
    kept = [row for row in changed if row["content"] == NO_SEGMENT or any(row[c] for c in MARK_LISTS.values())]
    others = rows.filter(pa.array(~is_touched)).select(MARKS.names).cast(MARKS)
    tables.fill(TableKind.MARKS, pa.concat_tables([pa.Table.from_pylist(kept, schema=MARKS), others]))
    index_marks(tables)


def _rows_of_kind(tables: Tables, kind: LabelKind) -> pa.Table:
    """Returns the rows of marks with names of one kind, without those of the other."""
    table = tables.find(TableKind.MARKS)
    if table is None:
        return MARKS.empty_table()
    rows = table.search().where(f"content != {NO_SEGMENT}").to_arrow().select(MARKS.names).cast(MARKS)
    own = [MARK_LISTS[name] for name in LISTS_OF[kind]]
    sizes = [pc.fill_null(pc.list_value_length(rows[column]), 0).to_numpy() for column in own]
    rows = rows.filter(pa.array(np.sum(sizes, axis=0) > 0))
    for column in (column for name, column in MARK_LISTS.items() if name not in LISTS_OF[kind]):
        for part in (column, f"{column}_confidence"):
            field = MARKS.field(part)
            empty = pa.array([[]] * rows.num_rows, field.type)
            rows = rows.set_column(MARKS.get_field_index(part), field, empty)
    return rows


def index_marks(tables: Tables) -> None:
    """Makes the indexes of the lists where there are many marks, in which searches then need not look at each."""
    table = tables.find(TableKind.MARKS)
    if table is None or table.count_rows() < INDEXED_MARKS:
        return
    from lancedb.index import BTree, LabelList

    with tables.committing(TableKind.MARKS) as marks:
        marks.create_index("content", config=BTree(), replace=True)
        for column in (MARK_LISTS["tags"], MARK_LISTS["classes"]):
            marks.create_index(column, config=LabelList(), replace=True)


def add_marks(tables: Tables, marks: Sequence[Mark]) -> None:
    """Adds marks of segments that the models of the index had not seen, in one commit.

    Nothing is added where there is no model: `replace_marks` comes first."""
    rows = _mark_rows([mark for mark in marks if any(getattr(mark, name) for name in MARK_LISTS)])
    if rows.num_rows and tables.find(TableKind.MARKS) is not None:
        with tables.committing(TableKind.MARKS) as table:
            table.add(rows)


def drop_marks(tables: Tables, used: Collection[int]) -> None:
    """Deletes the marks of all contents but these."""
    table = tables.find(TableKind.MARKS)
    if table is None:
        return
    stored = table.search().select(["content"]).to_arrow()["content"]
    orphans = set(pc.unique(stored).to_numpy().tolist()) - {NO_SEGMENT, *used}
    if orphans:
        with tables.committing(TableKind.MARKS) as marks:
            marks.delete(content_in(orphans))


def _only(mark: Mark, names: Collection[str]) -> Mark:
    return Mark(mark.content, mark.start, mark.end, **{name: getattr(mark, name) for name in names})


def _mark_rows(marks: Sequence[Mark], runs: Mapping[LabelKind, str] | None = None) -> pa.Table:
    """Returns the rows of marks; `runs` are the models by their kind, which the row of no segment names."""
    columns: dict[str, list[object]] = {name: [getattr(mark, name) for mark in marks] for name in PLACE}
    for name, column in MARK_LISTS.items():
        lists = [getattr(mark, name) for mark in marks]
        columns |= {column: [[*one] for one in lists], f"{column}_confidence": [[*one.values()] for one in lists]}
    columns |= {column: [(runs or {}).get(kind, "")] * len(marks) for kind, column in RUNS.items()}
    return pa.table(columns, schema=MARKS)
