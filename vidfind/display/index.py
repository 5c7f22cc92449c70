"""Shows the outcome of `vidfind index`: each video and a summary."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from vidfind.commands import forget_command, retry_command, status_command
from vidfind.display.console import errors, hint, message, messages, result_path, say, show
from vidfind.display.text import home_path, plural, printable, times_real
from vidfind.store.places.path import IndexPath
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.folders.walk import Survey
    from vidfind.index.events import IndexSummary, Offline, Outcome
    from vidfind.index.plan import Status
    from vidfind.index.preview import Preview
    from vidfind.index.watch import FolderBack, FolderLeft, Retrying, Watching

logger = logging.getLogger(__name__)

MOST_LINES = 20
"""At most so many folders that cannot be read are named one by one."""
STATUSES: tuple["Status", ...] = ("new", "changed", "moved", "unchanged", "removed", "failed")


def show_summary(summary: "IndexSummary", when: str = "", index: IndexPath | None = None) -> None:
    """Shows the counts of a run (`when`: the time of day); on stderr failed videos and missing folders.

    `index` is the path of the index, for the commands that are named; None: the default one."""
    if summary.survey:
        show_survey(summary.survey)
    news = [(outcome.path, outcome.message) for outcome in summary.failed if outcome.is_news]
    show_videos("could not be read", news, console=errors)
    if old := sum(not outcome.is_news for outcome in summary.failed):
        message(
            f"As before, {plural(old, 'video')} could not be read. {status_command(index)} says why. To try one of "
            f"them again: {retry_command(index)}"
        )
    elif any(outcome.was_tried_before for outcome in summary.failed):
        message(f"To try it again: {retry_command(index)}")
    show_videos("could be read only in part", [(outcome.path, outcome.damage) for outcome in summary.damaged])
    for vanished in summary.vanished:
        message(
            f"{vanished.folder} went away meanwhile: {plural(vanished.videos, 'video')} of it could not be read. "
            "When it is back, the same command goes on from here."
        )
    show_offline(summary.offline, index)
    if summary.not_removed:
        hint(
            f"{plural(summary.not_removed, 'video')} would be removed, because they are not there any more or are left "
            "out now. That must be confirmed: they stay in the index until you give the same command with --yes. "
            "--dry-run lists them."
        )
    for folder, count in sorted(summary.copied_from.items()):
        message(
            f"{plural(count, 'video')} of {folder}, which is not there now, had a copy here. If that folder was moved "
            f"to here, take the old one out: {forget_command(index, folder)}"
        )
    parts = [f"{summary.counts[status]:,} {status}" for status in STATUSES if summary.counts[status]]
    if summary.copies:
        as_copies = "as a copy" if summary.copies == 1 else "as copies"
        parts[0] += f" ({summary.copies:,} {as_copies})"  # first comes what is new
    if summary.taken_back:
        parts[0] += f" ({summary.taken_back:,} with the vectors from before their removal)"
    if not parts and summary.vanished:
        return
    text = ", ".join(parts) or "No videos found"
    if summary.footage and summary.elapsed:
        speed = summary.footage / summary.elapsed
        text += f": {clock(summary.footage)} of footage in {clock(math.ceil(summary.elapsed))}, {times_real(speed)}"
    show(Text("  ".join(filter(None, [when, f"{text}."]))))


def show_paths(what: str, paths: Sequence[Path], most: int = 5) -> None:
    """Shows on stderr to which paths `what` applies, if there are any: the first of them, and how many more."""
    more = f" and {len(paths) - most:,} more" if len(paths) > most else ""
    if paths:
        message(f"{what}: {', '.join(map(home_path, paths[:most]))}{more}")


def show_offline(folders: Sequence["Offline"], index: IndexPath | None) -> None:
    """Shows on stderr which folders are not there now; `index` is the path of the index, or None for the default."""
    for one in folders:
        text = f"Not there now, and kept in the index: {plural(one.videos, 'video')} of {one.folder}"
        remedy = one.missing and forget_command(index, one.missing)
        message(f"{text}. If that is for good, take them out: {remedy}" if remedy else text)


def show_survey(survey: "Survey") -> None:
    """Shows on stderr what a look through folders could not read or has left out, and patterns that matched nothing."""
    from vidfind.folders.names import Reason
    from vidfind.folders.patterns import IGNORE_FILE

    for unreadable in survey.unreadable[:MOST_LINES]:
        text = f"{home_path(unreadable.path)} {unreadable.reason}. Its videos stay in the index."
        errors.print(Text(text, style="yellow"), soft_wrap=True)
    if len(survey.unreadable) > MOST_LINES:
        errors.print(Text(f"So it is with {plural(len(survey.unreadable) - MOST_LINES, 'more folder')}."))
    remarked = (Reason.NO_VIDEO, Reason.IGNORED)
    left_out = {reason: paths for reason, paths in survey.left_out.items() if reason not in remarked}
    if left_out:
        parts = [f"{reason} ({len(paths):,}, such as {paths[0].name})" for reason, paths in left_out.items()]
        message(f"Left out: {'; '.join(parts)}. --all-files takes them too.")
    if others := survey.left_out.get(Reason.NO_VIDEO):
        names = ", ".join(path.name for path in others[:3])
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        message(f"Left out, since the contents are no video: {names}{more}.")
    if ignored := survey.left_out.get(Reason.IGNORED):
        message(f"Left out by {IGNORE_FILE}: {len(ignored):,}, such as {ignored[0].name}.")
    for unused in survey.unused:
        meant = f" Did you mean {unused.similar}?" if unused.similar else ""
        message(
            f"--exclude {unused.pattern} matches nothing here.{meant} Later runs keep to it until you give --include "
            f"{unused.pattern}."
        )


def show_preview(preview: "Preview", index: IndexPath | None = None) -> None:
    """Shows what a run would do: a line for each video that is not unchanged, and a summary.

    `index` is the path of the index, for the commands that are named; None: the default one."""
    from vidfind.index.options import FEW_REMOVALS

    show_survey(preview.survey)
    for path, status in preview.videos:
        show(Text(f"{status:<8}  {result_path(path)}"))
    show_offline(preview.offline, index)
    counts = preview.counts
    parts = [f"{counts[status]:,} {status}" for status in STATUSES if counts[status]]
    show(Text(f"Would be: {', '.join(parts)}." if parts else "No videos found."))
    if preview.lost > FEW_REMOVALS:
        message(f"Removing {plural(preview.lost, 'video')} must be confirmed: the run asks, or needs --yes.")
    if preview.encoded:
        time = (
            f"about {clock(math.ceil(preview.elapsed))}" if preview.elapsed else "a time that no run has measured yet"
        )
        show(Text(f"To encode: {plural(preview.encoded, 'video')}, {clock(preview.footage)} of footage, in {time}."))


def preview_json(preview: "Preview") -> Iterator[dict[str, Any]]:
    """Yields the lines of `vidfind index --dry-run --json`: one for each video not unchanged, then a summary."""
    for path, status in preview.videos:
        yield {"path": path, "status": status}
    counts = {status: preview.counts[status] for status in STATUSES}
    kept = [{"folder": one.folder, "videos": one.videos} for one in preview.offline]
    elapsed = None if preview.elapsed is None else round(preview.elapsed, 3)
    times = {"encode": preview.encoded, "seconds": round(preview.footage, 3), "elapsed": elapsed}
    yield {"summary": {**counts, **times, "offline": kept, **survey_json(preview.survey)}}


def show_watching(event: "Retrying | Watching | FolderLeft | FolderBack", now: str) -> None:
    """Shows an event of `watch_videos` on stderr; `now` is the time of day."""
    from vidfind.index.watch import FolderLeft, Retrying, Watching

    if isinstance(event, Watching):
        if event.changing:
            message(f"{plural(event.changing, 'file')} just changed: indexed when that is over.")
        message(f"Watching {plural(event.folders, 'folder')} for changes. Ctrl-C ends it.")
    elif isinstance(event, Retrying):
        if event.is_new:
            message(f"{now}  {event.reason} Trying again until that works.")
    elif isinstance(event, FolderLeft):
        message(f"{now}  {event.folder} is not there now: its videos stay in the index.")
    else:
        message(f"{now}  {event.folder} is there again.")


def show_videos(
    what: str, videos: Sequence[tuple[Path, str]], lines: int | None = None, console: Console = messages
) -> None:
    """Prints how many videos `what` applies to, then each with its reason; on stderr, or on `console`.

    Only the first `lines` of them, if that is given; all with `-v`."""
    if not videos:
        return
    shown = videos[: None if logger.isEnabledFor(logging.DEBUG) else lines]
    say(console, Text(f"{plural(len(videos), 'video')} {what}:", style="bold yellow"))
    for path, reason in shown:
        say(console, Text.assemble("  ", home_path(path), (f" {printable(reason)}", "yellow")))
    if len(shown) < len(videos):
        say(console, f"  and {len(videos) - len(shown):,} more; -v shows all")


def outcome_json(outcome: "Outcome") -> dict[str, Any]:
    """Returns the line of `vidfind index --json` for a video."""
    values = {key: getattr(outcome, key) for key in ("path", "status", "segments", "seconds", "message", "damage")}
    return {**values, "off": outcome.time_error, "failed_before": outcome.was_tried_before}


def summary_json(summary: "IndexSummary") -> dict[str, Any]:
    """Returns the last line of `vidfind index --json`."""
    counts: dict[str, int] = {status: summary.counts[status] for status in STATUSES}
    counts["failed_before"] = sum(outcome.was_tried_before for outcome in summary.failed)
    kept = [{"folder": offline.folder, "videos": offline.videos} for offline in summary.offline]
    times = {"seconds": round(summary.footage, 3), "elapsed": round(summary.elapsed, 3)}
    gone = [{"folder": vanished.folder, "videos": vanished.videos} for vanished in summary.vanished]
    looked = survey_json(summary.survey) if summary.survey else {}
    return {
        "summary": {**counts, **times, "offline": kept, "vanished": gone, "not_removed": summary.not_removed, **looked}
    }


def survey_json(survey: "Survey") -> dict[str, Any]:
    """Returns what a look through folders has found besides videos, as part of a summary."""
    return {
        "left_out": {reason.name.lower(): len(paths) for reason, paths in survey.left_out.items()},
        "unreadable": [{"path": one.path, "reason": one.reason} for one in survey.unreadable],
        "unused_patterns": [unused.pattern for unused in survey.unused],
    }
