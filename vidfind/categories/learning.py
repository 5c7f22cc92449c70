"""Learns classes from examples in each of several ways, and keeps the way that does best on examples it has not seen.

Is handed examples as arrays and texts as vectors; never prints. Letters as in tasks.py.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from vidfind.categories.judging import (
    LEAST_GAIN,
    LINEAR,
    PROTOTYPE,
    TOKEN,
    VECTOR,
    ZERO_SHOT,
    Fit,
    choose,
    class_scores,
    folds_of,
    held_out_logits,
    mean_accuracy,
    proven_classes,
    set_limits,
    split_folds,
    task_accuracies,
)
from vidfind.categories.tasks import ClassExamples, Heads, LearnedClasses, Learning, Task, Texts, Vectors, task_of
from vidfind.categories.tuning import LoadEncoder, Tuning
from vidfind.tagging.learning.vectors import blend, mean_vectors, prototypes, unit

RIDGE = 0.1
"""Of the linear probe: how much the squared size of its weights counts."""


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
    bias = np.zeros(len(owner) + len(tasks), np.float32)
    for number in range(len(tasks)):
        own, answered = np.flatnonzero(owner == number), examples.answered[:, number]
        if not answered.any():
            continue
        middle = rows[answered].mean(axis=0)
        known = rows[answered] - middle
        yes = (examples.states[answered][:, own] > 0).astype(np.float32)
        added = ridge(known, yes - yes.mean(axis=0)).T
        weights[own] += added
        bias[own] = scale * (yes.mean(axis=0) - added @ middle)
    return dataclasses.replace(_heads(weights, len(tasks), scale), bias=bias)


def ridge(rows: Vectors, values: Vectors) -> Vectors:
    """Returns the weights (D, C) of ridge regression from rows (n, D) to values (n, C).

    There are two forms of the same solution; the one with the smaller matrix takes a fraction of the time."""
    count, dim = rows.shape
    if count < dim:
        square = rows @ rows.T + RIDGE * np.eye(count, dtype=np.float32)
        return np.asarray(rows.T @ np.linalg.solve(square, values), np.float32)
    square = rows.T @ rows + RIDGE * np.eye(dim, dtype=np.float32)
    return np.asarray(np.linalg.solve(square, rows.T @ values), np.float32)


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


def learn(
    examples: ClassExamples,
    tasks: Sequence[Task],
    texts: Texts,
    shift: Vectors,
    asked: Learning,
    load_encoder: LoadEncoder | None = None,
) -> LearnedClasses:
    """Returns the classes, learned in the way that did best on examples which it had not seen.

    Ways that are not asked for are not tried; the texts alone, and their blend with examples, always are.
    `load_encoder` loads the whole model, for prompts that are tuned."""
    deadline = time.monotonic() + asked.max_seconds
    scale = logit_scale(examples.vectors, texts.centred)
    ways: dict[str, Fit] = {
        ZERO_SHOT: lambda _: zero_shot(texts, len(tasks), scale),
        PROTOTYPE: lambda some: prototype(some, texts, scale),
    }
    if asked.mode != PROTOTYPE:
        ways[LINEAR] = lambda some: linear(some, texts, tasks, scale)
    folds = folds_of(examples, asked.seed)
    held_out: list[int] | None = None
    tuning = None
    if load_encoder and asked.mode in ("auto", TOKEN):
        tuning = Tuning.within(load_encoder, examples, tasks, texts, asked, deadline)
    tried = split_folds(examples, tasks, asked.seed) if tuning else None
    steps: list[int] = []
    first = folds
    if tried is not None:
        first, held_out = tried, [1]
    logits = {name: held_out_logits(fit, examples, first, held_out) for name, fit in ways.items()}
    best = max(mean_accuracy(task_accuracies(one, examples, tasks)) for one in logits.values())
    # With "auto", the network is not trained where it could not be better by enough.
    if asked.mode == VECTOR or (asked.mode == "auto" and tried is None and not best > 100 - LEAST_GAIN):
        ways[VECTOR] = _vector_way(tasks, texts, scale, asked, deadline, len(np.unique(folds)) + 1, steps)
        logits[VECTOR] = held_out_logits(ways[VECTOR], examples, first, held_out)
    if tuning:
        logits[TOKEN] = np.full_like(logits[ZERO_SHOT], np.nan)
        if tried is not None:
            logits[TOKEN] = tuning.try_out(tried)
            ways[TOKEN] = lambda _: tuning.final()
    accuracies = {name: task_accuracies(one, examples, tasks) for name, one in logits.items()}
    scores = {name: mean_accuracy(one) for name, one in accuracies.items()}
    chosen = choose({name: score for name, score in scores.items() if name in ways})
    if tried is not None and chosen != TOKEN:  # all examples say more than those that were left out at once
        logits[chosen] = held_out_logits(ways[chosen], examples, folds)
        accuracies[chosen] = task_accuracies(logits[chosen], examples, tasks)
    evidence = logits[chosen]
    if chosen == TOKEN:  # a few examples were left out, at once: the others say more of whether classes can be told
        evidence = held_out_logits(ways[PROTOTYPE], examples, folds)
    heads = ways[chosen](examples)
    trained = tuning.steps if tuning and chosen == TOKEN else steps[-1] if chosen == VECTOR else 0
    learned = LearnedClasses(
        tuple(tasks),
        heads,
        shift,
        np.full(len(tasks), np.inf, np.float32),
        examples.counts(),
        chosen,
        scores=scores,
        task_scores=tuple(accuracies[chosen]),
        steps=trained,
        most_steps=tuning.most_steps if tuning and chosen == TOKEN else asked.steps,
        text_scores=class_scores(zero_shot(texts, len(tasks), scale).pooled(examples), examples, tasks),
        proven=proven_classes(evidence, examples, tasks),
    )
    return set_limits(learned, logits[chosen], examples)


def _vector_way(
    tasks: Sequence[Task],
    texts: Texts,
    scale: float,
    asked: Learning,
    deadline: float,
    trainings: int,
    steps: list[int],
) -> Fit:
    """Returns the way of the shared network, whose `trainings` share the time until the deadline.

    `steps` gets the number of steps of each."""

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
