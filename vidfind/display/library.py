"""Shows what an index holds, lists its videos, and shows which videos were renamed."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from vidfind.commands import index_command
from vidfind.display.console import facts, is_screen, message, new_table, result_path, results, show, show_list
from vidfind.display.index import show_videos
from vidfind.display.search import COLUMN_GAP
from vidfind.display.text import file_size, footage, home_path, plural, printable, short_paths
from vidfind.store.places.path import IndexPath
from vidfind.system.times import clock, local_time

if TYPE_CHECKING:
    from vidfind.store.edit import Relinked
    from vidfind.store.status import IndexStatus
    from vidfind.store.tables import VideoRow

STATUS_LINES = 20  # at most this many unreadable videos are listed by `vidfind status`


# Videos


def show_listed(rows: Sequence["VideoRow"], online: Collection[Path]) -> None:
    """Lists videos with date, length and state, and on stderr how many they are; `online` are those that are there."""
    dates = [_date(row) for row in rows]
    lengths = [clock(max(1, round(row.duration))) if not row.failed else "" for row in rows]
    states = [_state(row, row.path in online) for row in rows]
    table = new_table()
    table.add_column("Date", style="dim", no_wrap=True)
    table.add_column("Length", justify="right", no_wrap=True)
    if is_screen(results):
        table.add_column("File", overflow="fold")
        taken = len("2024-05-17") + max(map(len, ["Length", *lengths])) + 2 * COLUMN_GAP
        marks = {row.path: f" {state}" if state else "" for row, state in zip(rows, states, strict=True)}
        names = short_paths(marks, results.width - taken, {path: len(mark) for path, mark in marks.items()})
        files = [Text.assemble(names[row.path], (marks[row.path], "yellow")) for row in rows]
        cells: Iterable[tuple[Text | str, ...]] = zip(dates, lengths, files, strict=True)
    else:
        table.add_column("File")
        table.add_column("State")
        cells = zip(dates, lengths, (printable(row.path) for row in rows), states, strict=True)
    for row_cells in cells:
        table.add_row(*row_cells)
    show_list(table)
    message(f"{plural(len(rows), 'video')}, {footage(sum(row.duration for row in rows))}.")


def listed_json(row: "VideoRow", is_online: bool) -> dict[str, Any]:
    """Returns the line of `vidfind list --json` for a video."""
    return {
        "path": row.path,
        "created": None if row.failed else row.created,
        "created_from": row.created_from,
        "seconds": round(row.duration, 3),
        "width": row.width,
        "height": row.height,
        "codec": row.codec,
        "size": row.size,
        "indexed_at": row.indexed_at.isoformat(timespec="seconds"),
        "online": is_online,
        "failed": row.failed,
        "damage": row.damage,
    }


def _date(row: "VideoRow") -> str:
    return "" if row.failed else local_time(row.created).date().isoformat()


def _state(row: "VideoRow", is_online: bool) -> str:
    states = {"offline": not is_online, "incomplete": row.damage, "unreadable": row.failed}
    return " ".join(state for state, applies in states.items() if applies)


# Upkeep


def show_removed(
    rows: Sequence["VideoRow"], paths: Sequence[Path], is_purged: bool, is_dry: bool, index: IndexPath | None = None
) -> None:
    """Shows what was removed under `paths`, or, if `is_dry`, would be; `is_purged` says that no vectors are kept.

    `index` is the path of the index, for the command that is named; None: the default one."""
    from vidfind.store.memory import KEPT_TIME

    if is_dry:
        for row in rows:
            show(Text(result_path(row.path)))
        message(f"Would remove {plural(len(rows), 'video')}.")
        return
    kept = "No vectors or tags are kept." if is_purged else f"Their vectors are kept for {KEPT_TIME.days} days."
    message(f"Removed {plural(len(rows), 'video')}. The files are where they were. {kept}")
    if paths:
        again = index_command(index, folders=[os.path.abspath(path) for path in paths])
        message(f"Later runs leave out what you removed until you name it: {again}")


def show_relinked(relinked: Sequence["Relinked"]) -> None:
    """Shows how many videos have a new path, and how many were already known by it."""
    message(f"Relinked {plural(len(relinked), 'video')}. Nothing has to be encoded again.")
    if known := sum(one.was_known for one in relinked):
        message(
            f"The index already had {known:,} of them with the new path. It keeps one of each, a readable one if any."
        )


# Status, models


def show_status(
    status: "IndexStatus", path: IndexPath, online: Collection[Path], ignoring: Sequence[Path] = ()
) -> None:
    """Shows what an index holds and how it was made; `online` are its folders that are there now, and `ignoring` the
    ignore files for these.

    Lists the videos that could not be read, or only in part."""
    from vidfind.store.memory import KEPT_TIME

    ours, length = status.settings.identity, status.settings.segment_length
    overlap = ", overlapping by half" if status.settings.overlap else ""
    adapter = f", adapter {ours.adapter}" if ours.adapter else ""
    rows = {
        "Index": f"{status.name}, in {home_path(path)}" if isinstance(path, Path) else status.name,
        "Model": f"{ours.model} / {ours.pretrained}",
        "Encoder": f"{ours.encoder}{adapter}, {ours.num_frames} frames of each {length:g} s segment{overlap}",
        "Videos": _count_videos(status),
        "Footage": footage(status.hours * 3600),
        "Segments": f"{status.segments:,}",
        "Disk use": file_size(status.size_on_disk),
    }
    if run := status.run:
        left = f", {clock(run.seconds_left)} left" if run.seconds_left is not None else ""
        nodes = f" on {plural(run.nodes, 'node')}" if run.nodes else ""
        rows["Running"] = f"{run.done:,} of {plural(run.total, 'video')} done{nodes}{left}"
    if status.precision:
        earlier = f"; before in {', '.join(status.precision.before)}" if status.precision.before else ""
        rows["Numbers"] = f"{status.precision.words}{earlier}"
    if begun := status.unfinished:
        kind = f"with the adapter {begun.adapter}" if begun.adapter else "with no adapter"
        rows["Unfinished"] = f"{plural(begun.videos, 'video')} encoded again {kind}; to go on: {begun.command}"
    if status.tags or status.tagged_automatically:
        automatic = f", and automatic ones of {status.tagged_automatically:,}" if status.tagged_automatically else ""
        rows["Tags"] = f"{status.tags:,} of {plural(status.tagged, 'video')}{automatic}"
    if status.removed:
        rows["Removed"] = f"{plural(len(status.removed), 'video')}, whose vectors are kept for {KEPT_TIME.days} days"
    left_out = status.left_out
    excluded = [f"{pattern!r} in {home_path(folder)}" for folder, pattern in sorted(left_out.patterns)]
    removed = [str(home_path(path)) for path in sorted(left_out.removed)]
    lists = {"Excluded": (excluded, "--include takes it again"), "Left out": (removed, "indexing it takes it again")}
    for title, (names, remedy) in lists.items():
        if names:
            more = f" and {len(names) - STATUS_LINES:,} more" if len(names) > STATUS_LINES else ""
            rows[title] = f"{', '.join(names[:STATUS_LINES])}{more} ({remedy})"
    if ignoring:
        rows["Ignored"] = f"what these name: {', '.join(str(home_path(file)) for file in ignoring)}"
    folders = [
        ("" if number else "Folders", Text.assemble(home_path(folder), _presence(folder in online)))
        for number, folder in enumerate(status.folders)
    ]
    show(facts([*rows.items(), *folders]))
    show_videos("could not be read", [(row.path, row.failed) for row in status.failed], STATUS_LINES, results)
    show_videos("could be read only in part", [(row.path, row.damage) for row in status.damaged], STATUS_LINES, results)


def _presence(is_online: bool) -> tuple[str, str]:
    return ("" if is_online else ", not there now", "yellow")


def status_json(
    status: "IndexStatus", path: IndexPath, online: Collection[Path], ignoring: Sequence[Path] = ()
) -> dict[str, Any]:
    """Returns the line of `vidfind status --json`."""
    return {
        "name": status.name,
        "path": path,
        **vars(status.settings.identity),
        "segment_length": status.settings.segment_length,
        "overlap": status.settings.overlap,
        "videos": status.videos,
        "segments": status.segments,
        "seconds": round(status.hours * 3600, 3),
        "size": status.size_on_disk,
        "folders": [{"path": folder, "online": folder in online} for folder in status.folders],
        "failed": [{"path": row.path, "reason": row.failed} for row in status.failed],
        "damaged": [{"path": row.path, "reason": row.damage} for row in status.damaged],
        "left_out": {
            "paths": sorted(status.left_out.removed),
            "patterns": [{"folder": folder, "pattern": text} for folder, text in sorted(status.left_out.patterns)],
            "ignore_files": list(ignoring),
        },
        "removed": [
            {"path": video.row.path, "removed_at": video.removed_at.isoformat(timespec="seconds")}
            for video in status.removed
        ],
        "tags": {"names": status.tags, "videos": status.tagged, "automatic": status.tagged_automatically},
        "unfinished": vars(status.unfinished) if status.unfinished else None,
        "run": vars(status.run) if status.run else None,
        "precision": vars(status.precision) if status.precision else None,
    }


def relinked_json(relinked: Sequence["Relinked"]) -> Iterator[dict[str, Any]]:
    """Yields a line of `vidfind relink --json` for each video."""
    return ({"path": one.path, "old": one.source, "was_known": one.was_known} for one in relinked)


def _count_videos(status: "IndexStatus") -> str:
    damaged = f", of which {len(status.damaged):,} could be read only in part" if status.damaged else ""
    failed = f"; {len(status.failed):,} more could not be read" if status.failed else ""
    return f"{status.videos:,}{damaged}{failed}"
