"""The one loop over the blocks of an image tower: what a family of towers brings, and what an encoder changes.

Knows no family and no encoder by name. Letters as in tokens.py: B clips, T frames a clip, S pixels, C width, D size of
an embedding; N tokens a sequence, c class tokens among them, M tokens or pooled vectors that a clip is read from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vidfind.towers.tokens import Tokens


class Tower(Protocol):
    """An image tower, as the loop runs it."""

    @property
    def depth(self) -> int:
        """The number of blocks."""

    @property
    def width(self) -> int:
        """C."""

    @property
    def num_patches(self) -> int:
        """P: the patches of a frame."""

    @property
    def num_cls(self) -> int:
        """c: the tokens at the start of each frame's sequence that are never merged; 0 in towers without."""

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Frames (B * T, S, S, 3) uint8 -> tokens before the first block (B * T, c + P, C), and `Tokens.place`."""

    def add_attention(self, block: int, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Returns x (B * F, N, C) with the output of attention added, and the keys averaged over heads (B * F, N, any
        width). Keys count as `tokens.key_bias` says. May change x in place."""

    def add_mlp(self, block: int, x: Tensor) -> Tensor:
        """Returns x (B * F, N, C) with the output of the MLP added. May change x in place."""

    def read(self, tokens: Tokens) -> Tensor:
        """Returns what a sequence is read from after the last block (B * F, any number, C), in frame order."""

    def project(self, read: Tensor) -> Tensor:
        """(..., C), as `read` -> (..., D)."""


@dataclass(frozen=True)
class Reduction:
    """The three steps of the loop in which encoders differ."""

    before_block: Callable[[int, Tokens], Tokens]
    """Called before the attention of a block, with the number of the block."""
    before_mlp: Callable[[int, Tokens, Tensor], Tokens]
    """Called before the MLP of a block, with the number of the block, the tokens after attention and its residual, and
    the attention keys averaged over heads, as `Tower.add_attention` returns them."""
    pool: Callable[[Tensor, Tensor], Tensor]
    """Called at the end, with what the clip is read from (B, M, C), in frame order, and its projections (B, M, D).
    Returns one vector for each clip, (B, D)."""


def encode_frames(
    tower: Tower, frames: Tensor, reduction: Reduction, num_frames: int, checkpointing: bool = False
) -> Tensor:
    """Frames (B * T, S, S, 3) uint8 of T-frame clips -> (B, M, C): what each clip is read from, in frame order.

    `checkpointing`: holds the activations of one block at a time, and computes the others again for the gradients."""

    def run_block(i: int, tokens: Tokens) -> Tokens:
        tokens = reduction.before_block(i, tokens)
        x, keys = tower.add_attention(i, tokens)
        tokens = reduction.before_mlp(i, replace(tokens, x=x), keys)
        return replace(tokens, x=tower.add_mlp(i, tokens.x))

    x, place = tower.embed(frames)
    tokens = Tokens(x, share=None, num_cls=tower.num_cls, num_sequences=num_frames, place=place)
    for i in range(tower.depth):
        tokens = checkpoint(run_block, i, tokens, use_reentrant=False) if checkpointing else run_block(i, tokens)
    read = tower.read(tokens)
    return read.reshape(len(read) // tokens.num_sequences, -1, read.shape[-1])
