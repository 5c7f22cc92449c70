"""Shows classes: what examples were taken, how well they were learned, and how many videos show each."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from vidfind.categories.labels import shown_name
from vidfind.commands import class_search_command, learn_fit_command
from vidfind.display.console import message, new_table, result_path, show, show_list
from vidfind.display.labels.tagging import show_remarks
from vidfind.display.text import plural, printable, span
from vidfind.store.places.path import IndexPath

if TYPE_CHECKING:
    from vidfind.categories.fitting import Fitted, ListedClass
    from vidfind.categories.labels import Added, ClassList
    from vidfind.categories.tasks import LearnedClasses
    from vidfind.store.store import Store
    from vidfind.store.tables import VideoRow
    from vidfind.tagging.labels import Label

WAYS = {
    "zero-shot": "names alone",
    "prototype": "names and the mean look of examples",
    "linear": "a linear probe",
    "vector": "a network that tasks share",
    "token": "tuned prompts",
}


def class_json(label: "Label", path: Path | None) -> dict[str, Any]:
    """Returns the fields of an example for JSON."""
    values = {"task": label.task, "class": label.name, "path": path, "start": label.start, "end": label.end}
    return values | {"describe": label.described or None}


def show_added(store: "Store", added: "Added") -> None:
    """Shows how many examples of a class were added."""
    name = shown_name(added.labels[0])
    if not added.put:
        message(f"That was known already of {name}.")
        return
    show_turned(added)
    if added.described:
        message(f"{name}: {plural(added.described, 'example')} described anew.")
    if added.same:
        message(f"{name}: {plural(added.same, 'example')} known already.")
    if added.new:
        message(
            f"{name}: {plural(added.new, 'new example')}. When you have given some of each class: "
            f"{learn_fit_command(store.path)}"
        )


def show_turned(added: "Added") -> None:
    """Shows which examples of other classes were replaced."""
    if added.turned:
        names = ", ".join(dict.fromkeys(map(shown_name, added.turned.values())))
        message(f"{plural(len(added.turned), 'example')} of another class before, which this replaces: {names}.")


def show_import(found: "ClassList", added: "Added", is_dry: bool) -> None:
    """Shows what a list has added, or would add if `is_dry`."""
    show_remarks(found)
    show_turned(added)
    described = f" {plural(added.described, 'was', 'were')} described anew." if added.described else ""
    same = f" {plural(added.same, 'was', 'were')} there already." if added.same else ""
    classes = len({shown_name(label).casefold() for label in found.labels})
    message(
        f"{'Would add' if is_dry else 'Added'} {plural(added.new, 'example')}; the list has "
        f"{plural(classes, 'class', 'classes')}.{described}{same}"
    )


def import_json(found: "ClassList", added: "Added") -> dict[str, Any]:
    """Returns the line of `vidfind learn import --json`."""
    return {
        "added": added.new,
        "described": added.described,
        "replaced": len(added.turned),
        "same": added.same,
        "duplicates": found.duplicates,
        "skipped": [vars(one) for one in found.skipped],
        "notes": [vars(one) for one in found.notes],
        "found_by_name": {text: str(path) for text, path in found.by_name.items()},
    }


# What was learned


def show_fitted(fitted: "Fitted", is_dry: bool, index: IndexPath) -> None:
    """Shows how well each way to learn does, the one that is used, and what it finds."""
    from vidfind.categories.tasks import FEWEST_VIDEOS

    learned = fitted.learned
    show_found(learned, fitted.found)
    known = {name: score for name, score in learned.scores.items() if score == score}
    if known:
        shown = ", ".join(f"{name} {score:.1f} %" for name, score in known.items())
        message(f"Examples that were right when left out: {shown}. Used: {learned.mode} ({WAYS[learned.mode]}).")
    else:
        message(f"Nothing was judged: that takes two videos of a class. Used: {learned.mode} ({WAYS[learned.mode]}).")
    if "token" in learned.scores and "token" not in known:
        message("Tuned prompts were not tried: to judge them takes three videos of a class.")
    alone = [name for name, is_good in zip(learned.names, learned.validated, strict=True) if not is_good]
    if alone:
        message(
            f"Not validated, so given to nothing by themselves: {', '.join(alone)}. A class needs {FEWEST_VIDEOS} "
            "videos as examples, and must be found where they are left out more often than by chance."
        )
    if learned.steps and learned.steps < learned.most_steps:
        message(f"The time was over after {learned.steps} of {learned.most_steps} steps. More: --max-seconds")
    if fitted.unusable:
        message(f"{plural(fitted.unusable, 'segment')} without a usable vector left out.")
    done = "Nothing was changed" if is_dry else "Learned"
    what = plural(len(learned.names), "class", "classes")
    message(
        f"{done}: {what}, {plural(fitted.segments, 'segment')}, {fitted.seconds:.1f} s. "
        f"To search: {class_search_command(learned.names[0], index)}"
    )


def show_found(learned: "LearnedClasses", found: Mapping[str, int]) -> None:
    """Shows the table of classes: their examples, how many of these are right when left out, and what is found."""
    table = new_table()
    table.add_column("Class", overflow="fold")
    for title in ("Examples", "Right", "Found"):
        table.add_column(title, justify="right")
    scores = [score for task, score in zip(learned.tasks, learned.task_scores, strict=True) for _ in task.classes]
    for name, count, score in zip(learned.names, learned.counts, scores, strict=True):
        right = f"{score:.0f} %" if score == score else ""
        table.add_row(Text(printable(name)), f"{count:,}", right, f"{found.get(name, 0):,}")
    show_list(table)


def found_json(learned: "LearnedClasses", found: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yields a line for each class."""
    scores = [score for task, score in zip(learned.tasks, learned.task_scores, strict=True) for _ in task.classes]
    columns = zip(learned.names, learned.counts, scores, learned.validated, strict=True)
    for name, count, score, is_validated in columns:
        yield {
            "class": name,
            "examples": int(count),
            "right": round(score, 1) if score == score else None,
            "found": found.get(name, 0),
            "validated": bool(is_validated),
        }


def fitted_json(fitted: "Fitted") -> Iterator[dict[str, Any]]:
    """Yields a line for each class, and a last one about all."""
    yield from found_json(fitted.learned, fitted.found)
    learned = fitted.learned
    yield {
        "mode": learned.mode,
        "scores": {name: round(score, 1) if score == score else None for name, score in learned.scores.items()},
        "steps": learned.steps,
        "segments": fitted.segments,
        "unusable": fitted.unusable,
        "seconds": round(fitted.seconds, 2),
    }


# Overviews


def listed_json(one: "ListedClass") -> dict[str, Any]:
    """Returns a line of `vidfind learn list --json`."""
    return {
        "task": one.task,
        "class": one.name,
        "describe": one.description or None,
        "examples": one.videos,
        "found": one.found,
        "right": None if one.task_score is None else round(one.task_score, 1),
        "learned": one.is_learned,
        "validated": one.is_validated,
    }


def show_listed(listed: Sequence["ListedClass"], index: IndexPath) -> None:
    """Shows the table of classes, and tips about those that are not learned well."""
    table = new_table()
    table.add_column("Class", overflow="fold")
    for title in ("Examples", "Right", "Found"):
        table.add_column(title, justify="right")
    table.add_column("Description", overflow="fold", style="dim")
    for one in listed:
        right = "" if one.task_score is None else f"{one.task_score:.0f} %"
        name = Text(printable(f"{one.task}:{one.name}"))
        table.add_row(name, f"{one.videos:,}", right, f"{one.found:,}", printable(one.description))
    show_list(table)
    fresh = [f"{one.task}:{one.name}" for one in listed if not one.is_learned and one.name != "none"]
    if fresh:
        message(f"Not learned yet: {', '.join(fresh)}. Learn: {learn_fit_command(index)}")
    unclear = [f"{one.task}:{one.name}" for one in listed if one.needs_description]
    if unclear:
        message(
            f"The model does not know by the name what these look like: {', '.join(unclear)}. "
            "A description helps: add one with --describe."
        )


def show_task(
    listed: Sequence["ListedClass"],
    labels: Sequence["Label"],
    rows: Mapping[str, "VideoRow"],
    learned: "LearnedClasses | None",
) -> None:
    """Shows the classes of a task with their descriptions and examples."""
    for one in listed:
        about = [plural(one.videos, "example"), f"found in {plural(one.found, 'more video')}" if one.found else ""]
        about += [one.description, "" if one.is_validated or one.name == "none" else "not validated"]
        show(Text.assemble((printable(f"{one.task}:{one.name}"), "bold"), "  " + "; ".join(filter(None, about))))
        for label in labels:
            if label.name.casefold() != one.name.casefold():
                continue
            path = (
                result_path(rows[label.video].path) if label.video in rows else "a video that is not in the index now"
            )
            part = f"  {span(label.start, label.end or 0.0)}" if label.start is not None else ""
            show(Text(f"  {path}{part}"))
    if listed and listed[0].task_score is not None and learned:
        message(
            f"Examples that were right when left out: {listed[0].task_score:.1f} %, by {learned.mode} "
            f"({WAYS[learned.mode]})."
        )
