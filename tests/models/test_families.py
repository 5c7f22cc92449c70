"""Which models of open_clip vidfind runs, and why not the others; one test of each family of image towers."""

from fnmatch import fnmatchcase
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F

from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.errors import ModelUnavailable, UnsupportedModel
from vidfind.models.catalog import WHOLE_TOWERS, default_pretrained, known_hub, timm_tower
from vidfind.models.hub import hub_files, look_for_weights
from vidfind.models.load import load_encoder
from vidfind.text.config import open_clip_config
from vidfind.text.padded import clip_tokenizer
from vidfind.towers.timm import timm_problem

TEXT = {"width": 64, "heads": 2, "layers": 1}
NO_MASK = {**TEXT, "context_length": 16, "vocab_size": 99, "no_causal_mask": True, "pool_type": "last"}
COCA = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
PLAIN = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
DECODER = {"context_length": 16, "vocab_size": 99, "width": 64, "heads": 2, "layers": 1, "attn_pooler_heads": 2}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "VisionTransformer": (PLAIN, {}),
    "CLIPA": ({**PLAIN, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}, {"text_cfg": NO_MASK}),
    "CoCa": ({**PLAIN, **COCA}, {"multimodal_cfg": DECODER, "text_cfg": {**TEXT, "embed_cls": True}}),
    "ModifiedResNet": ({"image_size": 64, "layers": [1, 1, 1, 1], "width": 32, "patch_size": None}, {}),
    "ConvNeXt": ({"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear", "image_size": 64}, {}),
    "FastViT": ({"timm_model_name": "fastvit_t8", "timm_pool": "avg", "timm_proj": None, "image_size": 64}, {}),
    "ViTamin": ({"timm_model_name": "vitamin_small_224", "timm_pool": "", "timm_proj": "linear"}, {}),
}
"""Each as small as its family goes, the last 224 pixels wide: settings of its image tower, and of the model."""


@pytest.mark.parametrize("family", [*list(FAMILIES)[:-1], pytest.param("ViTamin", marks=pytest.mark.soak)])
def test_the_mean_of_frames_is_that_of_open_clip(family: str) -> None:
    torch.manual_seed(0)
    vision, others = FAMILIES[family]
    kind = open_clip.CoCa if family == "CoCa" else open_clip.CustomTextCLIP if others else open_clip.CLIP
    model = kind(**{"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT, **others}).eval()
    with torch.no_grad():  # as they are made, heads give nearly the same vector for every picture
        for parameter in model.visual.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    mean, std = (0.2, 0.5, 0.7), (0.3, 0.2, 0.1)
    open_clip.model.set_model_preprocess_cfg(model, {"mean": mean, "std": std})
    encoder = Encoder(model, clip_tokenizer(), EncoderIdentity(family, "random", "", "mean", None, 2))
    size = encoder.image_size
    clips = torch.randint(0, 256, (2, 2, size, size, 3), dtype=torch.uint8)
    pixels = (clips.flatten(0, 1) / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.no_grad():
        frames = model.encode_image(pixels.permute(0, 3, 1, 2), normalize=True)
    expected = F.normalize(frames.unflatten(0, (2, 2)).mean(dim=1), dim=-1)
    vectors = encoder.encode_video(clips)
    assert vectors.shape == (2, encoder.dim) and (vectors[0] - vectors[1]).abs().max() > 1e-4
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)
    if family not in ("VisionTransformer", "ViTamin"):
        with pytest.raises(UnsupportedModel, match=rf"^tome merges tokens, .* of {family} .* --encoder mean"):
            encoder.with_encoder("tome")


NOT_ON_THE_HUB = "is not on the Hugging Face hub"
READ_BY_TRANSFORMERS = "needs the package transformers"


def why_refused(model: str, pretrained: str) -> str:
    """The reason that the table expects; empty for weights that are used."""
    config, tag = open_clip.get_model_config(model), open_clip.get_pretrained_cfg(model, pretrained)
    if not tag.get("hf_hub"):
        return NOT_ON_THE_HUB
    return READ_BY_TRANSFORMERS if "hf_model_name" in config["text_cfg"] and not find_spec("transformers") else ""


def test_all_weights_of_open_clip_are_used_or_refused_with_the_reason_before_any_download() -> None:
    refused: dict[str, set[str]] = {}
    for model, pretrained in open_clip.list_pretrained():
        reason = why_refused(model, pretrained)
        try:
            _, hub = look_for_weights(model, pretrained)
        except (ModelUnavailable, UnsupportedModel) as error:
            assert reason and reason in str(error) and model in str(error)
            refused.setdefault(reason, set()).add(model)
        else:
            assert not reason
            tag = open_clip.get_pretrained_cfg(model, pretrained)
            assert hub_files(hub) == hub_files(tag["hf_hub"])
    assert refused[READ_BY_TRANSFORMERS] >= {"xlm-roberta-base-ViT-B-32", "nllb-clip-base-siglip"} or find_spec(
        "transformers"
    )


@pytest.mark.parametrize("model", ["MobileCLIP2-S0", "convnext_base_w", "RN50", "coca_ViT-B-32", "ViT-L-14-CLIPA"])
def test_what_would_merge_in_a_tower_that_runs_whole_is_refused_before_any_download(model: str) -> None:
    with pytest.raises(UnsupportedModel, match=rf"^tome merges tokens, .* of {model} is .* --encoder mean"):
        load_encoder(model, open_clip.list_pretrained_tags_by_model(model)[0], "tome")


TIMM_TOWERS = sorted({tower for name in open_clip.list_models() if (tower := timm_tower(open_clip_config(name) or {}))})
ONE_OF_EACH_KIND = {
    "convnext_base",
    "eva_giant_patch14_224",
    "eva02_base_patch16_clip_224",
    "eva02_enormous_patch14_clip_224",
    "fastvit_mci4",
    "swin_base_patch4_window7_224",
    "vit_base_mci_224",
    "vit_base_patch16_siglip_224",
    "vit_medium_patch16_gap_256",
    "vit_pe_core_base_patch16_224",
    "vit_relpos_medium_patch16_cls_224",
    "vitamin_small_224",
}


@pytest.mark.parametrize(
    "tower", [name if name in ONE_OF_EACH_KIND else pytest.param(name, marks=pytest.mark.soak) for name in TIMM_TOWERS]
)
def test_which_towers_of_timm_can_merge_is_known_by_their_names(tower: str) -> None:
    kind = tower.partition("_")[0]
    shallow = {"convnext": "depths", "swin": "depths", "fastvit": "layers"}.get(kind)
    with torch.device("meta"):
        trunk = timm.create_model(tower, **({shallow: (1, 1, 1, 1)} if shallow else {"depth": 1}))
    is_whole = any(fnmatchcase(tower, name) for name in WHOLE_TOWERS)
    assert bool(timm_problem(SimpleNamespace(trunk=trunk, head=None))) == is_whole


@pytest.mark.parametrize(
    ("model", "pretrained"),
    [("PE-Core-bigG-14-448", "meta"), ("ViT-B-16-SigLIP2", "webli"), ("ViT-SO400M-16-SigLIP2-256", "webli")],
)
def test_models_with_one_set_of_weights_are_known_without_open_clip(model: str, pretrained: str) -> None:
    assert default_pretrained(model) == pretrained
    tag = open_clip.get_pretrained_cfg(model, pretrained)
    assert hub_files(known_hub(model, pretrained)) == hub_files(tag["hf_hub"])
    assert known_hub(model, "other") == known_hub(f"{model}-other", pretrained) == ""
