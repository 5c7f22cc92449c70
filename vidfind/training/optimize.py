"""Symmetric InfoNCE, its exact gradient in bounded memory, and the optimizer with its schedule.

Letters: B pairs of a clip and a caption, D embedding size.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.text.tokenizer import LEARNED
from vidfind.training.recipe import Recipe
from vidfind.training.trainable import TOKENS, is_addition

Chunk = Callable[[], Tensor]
"""Computes the features (b, D) of a part of the batch; every call gives the same features."""


class Room:
    """Memory for the activations of chunks, from their first pass to their gradient."""

    def __init__(self, size: float, lanes: int = 1, weights: Collection[int] = ()) -> None:
        """`size` in bytes, of which `lanes` chunks need a part while they are computed. `weights`: addresses of tensors
        that take no room, because they are there in any case."""
        self._left, self._lanes, self._weights = size, lanes, weights
        self._largest = 0
        self._lock = threading.Lock()

    def compute(self, chunk: Chunk) -> Tensor:
        """Returns the features of a chunk, with their activations if these fit."""
        if self._left <= 0:
            with torch.no_grad():  # a setting of each thread
                return chunk()
        found: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._weights:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            features = chunk()
        return features if self._take(sum(found.values())) else features.detach()

    def _take(self, size: int) -> bool:
        with self._lock:
            self._largest = max(self._largest, size)
            fits = size + self._lanes * self._largest <= self._left
            self._left = self._left - size if fits else 0
            return fits


def contrastive_loss(video: Tensor, text: Tensor, scale: Tensor, false_negatives: Tensor | None = None) -> Tensor:
    """Returns the mean of row and column cross-entropy of `scale` * cosine, for features (B, D) of any length.

    `false_negatives` (B, B) bool: pairs that must not count as negatives, such as two captions of one video.
    """
    logits = scale * F.normalize(video, dim=-1) @ F.normalize(text, dim=-1).T
    if false_negatives is not None:
        others = ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(false_negatives.to(logits.device) & others, -math.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def backward_in_chunks(
    video: Sequence[Chunk],
    text: Sequence[Chunk],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    parameters: Sequence[nn.Parameter],
    lanes: int = 1,
    room: Room | None = None,
) -> Tensor:
    """Returns the loss of all chunks together, detached, and adds its gradients to `parameters`.

    Memory holds the activations of only `lanes` chunks at a time, at the price of a second forward pass: first all
    features without activations; then the gradient of the loss at the features; then each chunk again, with its part of
    that gradient (GradCache: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
    2021). Chunks whose activations fit in the `room` are not computed again. The result is exact in both ways. Adding
    up losses of parts would not be, because contrast needs all pairs at once.

    Several `lanes` work on chunks at the same time, each in a thread of its own and with one thread of torch: threads
    that share the work on one chunk spin while they wait for each other, wherever a core is not free.
    """
    chunks = [*video, *text]
    room = room or Room(0)

    def gradients(chunk: Chunk, held: Tensor, gradient: Tensor) -> Sequence[Tensor | None]:
        with torch.enable_grad():  # a setting of each thread
            again = held if held.requires_grad else chunk()
        if not again.requires_grad:  # features of a frozen tower
            return [None] * len(parameters)
        return torch.autograd.grad(again, parameters, gradient, allow_unused=True)

    with in_lanes(lanes) as run:
        parts = list(run(room.compute, chunks))
        features = [torch.cat(part).detach().requires_grad_() for part in (parts[: len(video)], parts[len(video) :])]
        loss = loss_of(*features)
        torch.autograd.backward(loss)
        split = [
            part
            for whole, sizes in zip(features, (parts[: len(video)], parts[len(video) :]), strict=True)
            for part in torch.split(gradient_of(whole), [len(one) for one in sizes])
        ]
        for found in run(gradients, chunks, parts, split):  # summed in the same order whatever lane is first
            for parameter, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    return loss.detach()


def gradient_of(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


FIT_STEPS = 200
FIT_RATE = 0.02
FIT_DECAY = 0.1  # weight of the squared length of a direction


def fit_directions(video: Tensor, text: Tensor, present: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Returns the directions (K, D) of learned words that tell the clips of their captions from all others.

    `video` and `text` (B, D) are features of pairs, those of texts of unit length and without directions; `present`
    (B, K) says which texts have which tokens of learned words. `loss_of` is the contrastive loss of features (B, D).
    A direction tells as much as a linear probe of clips can, and no text has to be read again to find it, unlike in
    textual inversion (Gal et al., ICLR 2023). A word whose noun fits stays near it, because little speaks for more; one
    for an unseen look goes far."""
    directions = nn.Parameter(torch.zeros(present.shape[1], text.shape[1], device=text.device))
    optimizer = AdamW([Group([directions], FIT_RATE, 0.0)], partial(rate_factor, FIT_STEPS, Recipe.warm_up))
    for _ in range(FIT_STEPS):
        loss = loss_of(video, text + present @ directions) + FIT_DECAY * directions.square().sum(dim=1).mean()
        loss.backward()
        optimizer.step()
    return directions.detach()


@torch.no_grad()
def hold_back(trained: Mapping[str, nn.Parameter], start: Mapping[str, Tensor], drift: float, most: float) -> None:
    """Takes the parameters of `start` a part of the way back to it, if clips have moved too far: by `drift` > `most`.

    What a model knew of other videos gets lost when vectors of clips without new words move more. Half the way back (as
    WiSE-FT goes afterwards: Wortsman et al., CVPR 2022) leaves about a quarter of the change of vectors."""
    if drift > most:
        for name, value in start.items():
            trained[name].lerp_(value, 1 - math.sqrt(most / drift))


@contextmanager
def in_lanes(lanes: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yields a `map` that runs in so many threads, each with one thread of torch; with one lane, the usual `map`."""
    if lanes <= 1:
        yield map
        return
    with ThreadPoolExecutor(lanes, "lane", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool.map


CLIP_RATE = 0.01  # full fine-tuning: learning rate of CLIP's own weights, as a share of that of new parameters
WORD_RATE = 3.0  # learning rate of the embeddings of learned words, as a multiple of that of new parameters


def make_optimizer(trained: Mapping[str, nn.Parameter], recipe: Recipe, steps: int) -> AdamW:
    """Returns AdamW with the schedule of its learning rate over `steps` steps.

    In full fine-tuning CLIP's own weights learn slowly, and biases and norms are not decayed. Prompts and learned words
    are never decayed, because they are tokens and not weights.
    """
    tokens = {name: p for name, p in trained.items() if name.endswith(".prompts") or name in TOKENS}
    new = [p for name, p in trained.items() if is_addition(name) and name not in tokens]
    own = [p for name, p in trained.items() if not is_addition(name)]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    groups = [
        Group(new, rate, decay),
        Group([p for name, p in tokens.items() if name != LEARNED], rate, 0.0),
        Group([p for name, p in tokens.items() if name == LEARNED], rate * WORD_RATE, 0.0),
        Group([p for p in own if p.ndim >= 2], rate * CLIP_RATE, decay),
        Group([p for p in own if p.ndim < 2], rate * CLIP_RATE, 0.0),
    ]
    return AdamW([group for group in groups if group.parameters], partial(rate_factor, steps, recipe.warm_up))


@dataclass(frozen=True)
class Group:
    """Parameters that learn alike."""

    parameters: Sequence[nn.Parameter]
    rate: float
    """The highest learning rate."""
    decay: float


@dataclass(frozen=True)
class Stepped:
    """A step of the optimizer. `seconds_left` counts on all steps being made."""

    step: int
    steps: int
    loss: float
    seconds_left: float


class AdamW:
    """AdamW (Loshchilov and Hutter, 2019), with torch's defaults; torch.optim takes seconds to import.

    `factor` returns the share of the learning rate after a number of steps."""

    def __init__(self, groups: Sequence[Group], factor: Callable[[int], float]) -> None:
        self.groups = groups
        self._factor = factor
        self._steps = 0
        self._moments = {p: (torch.zeros_like(p), torch.zeros_like(p)) for group in groups for p in group.parameters}

    @torch.no_grad()
    def step(self) -> None:
        """Changes the parameters by their gradients, which are then forgotten."""
        factor = self._factor(self._steps)
        self._steps += 1
        for group in self.groups:
            rate = group.rate * factor
            for p in group.parameters:
                if p.grad is None:
                    continue
                mean, square = self._moments[p]
                mean.lerp_(p.grad, 1 - BETAS[0])
                square.lerp_(p.grad.square(), 1 - BETAS[1])
                size = (square / (1 - BETAS[1] ** self._steps)).sqrt_().add_(EPSILON)
                p.mul_(1 - rate * group.decay).addcdiv_(mean, size, value=-rate / (1 - BETAS[0] ** self._steps))
                p.grad = None


BETAS, EPSILON = (0.9, 0.999), 1e-8


def rate_factor(steps: int, warm_up: float, step: int) -> float:
    """Returns the learning rate after `step` steps, as a share of the highest: a linear rise, then a cosine."""
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
