"""SoftCPT as published (2022): one linear layer makes the context of each task's prompts from the name of the task.

The functions of the paper's code, pure, on tensors: `vidfind learn fit --reference` trains with them, and `--mode
token` uses those it does not change (token_prompts.py names each change). Imports PyTorch: import it to train, only.
Letters: B rows, T tasks, C classes of all tasks, L context tokens, n tokens of a prompt, w width of the text tower, D
embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ReadPrompts = Callable[[Tensor, Tensor], Tensor]
"""A text tower: token embeddings (N, n, w), and the ids (N, n) of the tokens in their places -> (N, D)."""
Position = Literal["end", "middle", "front"]
"""Where the name stands in a prompt: after the context, in the middle of it, or before it."""


@dataclass(frozen=True)
class Variant:
    """Which prompts have vectors of their own (table 2.3 of the specification)."""

    has_class_context: bool = False
    """Whether the context is made of the class too, so that every class has its own."""
    own_class_context: bool = False
    """Whether the prompt of a class feature has vectors of its own for each class."""
    own_task_context: bool = False
    """Whether the prompt of a task feature has vectors of its own for each task."""


VARIANTS: Mapping[str, Variant] = {
    "NATA": Variant(),
    "NATS": Variant(own_task_context=True),
    "CATA": Variant(has_class_context=True),
    "CSTA": Variant(has_class_context=True, own_class_context=True),
    "CATS": Variant(has_class_context=True, own_task_context=True),
    "CSTS": Variant(has_class_context=True, own_class_context=True, own_task_context=True),
}


@dataclass(frozen=True)
class TokenIds:
    """Token ids (N, n) of prompts whose positions 1 to `context` are held for context vectors."""

    ids: Tensor
    context: int

    @property
    def end(self) -> Tensor:
        """The position of the end of text of each prompt (N,): it has the highest id."""
        return self.ids.argmax(dim=-1)

    def trimmed(self) -> TokenIds:
        """Returns the prompts without what follows the last end of text, which has no influence."""
        return TokenIds(self.ids[:, : int(self.end.max()) + 1], self.context)


@dataclass(frozen=True)
class PromptIds:
    """The prompts of all tasks and classes; `task_of` (C,) is the number of each class's task."""

    tasks: TokenIds
    classes: TokenIds
    task_of: Tensor
    features: TokenIds | None = None
    """The prompts that class features are made of, in variants that have them."""


# Prompts


def assemble_prompts(
    prefix: Tensor,
    context: Tensor,
    suffix: Tensor,
    name_lengths: Sequence[int] | None = None,
    position: Position = "end",
) -> Tensor:
    """Joins start of text (N, 1, w), context (L, w) or (N, L, w), and the rest (N, m, w) -> (N, 1 + L + m, w).

    `name_lengths` is how many tokens of the rest are the name; only "middle" and "front" need it."""
    if context.ndim == 2:
        context = context.expand(len(prefix), -1, -1)
    if position == "end":
        return torch.cat([prefix, context, suffix], dim=1)
    assert name_lengths is not None
    before = context.shape[1] // 2 if position == "middle" else 0
    rows = [
        torch.cat([start, own[:before], rest[:length], own[before:], rest[length:]])
        for start, own, rest, length in zip(prefix, context, suffix, name_lengths, strict=True)
    ]
    return torch.stack(rows)


def read_prompts(read: ReadPrompts, embedding: Tensor, prompts: TokenIds, context: Tensor) -> Tensor:
    """Puts context vectors (L, w) or (N, L, w) in their places and reads the prompts -> (N, D), not of unit length.

    `embedding` (vocabulary, w) has the vectors of tokens."""
    cut = prompts.trimmed()
    vectors = embedding[cut.ids].to(context.dtype)
    return read(assemble_prompts(vectors[:, :1], context, vectors[:, 1 + cut.context :]), cut.ids)


# The shared network


def context_vectors(
    features: Tensor, weight: Tensor, length: int, kind: Literal["lin", "linmean", "lincls"] = "lin"
) -> Tensor:
    """Features (N, d) through one linear layer without bias, (d, L w) -> contexts (N, L, w).

    In class-wise variants the features are [class ; task]: "linmean" takes their mean, "lincls" the first alone."""
    halves = features.chunk(2, dim=-1)
    given = {"lin": features, "linmean": (halves[0] + halves[1]) / 2, "lincls": halves[0]}[kind]
    contexts: Tensor = (given @ weight).unflatten(-1, (length, -1))
    return contexts


@dataclass(frozen=True)
class ReferenceParameters:
    """The trained parts: vectors of the task prompts (M, w) or (T, M, w), the layer, and vectors of the class features
    (m, w) or (C, m, w) in variants that have them."""

    task_context: Tensor
    weight: Tensor
    class_context: Tensor | None = None

    @property
    def all(self) -> list[Tensor]:
        return [one for one in (self.task_context, self.weight, self.class_context) if one is not None]


SPREAD = 0.02
"""Standard deviation of all parameters at the start."""


def make_parameters(
    prompts: PromptIds, variant: Variant, width: int, dim: int, generator: torch.Generator
) -> ReferenceParameters:
    """Returns random parameters, as the paper starts with."""

    def random(*shape: int) -> Tensor:
        return (SPREAD * torch.randn(shape, generator=generator)).requires_grad_()

    tasks, classes = len(prompts.tasks.ids), len(prompts.classes.ids)
    task_context = random(*([tasks] if variant.own_task_context else []), prompts.tasks.context, width)
    weight = random(dim * (2 if variant.has_class_context else 1), prompts.classes.context * width)
    if not (variant.has_class_context and prompts.features):
        return ReferenceParameters(task_context, weight)
    own = [classes] if variant.own_class_context else []
    return ReferenceParameters(task_context, weight, random(*own, prompts.features.context, width))


def class_features(
    read: ReadPrompts, embedding: Tensor, prompts: PromptIds, parameters: ReferenceParameters
) -> tuple[Tensor, Tensor]:
    """Returns the features of all classes (C, D) and of all tasks (T, D), neither of unit length."""
    tasks = read_prompts(read, embedding, prompts.tasks, parameters.task_context)
    given = tasks[prompts.task_of]
    if parameters.class_context is not None:
        assert prompts.features
        given = torch.cat([read_prompts(read, embedding, prompts.features, parameters.class_context), given], dim=-1)
    contexts = context_vectors(given, parameters.weight, prompts.classes.context)
    return read_prompts(read, embedding, prompts.classes, contexts), tasks


def prompt_logits(images: Tensor, classes: Tensor, scale: float) -> Tensor:
    """Embeddings of pictures (B, D) and features of classes (C, D), both of any length -> logits (B, C)."""
    return scale * F.normalize(images, dim=-1) @ F.normalize(classes, dim=-1).T


# Loss, schedule, optimizer


def joint_loss(logits: Tensor, labels: Tensor, task_of: Tensor) -> Tensor:
    """Cross-entropy of each task over its own rows and classes, summed and divided by B: tasks weigh by their rows.

    `labels` (B, C) are one-hot within a task, and -1 in the columns of tasks that a row is no sample of. The loss of
    some classes only is that of their columns."""
    total = logits.new_zeros(())
    for task in task_of.unique():
        columns = task_of == task
        own = labels[:, columns]
        rows = (own >= 0).all(dim=1)
        if rows.any():
            total = total + F.cross_entropy(logits[rows][:, columns], own[rows].argmax(dim=1), reduction="sum")
    return total / len(logits)


EPOCHS, PEAK, FIRST = 50, 0.002, 1e-5
BATCH = 32


def learning_rate(epoch: int) -> float:
    """The learning rate of an epoch from 0: one to warm up, then a cosine over EPOCHS.

    The published code steps its schedule three or four times an epoch, which `epoch` times three or four shows."""
    return FIRST if epoch == 0 else PEAK / 2 * (1 + math.cos(math.pi * (epoch - 1) / EPOCHS))


MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4


def sgd(parameters: Sequence[Tensor]) -> Callable[[Sequence[Tensor], float], None]:
    """Returns a function that takes gradients and a learning rate, and makes a step of the paper's optimizer.

    It is to be called once a batch; the published code makes three steps or four. PyTorch's own imports a compiler
    first, which takes longer than a training."""
    momenta: list[Tensor] = []

    @torch.no_grad()
    def update(gradients: Sequence[Tensor], rate: float) -> None:
        decayed = [one + WEIGHT_DECAY * own for one, own in zip(gradients, parameters, strict=True)]
        moved = [MOMENTUM * old + new for old, new in zip(momenta, decayed, strict=True)] if momenta else decayed
        momenta[:] = moved
        for one, step in zip(parameters, moved, strict=True):
            one -= rate * step

    return update
