"""`vidfind index`: brings an index up to date and shows what happens."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind import commands
from vidfind.cli.options import (
    Device,
    Dtype,
    EncoderOption,
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
)
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput, ExitCode
from vidfind.index.options import DEFAULT_OPTIONS, FEW_REMOVALS, IndexOptions
from vidfind.system import paths
from vidfind.system.streams import has_reader

if TYPE_CHECKING:
    from vidfind.display.activity import Activity
    from vidfind.encoders.encoder import Encoder, EncoderLoader
    from vidfind.index.events import Event, IndexSummary
    from vidfind.store.store import Store


@dataclass(frozen=True)
class RunOptions:
    """The options of a run; `indexing` are those of the pipeline itself."""

    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    battery: bool = False
    as_json: bool = False
    yes: bool = False
    """Whether many videos may be removed without a question."""
    segment_length: float | None = None
    """Length of a segment in seconds; None: that of the index, or the default."""
    overlap: bool | None = None
    """Whether segments overlap; None: as in the index, or not."""
    indexing: IndexOptions = DEFAULT_OPTIONS


DEFAULTS = RunOptions()


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
    nice: Nice = False,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT", min=1, help="Number of processes that decode videos. [default: one for each core, 2 to 8]"
        ),
    ] = DEFAULT_OPTIONS.workers,
    threads: Threads = None,
    name: IndexName = paths.DEFAULT_INDEX,
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
        workers=workers,
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

    folders, unreadable = known_folders(paths.index_path(name))
    if not folders and not unreadable:
        command = commands.index_command(paths.index_path(name))
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

    listed, missing = drop_missing(read_list(files_from, ends_with_nul), paths.index_path(name))
    show_paths("Listed, but not there", missing)
    if not listed:
        message("There is nothing to index in the list.")
    return listed, missing


def run_index(folders: Sequence[Path], name: str, asked: EncoderChoice, options: RunOptions = DEFAULTS) -> int:
    """Brings an index up to date and shows all about it; returns how many videos could not be encoded.

    With an adapter asked for, `folders` may be empty: the index's own videos are encoded again."""
    from vidfind.display import console

    indexing = _Indexing(name, options)
    try:
        with indexing.activity:
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
        preview = preview_index(folders, paths.index_path(name), options.indexing, *new)
    if options.as_json:
        for values in preview_json(preview):
            console.json_line(values)
    else:
        show_preview(preview, paths.index_path(name))


def watch_folders(folders: Sequence[Path], name: str, asked: EncoderChoice, options: RunOptions) -> None:
    """Brings an index up to date, and again whenever something in the folders changes; shows the news.

    Ends with Ctrl-C, or after a run when a reader of its output has left."""
    from vidfind.display import console
    from vidfind.display.index import show_watching
    from vidfind.index.watch import FolderBack, FolderLeft, Retrying, RunEnded, Watching, watch_videos

    indexing = _Indexing(name, options)
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


class _Indexing:
    """Shows the runs that bring an index up to date. The model is loaded once for all of them."""

    def __init__(self, name: str, options: RunOptions) -> None:
        from vidfind.display.activity import Activity
        from vidfind.system.machine import when_command_began

        self._name, self._options = name, options
        self.options = replace(options.indexing, may_remove=self._may_remove)
        self.may_ask = True
        """Whether somebody is there to answer a question."""
        self.activity = Activity("Opening the index", enabled=not (options.as_json and sys.stdout.isatty()))
        self._load = loader_of(self.activity, options.device, options.dtype, options.threads)
        self._began: float | None = when_command_began()
        self._summary: IndexSummary | None = None
        """The summary of the current run."""
        self.has_announced = False
        """Whether something was said about the index when it was opened."""

    def _announce(self, text: str) -> None:
        self.has_announced = True
        self.activity.announce(text)

    def open(self, folders: Sequence[Path], asked: EncoderChoice) -> "tuple[Store, Callable[[], Encoder]] | None":
        """Opens the index for a run over `folders`, with its encoder: see `open_to_index`."""
        self.activity.say("Opening the index")
        from vidfind.folders.walk import survey_folders
        from vidfind.index.events import IndexSummary
        from vidfind.index.prepare import open_to_index
        from vidfind.system.machine import running_clock

        if self._began is None:  # not the first run
            self._began = running_clock().now()

        self._wait_for_mains()
        path, options = paths.index_path(self._name), self._options
        opened = open_to_index(
            folders, path, self._load, asked, options.segment_length, options.indexing, self._announce, options.overlap
        )
        self._summary = IndexSummary()
        if opened:
            self.activity.say("Looking for videos")
        else:
            indexing = options.indexing
            self._summary.survey = survey_folders(folders, indexing.exclude, indexing.all_files)
        return opened

    def end_run(self) -> "IndexSummary":
        """Hides the activity, and returns the summary of the run that is over."""
        from vidfind.index.events import IndexSummary
        from vidfind.system.machine import running_clock

        self.activity.hide()
        began, self._began = self._began, None
        summary, self._summary = self._summary, None
        if summary is None:  # there was nothing to index
            return IndexSummary()
        summary.elapsed = running_clock().now() - (began or 0.0)
        return summary

    def show_event(self, event: "Event") -> None:
        from vidfind.display import console
        from vidfind.display.index import outcome_json
        from vidfind.display.models import reencoding_text
        from vidfind.encoders.stream import Progress
        from vidfind.index.events import Arranging, Outcome, Reencoding

        assert self._summary
        self._summary.add(event)
        if isinstance(event, Outcome) and self._options.as_json:
            console.json_line(outcome_json(event))
        elif isinstance(event, Progress):
            self.activity.advance(event)
            self._wait_for_mains()
        elif isinstance(event, Arranging):
            self.activity.announce(f"Preparing quick searches of {event.segments:,} segments.")
        elif isinstance(event, Reencoding):
            self.activity.announce(reencoding_text(event))

    def _may_remove(self, videos: int) -> bool:
        """Asks whether many videos are to be removed from the index; without a terminal, they are not."""
        from vidfind.display.text import plural
        from vidfind.system.machine import running_clock

        if self._options.yes or not self.may_ask or not sys.stdin.isatty():
            return self._options.yes
        self.activity.hide()
        with running_clock().paused():
            question = f"Remove {plural(videos, 'video')} from the index? They are not there any more, or left out now."
            answer = typer.confirm(question, err=True)
        self.activity.say("Reading videos")
        return answer

    def _wait_for_mains(self) -> None:
        from vidfind.system.machine import on_battery, wait_for_mains

        if self._options.battery and on_battery():
            with self.activity.paused("Paused: on battery"):
                wait_for_mains()

    def show_stop(self) -> bool:
        """Shows what a run had done when it was interrupted; returns False if there was no run."""
        from vidfind.display import console
        from vidfind.display.text import plural

        if not self._summary:
            return False
        done = plural(self._summary.counts["new"] + self._summary.counts["changed"], "video")
        console.message(f"Stopped. Done and kept in this run: {done}; the same command goes on from here.")
        return True

    def show_summary(self, summary: "IndexSummary", when: str = "") -> None:
        """Shows what a run did, as lines or as JSON; `when` is the time of day, where that matters."""
        from vidfind.display import console
        from vidfind.display.index import show_summary, summary_json

        if self._options.as_json:
            console.json_line(summary_json(summary))
        else:
            show_summary(summary, when, paths.index_path(self._name))

    def show_ending(self, summary: "IndexSummary") -> None:
        """Shows how encoding all of an index again ended, if that was done."""
        from vidfind.display import console
        from vidfind.display.models import show_waiting, switched_text
        from vidfind.index.events import Waiting

        if isinstance(summary.ending, Waiting):
            show_waiting(summary.ending)
        elif summary.ending:
            console.message(switched_text(summary.ending, self._name))


def loader_of(activity: "Activity", device: str, dtype: str, threads: int | None = None) -> "EncoderLoader":
    """Loads encoders on this machine, and shows the user what it does; the encoder loaded last is kept."""

    @functools.lru_cache(maxsize=1)
    def load(choice: EncoderChoice) -> "Encoder":
        from vidfind.models.load import load_choice
        from vidfind.system.machine import use_threads

        pytorch = "" if "torch" in sys.modules else "PyTorch and "
        activity.say(f"Loading {pytorch}the model {choice.model or ''}".rstrip())
        use_threads(threads)
        encoder = load_choice(choice, device, dtype, activity.announce)
        activity.say("Reading videos")
        return encoder

    return load


def open_filled(name: str) -> "Store":
    """Opens an index that holds videos."""
    from vidfind.store.store import Store

    store = Store.open(paths.index_path(name))
    if not store.count_videos():
        raise BadInput(f"The index {name!r} holds no videos yet. Add some: {commands.index_command(store.path)}")
    return store
