"""`vidfind index`: brings an index up to date and shows what happens."""

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind import commands
from vidfind.cli.shared.indexing import DEFAULTS, Indexing, RunOptions, open_filled
from vidfind.cli.shared.options import (
    DecoderChoice,
    Device,
    Dtype,
    EncoderOption,
    IndexMaps,
    IndexName,
    Json,
    Model,
    Nice,
    Overlap,
    Pretrained,
    Quiet,
    SamplingChoice,
    SegmentLength,
    Threads,
    Verbose,
    adapter_option,
    keep_maps,
)
from vidfind.cluster.options import ClusterOptions
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import ExitCode
from vidfind.index.options import DEFAULT_OPTIONS, FEW_REMOVALS, IndexOptions
from vidfind.store.places.path import index_path
from vidfind.system import paths
from vidfind.system.streams import has_reader

if TYPE_CHECKING:
    pass


def index_command(
    path: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH", help="Folders to look through, or single videos. [default: all that the index knows]"
        ),
    ] = None,
    files_from: Annotated[
        str | None,
        typer.Option("--files-from", metavar="FILE", help="Index the files in this list, one a line; - is stdin."),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="The list of --files-from has NUL bytes between its paths.")
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Ignore files and folders that match, for instance '*/drafts/*', in this run and later ones.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Undo an --exclude of an earlier run; `status` lists them."),
    ] = None,
    all_files: Annotated[
        bool,
        typer.Option("--all-files", help="Also index bins, parts of photo libraries, proxies and Live Photos."),
    ] = DEFAULT_OPTIONS.all_files,
    model: Model = None,
    pretrained: Pretrained = None,
    encoder: EncoderOption = None,
    adapter: Annotated[
        str | None,
        adapter_option(
            "The adapter to encode with, or none; videos whose vectors it changes are encoded again.",
            "the index's own, or the default adapter of the model",
        ),
    ] = None,
    segment: SegmentLength = None,
    overlap: Overlap = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Encode all videos again: those that have not changed, and those that failed."),
    ] = DEFAULT_OPTIONS.force,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Also read files that look unchanged, and compare their contents with the index."
        ),
    ] = DEFAULT_OPTIONS.verify,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what would be done, and about how long it would take, without doing it."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help=f"Do not ask before more than {FEW_REMOVALS} videos are removed.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep running until Ctrl-C: follow the folders and index changes.")
    ] = False,
    battery: Annotated[bool, typer.Option("--battery", help="Pause while the machine runs on battery.")] = False,
    sampling: SamplingChoice = DEFAULT_OPTIONS.sampling,
    decoder: DecoderChoice = DEFAULT_OPTIONS.decoder,
    nice: Nice = False,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT", min=1, help="Number of processes that decode videos. [default: one for each core, 2 to 8]"
        ),
    ] = DEFAULT_OPTIONS.workers,
    threads: Threads = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Encode on the machines of a Ray cluster that can read the videos: auto is the cluster that runs here "
            "(one is started if there is none), ray://HOST:PORT one elsewhere.",
        ),
    ] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: IndexMaps = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make the videos of folders searchable. Run it again after changes, or to continue after Ctrl-C.

    Without PATH, all folders that the index knows are brought up to date. With --adapter, everything in the index is
    encoded again, and searches use the old vectors until that is done.

    Videos that are gone, or that you exclude, are removed from the index. More than 20 at once are removed only if you
    say yes: in a script, add --yes.

    The exit code is 3 if all is done but something is missed: a video could not be read that has not failed before, or
    that you named; a file of the list is not there; or removals were not confirmed. A PATH that is not there is an
    error, 1.

    \b
    Example:
      vidfind index ~/Videos --exclude '*/drafts/*'
    """
    asked = EncoderChoice(model, pretrained, encoder, adapter)
    if watch and (force or files_from is not None):
        raise typer.BadParameter(f"Give either --watch or {'--force' if force else '--files-from'}.")
    if dry_run and (watch or adapter is not None):
        other = "--watch" if watch else "--adapter, which says what it costs before it begins"
        raise typer.BadParameter(f"Give either --dry-run or {other}.")
    if decoder == "hardware" and sampling == "exact":
        raise typer.BadParameter("The processor decodes for --sampling exact: leave out that, or --decoder hardware.")
    given = {"--watch": watch, "--battery": battery}
    if cluster is not None and (one := next((option for option, is_given in given.items() if is_given), None)):
        raise typer.BadParameter(f"Give either --cluster or {one}.")
    if cluster is not None:
        from vidfind.cluster.connect import check_address

        check_address(cluster)
    else:
        keep_maps(maps)
    if null and files_from is None:
        raise typer.BadParameter("-0 goes with --files-from.")
    if Path("-") in (path or []) and not os.path.lexists("-"):
        raise typer.BadParameter(f"To read a list of files from standard input: {commands.list_command()}")
    missing: list[Path] = []
    if files_from is not None:
        listed, missing = _listed(files_from, null, name)
        folders = [*(path or []), *listed]
        if not folders:
            raise typer.Exit(ExitCode.ERROR if missing else ExitCode.DONE)
    elif path:
        folders = path
    elif (adapter is not None or pretrained is not None) and not watch:
        open_filled(name)
        folders = []
    else:
        folders = _known(name)
    indexing = IndexOptions(
        exclude=exclude or DEFAULT_OPTIONS.exclude,
        include=include or DEFAULT_OPTIONS.include,
        is_asked=bool(path),
        all_files=all_files,
        force=force,
        verify=verify,
        sampling=sampling,
        decoder=decoder,
        workers=workers,
        cluster=None if cluster is None else ClusterOptions(cluster, maps or [], device, dtype, threads, workers),
    )
    options = RunOptions(device, dtype, threads, battery, as_json, yes, segment, overlap, indexing)
    missed = 0
    if dry_run:
        show_dry_run(folders, name, model, options)
    elif watch:
        watch_folders(folders, name, asked, options)
    else:
        missed = run_index(folders, name, asked, options)
    if missed or missing:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _known(name: str) -> list[Path]:
    """The folders that an index knows; the user is told which. Raises a usage error if there are none."""
    from vidfind.display.index import show_paths
    from vidfind.index.prepare import known_folders

    folders, unreadable = known_folders(index_path(name))
    if not folders and not unreadable:
        command = commands.index_command(index_path(name))
        raise typer.BadParameter(f"Which folders? The index knows none yet. Type {command}")
    show_paths("Cannot be read now, and kept in the index", unreadable)
    show_paths("Bringing up to date", folders)
    if not folders:
        raise typer.Exit(ExitCode.ERROR)
    return folders


def _listed(files_from: str, ends_with_nul: bool, name: str) -> tuple[list[Path], list[Path]]:
    """The files of a list that are there or in the index, and the others, of which the user is told."""
    from vidfind.display.console import message
    from vidfind.display.index import show_paths
    from vidfind.folders.lists import read_list
    from vidfind.index.prepare import drop_missing

    listed, missing = drop_missing(read_list(files_from, ends_with_nul), index_path(name))
    show_paths("Listed, but not there", missing)
    if not listed:
        message("There is nothing to index in the list.")
    return listed, missing


def run_index(folders: Sequence[Path], name: str, asked: EncoderChoice, options: RunOptions = DEFAULTS) -> int:
    """Brings an index up to date and shows all about it; returns how many videos could not be encoded.

    With an adapter asked for, `folders` may be empty: the index's own videos are encoded again."""
    from vidfind.display import console

    indexing = Indexing(name, options)
    try:
        with indexing.activity, indexing.cluster():
            if opened := indexing.open(folders, asked):
                from vidfind.index.run import index_videos

                with closing(index_videos(folders, *opened, indexing.options)) as events:
                    for event in events:
                        indexing.show_event(event)
            summary = indexing.end_run()
    except KeyboardInterrupt:
        indexing.show_stop()
        raise
    if folders or summary.counts or options.as_json:
        indexing.show_summary(summary)
    elif not indexing.has_announced:
        console.message("Nothing has to be encoded again.")
    indexing.show_ending(summary)
    return summary.missed


def show_dry_run(folders: Sequence[Path], name: str, model: str | None, options: RunOptions) -> None:
    """Shows what `run_index` would do."""
    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.index import preview_json, show_preview
    from vidfind.index.preview import preview_index
    from vidfind.models.catalog import DEFAULT_MODEL

    with Activity("Looking for videos", enabled=not (options.as_json and sys.stdout.isatty())):
        new = (model or DEFAULT_MODEL, options.segment_length, bool(options.overlap))
        preview = preview_index(folders, index_path(name), options.indexing, *new)
    if options.as_json:
        for values in preview_json(preview):
            console.json_line(values)
    else:
        show_preview(preview, index_path(name))


def watch_folders(folders: Sequence[Path], name: str, asked: EncoderChoice, options: RunOptions) -> None:
    """Brings an index up to date, and again whenever something in the folders changes; shows the news.

    Ends with Ctrl-C, or after a run when a reader of its output has left."""
    from vidfind.display import console
    from vidfind.display.index import show_watching
    from vidfind.index.watch import FolderBack, FolderLeft, Retrying, RunEnded, Watching, watch_videos

    indexing = Indexing(name, options)
    try:
        with indexing.activity, closing(watch_videos(folders, indexing.open, asked, indexing.options)) as events:
            for event in events:
                now = f"{datetime.now():%H:%M:%S}"
                if isinstance(event, RunEnded):
                    summary = indexing.end_run()
                    indexing.may_ask = False
                    if event.has_news:
                        indexing.show_summary(summary, "" if event.is_first else now)
                    indexing.show_ending(summary)
                elif isinstance(event, Retrying | Watching | FolderLeft | FolderBack):
                    indexing.end_run()
                    show_watching(event, now)
                else:
                    indexing.show_event(event)
                    continue
                if not has_reader():
                    return
    except KeyboardInterrupt:
        if not indexing.show_stop():
            console.message("Stopped watching.")
        raise
