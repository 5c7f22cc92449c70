"""Classes of several tasks learned together, as one vector each: a small network that all tasks share shapes them.

After SoftCPT (2022), where a shared network makes each task's prompt from the name of the task. Modifications: it works
on the vectors of classes instead of prompts, so that no text tower is needed; the task acts by multiplication, because
one vector added to all classes of a task would shift all their logits alike; it starts exactly at the blend of text and
examples; classes have a free part; tasks count alike, however many examples they have; there is a class "none"; classes
of people are independent. Imports PyTorch: import it to train, only. Letters as in tasks.py; r numbers of the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.categories.tasks import ClassExamples, Heads, Numbers, Task, Vectors, task_of
from vidfind.tagging.learning.losses import splc
from vidfind.tagging.learning.vectors import by_size

RANK = 16
STEPS, RATE, DECAY = 200, 3e-3, 0.97
UNLABELLED_WEIGHT = 0.25
"""Of a segment of which nothing is said, as an example of "none": some do show a class."""
UNKNOWN_WEIGHT = 3.0
"""Of unknown and denied classes in a task of independent classes, as for tags."""
FLIPS_FROM = 0.2
"""The share of all steps after which unknown entries may be read as a forgotten yes."""
SIZE_WEIGHT = 1.0
"""Of the squared length of the free parts."""
SHARED_SIZE_WEIGHT = 0.3
"""Of the squared length of what the shared network adds: without it, one example makes a class forget its text."""


def fit_vectors(
    examples: ClassExamples,
    tasks: Sequence[Task],
    start: Heads,
    texts: Vectors,
    task_texts: Vectors,
    looks: Vectors,
    scale: float,
    seed: int = 0,
    deadline: float = float("inf"),
    steps: int = STEPS,
    is_shared: bool = True,
) -> tuple[Heads, int]:
    """Returns trained heads, and how many steps ran before `deadline`, a time of `time.monotonic()`.

    `start` are the heads of the blend. `texts` (C, D) are the classes without what all texts have in common,
    `task_texts` (T, D) the tasks as they are, `looks` (C, D) the prototypes, weighed. `is_shared`: whether there is the
    shared network, or only the free part of each class."""
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # steps are small, and on a busy machine threads wait for one another longer than they work
    owner = torch.tensor(task_of(tasks))
    generator = torch.Generator().manual_seed(seed)
    dim, count = texts.shape[1], len(texts)
    e, names, p = (torch.tensor(one) for one in (texts, task_texts, looks))
    h = torch.randn(dim, RANK, generator=generator).requires_grad_(is_shared)
    u = (torch.randn(dim, RANK, generator=generator) / RANK).requires_grad_(is_shared)
    v = torch.zeros(dim, RANK).requires_grad_(is_shared)
    free = torch.zeros(count, dim).requires_grad_()
    bias = torch.tensor(start.bias).requires_grad_()
    learned = torch.tensor([task.is_multi for task in tasks])
    trains_bias = torch.cat([learned[owner], ~learned])  # of single-label classes, only "none" has a bias

    def shaped() -> Tensor:
        return ((e @ u) * (names @ h)[owner]) @ v.T if is_shared else torch.zeros_like(e)

    def weights() -> Tensor:
        return F.normalize(e + p + shaped() + free, dim=-1)

    vectors = torch.tensor(examples.vectors)
    pool = pooling(examples.starts)
    loss_of = task_losses(examples, tasks)
    parameters = [free, bias, *([h, u, v] if is_shared else [])]
    update = adam(parameters, RATE)
    with torch.no_grad():
        mean_w, mean_bias = weights().clone(), bias.clone()
    done = 0
    for step in range(steps):
        if time.monotonic() > deadline:
            break
        logits = F.pad(scale * vectors @ weights().T, (0, len(tasks))) + bias
        size = SIZE_WEIGHT * free.square().sum() + SHARED_SIZE_WEIGHT * shaped().square().sum()
        loss = loss_of(pool(logits), step >= FLIPS_FROM * steps) + size / count
        if not loss.isfinite():
            torch.set_num_threads(threads)
            return start, 0
        gradients = torch.autograd.grad(loss, parameters)
        update(
            [
                torch.where(trains_bias, own, 0) if one is bias else own
                for one, own in zip(parameters, gradients, strict=True)
            ]
        )
        with torch.no_grad():
            mean_w.lerp_(weights(), 1 - DECAY)
            mean_bias.lerp_(bias, 1 - DECAY)
        done += 1
    torch.set_num_threads(threads)
    centred = np.zeros_like(start.centred)
    centred[:count] = scale * F.normalize(mean_w, dim=-1).numpy()
    return Heads(centred, mean_bias.detach().numpy()), done


def adam(parameters: Sequence[Tensor], rate: float) -> Callable[[Sequence[Tensor]], None]:
    """Returns a function that takes gradients and makes a step of Adam.

    That of PyTorch imports a compiler first, which takes longer than a whole training."""
    means = [torch.zeros_like(one) for one in parameters]
    squares = [torch.zeros_like(one) for one in parameters]
    steps = 0

    @torch.no_grad()
    def update(gradients: Sequence[Tensor]) -> None:
        nonlocal steps
        steps += 1
        for one, gradient, mean, square in zip(parameters, gradients, means, squares, strict=True):
            mean.lerp_(gradient, 0.1)
            square.lerp_(gradient.square(), 0.001)
            one -= rate * (mean / (1 - 0.9**steps)) / ((square / (1 - 0.999**steps)).sqrt() + 1e-8)

    return update


def pooling(starts: Numbers) -> Callable[[Tensor], Tensor]:
    """Returns what pools logits of segments (N, K) to logits of bags (B, K), as `vectors.pooled` does.

    Every bag has segments."""
    groups = [(torch.tensor(group.rows), group.best) for group in by_size(starts)]
    order = torch.tensor(np.concatenate([group.bags for group in by_size(starts)])).argsort()

    def pool(logits: Tensor) -> Tensor:
        padded = F.pad(logits, (0, 0, 0, 1), value=-torch.inf)
        return torch.cat([padded[rows].topk(best, dim=1).values.mean(dim=1) for rows, best in groups])[order]

    return pool


def task_losses(examples: ClassExamples, tasks: Sequence[Task]) -> Callable[[Tensor, bool], Tensor]:
    """Returns the loss of logits of bags (B, C + T): the mean within each task, then over tasks.

    Its second argument: whether unknown classes of people may be read as a forgotten yes."""
    owner = torch.tensor(task_of(tasks))
    targets = torch.tensor(examples.targets(tasks))
    states = torch.tensor(examples.states)
    unlabelled = torch.tensor(~examples.labelled)
    given = torch.where(unlabelled, UNLABELLED_WEIGHT, 1.0)

    def single(logits: Tensor, number: int, task: Task) -> Tensor:
        columns = torch.cat([torch.nonzero(owner == number)[:, 0], torch.tensor([len(owner) + number])])
        right = torch.where(unlabelled, len(task.classes), targets[:, number])
        rows = right >= 0
        losses = F.cross_entropy(logits[rows][:, columns], right[rows], reduction="none")
        return (given[rows] * losses).sum() / given[rows].sum()

    def independent(logits: Tensor, number: int, flips: bool) -> Tensor:
        rows = torch.tensor(examples.answered[:, number]) | unlabelled
        own, known = logits[rows][:, : len(owner)][:, owner == number], states[rows][:, owner == number]
        yes = (known > 0).float()
        losses, _ = splc(own, yes, flips, locked=known < 0)
        others = (yes == 0) * given[rows][:, None]
        positive = (losses * yes).sum() / yes.sum().clamp(min=1)
        return positive + UNKNOWN_WEIGHT * (losses * others).sum() / others.sum().clamp(min=1)

    def total(logits: Tensor, flips: bool) -> Tensor:
        losses = [
            independent(logits, number, flips) if task.is_multi else single(logits, number, task)
            for number, task in enumerate(tasks)
        ]
        return torch.stack(losses).mean()

    return total
