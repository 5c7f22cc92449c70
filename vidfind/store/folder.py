"""The folder of an index: its lock, the files and tables of each generation, leftovers, deleting all of it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from vidfind.commands import index_command
from vidfind.errors import BadInput, IndexBusy, IndexNotFound
from vidfind.store.memory import LEFT_OUT_FILE, removed_file
from vidfind.store.places.lease import is_of_lease, leased
from vidfind.store.places.path import (
    IndexPath,
    delete_entry,
    machine_folder,
    place_errors,
    remove_empty_folder,
    write_text,
)
from vidfind.store.places.progress import RUN_FILE
from vidfind.store.settings import (
    COPY_FILE,
    NEXT_FILE,
    SETTINGS_FILE,
    Generation,
    begun_generation,
    is_index,
    keep_adapter,
    read_generation,
)
from vidfind.store.tables import (
    REQUIRED,
    VIDEOS,
    TableKind,
    connect,
    make_table,
    path_from_text,
    path_to_text,
    segments_schema,
    table_name,
)
from vidfind.system.storage import lock, storage_errors

LOCK_FILE = "writing.lock"
SPEED_FILE = "speed.json"
PRECISION_FILE = "precision.json"
LINKS_FILE = "links.json"
MODELS_FOLDER = "models"
"""Tags and classes that were learned, each run in a file named after it."""
QUERIES_FILE = "queries.sqlite"
"""Vectors of earlier queries: see search/kept.py."""
QUERIES_FOLDER = "queries"
"""The same of an index in object storage: a file for each query."""
QUERIES_SHARED = 10_000
# What may be in the folder of an index besides the files below: tables of all generations, adapters, levels of words,
# and what was removed, each also half written.
OWN_FILES = re.compile(
    r"(videos|segments|labels|marks)(-\d+)?(\.mend\w+)?\.lance|\.?adapter-\w+\.safetensors(\.part)?|\.?removed(-\d+)?\.arrow(\.part)?"
    r"|\.?match(-\d+)?\.npz(\.part)?|\.(settings|speed|precision|links|left-out|run).*\.part"
)
OTHER_FILES = frozenset(
    {
        SETTINGS_FILE,
        NEXT_FILE,
        COPY_FILE,
        SPEED_FILE,
        PRECISION_FILE,
        LINKS_FILE,
        QUERIES_FILE,
        LEFT_OUT_FILE,
        RUN_FILE,
        LOCK_FILE,
    }
)
OWN_FOLDERS = {
    MODELS_FOLDER: re.compile(r"\.?(tags|classes)-\w+\.npz(\.part)?"),
    QUERIES_FOLDER: re.compile(r"[0-9a-f]+"),
}
"""The folders in an index, and what vidfind keeps in each. Whatever else is there belongs to somebody else."""
SHOWN = 3
"""So many names of files that are not vidfind's are shown."""
PASSING_FILES = re.compile(r".*\.(part|mend\w+\.lance)")
"""Those of them that exist only while something is written."""
HALF_WRITTEN = re.compile(r"\.tmp.*|.*#\d+")
"""Names of files that LanceDB has not finished. After a kill, LanceDB never deletes them."""
# Longer than any search takes: a search that began before a compaction still finds its files.
KEEP_VERSIONS = timedelta(hours=1)


def delete_index(path: IndexPath) -> None:
    """Deletes the index at `path`, even if it cannot be opened, and nothing else.

    Raises IndexNotFound, IndexBusy while another process writes to it, StorageError."""
    if not is_index(path):
        raise IndexNotFound(f"There is no index {path.name!r}: nothing to delete.")
    with writing_lock(path), place_errors(path):
        (path / SETTINGS_FILE).unlink()  # first: from here on it is no index
        for name in OWN_FOLDERS:
            _empty(path / name)
        entries: list[IndexPath] = [*path.iterdir()]
        for entry in entries:
            if entry.name not in (*OWN_FOLDERS, LOCK_FILE) and _has_own_name(entry.name):
                delete_entry(entry)
        if not isinstance(path, Path):
            shutil.rmtree(machine_folder(path), ignore_errors=True)
        with suppress(PermissionError):  # Windows keeps a file that is open
            (path / LOCK_FILE).unlink(missing_ok=True)  # last, and while it is held: see writing_lock
    remove_empty_folder(path)


def _empty(folder: IndexPath) -> None:
    """Deletes what vidfind has put into a folder of an index, and the folder if nothing else is in it."""
    if folder.is_dir():
        foreign = [entry for entry in folder.iterdir() if not OWN_FOLDERS[folder.name].fullmatch(entry.name)]
        if not foreign:
            delete_entry(folder)  # with one request for a thousand files
            return
        for entry in folder.iterdir():
            if entry not in foreign:
                delete_entry(entry)


def _is_own(entry: IndexPath) -> bool:
    """Whether vidfind has made a file or a folder, which lies in the folder of an index, with all that is in it."""
    if entry.name in OWN_FOLDERS:
        return entry.is_dir() and all(_has_own_name(f"{entry.name}/{file.name}") for file in entry.iterdir())
    return _has_own_name(entry.name)


def _has_own_name(inside: str) -> bool:
    """Whether a file is vidfind's, by its path from the folder of an index, with `/` between its parts."""
    first, _, rest = inside.partition("/")
    if own := OWN_FOLDERS.get(first):
        return bool(own.fullmatch(rest))
    return first in OTHER_FILES or bool(OWN_FILES.fullmatch(first)) or is_of_lease(first)


def require_free(path: IndexPath) -> None:
    """Raises BadInput if other data lie where an index is to be made in object storage, where folders have no owner.

    Files of vidfind itself, as a run that was killed leaves them, may be there."""
    if isinstance(path, Path) or is_index(path):
        return
    with place_errors(path):
        foreign = sorted(entry.name for entry in path.iterdir() if not _is_own(entry))
    if foreign:
        more = f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else ""
        raise BadInput(
            f"No index can be made at {path}: other data are there ({', '.join(foreign[:SHOWN])}{more}). Give --index "
            f"a folder of its own, such as {path / 'vidfind'}."
        )


def require_index(path: IndexPath) -> None:
    """Raises IndexNotFound, with the existing indexes and the command that makes this one, if there is no index."""
    if not isinstance(path, Path):
        if is_index(path):
            return
        path.require_bucket()
        raise IndexNotFound(f"There is no index {path.name!r} yet. Make it: {index_command(path)}")
    with storage_errors(path):
        if is_index(path):
            return
        others = sorted(entry.parent.name for entry in path.parent.glob(f"*/{SETTINGS_FILE}"))
    known = f" (there is: {', '.join(others)})" if others else ""
    raise IndexNotFound(f"There is no index {path.name!r} yet{known}. Make it: {index_command(path)}")


@contextmanager
def writing_lock(path: IndexPath) -> Iterator[None]:
    """Locks the index at `path` for writing, whatever its state. Raises IndexBusy if it is locked: at once on disk, and
    within seconds in object storage."""
    if not isinstance(path, Path):
        with leased(path):
            yield
        return
    try:
        with storage_errors(path):
            file = open(path / LOCK_FILE, "ab")  # noqa: SIM115, closed below
    except FileNotFoundError as error:
        raise IndexNotFound(f"There is no index {path.name!r} any more.") from error
    with file:
        try:
            with storage_errors(path):
                lock(file.fileno())
                is_ours = os.path.samestat(os.fstat(file.fileno()), os.stat(path / LOCK_FILE))
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:  # taken, or deleted together with the index between the opening and the locking
            raise IndexBusy(f"Another vidfind is writing to the index {path.name!r}: wait until it is done.")
        yield  # closing the file, or the end of the process however it ends, gives the lock back


def make_generation(path: IndexPath, generation: Generation, dim: int, adapter: Path | None) -> Generation:
    """Makes the empty tables of a generation, for vectors of length `dim`, and its copy of the file `adapter`.

    Returns the generation with the name of the copy. Raises BadInput if the file changes meanwhile, StorageError."""
    database = connect(path)
    removed_file(path, generation.number).unlink(missing_ok=True)
    delete_entry(path / f"{table_name(TableKind.MARKS, generation.number)}.lance")
    levels_file(path, generation.number).unlink(missing_ok=True)
    for kind, schema in ((TableKind.VIDEOS, VIDEOS), (TableKind.SEGMENTS, segments_schema(dim))):
        make_table(path, database, table_name(kind, generation.number), schema)
    return dataclasses.replace(generation, adapter_file=keep_adapter(path, adapter) if adapter else "")


def model_file(path: IndexPath, run: str) -> IndexPath:
    """The file of what a run has learned; its name begins with what that is, `tags` or `classes`."""
    return path / MODELS_FOLDER / f"{run}.npz"


def levels_file(path: IndexPath, number: int) -> IndexPath:
    """The file of the levels of a generation, which the match of words is counted from: see words/levels.py."""
    return path / (f"match-{number}.npz" if number else "match.npz")


def drop_unfinished(path: IndexPath) -> None:
    """Deletes the unfinished generation of an index; does nothing if there is none."""
    with suppress(FileNotFoundError):
        begun = begun_generation(path)
        (path / NEXT_FILE).unlink()  # first: from here on there is none
        if begun is None:
            return
        for kind in (*REQUIRED, TableKind.MARKS):
            delete_entry(path / f"{table_name(kind, begun.number)}.lance")
        removed_file(path, begun.number).unlink(missing_ok=True)
        levels_file(path, begun.number).unlink(missing_ok=True)


def write_speed(path: IndexPath, footage: float, elapsed: float) -> None:
    """Stores how fast this machine encodes with the model of the index: seconds of footage, and what they took."""
    folder = machine_folder(path)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SPEED_FILE, json.dumps({"footage": footage, "elapsed": elapsed}))


def read_speed(path: IndexPath) -> float | None:
    """Returns the seconds of footage that the last run encoded per second; None if unknown."""
    try:
        values = json.loads((machine_folder(path) / SPEED_FILE).read_text(encoding="utf-8"))
        return float(values["footage"]) / float(values["elapsed"])
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None


@dataclasses.dataclass(frozen=True)
class Precision:
    """The number format in which the last run encoded videos, in words, and those of runs before, the latest first."""

    words: str
    before: tuple[str, ...] = ()


def write_precision(path: IndexPath, number_format: str, words: str) -> None:
    """Stores the number format of a run, and what a trial of it has found, in words that begin with its name."""
    known = _read_precision(path)
    before = [name for name in [known.get("format"), *known.get("before", [])] if name not in (None, number_format)]
    values = {"format": number_format, "words": words, "before": list(dict.fromkeys(before))}
    if values != known:
        write_text(path / PRECISION_FILE, json.dumps(values))


def read_precision(path: IndexPath) -> Precision | None:
    """Returns what is known of the number formats of the vectors; None if nothing is."""
    try:
        values = _read_precision(path)
        return Precision(str(values["words"]), tuple(map(str, values["before"])))
    except (KeyError, TypeError):
        return None


def _read_precision(path: IndexPath) -> dict[str, Any]:
    try:
        values = json.loads((path / PRECISION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) and isinstance(values.get("before"), list) else {}


def write_links(path: IndexPath, links: Mapping[Path, Path]) -> None:
    """Stores other names of folders and videos: paths through links, with the paths that the index knows."""
    text = json.dumps({path_to_text(link): path_to_text(target) for link, target in links.items()})
    write_text(path / LINKS_FILE, text)


def targets_of(place: Path, links: Mapping[Path, Path]) -> set[Path]:
    """Where the links below a folder lead, and where one leads that the folder lies below."""
    below = {target for link, target in links.items() if link.is_relative_to(place)}
    return below | {target / place.relative_to(link) for link, target in links.items() if place.is_relative_to(link)}


def read_links(path: IndexPath) -> dict[Path, Path]:
    """Returns what `write_links` has stored; nothing if that is missing or damaged, until the next run."""
    try:
        values = json.loads((path / LINKS_FILE).read_text(encoding="utf-8"))
        return {path_from_text(link): path_from_text(target) for link, target in values.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def own_files(path: IndexPath) -> list[IndexPath]:
    """Returns the tables, adapters and unfinished files in the folder of an index, by name."""
    return sorted(entry for entry in path.iterdir() if OWN_FILES.fullmatch(entry.name))


def leftovers(path: IndexPath, keep: timedelta = KEEP_VERSIONS) -> list[IndexPath]:
    """Returns unused files in the folder of an index: tables and adapters that were replaced more than `keep` ago, and
    unfinished files of killed processes. Raises the errors of `read_generation`."""
    used = set()
    for file in (SETTINGS_FILE, NEXT_FILE):
        with suppress(FileNotFoundError):
            generation = read_generation(path, file)
            used |= {f"{table_name(kind, generation.number)}.lance" for kind in TableKind}
            used |= {generation.adapter_file, removed_file(path, generation.number).name}
            used |= {levels_file(path, generation.number).name}
    left = time.time() - keep.total_seconds()
    switched = (path / SETTINGS_FILE).stat().st_mtime

    def since(entry: IndexPath) -> float:
        return entry.stat().st_mtime if PASSING_FILES.fullmatch(entry.name) else switched

    return [entry for entry in own_files(path) if entry.name not in used and since(entry) <= left]


def delete_leftovers(path: IndexPath, keep: timedelta = KEEP_VERSIONS) -> None:
    """Deletes `leftovers`, and unfinished files of LanceDB. Nobody may be writing to the index."""
    for file in path.glob("*.lance/**/*") if isinstance(path, Path) else ():  # object storage has none
        if HALF_WRITTEN.fullmatch(file.name):
            file.unlink(missing_ok=True)
    for entry in leftovers(path, keep):
        delete_entry(entry)
    if not isinstance(path, Path) and len(shared := (path / QUERIES_FOLDER).sizes()) > QUERIES_SHARED:
        ours = [name for name in shared if OWN_FOLDERS[QUERIES_FOLDER].fullmatch(name)]
        for name in sorted(ours, key=lambda name: shared[name].st_mtime)[:-QUERIES_SHARED]:
            (path / QUERIES_FOLDER / name).unlink(missing_ok=True)


def size_of_index(path: IndexPath) -> int:
    """Returns how many bytes an index takes, on disk or in object storage."""
    if not isinstance(path, Path):
        return sum(status.st_size for inside, status in path.sizes().items() if _has_own_name(inside))
    return sum(map(_size_on_disk, path.rglob("*")))


def _size_on_disk(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:  # deleted meanwhile by a run that is at work
        return 0
