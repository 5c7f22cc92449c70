"""Shows tags: what was said of videos, what a list held, and how many videos have each."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from vidfind.commands import tag_add_command, tag_review_command
from vidfind.display.console import facts, json_line, message, new_table, result_path, show, show_list
from vidfind.display.text import near_path, plural, printable, span
from vidfind.store.places.path import IndexPath

if TYPE_CHECKING:
    from vidfind.categories.labels import ClassList
    from vidfind.store.tables import VideoRow
    from vidfind.tagging.edit import Import, Suggested, TagCount, TagsOf
    from vidfind.tagging.fill import Filled
    from vidfind.tagging.labels import Changes, Label
    from vidfind.tagging.learning.guard import Choice
    from vidfind.tagging.lists import Skipped

LINES_SHOWN = 10
"""So many rows of a list that cannot be used are listed."""


def label_json(label: "Label", path: Path | None) -> dict[str, Any]:
    """Returns the fields of a label for JSON."""
    value = "yes" if label.is_yes else "no"
    return {"path": path, "tag": label.name, "value": value, "start": label.start, "end": label.end}


def show_changes(
    changes: "Changes", labels: Sequence["Label"], rows: Sequence["VideoRow"], as_json: bool = False
) -> None:
    """Shows the tags that were given to videos, and the older ones that they replace; or prints them as JSON."""
    if as_json:
        row_of = {row.fingerprint: row for row in rows}
        for label in labels:
            json_line(label_json(label, row_of[label.video].path))
        return
    names = ", ".join(dict.fromkeys(label.name for label in changes.put.values() or labels))
    videos = near_path(rows[0].path) if len(rows) == 1 else plural(len(rows), "video")
    first = labels[0]
    part = f", {span(first.start, first.end or 0.0)}" if first.start is not None else ""
    if not changes.put:
        message(f"{videos}{part}: that was known already of {names}.")
        return
    message(f"{videos}{part}: {names}." if first.is_yes else f"{videos}{part}: not {names}.")
    show_turned(changes)


def show_turned(changes: "Changes") -> None:
    """Shows which labels replace older ones that said the opposite."""
    if changes.turned:
        names = ", ".join(dict.fromkeys(label.name for label in changes.turned))
        message(f"{plural(len(changes.turned), 'tag')} said the opposite before, which this replaces: {names}.")


def show_skipped(skipped: Sequence["Skipped"], what: str = "could not be used") -> None:
    """Lists the first rows of a list that something is to be said of."""
    if skipped:
        message(f"{plural(len(skipped), 'row')} {what}:")
    for one in skipped[:LINES_SHOWN]:
        message(f"  line {one.line}: {one.reason}" if one.line else f"  {one.reason}")
    if len(skipped) > LINES_SHOWN:
        message(f"  and {len(skipped) - LINES_SHOWN:,} more")


def show_by_name(found: Mapping[str, Path]) -> None:
    """Shows which videos only the names of their files told; of many, one as an example."""
    for text, path in [*found.items()][:1]:
        many = f"{plural(len(found), 'video')} found by the names of their files alone, such as {text}"
        message(f"{many if len(found) > 1 else f'{text} was found by its name'}: {near_path(path)}")


def show_remarks(found: "Import | ClassList") -> None:
    """Shows what of a list was not read, or not as it stands there."""
    show_skipped(found.skipped)
    show_skipped(found.notes, "changed")
    show_by_name(found.by_name)
    if found.ignored:
        message(f"Columns that nothing was read from: {', '.join(found.ignored)}.")
    if found.duplicates:
        message(f"{plural(found.duplicates, 'row')} said the same as one before, and counted once.")


def show_import(found: "Import", changes: "Changes", is_dry: bool) -> None:
    """Shows what a list has changed, or would change if `is_dry`."""
    show_remarks(found)
    show_turned(changes)
    same = f" {plural(changes.same, 'was', 'were')} there already." if changes.same else ""
    videos = plural(len({label.video for label in found.labels}), "video")
    message(f"{'Would add' if is_dry else 'Added'} {plural(len(changes.put), 'tag')}, of {videos} listed.{same}")


def import_json(found: "Import", changes: "Changes") -> dict[str, Any]:
    """Returns the line of `vidfind tag import --json`."""
    return {
        "added": len(changes.put),
        "same": changes.same,
        "replaced": len(changes.turned),
        "duplicates": found.duplicates,
        "skipped": [vars(one) for one in found.skipped],
        "notes": [vars(one) for one in found.notes],
        "found_by_name": {text: str(path) for text, path in found.by_name.items()},
    }


# Overviews


def count_json(count: "TagCount") -> dict[str, Any]:
    """Returns a line of `vidfind tag list --json`."""
    values = vars(count)
    return {"tag": values["name"], **{name: value for name, value in values.items() if name != "name"}}


def show_counts(counts: Sequence["TagCount"]) -> None:
    """Shows the table of tags: how many videos have each by the owner's word, and how many may have it."""
    table = new_table()
    table.add_column("Tag", overflow="fold")
    for title in ("Yours", "Not", "Added", "To review"):
        table.add_column(title, justify="right")
    for one in counts:
        numbers = (one.yours, one.no, one.added, one.to_review)
        table.add_row(Text(printable(one.name)), *(f"{number:,}" for number in numbers))
    show_list(table)


def tags_of_json(tags: "TagsOf", path: Path) -> dict[str, Any]:
    """Returns the line of `vidfind tag list VIDEO --json`."""

    def suggested(every: Sequence["Suggested"]) -> list[dict[str, Any]]:
        return [{"tag": one.name, "confidence": round(one.confidence, 3)} for one in every]

    labels = [{name: value for name, value in label_json(one, None).items() if name != "path"} for one in tags.labels]
    return {"path": path, "tags": labels, "added": suggested(tags.added), "to_review": suggested(tags.to_review)}


def show_tags_of(tags: "TagsOf", path: Path) -> None:
    """Shows the tags of a video: those of the owner, automatic ones, and suggestions."""
    rows = {
        "Yours": [_said(label) for label in tags.labels],
        "Added": [f"{one.name} ({one.confidence:.2f})" for one in tags.added],
        "To review": [f"{one.name} ({one.confidence:.2f})" for one in tags.to_review],
    }
    show(Text(result_path(path), style="bold"))
    show(facts([(title, ", ".join(names)) for title, names in rows.items() if names] or [("No tags", "")]))


def _said(label: "Label") -> str:
    part = f" {span(label.start, label.end or 0.0)}" if label.start is not None else ""
    return f"{'' if label.is_yes else 'not '}{label.name}{part}"


WAYS = {
    "text": "their names alone",
    "blend": "names and examples",
    "trained": "training",
    "blend + trained": "the mean of names and examples and of training, which are close",
}
"""The ways to find tags, in words; see tagging/guard.py."""


def filled_json(filled: "Filled") -> Iterator[dict[str, Any]]:
    """Yields the lines of `vidfind tag fill --json`: one for each tag, then one for all."""
    for one in filled.tags:
        yield {"tag": one.name, "yours": one.yours, "added": one.added, "to_review": one.to_review}
    choice = filled.choice
    yield {
        "used": choice.way,
        "map": {way: round(precision, 2) for way, precision in choice.precisions.items()},
        "steps": choice.steps,
        "is_cut": choice.is_cut,
        "not_trained": choice.failed or None,
        "segments": filled.segments,
        "unusable": filled.unusable,
        "seconds": round(filled.seconds, 2),
    }


def show_filled(filled: "Filled", is_dry: bool, index: IndexPath) -> None:
    """Shows what became of each tag, and which way to find tags was used."""
    from vidfind.tagging.learning.guard import FEWEST_YES

    table = new_table()
    table.add_column("Tag", overflow="fold")
    for title in ("Yours", "Added", "To review"):
        table.add_column(title, justify="right")
    for one in filled.tags:
        table.add_row(Text(printable(one.name)), *(f"{number:,}" for number in (one.yours, one.added, one.to_review)))
    show_list(table)
    _show_choice(filled.choice)
    if filled.unusable:
        message(f"{plural(filled.unusable, 'segment')} without a usable vector left out.")
    if crowded := [one.name for one in filled.tags if one.needs_no]:
        message(
            f"Nearly every video that you tagged has {', '.join(crowded)}, so it is added to none. Say of a few videos "
            f"that they do not have it: {tag_add_command(index)} --not"
        )
    few = [one.name for one in filled.tags if not one.needs_no and one.yours < FEWEST_YES]
    if few:
        message(f"Only suggested, as fewer than {FEWEST_YES} videos have them: {', '.join(few)}.")
    if is_dry:
        message("Nothing was changed.")
    elif any(one.to_review for one in filled.tags):
        message(f"To review them: {tag_review_command(index)}")


def _show_choice(choice: "Choice") -> None:
    """Shows the guard line: what was used, and how well each way found tags that it had not seen."""
    if not choice.precisions:
        message(f"Tags were found by {WAYS[choice.way]}. There are too few examples to say how well.")
        return
    scores = ", ".join(f"{WAYS[way]} {precision:.1f}" for way, precision in choice.precisions.items())
    message(f"Tags were found by {WAYS[choice.way]}. Mean average precision on videos held out: {scores}.")
    if choice.failed:
        message(f"Nothing was trained: {choice.failed}.")
    if choice.is_cut:
        message(f"The time was over after {plural(choice.steps, 'step')} of training; what was learnt by then counts.")
