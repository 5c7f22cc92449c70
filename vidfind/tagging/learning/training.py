"""Trains a vector for each tag with the losses of SCPNet (CVPR 2023), over stored vectors: no video is decoded.

Modifications: the image tower stays as it is, and each tag has a vector and a bias of its own; a strong view of a
segment is its vector mixed with that of its neighbour and with noise; a known no is never read as a yes; one high
threshold for pseudo-labels in place of a status table; soft targets reach 1. Of the videos without any label only a
sample is looked at. The published form is trained too. N segments, B bags, C tags, D numbers a vector; see vectors.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidfind.tagging.learning import scpnet
from vidfind.tagging.learning.examples import DEFAULT_RECIPE, LEFT_OUT, NO, YES, Examples, Recipe, Weights
from vidfind.tagging.learning.losses import soft_cross_entropy, splc
from vidfind.tagging.learning.prior import Relation
from vidfind.tagging.learning.vectors import Numbers, by_size, mean_vectors

MIXED, NOISE = 0.4, 0.3
"""How much of a neighbour, and of noise, a strong view has at most."""
EPOCHS, BATCH, PUBLISHED_RATE = 60, 128, 1e-4
"""Of the published training."""


class TrainingFailed(Exception):
    """The loss is no finite number."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Meanwhile torch uses one thread: steps are small, and more threads wait for one another on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(examples: Examples, start: Weights, relation: Relation, recipe: Recipe = DEFAULT_RECIPE) -> Weights:
    """Returns trained weights, which are `start` after no step. Raises TrainingFailed.

    `relation` ties the tags. The same seed gives the same weights."""
    end = time.monotonic() + recipe.seconds
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = [_Batch(part, generator) for part in _looked_at(examples, recipe)]
    base, bias = torch.from_numpy(start.vectors), torch.from_numpy(start.bias).clone().requires_grad_()
    delta = torch.zeros_like(base, requires_grad=True)
    graph = torch.from_numpy(relation.graph).float()
    layers: list[Tensor] = []
    if recipe.graph == "trained":
        layers = [one.requires_grad_() for one in scpnet.graph_weights(base.shape[1], generator, is_residual=True)]
    soft = torch.from_numpy(relation.soft).float()
    rates = [recipe.learning_rate] * 2 + [recipe.graph_learning_rate] * len(layers)
    optimizer = Adam([delta, bias, *layers])
    average = [base.clone(), bias.detach().clone()]

    def label_vectors() -> Tensor:
        added = delta + scpnet.graph_convolutions(graph, base, layers) if layers else delta
        return functional.normalize(base + added, dim=1)

    steps = 0
    while steps < recipe.steps and time.monotonic() < end:
        vectors, batch = label_vectors(), batches[steps % len(batches)]
        weak_logits = batch.pool(start.scale * (batch.weak @ vectors.T) + bias)
        strong_logits = batch.pool(start.scale * (batch.strong() @ vectors.T) + bias)
        flips = steps >= recipe.flips_from * recipe.steps
        loss = _labelled_loss(weak_logits[batch.labelled], batch.states[batch.labelled], flips, recipe)
        loss = loss + recipe.unlabelled_weight * _unlabelled_loss(
            weak_logits, strong_logits, batch.states, soft, recipe
        )
        loss = loss + recipe.stiffness * (delta**2).sum() / len(delta)
        if not torch.isfinite(loss):
            raise TrainingFailed
        optimizer.step(loss, rates)
        with torch.no_grad():
            scpnet.update_average(average, [label_vectors(), bias], recipe.decay)
        steps += 1
    if not steps:
        return start
    return Weights(functional.normalize(average[0], dim=1).numpy(), average[1].numpy(), start.scale, steps)


def train_published(examples: Examples, relation: Relation, recipe: Recipe = DEFAULT_RECIPE) -> Weights:
    """Returns the weights that the training of SCPNet as published makes of the texts, without a bias.

    Only the graph is trained; a bag is one picture, the mean of its segments; only a yes is known. Raises
    TrainingFailed."""
    end = time.monotonic() + recipe.seconds
    generator = torch.Generator().manual_seed(recipe.seed)
    touched = examples.touched
    chosen = examples.of_bags(np.flatnonzero(touched))
    yes = torch.from_numpy(chosen.states == YES).float()
    images = torch.from_numpy(mean_vectors(chosen.vectors, chosen.starts))
    view = _strong_views(images, np.arange(len(images) + 1), generator)
    text = torch.from_numpy(examples.text)
    graph, soft = (torch.from_numpy(matrix).float() for matrix in relation)
    layers = [one.requires_grad_() for one in scpnet.graph_weights(text.shape[1], generator)]
    average = [one.detach().clone() for one in layers]
    optimizer = Adam(layers, weight_decay=1e-4)
    table = scpnet.StatusTable(*yes.shape)
    in_epoch = math.ceil(len(images) / BATCH)
    rates = scpnet.one_cycle(PUBLISHED_RATE, EPOCHS * in_epoch)
    steps = 0
    for epoch in range(EPOCHS):
        strong = view()
        for rows in torch.randperm(len(images), generator=generator).split(BATCH):
            if time.monotonic() >= end:
                break
            labels = scpnet.graph_head(text, graph, layers)
            weak_logits = scpnet.scores(images[rows], labels)
            strong_logits = scpnet.scores(strong[rows], labels)
            loss, hard = scpnet.training_loss(
                weak_logits, weak_logits, strong_logits, yes[rows], soft, table.status(), epoch
            )
            if not torch.isfinite(loss):
                raise TrainingFailed
            table.note(rows, hard)
            optimizer.step(loss, [next(rates)] * len(layers))
            scpnet.update_average(average, layers, scpnet.ema_decay(in_epoch))
            steps += 1
    vectors = scpnet.graph_head(text, graph, average).numpy()
    return Weights(vectors, np.zeros(len(vectors), np.float32), scpnet.SCALE, steps)


class Adam:
    """The optimizer of Kingma and Ba, with L2 in the gradient: torch's own imports a compiler, which takes seconds."""

    def __init__(self, weights: Sequence[Tensor], weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.999)):
        self._weights, self._weight_decay, self._betas = list(weights), weight_decay, betas
        self._means = [torch.zeros_like(one) for one in self._weights]
        self._squares = [torch.zeros_like(one) for one in self._weights]
        self._steps = 0

    def step(self, loss: Tensor, rates: Sequence[float]) -> None:
        """Moves each of the weights against the gradient of the loss, at a learning rate of its own."""
        gradients = torch.autograd.grad(loss, self._weights)
        self._steps += 1
        first, second = self._betas
        corrected = math.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        with torch.no_grad():
            for weight, gradient, mean, square, rate in zip(
                self._weights, gradients, self._means, self._squares, rates, strict=True
            ):
                gradient = gradient + self._weight_decay * weight if self._weight_decay else gradient
                mean.lerp_(gradient, 1 - first)
                square.lerp_(gradient**2, 1 - second)
                epsilon = 1e-8 * math.sqrt(1 - second**self._steps)
                weight.addcdiv_(mean, square.sqrt().add_(epsilon), value=-rate * corrected)


class _Batch:
    """The bags of a step, and how they are looked at."""

    def __init__(self, examples: Examples, generator: torch.Generator) -> None:
        self.weak = torch.from_numpy(examples.vectors)
        self.states = torch.from_numpy(examples.states)
        self.labelled = torch.from_numpy(np.flatnonzero(examples.touched))
        self.strong = _strong_views(self.weak, examples.starts, generator)
        self.pool = _pooling(examples.starts)


def _looked_at(examples: Examples, recipe: Recipe) -> list[Examples]:
    """Returns the labelled bags and a sample of the others: all of them, or in parts for one step after the other."""
    rng = np.random.default_rng(recipe.seed)
    touched = np.flatnonzero(examples.touched)
    others = rng.permutation(np.flatnonzero(~examples.touched & (examples.sizes > 0)))
    others = others[np.cumsum(examples.sizes[others]) <= recipe.unlabelled_segments]
    segments = int(examples.sizes[touched].sum() + examples.sizes[others].sum())
    parts = 1 if segments <= 2 * recipe.batch_segments else round(segments / recipe.batch_segments)
    parts = max(min(parts, len(touched)), 1)
    bags = zip(*(np.array_split(one, parts) for one in (rng.permutation(touched), others)), strict=True)
    return [examples.of_bags(np.sort(np.concatenate(part))) for part in bags]


def _labelled_loss(logits: Tensor, states: Tensor, flips: bool, recipe: Recipe) -> Tensor:
    """Returns the loss of bags with labels: the mean of the yeses, and that of all other entries."""
    yes, no = states == YES, states == NO
    losses, _ = splc(logits, yes.to(logits.dtype), flips, locked=no)
    weights = torch.where(no, recipe.no_weight, 1.0) * (~yes & (states != LEFT_OUT))
    unknown = (losses * weights).sum() / weights.sum().clamp(min=1)
    return losses[yes].sum() / yes.sum().clamp(min=1) + recipe.unknown_weight * unknown


def _unlabelled_loss(
    weak_logits: Tensor, strong_logits: Tensor, states: Tensor, soft: Tensor, recipe: Recipe
) -> Tensor:
    """Returns the prior-enhanced self-supervised loss of all bags: the mean over all entries."""
    weak, strong = torch.sigmoid(weak_logits.detach()), torch.sigmoid(strong_logits)
    no = states == NO
    hard = ((weak >= recipe.sure) | (states == YES)) & ~no
    spread = (weak @ soft.T / soft.diagonal()).clamp(max=1).masked_fill(no, 0)
    entries = soft_cross_entropy(strong, hard.to(weak.dtype)) + soft_cross_entropy(strong, spread)
    counts = (states != LEFT_OUT) & hard.any(dim=1, keepdim=True)
    return (entries * counts).mean()


def _pooling(starts: Numbers) -> Callable[[Tensor], Tensor]:
    """Returns a function that pools logits (N, C) to (B, C) as `vectors.pooled` does."""
    groups = by_size(starts)
    rows = [torch.from_numpy(group.rows) for group in groups]
    order = torch.from_numpy(np.concatenate([group.bags for group in groups]).argsort())

    def pool(logits: Tensor) -> Tensor:
        parts = []
        for group, numbers in zip(groups, rows, strict=True):
            if numbers.shape[1] == 1:
                parts.append(logits[numbers[:, 0]])
                continue
            scores = logits[numbers]  # (n, width, C); the row -1 is one too many
            scores = scores.masked_fill((numbers < 0)[..., None], -math.inf)
            best = scores.amax(dim=1) if group.best == 1 else scores.topk(group.best, dim=1).values.mean(dim=1)
            parts.append(best)
        return torch.cat(parts)[order]

    return pool


def _strong_views(weak: Tensor, starts: Numbers, generator: torch.Generator) -> Callable[[], Tensor]:
    """Returns a function that makes a strong view (N, D) of all segments, another each time."""
    count, dim = weak.shape
    sizes = np.diff(starts)
    first, last = (torch.from_numpy(np.repeat(one, sizes)) for one in (starts[:-1], starts[1:] - 1))
    numbers = torch.arange(count)
    # Numbers of noise are made once: each view takes them from another place on.
    noise = torch.randn(2 * count, dim, generator=generator) * (NOISE / math.sqrt(dim))

    def view() -> Tensor:
        step = torch.randint(0, 2, (count,), generator=generator) * 2 - 1
        there = numbers + step
        there = torch.where((there < first) | (there > last), numbers - step, there)
        there = torch.where((there < first) | (there > last), numbers, there)
        mixed = torch.rand(count, 1, generator=generator) * MIXED
        offset = int(torch.randint(0, count + 1, (1,), generator=generator))
        return functional.normalize(torch.lerp(weak, weak[there], mixed) + noise[offset : offset + count], dim=1)

    return view
