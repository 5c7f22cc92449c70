"""Models of open_clip, read lean."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.after_torch import RunAfterTorch
from vidfind.models.adapter_file import Adapter
from vidfind.models.catalog import INCEPTION_WEIGHTS, MODELS, OPENAI, OPENAI_HUBS, TINY_FOLDER, TINY_WEIGHTS, timm_tower
from vidfind.models.clip import INCEPTION, OPENAI_MEAN, OPENAI_STD, ImageHalf, read_image_half
from vidfind.models.load import known_config, load_clip, load_encoder, load_image_half
from vidfind.models.lora import fold_adapter
from vidfind.text.tokenizer import LEARNED

CONFIG = json.loads((TINY_FOLDER / "tiny.json").read_text())


def test_a_model_is_read_without_the_compiler_and_the_image_half_without_open_clip(after_torch: RunAfterTorch) -> None:
    code = (
        "import sys, numpy; from vidfind.models.load import load_encoder; "
        "encoder = load_encoder('tiny', device='cpu'); "
        "clips = numpy.zeros((1, 12, 56, 56, 3), numpy.uint8); print(len(encoder.encode_video(clips)), "
        "sorted({'open_clip', 'torchvision', 'timm'} & set(sys.modules))); "
        "print(len(encoder.encode_text(['a red circle'])), 'torch._dynamo' in sys.modules)"
    )
    assert after_torch(code).splitlines() == ["1 []", "1 False"]


def read_tiny(weights: Path = TINY_WEIGHTS, **options: Any) -> ImageHalf | None:
    return read_image_half(CONFIG, weights, torch.float32, lambda: load_clip("tiny", "builtin", weights), **options)


def tiny_adapter(**more: torch.Tensor) -> Adapter:
    """An adapter of every kind of tensor for both towers of the built-in model."""
    width, words = CONFIG["vision_cfg"]["width"], CONFIG["text_cfg"]["width"]
    shapes = {LEARNED: (2, words), "visual.ln_pre.bias": (width,), "ln_final.bias": (words,)}
    for tower, size in (("visual.", width), ("", words)):
        attention = f"{tower}transformer.resblocks.1.attn"
        shapes |= {f"{attention}.lora_a": (4, size), f"{attention}.lora_b": (3 * size, 4)}
    generator = torch.Generator().manual_seed(0)
    return Adapter({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()} | more)


@pytest.mark.parametrize("is_mapped", [False, True])
def test_an_adapter_is_part_of_the_image_half_and_of_the_rest(is_mapped: bool) -> None:
    adapter = tiny_adapter()
    half = load_image_half("tiny", "builtin", TINY_WEIGHTS, torch.float32, is_mapped, adapter)
    whole = load_clip("tiny", "builtin", TINY_WEIGHTS)
    before = whole.visual.transformer.resblocks[1].attn.in_proj_weight.clone()
    fold_adapter(whole, adapter)
    assert half and not torch.allclose(before, half.visual.transformer.resblocks[1].attn.in_proj_weight)
    torch.testing.assert_close(dict(half.visual.state_dict()), dict(whole.visual.state_dict()))
    torch.testing.assert_close(dict(half.whole().state_dict()), dict(whole.state_dict()))


@pytest.mark.parametrize(
    "name", ["visual.ln_pre.bias", "ln_final.bias", "transformer.resblocks.9.attn.lora_a", LEARNED]
)
def test_an_adapter_that_does_not_fit_is_left_to_the_whole_model(name: str) -> None:
    adapter = tiny_adapter(**{name: torch.zeros(3, 3)})
    assert load_image_half("tiny", "builtin", TINY_WEIGHTS, torch.float32, adapter=adapter) is None


@pytest.mark.parametrize("is_mapped", [False, True])
def test_the_image_half_is_that_of_the_whole_model(is_mapped: bool) -> None:
    half, whole = read_tiny(is_mapped=is_mapped), load_clip("tiny", "builtin", TINY_WEIGHTS)
    assert half
    ours, theirs = half.visual, whole.visual
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())
    for name in ("image_size", "image_mean", "image_std", "output_dim", "grid_size", "patch_size", "pool_type"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert [block.attn.num_heads for block in ours.transformer.resblocks] == [4] * 6


def test_the_rest_of_the_model_is_read_when_it_is_asked_for() -> None:
    half = load_encoder("tiny", encoder="mean", device="cpu", dtype="float32")
    whole = load_encoder("tiny", encoder="mean", device="cpu", dtype="float32").copy()
    assert isinstance(half.model, ImageHalf) and isinstance(whole.model, open_clip.CLIP)
    clips = torch.randint(0, 256, (2, 12, 56, 56, 3), dtype=torch.uint8)
    torch.testing.assert_close(half.encode_video(clips), whole.encode_video(clips))
    assert torch.equal(half.encode_text(["a red circle"]), whole.encode_text(["a red circle"]))
    assert half.model.logit_scale.item() == whole.model.logit_scale.item()
    assert isinstance(copy.deepcopy(half.model), open_clip.CLIP)
    assert half.model.visual is half.model.whole().visual  # what is trained is what encodes
    assert not hasattr(half.model, "_no_such_name") and not hasattr(half.model, "no_such_name")


def test_a_model_that_was_first_read_for_a_query_can_be_trained() -> None:
    encoder = load_encoder("tiny", device="cpu")
    encoder.encode_text(["a blue star"])
    encoder.text_features(encoder.tokenizer(["a blue star"])).sum().backward()
    assert encoder.model.transformer.resblocks[0].ln_1.weight.grad is not None


def test_models_of_another_kind_and_damaged_weights_are_left_to_open_clip(tmp_path: Path) -> None:
    config = {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "pool_type": "avg"}}
    assert read_image_half(config, TINY_WEIGHTS, torch.float32, dict) is None
    assert read_image_half({**CONFIG, "custom_text": True}, TINY_WEIGHTS, torch.float32, dict) is None
    tensors, file = load_file(TINY_WEIGHTS), tmp_path / "weights.safetensors"
    for name, change in {"visual.proj": torch.nan, "visual.other": 0.0}.items():
        save_file({**tensors, name: torch.full_like(tensors["visual.proj"], change)}, file)
        assert read_tiny(file) is None
    save_file({name: tensor for name, tensor in tensors.items() if name != "visual.proj"}, file)
    assert read_tiny(file) is None


def test_known_weights_are_normalised_as_open_clip_does() -> None:
    known = {(entry.model, entry.pretrained) for entry in MODELS if entry.hub}
    known |= {(model, OPENAI) for model in OPENAI_HUBS}
    assert known >= INCEPTION_WEIGHTS
    for model, pretrained in known:
        if timm_tower(open_clip.get_model_config(model)):
            continue  # open_clip prepares these
        tag, config = open_clip.get_pretrained_cfg(model, pretrained), known_config(model, pretrained)
        inception = (model, pretrained) in INCEPTION_WEIGHTS
        assert (tag["mean"], tag["std"]) == ((INCEPTION, INCEPTION) if inception else (OPENAI_MEAN, OPENAI_STD))
        assert config and bool(config.get("quick_gelu")) == tag.get("quick_gelu", False)
