"""An image tower that runs whole, by its own forward pass: all kinds that no family of towers describes.

For the loop it has no blocks, so that nothing in it can be merged. Letters as in tokens.py.
"""

from typing import Any

import torch
from torch import Tensor

from vidfind.errors import UnsupportedModel
from vidfind.towers.patches import FRAMES_AT_A_TIME
from vidfind.towers.tokens import Tokens


class WholeTower:
    """A tower whose one token of a frame is the vector of that frame, of length D."""

    depth, num_patches, num_cls = 0, 0, 1

    def __init__(self, model: Any, reason: str) -> None:
        """`reason`: why no family describes the tower, as words that follow "its image tower"."""
        self._model, self.reason = model, reason

    @property
    def width(self) -> int:
        return embedding_size(self._model.visual)

    def embed(self, frames: Tensor) -> tuple[Tensor, None]:
        """Raises UnsupportedModel for a tower that gives no vector for a frame."""
        visual = self._model.visual
        mean, std = (torch.tensor(values, device=frames.device) for values in (visual.image_mean, visual.image_std))
        dtype = next(visual.parameters()).dtype
        vectors = []
        for part in frames.split(FRAMES_AT_A_TIME):
            encoded = visual(((part.float() / 255 - mean) / std).permute(0, 3, 1, 2).to(dtype))
            vectors.append(encoded[0] if isinstance(encoded, tuple) else encoded)  # CoCa gives tokens beside them
            if vectors[-1].ndim != 2:
                raise UnsupportedModel(
                    "The image tower of this model gives no vector for a frame, but one for each patch."
                )
        return torch.cat(vectors)[:, None], None

    def add_attention(self, block: int, tokens: Tokens) -> tuple[Tensor, Tensor]:
        raise IndexError(block)

    def add_mlp(self, block: int, x: Tensor) -> Tensor:
        raise IndexError(block)

    def read(self, tokens: Tokens) -> Tensor:
        return tokens.x

    def project(self, read: Tensor) -> Tensor:
        return read


def embedding_size(visual: Any) -> int:
    """The length of the vectors that an image tower gives: D."""
    if hasattr(visual, "output_dim"):
        return int(visual.output_dim)
    *_, last = [part for part in visual.modules() if isinstance(part, torch.nn.Linear)]  # a tower of timm ends in it
    return int(last.out_features)
