"""Symmetric InfoNCE, and its exact gradient in bounded memory. Pure functions on tensors.

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
"""Computes the features (b, D) of a part of the batch, the same ones whenever it is called."""


def contrastive_loss(video: Tensor, text: Tensor, scale: Tensor, same: Tensor | None = None) -> Tensor:
    """The mean of row and column cross-entropy of `scale` * cosine, for features (B, D) of B pairs; any length.

    `same` (B, B) bool: pairs that are not to be set against each other, such as two captions of one video.
    """
    logits = scale * F.normalize(video, dim=-1) @ F.normalize(text, dim=-1).T
    if same is not None:
        others = ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(same.to(logits.device) & others, -math.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def backward_in_chunks(
    video: Sequence[Chunk], text: Sequence[Chunk], loss_of: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The loss, detached, of all chunks together; its gradients are added to the parameters the chunks depend on.

    Only one chunk's activations are held at a time, for the price of a second forward pass: features first, without
    activations; then the gradient of the loss at the features; then each chunk once more, with its part of it
    (GradCache: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021). Exact,
    as contrast needs all pairs at once and accumulating the losses of parts would not be.
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


CLIP_RATE = 0.01  # full fine-tuning: the learning rate of CLIP's own weights, as a share of that of the new ones


def make_optimizer(
    trained: Mapping[str, nn.Parameter], recipe: Recipe, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW, and the schedule of its learning rate over so many steps.

    In full fine-tuning CLIP's own weights learn slowly, and neither biases nor norms are decayed; prompts never are, as
    they are tokens and no weights.
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
    """The learning rate after `step` steps, as a share of the highest: a linear rise, then a cosine."""
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
