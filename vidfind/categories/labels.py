"""The classes that an owner gives to videos: adding one, reading lists and folders of them, forgetting.

Each function that writes makes one commit, under the lock of the index. Times in videos are in seconds.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from vidfind.categories.examples import check_one_class, tasks_of
from vidfind.categories.tasks import NONE
from vidfind.commands import learn_add_command, learn_list_command
from vidfind.errors import BadInput, Unusable
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow
from vidfind.tagging.edit import path_cell
from vidfind.tagging.labels import Label, clean_name, name_key, spellings
from vidfind.tagging.lists import Listed, Skipped, VideoFinder, read_list, read_part

COLUMNS = (("task",), ("class",), ("path", "file", "video"))
OTHER_COLUMNS = ("start", "end", "describe", "description")
SEPARATOR = ":"


@dataclass
class ClassList:
    """The classes of a list of videos, and what of it cannot be used."""

    labels: list[Label] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[Skipped] = field(default_factory=list)
    """Remarks about rows that are used."""
    ignored: list[str] = field(default_factory=list)
    duplicates: int = 0


def class_label(
    row: VideoRow,
    task: str,
    name: str,
    start: float | None = None,
    end: float | None = None,
    described: str = "",
) -> Label:
    """Returns the label of a video, or of a part of it, that belongs to a class. Raises BadInput for bad names."""
    task, name = clean_class_name(task, "task"), clean_class_name(name, "class")
    if name_key(name) == NONE:
        name, described = NONE, ""
    described = " ".join(described.split())
    return Label(row.content, start, end, "class", task, name, 1, video=row.fingerprint, described=described)


def clean_class_name(text: str, what: str) -> str:
    """Returns a name as `clean_name` does. Raises BadInput, also for a colon, which stands between task and class."""
    name = clean_name(text, what)
    for mark in (SEPARATOR, "/"):
        if mark in name:
            raise BadInput(f"The {what} {name!r} has a {mark!r}, which stands between a task and its class.")
    return name


# Lists

EXPORTED = ("task", "class", "path", "start", "end", "describe")


def class_rows(store: Store, rows: Mapping[str, VideoRow]) -> Iterator[dict[str, object]]:
    """Yields the examples of all classes as `read_class_list` reads them; `rows` are videos by their fingerprints."""
    for label in store.labels("class"):
        values = (label.task, label.name, path_cell(rows[label.video].path), label.start, label.end, label.described)
        yield dict(zip(EXPORTED, values, strict=True))


def read_class_list(data: bytes, name: str, finder: VideoFinder) -> ClassList:
    """Returns the classes in a CSV, TSV or JSON lines file, of the columns task, class and path.

    Raises Unusable for a file of which nothing can be used, or that gives one moment two classes of a task."""
    listed: Listed = read_list(data, name, COLUMNS, OTHER_COLUMNS)
    found = ClassList(skipped=listed.skipped, ignored=listed.ignored)
    lines: dict[str, int] = {}
    for record in listed.records:
        path = record.text("path") or record.text("file") or record.text("video")
        try:
            video = finder.find(path)
            part = read_part(record.text("start"), record.text("end"), video.row.duration)
            described = record.text("describe") or record.text("description")
            texts = record.text("task"), record.text("class")
            label = class_label(video.row, *texts, part.start, part.end, described)
            found.notes += [Skipped(record.line, f"{path} {note}") for note in (video.note, part.note) if note]
            _take(found, label, record.line, lines)
        except Unusable:
            raise
        except BadInput as error:
            shown = str(error) if str(error).startswith(("The ", "A ")) else f"{path or 'the row'} {error}"
            found.skipped.append(Skipped(record.line, shown))
    found.skipped.sort(key=lambda one: one.line)
    return found


def read_class_folder(folder: Path, finder: VideoFinder) -> ClassList:
    """Returns the classes of the indexed videos in folders `folder/TASK/CLASS`. Raises Unusable if there are none.

    Line 0 stands for what is no line."""
    found = ClassList()
    lines: dict[str, int] = {}
    for file in sorted(path for path in folder.glob("*/*/**/*") if path.is_file() and not path.name.startswith(".")):
        task, name, *_ = file.relative_to(folder).parts
        try:
            _take(found, class_label(finder.find(str(file)).row, task, name), 0, lines)
        except Unusable:
            raise
        except BadInput as error:
            shown = str(error) if str(error).startswith(("The ", "A ")) else f"{file.relative_to(folder)} {error}"
            found.skipped.append(Skipped(0, shown))
    if not found.labels and not found.skipped:
        raise Unusable(f"{folder} holds no files like TASK/CLASS/VIDEO, such as pets/Rex/clip.mp4.")
    return found


def _take(found: ClassList, label: Label, line: int, lines: dict[str, int]) -> None:
    if label.id in lines:
        found.duplicates += 1
        if label.described:  # the row that says more counts
            found.labels = [label if one.id == label.id else one for one in found.labels]
        return
    lines[label.id] = line
    found.labels.append(label)


# Changing


@dataclass(frozen=True)
class Added:
    """How many labels were new, and how many were there already."""

    new: int
    same: int


def check_lists(labels: Iterable[Label], multi: Iterable[str] = ()) -> None:
    """Raises Unusable where one moment has two classes of a task that is not one of people."""
    held = list(labels)
    check_one_class(held, tasks_of(held, multi))


def add_classes(store: Store, labels: Sequence[Label]) -> Added:
    """Adds labels in one commit; names keep the spelling they were first written with, and a description stays where a
    new label has none."""
    with store.writing() as writer:
        put = _new_labels(store, labels)
        if put:
            writer.change_labels(put)
    return Added(len(put), len(labels) - len(put))


def planned(store: Store, labels: Sequence[Label]) -> Added:
    """Returns what `add_classes` would do."""
    new = len(_new_labels(store, labels))
    return Added(new, len(labels) - new)


def _new_labels(store: Store, labels: Sequence[Label]) -> list[Label]:
    """Returns the labels that say more than the index knows."""
    stored = store.labels("class", also_gone=True)
    by_id = {label.id: label for label in stored}
    tasks = spellings(label.task for label in [*stored, *labels])
    names: dict[str, dict[str, str]] = defaultdict(dict)
    for label in [*stored, *labels]:
        names[name_key(label.task)].setdefault(name_key(label.name), label.name)
    put = []
    for label in labels:
        old = by_id.get(label.id)
        described = label.described or (old.described if old else "")
        if not old or old.described != described:
            task, name = name_key(label.task), name_key(label.name)
            put.append(dataclasses.replace(label, task=tasks[task], name=names[task][name], described=described))
    return put


def labels_of(store: Store, task: str, name: str | None = None) -> list[Label]:
    """Returns the labels of a task or of one of its classes. Raises Unusable if there are none, with what is near."""
    labels = store.labels("class", also_gone=True)
    own = [label for label in labels if name_key(label.task) == name_key(task)]
    tasks = sorted({label.task for label in labels})
    if not own:
        near = get_close_matches(task, tasks, n=1)
        known = f"Did you mean {near[0]!r}?" if near else f"See what there is: {learn_list_command(store.path)}"
        if not labels:
            known = f"There are no classes yet. Give some examples: {learn_add_command(index=store.path)}"
        raise Unusable(f"There is no task {task!r}. {known}")
    if name is None:
        return own
    chosen = [label for label in own if name_key(label.name) == name_key(name)]
    if not chosen:
        there = ", ".join(sorted({label.name for label in own}))
        raise Unusable(f"The task {own[0].task!r} has no class {name!r}. It has: {there}")
    return chosen


def split_name(text: str, mark: str = SEPARATOR) -> tuple[str, str]:
    """Returns the task and the class of a text such as `pets:rex`. Raises BadInput."""
    task, found, name = text.partition(mark)
    if not found or not task.strip() or not name.strip():
        raise BadInput(f"{text!r} is no class. Write TASK{mark}CLASS, such as pets{mark}rex.")
    return task.strip(), name.strip()
