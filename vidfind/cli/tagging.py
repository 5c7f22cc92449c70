"""`vidfind tag`: the tags that an owner gives to videos, one by one or in lists."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind.cli import suggestions
from vidfind.cli.named import (
    Begin,
    End,
    Strict,
    Tags,
    Video,
    named_videos,
    open_finder,
    open_index,
    part_of,
    require_rows,
)
from vidfind.cli.options import IndexName, Json, Quiet, Verbose, Yes
from vidfind.cli.usage import Command, Group
from vidfind.errors import BadInput, ExitCode, Unusable
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.store.store import Store

tags = typer.Typer(name="tag", cls=Group, no_args_is_help=True)

FEW_VIDEOS = 20
"""Tags are taken from more videos only after a question."""


def _clean_names(names: Sequence[str]) -> list[str]:
    """Returns tags as they are stored. Raises Unusable for one that can be none, or that is a video."""
    from vidfind.tagging.labels import clean_name

    for name in names:
        if os.path.isfile(name):
            raise Unusable(f"{name} is a file, and no tag. Name one video, or a folder, and then its tags.")
    try:
        return [clean_name(name) for name in names]
    except BadInput as error:
        raise Unusable(str(error)) from error


@tags.callback()
def tag(quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Tag videos, so that searches can be limited to them.

    Tags stay with videos that are moved, renamed, copied or encoded again. `vidfind search --tag dog` finds them.

    \b
    Example:
      vidfind tag add 2023/IMG_0412.mp4 dog beach
    """


@tags.command(cls=Command)
def add(
    video: Video,
    names: Tags,
    is_no: Annotated[bool, typer.Option("--not", help="Say that the video does not have these tags.")] = False,
    begin: Begin = None,
    end: End = None,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tag a video.

    A tag stays with its video when that is moved, renamed, copied or encoded again.

    \b
    Example:
      vidfind tag add 2023/IMG_0412.mp4 dog beach
    """
    from vidfind.display.tagging import show_changes
    from vidfind.tagging.edit import add_labels, tag_label

    store = open_index(name)
    rows = named_videos(open_finder(store, Path()), video)
    if len(rows) > 1 and (begin or end):
        raise Unusable(f"{video} is a folder of {len(rows)} videos: --from and --to need a single one.")
    part = part_of(begin, end, rows[0])
    value = -1 if is_no else 1
    names = _clean_names(names)
    labels = [tag_label(row, one, value, part.start, part.end) for row in rows for one in names]
    show_changes(add_labels(store, labels), labels, rows, as_json)


@tags.command(cls=Command)
def remove(
    words: Annotated[list[str], typer.Argument(metavar="VIDEO TAG", help="A video, and the tags to take from it.")],
    everywhere: Annotated[bool, typer.Option("--all", help="Take the tags from all videos: name no video.")] = False,
    yes: Yes = False,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take back what you said of tags.

    Then it is unknown whether the video has them. Asks before tags are taken from more than 20 videos.

    To say that a video does not have a tag, use `vidfind tag add --not`, or `vidfind tag reject`.

    \b
    Example:
      vidfind tag remove 2023/IMG_0412.mp4 beach
    """
    from vidfind.commands import tag_reject_command, tag_remove_command
    from vidfind.display import console
    from vidfind.display.tagging import label_json
    from vidfind.display.text import plural
    from vidfind.tagging.edit import drop_tags, known_tag, rows_by_file

    store = open_index(name)
    if everywhere:
        rows, names = None, words
    else:
        if len(words) < 2:
            raise Unusable(f"Give a video and its tags. To take a tag from all videos: {tag_remove_command(words[0])}")
        rows, names = named_videos(open_finder(store, Path()), words[0]), words[1:]
    known = [known_tag(store, one) for one in names]
    if rows is None:
        _confirm_removal(store, known, yes)
    dropped = drop_tags(store, known, rows)
    if not dropped and rows and len(rows) == 1:
        reject = tag_reject_command(words[0], known[0], store.path)
        raise Unusable(f"You have not said {known[0]!r} of {words[0]}. If it was added automatically: {reject}")
    if as_json:
        by_file = rows_by_file(store)
        for label in dropped:
            console.json_line(label_json(label, by_file[label.video].path if label.video in by_file else None))
        return
    videos = len({label.video for label in dropped})
    console.message(f"Took {', '.join(known)} from {plural(videos, 'video')}.")


def _confirm_removal(store: "Store", names: Sequence[str], yes: bool) -> None:
    """Asks whether tags are to be taken from many videos. Without a terminal, raises BadInput."""
    from vidfind.display.text import plural
    from vidfind.tagging.labels import name_key

    keys = {name_key(one) for one in names}
    videos = len({label.video for label in store.labels("tag", also_gone=True) if name_key(label.name) in keys})
    if yes or videos <= FEW_VIDEOS:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"Taking tags from {plural(videos, 'video')} must be confirmed: add --yes. Nothing was changed.")
    typer.confirm(f"Take {', '.join(names)} from {plural(videos, 'video')}?", abort=True, err=True)


@tags.command(cls=Command)
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The tag as it is.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name; that of another tag joins the two.")],
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Rename a tag everywhere, or join it with another.

    \b
    Example:
      vidfind tag rename doggo dog
    """
    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.tagging.edit import known_tag, rename_tag
    from vidfind.tagging.labels import clean_name, name_key

    store = open_index(name)
    known = known_tag(store, old)
    try:
        new = clean_name(new)
    except BadInput as error:
        raise Unusable(str(error)) from error
    joins = name_key(new) != name_key(known) and name_key(new) in map(name_key, store.label_names("tag"))
    changed = rename_tag(store, known, new)
    if as_json:
        console.json_line({"old": known, "new": new, "changed": changed})
    else:
        console.message(f"Renamed {known} to {new}, in {plural(changed, 'place')}.")
        if joins:
            console.message(f"{new} was a tag already: the two are one now.")


@tags.command(name="list", cls=Command)
def list_tags(
    video: Annotated[
        str | None,
        typer.Argument(metavar="VIDEO", help="Show the tags of this video. [default: all tags, with counts]"),
    ] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List all tags with how many videos have them, or one video's tags.

    \b
    Example:
      vidfind tag list
    """
    from vidfind.commands import tag_add_command
    from vidfind.display import console
    from vidfind.display.tagging import count_json, show_counts, show_tags_of, tags_of_json
    from vidfind.tagging.edit import count_tags, tags_of

    store = open_index(name)
    if video is not None:
        for row in named_videos(open_finder(store, Path()), video):
            found = tags_of(store, row)
            if as_json:
                console.json_line(tags_of_json(found, row.path))
            else:
                show_tags_of(found, row.path)
        return
    counts = count_tags(store)
    if as_json:
        for count in counts:
            console.json_line(count_json(count))
    elif counts:
        show_counts(counts)
    else:
        console.message(f"There are no tags yet. Add some: {tag_add_command(store.path)}")


@tags.command(name="import", cls=Command)
def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A CSV, TSV or JSON lines file; - reads what comes in.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be changed, and change nothing.")] = False,
    strict: Strict = False,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take the tags of a list.

    Its first line names the columns: path and tag, or path and tags with semicolons between them, and also value (yes
    or no), start and end. Rows that cannot be used are left out and listed.

    \b
    Example:
      vidfind tag import tags.csv
    """
    from vidfind.display import console
    from vidfind.display.tagging import import_json, show_import
    from vidfind.tagging.edit import add_labels, planned, read_file, read_tags

    store = open_index(name)
    is_piped = file == "-"
    finder = open_finder(store, Path() if is_piped else Path(os.path.expanduser(file)).parent)
    data = sys.stdin.buffer.read() if is_piped else read_file(Path(os.path.expanduser(file)))
    shown = "The list" if is_piped else file
    found = read_tags(data, shown, finder)
    require_rows(found, shown)
    changes = planned(store, found.labels) if dry_run else add_labels(store, found.labels)
    if as_json:
        console.json_line(import_json(found, changes))
    else:
        show_import(found, changes, dry_run)
    if strict and found.skipped:
        raise typer.Exit(ExitCode.ERROR)


@tags.command(name="export", cls=Command)
def export_file(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Where to, or -; .jsonl makes JSON lines. [default: print them]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write what you said of tags to a CSV file.

    `vidfind tag import` reads it back.

    \b
    Example:
      vidfind tag export tags.csv
    """
    from vidfind.tagging.edit import COLUMNS, rows_by_file, tag_rows

    store = open_index(name)
    rows = [*tag_rows(store, rows_by_file(store))]
    gone = len(store.labels("tag", also_gone=True)) - len(rows)
    write_list(rows, COLUMNS, "tag", file, force, as_json, gone)


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


for command in (suggestions.fill, suggestions.accept, suggestions.reject, suggestions.review):
    tags.command(cls=Command)(command)
