"""Symmetric InfoNCE, and its exact gradient in bounded memory. Pure functions on tensors.

Letters: B pairs of a clip and a caption, D embedding size.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

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
