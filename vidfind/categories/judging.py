"""How good learned classes are on examples that they were not learned from, and which scores are good enough.

Needs numpy alone. Letters as in tasks.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

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
from vidfind.tagging.learning.vectors import average_precisions, centred, grouped_folds, unit

UNLABELLED_WEIGHT = 0.25
"""Weight of all unlabelled segments together, where each example counts 1: some of them do show a class."""
MOST_FOLDS, FOLDS_OF_MANY, MANY = 10, 5, 200
"""How often some examples are left out, also if there are many: then each part of them says enough."""
LEAST_GAIN = 0.5
"""Points of accuracy by which a way to learn must beat a simpler one."""
SURELY_RIGHT = 0.25
"""The part of right examples whose scores are too low for anything to be given the class by itself."""
CHANCE, ONE_OF_TWENTY = 0.05, 1.645
"""How likely chance may do as well, and the standard deviations above the mean that are as unlikely."""
ZERO_SHOT, PROTOTYPE, LINEAR, VECTOR, TOKEN = "zero-shot", "prototype", "linear", "vector", "token"
Fit = Callable[[ClassExamples], Heads]
"""A way to learn from some of the examples."""


def accuracy(predicted: Numbers, right: Numbers, balanced: bool = False) -> float:
    """Returns how many of 100 rows are right; `balanced`: the mean over the classes that have rows."""
    if not len(right):
        return 0.0
    hits = predicted == right
    if not balanced:
        return 100 * float(hits.mean())
    return 100 * float(np.mean([hits[right == one].mean() for one in np.unique(right)]))


def leads(logits: Floats, none: Floats | float) -> tuple[Numbers, Floats]:
    """Returns the best class (B,) for logits (B, C), and by how much it beats the next best and "none" (B,)."""
    best = logits.argmax(axis=1)
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, best] = -np.inf
    rival = np.maximum(others.max(axis=1), none)
    return best, logits[rows, best] - rival


def best_limit(values: Floats, gains: Floats) -> float:
    """Returns the value from which on accepting is worth most: the sum of the gains (B,) of all rows (B,) at or above.

    Of equally good limits the highest; infinity where accepting is worth nothing."""
    if not len(values):
        return np.inf
    order = np.argsort(-values, kind="stable")
    ordered, worth = values[order], np.cumsum(gains[order])
    is_last = np.append(ordered[1:] != ordered[:-1], True)  # equal values are accepted together
    worth = np.where(is_last, worth, -np.inf)
    return float(ordered[worth.argmax()]) if worth.max() > 0 else np.inf


# The guard


def folds_of(examples: ClassExamples, seed: int = 0) -> Numbers:
    """Returns the fold of each bag (B,): all bags of a video, and of what is nearly the same, in one."""
    is_many = examples.labelled.sum() >= MANY
    return grouped_folds(examples.groups, FOLDS_OF_MANY if is_many else MOST_FOLDS, seed)


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


def split_folds(examples: ClassExamples, tasks: Sequence[Task], seed: int) -> Numbers | None:
    """Returns the fold (B,) of each bag: 1 for a video of each class that has three, and for some others; else 0.

    None if no class has three."""
    rng = np.random.default_rng(seed)
    chosen: set[int] = set()
    for column in examples.states.T:
        videos = np.unique(examples.groups[column > 0])
        if len(videos) >= 3 and not chosen & set(videos.tolist()):
            chosen.add(int(rng.choice(videos)))
    if not chosen:
        return None
    unlabelled = np.unique(examples.groups[~examples.labelled])
    others = rng.permutation(unlabelled)[: len(unlabelled) // 5]
    return np.isin(examples.groups, [*chosen, *others.tolist()]).astype(np.int64)


def proven_classes(logits: Vectors, examples: ClassExamples, tasks: Sequence[Task]) -> Flags:
    """Returns which classes (C,) are found so often in left-out bags that chance hardly does it.

    `logits` (B, C + T) are those of bags that had been left out. In a task of several answers, so many must be right
    as one guess for all would reach in fewer than 1 of 20 cases, and half of the examples of the class. A class that is
    judged alone must rank its examples as high as chance would in fewer than 1 of 20 cases."""
    owner, targets = task_of(tasks), examples.targets(tasks)
    left_out = np.isfinite(logits).all(axis=1)
    result = np.zeros(len(owner), bool)
    for number, task in enumerate(tasks):
        own = np.flatnonzero(owner == number)
        judged = judged_bags(logits, examples, tasks, number)
        right = targets[judged, number]
        counts = np.bincount(right, minlength=len(own))[: len(own)]
        if is_ranked(task) or (counts > 0).sum() == 1:
            rows = left_out & (examples.answered[:, number] | ~examples.labelled)
            for one in own[examples.counts()[own] >= 2]:
                yes = examples.states[rows, one] > 0
                result[one] = is_ranked_high(logits[rows, one][yes], logits[rows, one][~yes])
            continue
        hits = logits[judged][:, own].argmax(axis=1) == right
        guess = float(max(counts.max() / len(right), 1 / len(own))) if len(right) else 1.0
        if at_least(int(hits.sum()), len(hits), guess) <= CHANCE:
            result[own] = [2 * hits[right == one].sum() >= count > 0 for one, count in enumerate(counts)]
    return result


def at_least(hits: int, count: int, share: float) -> float:
    """Returns the probability of so many hits or more of `count` guesses, of which each is right with `share`."""
    return sum(math.comb(count, n) * share**n * (1 - share) ** (count - n) for n in range(hits, count + 1))


def is_ranked_high(yes: Vectors, others: Vectors) -> bool:
    """Whether scores (n,) are higher than others (m,), by more than chance: the rank-sum test of Mann and Whitney."""
    if not len(yes) or not len(others):
        return False
    ordered = np.sort(others)
    wins = (np.searchsorted(ordered, yes, side="left") + np.searchsorted(ordered, yes, side="right")).sum() / 2
    pairs = len(yes) * len(others)
    deviation = math.sqrt(pairs * (len(yes) + len(others) + 1) / 12)
    return bool((wins - pairs / 2 - 0.5) / deviation >= ONE_OF_TWENTY)


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

    Classes that are not validated are given to none."""
    stored = unit(plain)
    logits = learned.heads.logits(stored, centred(stored, learned.shift))
    owner = task_of(learned.tasks)
    given, sure = np.zeros((len(plain), len(owner)), bool), np.zeros((len(plain), len(owner)), np.float32)
    for number, task in enumerate(learned.tasks):
        own, margin = np.flatnonzero(owner == number), learned.margins[number]
        if not np.isfinite(margin) or not learned.validated[own].any():
            continue
        if task.is_multi:
            rows, columns = np.nonzero(logits[:, own] >= margin)
            chosen, lead = own[columns], logits[rows, own[columns]]
        else:
            best, leading = leads(logits[:, own], logits[:, len(owner) + number])
            rows = np.flatnonzero(leading >= margin)
            chosen, lead = own[best[rows]], leading[rows]
        given[rows, chosen] = True
        sure[rows, chosen] = confidences(lead, learned.right[number], learned.wrong[number])
    return given & learned.validated, sure
