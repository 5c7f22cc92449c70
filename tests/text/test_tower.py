"""The text half of a model in numpy, against open_clip's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import vidfind
from vidfind.models.adapter_file import Adapter, write_adapter
from vidfind.models.catalog import TINY_FOLDER, TINY_WEIGHTS
from vidfind.models.load import load_encoder
from vidfind.models.lora import fold_adapter
from vidfind.text.config import open_clip_config, read_config
from vidfind.text.hub_tokenizer import make_tokenizer
from vidfind.text.shape import read_shape
from vidfind.text.tokenizer import LONGEST_TOKEN, WORD_END, _vocabulary, tokenize
from vidfind.text.tower import TextTower, read_text_tower

TEXTS = ["a dog catches a frisbee", "naïve café, 東京 🎉", "Tom &amp;amp; Jerry's <b>film</b>", "word " * 200, "a"]
VISION = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1, "head_width": 32}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
SIGLIP = {
    **{**TEXT, "context_length": 12, "no_causal_mask": True, "pool_type": "last"},
    **{"proj_bias": True, "norm_kwargs": {"eps": 1e-3}},
}
SMALL = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}
CONFIGS = {
    "plain": SMALL,
    "quickgelu": {**SMALL, "quick_gelu": True},
    "layer-scale": {**SMALL, "text_cfg": {**TEXT, "ls_init_value": 0.3}},
    "another-shape": {**SMALL, "embed_dim": 48, "text_cfg": {**TEXT, "width": 96, "heads": 3, "mlp_ratio": 3.0}},
    "short": {**SMALL, "text_cfg": {**TEXT, "context_length": 16}},
    "PE": {**SMALL, "custom_text": True, "text_cfg": {**TEXT, "context_length": 16}},
    "MobileCLIP2": {**SMALL, "custom_text": True, "text_cfg": {**TEXT, "no_causal_mask": True}},
    "SigLIP": {**SMALL, "custom_text": True, "init_logit_bias": -10, "text_cfg": SIGLIP},
    "SigLIP2": {**SMALL, "custom_text": True, "text_cfg": {**SIGLIP, "act_kwargs": {"approximate": "tanh"}}},
    "SigLIP-i18n": {**SMALL, "embed_dim": 64, "custom_text": True, "text_cfg": {**SIGLIP, "proj_type": "none"}},
    "CLIPA": {**SMALL, "text_cfg": {**TEXT, "context_length": 16, "pool_type": "last", "no_causal_mask": True}},
    "MetaCLIP2": {**SMALL, "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407}},
}

NOUNS = (Path(vidfind.__file__).parent / "words" / "nouns.txt").read_text(encoding="utf-8").split()


def random_clip(config: dict[str, Any], file: Path, dtype: torch.dtype = torch.float32) -> Any:
    """A model whose weights are such that every part of it tells, saved to a file in numbers of this kind."""
    torch.manual_seed(0)
    parts = {name: value for name, value in config.items() if name != "custom_text"}
    clip = (open_clip.CustomTextCLIP if "custom_text" in config else open_clip.CLIP)(**parts)
    with torch.no_grad():
        for weight in clip.parameters():
            weight.add_(torch.randn_like(weight) * 0.1).copy_(weight.to(dtype))
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in clip.state_dict().items()}, file)
    return clip.eval()


def vectors_of(clip: Any, texts: list[str]) -> np.ndarray:
    with torch.inference_mode():
        ids = open_clip.tokenize(texts, clip.context_length)
        return torch.nn.functional.normalize(clip.encode_text(ids), dim=-1).numpy()


def read(config: Mapping[str, Any], file: Path, adapter: Path | None = None) -> TextTower | None:
    return read_text_tower(config, make_tokenizer(config, None), file, adapter)


def assert_same(config: Mapping[str, Any], file: Path, clip: Any, adapter: Path | None = None) -> None:
    tower = read(config, file, adapter)
    assert tower
    features = tower.encode(TEXTS)
    vectors = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, vectors_of(clip, TEXTS), atol=1e-5)
    for text, expected in zip(TEXTS, features, strict=True):
        np.testing.assert_allclose(tower.encode([text])[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_text_becomes_the_vector_that_open_clip_makes_of_it(config: dict[str, Any], tmp_path: Path) -> None:
    assert_same(config, tmp_path / "clip.safetensors", random_clip(config, tmp_path / "clip.safetensors"))


@pytest.mark.parametrize(("name", "lanes"), [("another-shape", 1), ("another-shape", 2), ("PE", 2), ("SigLIP", 2)])
def test_a_text_has_the_same_vector_after_any_other_and_with_any_number_of_threads(
    name: str, lanes: int, tmp_path: Path
) -> None:
    config, file = CONFIGS[name], tmp_path / "clip.safetensors"
    random_clip(config, file)
    tower = read(config, file)
    assert tower
    shared = replace(tower, lanes=lanes)
    for text in ("a dog", "a dog", "a dog on a beach", "a dog on the beach", "cats", "", "a"):
        np.testing.assert_allclose(shared.encode([text]), replace(tower).encode([text]), atol=1e-5)


def test_weights_in_half_precision_are_read_too(tmp_path: Path) -> None:
    assert_same(SMALL, tmp_path / "clip.safetensors", random_clip(SMALL, tmp_path / "clip.safetensors", torch.float16))


def test_the_built_in_model_reads_texts_as_ever() -> None:
    encoder = load_encoder("tiny", device="cpu", dtype="float32")
    tower = read(read_config(TINY_FOLDER / "tiny.json"), TINY_WEIGHTS)
    assert tower
    features = tower.encode(TEXTS)
    expected = encoder.encode_text(TEXTS).numpy()
    np.testing.assert_allclose(features / np.linalg.norm(features, axis=1, keepdims=True), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_an_adapter_is_part_of_the_text_tower(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "clip.safetensors"
    clip = random_clip(SMALL, file)
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "lora": {"transformer.resblocks.1.attn.lora_a": (4, 64), "transformer.resblocks.1.attn.lora_b": (192, 4)},
        "full": {"token_embedding.weight": (49408, 64), "transformer.resblocks.0.mlp.c_fc.bias": (256,)},
    }
    adapter = Adapter({name: torch.randn(shape) * 0.3 for name, shape in shapes[kind].items()})
    write_adapter(tmp_path / "adapter.safetensors", adapter)
    before = vectors_of(clip, ["a dog"])
    fold_adapter(clip, adapter)
    assert np.abs(vectors_of(clip, ["a dog"]) - before).max() > 1e-2
    assert_same(SMALL, file, clip, tmp_path / "adapter.safetensors")


@pytest.mark.parametrize("model", ["coca_ViT-B-32", "roberta-ViT-B-32"])
def test_other_kinds_of_text_towers_are_left_to_open_clip(model: str) -> None:
    config = open_clip_config(model)
    assert config
    assert read_shape(config) is None


@pytest.mark.parametrize("model", [name for name in open_clip.list_models() if name != "tiny"])
def test_the_shape_of_every_text_transformer_of_open_clip_is_known(model: str) -> None:
    config = open_clip.get_model_config(model)
    text = config["text_cfg"]
    assert (read_shape(config) is None) == ("hf_model_name" in text or "embed_cls" in text)


def test_models_are_described_as_open_clip_describes_them() -> None:
    assert open_clip_config("ViT-B-32") == open_clip.get_model_config("ViT-B-32")
    assert open_clip_config("ViT-B-99") is None


@pytest.mark.parametrize("trouble", ["pickle", "cut short", "another model", "missing", "adapter"])
def test_files_that_are_not_as_expected_are_left_to_open_clip(trouble: str, tmp_path: Path) -> None:
    config, adapter = read_config(TINY_FOLDER / "tiny.json"), None
    file = tmp_path / "clip.safetensors"
    tensors = load_file(TINY_WEIGHTS)
    if trouble == "pickle":
        torch.save(tensors, file)
    elif trouble == "cut short":
        file.write_bytes(TINY_WEIGHTS.read_bytes()[:100_000])
    elif trouble == "another model":
        config, file = SMALL, TINY_WEIGHTS
    elif trouble == "missing":
        del tensors["transformer.resblocks.2.ln_1.bias"]
        save_file(tensors, file)
    else:
        file, adapter = TINY_WEIGHTS, tmp_path / "adapter.safetensors"
        save_file({f"transformer.resblocks.0.attn.lora_{x}": torch.ones(3, 3) for x in "ab"}, adapter)
    assert read(config, file, adapter) is None


HARD = st.text(max_size=40) | st.lists(
    st.sampled_from(
        ["it's", "I'LL", "123", "&lt;p&gt;", "&amp;#39;", "ﬁne", "İ", "â€™", "中文", "👩‍👩‍👧", "é", "\t", "-", "..."]
    ),
    max_size=6,
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(HARD)
@example("a <end_of_text> b<start_of_text>")
@example("  mixed\u00a0 \u3000spaces\n")
@example("x" * 500)
@example("\x1b[31mred")
@example("&nbsp;AT&T")
def test_the_tokens_are_those_of_open_clip(text: str) -> None:
    for length in (77, 8):
        ids, is_cut = tokenize(text, length)
        padded = [*ids, *[0] * (length - len(ids))]
        assert padded == open_clip.tokenize([text], length)[0].tolist()
        assert is_cut == (len(open_clip.tokenizer._tokenizer.encode(text)) > length - 2)


def test_words_of_every_length_have_the_tokens_of_open_clip() -> None:
    for text in (" ".join(NOUNS[:3000:50]), " ".join(NOUNS[1:3000:50]), "".join(NOUNS[:40]), "ab" * 300):
        assert tokenize(text, 77)[0] == [one for one in open_clip.tokenize([text], 77)[0].tolist() if one]


def test_no_token_is_longer_than_what_is_looked_for() -> None:
    merges = _vocabulary()._merges
    assert max(len(merge.replace(" ", "").removesuffix(WORD_END)) for merge in merges) <= LONGEST_TOKEN
    assert len(_vocabulary()._places) == len(merges)  # no token is made in two ways
