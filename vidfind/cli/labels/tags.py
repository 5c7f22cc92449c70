"""`vidfind tag`: the tags that an owner gives to videos, one by one or in lists."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vidfind.cli.labels import suggestions
from vidfind.cli.labels.lists import Strict, require_rows, write_list, write_sidecars
from vidfind.cli.labels.named import (
    Begin,
    End,
    TagCommand,
    VideosAndTags,
    ask_before,
    named_videos,
    open_finder,
    open_index,
    part_of,
    videos_and_tags,
)
from vidfind.cli.shared.options import IndexName, Json, Maps, Quiet, Verbose, Yes
from vidfind.cli.shared.usage import Command, Group
from vidfind.errors import BadInput, ExitCode, Unusable
from vidfind.system import paths

tags = typer.Typer(name="tag", cls=Group, no_args_is_help=True)


def _clean_names(names: Sequence[str]) -> list[str]:
    """Returns tags as they are stored. Raises Unusable for one that can be none."""
    from vidfind.tagging.labels import clean_name

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


@tags.command(cls=TagCommand)
def add(
    words: VideosAndTags,
    is_no: Annotated[bool, typer.Option("--not", help="Say that the video does not have these tags.")] = False,
    begin: Begin = None,
    end: End = None,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tag videos.

    A tag stays with its video when that is moved, renamed, copied or encoded again. Videos are named first, and then
    the tags that they all get: `vidfind tag add *.mp4 dog beach`.

    \b
    Example:
      vidfind tag add 2023/IMG_0412.mp4 dog beach
    """
    from vidfind.display.labels.tagging import show_changes
    from vidfind.tagging.edit import add_labels, tag_label

    store = open_index(name)
    rows, names = videos_and_tags(store, words)
    if len(rows) > 1 and (begin or end):
        raise Unusable(f"--from and --to need a single video, and there are {len(rows)}.")
    part = part_of(begin, end, rows[0])
    value = -1 if is_no else 1
    names = _clean_names(names)
    labels = [tag_label(row, one, value, part.start, part.end) for row in rows for one in names]
    show_changes(add_labels(store, labels), labels, rows, as_json)


@tags.command(cls=TagCommand)
def remove(
    words: VideosAndTags,
    everywhere: Annotated[bool, typer.Option("--all", help="Take the tags from all videos: name no video.")] = False,
    yes: Yes = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take back what you said of tags.

    Then it is unknown whether the video has them. With --all, asks first at a terminal; elsewhere, --yes is needed for
    more than 20 videos.

    To say that a video does not have a tag, use `vidfind tag add --not`, or `vidfind tag reject`.

    \b
    Example:
      vidfind tag remove 2023/IMG_0412.mp4 beach
    """
    from vidfind.commands import tag_reject_command, tag_remove_command
    from vidfind.display import console
    from vidfind.display.labels.tagging import label_json
    from vidfind.display.text import plural
    from vidfind.tagging.edit import drop_tags, known_tag, labels_named, rows_by_file
    from vidfind.tagging.labels import name_key

    store = open_index(name)
    if everywhere:
        rows, names = None, [word for word in words if word != "--"]
    else:
        if len(words) < 2:
            raise Unusable(f"Give a video and its tags. To take a tag from all videos: {tag_remove_command(words[0])}")
        rows, names = videos_and_tags(store, words)
    known = list(dict.fromkeys(known_tag(store, one) for one in names))
    if rows is None:
        videos = len({label.video for label in labels_named(store, {*map(name_key, known)})})
        shown = f"{', '.join(known)} from {plural(videos, 'video')}"
        ask_before(videos, yes, f"Take {shown}?", f"Taking {shown}")
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


@tags.command(cls=Command)
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The tag as it is.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name; that of another tag joins the two.")],
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
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
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List all tags with how many videos have them, or one video's tags.

    \b
    Example:
      vidfind tag list
    """
    from vidfind.commands import tag_add_command, tag_videos_command
    from vidfind.display import console
    from vidfind.display.labels.tagging import count_json, show_counts, show_tags_of, tags_of_json
    from vidfind.tagging.edit import count_tags, spelled_tag, tags_of

    store = open_index(name)
    if video is not None:
        finder = open_finder(store, Path())
        if not finder.names_any(video) and (known := spelled_tag(store, video)):
            raise Unusable(
                f"{known} is a tag, and no video. The videos with it: {tag_videos_command(known, store.path)}"
            )
        for row in named_videos(finder, [video]):
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
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A CSV, TSV or JSON lines file; - reads what comes in. Or an XMP sidecar, or a folder of them.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be changed, and change nothing.")] = False,
    strict: Strict = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take the tags of a list, or of XMP sidecars.

    The first line of a list names the columns: path and tag, or path and tags with semicolons between them, and also
    value (yes or no), start and end. Rows that cannot be used are left out and listed.

    \b
    Example:
      vidfind tag import tags.csv
    """
    from vidfind.display import console
    from vidfind.display.labels.tagging import import_json, show_import
    from vidfind.tagging.edit import add_labels, planned, read_file, read_tags, said_by_owner
    from vidfind.tagging.sidecars import ENDING, read_sidecars

    store = open_index(name)
    place = Path(os.path.expanduser(file))
    is_piped = file == "-"
    shown = "The list" if is_piped else file
    if not is_piped and (place.is_dir() or place.suffix.lower() == ENDING):
        base = place if place.is_dir() else place.parent
        found = read_sidecars(place, open_finder(store, base), said_by_owner(store))
    else:
        finder = open_finder(store, Path() if is_piped else place.parent)
        found = read_tags(sys.stdin.buffer.read() if is_piped else read_file(place), shown, finder)
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
    xmp: Annotated[
        Path | None,
        typer.Option("--xmp", metavar="FOLDER", help="Write XMP sidecars into this folder, for photo programs."),
    ] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Write XMP sidecars beside the videos, into your own folders.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a file that is there already; of a sidecar only its tags, all else in it stays."
        ),
    ] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write what you said of tags to a CSV file, or as XMP sidecars.

    `vidfind tag import` reads both back. Only a list says exactly the same: sidecars, which digiKam, Lightroom and
    darktable read, do not know tags of a part, nor that a video does not have a tag.

    \b
    Example:
      vidfind tag export tags.csv
    """
    from vidfind.tagging.edit import COLUMNS, rows_by_file, tag_rows

    if (xmp is not None) + beside + (file is not None) > 1:
        raise typer.BadParameter("Give one of FILE, --xmp FOLDER and --beside.")
    store = open_index(name)
    if xmp is not None or beside:
        write_sidecars(store, None if xmp is None else Path(os.path.expanduser(xmp)), force, as_json)
        return
    rows = [*tag_rows(store, rows_by_file(store))]
    gone = len(store.labels("tag", also_gone=True)) - len(rows)
    write_list(rows, COLUMNS, "tag", file, force, as_json, gone)


tags.command(cls=Command)(suggestions.fill)
tags.command(cls=TagCommand)(suggestions.accept)
tags.command(cls=TagCommand)(suggestions.reject)
tags.command(cls=Command)(suggestions.review)
