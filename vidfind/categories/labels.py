"""The classes that an owner gives to videos: adding one, reading lists and folders of them, forgetting.

Each function that writes makes one commit, under the lock of the index. Times in videos are in seconds.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from vidfind.categories.examples import multi_tasks
from vidfind.categories.tasks import NONE, SEPARATOR, SEPARATORS
from vidfind.commands import learn_add_command, learn_list_command
from vidfind.errors import BadInput, Unusable
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow
from vidfind.system.times import clock
from vidfind.tagging.edit import path_cell
from vidfind.tagging.labels import Label, clean_name, name_key, spellings
from vidfind.tagging.lists import Listed, Skipped, VideoFinder, read_list, read_part

COLUMNS = (("task",), ("class",), ("path", "file", "video"))
OTHER_COLUMNS = ("start", "end", "describe", "description")


@dataclass
class ClassList:
    """The classes of a list of videos, and what of it cannot be used."""

    labels: list[Label] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[Skipped] = field(default_factory=list)
    """Remarks about rows that are used."""
    ignored: list[str] = field(default_factory=list)
    by_name: dict[str, Path] = field(default_factory=dict)
    """The videos that only the names of their files told, by the texts that named them."""
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
    for mark in SEPARATORS:
        if mark in name:
            raise BadInput(f"The {what} {name!r} has a {mark!r}, which stands between a task and its class.")
    return name


# Lists

EXPORTED = ("task", "class", "path", "start", "end", "describe")


def class_rows(store: Store, rows: Mapping[str, VideoRow]) -> Iterator[dict[str, object]]:
    """Yields the examples among videos as `read_class_list` reads them; `rows` are these by their fingerprints."""
    for label in store.labels("class", also_gone=True):
        if row := rows.get(label.video):
            values = (label.task, label.name, path_cell(row.path), label.start, label.end, label.described)
            yield dict(zip(EXPORTED, values, strict=True))


def read_class_list(data: bytes, name: str, finder: VideoFinder, multi: Collection[str] = ()) -> ClassList:
    """Returns the classes in a CSV, TSV or JSON lines file, of the columns task, class and path.

    Raises Unusable for a file of which nothing can be used, or that gives one moment two classes of a task which is
    not among the keys `multi`."""
    listed: Listed = read_list(data, name, COLUMNS, OTHER_COLUMNS)
    taken = _Taken(name, ClassList(skipped=listed.skipped, ignored=listed.ignored), multi)
    found = taken.found
    for record in listed.records:
        path = record.text("path") or record.text("file") or record.text("video")
        try:
            video = finder.find(path)
            part = read_part(record.text("start"), record.text("end"), video.row.duration)
            described = record.text("describe") or record.text("description")
            texts = record.text("task"), record.text("class")
            label = class_label(video.row, *texts, part.start, part.end, described)
            found.notes += [Skipped(record.line, f"{path} {part.note}")] if part.note else []
            found.by_name |= {path: video.row.path} if video.by_name else {}
            taken.add(label, f"line {record.line}", path)
        except Unusable:
            raise
        except BadInput as error:
            shown = str(error) if str(error).startswith(("The ", "A ")) else f"{path or 'the row'} {error}"
            found.skipped.append(Skipped(record.line, shown))
    found.skipped.sort(key=lambda one: one.line)
    return found


def read_class_folder(folder: Path, finder: VideoFinder, multi: Collection[str] = ()) -> ClassList:
    """Returns the classes of the indexed videos in folders `folder/TASK/CLASS`.

    Line 0 stands for what is no line. Raises Unusable if there are none, or where copies of one video are in folders of
    two classes of a task which is not among the keys `multi`."""
    taken = _Taken(str(folder), ClassList(), multi)
    found = taken.found
    for file in sorted(path for path in folder.glob("*/*/**/*") if path.is_file() and not path.name.startswith(".")):
        task, name, *_ = file.relative_to(folder).parts
        try:
            label = class_label(finder.find(str(file)).row, task, name)
            taken.add(label, str(file.relative_to(folder)), file.name)
        except Unusable:
            raise
        except BadInput as error:
            shown = str(error) if str(error).startswith(("The ", "A ")) else f"{file.relative_to(folder)} {error}"
            found.skipped.append(Skipped(0, shown))
    if not found.labels and not found.skipped:
        raise Unusable(f"{folder} holds no files like TASK/CLASS/VIDEO, such as pets/Rex/clip.mp4.")
    return found


class _Taken:
    """The labels that are taken of a list or a folder."""

    def __init__(self, source: str, found: ClassList, multi: Collection[str]) -> None:
        """`source` is the name of the list, and `multi` are the keys of the tasks of which a moment can show several
        classes."""
        self._source, self.found, self._multi = source, found, multi
        self._numbers: dict[str, int] = {}
        self._classes: dict[object, tuple[str, str]] = {}

    def add(self, label: Label, place: str, video: str) -> None:
        """Adds a label, once. `place` is where it stands, and `video` how its video is named there.

        Raises Unusable if its moment has another class of the task."""
        if label.id in self._numbers:
            self.found.duplicates += 1
            if label.described:  # the row that says more counts
                self.found.labels[self._numbers[label.id]] = label
            return
        name = shown_name(label)
        other, first = self._classes.setdefault(_question(label), (name, place))
        if other != name and name_key(label.task) not in self._multi:
            part = "" if label.start is None else f" from {clock(label.start)} to {clock(label.end or 0.0)}"
            raise Unusable(
                f"{self._source}: {first} and {place} say that {video}{part} shows {other} and {name}. Keep one of "
                f"them; or, where a moment of {label.task} can show several, add --multi {label.task}. "
                "Nothing was changed."
            )
        self._numbers[label.id] = len(self.found.labels)
        self.found.labels.append(label)


def _question(label: Label) -> tuple[str, float | None, float | None, str]:
    """Returns what is the same of labels that answer the same question about the same part of a video."""
    return label.video, label.start, label.end, name_key(label.task)


# Changing


@dataclass
class Added:
    """The changes that make new labels hold."""

    labels: list[Label] = field(default_factory=list)
    """The new labels, with names as they are spelled in the index."""
    put: dict[str, Label] = field(default_factory=dict)
    """The labels to write, by their ids."""
    described: int = 0
    """How many of these were there, and get another description."""
    same: int = 0
    """How many of the new labels were there already."""
    turned: dict[str, Label] = field(default_factory=dict)
    """Labels of other classes for the same moments, which are deleted; by their ids."""

    @property
    def new(self) -> int:
        """How many labels were not there."""
        return len(self.put) - self.described


def add_classes(store: Store, labels: Sequence[Label], multi: Collection[str] = ()) -> Added:
    """Adds labels in one commit, and returns what that changed.

    Names keep the spelling they were first written with, and a description stays where a new label has none. Where a
    moment has another class of a task, the newer wins, unless the key of the task is among `multi`."""
    with store.writing() as writer:
        added = planned(store, labels, multi)
        writer.change_labels(added.put.values(), added.turned.values())
    return added


def planned(store: Store, labels: Sequence[Label], multi: Collection[str] = ()) -> Added:
    """Returns what `add_classes` would do."""
    stored = store.labels("class", also_gone=True)
    by_id = {label.id: label for label in stored}
    by_question: dict[object, list[Label]] = defaultdict(list)
    for label in stored:
        by_question[_question(label)].append(label)
    tasks = spellings(label.task for label in [*stored, *labels])
    names: dict[str, dict[str, str]] = defaultdict(dict)
    for label in [*stored, *labels]:
        names[name_key(label.task)].setdefault(name_key(label.name), label.name)
    added = Added()
    for label in labels:
        task, name = name_key(label.task), name_key(label.name)
        old = by_id.get(label.id)
        described = label.described or (old.described if old else "")
        label = dataclasses.replace(label, task=tasks[task], name=names[task][name], described=described)
        added.labels.append(label)
        if label.id in added.put or (old and old.described == described):
            added.same += 1
            continue
        added.described += bool(old)
        added.put[label.id] = label
        if task not in multi:
            added.turned |= {one.id: one for one in by_question[_question(label)] if name_key(one.name) != name}
    return added


def tasks_of_many(store: Store, named: Collection[str] = ()) -> set[str]:
    """Returns the keys of the tasks of which a moment can show several classes; see `multi_tasks`."""
    return multi_tasks(store.labels("class", also_gone=True), named)


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


def shown_name(label: Label) -> str:
    """Returns the whole name of a class, such as `pets:rex`."""
    return f"{label.task}{SEPARATOR}{label.name}"
