"""The models that vidfind offers."""

import open_clip
import pytest

from vidfind.encoders.views import view_words
from vidfind.models.catalog import MODELS, TINY, ModelEntry
from vidfind.models.clip import preprocessing
from vidfind.models.hub import hub_files, list_models


@pytest.mark.parametrize(
    "entry", [entry for entry in MODELS if entry.model != TINY], ids=lambda entry: entry.pretrained
)
def test_the_table_of_models_agrees_with_open_clip(entry: ModelEntry) -> None:
    tag = open_clip.get_pretrained_cfg(entry.model, entry.pretrained)
    assert hub_files(tag["hf_hub"]) == hub_files(str(entry.hub))


def test_pictures_are_prepared_as_open_clip_says_for_all_weights_that_it_knows() -> None:
    for model, pretrained in open_clip.list_pretrained():
        tag = open_clip.get_pretrained_cfg(model, pretrained)
        words = view_words(model, pretrained).split()
        assert ("squashed" in words) == (tag["resize_mode"] == "squash"), (model, pretrained)
        assert ("bilinear" in words) == (tag["interpolation"] == "bilinear"), (model, pretrained)
        assert tag["resize_mode"] in ("shortest", "squash")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("ViT-H-14", ""),
        ("ViT-H-14-378", "squashed"),
        ("PE-Core-B-16", "squashed bilinear"),
        ("MobileCLIP-B", "bilinear"),
    ],
)
def test_a_file_is_prepared_as_all_weights_of_its_model_agree_on(model: str, words: str) -> None:
    assert view_words(model, "/models/dfn5b/weights.safetensors") == words
    settings = preprocessing(model, "/models/dfn5b/weights.safetensors")
    assert ("squashed" in words) == (settings.get("resize_mode") == "squash")
    assert ("bilinear" in words) == (settings.get("interpolation") == "bilinear")


def test_the_tiny_model_is_always_there() -> None:
    tiny = next(entry for entry in list_models() if entry.model == TINY)
    assert tiny.path is not None and tiny.path.is_file() and tiny.size_bytes > 1_000_000
