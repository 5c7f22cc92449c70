"""The marks that saved models give to segments, in a table of their own.

Marks belong to the vectors that they were made from. All marks that one command writes are one commit: whatever is
killed, an index has the old marks or the new ones. Times in videos are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from vidfind.store.labelled.labels import NO_SEGMENT, LabelKind
from vidfind.store.tables import MARKS, TableKind, Tables, content_in, literal

# From so many segments with marks on, an index of the lists pays.
INDEXED_MARKS = 10_000
MARK_LISTS = {"tags": "tags_auto", "classes": "classes_auto", "suggested": "suggested"}
"""The columns of the lists of a Mark; the confidences are in columns beside them."""
RUNS: Mapping[LabelKind, str] = {"tag": "tag_run", "class": "class_run"}
PLACE = ("content", "start", "end")
"""The columns that say which segment a mark is of."""
LISTS_OF: Mapping[LabelKind, Sequence[str]] = {"tag": ("tags", "suggested"), "class": ("classes",)}


@dataclass(frozen=True)
class Mark:
    """The tags and classes that saved models give to a segment, each with a confidence from 0 to 1."""

    content: int
    start: float
    end: float
    tags: Mapping[str, float] = field(default_factory=dict)
    """Tags that the segment was given."""
    classes: Mapping[str, float] = field(default_factory=dict)
    """Classes that the segment was given, as `pets:rex`."""
    suggested: Mapping[str, float] = field(default_factory=dict)
    """Tags that the owner is asked about."""


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

    def runs() -> dict[LabelKind, str]:
        table = tables.find(TableKind.MARKS)
        wanted = table and table.search().where(f"content = {NO_SEGMENT}").select([*RUNS.values()])
        rows = wanted.to_arrow().to_pylist() if wanted else []
        return {kind: row[column] for kind, column in RUNS.items() for row in rows if row[column]}

    return tables.kept(TableKind.MARKS, "runs", runs).get(kind, "")


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
    import pyarrow.compute as pc

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
    import pyarrow.compute as pc  # only where marks are written: it takes 90 ms

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
    """Makes LanceDB indexes of the lists of names if there are many marks: searches then need not read each mark."""
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
    """Deletes the marks of all contents that are not in `used`."""
    table = tables.find(TableKind.MARKS)
    if table is None:
        return
    stored = table.search().select(["content"]).to_arrow()["content"]
    orphans = set(np.unique(stored.to_numpy()).tolist()) - {NO_SEGMENT, *used}
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
