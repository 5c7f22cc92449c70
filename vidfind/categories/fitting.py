"""Learns the classes of an index from its owner's examples, and marks the segments that show them.

Reads and writes an index; gets a function that encodes texts, and never prints.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from vidfind.categories.examples import gather_examples, is_usable, tasks_of
from vidfind.categories.judging import classify
from vidfind.categories.learning import learn
from vidfind.categories.saved import read_classes, write_classes
from vidfind.categories.tasks import Heads, LearnedClasses, Learning, Task, Texts, Vectors, task_of
from vidfind.categories.tuning import LoadEncoder
from vidfind.commands import learn_add_command, learn_fit_command
from vidfind.errors import IndexMismatch, Unusable
from vidfind.store.labelled.labels import Label
from vidfind.store.labelled.marks import Mark
from vidfind.store.store import Store
from vidfind.tagging.labels import name_key
from vidfind.tagging.learning.vectors import text_shift, text_vectors
from vidfind.tagging.saved import delete_others

Encode = Callable[[Sequence[str]], Vectors]
"""Makes unit vectors (N, D) of N texts. Raises Unusable for a text that is too long for the model."""


@dataclass(frozen=True)
class FitOptions:
    """The options of `learn fit`: the tasks, the ways, and the limits."""

    learning: Learning = dataclasses.field(default_factory=Learning)
    tasks: tuple[str, ...] = ()
    """Only these tasks; the others stay as they are. Empty: all."""
    multi: tuple[str, ...] = ()
    """The tasks, besides those of people, of which several classes can be in one segment."""
    allow_zero_shot: bool = False
    """Whether a class without a usable example is learned from its text."""
    dry_run: bool = False


@dataclass(frozen=True)
class Fitted:
    """The result of `learn fit`: the model, and how many videos show each class."""

    learned: LearnedClasses
    found: Mapping[str, int]
    """How many videos show each class, such as `pets:rex`, without being an example of it."""
    segments: int
    unusable: int
    """How many segments have no usable vector."""
    seconds: float


def fit_classes(store: Store, encode: Encode, asked: FitOptions, load_encoder: LoadEncoder | None = None) -> Fitted:
    """Learns the classes of an index, and marks all segments that show them, in one commit.

    `load_encoder` loads the whole model of the index; None: prompts are not tuned.

    Raises Unusable where there is nothing to learn from."""
    began = time.monotonic()
    labels = store.labels("class")
    old = read_classes(store) if asked.tasks else None
    tasks = tasks_of(labels, asked.multi)
    wanted = {name_key(name) for name in asked.tasks}
    if unknown := wanted - {name_key(task.name) for task in tasks}:
        name = sorted(unknown)[0]
        near = get_close_matches(name, [task.name for task in tasks], n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else f"Give it examples: {learn_add_command(store.path)}"
        raise Unusable(f"There is no task {name!r}. {remedy}")
    tasks = [task for task in tasks if not wanted or name_key(task.name) in wanted]
    if not tasks:
        raise Unusable(f"There are no classes to learn yet. Give some examples: {learn_add_command(store.path)}")
    shown = {name_key(task.name) for task in tasks}
    own = [label for label in labels if name_key(label.task) in shown]
    begin = time.monotonic()
    gathered = gather_examples(store, own, tasks, asked.learning.seed, old.shift if old else None)
    read = time.monotonic() - begin
    if gathered.missing and not asked.allow_zero_shot:
        raise Unusable(
            f"No example of {', '.join(gathered.missing)} is in the index. Give some: {learn_add_command(store.path)} "
            "To learn from the name alone, add --allow-zero-shot."
        )
    texts = encode_names(tasks, encode)
    left = max(0.0, asked.learning.max_seconds - (time.monotonic() - began) - read)  # it is read again to be marked
    learning = dataclasses.replace(asked.learning, max_seconds=left)
    learned = learn(gathered.examples, tasks, texts, gathered.shift, learning, load_encoder)
    if old:
        learned = merged(old, learned)
    marks = list(marks_of(store, learned))
    if not asked.dry_run:
        with store.writing() as writer:
            run = write_classes(store, learned, asked.learning.seed)
            writer.replace_marks("class", run, learned.names, marks)
            delete_others(store, "class", run)
    found = count_found(store, marks)
    return Fitted(learned, found, gathered.segments, gathered.unusable, time.monotonic() - began)


def apply_classes(store: Store) -> tuple[LearnedClasses, Mapping[str, int]]:
    """Marks all segments anew with the classes that were learned last.

    Returns the classes, and how many videos show each without being an example. Raises Unusable where none were
    learned, IndexMismatch where they were learned on other vectors."""
    learned = require_classes(store)
    marks = list(marks_of(store, learned))
    with store.writing() as writer:
        writer.replace_marks("class", store.run_of("class"), learned.names, marks)
    return learned, count_found(store, marks)


def require_classes(store: Store) -> LearnedClasses:
    """Returns the classes that were learned. Raises Unusable where there are none."""
    if learned := read_classes(store):
        return learned
    fit = learn_fit_command(store.path)
    if any((store.path / "models").glob("classes-*.npz")):
        raise IndexMismatch(
            f"The classes were learned with vectors that the index {store.path.name!r} does not have any more. "
            f"Learn them again from the same examples: {fit}"
        )
    raise Unusable(f"No classes have been learned yet. Learn them: {fit}")


def encode_names(tasks: Sequence[Task], encode: Encode) -> Texts:
    """Returns the texts of classes and tasks as vectors."""
    classes = text_vectors([text for task in tasks for text in task.texts], encode)
    return Texts(classes, np.asarray(encode([f"{task.name}." for task in tasks]), np.float32), text_shift(encode))


def marks_of(store: Store, learned: LearnedClasses) -> Iterator[Mark]:
    """Yields the marks of all segments that show a class."""
    for contents, spans, vectors in store.segments():
        yield from mark_segments(learned, contents.tolist(), spans.tolist(), vectors)


def mark_segments(
    learned: LearnedClasses, contents: Sequence[int], spans: Sequence[Sequence[float]], vectors: Vectors
) -> Iterator[Mark]:
    """Yields the marks of segments (N, D) that show a class."""
    names = learned.names
    good = is_usable(vectors)
    given, sure = classify(learned, np.where(good[:, None], vectors, 1))
    given &= good[:, None]
    for row in np.flatnonzero(given.any(axis=1)).tolist():
        classes = {names[one]: float(sure[row, one]) for one in np.flatnonzero(given[row]).tolist()}
        start, end = spans[row]
        yield Mark(contents[row], start, end, classes=classes)


def count_found(store: Store, marks: Sequence[Mark]) -> Counter[str]:
    """Returns how many files show each class by what was learned, of which the owner says nothing in its task."""
    files = {content: file for file, contents in store.contents_of_files().items() for content in contents}
    said = {(name_key(label.task), label.video) for label in store.labels("class")}
    shown = {
        (name, files[mark.content])
        for mark in marks
        for name in mark.classes
        if mark.content in files and (name_key(name.partition(":")[0]), files[mark.content]) not in said
    }
    return Counter(name for name, _ in shown)


def drop_classes(store: Store, labels: Sequence[Label], whole_task: bool) -> None:
    """Deletes the labels of one class, or of a `whole_task`, and what was learned from them.

    What was learned goes first: killed in between, the class is as if not learned yet, and can be forgotten again."""
    label = labels[0]

    def kept(name: str) -> str | None:
        return None if _is_of(name, label, whole_task) else name

    learned = read_classes(store)
    with store.writing() as writer:
        run = store.run_of("class")
        if learned:
            left = without(learned, {name_key(name) for name in learned.names if not kept(name)})
            run = write_classes(store, left, 0) if left else ""
        writer.rename_marks("class", run, kept)
        writer.change_labels([], labels)
        delete_others(store, "class", run)


def _is_of(name: str, label: Label, whole_task: bool) -> bool:
    task, _, of_class = name.partition(":")
    return name_key(task) == name_key(label.task) and (whole_task or name_key(of_class) == name_key(label.name))


def without(learned: LearnedClasses, gone: Collection[str]) -> LearnedClasses | None:
    """Returns learned classes without those of some keys such as `pets:rex`; None if none is left."""
    kept = np.array([name_key(name) not in gone for name in learned.names])
    owner = task_of(learned.tasks)
    numbers = np.unique(owner[kept])
    if not len(numbers):
        return None
    rows = np.concatenate([np.flatnonzero(kept), len(owner) + numbers])
    tasks = []
    for number in numbers:
        task, own = learned.tasks[number], kept[owner == number]
        names, texts = np.array(task.classes)[own].tolist(), np.array(task.descriptions)[own].tolist()
        tasks.append(dataclasses.replace(task, classes=tuple(names), descriptions=tuple(texts)))
    heads = learned.heads
    plain = None if heads.plain is None else heads.plain[rows]
    return dataclasses.replace(
        learned,
        tasks=tuple(tasks),
        heads=Heads(heads.centred[rows], heads.bias[rows], plain),
        margins=learned.margins[numbers],
        counts=learned.counts[kept],
        right=tuple(learned.right[number] for number in numbers),
        wrong=tuple(learned.wrong[number] for number in numbers),
        task_scores=tuple(learned.task_scores[number] for number in numbers),
        text_scores=learned.text_scores[kept],
        proven=learned.proven[kept],
    )


def merged(old: LearnedClasses, new: LearnedClasses) -> LearnedClasses:
    """Returns the new classes beside those of other tasks that were learned before, with the same common part."""
    again = {name_key(task.name) for task in new.tasks}
    kept = without(old, {name_key(name) for name in old.names if name_key(name.partition(":")[0]) in again})
    if not kept:
        return new
    classes, others = len(kept.counts), len(new.counts)

    def joined(first: Vectors, second: Vectors) -> Vectors:
        """The rows of the classes of both, then those of "none"."""
        return np.concatenate([first[:classes], second[:others], first[classes:], second[others:]])

    plain = None
    if kept.heads.plain is not None or new.heads.plain is not None:
        parts = [
            np.zeros_like(heads.centred) if heads.plain is None else heads.plain for heads in (kept.heads, new.heads)
        ]
        plain = joined(*parts)
    return dataclasses.replace(
        new,
        tasks=kept.tasks + new.tasks,
        heads=Heads(joined(kept.heads.centred, new.heads.centred), joined(kept.heads.bias, new.heads.bias), plain),
        margins=np.concatenate([kept.margins, new.margins]),
        counts=np.concatenate([kept.counts, new.counts]),
        right=kept.right + new.right,
        wrong=kept.wrong + new.wrong,
        task_scores=kept.task_scores + new.task_scores,
        text_scores=np.concatenate([kept.text_scores, new.text_scores]),
        proven=np.concatenate([kept.proven, new.proven]),
    )


# Overviews


@dataclass(frozen=True)
class ListedClass:
    """A class of an index."""

    task: str
    name: str
    description: str
    videos: int
    """How many videos are examples."""
    found: int
    """How many other videos show it, by what was learned."""
    task_score: float | None
    """How many of 100 examples of its task were right where they were left out; None if that is not known."""
    is_learned: bool
    is_validated: bool
    """Whether it may be given to videos; see LearnedClasses.validated."""
    needs_description: bool
    """Whether its name, without a description, does no better than chance."""


def list_classes(store: Store) -> list[ListedClass]:
    """Returns the classes of an index by task and name, "none" among them."""
    labels: dict[tuple[str, str], list[Label]] = defaultdict(list)
    for label in store.labels("class"):
        labels[name_key(label.task), name_key(label.name)].append(label)
    learned = read_classes(store)
    found = count_found(store, store.marks())
    numbers = {name_key(name): number for number, name in enumerate(learned.names)} if learned else {}
    scores = (
        {name_key(task.name): score for task, score in zip(learned.tasks, learned.task_scores, strict=True)}
        if (learned)
        else {}
    )
    listed = []
    for (task, _), own in sorted(labels.items()):
        name = f"{own[0].task}:{own[0].name}"
        number = numbers.get(name_key(name))
        score = scores.get(task)
        described = next((label.described for label in reversed(own) if label.described), "")
        is_known = learned is not None and number is not None
        listed.append(
            ListedClass(
                own[0].task,
                own[0].name,
                described,
                len({label.video for label in own}),
                sum(count for one, count in found.items() if name_key(one) == name_key(name)),
                None if score is None or score != score else score,
                is_known,
                bool(is_known and learned and learned.validated[number or 0]),
                bool(is_known and learned and not described and not learned.is_visual[number or 0]),
            )
        )
    return listed
