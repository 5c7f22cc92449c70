"""The things that a command names: an index, videos of it, a part of a video, and lists of videos."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidfind.cli.shared.usage import Command
from vidfind.errors import BadInput, IndexNotFound, Unusable
from vidfind.store.places.path import index_path

if TYPE_CHECKING:
    from vidfind.store.store import Store
    from vidfind.store.tables import VideoRow
    from vidfind.tagging.lists import Part, VideoFinder

VideosAndTags = Annotated[
    list[str],
    typer.Argument(
        metavar="VIDEO TAG",
        help="Videos of the index, or folders or patterns of them, and then tags. -- may stand between.",
    ),
]
Begin = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Only from here on, such as 0:10.")]
End = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only up to here.")]


def open_index(name: str) -> "Store":
    """Returns an index. Raises Unusable if there is none, which ends the program as a wrong command line does."""
    from vidfind.store.store import Store

    try:
        return Store.open(index_path(name))
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


def named_videos(finder: "VideoFinder", named: Sequence[str]) -> "list[VideoRow]":
    """Returns the videos that are named, each once: videos, folders of them, and patterns. Raises Unusable.

    Those that are not in the index are listed, and left out if there are others."""
    from vidfind.display import console
    from vidfind.display.labels.tagging import show_by_name

    rows: dict[Path, VideoRow] = {}
    by_name: dict[str, Path] = {}
    problems = []
    for text in named:
        try:
            found = finder.find_all(text)
        except BadInput as error:
            problems.append(f"{text or 'The path'} {error}")
            continue
        rows |= {one.row.path: one.row for one in found}
        by_name |= dict.fromkeys([text] if found[0].by_name else [], found[0].row.path)
    show_by_name(by_name)
    if not rows:
        raise Unusable("\n".join(problems))
    for problem in problems:
        console.message(f"Left out: {problem}")
    return [*rows.values()]


class TagCommand(Command):
    """A command that takes videos and tags, in which `--` may stand between them."""

    def parse_args(self, context: Any, words: list[str]) -> list[str]:
        at = words.index("--") if "--" in words else len(words)
        return super().parse_args(context, [*words[:at], *["--"] * 2, *words[at + 1 :]] if at < len(words) else words)


def videos_and_tags(store: "Store", words: Sequence[str]) -> "tuple[list[VideoRow], list[str]]":
    """Returns the videos and the tags that a command line names. Raises Unusable, BadParameter.

    All words before `--` are videos. Without it these are the first word, and those behind it that can be no tags."""
    from vidfind.tagging.lists import is_pattern, names_video

    words = [*words[1:]] if words[0] == "--" else [*words]
    finder = open_finder(store, Path())
    if "--" in words:
        count = words.index("--")
        videos, names = words[:count], words[count + 1 :]
    else:
        count = 1
        while count < len(words) and (
            names_video(words[count]) or (is_pattern(words[count]) and finder.names_any(words[count]))
        ):
            count += 1
        videos, names = words[:count], words[count:]
        late = next((name for name in names or words[1:][-1:] if names_video(name)), None)
        if late:
            raise Unusable(f"{late} is a file, and no tag. Name the videos first, and then their tags.")
    if not names:
        raise typer.BadParameter("TAG is missing.")
    return named_videos(finder, videos), list(dict.fromkeys(names))


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


MOST_UNASKED = 20
"""Where nobody can be asked, more than this is deleted only with --yes."""


def ask_before(count: int, yes: bool, question: str, what: str) -> None:
    """Asks at a terminal before so many facts of the owner are deleted; ends the program if not.

    Without a terminal, raises BadInput for many; `what` is what is done, as the beginning of a sentence."""
    if yes:
        return
    if sys.stdin is not None and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
    elif count > MOST_UNASKED:
        raise BadInput(f"{what} must be confirmed: add --yes. Nothing was changed.")
