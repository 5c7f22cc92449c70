"""timm's vision transformers inside open_clip's `TimmModel`, for the loop: PE, SigLIP, EVA02, MobileCLIP2-B, ViTamin.

They come with a class token or without, with places that are added or rotated in attention (RoPE: Su et al., 2021), and
are read at the class token, by an attention pooling or as a mean. A token that others were merged into keeps its own
place. Merging compares keys before they are rotated: likeness, not nearness.

Reads weights by name and imports nothing of timm. Letters as in tokens.py; d is the width of a head.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.precision.blocks import Int8Block, Linear, Parts, activation_of, round_blocks, scaled
from vidfind.precision.integers import Product, round_weights
from vidfind.towers.patches import FRAMES_AT_A_TIME, PatchEmbedding, cut, fold_normalisation
from vidfind.towers.tokens import Tokens, full_share, key_bias

BLOCKS = {"Eva": "EvaBlock", "VisionTransformer": "Block"}
"""The kind of block that each kind of trunk may have."""


class TimmTower:
    """A `TimmModel` whose trunk is timm's `Eva` or `VisionTransformer`, with norms before attention and MLP."""

    def __init__(self, model: Any) -> None:
        """`model`: what the tower belongs to. Its tower is looked up at each use, as a model may get another one."""
        self._model = model
        self._embed_patches = PatchEmbedding()

    @property
    def visual(self) -> Any:
        return self._model.visual

    @property
    def trunk(self) -> Any:
        return self.visual.trunk

    @property
    def depth(self) -> int:
        return len(self.trunk.blocks)

    @property
    def width(self) -> int:
        return int(self.trunk.embed_dim)

    @property
    def num_patches(self) -> int:
        return int(self.trunk.patch_embed.num_patches)

    @property
    def num_cls(self) -> int:
        return int(self.trunk.num_prefix_tokens)

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        trunk = self.trunk
        positioned = trunk._pos_embed(self._patches(frames))
        x = trunk.norm_pre(positioned[0] if isinstance(positioned, tuple) else positioned)
        if getattr(trunk, "rope", None) is None:
            return x, None
        return x, torch.arange(self.num_patches, device=x.device).expand(len(x), -1)

    def _patches(self, frames: Tensor) -> Tensor:
        """Frames (B * T, S, S, 3) uint8 -> their embedded patches (B * T, P, C)."""
        visual, embed = self.visual, self.trunk.patch_embed
        if type(embed).__name__ == "PatchEmbed":  # one convolution
            patches = self._embed_patches(frames, embed.proj, visual.image_mean, visual.image_std)
            normed: Tensor = embed.norm(patches)
            return normed
        # Several convolutions in a row.
        mean, std = (torch.tensor(values, device=frames.device) for values in (visual.image_mean, visual.image_std))
        dtype = next(embed.parameters()).dtype
        parts = [(part / 255 - mean) / std for part in frames.split(FRAMES_AT_A_TIME)]
        return torch.cat([embed(part.permute(0, 3, 1, 2).to(dtype)) for part in parts])

    def add_attention(self, block: int, tokens: Tokens) -> tuple[Tensor, Tensor]:
        own = self.trunk.blocks[block]
        attn = own.attn
        q, k, v = queries_keys_values(attn, own.norm1(tokens.x))
        attended = self.attend(q, k, v, tokens).transpose(1, 2).flatten(2)
        out: Tensor = attn.proj(attn.norm(attended))
        return tokens.x + (out if (gamma := scale_of(own, 1)) is None else gamma * out), k.mean(dim=1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, tokens: Tokens) -> Tensor:
        """Queries, keys and values, each (S, heads, N, d), not rotated -> what attention gives, (S, heads, N, d)."""
        if tokens.place is not None:
            rotations = self.trunk.rope.get_embed()[tokens.place][:, None].to(q.dtype)  # (S, 1, N - c, 2 d)
            q, k = (rotate(x, rotations) for x in (q, k))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=key_bias(tokens))

    def add_mlp(self, block: int, x: Tensor) -> Tensor:
        own = self.trunk.blocks[block]
        out: Tensor = own.mlp(own.norm2(x))
        return x + (out if (gamma := scale_of(own, 2)) is None else gamma * out)

    def read(self, tokens: Tokens) -> Tensor:
        trunk, c = self.trunk, tokens.num_cls
        x = trunk.norm(tokens.x)
        if trunk.attn_pool is not None:
            pooled = pool_attention(trunk.attn_pool, x, tokens.share)
        elif trunk.global_pool == "token":
            pooled = x[:, : c : self.num_cls]  # of each frame the class token, without registers
        else:
            share = full_share(tokens)[:, c:]
            pooled = (share / share.sum(dim=1, keepdim=True)).transpose(1, 2) @ x[:, c:]
        read: Tensor = trunk.fc_norm(pooled)
        return read

    def project(self, read: Tensor) -> Tensor:
        features: Tensor = self.visual.head(self.trunk.head(read))
        return features


class Int8TimmTower(TimmTower):
    """The same tower with products of 8-bit integers, made of its weights as they are now. Its blocks change x.

    Attention pooling, norms of queries and keys, and patches that several convolutions make stay in floats."""

    @torch.no_grad()
    def __init__(self, model: Any, largest: int, is_careful: bool = False) -> None:
        """Arguments are those of `towers.clip.round_tower`."""
        super().__init__(model)
        visual, embed = self.visual, self.trunk.patch_embed
        self._int8_patches = None
        if type(embed).__name__ == "PatchEmbed":
            folded = fold_normalisation(embed.proj, visual.image_mean, visual.image_std)
            self._int8_patches = Product(round_weights(*folded, largest))
        blocks = self.trunk.blocks
        self._int8 = {
            i: Int8Block(parts_of(blocks[i]), rounded)
            for i, rounded in round_blocks(blocks, parts_of, largest, is_careful)
        }

    def _patches(self, frames: Tensor) -> Tensor:
        if self._int8_patches is None:
            return super()._patches(frames)
        embed = self.trunk.patch_embed
        patches = cut(frames, embed.proj.weight.shape[-1])
        normed: Tensor = embed.norm(self._int8_patches(patches.flatten(0, 1), 1.0).view(*patches.shape[:2], -1))
        return normed

    def add_attention(self, block: int, tokens: Tokens) -> tuple[Tensor, Tensor]:
        if block not in self._int8:
            return super().add_attention(block, tokens)
        own, attn = self._int8[block], self.trunk.blocks[block].attn
        q, k, v = own.queries_keys_values(tokens.x)
        q, k = attn.q_norm(q), attn.k_norm(k)
        return own.add_attended(tokens.x, self.attend(q, k, v, tokens)), k.mean(dim=1)

    def add_mlp(self, block: int, x: Tensor) -> Tensor:
        return self._int8[block].add_mlp(x) if block in self._int8 else super().add_mlp(block, x)


def parts_of(block: Any) -> Parts:
    attn, mlp = block.attn, block.mlp
    is_gated = type(mlp).__name__ == "SwiGLU"
    first = [mlp.fc1_g, mlp.fc1_x] if is_gated else [mlp.fc1]
    return Parts(
        heads=int(attn.num_heads),
        norm_1=block.norm1,
        qkv=joint_linear([attn.q_proj, attn.k_proj, attn.v_proj] if attn.qkv is None else [attn.qkv], qkv_bias(attn)),
        norm_inside=norm_or_none(attn.norm),
        out=scaled(attn.proj, scale_of(block, 1)),
        norm_2=block.norm2,
        first=joint_linear(first),
        activation="gated" if is_gated else activation_of(mlp.act),
        norm_hidden=norm_or_none(mlp.norm),
        last=scaled(mlp.fc2, scale_of(block, 2)),
    )


def has_int8(tower: TimmTower) -> bool:
    """Whether `Int8TimmTower` knows how to run all blocks of a tower."""
    return all(_can_quantise(block) for block in tower.trunk.blocks)


def _can_quantise(block: Any) -> bool:
    mlp, kind = block.mlp, type(block.mlp).__name__
    if kind not in ("Mlp", "SwiGLU"):  # ViTamin's has a norm first
        return False
    norms = [norm_or_none(norm) for norm in (block.norm1, block.norm2, block.attn.norm, mlp.norm)]
    has_known_norms = all(isinstance(one, nn.LayerNorm) and one.bias is not None for one in norms if one is not None)
    has_biases = block.attn.proj.bias is not None and mlp.fc2.bias is not None
    is_gated, is_plain = isinstance(mlp.act, nn.SiLU), norms[3] is None and bool(activation_of(mlp.act))
    return has_known_norms and has_biases and (is_gated if kind == "SwiGLU" else is_plain)


def norm_or_none(norm: Any) -> Any:
    return None if isinstance(norm, nn.Identity) else norm


def joint_linear(layers: Sequence[Any], bias: Tensor | None = None) -> Linear:
    """Linear layers that read the same, as one. `bias`: in place of their own; those that are missing are zero."""
    biases = [torch.zeros(len(one.weight)) if one.bias is None else one.bias.float() for one in layers]
    return torch.cat([one.weight.float() for one in layers]), torch.cat(biases) if bias is None else bias.float()


def qkv_bias(attn: Any) -> Tensor | None:
    """The bias of queries, keys and values where EVA keeps it, apart from their weight: its keys have none."""
    if getattr(attn, "q_bias", None) is None:
        return None
    return torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])


def queries_keys_values(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x (S, N, C) after the norm -> queries, keys and values, each (S, heads, N, d), not rotated."""
    if attn.qkv is None:
        parts = [part(x) for part in (attn.q_proj, attn.k_proj, attn.v_proj)]
    else:
        bias = qkv_bias(attn)
        parts = list(F.linear(x, attn.qkv.weight, attn.qkv.bias if bias is None else bias).chunk(3, dim=-1))
    q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in parts)
    return attn.q_norm(q), attn.k_norm(k), v


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Turns pairs of channels of the patches, the last tokens of x (S, heads, N, d), by sines and cosines.

    `rotations` (S, 1, N - c, 2 d): the sines of each channel, then the cosines."""
    c = x.shape[2] - rotations.shape[2]
    patches, (sines, cosines) = x[:, :, c:], rotations.chunk(2, dim=-1)
    turned = torch.stack([-patches[..., 1::2], patches[..., ::2]], dim=-1).flatten(-2)
    return torch.cat([x[:, :, :c], patches * cosines + turned * sines], dim=2)


def scale_of(block: Any, n: int) -> Tensor | None:
    """The scales (C) of the first or second half of a block, if it has some."""
    gamma: Tensor | None = getattr(block, f"gamma_{n}", None)
    return getattr(getattr(block, f"ls{n}", None), "gamma", None) if gamma is None else gamma


def pool_attention(pool: Any, x: Tensor, share: Tensor | None) -> Tensor:
    """Attention of a learned query to tokens x (S, N, C) -> (S, f, C), one for each frame that `Tokens.share` tells
    apart: there a token counts as often as it stands for tokens of the frame."""
    frames, bias = (1, None) if share is None else (share.shape[-1], share.log().transpose(1, 2)[:, None])
    q = pool.q(torch.cat([pool.latent] * frames, dim=1)).expand(len(x), -1, -1)
    k, v = pool.kv(x).chunk(2, dim=-1)
    q, k, v = (part.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    out = F.scaled_dot_product_attention(pool.q_norm(q), pool.k_norm(k), v, attn_mask=bias)
    out = pool.proj(out.transpose(1, 2).flatten(2))
    pooled: Tensor = out + pool.mlp(pool.norm(out))
    return pooled


def timm_problem(visual: Any) -> str:
    """Why a `TimmModel` is not a `TimmTower`, as words that follow "its image tower"; empty if it is one."""
    trunk, kind = visual.trunk, type(visual.trunk).__name__
    if kind not in BLOCKS:
        return f"is a {kind}"
    if not all(type(block).__name__ == BLOCKS[kind] and _has_plain_attention(block.attn) for block in trunk.blocks):
        return "has transformer blocks of another kind"
    if getattr(trunk, "rope_mixed", False) or trunk.dynamic_img_size:
        return "places patches in another way"
    return "" if _has_known_end(trunk) and not hasattr(visual.head, "pool") else "ends in another way"


def _has_plain_attention(attn: Any) -> bool:
    has_groups = getattr(attn, "num_kv_groups", 1) > 1
    is_plain = getattr(attn, "gate", None) is None and not has_groups and not getattr(attn, "rotate_half", False)
    return type(attn).__name__ in ("Attention", "AttentionRope", "EvaAttention") and is_plain


def _has_known_end(trunk: Any) -> bool:
    """Whether `TimmTower.read` does as the trunk: with attention from all tokens, or else from patches alone."""
    pool, c = trunk.attn_pool, trunk.num_prefix_tokens
    if c and getattr(trunk, "pool_include_prefix", pool is not None) != (pool is not None):
        return False
    if pool is None:
        return bool(trunk.global_pool == "avg" or (trunk.global_pool == "token" and c))
    return bool(pool.latent_len == 1 and pool.pos_embed is None and pool.mlp is not None)
