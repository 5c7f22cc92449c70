"""Shows what an index holds, and which videos were renamed."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from vidfind.display.console import message, show
from vidfind.display.index import show_videos
from vidfind.display.text import file_size, footage, home_path, plural, printable

if TYPE_CHECKING:
    from vidfind.store.edit import Relinked
    from vidfind.store.store import IndexStatus

STATUS_LINES = 20  # videos that could not be read, of which `vidfind status` shows that many


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
    ours, length = status.settings.identity, status.settings.segment_length
    adapter = f", adapter {ours.adapter}" if ours.adapter else ""
    facts = {
        "Index": f"{status.name}, in {home_path(path)}",
        "Model": f"{ours.model} / {ours.pretrained}",
        "Encoder": f"{ours.encoder}{adapter}, {ours.num_frames} frames of each {length:g} s segment",
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
