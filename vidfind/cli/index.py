"""`vidfind index`, and what other commands need of it: parse, call the pipeline, hand the result to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

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
    Pretrained,
    Quiet,
    SamplingChoice,
    SegmentLength,
    Threads,
    Verbose,
    adapter_option,
)
from vidfind.errors import BadInput, ExitCode, IndexBusy, VidfindError
from vidfind.media.sampling import DEFAULT_SAMPLING, Sampling
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.display.activity import Activity
    from vidfind.display.index import IndexSummary
    from vidfind.encoders.encoder import Encoder
    from vidfind.index.events import Arranging, Offline, Outcome, Progress, Reencoding, Switched, Vanished, Waiting
    from vidfind.store.store import Store


@dataclass(frozen=True)
class RunOptions:
    """How a run of indexing goes about it, whatever the folders and the model. None: the pipeline's own default."""

    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    workers: int | None = None
    exclude: Sequence[str] = ()
    force: bool = False
    verify: bool = False
    battery: bool = False
    as_json: bool = False
    sampling: Sampling = DEFAULT_SAMPLING


DEFAULTS = RunOptions()


def index_command(
    path: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Folders to look through, or single videos.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave out what matches, for instance '*/drafts/*'.")
    ] = None,
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
    force: Annotated[bool, typer.Option("--force", help="Encode again what has not changed, and what failed.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the contents of files that look unchanged with what is indexed.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until Ctrl-C: follow the folders, and index what changes.")
    ] = False,
    battery: Annotated[bool, typer.Option("--battery", help="Pause while the machine runs on battery.")] = False,
    sampling: SamplingChoice = DEFAULT_SAMPLING,
    nice: Nice = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="COUNT", min=1, help="Processes that read videos. [default: by the number of cores]"),
    ] = None,
    threads: Threads = None,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
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
    if watch and force:
        raise typer.BadParameter("Give either --watch or --force.")
    folders = path or []
    if not folders:
        if adapter is None:
            raise typer.BadParameter("Give the folders to index.")
        store = open_filled(name)
        folders = store.folders() if watch else []
    options = RunOptions(device, dtype, threads, workers, exclude or [], force, verify, battery, as_json, sampling)
    if watch:
        watch_folders(folders, name, chosen, options)
    elif run_index(folders, name, chosen, options):
        raise typer.Exit(ExitCode.SOME_FAILED)


def run_index(folders: Sequence[Path], name: str, chosen: Mapping[str, Any], options: RunOptions = DEFAULTS) -> int:
    """Bring an index up to date, telling all about it; how many videos could not be encoded.

    With an adapter among the settings chosen, `folders` may be empty: the index's own videos are encoded again."""
    from vidfind.display import console

    indexing = _Indexing(name, options)
    summary, ending = indexing.run(folders, chosen)
    if folders or summary.counts or options.as_json:
        indexing.show(summary)
    else:
        console.message("Nothing has to be encoded again.")
    return summary.missed + indexing.show_ending(ending)


def watch_folders(folders: Sequence[Path], name: str, chosen: Mapping[str, Any], options: RunOptions) -> NoReturn:
    """Bring an index up to date, and again whenever something in the folders changes, until Ctrl-C.

    The first run tells everything, and an error ends it. Later ones tell what is new, and an error lets them try again;
    so does, for all of them, another process that writes to the index."""
    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.index.prepare import check_folders
    from vidfind.index.watch import looks

    check_folders(folders, paths.index_path(name))
    indexing = _Indexing(name, options)
    watching = looks(folders, options.exclude)
    leave, complaint = next(watching), ""
    away: set[Path] = set()
    while True:
        is_first = indexing.is_first
        away, was_away = {folder for folder in folders if not folder.exists()}, away
        for folder in sorted(away ^ was_away if not is_first else ()):
            what = "is not there now: its videos stay in the index." if folder in away else "is there again."
            console.message(f"{_now()}  {folder} {what}")
        present = [folder for folder in folders if is_first or folder not in away]
        try:
            if present:
                chosen = _run_and_tell(indexing, present, chosen, leave)
            complaint = ""
        except BrokenPipeError:  # nobody reads what is told any more
            raise
        except (VidfindError, OSError) as error:
            if is_first and not isinstance(error, IndexBusy):
                raise
            if str(error) != complaint:  # once, not every few seconds
                console.message(f"{_now()}  {error} Trying again until that works.")
            complaint = str(error)
        else:
            if is_first:
                if leave:
                    console.message(f"{plural(len(leave), 'file')} just changed: indexed when that is over.")
                console.message(f"Watching {plural(len(folders), 'folder')} for changes. Ctrl-C ends it.")
        try:
            leave = watching.send(bool(complaint))
        except KeyboardInterrupt:
            console.message("Stopped watching.")
            raise


def _run_and_tell(
    indexing: "_Indexing", folders: Sequence[Path], chosen: Mapping[str, Any], leave: frozenset[Path]
) -> Mapping[str, Any]:
    """One of the runs of `watch_folders`; with what chosen the next is to run."""
    from vidfind.index.events import Waiting

    is_first = indexing.is_first
    summary, ending = indexing.run(folders, chosen, leave)
    is_news = (is_first and not leave) or bool(summary.counts or summary.vanished)
    if is_news:
        indexing.show(summary, "" if is_first else _now())
    if is_news or not isinstance(ending, Waiting):
        indexing.show_ending(ending)
    if not indexing.is_complete:
        return chosen
    # The adapter asked for is in use now. From here on the index's own is, which may be changed by another command.
    return {key: value for key, value in chosen.items() if key != "adapter"}


def _now() -> str:
    return f"{datetime.now():%H:%M:%S}"


class _Indexing:
    """Runs that bring an index up to date, with the model loaded once for all of them.

    The first tells of every video, later ones only of those that something was found out about."""

    def __init__(self, name: str, options: RunOptions) -> None:
        from vidfind.display.activity import Activity

        self._name, self._options = name, options
        self._activity = Activity("Starting", enabled=not (options.as_json and sys.stdout.isatty()))
        self._load = loader_of(self._activity, options.device, options.dtype, options.threads)
        self.is_first = True
        self.is_complete = True
        """Whether searches use what the last run has made."""

    def run(
        self, folders: Sequence[Path], chosen: Mapping[str, Any], leave: frozenset[Path] = frozenset()
    ) -> "tuple[IndexSummary, Switched | Waiting | None]":
        """Brings the index up to date, with `chosen` as `open_store` takes it: what that did, and how it ended."""
        from vidfind.display.index import IndexSummary
        from vidfind.display.text import plural

        options, activity, path = self._options, self._activity, paths.index_path(self._name)
        summary, ending = IndexSummary(), None
        with activity:
            activity.say("Starting")
            from vidfind.index.events import Switched, Waiting
            from vidfind.index.prepare import check_folders, needs_index, open_store
            from vidfind.index.run import index_videos
            from vidfind.models.load import default_adapter

            self._wait_for_mains()
            check_folders(folders, path)  # before a model is fetched for nothing
            if folders and not needs_index(folders, path, options.exclude):
                self.is_first = False
                return summary, None
            store, load = open_store(path, self._load, chosen, default_adapter, activity.announce)
            activity.say("Looking for videos")
            verify = options.verify and self.is_first
            events = index_videos(
                folders,
                store,
                load,
                exclude=options.exclude,
                force=options.force,
                workers=options.workers,
                verify=verify,
                leave=leave,
                sampling=options.sampling,
            )
            try:
                with closing(events):
                    for event in events:
                        if isinstance(event, Switched | Waiting):
                            ending = event
                        else:
                            self._tell(event, summary)
            except KeyboardInterrupt:
                done = plural(summary.counts["new"] + summary.counts["changed"], "video")
                activity.announce(f"Stopped. Done and kept in this run: {done}; the same command goes on from here.")
                raise
            summary.elapsed = activity.elapsed
        self.is_first, self.is_complete = False, not store.is_unfinished
        return summary, ending

    def _tell(
        self, event: "Outcome | Offline | Vanished | Progress | Reencoding | Arranging", summary: "IndexSummary"
    ) -> None:
        from vidfind.display import console
        from vidfind.display.models import reencoding_text
        from vidfind.index.events import Arranging, Offline, Outcome, Progress, Vanished

        if isinstance(event, Outcome):
            if event.is_news or self.is_first:
                summary.add(event)
                if self._options.as_json:
                    console.json_line(vars(event))
        elif isinstance(event, Offline):
            if self.is_first:
                summary.offline.append(event)
        elif isinstance(event, Vanished):
            summary.vanished.append(event)
        elif isinstance(event, Progress):
            self._activity.advance(event)
            self._wait_for_mains()
        elif isinstance(event, Arranging):
            self._activity.announce(f"Preparing quick searches of {event.segments:,} segments.")
        else:
            self._activity.announce(reencoding_text(event))

    def _wait_for_mains(self) -> None:
        from vidfind.system.machine import on_battery, wait_for_mains

        if self._options.battery and on_battery():
            with self._activity.paused("Paused: on battery"):
                wait_for_mains()

    def show(self, summary: "IndexSummary", when: str = "") -> None:
        """What a run did, as lines or as JSON; `when` is the time of day, where that matters."""
        from vidfind.display import console
        from vidfind.display.index import show_summary, summary_json

        if self._options.as_json:
            console.json_line(summary_json(summary))
        else:
            show_summary(summary, when)

    def show_ending(self, ending: "Switched | Waiting | None") -> int:
        """What has become of encoding all of an index again; how many videos that waits for."""
        from vidfind.display import console
        from vidfind.display.models import show_waiting, switched_text
        from vidfind.index.events import Waiting

        if isinstance(ending, Waiting):
            show_waiting(ending)
            return sum(offline.videos for offline in ending.offline)
        if ending:
            console.message(switched_text(ending, self._name))
        return 0


def loader_of(activity: "Activity", device: str, dtype: str, threads: int | None = None) -> Callable[..., "Encoder"]:
    """`load_encoder` for this machine, which tells the user what it is at; what was loaded last is kept."""

    @functools.lru_cache(maxsize=1)
    def load(**choice: Any) -> "Encoder":
        from vidfind.models.load import load_encoder
        from vidfind.system.machine import use_threads

        activity.say("Loading the model")
        use_threads(threads)
        encoder = load_encoder(**choice, device=device, dtype=dtype, announce=activity.announce)
        activity.say("Reading videos")
        return encoder

    return load


def open_filled(name: str) -> "Store":
    """An index that holds videos."""
    from vidfind.store.store import Store

    store = Store.open(paths.index_path(name))
    if not store.count_videos():
        raise BadInput(f"The index {name!r} holds no videos yet. Add some: {commands.index_command(store.path)}")
    return store
