"""SCPNet (Exploring Structured Semantic Prior for Multi Label Recognition with Incomplete Labels, CVPR 2023) as it was
published, over stored vectors: graph head, consistency loss with a status of each class, schedules, training.

`vidfind tag fill --graph published` trains it; `--graph trained` adds the graph head alone to the product's training.
Departures: the image tower and the prompt are not trained, because only vectors are stored. A strong view is one of
vectors. N rows, C tags, D numbers a vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vidfind.tagging.learning.losses import soft_cross_entropy, splc

SLOPE = 0.2  # of the leaky ReLU
SCALE = 10.0
CUTOFF, HARD_LABELS = 0.95, 2
UNLABELLED_WEIGHT, SOFT_WEIGHT = 0.125, 1.0
EPOCH_KEPT = 0.82
"""The part of the averaged weights that an epoch leaves as it was."""
WARM_UP, START_DIVISOR, END_DIVISOR = 0.2, 25.0, 1e4


def graph_weights(dim: int, generator: torch.Generator, is_residual: bool = False) -> list[Tensor]:
    """Returns the matrices of three graph convolutions, D -> 2D -> 2D -> D, uniform below 1 / sqrt(outputs).

    With `is_residual` the last is zero, so that the graph changes nothing at first."""
    sizes = ((dim, 2 * dim), (2 * dim, 2 * dim), (2 * dim, dim))
    weights = [(torch.rand(size, generator=generator) * 2 - 1) / math.sqrt(size[1]) for size in sizes]
    if is_residual:
        weights[-1] = torch.zeros(sizes[-1])
    return weights


def graph_convolutions(graph: Tensor, nodes: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Returns what graph convolutions without bias make of nodes (C, D), with a leaky ReLU between each two."""
    for number, weight in enumerate(weights):
        nodes = graph @ (nodes @ weight)
        if number < len(weights) - 1:
            nodes = functional.leaky_relu(nodes, SLOPE)
    return nodes


def graph_head(text: Tensor, graph: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Returns the label vectors (C, D), of unit length, from texts (C, D) that are not normalised."""
    return functional.normalize(text + graph_convolutions(graph, text, weights), dim=1)


def scores(images: Tensor, labels: Tensor, scale: float | Tensor = SCALE) -> Tensor:
    """Returns logits (N, C) of images (N, D) for label vectors (C, D) of unit length. There is no bias."""
    return scale * functional.normalize(images, dim=1) @ labels.T


def pseudo_labels(weak: Tensor, yes: Tensor, status: Tensor, cutoff: float, most: int) -> tuple[Tensor, Tensor]:
    """Returns the hard labels (N, C) as 0 and 1, and whether each row (N,) counts.

    Of the `most` highest probabilities (N, C) of a row, those above the threshold of their class are labels; the lower
    the `status` (C,) of a class, the lower its threshold. Known labels are labels too, but do not make a row count."""
    thresholds = cutoff * status / (2 - status)
    highest = torch.zeros_like(weak, dtype=torch.bool)
    highest.scatter_(1, weak.topk(min(most, weak.shape[1]), dim=1).indices, True)
    sure = highest & (weak >= thresholds)
    return (sure | (yes > 0)).to(weak.dtype), sure.any(dim=1)


def consistency_loss(
    weak_logits: Tensor,
    strong_logits: Tensor,
    yes: Tensor,
    relation: Tensor,
    status: Tensor,
    cutoff: float = CUTOFF,
    most: int = HARD_LABELS,
    soft_weight: float = SOFT_WEIGHT,
) -> tuple[Tensor, Tensor]:
    """Returns the prior-enhanced self-supervised loss, summed, and the hard labels (N, C).

    What the strong view gives is compared with the hard labels of the weak view, and with the probabilities of the weak
    view spread along the `relation` (C, C)."""
    weak, strong = torch.sigmoid(weak_logits.detach()), torch.sigmoid(strong_logits)
    labels, counts = pseudo_labels(weak, yes, status, cutoff, most)
    soft = weak @ relation.T
    entries = soft_cross_entropy(strong, labels) + soft_weight * soft_cross_entropy(strong, soft)
    return (entries * counts[:, None]).sum(), labels


class StatusTable:
    """How far each class is learnt, from the hard labels that the rows of a training had last."""

    def __init__(self, rows: int, classes: int, most: int = HARD_LABELS) -> None:
        self.selected = torch.zeros(rows, classes)
        self._most = most

    def status(self) -> Tensor:
        """Returns numbers (C,) from 1/C, where nothing is learnt, to 1."""
        rows, classes = self.selected.shape
        counts = self.selected.sum(dim=0)
        unused = self._most * rows - counts.sum()
        least = torch.full((classes,), 1 / classes)
        if counts.max() < 1:
            return least
        return torch.maximum(counts / torch.maximum(counts.max(), unused), least)

    def note(self, rows: Tensor, labels: Tensor) -> None:
        """Remembers the hard labels of rows that have any."""
        has_labels = labels.any(dim=1)
        self.selected[rows[has_labels]] = labels[has_labels].to(self.selected.dtype)


def training_loss(
    logits: Tensor,
    weak_logits: Tensor,
    strong_logits: Tensor,
    yes: Tensor,
    relation: Tensor,
    status: Tensor,
    epoch: int,
    *,
    most: int = HARD_LABELS,
    cutoff: float = CUTOFF,
    soft_weight: float = SOFT_WEIGHT,
    unlabelled_weight: float = UNLABELLED_WEIGHT,
) -> tuple[Tensor, Tensor]:
    """Returns the whole loss of a batch, and the hard labels for the status table. Unknown labels flip from epoch 1."""
    supervised, _ = splc(logits, yes, flips=epoch >= 1)
    unsupervised, labels = consistency_loss(
        weak_logits, strong_logits, yes, relation, status, cutoff, most, soft_weight
    )
    return supervised.sum() + unlabelled_weight * unsupervised, labels


def ema_decay(steps_an_epoch: int) -> float:
    """Returns the decay of the average of the weights in each step."""
    return float(EPOCH_KEPT ** (1 / steps_an_epoch))


def update_average(average: Sequence[Tensor], weights: Sequence[Tensor], decay: float) -> None:
    """Moves the averages towards the weights, in place."""
    with torch.no_grad():
        for kept, weight in zip(average, weights, strict=True):
            kept.lerp_(weight, 1 - decay)


def one_cycle(peak: float, steps: int) -> Iterator[float]:
    """Yields the learning rate of each of `steps` steps: a rise over a fifth of them, then a fall, both cosines."""
    top = WARM_UP * steps - 1
    low, end = peak / START_DIVISOR, peak / START_DIVISOR / END_DIVISOR
    for step in range(steps):
        if step <= top:
            yield _between(low, peak, step / top)
        else:
            yield _between(peak, end, (step - top) / (steps - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
