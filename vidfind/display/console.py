"""Everything vidfind shows: results on stdout, progress and messages on stderr.

Owns the looks and nothing else. File names and queries may hold anything, so whatever comes from outside goes through
`printable` and is never read as rich markup. Times are in seconds.
"""

import json
import logging
import math
import os
import signal
import sys
import threading
import traceback
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from vidfind.system.machine import running_clock
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.index.run import Offline, Outcome, Progress, Vanished
    from vidfind.models.load import ModelEntry
    from vidfind.search.moments import Moment
    from vidfind.store.edit import Relinked
    from vidfind.store.store import IndexStatus
    from vidfind.training import evaluate

results = Console(markup=False, highlight=False, emoji=False)
messages = Console(markup=False, highlight=False, emoji=False, stderr=True)

PIPE_WIDTH = 10_000  # not a terminal: nothing is shortened or folded
NARROWEST_FILE = 24  # cells; a result table drops its date, then its length, rather than show less of the file
COLUMN_GAP = 3  # cells between two columns of a table
STATUS_LINES = 20  # videos that could not be read, of which `vidfind status` shows that many
STATUSES = ("new", "changed", "moved", "unchanged", "removed", "failed")


# Text


def printable(text: object) -> str:
    """`text` on one line, with nothing in it that a terminal would obey.

    >>> printable("a\\x1b[31m\\nb")
    'a\\\\x1b[31m\\\\nb'
    """
    return "".join(map(_escape, str(text)))


def _escape(char: str) -> str:
    # Cc, Cf: controls and marks that turn text around; Cs: bytes of a name that is no text; Zl, Zp: line breaks.
    # The two joiners are needed to write Persian, and emoji of several people.
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\u200c\u200d":
        return char.encode("unicode_escape", "surrogatepass").decode("ascii")
    return char


def span(start: float, end: float) -> str:
    """A moment as `1:23-1:33`; never of no length, however short it is."""
    return f"{clock(start)}-{clock(max(int(start) + 1, round(end)))}"


def footage(seconds: float) -> str:
    """A length in words: a clock's `1:30` could be hours."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"


def times_real(speed: float) -> str:
    return f"{speed:.1f}x real time" if speed < 10 else f"{speed:,.0f}x real time"


def file_size(size: int) -> str:
    """A size in bytes for people, as 605 MB.

    >>> file_size(604_000_000), file_size(1_710_517_724)
    ('604 MB', '1.7 GB')
    """
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{math.ceil(size / 1e3)} kB"


def gflops(flops: int) -> str:
    """Billions of operations, with two digits at least.

    >>> gflops(105_811_476_480), gflops(535_058_256)
    ('105.8', '0.54')
    """
    return f"{flops / 1e9:,.1f}" if flops >= 1e9 else f"{flops / 1e9:.2f}"


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds, with two digits at least.

    >>> milliseconds(0.4213), milliseconds(0.00632)
    ('421', '6.3')
    """
    return f"{1000 * seconds:,.0f}" if seconds >= 0.01 else f"{1000 * seconds:.1f}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def short_paths(paths: Iterable[Path], width: int, taken: Mapping[Path, int] | None = None) -> dict[Path, str]:
    """Each path in at most `width` cells, cut from the left between folders, and no two of them alike.

    `taken` says how many of these cells a path must leave free. Longer than `width` where the file's name is, or where
    a shorter text would fit two of the paths.

    >>> short_paths([Path("/films/summer/a.mp4")], 16)
    {PosixPath('/films/summer/a.mp4'): '…/summer/a.mp4'}
    """
    distinct = set(paths)
    tails = Counter(path.parts[start:] for path in distinct for start in range(len(path.parts)))
    return {path: _short_path(path, width - (taken or {}).get(path, 0), tails) for path in distinct}


def _short_path(path: Path, width: int, tails: Counter[tuple[str, ...]]) -> str:
    shortest = home_path(path)
    for start in range(1, len(path.parts)):
        if cell_len(shortest) <= width or tails[path.parts[start:]] > 1:
            break
        shortest = printable(os.sep.join(("…", *path.parts[start:])))
    return shortest


def home_path(path: Path) -> str:
    """The whole path, with `~` for the user's own folder."""
    home = Path.home()
    inside = path.is_relative_to(home) and path != home
    return printable(os.path.join("~", path.relative_to(home)) if inside else path)


# Lines


def message(text: str) -> None:
    """A line on stderr, for a person."""
    messages.print(Text(printable(text)), soft_wrap=True)


def error(text: object) -> None:
    messages.print(Text.assemble(("Error: ", "bold red"), printable(text)), soft_wrap=True)


def json_line(values: dict[str, Any]) -> None:
    """One object on stdout. Pure ASCII, so that no locale can spoil it."""
    sys.stdout.write(json.dumps(values, default=_to_json) + "\n")
    sys.stdout.flush()  # whoever reads along sees each video when it is done


def _to_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def path_line(path: Path) -> None:
    """A path on stdout: byte for byte into a pipe, harmless on a terminal."""
    if results.is_terminal:
        sys.stdout.write(printable(path) + "\n")
    else:
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.flush()  # a reader that has left is noticed here, not when Python ends


def show(renderable: RenderableType) -> None:
    """A table on stdout, as wide as the terminal; a pipe gets all of it."""
    if not results.is_terminal:
        results.width = PIPE_WIDTH
    results.print(renderable)


class LogLines(logging.Handler):
    """What vidfind's modules have to say, on stderr: warnings, and with `-v` all of it."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        trace = "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else ""
        for line in (record.getMessage(), *trace.splitlines()):  # a message is one line, whatever names it holds
            messages.print(Text(printable(line), style=style), soft_wrap=True)


logger = logging.getLogger("vidfind")
logger.addHandler(LogLines())
logger.propagate = False  # open_clip gives the root logger a handler, which would say all of it again


def show_log() -> None:
    logger.setLevel(logging.DEBUG)


# Demo


def heading(text: str) -> None:
    """A sentence on stdout, folded at words."""
    show(Text(f"\n{text}", style="bold"))


def note(text: str) -> None:
    """A remark on the table above."""
    show(Text(printable(text), style="italic"))


def commands(*lines: Sequence[str]) -> None:
    """Commands of vidfind as the user would type them: through `uv run` if that is how this one was started."""
    prefix = ["uv", "run"] if "UV_RUN_RECURSION_DEPTH" in os.environ else []
    results.print()
    for arguments in lines:
        text = " ".join(f'"{word}"' if " " in word else word for word in [*prefix, "vidfind", *arguments])
        results.print(Text.assemble(("$ ", "dim"), (printable(text), "green")), soft_wrap=True)


# Search


def show_moments(moments: Sequence["Moment"]) -> None:
    """The result table."""
    show(result_table(moments, results.width if results.is_terminal else PIPE_WIDTH))


def result_table(moments: Sequence["Moment"], width: int) -> Table:
    """Rank, score, file with what is wrong with it, moment, length and date: what fits into `width` cells."""
    columns = {
        "#": [str(moment.rank) for moment in moments],
        "Score": [f"{moment.score:z.3f}" for moment in moments],
        "Moment": [span(moment.start, moment.end) for moment in moments],
        "Length": [clock(max(1, round(moment.duration))) for moment in moments],
        "Date": [f"{moment.created:%Y-%m-%d}" if moment.created else "" for moment in moments],
    }
    for optional in ("Date", "Length", None):
        left = width - sum(max(map(len, [name, *texts])) + COLUMN_GAP for name, texts in columns.items())
        if left >= NARROWEST_FILE or optional is None:
            break
        del columns[optional]
    marks = {moment.path: _mark(moment) for moment in moments}
    files = short_paths(marks, left, {path: mark.cell_len for path, mark in marks.items()})
    styles = {"#": "bold", "Score": "cyan", "Moment": "green", "Length": "", "Date": "dim"}
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name == "Date" else "right", style=styles[name], no_wrap=True)
        if name == "Score":
            table.add_column("File", overflow="fold")
    for moment, (rank, score, *rest) in zip(moments, zip(*columns.values(), strict=True), strict=True):
        table.add_row(rank, score, Text.assemble(_linked(files[moment.path], moment.path), marks[moment.path]), *rest)
    return table


def _mark(moment: "Moment") -> Text:
    """What there is to know of a video before it is opened; mostly nothing."""
    marks = [("" if moment.online else " offline", "dim"), (" incomplete" if moment.damage else "", "yellow")]
    return Text.assemble(*marks)


def _linked(text: str, path: Path) -> Text:
    """Text that opens the file with a click, in terminals that can."""
    name = len(text) - text.rfind(os.sep) - 1
    shown = Text(text, style=f"link {path.as_uri()}" if path.is_absolute() else "")
    shown.stylize("dim", 0, len(text) - name)
    return shown


# Index


class Activity:
    """What vidfind is at, in one or two lines at the bottom of the terminal that vanish when it is done.

    Shows nothing when stderr is not a terminal. May be entered again. Ctrl-Z wipes the lines away until it goes on."""

    def __init__(self, text: str, enabled: bool = True) -> None:
        self._spinner = Spinner("dots", Text(text))
        self._enabled = enabled and messages.is_terminal
        self._progress: Progress | evaluate.Progress | None = None
        self._drawn: RenderableType | None = None
        self._since = running_clock().now()
        self._live: Live | None = None

    def __enter__(self) -> "Activity":
        if self._enabled and sys.platform != "win32" and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTSTP, self._stop_process)
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if sys.platform != "win32" and signal.getsignal(signal.SIGTSTP) == self._stop_process:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        self._hide()

    def _stop_process(self, *_: object) -> None:
        """Ctrl-Z: gives the terminal back as it was, stops, and draws again when it goes on."""
        assert sys.platform != "win32"
        was_shown = self._live is not None
        self._hide()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)  # returns when the process goes on
        signal.signal(signal.SIGTSTP, self._stop_process)
        os.killpg(0, signal.SIGCONT)  # its decoders were stopped too, and may not have been told to go on
        if was_shown:
            self._start()

    def say(self, text: str) -> None:
        """What comes next; its time counts from now."""
        self._since = running_clock().now()
        self._drawn = self._progress = None
        self._spinner.update(text=Text(text))
        self._start()

    def announce(self, text: str) -> None:
        """A line that stays. The activity is hidden until more is said of it: a download draws a bar of its own."""
        self._hide()
        message(text)

    def advance(self, progress: "Progress | evaluate.Progress") -> None:
        """Turns into a bar of the footage done."""
        self._progress = progress
        self._start()

    def draw(self, lines: RenderableType) -> None:
        """Turns into lines of the caller's own."""
        self._drawn = lines
        self._start()

    @contextmanager
    def paused(self, text: str) -> Iterator[None]:
        """Says why nothing is done meanwhile; that time does not count."""
        drawn = self._drawn
        self.draw(Text(text, style="yellow"))
        with running_clock().paused():
            yield
        self._drawn = drawn

    @property
    def elapsed(self) -> float:
        """Seconds since something was said that comes next, without those in which the process was stopped."""
        return running_clock().now() - self._since

    def _start(self) -> None:
        if self._enabled and not self._live:
            # A new one each time: one that is started again wipes away as many lines above it as it had before.
            self._live = Live(
                console=messages,
                get_renderable=self._render,
                transient=True,
                redirect_stdout=False,  # results are not messages
                refresh_per_second=8,
            )
            self._live.start(refresh=True)

    def _hide(self) -> None:
        live, self._live = self._live, None
        if live:
            live.stop()

    def _render(self) -> RenderableType:
        if self._drawn is not None:
            return self._drawn
        if self._progress is None:
            return self._spinner
        return progress_lines(self._progress, self.elapsed, messages.width)


def progress_lines(progress: "Progress | evaluate.Progress", elapsed: float, width: int) -> RenderableType:
    """A bar with footage, files, speed and time left, and the file at work on a line of its own."""
    done, total = progress.done_seconds, max(progress.total_seconds, progress.done_seconds)
    speed = done / elapsed if elapsed > 0 else 0.0
    facts = [
        f"{clock(done)} of {clock(total)}",
        f"{progress.done_files:,}/{plural(progress.total_files, 'video')}",
        times_real(speed),
        f"{clock((total - done) / speed)} left" if speed > 0 else "",
    ]
    text = Text("  ".join(filter(None, facts)), no_wrap=True, overflow="ellipsis")
    file = Text(short_paths([progress.path], width)[progress.path], style="dim", no_wrap=True, overflow="ellipsis")
    room = width - text.cell_len - 2
    line = Table.grid(padding=(0, 2, 0, 0))
    if room >= 10:
        line.add_row(ProgressBar(total=total, completed=done, width=min(40, room)), text)
    else:  # a narrow terminal: the bar above
        line.add_row(ProgressBar(total=total, completed=done, width=width))
        line.add_row(text)
    return Group(line, file)


@dataclass
class IndexSummary:
    """What a run did: `footage` of its new and changed videos, in `elapsed` seconds, and what needs attention."""

    counts: Counter[str] = field(default_factory=Counter)
    footage: float = 0.0
    elapsed: float = 0.0
    failed: list["Outcome"] = field(default_factory=list)
    copies: int = 0
    damaged: list["Outcome"] = field(default_factory=list)
    offline: list["Offline"] = field(default_factory=list)
    vanished: list["Vanished"] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """How many videos should be in the index and are not."""
        return len(self.failed) + sum(vanished.videos for vanished in self.vanished)

    def add(self, outcome: "Outcome") -> None:
        self.counts[outcome.status] += 1
        if outcome.is_copy:
            self.copies += 1
            return
        if outcome.damage and outcome.status in ("new", "changed"):
            self.damaged.append(outcome)
        if outcome.status in ("new", "changed"):
            self.footage += outcome.seconds
        if outcome.status == "failed":
            self.failed.append(outcome)


def show_summary(summary: IndexSummary, when: str = "") -> None:
    """What became of the videos (`when`: at which time); on stderr why some failed, and folders that are not there."""
    show_videos("could not be read", [(outcome.path, outcome.message) for outcome in summary.failed if outcome.is_news])
    if old := sum(not outcome.is_news for outcome in summary.failed):
        message(f"As before, {plural(old, 'video')} could not be read: `status` says why, --force tries again.")
    show_videos("could be read only in part", [(outcome.path, outcome.damage) for outcome in summary.damaged])
    for vanished in summary.vanished:
        message(
            f"{vanished.folder} went away meanwhile: {plural(vanished.videos, 'video')} of it could not be read. "
            "When it is back, the same command goes on from here."
        )
    for offline in summary.offline:
        message(f"Not there now, and kept in the index: {plural(offline.videos, 'video')} of {offline.folder}")
    parts = [f"{summary.counts[status]:,} {status}" for status in STATUSES if summary.counts[status]]
    if summary.copies:
        as_copies = "as a copy" if summary.copies == 1 else "as copies"
        parts[0] += f" ({summary.copies:,} {as_copies})"  # first comes what is new
    if not parts and summary.vanished:
        return
    text = ", ".join(parts) or "No videos found"
    if summary.footage and summary.elapsed:
        speed = summary.footage / summary.elapsed
        text += f": {clock(summary.footage)} of footage in {clock(math.ceil(summary.elapsed))}, {times_real(speed)}"
    show(Text("  ".join(filter(None, [when, f"{text}."]))))


def show_videos(what: str, videos: Sequence[tuple[Path, str]], lines: int | None = None) -> None:
    """How many videos there are of which that can be said, and each with its reason, on stderr.

    Only the first `lines` of them, where that is given; with `-v` all."""
    if not videos:
        return
    shown = videos[: None if logger.isEnabledFor(logging.DEBUG) else lines]
    messages.print(Text(f"{plural(len(videos), 'video')} {what}:", style="bold yellow"), soft_wrap=True)
    for path, reason in shown:
        messages.print(Text.assemble("  ", home_path(path), (f" {printable(reason)}", "yellow")), soft_wrap=True)
    if len(shown) < len(videos):
        message(f"  and {len(videos) - len(shown):,} more; -v shows all")


def summary_json(summary: IndexSummary) -> dict[str, Any]:
    """The last line of `vidfind index --json`."""
    counts = {status: summary.counts[status] for status in STATUSES}
    kept = [{"folder": offline.folder, "videos": offline.videos} for offline in summary.offline]
    times = {"seconds": round(summary.footage, 3), "elapsed": round(summary.elapsed, 3)}
    gone = [{"folder": vanished.folder, "videos": vanished.videos} for vanished in summary.vanished]
    return {"summary": {**counts, **times, "offline": kept, "vanished": gone}}


# Upkeep


def show_relinked(relinked: Sequence["Relinked"]) -> None:
    """How many videos have another path now, and how many were known by it before."""
    message(f"Relinked {plural(len(relinked), 'video')}. Nothing has to be encoded again.")
    if known := sum(one.was_known for one in relinked):
        message(f"The index had {known:,} of them by the new path already: of the two, one that could be read stays.")


# Status, models


def show_status(status: "IndexStatus", path: Path, online: Collection[Path]) -> None:
    """What an index holds, what it was made with, and which of its folders are `online`, that is, there now.

    On stderr the videos that could not be read, or not wholly."""
    ours = status.settings
    adapter = f", adapter {ours.adapter}" if ours.adapter else ""
    facts = {
        "Index": f"{status.name}, in {home_path(path)}",
        "Model": f"{ours.model} / {ours.pretrained}",
        "Encoder": f"{ours.encoder}{adapter}, {ours.num_frames} frames of each {ours.segment_length:g} s segment",
        "Videos": _count_videos(status),
        "Footage": footage(status.hours * 3600),
        "Segments": f"{status.segments:,}",
        "On disk": file_size(status.size_on_disk),
    }
    if begun := status.unfinished:
        kind = f"with the adapter {begun.adapter}" if begun.adapter else "with no adapter"
        facts["Unfinished"] = f"{plural(begun.videos, 'video')} encoded again {kind}; to go on: {begun.command}"
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(name, printable(fact))
    for number, folder in enumerate(status.folders):
        missing = ("" if folder in online else ", not there now", "yellow")
        table.add_row("" if number else "Folders", Text.assemble(home_path(folder), missing))
    show(table)
    show_videos("could not be read", [(row.path, row.failed) for row in status.failed], STATUS_LINES)
    show_videos("could be read only in part", [(row.path, row.damage) for row in status.damaged], STATUS_LINES)


def _count_videos(status: "IndexStatus") -> str:
    damaged = f", of which {len(status.damaged):,} could be read only in part" if status.damaged else ""
    failed = f"; {len(status.failed):,} more could not be read" if status.failed else ""
    return f"{status.videos:,}{damaged}{failed}"


def show_models(models: Sequence["ModelEntry"]) -> None:
    """What can be chosen, how big it is, and whether it is on this machine."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("Model", style="cyan", no_wrap=True)
    table.add_column("Weights", overflow="fold", no_wrap=results.width >= 72)  # to be copied: the note folds first
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Licence", no_wrap=True)
    table.add_column("Here", no_wrap=True)
    table.add_column("Note")
    for entry in models:
        here = Text("yes", style="green") if entry.path else Text("no", style="dim")
        table.add_row(entry.model, entry.pretrained, file_size(entry.size_bytes), entry.licence, here, entry.note)
    show(table)
