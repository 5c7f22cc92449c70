"""Where classes stand in searches: segments that show them, and their names among the words of a query.

Times in videos are in seconds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from vidfind.categories.tasks import NONE, PEOPLE, LearnedClasses, Vectors, split_name
from vidfind.commands import learn_list_command
from vidfind.errors import BadInput
from vidfind.store.store import Store
from vidfind.tagging.labels import Label, name_key, says
from vidfind.tagging.learning.vectors import unit

SHARE = 0.5
"""How much of a query the classes that it names are; the rest are its words."""


class ClassedSegments:
    """The segments of an index that show all of some classes, by the owner's word or by what was learned.

    What the owner says of a moment counts more: with one class of a task, it has no other."""

    def __init__(self, store: Store, learned: LearnedClasses | None, names: Sequence[str]) -> None:
        """`names` are like `pets:rex`. Raises BadInput for one that no video has, and for what is no such name."""
        self._wanted = [_split(store, learned, name) for name in names]
        self._labels: dict[tuple[str, int], dict[str, list[Label]]] = defaultdict(lambda: defaultdict(list))
        known: dict[str, str] = {name_key(name): name for name in learned.names} if learned else {}
        tasks = {task for task, _ in self._wanted}
        contents = store.contents_of_files()
        for label in store.labels("class"):
            known.setdefault(name_key(f"{label.task}:{label.name}"), f"{label.task}:{label.name}")
            if (task := name_key(label.task)) in tasks:
                for content in contents[label.video]:
                    self._labels[task, content][name_key(label.name)].append(label)
        for wanted in self._wanted:
            if ":".join(wanted) not in known:
                raise BadInput(_unknown(store, ":".join(wanted), known))
        multi = {name_key(task.name) for task in learned.tasks if task.is_multi} if learned else set()
        self._multi = multi | PEOPLE
        self._marks: dict[str, set[tuple[int, float]]] = defaultdict(set)
        for mark in store.marks_with("classes", [known[":".join(wanted)] for wanted in self._wanted]):
            for name in mark.classes:
                self._marks[name_key(name)].add((mark.content, mark.start))

    def contents(self) -> set[int]:
        """The contents that may have segments with all classes."""
        found = []
        for task, name in self._wanted:
            said = {content for (one, content), labels in self._labels.items() if one == task and labels.get(name)}
            found.append(said | {content for content, _ in self._marks[f"{task}:{name}"]})
        return set.intersection(*found)

    def allows(self, content: int, start: float, end: float) -> bool:
        """Whether a segment shows all classes."""
        return all(self._shows(task, name, content, start, end) for task, name in self._wanted)

    def excludes(self, content: int, start: float, end: float) -> bool:
        """Whether a segment has a class that is left out: none is."""
        return False

    def _shows(self, task: str, name: str, content: int, start: float, end: float) -> bool:
        labels = self._labels.get((task, content), {})
        if said := says(labels.get(name, ()), start, end):
            return said > 0
        is_other = task not in self._multi or says(labels.get(NONE, ()), start, end) > 0
        if is_other and any(says(own, start, end) > 0 for own in labels.values()):
            return False
        return (content, start) in self._marks[f"{task}:{name}"]


def _split(store: Store, learned: LearnedClasses | None, name: str) -> tuple[str, str]:
    task, of_class = split_name(name)
    if task and of_class:
        return name_key(task), name_key(of_class)
    there = {f"{label.task}:{label.name}" for label in store.labels("class")} | {*(learned.names if learned else ())}
    meant = [one for one in sorted(there) if name_key(task or of_class) in map(name_key, split_name(one))]
    hint = f"Did you mean {' or '.join(meant)}?" if meant else "Write TASK:CLASS, such as pets:rex."
    raise BadInput(f"{name!r} is no class. {hint}")


def _unknown(store: Store, name: str, known: dict[str, str]) -> str:
    near = get_close_matches(name_key(name), list(known), n=1)
    hint = f" Did you mean {known[near[0]]}?" if near else ""
    return f"There is no class {name}.{hint} See which there are: {learn_list_command(store.path)}"


# Names in queries


@dataclass(frozen=True)
class Named:
    """A query that names classes."""

    text: str
    """The query, with other words in place of the names."""
    classes: tuple[str, ...]
    """The classes, such as `pets:rex`."""
    direction: Vectors
    """Their look among the vectors of an index (D,), of unit length."""

    def blended(self, words: Vectors) -> Vectors:
        """Returns the vector (D,) of the query, whose `text` has the vector `words`."""
        return unit((1 - SHARE) * words + SHARE * self.direction)


def named_classes(learned: LearnedClasses, query: str) -> Named | None:
    """Returns a query with the learned classes that it names as whole words; None if it names none.

    In the text, the description of a class takes the place of its name, or else the name of its task."""
    classes = [
        (name, described or task.name, f"{task.name}:{name}")
        for task in learned.tasks
        for name, described in zip(task.classes, task.descriptions, strict=True)
    ]
    numbers = {full: number for number, (_, _, full) in enumerate(classes)}
    words = {name_key(name): (words, full) for name, words, full in reversed(classes)}
    names = sorted(words, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, names))})(?!\w)", re.IGNORECASE)
    found: list[str] = []

    def replace(match: re.Match[str]) -> str:
        text, full = words.get(name_key(match[0]), (match[0], ""))
        found.extend([full] if full else [])
        return text

    text = pattern.sub(replace, query)
    if not found:
        return None
    chosen = tuple(dict.fromkeys(found))
    looks = learned.directions()[[numbers[full] for full in chosen]]
    return Named(text, chosen, unit(looks.mean(axis=0)))
