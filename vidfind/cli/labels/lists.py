"""Lists of tags and classes, as files: what of one cannot be used, and where one is written to."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind.errors import BadInput, Unusable

if TYPE_CHECKING:
    from vidfind.categories.labels import ClassList
    from vidfind.store.store import Store
    from vidfind.tagging.edit import Import

Strict = Annotated[bool, typer.Option("--strict", help="End with code 1 if a row cannot be used.")]


def require_rows(found: "Import | ClassList", shown: str) -> None:
    """Raises Unusable if no row of a list can be used, after showing why. `shown` is the name of the list."""
    from vidfind.display.labels.tagging import show_skipped

    if not found.labels:
        show_skipped(found.skipped)
        what = f"None of the {len(found.skipped)} rows of {shown} can be used." if found.skipped else ""
        raise Unusable(what or f"{shown} has no rows below its header.")


def write_list(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    what: str,
    file: Path | None,
    force: bool,
    as_json: bool,
    gone: int,
) -> None:
    """Writes a list of tags or classes (`what`) to a file, or prints it; `gone`: those of videos not in the index."""
    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.system.storage import write_text
    from vidfind.tagging.edit import list_text
    from vidfind.tagging.lists import JSON_ENDINGS

    text = list_text(rows, columns, as_json or (file is not None and file.name.lower().endswith(JSON_ENDINGS)))
    if file is None or str(file) == "-":
        sys.stdout.write(text)
    else:
        if file.exists() and not force:
            raise Unusable(f"{file} is there already. To replace it, add --force.")
        write_text(file, text)
        console.message(f"Wrote {plural(len(rows), what)} to {file}.")
    if gone:
        console.message(f"{plural(gone, what)} of videos that are not in the index now left out.")


def write_sidecars(store: "Store", folder: Path | None, force: bool, as_json: bool) -> None:
    """Writes the sidecars of all videos with tags into a folder, or beside the videos where it is None."""
    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.tagging.sidecars import sidecars, write_sidecar

    written, there = 0, 0
    for path, names in sidecars(store, folder):
        if path.exists() and not force:
            there += 1
            continue
        try:
            write_sidecar(path, names)
        except BadInput as error:
            console.message(f"Left out: {path} {error}")
            continue
        written += 1
        if as_json:
            console.json_line({"path": path, "tags": names})
    console.message(f"Wrote {plural(written, 'sidecar')}{f' into {folder}' if folder else ' beside the videos'}.")
    if there:
        console.message(f"{plural(there, 'sidecar')} there already stayed as they are. To replace their tags: --force")
