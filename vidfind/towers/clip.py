"""The image tower of CLIP, open_clip's `VisionTransformer`, for the loop; also with products of 8-bit integers.

Letters as in tokens.py.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.precision.blocks import Int8Block, Parts, Rounded, activation_of, round_blocks, scaled
from vidfind.precision.integers import Product, round_weights
from vidfind.towers.patches import PatchEmbedding, cut, fold_normalisation
from vidfind.towers.tokens import Tokens, key_bias

PATCHES = "patches"


class ClipTower:
    """A vision transformer that is read at its class tokens."""

    num_cls = 1

    def __init__(self, model: Any) -> None:
        """`model`: what the tower belongs to. Its tower is looked up at each use, as a model may get another one."""
        self._model = model
        self._embed_patches = PatchEmbedding()

    @property
    def visual(self) -> Any:
        return self._model.visual

    @property
    def blocks(self) -> Any:
        return self.visual.transformer.resblocks

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @property
    def width(self) -> int:
        return int(self.visual.transformer.width)

    @property
    def num_patches(self) -> int:
        return int(self.visual.positional_embedding.shape[0]) - 1

    def embed(self, frames: Tensor) -> tuple[Tensor, None]:
        visual = self.visual
        return self.add_positions(self._embed_patches(frames, visual.conv1, visual.image_mean, visual.image_std)), None

    def add_positions(self, patches: Tensor) -> Tensor:
        """Embedded patches (B * T, P, C) -> the tokens of the first block (B * T, 1 + P, C): a class token first."""
        visual, dtype = self.visual, self.visual.conv1.weight.dtype
        cls = visual.class_embedding.to(dtype).expand(len(patches), 1, -1)
        x: Tensor = visual.ln_pre(torch.cat([cls, patches], dim=1) + visual.positional_embedding.to(dtype))
        return x

    def add_attention(self, block: int, tokens: Tokens) -> tuple[Tensor, Tensor]:
        attended, keys = attend(self.blocks[block], tokens.x, key_bias(tokens))
        return tokens.x + attended, keys

    def add_mlp(self, block: int, x: Tensor) -> Tensor:
        return x + mlp(self.blocks[block], x)

    def read(self, tokens: Tokens) -> Tensor:
        cls: Tensor = self.visual.ln_post(tokens.x[:, : tokens.num_cls])
        return cls

    def project(self, read: Tensor) -> Tensor:
        features: Tensor = read @ self.visual.proj
        return features


def attend(block: Any, x: Tensor, bias: Tensor | None = None, is_causal: bool = False) -> tuple[Tensor, Tensor]:
    """Proportional attention of one block: its output (S, N, C), and its keys averaged over heads (S, N, C / heads).

    Reads the weights by name, which survives open_clip's changes of the attention class. `bias` is added to the logits:
    see `tokens.key_bias`.
    """
    attn = block.attn
    sequences, n, width = x.shape
    qkv = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = qkv.reshape(sequences, n, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (S, heads, N, C / heads)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=is_causal)
    out = F.linear(out.transpose(1, 2).reshape(sequences, n, width), attn.out_proj.weight, attn.out_proj.bias)
    return block.ls_1(out), k.mean(dim=1)


def mlp(block: Any, x: Tensor) -> Tensor:
    """The output of the MLP of one block, (S, N, C)."""
    out: Tensor = block.ls_2(block.mlp(block.ln_2(x)))
    return out


class Int8ClipTower(ClipTower):
    """The same tower with products of 8-bit integers. Its blocks change x."""

    @torch.no_grad()
    def __init__(self, model: Any, rounded: Iterable[tuple[str, Rounded]]) -> None:
        """`rounded`: as `round_tower` yields it. Blocks that are not in it stay in floats."""
        super().__init__(model)
        self._patch_size = self.visual.conv1.weight.shape[-1]
        self._int8: dict[int, Int8Block] = {}
        for name, tensors in rounded:
            if name == PATCHES:
                self._patches = Product(tensors)
            else:
                self._int8[int(name)] = Int8Block(parts_of(self.blocks[int(name)]), tensors)

    def names_in_floats(self) -> list[str]:
        """The weights of the tower that are read in floats, by their names in it."""
        in_integers = ("conv1.", *(f"transformer.resblocks.{i}." for i in self._int8))
        return [name for name in self.visual.state_dict() if not name.startswith(in_integers)]

    def embed(self, frames: Tensor) -> tuple[Tensor, None]:
        patches = cut(frames, self._patch_size)
        return self.add_positions(self._patches(patches.flatten(0, 1), 1.0).view(*patches.shape[:2], -1)), None

    def add_attention(self, block: int, tokens: Tokens) -> tuple[Tensor, Tensor]:
        if block not in self._int8:
            return super().add_attention(block, tokens)
        q, k, v = self._int8[block].queries_keys_values(tokens.x)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=key_bias(tokens))
        return self._int8[block].add_attended(tokens.x, attended), k.mean(dim=1)

    def add_mlp(self, block: int, x: Tensor) -> Tensor:
        return self._int8[block].add_mlp(x) if block in self._int8 else super().add_mlp(block, x)


@torch.no_grad()
def round_tower(model: Any, largest: int, is_careful: bool = False) -> Iterator[tuple[str, Rounded]]:
    """Yields what an `Int8ClipTower` is made of, from the weights of a tower as they are now, part by part, with names:
    PATCHES, and the numbers of blocks.

    `largest`: the largest weight. If `is_careful`, the first and the last block are not in integers."""
    visual = model.visual
    yield PATCHES, round_weights(*fold_normalisation(visual.conv1, visual.image_mean, visual.image_std), largest)
    for i, rounded in round_blocks(visual.transformer.resblocks, parts_of, largest, is_careful):
        yield str(i), rounded


def parts_of(block: Any) -> Parts:
    attn, mlp = block.attn, block.mlp
    scales = [getattr(scale, "gamma", None) for scale in (block.ls_1, block.ls_2)]
    return Parts(
        heads=int(attn.num_heads),
        norm_1=block.ln_1,
        qkv=(attn.in_proj_weight.float(), attn.in_proj_bias.float()),
        norm_inside=None,
        out=scaled(attn.out_proj, scales[0]),
        norm_2=block.ln_2,
        first=scaled(mlp.c_fc, None),
        activation=activation_of(mlp.gelu),
        norm_hidden=None,
        last=scaled(mlp.c_proj, scales[1]),
    )


def has_int8(tower: ClipTower) -> bool:
    """Whether `Int8ClipTower` knows how to run all blocks of a tower."""
    return all(activation_of(block.mlp.gelu) for block in tower.blocks)
