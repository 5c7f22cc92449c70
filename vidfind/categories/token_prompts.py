"""Classes of several tasks learned by tuning prompts, as in SoftCPT (2022), with the text tower of the index's model.

`fit_tokens` changes what softcpt.py has of the paper: the context starts at the words "a video of a", and the layer
that all tasks share, of low rank, adds to it nothing at first, so that training starts at plain CLIP; the tasks count
alike, however many examples they have; there is a class "none", the mean of neutral texts; Adam, all examples at once.
`fit_reference` trains as published, with the optimizer stepped once. Pictures of videos are the stored vectors.
Imports PyTorch: import it to train, only. Letters as in softcpt.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.categories.shared_network import DECAY, adam, pooling, task_losses
from vidfind.categories.softcpt import (
    BATCH,
    EPOCHS,
    VARIANTS,
    PromptIds,
    ReadPrompts,
    TokenIds,
    class_features,
    joint_loss,
    learning_rate,
    make_parameters,
    prompt_logits,
    read_prompts,
    sgd,
)
from vidfind.categories.tasks import ClassExamples, Floats, Heads, Task, Vectors, task_of
from vidfind.errors import Unusable
from vidfind.towers.text import embedding_table, has_plain_text_tower, lean, read_embedded

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

START = "a video of a"
"""The words at which the context starts: four tokens."""
TASK_CONTEXT = 4
RANK = 8
STEPS, RATE = 100, 2e-3
REFERENCE_CONTEXT, REFERENCE_TASK_CONTEXT, REFERENCE_CLASS_CONTEXT = 16, 4, 4


@dataclass(frozen=True)
class Tower:
    """The text half of a model, for prompts whose context is trained."""

    read: ReadPrompts
    embedding: Tensor
    """The vectors of tokens (vocabulary, w)."""
    scale: float
    """The factor of cosines in logits."""
    encoder: Encoder

    def prompts(self, texts: Sequence[str], context: int) -> TokenIds:
        """Returns the ids of texts with places for `context` vectors in front. Raises Unusable for one too long."""
        ids = self.encoder.tokenizer([f"{text}." for text in texts])
        length = ids.shape[1]
        ends = ids.argmax(dim=1) + context
        if (ends >= length).any():
            text = texts[int(ends.argmax())]
            raise Unusable(f"The model reads {length} tokens, and with the context this is longer: {text!r}.")
        places = torch.zeros(len(ids), context, dtype=ids.dtype)
        return TokenIds(torch.cat([ids[:, :1], places, ids[:, 1 : length - context]], dim=1), context)


def make_tower(encoder: Encoder) -> Tower:
    """Returns the text half of an encoder. Raises Unusable if it is not that of CLIP."""
    model = encoder.model
    if not has_plain_text_tower(model):
        raise Unusable(f"Prompts of {encoder.identity.model} cannot be tuned: its text tower is of another kind.")
    embedding = embedding_table(model).float()
    scale = float(model.logit_scale.detach().exp())
    dtype = encoder.dtype

    def read(x: Tensor, ids: Tensor) -> Tensor:
        ids = ids.to(encoder.device)
        return lean(model, read_embedded(model, x.to(encoder.device, dtype), ids.argmax(dim=-1)), ids).float().cpu()

    return Tower(read, embedding.cpu(), scale, encoder)


def fit_tokens(
    tower: Tower,
    examples: ClassExamples,
    tasks: Sequence[Task],
    none: Vectors,
    seed: int = 0,
    deadline: float = math.inf,
    steps: int = STEPS,
    is_shared: bool = True,
) -> tuple[Heads, int]:
    """Returns trained heads, and how many steps ran before `deadline`, a time of `time.monotonic()`.

    `none` (D,) is the text of no class. Not `is_shared`: each task has a context of its own, as in CoOp."""
    owner = torch.tensor(task_of(tasks))
    ids = tower.encoder.tokenizer([START])[0]
    start = tower.embedding[ids[1 : int(ids.argmax())]]  # (L, w)
    length, width = start.shape
    prompts = tower.prompts([words for task in tasks for words in _words(task)], length)
    names = tower.prompts([task.name for task in tasks], TASK_CONTEXT)
    generator = torch.Generator().manual_seed(seed)
    dim = examples.plain.shape[1]
    task_context = (0.02 * torch.randn(TASK_CONTEXT, width, generator=generator)).requires_grad_()
    down = (torch.randn(dim, RANK, generator=generator) / math.sqrt(dim)).requires_grad_()
    up = torch.zeros(RANK, length * width).requires_grad_()
    own = torch.zeros(len(tasks), length, width).requires_grad_()
    parameters = [task_context, down, up] if is_shared else [own]
    neutral = F.normalize(torch.tensor(none), dim=0).expand(len(tasks), -1)

    def features() -> Tensor:
        added = own
        if is_shared:
            seen = F.normalize(read_prompts(tower.read, tower.embedding, names, task_context), dim=-1)
            added = (seen @ down @ up).unflatten(-1, (length, width))
        found = read_prompts(tower.read, tower.embedding, prompts, start + added[owner])
        return F.normalize(found, dim=-1)

    pictures, pool, loss_of = torch.tensor(examples.plain), pooling(examples.starts), task_losses(examples, tasks)
    update = adam(parameters, RATE)
    done = 0
    with torch.no_grad():
        mean = features()
    while done < steps and time.monotonic() < deadline:
        classes = features()
        logits = tower.scale * pictures @ torch.cat([classes, neutral]).T
        loss = loss_of(pool(logits), done >= steps / 5)
        if not loss.isfinite():
            break
        update(torch.autograd.grad(loss, parameters))
        done += 1
        mean = mean.lerp(classes.detach(), max(1 - DECAY, 1 / (done + 1)))
    weights = torch.cat([F.normalize(mean, dim=-1), neutral]).numpy()
    return _plain_heads(tower.scale * weights), done


def _words(task: Task) -> list[str]:
    """The words of each class in a prompt."""
    return [described or name for name, described in zip(task.classes, task.descriptions, strict=True)]


def _plain_heads(weights: Floats) -> Heads:
    weights = np.asarray(weights, np.float32)
    return Heads(np.zeros_like(weights), np.zeros(len(weights), np.float32), weights)


def fit_reference(
    tower: Tower,
    examples: ClassExamples,
    tasks: Sequence[Task],
    none: Vectors,
    seed: int = 0,
    deadline: float = math.inf,
    variant: str = "NATA",
    epochs: int = EPOCHS,
) -> tuple[Heads, int]:
    """Returns heads of prompts that were trained exactly as SoftCPT, and how many steps ran before `deadline`.

    A row of a batch is the mean vector of an example; there is no class "none" in training, and tasks count by their
    rows. `variant` is a name of softcpt.VARIANTS."""
    owner = torch.tensor(task_of(tasks))
    texts = [words for task in tasks for words in _words(task)]
    prompts = PromptIds(
        tower.prompts([task.name for task in tasks], REFERENCE_TASK_CONTEXT),
        tower.prompts(texts, REFERENCE_CONTEXT),
        owner,
        tower.prompts(texts, REFERENCE_CLASS_CONTEXT),
    )
    generator = torch.Generator().manual_seed(seed)
    width, dim = tower.embedding.shape[1], examples.plain.shape[1]
    parameters = make_parameters(prompts, VARIANTS[variant], width, dim, generator)
    update = sgd(parameters.all)
    sizes = np.maximum(np.diff(examples.starts), 1)
    means = np.add.reduceat(examples.plain, examples.starts[:-1]) / sizes[:, None]
    known = torch.tensor((examples.states > 0).any(axis=1))
    pictures = torch.tensor(means, dtype=torch.float32)[known]
    states, targets = torch.tensor(examples.states)[known] > 0, torch.tensor(examples.targets(tasks))[known]
    labels = torch.where(targets[:, owner] >= 0, states.long(), -1)
    done = 0
    for epoch in range(epochs):
        for rows in torch.randperm(len(pictures), generator=generator).split(BATCH):
            if time.monotonic() >= deadline:
                break
            classes, _ = class_features(tower.read, tower.embedding, prompts, parameters)
            loss = joint_loss(prompt_logits(pictures[rows], classes, tower.scale), labels[rows], owner)
            update(torch.autograd.grad(loss, parameters.all), learning_rate(epoch))
            done += 1
    with torch.no_grad():
        classes, _ = class_features(tower.read, tower.embedding, prompts, parameters)
    neutral = np.tile(none / np.linalg.norm(none), (len(tasks), 1))
    weights = np.concatenate([F.normalize(classes, dim=-1).numpy(), neutral]).astype(np.float32)
    return _plain_heads(tower.scale * weights), done
