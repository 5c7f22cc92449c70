"""Learns classes from examples in each of several ways, and keeps the way that does best on examples it has not seen.

Is handed examples as arrays and texts as vectors; never prints. Letters as in tasks.py.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidfind.categories.judging import UNLABELLED_WEIGHT, accuracy, best_limit, leads
from vidfind.categories.tasks import (
    ClassExamples,
    Flags,
    Floats,
    Heads,
    LearnedClasses,
    Numbers,
    Task,
    Vectors,
    task_of,
)
from vidfind.tagging.vectors import average_precisions, blend, centred, grouped_folds, mean_vectors, prototypes, unit

MOST_FOLDS = 10
SURELY_RIGHT = 0.25
"""The part of right examples whose scores are too low for anything to be given the class by itself."""
LEAST_GAIN = 0.5
"""Points of accuracy by which a way to learn must beat a simpler one."""
RIDGE = 0.1
"""Of the linear probe: how much the squared size of its weights counts."""
ZERO_SHOT, PROTOTYPE, LINEAR, VECTOR, TOKEN = "zero-shot", "prototype", "linear", "vector", "token"


@dataclass(frozen=True)
class Texts:
    """What the text tower makes of the names."""

    classes: Vectors
    """The texts of the classes (C, D), of any length."""
    tasks: Vectors
    """The names of the tasks (T, D)."""
    shift: Vectors
    """What all texts have in common (D,)."""

    @property
    def centred(self) -> Vectors:
        return centred(unit(self.classes), self.shift)


Fit = Callable[[ClassExamples], Heads]
"""A way to learn from some of the examples."""


def logit_scale(vectors: Vectors, texts: Vectors) -> float:
    """Returns the factor of cosines that gives logits a standard deviation of 1.5."""
    spread = float((vectors @ texts.T).std())
    return 1.5 / max(spread, 1e-3)


def zero_shot(texts: Texts, tasks: int, scale: float) -> Heads:
    """Returns the heads of the texts alone; "none" has a logit of 0."""
    return _heads(texts.centred, tasks, scale)


def prototype(examples: ClassExamples, texts: Texts, scale: float) -> Heads:
    """Returns the heads of texts blended with examples; "none" has a logit of 0."""
    looks = prototypes(examples.vectors, examples.starts, examples.states > 0, texts.centred)
    return _heads(blend(texts.centred, looks, examples.counts()), examples.answered.shape[1], scale)


def _heads(directions: Vectors, tasks: int, scale: float) -> Heads:
    none = np.zeros((tasks, directions.shape[1]), np.float32)
    centred = np.concatenate([scale * directions, none]).astype(np.float32)
    return Heads(centred, np.zeros(len(centred), np.float32))


def linear(examples: ClassExamples, texts: Texts, tasks: Sequence[Task], scale: float) -> Heads:
    """Returns the heads of a linear probe on the examples, added to those of the texts; "none" has a logit of 0.

    The probe is ridge regression, which has a closed form: SoftCPT's own tables show that a linear probe is often the
    better choice, and here it is the better the more examples there are."""
    rows = mean_vectors(examples.vectors, examples.starts)
    owner = task_of(tasks)
    weights = texts.centred.copy()
    for number in range(len(tasks)):
        known = rows[examples.answered[:, number]]
        yes = (examples.states[examples.answered[:, number]][:, owner == number] > 0).astype(np.float32)
        if len(known):
            square = known.T @ known + RIDGE * np.eye(known.shape[1], dtype=np.float32)
            weights[owner == number] += np.linalg.solve(square, known.T @ (yes - yes.mean(axis=0))).T
    return _heads(weights, len(tasks), scale)


def starting_bias(heads: Heads, examples: ClassExamples, tasks: Sequence[Task]) -> Heads:
    """Returns heads in which 95 of 100 segments of which nothing is said are of no class."""
    unlabelled = ~examples.labelled
    logits = heads.pooled(examples)[unlabelled if unlabelled.any() else slice(None)]
    owner, bias = task_of(tasks), heads.bias.copy()
    for number, task in enumerate(tasks):
        own = np.flatnonzero(owner == number)
        if task.is_multi:
            bias[own] -= np.quantile(logits[:, own], 0.95, axis=0)
        else:
            bias[len(owner) + number] += np.quantile(logits[:, own].max(axis=1), 0.95)
    return dataclasses.replace(heads, bias=bias)


# The guard


def folds_of(examples: ClassExamples, seed: int = 0) -> Numbers:
    """Returns the fold of each bag (B,): all bags of a video, and of what is nearly the same, in one."""
    return grouped_folds(examples.groups, MOST_FOLDS, seed)


def held_out_logits(
    fit: Fit, examples: ClassExamples, folds: Numbers, held_out: Sequence[int] | None = None
) -> Vectors:
    """Returns the logits of bags (B, C + T), each from heads that were learned without its fold.

    `held_out` are the folds that are left out, one after the other; of the others the logits are NaN. None: all."""
    result = np.full((len(folds), examples.states.shape[1] + examples.answered.shape[1]), np.nan, np.float32)
    for fold in np.unique(folds) if held_out is None else held_out:
        heads = fit(examples.without(folds == fold))
        result[folds == fold] = heads.pooled(examples.without(folds != fold))
    return result


def is_ranked(task: Task) -> bool:
    """Whether classes of a task are judged one by one, by how they rank their examples among all other bags."""
    return task.is_multi or len(task.classes) == 1


def judged_bags(logits: Vectors, examples: ClassExamples, tasks: Sequence[Task], number: int) -> Flags:
    """Returns the bags (B,) that show how good a task is: left out, and with a class that other videos show too."""
    own = task_of(tasks) == number
    known = (examples.states[:, own] > 0) & (examples.counts()[own] >= 2)
    result: Flags = examples.answered[:, number] & known.any(axis=1) & np.isfinite(logits).all(axis=1)
    return result


def task_accuracies(logits: Vectors, examples: ClassExamples, tasks: Sequence[Task]) -> list[float]:
    """Returns how many of 100 judged bags get the right class, for each task; NaN for a task without one.

    Of a task of independent classes, or of one, 100 times the mean average precision."""
    owner, targets = task_of(tasks), examples.targets(tasks)
    left_out = np.isfinite(logits).all(axis=1)
    result = []
    for number, task in enumerate(tasks):
        judged = judged_bags(logits, examples, tasks, number)
        rows = left_out & (examples.answered[:, number] | ~examples.labelled) if is_ranked(task) else judged
        own = logits[rows][:, : len(owner)][:, owner == number]
        if not judged.any():
            result.append(float("nan"))
        elif is_ranked(task):
            known = examples.states[rows][:, owner == number] > 0
            result.append(100 * float(average_precisions(own, known)[known.any(axis=0)].mean()))
        else:
            result.append(accuracy(own.argmax(axis=1), targets[rows, number]))
    return result


def class_scores(logits: Vectors, examples: ClassExamples, tasks: Sequence[Task]) -> Vectors:
    """Returns how many of 100 examples of each class (C,) have it as their best; NaN for a class without examples."""
    owner = task_of(tasks)
    scores = np.full(len(owner), np.nan, np.float32)
    for number in range(len(tasks)):
        own = np.flatnonzero(owner == number)
        best = own[logits[:, own].argmax(axis=1)]
        for one in own:
            rows = (examples.states[:, one] > 0) & np.isfinite(logits).all(axis=1)
            scores[one] = 100 * (best[rows] == one).mean() if rows.any() else np.nan
    return scores


def mean_accuracy(accuracies: Sequence[float]) -> float:
    """Returns the mean over the tasks that can be judged; NaN if none can."""
    known = [one for one in accuracies if not np.isnan(one)]
    return float(np.mean(known)) if known else float("nan")


def choose(scores: Mapping[str, float]) -> str:
    """Returns the name of the way to learn that is used; `scores` begins with the simplest.

    Without a score, nothing shows that examples mislead, so the blend of text and examples is used."""
    names = list(scores)
    chosen = names[0]
    for name in names[1:]:
        if scores[name] >= scores[chosen] + LEAST_GAIN:
            chosen = name
    return PROTOTYPE if np.isnan(scores[names[0]]) else chosen


# Decisions


def set_limits(learned: LearnedClasses, logits: Vectors, examples: ClassExamples) -> LearnedClasses:
    """Returns the classes with the limits that do best on the logits (B, C + T) of bags that had been left out.

    The limits are the logit of "none", and the margin by which a class must beat that and the next best. A task that
    cannot be judged accepts nothing."""
    tasks = learned.tasks
    owner, targets = task_of(tasks), examples.targets(tasks)
    bias, margins = learned.heads.bias.copy(), np.full(len(tasks), np.inf, np.float32)
    right: list[Vectors] = []
    wrong: list[Vectors] = []
    lead: Floats
    unlabelled = ~examples.labelled & np.isfinite(logits).all(axis=1)
    for number, task in enumerate(tasks):
        judged = judged_bags(logits, examples, tasks, number)
        is_none = (targets[:, number] == len(task.classes)) & np.isfinite(logits).all(axis=1)
        rows = judged | is_none | unlabelled
        own = logits[rows][:, : len(owner)][:, owner == number]
        cost = np.where(unlabelled[rows], UNLABELLED_WEIGHT * judged.sum() / max(unlabelled.sum(), 1), 1.0)
        if not judged.any():
            lead, is_right = np.zeros(0, np.float32), np.zeros(0, bool)
        elif task.is_multi:
            states = examples.states[rows][:, owner == number]
            gains = np.where(states > 0, 1.0, -cost[:, None])
            limits = np.array([_limit(own[:, one], gains[:, one]) for one in range(own.shape[1])], np.float32)
            bias[np.flatnonzero(owner == number)] -= limits
            lead, is_right, margins[number] = (own - limits).ravel(), (states > 0).ravel(), 0.0
        else:
            is_right = judged[rows] & (own.argmax(axis=1) == targets[rows, number])
            gains = np.where(is_right, 1.0, -cost)
            none = logits[rows, len(owner) + number]
            level = best_limit(own.max(axis=1) - none, gains)
            bias[len(owner) + number] += level
            _, lead = leads(own, none + level)
            beats = lead >= 0
            margins[number] = _limit(lead[beats], gains[beats])
        finite = np.isfinite(lead)
        right.append(np.sort(lead[is_right & finite]).astype(np.float32))
        wrong.append(np.sort(lead[~is_right & finite]).astype(np.float32))
    heads = dataclasses.replace(learned.heads, bias=bias)
    return dataclasses.replace(learned, heads=heads, margins=margins, right=tuple(right), wrong=tuple(wrong))


def _limit(values: Vectors, gains: Vectors) -> float:
    """Returns the limit that is worth most, but never one that more than three of four right examples reach."""
    right = values[gains > 0]
    least = float(np.quantile(right, SURELY_RIGHT)) if len(right) else np.inf
    return max(best_limit(values, gains), least)


def confidences(leads: Vectors, right: Vectors, wrong: Vectors) -> Vectors:
    """Returns how sure it is that a lead (N,) is of a right class, from 0 to 1: its rank among those of examples."""
    below = (np.searchsorted(right, leads, side="right") + 0.5) / (len(right) + 1)
    above = (len(wrong) - np.searchsorted(wrong, leads, side="right") + 0.5) / (len(wrong) + 1)
    return np.asarray(below / (below + above), np.float32)


def classify(learned: LearnedClasses, plain: Vectors) -> tuple[Flags, Vectors]:
    """Returns which classes segments (N, D) show (N, C), and how sure that is (N, C).

    Classes that were learned from one video are given to none."""
    vectors = centred(unit(plain), learned.shift)
    logits = learned.heads.logits(unit(plain), vectors)
    owner = task_of(learned.tasks)
    given, sure = np.zeros((len(plain), len(owner)), bool), np.zeros((len(plain), len(owner)), np.float32)
    for number, task in enumerate(learned.tasks):
        own, none = np.flatnonzero(owner == number), logits[:, len(owner) + number]
        right, wrong = learned.right[number], learned.wrong[number]
        if task.is_multi:
            given[:, own] = logits[:, own] >= learned.margins[number]
            sure[:, own] = confidences(logits[:, own], right, wrong)
        else:
            best, lead = leads(logits[:, own], none)
            rows = np.arange(len(plain))
            given[rows, own[best]] = lead >= learned.margins[number]
            sure[rows, own[best]] = confidences(lead, right, wrong)
    return given & learned.validated, sure


# All of it


@dataclass(frozen=True)
class Learning:
    """How classes are learned. `make_token` trains prompts, where the text tower can be trained; see `learn`."""

    mode: str = "auto"
    seed: int = 0
    max_seconds: float = 60.0
    steps: int = 200
    """Of a training of vectors."""


def learn(
    examples: ClassExamples, tasks: Sequence[Task], texts: Texts, shift: Vectors, asked: Learning
) -> LearnedClasses:
    """Returns the classes, learned in the way that did best on examples which it had not seen.

    Ways that are not asked for are not tried; the texts alone, and their blend with examples, always are."""
    scale = logit_scale(examples.vectors, texts.centred)
    folds = folds_of(examples, asked.seed)
    ways: dict[str, Fit] = {
        ZERO_SHOT: lambda _: zero_shot(texts, len(tasks), scale),
        PROTOTYPE: lambda some: prototype(some, texts, scale),
    }
    if asked.mode != PROTOTYPE:
        ways[LINEAR] = lambda some: linear(some, texts, tasks, scale)
    steps: list[int] = []
    if asked.mode in ("auto", VECTOR):
        ways[VECTOR] = _vector_way(tasks, texts, scale, asked, len(np.unique(folds)) + 1, steps)
    logits = {name: held_out_logits(fit, examples, folds) for name, fit in ways.items()}
    accuracies = {name: task_accuracies(one, examples, tasks) for name, one in logits.items()}
    scores = {name: mean_accuracy(one) for name, one in accuracies.items()}
    chosen = choose(scores)
    heads = ways[chosen](examples)
    learned = LearnedClasses(
        tuple(tasks),
        heads,
        shift,
        np.full(len(tasks), np.inf, np.float32),
        examples.counts(),
        chosen,
        scores=scores,
        task_scores=tuple(accuracies[chosen]),
        steps=steps[-1] if chosen == VECTOR else 0,
        text_scores=class_scores(logits[ZERO_SHOT], examples, tasks),
    )
    return set_limits(learned, logits[chosen], examples)


def _vector_way(
    tasks: Sequence[Task], texts: Texts, scale: float, asked: Learning, trainings: int, steps: list[int]
) -> Fit:
    """Returns the way of the shared network, whose `trainings` share the time that there is.

    `steps` gets the number of steps of each."""
    deadline = time.monotonic() + asked.max_seconds

    def fit(some: ClassExamples) -> Heads:
        from vidfind.categories.shared_network import fit_vectors

        now = time.monotonic()
        end = now + (deadline - now) / max(1, trainings - len(steps))
        counts = some.counts()
        looks = prototypes(some.vectors, some.starts, some.states > 0, texts.centred)
        weighed = ((counts / (counts + 2))[:, None] * looks).astype(np.float32)
        start = starting_bias(prototype(some, texts, scale), some, tasks)
        heads, done = fit_vectors(
            some, tasks, start, texts.centred, unit(texts.tasks), weighed, scale, asked.seed, end, asked.steps
        )
        steps.append(done)
        return heads

    return fit
