"""The runs of `vidfind index` on the screen: what they load, how far they are, what they ask, and what was done."""

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vidfind import commands
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput
from vidfind.index.options import DEFAULT_OPTIONS, IndexOptions
from vidfind.store.places.path import index_path

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


class Indexing:
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

    def cluster(self) -> AbstractContextManager[None]:
        """Joins the cluster of the run, if it has one, before anything else takes time."""
        if self.options.cluster is None:
            return nullcontext()
        from vidfind.cluster.connect import joined

        self.activity.say("Joining the cluster")
        return joined(self.options.cluster.address)

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
        path, options = index_path(self._name), self._options
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
        force = self.options.force
        again = "with --force, the next run begins anew" if force else "the same command goes on from here"
        console.message(f"Stopped. Done and kept in this run: {done}; {again}.")
        return True

    def show_summary(self, summary: "IndexSummary", when: str = "") -> None:
        """Shows what a run did, as lines or as JSON; `when` is the time of day, where that matters."""
        from vidfind.display import console
        from vidfind.display.index import show_summary, summary_json

        if self._options.as_json:
            console.json_line(summary_json(summary))
        else:
            show_summary(summary, when, index_path(self._name))

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


def whole_loader(store: "Store", activity: "Activity", device: str, dtype: str) -> "Callable[[], Encoder]":
    """Returns what loads the encoder of the index when it is needed."""
    from vidfind.search.query import load_query_encoder

    return lambda: load_query_encoder(store, loader_of(activity, device, dtype))


def open_filled(name: str) -> "Store":
    """Opens an index that holds videos."""
    from vidfind.store.store import Store

    store = Store.open(index_path(name))
    if not store.count_videos():
        raise BadInput(f"The index {name!r} holds no videos yet. Add some: {commands.index_command(store.path)}")
    return store
