"""Symmetric InfoNCE, its exact gradient in bounded memory, and the optimizer with its schedule.

Letters: B pairs of a clip and a caption, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.training.recipe import Recipe
from vidfind.training.trainable import is_addition

Chunk = Callable[[], Tensor]
"""Computes the features (b, D) of a part of the batch; every call gives the same features."""


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
    video: Sequence[Chunk], text: Sequence[Chunk], loss_of: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Returns the loss of all chunks together, detached, and adds its gradients to the parameters of the chunks.

    Memory holds the activations of only one chunk at a time, at the price of a second forward pass: first all features
    without activations; then the gradient of the loss at the features; then each chunk again, with its part of that
    gradient (GradCache: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021).
    The result is exact. Adding up losses of parts would not be, because contrast needs all pairs at once.
    """
    if len(video) == len(text) == 1:
        loss = loss_of(video[0](), text[0]())
        torch.autograd.backward(loss)
        return loss.detach()
    with torch.no_grad():
        parts = [[chunk() for chunk in chunks] for chunks in (video, text)]
    features = [torch.cat(part).requires_grad_() for part in parts]
    loss = loss_of(*features)
    torch.autograd.backward(loss)
    for chunks, part, whole in zip((video, text), parts, features, strict=True):
        assert whole.grad is not None
        for chunk, gradient in zip(chunks, torch.split(whole.grad, [len(p) for p in part]), strict=True):
            again = chunk()
            if again.requires_grad:  # not the frozen tower of a text-only training
                torch.autograd.backward(again, gradient)
    return loss.detach()


CLIP_RATE = 0.01  # full fine-tuning: learning rate of CLIP's own weights, as a share of that of new parameters


def make_optimizer(
    trained: Mapping[str, nn.Parameter], recipe: Recipe, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """Returns AdamW, and the schedule of its learning rate over `steps` steps.

    In full fine-tuning CLIP's own weights learn slowly, and biases and norms are not decayed. Prompts are never
    decayed, because they are tokens and not weights.
    """
    prompts = [p for name, p in trained.items() if name.endswith(".prompts")]
    new = [p for name, p in trained.items() if is_addition(name) and not name.endswith(".prompts")]
    own = [p for name, p in trained.items() if not is_addition(name)]
    groups: list[dict[str, Any]] = [
        {"params": new},
        {"params": prompts, "weight_decay": 0.0},
        {"params": [p for p in own if p.ndim >= 2], "lr": recipe.learning_rate * CLIP_RATE},
        {"params": [p for p in own if p.ndim < 2], "lr": recipe.learning_rate * CLIP_RATE, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate_factor, steps, recipe.warm_up))


def rate_factor(steps: int, warm_up: float, step: int) -> float:
    """Returns the learning rate after `step` steps, as a share of the highest: a linear rise, then a cosine."""
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
