"""The small models of the golden files, built as open_clip builds any other."""

from pathlib import Path

import numpy as np
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP

from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.models.adapter_file import Adapter, from_tempme
from vidfind.models.lora import attach_lora
from vidfind.text.padded import clip_tokenizer
from vidfind.training.recipe import Recipe

GOLDEN_FILES = ("tempme_tiny_b32", "tempme_tiny_b32_8f", "tempme_tiny_b16")
Golden = dict[str, np.ndarray]


def load_golden(name: str) -> Golden:
    with np.load(Path(__file__).parent.parent / "golden" / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def golden_part(golden: Golden, part: str) -> dict[str, torch.Tensor]:
    """The arrays under `part/` as float32 tensors."""
    return {k.removeprefix(f"{part}/"): torch.tensor(v).float() for k, v in golden.items() if k.startswith(f"{part}/")}


def golden_model(golden: Golden) -> CLIP:
    weights = golden_part(golden, "weight")
    text_width, dim = weights["text_projection"].shape
    vision = {
        "image_size": 224,
        "patch_size": weights["visual.conv1.weight"].shape[-1],
        "width": weights["visual.class_embedding"].shape[0],
        "layers": 12,
        "head_width": 64,
    }
    layers = len({name.split(".")[2] for name in weights if name.startswith("transformer.")})
    text = {"vocab_size": weights["token_embedding.weight"].shape[0], "width": text_width, "layers": layers}
    model = CLIP(dim, vision, {**text, "context_length": 77, "heads": text_width // 64}, quick_gelu=True)
    model.load_state_dict(weights)
    model.visual.image_mean, model.visual.image_std = OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    return model


def golden_adapter(golden: Golden) -> Adapter:
    return from_tempme(golden_part(golden, "adapter"))


def golden_encoder(golden: Golden, encoder: str = "tempme") -> Encoder:
    """The encoder as it is trained: LoRA attached, not folded; parameters reached through `trained_parameters`."""
    model = golden_model(golden)
    adapter = golden_adapter(golden)
    lora = attach_lora(model, Recipe.rank)
    with torch.no_grad():
        for name, parameter in lora.items():
            parameter.copy_(adapter.tensors[name])
    positions = {name: position.clone().requires_grad_() for name, position in adapter.parameters().items()}
    identity = EncoderIdentity("golden", "golden", "", encoder, None, golden["frames"].shape[1])
    return Encoder(model, clip_tokenizer(), identity, positions)


def golden_clips(golden: Golden) -> torch.Tensor:
    """(B, T, 224, 224, 3) uint8: the small frames with each pixel repeated 4 x 4."""
    return torch.tensor(golden["frames"]).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
