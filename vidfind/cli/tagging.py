"""`vidfind tag`: what an owner says of videos, one by one or in lists, and what is suggested to the owner."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidfind.cli.options import Device, Dtype, IndexName, Json, Quiet, Verbose, Yes
from vidfind.cli.usage import Command, Group
from vidfind.errors import BadInput, ExitCode, IndexNotFound, Unusable
from vidfind.system import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from vidfind.display.activity import Activity
    from vidfind.encoders.encoder import Encoder
    from vidfind.store.store import Store
    from vidfind.store.tables import VideoRow
    from vidfind.tagging.edit import Suggested
    from vidfind.tagging.labels import Changes, Label
    from vidfind.tagging.lists import Part, VideoFinder

tags = typer.Typer(name="tag", cls=Group, no_args_is_help=True)

Video = Annotated[str, typer.Argument(metavar="VIDEO", help="A video of the index, or a folder: all videos in it.")]
Tags = Annotated[list[str], typer.Argument(metavar="TAG", help="The tags.")]
REVIEWED = 20
"""How many suggestions are reviewed where the user does not say."""
FEW_VIDEOS = 20
"""Tags are taken from more videos only after a question."""


def open_index(name: str) -> "Store":
    """Returns an index. Raises Unusable if there is none, which ends the program as a wrong command line does."""
    from vidfind.store.store import Store

    try:
        return Store.open(paths.index_path(name))
    except IndexNotFound as error:
        raise Unusable(str(error)) from error


def open_finder(store: "Store", base: Path) -> "VideoFinder":
    """Returns what finds the videos of an index by paths relative to a folder. Raises Unusable for an empty index."""
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


def _clean_names(finder: "VideoFinder", names: Sequence[str]) -> list[str]:
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
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Only from here on, such as 0:10.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only up to here.")] = None,
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
    finder = open_finder(store, Path())
    rows = named_videos(finder, video)
    if len(rows) > 1 and (begin or end):
        raise Unusable(f"{video} is a folder of {len(rows)} videos: --from and --to need a single one.")
    part = part_of(begin, end, rows[0])
    value = -1 if is_no else 1
    names = _clean_names(finder, names)
    labels = [tag_label(row, one, value, part.start, part.end) for row in rows for one in names]
    _show(add_labels(store, labels), labels, rows, as_json, show_changes)


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


def _show(
    changes: "Changes", labels: "Sequence[Label]", rows: "Sequence[VideoRow]", as_json: bool, show: "_ShowChanges"
) -> None:
    """Shows what was said of videos, or prints it as JSON."""
    from vidfind.display import console
    from vidfind.display.tagging import label_json

    row_of = {row.fingerprint: row for row in rows}
    if as_json:
        for label in labels:
            console.json_line(label_json(label, row_of[label.video].path))
    else:
        show(changes, labels, rows)


if TYPE_CHECKING:
    from collections.abc import Callable

    _ShowChanges = Callable[[Changes, Sequence[Label], Sequence[VideoRow]], None]


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

    Then it is unknown whether the video has them.

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
    from vidfind.tagging.labels import clean_name

    store = open_index(name)
    known = known_tag(store, old)
    try:
        new = clean_name(new)
    except BadInput as error:
        raise Unusable(str(error)) from error
    changed = rename_tag(store, known, new)
    if as_json:
        console.json_line({"old": known, "new": new, "changed": changed})
    else:
        console.message(f"Renamed {known} to {new}, in {plural(changed, 'place')}.")


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
    strict: Annotated[bool, typer.Option("--strict", help="End with code 1 if a row cannot be used.")] = False,
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
    from vidfind.display.tagging import import_json, show_import, show_skipped
    from vidfind.tagging.edit import add_labels, planned, read_file, read_tags

    store = open_index(name)
    is_piped = file == "-"
    finder = open_finder(store, Path() if is_piped else Path(os.path.expanduser(file)).parent)
    data = sys.stdin.buffer.read() if is_piped else read_file(Path(os.path.expanduser(file)))
    shown = "The list" if is_piped else file
    found = read_tags(data, shown, finder)
    if not found.labels:
        show_skipped(found.skipped)
        what = f"None of the {len(found.skipped)} rows of {shown} can be used." if found.skipped else ""
        raise Unusable(what or f"{shown} has no rows below its header.")
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
        Path | None, typer.Argument(metavar="FILE", help="Where to; .jsonl makes JSON lines. [default: print them]")
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
    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.system.storage import write_text
    from vidfind.tagging.edit import rows_by_file, tag_rows, tags_text
    from vidfind.tagging.lists import JSON_ENDINGS

    store = open_index(name)
    rows = [*tag_rows(store, rows_by_file(store))]
    gone = len(store.labels("tag", also_gone=True)) - len(rows)
    text = tags_text(rows, as_json or (file is not None and file.name.lower().endswith(JSON_ENDINGS)))
    if file is None:
        sys.stdout.write(text)
    else:
        if file.exists() and not force:
            raise Unusable(f"{file} is there already. To replace it, add --force.")
        write_text(file, text)
        console.message(f"Wrote {plural(len(rows), 'tag')} to {file}.")
    if gone:
        console.message(f"{plural(gone, 'tag')} of videos that are not in the index now left out.")


@tags.command(cls=Command)
def fill(
    only: Annotated[
        str | None, typer.Option(metavar="TAGS", help="Fill only these tags, with commas between; leave the others.")
    ] = None,
    vocab: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="More tags, one a line, which no video has yet. Needs --zero-shot."),
    ] = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Suggest tags without an example too, by their names alone.")
    ] = False,
    min_confidence: Annotated[
        float,
        typer.Option(metavar="NUMBER", min=0.0, max=1.0, help="Add tags from this confidence on; suggest the others."),
    ] = 0.8,
    graph: Annotated[
        Literal["none", "trained", "published"],
        typer.Option(
            help="Train a network over the tags too (trained), or as SCPNet was published, instead (published). "
            "Worth a try from about 500 tagged videos on."
        ),
    ] = "none",
    max_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Train no longer than this, and use what there is then.")
    ] = 60.0,
    seed: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Another seed gives other random numbers.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added, and change nothing.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Complete the tags of all videos, from those that you gave.

    Learns each tag from its name and from the videos that have it, adds it to others where that is sure enough, and
    keeps the next best for you to review. No video is read again. What you said stays, and what you rejected is not
    suggested again. A tag needs three videos before it is added to others.

    \b
    Example:
      vidfind tag fill
    """
    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.tagging import filled_json, show_filled
    from vidfind.tagging.fill import Asked, fill_tags, read_vocabulary

    store = open_index(name)
    words, bad = read_vocabulary(vocab) if vocab else ((), [])
    for line in bad:
        console.message(f"Left out of {vocab}: {line}")
    asked = Asked(
        tuple(one.strip() for one in (only or "").split(",") if one.strip()),
        words,
        zero_shot,
        min_confidence,
        max_seconds,
        graph,
        seed,
        dry_run,
    )
    with Activity("Learning tags", enabled=not as_json) as activity:
        load = whole_loader(store, activity, device, dtype)
        filled = fill_tags(store, text_encoder(store, load, activity.announce), asked)
    if as_json:
        for one in filled_json(filled):
            console.json_line(one)
    else:
        show_filled(filled, dry_run, store.path)


def whole_loader(store: "Store", activity: "Activity", device: str, dtype: str) -> "Callable[[], Encoder]":
    """Returns what loads the encoder of the index when it is needed."""
    from vidfind.cli.indexing import loader_of
    from vidfind.search.query import load_query_encoder

    return lambda: load_query_encoder(store, loader_of(activity, device, dtype))


def text_encoder(
    store: "Store", load: "Callable[[], Encoder]", announce: "Callable[[str], None]"
) -> "Callable[[Sequence[str]], npt.NDArray[np.float32]]":
    """Returns what makes vectors of texts for an index, without PyTorch where that can be.

    It raises Unusable for a text that is longer than the model can read."""
    from vidfind.models.tokenizer import tokenize, tokenize_all
    from vidfind.words.half import encode_texts, read_text_half

    half = read_text_half(store.path, store.generation, announce)
    length = half.context_length if half else 77

    def encode(texts: Sequence[str]) -> "npt.NDArray[np.float32]":
        for text, ids in zip(texts, tokenize_all(texts, length), strict=True):
            if len(ids) == length and tokenize(text, length)[1]:
                raise Unusable(f"The model reads {length} tokens, and this is longer: {text!r}. Use a shorter name.")
        vectors: npt.NDArray[np.float32] = (
            encode_texts(half, texts) if half else load().encode_text(list(texts)).numpy()
        )
        return vectors

    return encode


@tags.command(cls=Command)
def accept(
    video: Video,
    names: Tags,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say that a suggested or automatic tag is right.

    \b
    Example:
      vidfind tag accept 2023/IMG_0412.mp4 dog
    """
    _decide(video, names, 1, name, as_json)


@tags.command(cls=Command)
def reject(
    video: Video,
    names: Tags,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say that a suggested or automatic tag is wrong.

    It is not suggested again.

    \b
    Example:
      vidfind tag reject 2023/IMG_0412.mp4 beach
    """
    _decide(video, names, -1, name, as_json)


def _decide(video: str, names: Sequence[str], value: int, index: str, as_json: bool) -> None:
    """Says yes (1) or no (-1) to tags that the index knows."""
    from vidfind.display.tagging import show_changes
    from vidfind.tagging.edit import add_labels, known_tag, tag_label

    store = open_index(index)
    rows = named_videos(open_finder(store, Path()), video)
    labels = [tag_label(row, known_tag(store, one), value) for row in rows for one in names]
    _show(add_labels(store, labels), labels, rows, as_json, show_changes)


@tags.command(cls=Command)
def review(
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only suggestions of this tag.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="COUNT", min=1, help="How many suggestions.")
    ] = REVIEWED,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decide about suggested tags, the most useful first.

    At a terminal, each is shown with its moment: y is yes, n is no, s skips it, p plays it, u takes the last decision
    back, and q quits. Each decision is kept at once. In a pipe, and with --json, the suggestions are printed.

    \b
    Example:
      vidfind tag review --tag dog
    """
    from vidfind.display import console
    from vidfind.display.review import review_at_terminal, show_suggestions, suggestion_json
    from vidfind.tagging.edit import rows_by_file
    from vidfind.tagging.review import Review

    store = open_index(name)
    reviewed = Review(store, tag, limit)
    if reviewed.is_done:
        console.message(f"There is nothing to decide{f' about {tag}' if tag else ''}.")
        return
    files = {video: row.path for video, row in rows_by_file(store).items()}
    if as_json:
        for one in reviewed.upcoming():
            console.json_line(suggestion_json(one, files[one.video]))
    elif sys.stdin is not None and sys.stdin.isatty() and console.is_screen(console.results):
        review_at_terminal(reviewed, lambda one: _file_of(store, one, files), _play)
    else:
        show_suggestions(reviewed.upcoming(), files)


def _file_of(store: "Store", one: "Suggested", files: "Mapping[str, Path]") -> Path:
    """Returns the file of a suggestion: one of its copies that is there now, or the first."""
    copies = sorted(row.path for row in store.videos_of([one.content]))
    return next((path for path in copies if path.is_file()), files[one.video])


def _play(path: Path, start: float) -> None:
    """Plays a file from a moment. Raises BadInput."""
    from vidfind.display import console
    from vidfind.system import player

    played = player.play(path, start)
    if played.said:
        console.message(f"The player has ended already. It said: {played.said}")
