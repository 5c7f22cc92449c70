"""The things that a command names: an index, videos of it, a part of a video, and lists of videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind.errors import BadInput, IndexNotFound, Unusable
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.categories.labels import ClassList
    from vidfind.store.store import Store
    from vidfind.store.tables import VideoRow
    from vidfind.tagging.edit import Import
    from vidfind.tagging.lists import Part, VideoFinder

Video = Annotated[str, typer.Argument(metavar="VIDEO", help="A video of the index, or a folder: all videos in it.")]
Tags = Annotated[list[str], typer.Argument(metavar="TAG", help="The tags.")]
Begin = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Only from here on, such as 0:10.")]
Strict = Annotated[bool, typer.Option("--strict", help="End with code 1 if a row cannot be used.")]
End = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only up to here.")]


def open_index(name: str) -> "Store":
    """Returns an index. Raises Unusable if there is none, which ends the program as a wrong command line does."""
    from vidfind.store.store import Store

    try:
        return Store.open(paths.index_path(name))
    except IndexNotFound as error:
        raise Unusable(str(error)) from error


def open_finder(store: "Store", base: Path) -> "VideoFinder":
    """Returns a finder of the videos of an index by paths relative to `base`. Raises Unusable for an empty index."""
    from vidfind.commands import index_command
    from vidfind.tagging.lists import VideoFinder

    finder = VideoFinder(store, base)
    if finder.is_empty:
        raise Unusable(f"The index {store.path.name!r} holds no videos yet. Add some: {index_command(store.path)}")
    return finder


def named_videos(finder: "VideoFinder", video: str) -> "list[VideoRow]":
    """Returns the video that is named, or the videos of a folder. Raises Unusable."""
    from vidfind.display import console

    try:
        named = finder.find(video)
    except BadInput as error:
        if rows := finder.within(video):
            return rows
        raise Unusable(f"{video or 'The path'} {error}") from error
    if named.note:
        console.message(f"{video} {named.note}.")
    return [named.row]


def part_of(begin: str | None, end: str | None, row: "VideoRow") -> "Part":
    """Returns the part of a video between two options. Raises Unusable."""
    from vidfind.display import console
    from vidfind.tagging.lists import read_part

    try:
        part = read_part(begin or "", end or "", row.duration)
    except BadInput as error:
        raise Unusable(f"The part {error}.") from error
    if part.note:
        console.message(f"The part {part.note}.")
    return part


def require_rows(found: "Import | ClassList", shown: str) -> None:
    """Raises Unusable if no row of a list can be used, after showing why. `shown` is the name of the list."""
    from vidfind.display.tagging import show_skipped

    if not found.labels:
        show_skipped(found.skipped)
        what = f"None of the {len(found.skipped)} rows of {shown} can be used." if found.skipped else ""
        raise Unusable(what or f"{shown} has no rows below its header.")
