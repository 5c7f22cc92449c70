"""The examples that tags are learnt from (segments of all videos, and labels of their owner), and the weights learnt.

Needs numpy alone. N segments, B bags, C tags, D numbers a vector; see vectors.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidfind.tagging.learning.vectors import (
    Flags,
    Numbers,
    bag_rows,
    blend,
    most_alike,
    pooled,
    prototypes,
    unit,
    whitening,
)

YES, NO, UNKNOWN, LEFT_OUT = 1, -1, 0, 2
"""States of a tag in a bag. One that is left out is known of another bag, of the same video."""
SPREAD = 1.5
"""Standard deviation of the logits of all segments."""
QUANTILE = 0.95
"""The part of all bags that score below 0 at first: a tag is mostly not there."""

GOOD_AREA = 0.75
"""Area under the ROC curve from which on a text is trusted as a whole."""
TRUSTED = 0.6
"""Trust below which the text does not say which segments of an example show its tag."""
MOST_COMPARED = 1000
"""Segments of the examples of a tag that are compared with one another at most."""


@dataclass(frozen=True)
class Examples:
    """The bags of a library: whole videos, and parts that a label speaks of."""

    vectors: npt.NDArray[np.float32]
    """(N, D), centred."""
    starts: Numbers
    """(B + 1,)"""
    groups: Numbers
    """(B,): bags of a group are evidence of one another."""
    states: npt.NDArray[np.int8]
    """(B, C): YES, NO, UNKNOWN or LEFT_OUT."""
    text: npt.NDArray[np.float32]
    """(C, D), centred."""
    text_scores: npt.NDArray[np.float32] | None = None
    """The pooled products of bags and texts (B, C), if they have been computed."""
    whitening: npt.NDArray[np.float32] | None = None
    """The whitening (D, D) of all segments, if it has been computed."""

    @cached_property
    def sizes(self) -> Numbers:
        """Numbers of segments (B,)."""
        result: Numbers = np.diff(self.starts)
        return result

    @cached_property
    def touched(self) -> Flags:
        """Which bags (B,) have a label, and segments."""
        result: Flags = ((self.states == YES) | (self.states == NO)).any(axis=1) & (self.sizes > 0)
        return result

    @cached_property
    def counts(self) -> Numbers:
        """How many groups say yes to each tag (C,)."""
        return np.array([len(np.unique(self.groups[column == YES])) for column in self.states.T], np.int64)

    def of_bags(self, bags: Numbers) -> Examples:
        """Returns these bags alone, in this order."""
        starts = np.concatenate([[0], self.sizes[bags].cumsum()])
        rows = bag_rows(self.starts, bags)
        return replace(
            self,
            vectors=self.vectors[rows],
            starts=starts,
            groups=self.groups[bags],
            states=self.states[bags],
            text_scores=None if self.text_scores is None else self.text_scores[bags],
        )

    def prepared(self) -> Examples:
        """Returns the same with `text_scores` and `whitening`, which do not depend on states."""
        if self.text_scores is not None and self.whitening is not None:
            return self
        scores = pooled(self.vectors @ self.text.T, self.starts)
        return replace(self, text_scores=scores, whitening=whitening(self.vectors))

    def without_labels_of(self, bags: Flags) -> Examples:
        """Returns the same, where nothing is known of some bags (B,)."""
        return replace(self, states=np.where(bags[:, None], UNKNOWN, self.states).astype(np.int8))


@dataclass(frozen=True)
class Weights:
    """The learnt weights: the logit of a segment is `scale` times its product with a vector, plus a bias."""

    vectors: npt.NDArray[np.float32]
    """(C, D), of unit length; the mean of two ways is shorter."""
    bias: npt.NDArray[np.float32]
    """(C,)"""
    scale: float
    steps: int = 0
    """So many steps of training were made."""

    def logits(self, segments: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Returns the logits (N, C) of centred segments (N, D)."""
        return (np.float32(self.scale) * (segments @ self.vectors.T) + self.bias).astype(np.float32, copy=False)

    def scores(self, examples: Examples) -> npt.NDArray[np.float32]:
        """Returns the pooled logits (B, C) of bags."""
        return pooled(self.logits(examples.vectors), examples.starts)


Graph = Literal["none", "trained", "published"]


@dataclass(frozen=True)
class Recipe:
    """How tags are trained. `seconds` end a training early; its average so far is used."""

    steps: int = 200
    learning_rate: float = 3e-3
    graph: Graph = "none"
    graph_learning_rate: float = 1e-5
    decay: float = 0.97
    """Of the average of the weights, in each step."""
    unknown_weight: float = 3.0
    no_weight: float = 4.0
    """How much more a known no counts than an unknown entry."""
    unlabelled_weight: float = 1.25
    sure: float = 0.8
    """The probability from which on a weak view has a tag."""
    stiffness: float = 1.0
    """Weight of the squares of what is added to a vector."""
    flips_from: float = 0.2
    """The part of the steps after which unknown entries may be read as yes."""
    unlabelled_segments: int = 8192
    """So many segments of videos without a label are looked at; more cost time and teach no more."""
    batch_segments: int = 2048
    """From twice as many segments on, a step looks at about so many, and the next one at others."""
    seed: int = 0
    seconds: float = math.inf


DEFAULT_RECIPE = Recipe()


def fit_text(examples: Examples) -> Weights:
    """Returns weights that follow the texts alone."""
    return with_vectors(examples, examples.text)


def fit_blend(examples: Examples) -> Weights:
    """Returns weights that follow the texts and the looks of the examples; nothing is trained.

    Where the text of a tag is not to be trusted, its look is that of those segments of the examples that are most
    alike."""
    examples = examples.prepared()
    trusted = trust(examples)
    text = examples.text * trusted[:, None] ** 2
    looks = prototypes(examples.vectors, examples.starts, examples.states == YES, text)
    for tag in np.flatnonzero((trusted < TRUSTED) & (examples.counts > 1)):
        bags = np.flatnonzero((examples.states[:, tag] == YES) & (examples.sizes > 0))
        rows = bag_rows(examples.starts, bags)
        if len(bags) > 1 and len(rows) <= MOST_COMPARED:
            own, starts = examples.vectors[rows], np.append(0, examples.sizes[bags].cumsum())
            looks[tag] = unit(own[most_alike(own, starts, _metric(examples))].mean(axis=0))
    return with_vectors(examples, blend(text, unit(looks @ _metric(examples)), examples.counts))


def blend_alone(examples: Examples) -> Weights:
    """Returns about the same in less time: without scale and bias, and with all segments of an example."""
    examples = examples.prepared()
    text = examples.text * trust(examples)[:, None] ** 2
    looks = prototypes(examples.vectors, examples.starts, examples.states == YES, text)
    vectors = blend(text, unit(looks @ _metric(examples)), examples.counts)
    return Weights(vectors, np.zeros(len(vectors), np.float32), 1.0)


def _metric(examples: Examples) -> npt.NDArray[np.float32]:
    assert examples.whitening is not None
    return examples.whitening


def with_vectors(examples: Examples, vectors: npt.NDArray[np.float32]) -> Weights:
    """Returns weights whose logits of all segments have a fixed spread, and whose bias fits a rare tag."""
    products = examples.vectors @ vectors.T
    spread = float(products.std())
    scale = SPREAD / spread if spread > 0 else 1.0
    best = pooled(products, examples.starts)[examples.sizes > 0]
    bias = -scale * np.quantile(best, QUANTILE, axis=0) if len(best) else np.zeros(len(vectors))
    return Weights(vectors, bias.astype(np.float32), scale)


def trust(examples: Examples) -> npt.NDArray[np.float32]:
    """Returns how well the text of each tag (C,) fits its examples, from 0 to 1; 1 without any.

    A text that ranks the examples no higher than other videos, as the name of a dog does, is not to be trusted. Few
    examples say little about it."""
    best = examples.prepared().text_scores
    assert best is not None
    is_yes, there = examples.states == YES, examples.sizes > 0
    is_other = ~is_yes & (examples.states != LEFT_OUT) & there[:, None]
    is_yes &= there[:, None]
    result = np.ones(len(examples.text), np.float32)
    for tag in np.flatnonzero(examples.counts):
        others = np.sort(best[is_other[:, tag], tag])
        ranks = np.searchsorted(others, best[is_yes[:, tag], tag])
        area = ranks.mean() / len(others) if len(others) and len(ranks) else 1.0  # under the ROC curve
        fits = np.clip((area - 0.5) / (GOOD_AREA - 0.5), 0, 1)
        result[tag] = (2 + examples.counts[tag] * fits) / (2 + examples.counts[tag])
    return result
