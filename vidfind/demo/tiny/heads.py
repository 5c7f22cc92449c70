"""The heads, and their targets, that the training of the built-in model asks of its features beside captions.

Letters: B clips, T frames, D embedding size.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vidfind.demo import world as demo
from vidfind.demo.world import Scene

LABELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "kind": (demo.KINDS,),
    "colour": (tuple(demo.COLOURS),),
    "size": (("", *demo.SIZES),),
    "colour kind": (tuple(demo.COLOURS), demo.KINDS),
    "colour size": (tuple(demo.COLOURS), ("", *demo.SIZES)),
    "motion": (demo.MOTIONS,),
    "colour motion": (tuple(demo.COLOURS), demo.MOTIONS),
}
"""The parts that the heads name, and the values of each. Pairs teach which attribute belongs to which shape."""


class Heads(nn.Module):
    """Linear heads that name what a clip shows, and where its shape is in each frame: used in training only.

    Contrast with captions alone finds places, and so directions, very slowly."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.labels = nn.ModuleDict({name: nn.Linear(dim, math.prod(map(len, v))) for name, v in LABELS.items()})
        self.pose = nn.Linear(dim, 6)
        self.scale = math.sqrt(dim)  # features are about unit vectors

    def forward(self, frames: Tensor, scenes: Sequence[Scene], times: NDArray[np.float32]) -> dict[str, Tensor]:
        """The losses of features (B, T, D) of frames at `times`, 0 to 1; of motion only where T shows any."""
        frames = self.scale * F.normalize(frames, dim=-1)
        clips = frames.mean(dim=1)
        is_clip = len(times) > 2
        losses = {
            name: F.cross_entropy(head(clips), label_targets(name, scenes).to(clips))
            for name, head in self.labels.items()
            if is_clip or "motion" not in name
        }
        lone = [n for n, scene in enumerate(scenes) if len(scene.shapes) == 1]
        if lone:
            columns = 6 if is_clip else 3
            poses = np.stack([pose_targets(scenes[n].shapes[0], times) for n in lone])
            guess = self.pose(frames[lone])[..., :columns]
            losses["pose"] = 5 * F.smooth_l1_loss(guess, torch.tensor(poses[..., :columns]).to(guess), beta=0.2)
        return losses


def label_targets(name: str, scenes: Sequence[Scene]) -> Tensor:
    """(B, number of values): 1 for the value of a scene's shape, shared between the values of two."""
    values = LABELS[name]
    targets = torch.zeros(len(scenes), math.prod(map(len, values)))
    for n, scene in enumerate(scenes):
        for shape in scene.shapes:
            index = 0
            for part, choices in zip(name.split(), values, strict=True):
                index = index * len(choices) + choices.index(getattr(shape, part))
            targets[n, index] += 1 / len(scene.shapes)
    return targets


def pose_targets(shape: demo.Shape, times: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 6): x, y and radius at each time, and how they change over the whole clip; all about -1 to 1."""
    x, y, radius, _ = demo.pose(shape, times)
    first, last = (np.stack(demo.pose(shape, np.array([t], np.float32))[:3]) for t in (0, 1))
    change = np.zeros(3) if shape.motion == "bounces" else (last - first)[:, 0] * (1.5, 1.5, 5)
    place = np.stack([2 * x - 1, 2 * y - 1, 8 * (radius - 0.17)], axis=-1)
    return np.concatenate([place, np.broadcast_to(change, place.shape)], axis=-1).astype(np.float32)
