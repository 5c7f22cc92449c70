"""Collects the examples of classes: the segments that the owner's labels speak of, and some of which nothing is said.

Reads an index in two passes, and keeps in memory only the vectors that are learned from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidfind.categories.tasks import NONE, PEOPLE, ClassExamples, Flags, Floats, Numbers, Task, Vectors
from vidfind.store.labelled.labels import Label
from vidfind.store.store import Store
from vidfind.tagging.labels import name_key
from vidfind.tagging.learning.vectors import centred, mean_vectors, near_duplicates, segment_shift, unit

UNLABELLED_A_BAG = 4
"""Segments of which nothing is said, for each example."""
FEWEST_UNLABELLED, MOST_UNLABELLED = 40, 1000
Part = tuple[int, float | None, float | None]
"""A content, and from when to when; None: all of it."""


@dataclass(frozen=True)
class Gathered:
    """ClassExamples, and what they were taken from."""

    examples: ClassExamples
    shift: Vectors
    """The common part of all vectors of the index (D,)."""
    segments: int
    """How many segments the index has."""
    unusable: int
    """How many of these have no usable vector."""
    missing: tuple[str, ...]
    """The classes, such as `pets:rex`, without any segment to learn from."""


def tasks_of(labels: Iterable[Label], multi: Iterable[str] = ()) -> list[Task]:
    """Returns the tasks that labels of classes speak of, by name, and each with its classes by name.

    The first spelling of a name is kept. `multi` are names of tasks whose classes are independent; see `multi_tasks`.
    """
    every = list(labels)
    spelled: dict[str, str] = {}
    classes: dict[str, dict[str, str]] = defaultdict(dict)
    described: dict[tuple[str, str], str] = {}
    for label in every:
        task, name = name_key(label.task), name_key(label.name)
        spelled.setdefault(task, label.task)
        if name == NONE:
            classes[task]  # a task of "none" alone is one, and an error
            continue
        classes[task].setdefault(name, label.name)
        if label.described:
            described[task, name] = label.described
    independent = multi_tasks(every, multi)
    return [
        Task(
            spelled[task],
            tuple(classes[task][name] for name in sorted(classes[task])),
            tuple(described.get((task, name), "") for name in sorted(classes[task])),
            task in independent,
        )
        for task in sorted(classes)
        if classes[task]
    ]


def multi_tasks(labels: Iterable[Label], named: Iterable[str] = ()) -> set[str]:
    """Returns the keys of the tasks of which one moment can show several classes.

    These are those of PEOPLE, those that are `named` so, and those of which the owner gave several to one part."""
    classes: dict[tuple[str, float | None, float | None, str], set[str]] = defaultdict(set)
    for label in labels:
        if label.is_yes:
            classes[label.video, label.start, label.end, name_key(label.task)].add(name_key(label.name))
    shared = {task for (_, _, _, task), names in classes.items() if len(names) > 1}
    return {*PEOPLE, *map(name_key, named), *shared}


def parts_of(labels: Iterable[Label]) -> dict[Part, list[Label]]:
    """Returns the labels of each part of a video."""
    parts: dict[Part, list[Label]] = defaultdict(list)
    for label in labels:
        if label.content:
            parts[label.content, label.start, label.end].append(label)
    return parts


def gather_examples(
    store: Store, labels: Sequence[Label], tasks: Sequence[Task], seed: int = 0, shift: Vectors | None = None
) -> Gathered:
    """Returns the examples of classes in an index, with their vectors.

    `shift` is the common part of vectors to take off, where it has to stay as it was."""
    parts = parts_of(labels)
    labelled = np.unique([content for content, _, _ in parts]).astype(np.int64)
    total, count, unusable = np.zeros(store.dim), 0, 0
    found: list[tuple[Numbers, Floats, Vectors]] = []
    others: list[Numbers] = []
    for contents, spans, vectors in store.segments():
        good = is_usable(vectors)
        unusable += int((~good).sum())
        total += vectors[good].sum(axis=0, dtype=np.float64)
        count += int(good.sum())
        ours = np.isin(contents, labelled)
        found.append((contents[ours & good], spans[ours & good], vectors[ours & good]))
        others.append(np.flatnonzero(good & ~ours))
    wanted = min(max(FEWEST_UNLABELLED, UNLABELLED_A_BAG * len(parts)), MOST_UNLABELLED)
    free = _sample(store, others, wanted, seed)
    shift = segment_shift(total, count) if shift is None else shift
    owned = np.concatenate([one[0] for one in found] or [np.zeros(0, np.int64)])
    spans = np.concatenate([one[1] for one in found] or [np.zeros((0, 2))])
    vectors = np.concatenate([one[2] for one in found] or [np.zeros((0, store.dim), np.float32)])
    by_content = {int(one): np.flatnonzero(owned == one) for one in labelled}
    rows, states, answered, groups = [], [], [], []
    for (content, start, end), own in parts.items():
        inside = by_content[content]
        if start is not None or end is not None:
            overlaps = (spans[inside, 0] < (np.inf if end is None else end)) & (spans[inside, 1] > (start or 0.0))
            inside = inside[overlaps]
        if len(inside):
            rows.append(inside)
            groups.append(content)
            state, answer = _states(own, tasks)
            states.append(state)
            answered.append(answer)
    chosen = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    plain = unit(np.concatenate([vectors[chosen], free[1]]))
    starts = np.concatenate([[0], np.cumsum([*map(len, rows), *[1] * len(free[0])])]).astype(np.int64)
    classes = sum(len(task.classes) for task in tasks)
    blank = len(free[0])
    known = np.array(states, np.int8).reshape(-1, classes)
    examples = ClassExamples(
        plain,
        centred(plain, shift),
        starts,
        np.concatenate([known, np.zeros((blank, classes), np.int8)]),
        np.concatenate([np.array(answered, bool).reshape(-1, len(tasks)), np.zeros((blank, len(tasks)), bool)]),
        near_duplicates(mean_vectors(plain, starts), np.array([*groups, *free[0]], np.int64)),
    )
    names = [f"{task.name}:{name}" for task in tasks for name in task.classes]
    missing = tuple(name for name, column in zip(names, known.T, strict=True) if not (column > 0).any())
    return Gathered(examples, shift, count + unusable, unusable, missing)


def is_usable(vectors: Vectors) -> Flags:
    """Returns which vectors (N, D) have a direction."""
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    result: Flags = np.isfinite(lengths) & (lengths > 1e-3)
    return result


def _sample(store: Store, others: Sequence[Numbers], wanted: int, seed: int) -> tuple[Numbers, Vectors]:
    """Returns contents and vectors of some of the segments that `others` are the numbers of, in each batch."""
    sizes = [len(one) for one in others]
    chosen = np.random.default_rng(seed).permutation(sum(sizes))[:wanted]
    contents, vectors = [np.zeros(0, np.int64)], [np.zeros((0, store.dim), np.float32)]
    begin = 0
    for numbers, (owners, _, stored) in zip(others, store.segments(), strict=False):
        own = np.sort(chosen[(chosen >= begin) & (chosen < begin + len(numbers))]) - begin
        rows = numbers[own]
        contents.append(owners[rows])
        vectors.append(stored[rows])
        begin += len(numbers)
    return np.concatenate(contents), np.concatenate(vectors)


def _states(labels: Sequence[Label], tasks: Sequence[Task]) -> tuple[list[int], list[bool]]:
    """Returns what labels of one part say of each class, 1, -1 or 0, and which tasks it is an example of."""
    said: Mapping[tuple[str, str], int] = {
        (name_key(label.task), name_key(label.name)): label.value for label in labels
    }
    states, answered = [], []
    for task in tasks:
        key = name_key(task.name)
        own = [said.get((key, name_key(name)), 0) for name in task.classes]
        is_none = said.get((key, NONE), 0) > 0
        if is_none:
            own = [-1 for _ in own]
        states += own
        answered.append(is_none or any(state > 0 for state in own) or (task.is_multi and any(own)))
    return states, answered
