"""The commands of `vidfind tag` that make suggestions, and those that decide about them."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidfind.cli.labels.named import VideosAndTags, open_index, videos_and_tags
from vidfind.cli.shared.indexing import whole_loader
from vidfind.cli.shared.options import Device, Dtype, IndexName, Json, Maps, MaxSeconds, Quiet, Seed, Verbose
from vidfind.cli.shared.prompt import play_file
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.store.store import Store
    from vidfind.tagging.edit import Suggested

REVIEWED = 20
"""How many suggestions are reviewed where the user does not say."""


def fill(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="TAG", help="Fill only these tags. [default: all]")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="TAGS", help="Fill only these tags too, with commas between.")
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
    max_seconds: MaxSeconds = 60.0,
    seed: Seed = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added, and change nothing.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
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
    from vidfind.display.labels.tagging import filled_json, show_filled
    from vidfind.tagging.fill import FillOptions, fill_tags, read_vocabulary
    from vidfind.words.half import text_encoder

    store = open_index(name)
    words, bad = read_vocabulary(vocab) if vocab else ((), [])
    for line in bad:
        console.message(f"Left out of {vocab}: {line}")
    asked = FillOptions(
        tuple(one.strip() for listed in [*(names or ()), only or ""] for one in listed.split(",") if one.strip()),
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


def accept(
    words: VideosAndTags,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say that a suggested or automatic tag is right.

    \b
    Example:
      vidfind tag accept 2023/IMG_0412.mp4 dog
    """
    _decide(words, 1, name, as_json)


def reject(
    words: VideosAndTags,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
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
    _decide(words, -1, name, as_json)


def _decide(words: Sequence[str], value: int, index: str, as_json: bool) -> None:
    """Says yes (1) or no (-1) to tags that the index knows."""
    from vidfind.display.labels.tagging import show_changes
    from vidfind.tagging.edit import add_labels, known_tag, tag_label

    store = open_index(index)
    rows, names = videos_and_tags(store, words)
    labels = [tag_label(row, known_tag(store, one), value) for row in rows for one in names]
    show_changes(add_labels(store, labels), labels, rows, as_json)


def review(
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only suggestions of this tag.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="COUNT", min=1, help="How many suggestions.")
    ] = REVIEWED,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
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
    from vidfind.display.labels.review import review_at_terminal, show_suggestions, suggestion_json
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
        review_at_terminal(reviewed, lambda one: _file_of(store, one, files), play_file)
    else:
        show_suggestions(reviewed.upcoming(), files)


def _file_of(store: "Store", one: "Suggested", files: "Mapping[str, Path]") -> Path:
    """Returns the file of a suggestion: one of its copies that is there now, or the first."""
    copies = sorted(row.path for row in store.videos_of([one.content]))
    return next((path for path in copies if path.is_file()), files[one.video])
