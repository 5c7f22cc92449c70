"""Encoders loaded by name or from a file, and what is said of those that cannot be."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from tests.support.small_adapters import save_adapter
from vidfind.encoders.encoder import view_of
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput, ModelUnavailable, UnsupportedModel
from vidfind.media.sampling import View
from vidfind.models.catalog import TINY, TINY_WEIGHTS
from vidfind.models.choice import ResolvedChoice, resolve
from vidfind.models.clip import ImageHalf, random_clip
from vidfind.models.load import load_clip, load_encoder, weights_digest
from vidfind.precision import formats
from vidfind.precision.integers import largest_weight
from vidfind.system.paths import adapter_path


def test_a_checkpoint_file_loads_and_its_content_is_its_identity(tmp_path: Path) -> None:
    config = {**open_clip.get_model_config("ViT-B-32")}
    config["vision_cfg"] = {**config["vision_cfg"], "width": 64, "layers": 6, "head_width": 32}
    config["text_cfg"] = {**config["text_cfg"], "width": 64, "heads": 2, "layers": 2}
    digests = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / f"seed{seed}.safetensors"
        save_file(open_clip.CLIP(**config).state_dict(), path)
        with small_vit_b_32(config):
            encoder = load_encoder("ViT-B-32", str(path), device="cpu")
        assert encoder.identity.pretrained == str(path) and encoder.identity.encoder == "tempme"
        digests.append(encoder.identity.weights_digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(("tag", "squashed"), [("dfn5b", True), ("laion2b_s32b_b79k", False)])
def test_pictures_are_prepared_as_the_weights_want_them_whatever_reads_these(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, squashed: bool
) -> None:
    """Once open_clip was given the file of the weights alone, so that it cut squashed pictures to their middle."""
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "head_width": 32}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": {"width": 64, "heads": 2, "layers": 1}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-H-14", config)
    for name in ("weights.safetensors", "weights.pt"):
        save = save_file if name.endswith("safetensors") else torch.save
        save(open_clip.CLIP(**config).state_dict(), tmp_path / name)
        clip = load_clip("ViT-H-14", tag, tmp_path / name)
        assert view_of(clip.visual) == View(32, squashed)
    weights = tmp_path / "weights.pt"
    assert (weights_digest("ViT-H-14", weights, tag) == weights_digest("ViT-H-14", weights)) != squashed


class small_vit_b_32:
    """Within it, open_clip's ViT-B-32 has the shape of `config`: the loading code is the same, the file is small."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def __enter__(self) -> None:
        self.before = open_clip.factory._MODEL_CONFIGS["ViT-B-32"]
        open_clip.factory._MODEL_CONFIGS["ViT-B-32"] = self.config

    def __exit__(self, *_: object) -> None:
        open_clip.factory._MODEL_CONFIGS["ViT-B-32"] = self.before


@pytest.mark.parametrize(
    ("model", "pretrained", "says"),
    [
        ("ViT-B32", None, "no model called ViT-B32.*ViT-B-32"),
        ("ViT-B-32", "laion9b", "no weights called laion9b.*laion2b_s34b_b79k"),
        ("ViT-B-32", "nowhere/model.pt", "no checkpoint file nowhere/model.pt"),
        ("ViT-L-14-336", "nothing", "no weights called nothing"),
        ("vit-b-32", None, "no model called vit-b-32. Did you mean ViT-B-32"),
        ("tiny", "openai", "tiny comes with weights of its own: leave out --pretrained openai"),
        ("hf-hub:somebody/model", "openai", "no model called hf-hub:somebody/model"),
        ("local-dir:/nowhere", None, "no model called local-dir:/nowhere"),
        ("ViT-B-32", str(TINY_WEIGHTS.parent), "tiny is a folder: --pretrained takes the checkpoint file in it"),
    ],
)
def test_a_name_that_is_wrong_is_told_with_the_right_ones(model: str, pretrained: str | None, says: str) -> None:
    with pytest.raises(ModelUnavailable, match=says):
        load_encoder(model, pretrained)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(ModelUnavailable, match=r"broken\.safetensors is filled with zeros"):
        load_encoder("ViT-B-32", str(path))


def test_an_adapter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))
    with pytest.raises(ModelUnavailable, match=r"no adapter 'home' \(there is none yet\)"):
        load_encoder(TINY, adapter="home", device="cpu")
    save_adapter(adapter_path("garden"))
    with pytest.raises(ModelUnavailable, match=r"no adapter 'home' \(there is: garden\)"):
        load_encoder(TINY, adapter="home", device="cpu")


def test_an_encoder_that_is_not_there_is_answered_with_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"There is no encoder 'tempmee'\. The encoders are: tempme, tempme-fast, "):
        load_encoder(TINY, encoder="tempmee")


ALL_OF_TINY = ResolvedChoice(TINY, "builtin", "tempme", 12)


@pytest.mark.parametrize(
    ("choice", "resolved"),
    [
        (EncoderChoice(TINY), ALL_OF_TINY),
        (EncoderChoice(TINY, adapter="none"), ALL_OF_TINY),
        (EncoderChoice(TINY, "file", "mean", num_frames=8), ResolvedChoice(TINY, "file", "mean", 8)),
        (EncoderChoice(), ResolvedChoice("ViT-B-32", "laion2b_s34b_b79k", "tempme", 12)),
        (EncoderChoice("PE-Core-B-16", "file"), ResolvedChoice("PE-Core-B-16", "file", "mean", 12)),
        (EncoderChoice("convnext_base", "file", "tome"), ResolvedChoice("convnext_base", "file", "tome", 12)),
    ],
    ids=["model", "no-adapter", "everything", "nothing", "tower-of-another-kind", "encoder"],
)
def test_what_is_not_asked_for_is_the_default(choice: EncoderChoice, resolved: ResolvedChoice) -> None:
    assert resolve(choice) == resolved


def test_what_is_not_asked_for_is_as_the_adapter_was_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))
    save_adapter(adapter_path("home"), kind="frozen", num_frames=8)
    resolved = resolve(EncoderChoice(adapter="home"))
    assert resolved.adapter and resolved.adapter.info and resolved.adapter.info.name == "home"
    assert (resolved.model, resolved.pretrained, resolved.encoder, resolved.num_frames) == (TINY, "builtin", "tfvl", 8)
    assert resolve(EncoderChoice(pretrained="file", adapter="home")).pretrained == "file"
    with pytest.raises(ModelUnavailable, match="was trained with frames 8, not 12: leave out --frames"):
        resolve(EncoderChoice(adapter="home", num_frames=12))


def test_the_tiny_model_loads_with_both_encoders() -> None:
    for name in ("tempme", "mean"):
        encoder = load_encoder(TINY, encoder=name, device="cpu", dtype="float32")
        clip = torch.zeros(1, encoder.num_frames, encoder.image_size, encoder.image_size, 3, dtype=torch.uint8)
        assert encoder.encode_video(clip).shape == encoder.encode_text(["a red circle"]).shape == (1, encoder.dim)


SMALL_EVA = {
    "embed_dim": 32,
    "custom_text": True,
    "vision_cfg": {"timm_model_name": "vit_pe_core_tiny_patch16_384", "timm_pool": "map", "image_size": 384},
    "text_cfg": {"context_length": 32, "width": 32, "heads": 2, "layers": 1},
}


def test_a_model_of_timm_loads_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "PE-Core-T-16-384", SMALL_EVA)
    model = random_clip("PE-Core-T-16-384").eval()
    path = tmp_path / "eva.safetensors"
    save_file(model.state_dict(), path)
    encoder = load_encoder("PE-Core-T-16-384", str(path), "mean", num_frames=1, device="cpu", dtype="float32")
    assert encoder.view == View(384, is_squashed=True, is_bilinear=True)
    frame = torch.randint(0, 256, (1, 1, 384, 384, 3), dtype=torch.uint8)
    pixels = frame[0].permute(0, 3, 1, 2) / 127.5 - 1
    texts = ["a red circle", "zwei"]
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_video(frame), model.encode_image(pixels, True), atol=1e-5, rtol=0)
        assert isinstance(encoder.model, ImageHalf) and encoder.model._whole is None  # videos need no text half
        ids = open_clip.get_tokenizer("PE-Core-T-16-384")(texts)
        torch.testing.assert_close(encoder.encode_text(texts), model.encode_text(ids, True), atol=1e-5, rtol=0)
    merging = encoder.with_encoder("tome")
    assert (merging.encode_video(frame) * encoder.encode_video(frame)).sum() > 0.9


SMALL_CONVNEXT = {
    **SMALL_EVA,
    "vision_cfg": {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear", "image_size": 64},
}


@pytest.mark.parametrize(
    ("model", "config", "number_format"),
    [
        ("convnext_base", SMALL_CONVNEXT, "bfloat16"),
        ("PE-Core-T-16-384", SMALL_EVA, "int8" if largest_weight() else "bfloat16"),
    ],
)
def test_a_tower_without_products_in_int8_runs_in_the_fastest_of_the_other_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, config: dict[str, Any], number_format: str
) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, model, config)
    path = tmp_path / "weights.safetensors"
    save_file(random_clip(model).state_dict(), path)
    gflops = {"float32": 1, "bfloat16": 2} | ({"int8": 9} if largest_weight() else {})
    (tmp_path / "machine.json").write_text(json.dumps({formats._key(): {"gflops": gflops}}))
    formats.measured_speeds.cache_clear()
    try:
        encoder = load_encoder(model, str(path), device="cpu", dtype="auto")
    finally:
        formats.measured_speeds.cache_clear()
    assert encoder.number_format == number_format


@pytest.mark.skipif(find_spec("transformers") is not None, reason="with transformers it can be read")
def test_a_text_half_that_needs_another_package_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(UnsupportedModel, match=r"roberta-ViT-B-32 cannot be used: .* roberta-base, needs"):
        load_encoder("roberta-ViT-B-32", str(path), device="cpu")
