"""Tasks of classes, their examples as arrays, and learned classes that score segments.

Knows nothing of files, indexes or models; needs numpy alone. Letters: N segments, B bags (see vectors.py), T tasks, C
classes of all tasks, D numbers a vector. The columns of logits are the C classes, then "none" of each of the T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfind.tagging.learning.vectors import centred, pooled, unit

Floats = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.float32]

NONE = "none"
"""The class of what belongs to no class of a task; every task has it."""
SEPARATOR = ":"
"""Stands between a task and its class, as names are shown."""
SEPARATORS = ":/"
"""The characters that may stand there where a name is typed."""
FEWEST_VIDEOS = 3
"""Videos of a class, from which on it may be given to others."""
PEOPLE = frozenset({"people", "persons", "family", "faces", "friends"})
"""Tasks of these names may have several classes in one segment, since two people can share it."""


@dataclass(frozen=True)
class Task:
    """A question about videos, and its possible answers but "none"."""

    name: str
    classes: tuple[str, ...]
    descriptions: tuple[str, ...]
    """The look of each class, in words; empty where only its name says it."""
    is_multi: bool = False
    """Whether classes are independent, as of people: a segment may show several."""

    @property
    def texts(self) -> list[str]:
        """The words that stand for each class."""
        words = zip(self.classes, self.descriptions, strict=True)
        return [f"{described or name}, a type of {self.name}" for name, described in words]


def split_name(text: str) -> tuple[str, str]:
    """Returns the task and the class of a text such as `pets:rex` or `pets/rex`; the class is empty without a mark."""
    task, _, name = (text.replace("/", SEPARATOR, 1) if SEPARATOR not in text else text).partition(SEPARATOR)
    return " ".join(task.split()), " ".join(name.split())


def task_of(tasks: Sequence[Task]) -> Numbers:
    """Returns the number of the task of each class (C,)."""
    return np.repeat(np.arange(len(tasks)), [len(task.classes) for task in tasks])


@dataclass(frozen=True)
class ClassExamples:
    """Bags with what the owner says of them, and a sample of segments, each a bag, of which nothing is said."""

    plain: Vectors
    """The segments of all bags (N, D), as they are stored."""
    vectors: Vectors
    """The same without their common part."""
    starts: Numbers
    """Where the segments of each bag begin (B + 1,)."""
    states: npt.NDArray[np.int8]
    """For each class (B, C): 1 yes, -1 no, 0 unknown."""
    answered: Flags
    """The tasks that each bag is an example of (B, T); of none of its classes where no state is 1."""
    groups: Numbers
    """The video of each bag (B,), with its near-duplicates."""

    @property
    def labelled(self) -> Flags:
        """Which bags are examples of any task (B,)."""
        return np.asarray(self.answered.any(axis=1))

    def without(self, hidden: Flags) -> ClassExamples:
        """Returns these examples without some bags (B,), whose segments stay and are used by none."""
        kept = np.flatnonzero(~hidden)
        sizes = (self.starts[1:] - self.starts[:-1])[kept]
        rows = np.repeat(~hidden, self.starts[1:] - self.starts[:-1])
        starts = np.concatenate([[0], sizes.cumsum()])
        rest = (self.states[kept], self.answered[kept], self.groups[kept])
        return ClassExamples(self.plain[rows], self.vectors[rows], starts, *rest)

    def counts(self) -> Numbers:
        """How many videos show each class (C,)."""
        return np.array([len(np.unique(self.groups[column > 0])) for column in self.states.T], np.int64)

    def targets(self, tasks: Sequence[Task]) -> Numbers:
        """The number of the right class within each task (B, T); that of "none" is the number of classes, and -1
        stands for bags that are no examples of the task."""
        result = np.full(self.answered.shape, -1)
        owner = task_of(tasks)
        for number, task in enumerate(tasks):
            own = self.states[:, owner == number] > 0
            found = np.where(own.any(axis=1), own.argmax(axis=1), len(task.classes))
            result[:, number] = np.where(self.answered[:, number], found, -1)
        return result


@dataclass(frozen=True)
class Heads:
    """The weights that turn vectors into logits: one row for each class, then one for "none" of each task."""

    centred: Vectors
    """Multiplies vectors without their common part (C + T, D)."""
    bias: Vectors
    """Added to each logit (C + T,)."""
    plain: Vectors | None = None
    """Multiplies vectors as they are stored (C + T, D); None: not used."""

    def logits(self, plain: Floats, vectors: Floats) -> Vectors:
        """Segments (N, D) as they are stored, and without their common part -> (N, C + T)."""
        result = vectors @ self.centred.T + self.bias
        if self.plain is not None:
            result = result + plain @ self.plain.T
        return np.asarray(result, np.float32)

    def pooled(self, examples: ClassExamples) -> Vectors:
        """Returns the logits of bags (B, C + T)."""
        return pooled(self.logits(examples.plain, examples.vectors), examples.starts)


@dataclass(frozen=True)
class LearnedClasses:
    """Classes that were learned, ready to say which segments show them."""

    tasks: tuple[Task, ...]
    heads: Heads
    shift: Vectors
    """The common part of all vectors (D,)."""
    margins: Vectors
    """By how much a class must beat "none" and the next best class of its task (T,)."""
    counts: Numbers
    """How many videos each class was learned from (C,)."""
    mode: str
    """How it was learned: zero-shot, prototype, vector or token."""
    right: tuple[Vectors, ...] = ()
    """Of each task, the leads of examples that were right where they had been left out."""
    wrong: tuple[Vectors, ...] = ()
    """Of each task, the leads of all others."""
    scores: dict[str, float] = field(default_factory=dict)
    """How many of 100 examples each way to learn gets right where they are left out."""
    task_scores: tuple[float, ...] = ()
    """The same of the way that is used, for each task; NaN where it cannot be told."""
    steps: int = 0
    """How many steps the training took; 0 where nothing was trained."""
    most_steps: int = 0
    """How many steps it may take."""
    text_scores: Vectors = field(default_factory=lambda: np.zeros(0, np.float32))
    """How many of 100 examples of each class (C,) its text alone gets right; NaN for a class without examples."""
    proven: Flags = field(default_factory=lambda: np.zeros(0, bool))
    """Which classes (C,) were found, where they were left out, so often that it is hardly chance."""

    @property
    def names(self) -> list[str]:
        """The names of all classes, such as `pets:rex`."""
        return [f"{task.name}:{name}" for task in self.tasks for name in task.classes]

    @property
    def is_visual(self) -> Flags:
        """Which texts of classes (C,) do better than chance, or cannot be judged."""
        sizes = np.array([len(task.classes) for task in self.tasks])[task_of(self.tasks)]
        result: Flags = np.isnan(self.text_scores) | (self.text_scores > 100 / sizes) | (sizes == 1)
        return result

    @property
    def validated(self) -> Flags:
        """Which classes (C,) may be given to videos: learned from enough of them, and found where they were left out.

        Of others nobody knows how good they are."""
        result: Flags = (np.asarray(self.counts) >= FEWEST_VIDEOS) & self.proven
        return result

    def directions(self) -> Vectors:
        """Returns what each class looks like among stored vectors (C, D), of unit length."""
        classes = len(self.counts)
        own = self.heads.centred[:classes]
        return unit(own if self.heads.plain is None else own + self.heads.plain[:classes])


@dataclass(frozen=True)
class Texts:
    """The vectors that the text tower makes of the names."""

    classes: Vectors
    """The texts of the classes (C, D), of any length."""
    tasks: Vectors
    """The names of the tasks (T, D)."""
    shift: Vectors
    """The common part of all texts (D,)."""

    @property
    def centred(self) -> Vectors:
        return centred(unit(self.classes), self.shift)


@dataclass(frozen=True)
class Learning:
    """How classes are learned. `mode` is the most that is tried; "auto" is what the time allows."""

    mode: str = "auto"
    seed: int = 0
    max_seconds: float = 60.0
    steps: int = 200
    """Of a training of vectors."""
    is_reference: bool = False
    """Whether prompts are tuned exactly as SoftCPT was published."""
