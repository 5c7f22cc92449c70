"""The table of encoders: what each leaves of the tokens, what it trains, and that the commands know them all."""

import copy
from typing import get_args

import pytest
from open_clip import CLIP

from vidfind.encoders.backbone import Backbone
from vidfind.encoders.names import EncoderName
from vidfind.encoders.table import ENCODERS
from vidfind.models.catalog import DEFAULT_ENCODER
from vidfind.models.lora import attach_lora
from vidfind.towers.clip import ClipTower
from vidfind.training.recipe import Recipe


def test_the_commands_offer_every_encoder_and_the_first_is_the_default() -> None:
    assert list(get_args(EncoderName)) == list(ENCODERS)
    assert next(iter(ENCODERS)) == DEFAULT_ENCODER


@pytest.fixture(scope="module")
def vit_b_32() -> CLIP:
    """CLIP's own sizes, but for a short token table: what is counted is what a user trains."""
    vision = {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12}
    return CLIP(512, vision, {"context_length": 77, "vocab_size": 100, "width": 512, "heads": 8, "layers": 12})


@pytest.mark.parametrize(
    ("name", "count"),
    [("mean", 491_520), ("tome", 491_520), ("centerclip", 491_520), ("tempme", 507_648), ("tfvl", 430_080)],
)
def test_trained_parameters_of_vit_b_32(vit_b_32: CLIP, name: str, count: int) -> None:
    entry = ENCODERS[name]
    own = entry.parameters(Backbone(ClipTower(vit_b_32), 12, {}, vit_b_32))
    lora = {} if entry.is_frozen else attach_lora(copy.deepcopy(vit_b_32), Recipe.rank)
    assert sum(tensor.numel() for tensor in [*own.values(), *lora.values()]) == count
