"""`vidfind index`, and what other commands need of it: parse, call the pipeline, hand the result to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidfind import paths
from vidfind.errors import BadInput
from vidfind.options import Device, Dtype, IndexName, Json, Verbose

if TYPE_CHECKING:
    from vidfind.display import Activity
    from vidfind.encoder import Encoder
    from vidfind.store import Store

DONE_WITH_FAILURES = 3


def index_command(
    path: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Folders to look through, or single videos.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave out what matches, for instance '*/drafts/*'.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="open_clip's model name. [default: the index's own, or ViT-B-32]")
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Its weights: open_clip's name, or a file. [default: the index's own, or the model's recommended]",
        ),
    ] = None,
    encoder: Annotated[
        Literal["tempme", "mean"] | None,
        typer.Option(help="See frames in time, or each alone. [default: the index's own, or tempme]"),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What `vidfind finetune` has saved, or none. Encodes again what it changes. "
            "[default: the index's own, or the one that fine-tuning has made the default]",
        ),
    ] = None,
    segment: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.5, help="Length of a segment. [default: the index's own, or 10]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Encode again what has not changed, and what failed.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make the videos of folders searchable; run it again after changes, or to go on after Ctrl-C.

    With --adapter, PATH may be left out: what is in the index is encoded again, and searches use the old vectors until
    that is done.

    \b
    Example:
      vidfind index ~/Videos --exclude '*/drafts/*'
    """
    asked = {"model": model, "pretrained": pretrained, "encoder": encoder, "segment_length": segment}
    chosen: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    if adapter is not None:
        chosen["adapter"] = None if adapter == paths.NO_ADAPTER else adapter
    if not path:
        if adapter is None:
            raise typer.BadParameter("Give the folders to index.")
        open_filled(name)
    failed = run_index(path or [], name, chosen, device, dtype, exclude or [], force, as_json)
    if failed:
        raise typer.Exit(DONE_WITH_FAILURES)


def run_index(
    folders: list[Path],
    name: str,
    chosen: Mapping[str, Any],
    device: str = "auto",
    dtype: str = "auto",
    exclude: list[str] | None = None,
    force: bool = False,
    as_json: bool = False,
) -> int:
    """Bring an index up to date, telling all about it; how many videos could not be encoded.

    With an adapter among the settings chosen, `folders` may be empty: the index's own videos are encoded again."""
    from vidfind import display, display_adapters

    store_path = paths.index_path(name)
    summary = display.IndexSummary()
    ending = None
    with display.Activity("Starting", enabled=not (as_json and sys.stdout.isatty())) as activity:
        from vidfind.index import (
            Offline,
            Outcome,
            Progress,
            Reencoding,
            Vanished,
            Waiting,
            check_folders,
            index_videos,
            open_store,
        )
        from vidfind.registry import default_adapter

        check_folders(folders, store_path)  # before a model is fetched for nothing
        loader = loader_of(activity, device, dtype)
        store, load = open_store(store_path, loader, chosen, default_adapter, activity.announce)
        activity.say("Looking for videos")
        try:
            with closing(index_videos(folders, store, load, exclude or [], force)) as events:
                for event in events:
                    if isinstance(event, Outcome):
                        summary.add(event)
                        if as_json:
                            display.json_line(vars(event))
                    elif isinstance(event, Offline):
                        summary.offline.append(event)
                    elif isinstance(event, Vanished):
                        summary.vanished.append(event)
                    elif isinstance(event, Progress):
                        activity.advance(event)
                    elif isinstance(event, Reencoding):
                        activity.announce(display_adapters.reencoding_text(event))
                    else:
                        ending = event
        except KeyboardInterrupt:
            activity.announce("Stopped. What is done is kept: the same command goes on from here.")
            raise
        summary.elapsed = activity.elapsed
    if as_json:
        display.json_line(display.summary_json(summary))
    elif folders or summary.counts:
        display.show_summary(summary)
    else:
        display.message("Nothing has to be encoded again.")
    if isinstance(ending, Waiting):
        display_adapters.show_waiting(ending)
        return summary.missed + sum(offline.videos for offline in ending.offline)
    if ending:
        display.message(display_adapters.switched_text(ending, name))
    return summary.missed


def loader_of(activity: "Activity", device: str, dtype: str) -> Callable[..., "Encoder"]:
    """`load_encoder` for this machine, which tells the user what it is at."""

    def load(**choice: Any) -> "Encoder":
        from vidfind.registry import load_encoder

        activity.say("Loading the model")
        encoder = load_encoder(**choice, device=device, dtype=dtype, announce=activity.announce)
        activity.say("Reading videos")
        return encoder

    return load


def open_filled(name: str) -> "Store":
    """An index that holds videos."""
    from vidfind.store import Store

    store = Store.open(paths.index_path(name))
    if not store.videos():
        option = "" if name == paths.DEFAULT_INDEX else f" --index {name}"
        raise BadInput(f"The index {name!r} holds no videos yet. Add some: vidfind index FOLDER{option}")
    return store
