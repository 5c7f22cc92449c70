"""Frames and text to embeddings, over open_clip: one transformer loop, in which a `Reduction` merges tokens.

Owns the forward passes of both towers. Knows nothing of files, indexes or where weights come from.
Letters as in tokens.py: B clips, T frames a clip, S pixels, N tokens, C width, D embedding size.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidfind.errors import ModelUnavailable, UnsupportedModel
from vidfind.tokens import REDUCTIONS, Reduction, Tokens

DEFAULT_NUM_FRAMES = 12
# What one core holds in its cache best; larger ones were no quicker.
CLIPS_A_BATCH = 4
# Enough to fill a GPU: 384 frames.
CLIPS_A_BATCH_ON_DEVICE = 32


@dataclass(frozen=True)
class EncoderIdentity:
    """What must be equal for two vectors to be comparable."""

    model: str
    pretrained: str
    weights_digest: str
    encoder: str
    adapter: str | None
    num_frames: int


class Encoder:
    """A CLIP of open_clip that turns clips and text into vectors of one space.

    encoder = load_encoder("ViT-B-32", "laion2b_s34b_b79k")         # registry.py
    scores = encoder.encode_video(clips) @ encoder.encode_text(["a dog catches a frisbee"]).T
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[..., Tensor],
        identity: EncoderIdentity,
        positions: Mapping[int, Tensor] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`positions`: TempMe's temporal positions, block number to (F, C).

        Raises UnsupportedModel when the image tower is not a plain vision transformer.
        """
        check_image_tower(model, identity.model)
        self.identity = identity
        self.device = torch.device(device)
        self.dtype = dtype
        self.model = model.to(device=self.device, dtype=dtype).eval()
        self.tokenizer = tokenizer
        self.positions = {block: position.to(self.device, dtype) for block, position in (positions or {}).items()}
        depth = len(model.visual.transformer.resblocks)
        try:
            self.reduction = REDUCTIONS[identity.encoder](depth, identity.num_frames, self.positions)
        except ValueError as error:
            raise UnsupportedModel(
                f"{identity.model} cannot be used with the {identity.encoder} encoder: {error}."
            ) from error
        self.num_frames = identity.num_frames
        self.image_size = int(model.visual.image_size[0])
        self.dim = int(model.visual.output_dim)
        mean, std = (torch.tensor(getattr(model.visual, name)) for name in ("image_mean", "image_std"))
        on_cpu = self.device.type == "cpu"
        # Of a GPU's two, one is under way to it while it works on the other.
        self.lanes = torch.get_num_threads() if on_cpu else 2 if self.device.type == "cuda" else 1
        """How many batches are best encoded at a time: on a CPU one on each core."""
        self.batch_size = CLIPS_A_BATCH if on_cpu else CLIPS_A_BATCH_ON_DEVICE
        self.checkpointing = False
        """Whether training holds the activations of one block at a time, and computes the others again."""
        self._mean, self._std = mean.to(self.device), std.to(self.device)

    @torch.inference_mode()
    def encode_video(self, clips: np.ndarray | Tensor) -> Tensor:
        """(B, T, S, S, 3) uint8 RGB -> (B, D) unit vectors, float32 on the CPU."""
        frames = torch.as_tensor(clips)
        if self.device.type == "cuda":
            frames = frames.pin_memory()  # only from there a copy does not hold up what the GPU is at
        frames = frames.to(self.device, non_blocking=True)
        return self._unit(self.video_features(frames))

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, D) unit vectors, float32 on the CPU. Texts too long for the model are cut."""
        ids = self.tokenizer(list(texts)).to(self.device)
        return self._unit(self.text_features(ids))

    def _unit(self, features: Tensor) -> Tensor:
        """Raises ModelUnavailable for what has no direction: such vectors would be found by nothing, or by all."""
        vectors = F.normalize(features.float(), dim=-1).cpu()
        if not vectors.isfinite().all():
            raise ModelUnavailable(
                f"{self.identity.model} / {self.identity.pretrained} gives numbers that are not finite, "
                f"on {self.device} in {str(self.dtype).removeprefix('torch.')}. Try --dtype float32, or --device cpu."
            )
        return vectors

    def video_features(self, clips: Tensor) -> Tensor:
        """(B, T, S, S, 3) uint8 on the device -> (B, D), with gradients; a mean of unit vectors, not of unit length."""
        return self.reduction.pool(self.frame_features(clips))

    def frame_features(self, clips: Tensor) -> Tensor:
        """(B, T, S, S, 3) uint8 on the device -> (B, T, D), with gradients: what `video_features` pools."""
        visual = self.model.visual
        x = embed_patches(visual, clips.flatten(0, 1), self._mean, self._std)
        return encode_frames(visual, x, self.reduction, clips.shape[1], self.checkpointing)

    def copy(self) -> "Encoder":
        """The same encoder with weights of its own, which stay when this one is trained."""
        positions = {block: position.detach().clone() for block, position in self.positions.items()}
        return Encoder(copy.deepcopy(self.model), self.tokenizer, self.identity, positions, self.device, self.dtype)

    def text_features(self, ids: Tensor) -> Tensor:
        """(N, length) token ids -> (N, D), with gradients; not of unit length."""
        if not has_plain_text_tower(self.model):
            features: Tensor = self.model.encode_text(ids)
            return features
        return encode_tokens(self.model, ids)


def embed_patches(visual: Any, frames: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Frames (B * T, S, S, 3) uint8 -> (B * T, N, C), the tokens of the first block: a class token, then the patches.

    Pixels are normalised by the weights of the patches instead of one by one, which would take as long as two blocks.
    They are counted from grey, -128 to 127: numbers that bfloat16 holds exactly, and about as small as normalised ones.
    """
    conv = visual.conv1.weight  # (C, 3, P, P)
    size, dtype = conv.shape[-1], conv.dtype
    grid = frames.shape[1] // size
    frames = frames[:, : grid * size, : grid * size]
    patches = frames.reshape(-1, grid, size, grid, size, 3).transpose(2, 3).reshape(len(frames), grid**2, -1)
    by_channel = conv.permute(0, 2, 3, 1).float() / std  # (C, P, P, 3)
    grey = (by_channel * (128 / 255 - mean)).sum((1, 2, 3))
    weight = (by_channel / 255).flatten(1).to(dtype)
    embedded = F.linear(patches.to(dtype) - 128, weight, grey.to(dtype))
    cls = visual.class_embedding.to(dtype).expand(len(frames), 1, -1)
    x: Tensor = visual.ln_pre(torch.cat([cls, embedded], dim=1) + visual.positional_embedding.to(dtype))
    return x


def encode_frames(visual: Any, x: Tensor, reduction: Reduction, num_frames: int, checkpointing: bool = False) -> Tensor:
    """Tokens (B * T, N, C) of clips of T frames, as embedded -> (B, T, D), the projected class tokens: the loop."""

    def run_block(i: int, tokens: Tokens) -> Tokens:
        block = visual.transformer.resblocks[i]
        tokens = reduction.before_block(i, tokens)
        attended, keys = attend(block, tokens)
        tokens = replace(tokens, x=tokens.x + attended)
        tokens = reduction.before_mlp(i, tokens, keys)
        return replace(tokens, x=tokens.x + block.ls_2(block.mlp(block.ln_2(tokens.x))))

    tokens = Tokens(x, size=None, num_cls=1, num_sequences=num_frames)
    for i in range(len(visual.transformer.resblocks)):
        tokens = checkpoint(run_block, i, tokens, use_reentrant=False) if checkpointing else run_block(i, tokens)
    cls = tokens.x[:, : tokens.num_cls]
    cls = cls.reshape(-1, num_frames, cls.shape[-1])  # (B, T, C), in frame order
    projected: Tensor = visual.ln_post(cls) @ visual.proj
    return projected


def encode_tokens(model: Any, ids: Tensor) -> Tensor:
    """Token ids (N, length) -> (N, D), cut after the last end of text: what follows it has no influence."""
    end = ids.argmax(dim=-1)  # the end of text has the highest id
    ids = ids[:, : int(end.max()) + 1]
    x = model.token_embedding(ids) + model.positional_embedding[: ids.shape[1]]
    tokens = Tokens(x, size=None, num_cls=0, num_sequences=1)
    for block in model.transformer.resblocks:
        attended, _ = attend(block, tokens, is_causal=True)
        x = tokens.x + attended
        tokens = replace(tokens, x=x + block.ls_2(block.mlp(block.ln_2(x))))
    pooled = model.ln_final(tokens.x[torch.arange(len(ids), device=ids.device), end])
    features: Tensor = pooled @ model.text_projection
    return features


def attend(block: Any, tokens: Tokens, is_causal: bool = False) -> tuple[Tensor, Tensor]:
    """Proportional attention of one block: its output (S, N, C) and its keys averaged over heads (S, N, C / heads).

    Reads the weights by name, which outlives open_clip's changes of attention class. A key that stands for `size`
    tokens weighs as many: log(size) is added to its logits (ToMe, section 3).
    """
    attn = block.attn
    sequences, n, width = tokens.x.shape
    qkv = F.linear(block.ln_1(tokens.x), attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = qkv.reshape(sequences, n, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (S, heads, N, C / heads)
    bias = None if tokens.size is None else tokens.size.log().view(sequences, 1, 1, n)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=is_causal)
    out = F.linear(out.transpose(1, 2).reshape(sequences, n, width), attn.out_proj.weight, attn.out_proj.bias)
    return block.ls_1(out), k.mean(dim=1)


def check_image_tower(model: Any, name: str) -> None:
    """Raise UnsupportedModel unless the image tower is a vision transformer that the loop above can drive."""
    visual = model.visual
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    reason = None
    if not isinstance(getattr(visual, "conv1", None), nn.Conv2d) or blocks is None:
        reason = f"its image tower is a {type(visual).__name__}"
    elif visual.attn_pool is not None or visual.pool_type != "tok":
        reason = "its image tower does not end in a class token"
    elif not all(isinstance(getattr(b, "attn", None), nn.MultiheadAttention) and hasattr(b, "ls_1") for b in blocks):
        reason = "its transformer blocks are of another kind"
    elif visual.image_size[0] != visual.image_size[1]:
        reason = "its pictures are not square"
    if reason:
        raise unsupported_tower(name, reason)


def check_tower_config(config: Mapping[str, Any], name: str) -> None:
    """As check_image_tower, as far as open_clip's configuration of a model tells: before its weights are fetched."""
    vision = config["vision_cfg"]
    if "timm_model_name" in vision or not isinstance(vision.get("layers"), int):
        raise unsupported_tower(name, f"its image tower is of another kind, {vision.get('timm_model_name', 'ResNet')}")
    if vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        raise unsupported_tower(name, "its image tower does not end in a class token")


def unsupported_tower(name: str, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{name} cannot be used: {reason}, and vidfind needs a plain vision transformer. "
        "`vidfind models` lists models that work."
    )


def has_plain_text_tower(model: Any) -> bool:
    """Whether the text tower is CLIP's own: causal, read at the end of text. Others run through open_clip's code."""
    return (
        hasattr(model, "token_embedding")
        and model.attn_mask is not None
        and model.text_pool_type == "argmax"
        and isinstance(model.text_projection, Tensor)
        and all(isinstance(block.attn, nn.MultiheadAttention) for block in model.transformer.resblocks)
    )


def choose_device(device: str) -> str:
    """The device to run on: `device` itself, or for "auto" the best there is."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_dtype(dtype: str, device: str) -> torch.dtype:
    """The number format: bfloat16 where the hardware multiplies it fast, float32 elsewhere ("auto"), or as asked.

    Float16 on a CPU is several times slower than float32, and is never chosen.
    """
    if dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    if device.startswith("cuda"):
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "cpu":
        fast = cpu_has_bf16()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AVX512_BF16 or AMX)."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)
