"""Finds problems of an index on disk, and mends them. Reads every file, whatever its state.

Knows how the tables belong together, and nothing of videos or models. Everything readable is kept; the rest is removed,
so that the next run makes it again.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from vidfind.commands import adapter_command, delete_command, index_command
from vidfind.errors import IndexDamaged, IndexMismatch, Problem, StorageError
from vidfind.store.folder import KEEP_VERSIONS, leftovers, require_index, writing_lock
from vidfind.store.memory import LEFT_OUT_FILE, read_left_out
from vidfind.store.mending.mend import Part, check_values, drop_indexes, mend_table, some
from vidfind.store.nearest import try_indexes
from vidfind.store.places.path import IndexPath, delete_entry, place_errors
from vidfind.store.places.table_files import is_made, is_whole
from vidfind.store.settings import (
    COPY_FILE,
    NEXT_FILE,
    SETTINGS_FILE,
    Generation,
    adapter_file_name,
    keep_adapter,
    read_generation,
    write_generation,
)
from vidfind.store.store import Store
from vidfind.store.tables import (
    REQUIRED,
    TableKind,
    VideoRow,
    connect,
    open_table,
    table_errors,
    table_name,
)
from vidfind.store.writer import StoreWriter
from vidfind.system.paths import home

# float16 keeps three digits of each number; the length of a whole vector is far closer to 1 than this.
LENGTH_TOLERANCE = 0.01
REMEDIES = {
    TableKind.LABELS: "what can still be read of it is kept; tags that are lost can be imported again",
    TableKind.MARKS: "what can still be read of it is kept; the models that are trained next make the rest again",
}


def check_index(path: IndexPath) -> list[Problem]:
    """Reads the whole index at `path` and returns its problems. Takes no lock.

    Their `mend` must run while the lock is held: see `mend_index`. Raises IndexNotFound, and StorageError if the disk
    or the permissions prevent reading."""
    require_index(path)
    with place_errors(path):
        return list(_problems(path))


def mend_index(path: IndexPath) -> list[str]:
    """Mends the index at `path` as far as possible; returns a line for each thing done.

    Raises IndexNotFound, IndexBusy while another process writes to it, and StorageError."""
    require_index(path)
    with writing_lock(path), place_errors(path):
        # Each problem is mended before the next search: rows can be compared only when their tables are readable.
        return [problem.mend() for problem in _problems(path) if problem.mend]


def _problems(path: IndexPath) -> Iterator[Problem]:
    try:
        generation = read_generation(path)
    except IndexMismatch as error:
        yield Problem(str(error), "only a newer vidfind can read it")
        return
    except IndexDamaged as error:
        copied = _read_copy(path)
        if copied:
            yield Problem(error.reason, "its copy takes its place", partial(_restore_settings, path, copied))
            yield from _problems_with(path, copied)
            return
        again = f"{delete_command(path)} && {index_command(path)}"
        remedy = f"what the index was made with is not known any more. To make it again: {again}"
        yield Problem(error.reason, remedy)
        return
    yield from _problems_with(path, generation)


def _read_copy(path: IndexPath) -> Generation | None:
    """Returns the settings in their copy, if its tables are there."""
    with suppress(FileNotFoundError, IndexMismatch, IndexDamaged):
        copied = read_generation(path, COPY_FILE)
        if all((path / f"{name}.lance").is_dir() for name in (table_name(kind, copied.number) for kind in REQUIRED)):
            return copied
    return None


def _restore_settings(path: IndexPath, generation: Generation) -> str:
    write_generation(path, generation)
    return f"Put the copy of {SETTINGS_FILE} in its place."


def _problems_with(path: IndexPath, generation: Generation) -> Iterator[Problem]:
    """Finds the problems of an index whose settings are readable."""
    yield from _problems_of(Part(path, generation))
    try:
        begun = read_generation(path, NEXT_FILE)
    except FileNotFoundError:
        pass
    except (IndexMismatch, IndexDamaged) as error:
        yield Problem(
            f"an encoding with another adapter was begun and cannot be finished: {error}",
            f"it is given up. To begin again: {adapter_command(path, 'NAME')}",
            partial(_give_up, path),
        )
    else:
        yield from _problems_of(Part(path, begun, is_unfinished=True))
    try:
        read_left_out(path)
    except IndexDamaged as error:
        file = path / LEFT_OUT_FILE
        yield Problem(
            error.reason, "it is deleted: what you removed or excluded is indexed again", partial(_delete, [file])
        )
    if found := _find_leftovers(path):
        names = some(entry.name for entry in found)
        yield Problem(f"files that are of no use any more: {names}", "they are deleted", partial(_delete, found))


def _give_up(path: IndexPath) -> str:
    (path / NEXT_FILE).unlink()  # its tables are leftovers from now on
    return "Gave up an encoding that could not be finished. Searches use the same vectors as before."


def _find_leftovers(path: IndexPath) -> list[IndexPath]:
    hour_ago = time.time() - KEEP_VERSIONS.total_seconds()
    try:
        parts = [file for file in sorted((home() / "adapters").glob("*.part")) if file.stat().st_mtime < hour_ago]
        return [*leftovers(path), *parts]
    except (IndexMismatch, IndexDamaged, FileNotFoundError):  # it is unknown what is in use, or it is just changing
        return []


def _delete(entries: Iterable[IndexPath]) -> str:
    names = some(entry.name for entry in entries)
    for entry in entries:
        delete_entry(entry)
    return f"Deleted files that were of no use any more: {names}."


def _problems_of(part: Part) -> Iterator[Problem]:
    for kind in TableKind:
        name = table_name(kind, part.generation.number)
        if kind not in REQUIRED and not is_made(part.path / f"{name}.lance"):
            continue
        if reason := _table_trouble(part.path, name, kind):
            yield Problem(
                f"the table {name} cannot be read in full: {reason}",
                REMEDIES.get(kind, "what can still be read of it is kept, and the next run makes the rest again"),
                partial(mend_table, part, kind),
            )
        elif reason := _index_trouble(part.path, name, kind):
            yield Problem(
                f"the search index of the table {name} cannot be used: {reason}",
                "it is deleted, and the next run makes it again where it is of use",
                partial(drop_indexes, part.path, name, kind),
            )
        elif bad := _bad_versions(part.path, name, kind):
            yield Problem(
                f"earlier versions of the table {name} cannot be read, which keeps it from being tidied up",
                "they are deleted; nobody needs them",
                partial(_delete, bad),
            )
    with suppress(IndexDamaged):  # as long as tables are not mended, there is nothing to compare
        yield from _row_problems(part, part.open())
    yield from _adapter_problems(part)


# Tables


def _table_trouble(path: IndexPath, name: str, kind: TableKind) -> str:
    """Returns why a table cannot be read completely; empty if it can."""
    try:
        with table_errors(path):
            for batch in open_table(connect(path), name, kind).search().to_batches():
                check_values(kind, batch)
        return ""
    except IndexDamaged as error:
        return error.reason


def _index_trouble(path: IndexPath, name: str, kind: TableKind) -> str:
    """Returns why searches through the indexes of a table fail; empty if they work, or if there are none."""
    try:
        with table_errors(path):
            table = open_table(connect(path), name, kind)
            if table.list_indices():
                files = (path / f"{name}.lance/_indices").rglob("*")
                if cut := [file.name for file in files if isinstance(file, Path) and not is_whole(file)]:
                    raise ValueError(f"{some(cut)} is cut short")
                try_indexes(table)
        return ""
    except IndexDamaged as error:
        return error.reason


def _bad_versions(path: IndexPath, name: str, kind: TableKind) -> list[IndexPath]:
    """Returns the file lists of earlier versions of a table that cannot be read. Raises StorageError."""
    with table_errors(path):
        table = open_table(connect(path), name, kind)
    manifests: list[IndexPath] = [*(path / f"{name}.lance").glob("_versions/*.manifest")]
    _, *earlier = sorted(manifests, key=str)  # their numbers count down

    def is_bad(manifest: IndexPath) -> bool:
        try:
            with place_errors(path):
                table.checkout(2**64 - 1 - int(manifest.stem))
            return not manifest.read_bytes().endswith(b"LANC")  # takes zeros for a table without rows
        except StorageError:  # the disk or the server is at fault
            raise
        except Exception:  # whatever LanceDB raises for one that is damaged
            return True

    return [manifest for manifest in earlier if is_bad(manifest)]


# Rows


def _row_problems(part: Part, store: Store) -> Iterator[Problem]:
    rows = store.videos()
    counts: Counter[int] = Counter()
    bad: set[int] = set()
    for contents, _, vectors in store.segments():
        counts.update(contents.tolist())
        is_unit = np.abs(np.linalg.norm(vectors, axis=1) - 1) < LENGTH_TOLERANCE  # False for what is no number
        bad.update(contents[~is_unit].tolist())

    now = store.videos()  # another process may be running: files that it has just replaced are no problem
    same = [row for path, row in rows.items() if now.get(path) == row and not row.failed]
    lacking = [row for row in same if counts[row.content] != row.segments]
    broken = [row for row in same if row.content in bad and row not in lacking]
    again = f"they are forgotten. To encode them again: {part.command(rows.values())}"
    for chosen, text in ((lacking, "videos without vectors, or without some"), (broken, "videos with broken vectors")):
        if chosen:
            yield Problem(f"{text}: {_names(chosen)}", again, partial(_forget, part, store, chosen))
    orphans = counts.keys() - {row.content for row in [*rows.values(), *now.values()]} - store.removed().keys()
    if orphans:
        yield Problem(
            f"vectors that belong to no video: {sum(counts[content] for content in orphans)}, as a run that was killed "
            "leaves them, or one that is at work now",
            "they are deleted, as by the next run",
            partial(_clear, store),
        )


def _names(rows: Iterable[VideoRow]) -> str:
    return some(str(row.path) for row in rows)


def _forget(part: Part, store: Store, rows: list[VideoRow]) -> str:
    command = part.command(store.videos().values())
    writer = StoreWriter(store)
    writer.remove(row.path for row in rows)
    writer.compact()
    return f"Forgot videos without whole vectors: {_names(rows)}. To encode them again: {command}"


def _clear(store: Store) -> str:
    StoreWriter(store).compact()
    return "Deleted vectors that belonged to no video."


# The copy of the adapter


def _adapter_problems(part: Part) -> Iterator[Problem]:
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
        yield Problem(text, f"there is no other copy. To encode the index without: {without}")


def _has_content(file: IndexPath, name: str) -> bool:
    """Whether a file exists and has the content that the name of an adapter's copy states."""
    if isinstance(file, Path):
        return file.is_file() and adapter_file_name(file) == name
    with suppress(FileNotFoundError), tempfile.TemporaryDirectory(prefix="vidfind-") as folder:
        copy = Path(folder, name)
        copy.write_bytes(file.read_bytes())
        return adapter_file_name(copy) == name
    return False


def _restore(path: IndexPath, name: str, source: Path) -> str:
    delete_entry(path / name)
    keep_adapter(path, source, name)
    return f"Copied the index's adapter again from {source}."
