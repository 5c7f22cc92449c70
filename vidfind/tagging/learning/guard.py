"""The choice between what was learnt: by how well tags are found in videos whose labels were held out.

Needs numpy; torch is imported only where something is trained. B bags, C tags; see vectors.py and examples.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfind.tagging.learning.examples import (
    LEFT_OUT,
    NO,
    YES,
    Examples,
    Recipe,
    Weights,
    blend_alone,
    fit_blend,
    fit_text,
)
from vidfind.tagging.learning.prior import relation, tag_relation
from vidfind.tagging.learning.vectors import (
    Floats,
    Numbers,
    average_precisions,
    grouped_folds,
    mean_vectors,
    near_duplicates,
)

log = logging.getLogger(__name__)

FOLDS = 5
FEWEST_YES = 3
"""Videos with a tag, from which on it counts, and may be given automatically."""
FEWEST_TOUCHED = 5
"""Videos with labels, from which on training is tried."""
BETTER = 0.5
"""Points of mean average precision that a more complicated way must be better by."""
FEWEST_OTHERS, MOST_OTHERS = 100, 2000
"""Videos without a label that are counted as without the tag: as many as have labels, within these limits."""
SHUFFLES, MOST_SHUFFLED = 19, 500
"""So many times the labels of at most so many videos are shuffled: the real ones must fit better each time."""
MOST_TOUCHED = 5000
"""Videos with labels whose near-duplicates are looked for: the time grows with the square."""
MIN_CONFIDENCE = 0.8
LOWEST_YES = 0.25
"""Quantile of the examples of a tag that a score must reach."""
NEARLY_ALL = 0.9
"""A tag that so many of the labelled videos have, without a no, cannot be told from others."""

CLOSE = 2.0
"""Points of mean average precision that so few labels cannot tell apart: of ways so close, the mean is used."""
TEXT, BLEND, TRAINED = "text", "blend", "trained"
"""The ways to find tags, the simplest first."""
BOTH = "blend + trained"
"""The mean of two ways, where they are close."""


@dataclass(frozen=True)
class HeldOut:
    """Scores (M, C) of bags whose labels were held out, and of others, with their states (M, C)."""

    bags: Numbers
    """The numbers of the bags (M,)."""
    scores: npt.NDArray[np.float32]
    states: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Choice:
    """The way that is used, what it learnt from all labels, and how all ways did on labels that were held out."""

    way: str
    weights: Weights
    held_out: HeldOut
    precisions: Mapping[str, float]
    """Mean average precision of each way that was tried, in percent; none if no tag has enough examples."""
    steps: int = 0
    """Of training, all folds together."""
    is_cut: bool = False
    """Whether the time was over before training was."""
    failed: str = ""
    """Why nothing was trained, or training was given up, if so."""


def choose(examples: Examples, recipe: Recipe | None, seed: int = 0) -> Choice:
    """Learns the tags in each way, and returns the best. `recipe` None: there is no time to train.

    The time of the recipe is shared by all trainings."""
    began = time.monotonic()
    examples = examples.prepared()
    folds = _folds(examples, seed)
    judged = {way: _judge(examples, folds, fit) for way, fit in ((TEXT, fit_text), (BLEND, fit_blend))}
    weights = {TEXT: fit_text(examples), BLEND: fit_blend(examples)}
    trainer = None
    failed = ""
    number = int(folds.max(initial=-1)) + 1
    is_enough = number > 1 and len(np.unique(examples.groups[examples.touched])) >= FEWEST_TOUCHED
    if recipe and is_enough and not fit_better_than_shuffled(examples, folds, seed):
        failed = "the tags fit the videos no better than shuffled ones"
    elif recipe and is_enough:
        from vidfind.tagging.learning.training import TrainingFailed

        left = max(recipe.seconds - (time.monotonic() - began), 0)
        trainer = _Trainer(replace(recipe, seconds=left), number + 1)
        try:
            judged[TRAINED] = _judge(examples, folds, trainer.fit)
            weights[TRAINED] = trainer.fit(examples)
        except TrainingFailed:
            judged.pop(TRAINED, None)
            failed = "the loss is not finite"
    of_tags = {way: precisions for way, (_, precisions) in judged.items()} if number > 1 else {}
    of_tags = {way: one[~np.isnan(one)] for way, one in of_tags.items()}
    way = best_way(of_tags)
    precisions = {name: float(one.mean()) for name, one in of_tags.items() if len(one)}
    if recipe and recipe.graph == "none" and are_close(precisions, way):
        way = BOTH
        weights[BOTH] = _mean_weights(weights[BLEND], weights[TRAINED])
        held = [judged[one][0] for one in (BLEND, TRAINED)]
        judged[BOTH] = replace(held[0], scores=np.float32(0.5) * (held[0].scores + held[1].scores)), judged[BLEND][1]
    steps, is_cut = (trainer.steps, trainer.is_cut) if trainer else (0, recipe is None and is_enough)
    return Choice(way, weights[way], judged[way][0], precisions, steps, is_cut, failed)


def best_way(precisions: Mapping[str, Floats]) -> str:
    """Returns the way that is used, from the average precision of each tag (C,) in percent.

    A more complicated way must be better by `BETTER` points than what is used without it."""
    if not precisions or not len(precisions[TEXT]):
        return BLEND  # nothing can be judged: examples cannot hurt
    best = TEXT
    for way in (BLEND, TRAINED):
        if way in precisions and (precisions[way] - precisions[best]).mean() >= BETTER:
            best = way
    return best


def are_close(precisions: Mapping[str, float], way: str) -> bool:
    """Whether the blend and what is trained from it are about as good, one of which is the way that is used."""
    return way != TEXT and TRAINED in precisions and abs(precisions[TRAINED] - precisions[BLEND]) < CLOSE


def _mean_weights(one: Weights, other: Weights) -> Weights:
    """Returns weights whose logits are the mean of those of two, which have the same scale."""
    half = np.float32(0.5)
    return replace(other, vectors=half * (one.vectors + other.vectors), bias=half * (one.bias + other.bias))


class _Trainer:
    """Trains a few times, within one limit of time."""

    def __init__(self, recipe: Recipe, times: int) -> None:
        self._recipe, self._left = recipe, times
        self._end = time.monotonic() + recipe.seconds
        self.steps = 0
        self.is_cut = False

    def fit(self, examples: Examples) -> Weights:
        from vidfind.tagging.learning.training import one_thread, train, train_published

        start = fit_blend(examples)
        yes = examples.states[examples.touched] == YES
        seconds = max(self._end - time.monotonic(), 0) / max(self._left, 1)
        recipe, end = replace(self._recipe, seconds=seconds), time.monotonic() + seconds
        self._left -= 1
        with one_thread():
            if recipe.graph == "published":
                published = relation(np.maximum(examples.text @ examples.text.T, 0))
                weights = train_published(examples, published, recipe)
            else:
                weights = train(examples, start, tag_relation(examples.text, yes), recipe)
        self.steps += weights.steps
        self.is_cut |= time.monotonic() >= end
        return weights


def _folds(examples: Examples, seed: int) -> Numbers:
    """Returns the fold (B,) of each bag with labels, and of a sample of the others; -1 of the rest."""
    touched = np.flatnonzero(examples.touched)
    groups = examples.groups[touched]
    if len(touched) <= MOST_TOUCHED:
        labelled = examples.of_bags(touched)
        groups = near_duplicates(mean_vectors(labelled.vectors, labelled.starts), groups)
    folds = np.full(len(examples.groups), -1, np.int64)
    folds[touched] = grouped_folds(groups, FOLDS, seed)
    number = int(folds.max(initial=-1)) + 1
    untouched = np.flatnonzero(~examples.touched & (examples.sizes > 0))
    count = min(max(len(touched), FEWEST_OTHERS), MOST_OTHERS)
    others = np.random.default_rng(seed).permutation(untouched)[:count]
    if number:
        folds[others] = np.arange(len(others)) % number
    return folds


def fit_better_than_shuffled(examples: Examples, folds: Numbers, seed: int = 0) -> bool:
    """Whether a blend of text and examples finds held-out labels better than it finds labels that were shuffled.

    Labels that pass by chance in one of twenty cases say nothing that training could learn."""
    rng = np.random.default_rng(seed)
    touched = rng.permutation(np.flatnonzero(examples.touched))[:MOST_SHUFFLED]
    others = np.flatnonzero(~examples.touched & (folds >= 0))[:MOST_SHUFFLED]
    few = examples.of_bags(np.concatenate([touched, others]))
    few_folds = np.concatenate([folds[touched], folds[others]])

    def precision(order: Numbers) -> float:
        states = few.states.copy()
        states[: len(touched)] = states[order]
        return float(np.nan_to_num(_judge(replace(few, states=states), few_folds, blend_alone)[1]).sum())

    real = precision(np.arange(len(touched)))
    return all(precision(rng.permutation(len(touched))) < real for _ in range(SHUFFLES))


def _judge(
    examples: Examples, folds: Numbers, fit: Callable[[Examples], Weights]
) -> tuple[HeldOut, npt.NDArray[np.float64]]:
    """Returns the scores of bags that were held out, and the average precision of each tag (C,) in percent; NaN for a
    tag that cannot be judged.

    Bags without labels count as without any tag. A single fold holds nothing out."""
    number = int(folds.max(initial=-1)) + 1
    scores = np.full(examples.states.shape, np.nan, np.float32)
    found, counts = np.zeros(len(examples.text)), np.zeros(len(examples.text))
    for fold in range(number):
        held = folds == fold
        weights = fit(examples.without_labels_of(held) if number > 1 else examples)
        bags = np.flatnonzero(held)
        scores[bags] = weights.scores(examples.of_bags(bags))
        states = examples.states[bags]
        for tag in np.flatnonzero((states == YES).any(axis=0)):
            rows = states[:, tag] != LEFT_OUT
            yes = states[rows, tag, None] == YES
            found[tag] += average_precisions(scores[bags][rows, tag, None], yes)[0] * yes.sum()
            counts[tag] += yes.sum()
    precisions = np.where(counts >= FEWEST_YES, 100 * found / np.maximum(counts, 1), np.nan)
    used = np.flatnonzero(folds >= 0)
    return HeldOut(used, scores[used], examples.states[used]), precisions


# Decisions. M bags whose labels were held out, C tags.


def confidences(values: Floats, held_out: HeldOut, tag: int) -> npt.NDArray[np.float64]:
    """Returns the confidence (n,), between 0 and 1, of scores (n,) of a tag; higher scores never have a lower one.

    Of a tag with fewer than three examples, how it ranks says little: the confidence is at most 0.14, 0.43 or 0.71 with
    none, one or two of them."""
    yes, others = _split(held_out, tag)
    exceeded = np.searchsorted(yes, values, side="right")
    above = len(others) - np.searchsorted(others, values, side="right")
    u, v = (exceeded + 0.5) / (len(yes) + 1), (above + 0.5) / (len(others) + 1)
    known = min(1.0, (len(yes) + 0.5) / (FEWEST_YES + 0.5))
    result: npt.NDArray[np.float64] = known * u / (u + v)
    return result


def threshold(held_out: HeldOut, tag: int, least: float = MIN_CONFIDENCE) -> float:
    """Returns the score from which on a tag is given automatically; infinity for a tag that never is.

    That takes three examples, the least confidence, and a score that three quarters of the examples reach."""
    yes, others = _split(held_out, tag)
    if len(yes) < FEWEST_YES or is_on_nearly_all(held_out, tag):
        return float(np.inf)
    candidates = np.unique(np.concatenate([yes, others]))
    sure = candidates[confidences(candidates, held_out, tag) >= least]
    return float(max(sure[0], np.quantile(yes, LOWEST_YES))) if len(sure) else float(np.inf)


def is_on_nearly_all(held_out: HeldOut, tag: int) -> bool:
    """Whether nearly all labelled videos have the tag, and none is known not to have it."""
    states = held_out.states
    labelled = states[np.isin(states, (YES, NO)).any(axis=1), tag]
    return len(labelled) > 1 and not (labelled == NO).any() and (labelled == YES).mean() >= NEARLY_ALL


def _split(held_out: HeldOut, tag: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns the sorted scores of the examples of a tag, and those of the other bags."""
    states, scores = held_out.states[:, tag], held_out.scores[:, tag]
    yes = states == YES
    others = ~yes & (states != LEFT_OUT)
    return np.sort(scores[yes]), np.sort(scores[others])
