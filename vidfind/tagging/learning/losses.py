"""The losses of SCPNet (CVPR 2023) for labels of which many are missing, entry by entry, so that callers weigh them.

Modifications are arguments whose defaults are the published ones. N rows, C tags. Logits and probabilities are (N, C).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MARGIN = 1.0
"""The margin by which a known yes must score above the others."""
GAMMA = 2.0
"""Of the focal factor: easy entries count less."""
FLIP = 0.6
"""The probability from which on an unknown entry is read as a yes that was forgotten."""
SMALLEST = 1e-8
"""Probabilities below it count as this one, for their logarithm."""


def splc(
    logits: Tensor,
    yes: Tensor,
    flips: bool,
    *,
    locked: Tensor | None = None,
    margin: float = MARGIN,
    gamma: float = GAMMA,
    flip: float = FLIP,
) -> tuple[Tensor, Tensor]:
    """Returns the focal-margin SPLC loss of each entry, and the labels that it was taken against.

    `yes` are the known labels as 0 and 1. With `flips`, an entry that is not `locked` and whose probability is above
    `flip` counts as a yes. The gradient goes through the focal factor too."""
    logits = logits - margin * yes
    if flips:
        confident = torch.sigmoid(logits) > flip
        if locked is not None:
            confident &= ~locked
        yes = torch.where(confident, torch.ones_like(yes), yes)
    log_yes, log_no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    wrong = torch.where(yes > 0, -torch.expm1(log_yes), -torch.expm1(log_no))
    return -(wrong**gamma) * torch.where(yes > 0, log_yes, log_no), yes


def soft_cross_entropy(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Returns the cross entropy of each entry against targets from 0 to 1."""
    log_yes = torch.log(probabilities.clamp(min=SMALLEST))
    log_no = torch.log((1 - probabilities).clamp(min=SMALLEST))
    return -(targets * log_yes + (1 - targets) * log_no)
