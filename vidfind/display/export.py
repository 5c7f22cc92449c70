"""Shows how the export of moments goes, and what came of it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vidfind.display import console
from vidfind.display.text import printable, short_paths
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.display.activity import Activity
    from vidfind.export.clips import Event, Failed, Progress, Written


def show_events(events: "Iterable[Event]", activity: "Activity", as_json: bool) -> int:
    """Shows each event while it happens: files on stdout, failures on stderr. Returns the number of failures."""
    from vidfind.export.clips import Failed, Written

    failed = 0
    for event in events:
        if isinstance(event, Written):
            activity.hide()
            if as_json:
                console.json_line(_written_json(event))
            else:
                console.path_line(event.path)
            for remark in _remarks(event):
                console.message(f"{event.path.name} {remark}.")
        elif isinstance(event, Failed):
            activity.hide()
            failed += 1
            show_failed(event)
        else:
            _show_progress(event, activity)
    return failed


def show_failed(event: "Failed") -> None:
    console.error(f"{event.wanted.path} {event.reason}.")


def show_timeline(files: Sequence[Path], as_json: bool) -> None:
    """Prints the path of each file of a timeline."""
    for path in files:
        if as_json:
            console.json_line({"timeline": path})
        else:
            console.path_line(path)


def _written_json(event: "Written") -> dict[str, Any]:
    made = {"clip": event.path, "duration": round(event.duration, 3)}
    if (wanted := event.wanted) is None:
        return made
    moment = {"path": wanted.path, "start": round(wanted.start, 3), "end": round(wanted.end, 3)}
    off = {"missing": event.missing, "early": event.early, "late": event.late}
    return {**made, **moment, **{name: round(seconds, 3) for name, seconds in off.items()}}


def _remarks(event: "Written") -> list[str]:
    """Returns what is other than was wanted, each as the end of a sentence that begins with the clip."""
    remarks = [f"lacks its last {event.missing:.1f} s, which cannot be read"] if event.missing else []
    early, late = round(event.early, 2), round(event.late, 2)
    if early or late:
        begins = f"{abs(early):.2f} s {'before' if early >= 0 else 'after'} the moment"
        remarks.append(f"begins {begins} and ends {abs(late):.2f} s {'after' if late >= 0 else 'before'} it")
    return remarks


def _show_progress(event: "Progress", activity: "Activity") -> None:
    total = max(event.total, event.done)
    left = activity.elapsed / event.done * (total - event.done) if event.done else 0.0
    facts = f"{event.number}/{event.count}  {clock(event.done)} of {clock(total)}  {clock(left)} left"
    width = console.messages.width
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(ProgressBar(total=total, completed=event.done, width=max(10, min(40, width - len(facts) - 2))), facts)
    file = Text(short_paths([event.path], width)[event.path], style="dim", no_wrap=True, overflow="ellipsis")
    activity.draw(Group(line, file), f"{facts}  {printable(event.path.name)}")
