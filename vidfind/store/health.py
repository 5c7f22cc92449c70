"""What is wrong with an index on disk, and how it is mended: every file of it is read, whatever state it is in.

Knows how the tables belong together, and nothing of videos or models. What can be kept is kept; what cannot is
forgotten, so that the next run makes it again.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidfind.errors import IndexDamaged, IndexMismatch
from vidfind.store.nearest import try_indexes
from vidfind.store.settings import (
    COPY_FILE,
    NEXT_FILE,
    SETTINGS_FILE,
    Generation,
    adapter_command,
    adapter_file_name,
    delete_command,
    index_option,
    keep_adapter,
    read_generation,
    write_generation,
)
from vidfind.store.store import (
    KEEP_VERSIONS,
    Store,
    delete_entry,
    litter,
    outer_folders,
    require_index,
    settings_options,
    writing_lock,
)
from vidfind.store.tables import (
    VIDEOS,
    VideoRow,
    connect,
    is_whole,
    naming_damage,
    open_table,
    rows_of,
    segments_schema,
    table_names,
)
from vidfind.system.paths import home
from vidfind.system.storage import naming_trouble

# float16 keeps three digits of each number; the length of a whole vector is far closer to 1 than this.
LENGTH_TOLERANCE = 0.01
NAMES_SHOWN = 3
# A table that cannot be read at once is read in pieces of so many rows, and smaller ones where that fails.
ROWS_A_PIECE = 4096


@dataclass(frozen=True)
class Problem:
    """What is wrong with an index, and what mending will do about it, each for users."""

    text: str
    remedy: str
    mend: Callable[[], str | None] = field(repr=False, compare=False)
    """Does it, inside the lock, and says what was done; None where there is nothing to be done."""


def check_index(path: Path) -> list[Problem]:
    """Reads all of the index at `path` and finds what is wrong; nothing if all is well. Takes no lock.

    Raises IndexNotFound, and StorageError where the disk or the rights do not let it be read."""
    require_index(path)
    with naming_trouble(path):
        return list(_problems(path))


def mend_index(path: Path) -> list[str]:
    """Mends the index at `path` as far as it can be; a line for each thing done.

    Raises IndexNotFound, IndexBusy while another process writes to it, and StorageError."""
    require_index(path)
    with writing_lock(path), naming_trouble(path):
        # Each problem is mended before the next is looked for: rows are compared once their tables can be read.
        return [done for problem in _problems(path) if (done := problem.mend())]


def _problems(path: Path) -> Iterator[Problem]:
    try:
        generation = read_generation(path)
    except IndexMismatch as error:
        yield Problem(str(error), "nothing: only a newer vidfind can read it", _do_nothing)
        return
    except IndexDamaged as error:
        copied = _read_copy(path)
        if copied:
            yield Problem(error.reason, "its copy takes its place", partial(_restore_settings, path, copied))
            yield from _problems_with(path, copied)
            return
        again = f"{delete_command(path)} && vidfind index FOLDERS{index_option(path)}"
        remedy = f"nothing: what the index was made with is not known any more. To make it again: {again}"
        yield Problem(error.reason, remedy, _do_nothing)
        return
    yield from _problems_with(path, generation)


def _read_copy(path: Path) -> Generation | None:
    """What the copy of the settings says, if the tables that it is about are there."""
    with suppress(FileNotFoundError, IndexMismatch, IndexDamaged):
        copied = read_generation(path, COPY_FILE)
        if all((path / f"{name}.lance").is_dir() for name in table_names(copied.number)):
            return copied
    return None


def _restore_settings(path: Path, generation: Generation) -> str:
    write_generation(path, generation)
    return f"Put the copy of {SETTINGS_FILE} in its place."


def _problems_with(path: Path, generation: Generation) -> Iterator[Problem]:
    """What else is wrong with an index of which it is known what it was made with."""
    yield from _problems_of(_Part(path, generation))
    try:
        begun = read_generation(path, NEXT_FILE)
    except FileNotFoundError:
        pass
    except (IndexMismatch, IndexDamaged) as error:
        yield Problem(
            f"an encoding with another adapter was begun and cannot be finished: {error}",
            f"it is given up. To begin again: vidfind index --adapter NAME{index_option(path)}",
            partial(_give_up, path),
        )
    else:
        yield from _problems_of(_Part(path, begun, is_unfinished=True))
    if found := _find_litter(path):
        names = _some(entry.name for entry in found)
        yield Problem(f"files that are of no use any more: {names}", "they are deleted", partial(_delete, found))


def _do_nothing() -> None:
    return None


def _give_up(path: Path) -> str:
    (path / NEXT_FILE).unlink()  # its tables are litter from now on
    return "Gave up an encoding that could not be finished. Searches use the same vectors as before."


def _find_litter(path: Path) -> list[Path]:
    hour_ago = time.time() - KEEP_VERSIONS.total_seconds()
    try:
        parts = [file for file in sorted((home() / "adapters").glob("*.part")) if file.stat().st_mtime < hour_ago]
        return [*litter(path), *parts]
    except (IndexMismatch, IndexDamaged, FileNotFoundError):  # it is not known what is in use, or just changing
        return []


def _delete(entries: Iterable[Path]) -> str:
    names = _some(entry.name for entry in entries)
    for entry in entries:
        delete_entry(entry)
    return f"Deleted files that were of no use any more: {names}."


def _some(names: Iterable[str]) -> str:
    """A few of the names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - NAMES_SHOWN} more" if len(every) > NAMES_SHOWN else ""
    return ", ".join(every[:NAMES_SHOWN]) + more


# One generation


@dataclass(frozen=True)
class _Part:
    """The tables and the adapter of one generation of an index."""

    path: Path
    generation: Generation
    is_unfinished: bool = False

    def open(self) -> Store:
        return Store(self.path, self.generation, connect(self.path), self.is_unfinished)

    def command(self, rows: Iterable[VideoRow]) -> str:
        """What encodes again what is missing; `rows` are all that was known of videos."""
        if self.is_unfinished:
            return adapter_command(self.path, self.generation.settings.adapter)
        folders = [str(folder) for folder in outer_folders(rows)] or ["FOLDERS"]
        return shlex.join(["vidfind", "index", *folders]) + index_option(self.path)


def _problems_of(part: _Part) -> Iterator[Problem]:
    for name in table_names(part.generation.number):
        if reason := _table_trouble(part.path, name):
            yield Problem(
                f"the table {name} cannot be read in full: {reason}",
                "what can still be read of it is kept, and the next run makes the rest again",
                partial(_mend_table, part, name),
            )
        elif reason := _index_trouble(part.path, name):
            yield Problem(
                f"the search index of the table {name} cannot be used: {reason}",
                "it is deleted, and the next run makes it again where it is of use",
                partial(_drop_indexes, part.path, name),
            )
        elif bad := _bad_versions(part.path, name):
            yield Problem(
                f"earlier versions of the table {name} cannot be read, which keeps it from being tidied up",
                "they are deleted; nobody needs them",
                partial(_delete, bad),
            )
    with suppress(IndexDamaged):  # as long as tables are not mended, there is nothing to compare
        yield from _row_problems(part, part.open())
    yield from _adapter_problems(part)


# Tables


def _table_trouble(path: Path, name: str) -> str:
    """Why a table cannot be read to its last byte; empty if it can."""
    try:
        with naming_damage(path):
            for batch in open_table(connect(path), name).search().to_batches():
                _check_values(name, batch)
        return ""
    except IndexDamaged as error:
        return error.reason


def _index_trouble(path: Path, name: str) -> str:
    """Why searches through the indexes of a table fail; empty if they do not, or there are none."""
    try:
        with naming_damage(path):
            table = open_table(connect(path), name)
            if table.list_indices():
                if cut := [file.name for file in (path / f"{name}.lance/_indices").rglob("*") if not is_whole(file)]:
                    raise ValueError(f"{_some(cut)} is cut short")
                try_indexes(table)
        return ""
    except IndexDamaged as error:
        return error.reason


def _drop_indexes(path: Path, name: str) -> str:
    with naming_damage(path):
        table = open_table(connect(path), name)
        for index in table.list_indices():
            table.drop_index(index.name)
        for entry in (path / f"{name}.lance/_indices").glob("*"):
            delete_entry(entry)
    return f"Deleted the search index of the table {name}; the next run makes it again where it is of use."


def _check_values(name: str, rows: Any) -> None:
    """Raises ValueError, TypeError or OverflowError for rows that can be read, but make no sense."""
    if name.startswith("videos"):
        for _ in rows_of(rows):
            pass


def _bad_versions(path: Path, name: str) -> list[Path]:
    """The lists of files of a table's earlier versions, of those that cannot be read."""
    table = open_table(connect(path), name)
    _, *earlier = sorted((path / f"{name}.lance").glob("_versions/*.manifest"))  # their numbers count down

    def is_bad(manifest: Path) -> bool:
        try:
            table.checkout(2**64 - 1 - int(manifest.stem))
            return not manifest.read_bytes().endswith(b"LANC")  # takes zeros for a table without rows
        except Exception:  # whatever LanceDB raises for one that is damaged
            return True

    return [manifest for manifest in earlier if is_bad(manifest)]


def _mend_table(part: _Part, name: str) -> str:
    """Puts a table of all that can be read of one in its place."""
    path, (videos, _) = part.path, table_names(part.generation.number)
    left = _rows_left(path, name)
    if left is not None:
        _replace_table(path, name, left)
        kept = f"Kept {left.num_rows} rows of the table {name}, all that can be read."
    elif name == videos:
        _replace_table(path, name, VIDEOS.empty_table())
        kept = f"Made the table {name} anew, without videos: nothing of it could be read."
    elif dim := _known_dim(path):
        _replace_table(path, name, segments_schema(dim).empty_table())
        kept = f"Made the table {name} anew, without vectors: nothing of it could be read."
    else:  # without videos, the index is made anew by the next run, for vectors of whatever size
        _replace_table(path, name, segments_schema(1).empty_table())
        _replace_table(path, videos, VIDEOS.empty_table())
        options = shlex.join(settings_options(part.generation.settings))
        again = f"vidfind index FOLDERS {options}{index_option(path)}"
        return f"Emptied the index: nothing of the table {name} could be read. To make it again: {again}"
    rows: Iterable[VideoRow] = ()
    with suppress(IndexDamaged):  # the other table may be damaged too
        rows = part.open().videos().values()
    return f"{kept} What is missing is made again by {part.command(rows)}"


def _replace_table(path: Path, name: str, rows: Any) -> None:
    with naming_damage(path):
        mended = path / f"{name}.mended.lance"
        delete_entry(mended)
        connect(path).create_table(mended.stem, rows)
        delete_entry(path / f"{name}.lance")
        mended.replace(path / f"{name}.lance")


def _known_dim(path: Path) -> int | None:
    """How many numbers a vector has, from any table of segments that tells."""
    for table in sorted(path.glob("segments*.lance")):
        with suppress(Exception):  # whatever LanceDB raises for a table that is damaged
            return int(open_table(connect(path), table.stem).schema.field("vector").type.list_size)
    return None


def _rows_left(path: Path, name: str) -> Any | None:
    """All rows that can be read in any version of a table, as an Arrow table; None if not even their columns can.

    Where versions differ, the newest is right."""
    original, scratch = path / f"{name}.lance", path / f"{name}.mending.lance"
    delete_entry(scratch)
    if not original.is_dir():
        return None
    shutil.copytree(original, scratch, copy_function=_link)
    found: list[Any] = []
    for manifest in sorted(scratch.glob("_versions/*.manifest")):  # their numbers count down: the newest comes first
        pieces, is_whole = _readable(path, scratch.stem)
        found.extend(pieces)
        if is_whole:
            break
        manifest.unlink()  # and look at the version before
    delete_entry(scratch)
    return _first_of_each(pa.concat_tables(found)) if found else None


def _readable(path: Path, name: str) -> tuple[list[Any], bool]:
    """What can be read of the newest version of a table, in pieces, and whether that is all."""
    try:
        table = open_table(connect(path), name)
        count = table.count_rows()
        schema = VIDEOS if name.startswith("videos") else table.schema
    except Exception:  # whatever LanceDB raises for a table that is damaged
        return [], False

    def read(start: int, length: int) -> Any | None:
        try:
            rows = table.take_offsets(list(range(start, min(start + length, count)))).to_arrow()
            _check_values(name, rows)
            return _with_columns(rows, schema)
        except Exception:
            return None

    pieces = [schema.empty_table()]
    start = 0
    while start < count:
        length = ROWS_A_PIECE
        while length and (rows := read(start, length)) is None:
            length //= 2
        if length:
            pieces.append(rows)
        start = start + length if length else _end_of_bad(lambda place: read(place, 1) is not None, start, count)
    return pieces, sum(piece.num_rows for piece in pieces) == count


def _end_of_bad(is_good: Callable[[int], bool], start: int, stop: int) -> int:
    """Where rows can be read again after one that cannot: a damaged file has many that cannot, so in growing strides.

    Good ones between two bad ones may be passed over."""
    stride = 1
    while start + stride < stop and not is_good(start + stride):
        stride *= 2
    bad, end = start + stride // 2, min(start + stride, stop)
    while end - bad > 1:
        middle = (bad + end) // 2
        bad, end = (bad, middle) if is_good(middle) else (middle, end)
    return end


def _with_columns(rows: Any, schema: Any) -> Any:
    """Rows of a table with the columns of `schema`, where an older format has fewer."""
    for name in set(schema.names) - set(rows.schema.names):
        rows = rows.append_column(name, pa.array([""] * rows.num_rows, pa.string()))
    return rows.select(schema.names).cast(schema)


def _first_of_each(rows: Any) -> Any:
    """Rows without those of which there is an earlier one: of the same video, or the same segment."""
    key = ["path"] if "path" in rows.schema.names else ["content", "start"]
    first: dict[tuple[object, ...], int] = {}
    for place, values in enumerate(zip(*(rows[name].to_pylist() for name in key), strict=True)):
        first.setdefault(values, place)
    return rows.take(pa.array(first.values(), pa.int64()))  # of no rows, the type would be null


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk that has no links
        shutil.copy2(source, target)


# Rows


def _row_problems(part: _Part, store: Store) -> Iterator[Problem]:
    rows = store.videos()
    counts: Counter[int] = Counter()
    bad: set[int] = set()
    for contents, _, vectors in store.segments():
        counts.update(contents.tolist())
        is_unit = np.abs(np.linalg.norm(vectors, axis=1) - 1) < LENGTH_TOLERANCE  # False for what is no number
        bad.update(contents[~is_unit].tolist())

    now = store.videos()  # another process may be at work: what it has replaced meanwhile is no problem
    same = [row for path, row in rows.items() if now.get(path) == row and not row.failed]
    lacking = [row for row in same if counts[row.content] != row.segments]
    broken = [row for row in same if row.content in bad and row not in lacking]
    again = f"they are forgotten. To encode them again: {part.command(rows.values())}"
    for chosen, text in ((lacking, "videos without vectors, or without some"), (broken, "videos with broken vectors")):
        if chosen:
            yield Problem(f"{text}: {_names(chosen)}", again, partial(_forget, part, store, chosen))
    orphans = counts.keys() - {row.content for row in [*rows.values(), *now.values()]}
    if orphans:
        yield Problem(
            f"vectors that belong to no video: {sum(counts[content] for content in orphans)}, as a run that was killed "
            "leaves them, or one that is at work now",
            "they are deleted, as by the next run",
            partial(_clear, store),
        )


def _names(rows: Iterable[VideoRow]) -> str:
    return _some(str(row.path) for row in rows)


def _forget(part: _Part, store: Store, rows: list[VideoRow]) -> str:
    command = part.command(store.videos().values())
    store.remove(row.path for row in rows)
    store.compact()
    return f"Forgot videos without whole vectors: {_names(rows)}. To encode them again: {command}"


def _clear(store: Store) -> str:
    store.compact()
    return "Deleted vectors that belonged to no video."


# The copy of the adapter


def _adapter_problems(part: _Part) -> Iterator[Problem]:
    name = part.generation.adapter_file
    own = part.path / name
    if not name or _has_content(own, name):
        return
    state = "does not hold what its name says" if own.is_file() else "is missing"
    text = f"the index's copy of its adapter {state}: {own}"
    elsewhere = [*(home() / "adapters").glob("*.safetensors"), *part.path.parent.glob(f"*/{name}")]
    source = next((file for file in elsewhere if file != own and _has_content(file, name)), None)
    if source:
        yield Problem(text, f"it is copied again from {source}", partial(_restore, part.path, name, source))
    else:
        without = adapter_command(part.path, None)
        yield Problem(text, f"nothing: there is no other copy. To encode the index without: {without}", _do_nothing)


def _has_content(file: Path, name: str) -> bool:
    """Whether a file is there with the content that the name of an adapter's copy says."""
    return file.is_file() and adapter_file_name(file) == name


def _restore(path: Path, name: str, source: Path) -> str:
    delete_entry(path / name)
    keep_adapter(path, source, name)
    return f"Copied the index's adapter again from {source}."
