"""The progress bar of a command that takes long."""

import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from vidfind.display import console
from vidfind.display.text import plural, short_paths, times_real
from vidfind.system.machine import running_clock
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.encoders.stream import Progress


LOG_INTERVAL = 30.0  # seconds


class Activity:
    """The work in progress, in one or two lines at the bottom of the terminal that vanish when it is done.

    Where stderr is no terminal (cron, Docker, nohup), the progress is one line every `log_interval` seconds instead.
    May be entered again. Ctrl-Z wipes the lines away until the process continues."""

    def __init__(self, text: str, enabled: bool = True, log_interval: float = LOG_INTERVAL) -> None:
        self._spinner = Spinner("dots", Text(text))
        enabled = enabled and not console.messages.quiet
        self._enabled = enabled and console.is_screen(console.messages)
        self._log_interval = log_interval if enabled and not console.is_screen(console.messages) else math.inf
        self._logged_at = running_clock().now()
        self._progress: Progress | None = None
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
        self.hide()

    def _stop_process(self, *_: object) -> None:
        """Handles Ctrl-Z: restores the terminal, stops the process, and draws again when it continues."""
        assert sys.platform != "win32"
        was_shown = self._live is not None
        self.hide()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)  # returns when the process continues
        signal.signal(signal.SIGTSTP, self._stop_process)
        os.killpg(0, signal.SIGCONT)  # its decoders were stopped too, and may not have been continued
        if was_shown:
            self._start()

    def say(self, text: str) -> None:
        """Shows what is done next; its time counts from now."""
        self._since = running_clock().now()
        self._drawn = self._progress = None
        self._spinner.update(text=Text(text))
        self._start()

    def announce(self, text: str) -> None:
        """Prints a line that stays. The activity is hidden until it changes, because a download draws its own bar."""
        self.hide()
        console.message(text)

    def advance(self, progress: "Progress") -> None:
        """Shows a bar of the footage done."""
        self._progress = progress
        self._log("  ".join(progress_facts(progress, self.elapsed)))
        self._start()

    def draw(self, lines: RenderableType, log_line: str = "") -> None:
        """Shows lines of the caller; `log_line` is printed instead of them if stderr is no terminal."""
        self._drawn = lines
        self._log(log_line)
        self._start()

    @contextmanager
    def paused(self, text: str) -> Iterator[None]:
        """Shows `text` while the work is paused; that time does not count."""
        drawn = self._drawn
        self.draw(Text(text, style="yellow"))
        with running_clock().paused():
            yield
        self._drawn = drawn

    @property
    def elapsed(self) -> float:
        """Seconds since the last `say`, without those in which the process was stopped."""
        return running_clock().now() - self._since

    def _log(self, line: str) -> None:
        now = running_clock().now()
        if line and now - self._logged_at >= self._log_interval:
            self._logged_at = now
            console.message(line)

    def _start(self) -> None:
        if self._enabled and not self._live:
            # A new one each time: one that is started again would delete as many lines above it as it had before.
            self._live = Live(
                console=console.messages,
                get_renderable=self._render,
                transient=True,
                redirect_stdout=False,  # results are not messages
                refresh_per_second=8,
            )
            self._live.start(refresh=True)

    def hide(self) -> None:
        """Hides the activity until it changes."""
        live, self._live = self._live, None
        if live:
            live.stop()

    def _render(self) -> RenderableType:
        if self._drawn is not None:
            return self._drawn
        if self._progress is None:
            return self._spinner
        return progress_lines(self._progress, self.elapsed, console.messages.width)


def progress_lines(progress: "Progress", elapsed: float, width: int) -> RenderableType:
    """A bar with footage, files, speed and time left, and the file at work on a line of its own."""
    done, total = progress.done_seconds, max(progress.total_seconds, progress.done_seconds)
    text = Text("  ".join(progress_facts(progress, elapsed)), no_wrap=True, overflow="ellipsis")
    file = Text(short_paths([progress.path], width)[progress.path], style="dim", no_wrap=True, overflow="ellipsis")
    room = width - text.cell_len - 2
    line = Table.grid(padding=(0, 2, 0, 0))
    if room >= 10:
        line.add_row(ProgressBar(total=total, completed=done, width=min(40, room)), text)
    else:  # a narrow terminal: the bar above
        line.add_row(ProgressBar(total=total, completed=done, width=width))
        line.add_row(text)
    return Group(line, file)


def progress_facts(progress: "Progress", elapsed: float) -> list[str]:
    """Footage and files done, speed and time left, each as a short text; `elapsed` is in seconds."""
    done, total = progress.done_seconds, max(progress.total_seconds, progress.done_seconds)
    speed = done / elapsed if elapsed > 0 else 0.0
    facts = [
        f"{clock(done)} of {'about ' if progress.is_estimate else ''}{clock(total)}",
        f"{progress.done_files:,}/{plural(progress.total_files, 'video')}",
        times_real(speed),
    ]
    if progress.nodes:
        facts.insert(0, plural(progress.nodes, "node"))
    return [*facts, f"{clock((total - done) / speed)} left"] if speed > 0 else facts
