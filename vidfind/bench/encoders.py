"""Compares all encoders: measures what each costs with one model on this machine.

Random weights serve, as they are as fast as real ones: nothing is fetched. Knows nothing of how figures are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vidfind.encoders.costs import ClipCost, clip_costs, clips_to_time
from vidfind.encoders.encoder import Encoder, choose_device
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, EncoderIdentity
from vidfind.encoders.table import ENCODERS
from vidfind.errors import UnsupportedModel
from vidfind.models.catalog import DEFAULT_MODEL, TINY, check_config, check_model, default_encoder
from vidfind.models.clip import random_clip
from vidfind.models.load import load_encoder, tower_width
from vidfind.precision.formats import choose_format, fastest_float, float_type
from vidfind.system.imports import import_open_clip
from vidfind.text.padded import clip_tokenizer
from vidfind.towers.families import has_int8_tower
from vidfind.training.recipe import Recipe
from vidfind.training.trainable import prepare


@dataclass(frozen=True)
class MeasuredEncoder:
    """One encoder of the table. What a model cannot do is None, for the reason in `problem`."""

    name: str
    note: str
    is_default: bool
    needs_adapter: bool
    cost: ClipCost | None
    trained: int | None
    """How many numbers `finetune` trains by default."""
    problem: str = ""


@dataclass(frozen=True)
class Comparison:
    """The encoders, and what they were measured with; `clips_at_a_time` were encoded side by side."""

    encoders: list[MeasuredEncoder]
    model: str
    num_frames: int
    image_size: int
    device: str
    dtype: str
    clips_at_a_time: int


def compare_encoders(
    model: str | None = None, device: str = "auto", dtype: str = "auto", say: Callable[[str], None] = lambda text: None
) -> Comparison:
    """Raises ModelUnavailable and UnsupportedModel for a model that no encoder can use."""
    model = model or DEFAULT_MODEL
    say(f"Loading {model}" if model == TINY else f"Making {model} with random weights")
    plain = random_encoder(model, device, dtype)
    encoders: dict[str, Encoder] = {}
    problems: dict[str, str] = {}
    for name in ENCODERS:
        try:
            encoders[name] = plain.with_encoder(name)
        except UnsupportedModel as error:
            problems[name] = str(error)
    shape = (clips_to_time(plain), plain.num_frames, plain.image_size, plain.image_size, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    costs = clip_costs(
        {name: (encoder, clips) for name, encoder in encoders.items()}, lambda name: say(f"Measuring {name}")
    )
    # Last, as it leaves LoRA in the model.
    measured = [
        _measured(name, name == default_encoder(model), encoders.get(name), costs.get(name), problems.get(name, ""))
        for name in ENCODERS
    ]
    frames, size = plain.num_frames, plain.image_size
    return Comparison(measured, model, frames, size, str(plain.device), plain.number_format, clips_to_time(plain))


def _measured(
    name: str, is_default: bool, encoder: Encoder | None, cost: ClipCost | None, problem: str
) -> MeasuredEncoder:
    trained = None
    if encoder:
        try:
            trained = count_trained(encoder)
        except UnsupportedModel as error:
            problem = str(error)
    entry = ENCODERS[name]
    return MeasuredEncoder(name, entry.note, is_default, entry.is_frozen, cost, trained, problem)


def random_encoder(model: str, device: str, dtype: str) -> Encoder:
    """The `mean` encoder of a model with random weights, or of the one in the package with its own.

    Raises ModelUnavailable and UnsupportedModel."""
    if model == TINY:
        return load_encoder(TINY, encoder="mean", device=device, dtype=dtype)
    check_model(model)
    config = import_open_clip().get_model_config(model)
    check_config(config, model)
    if "hf_model_name" in config["text_cfg"]:
        raise UnsupportedModel(f"{model} cannot be measured: its text half would have to be fetched.")
    device = choose_device(device)
    identity = EncoderIdentity(model, "random", "", "mean", None, DEFAULT_NUM_FRAMES)
    number_format = choose_format(dtype, device, tower_width(model))
    clip = random_clip(model)
    if dtype == "auto" and number_format == "int8" and not has_int8_tower(clip):
        number_format = fastest_float(device)
    dtype_of_floats, int8 = float_type(number_format), number_format == "int8"
    return Encoder(clip, clip_tokenizer(), identity, None, device, dtype_of_floats, int8)


def count_trained(encoder: Encoder) -> int:
    """How many numbers `finetune` would train. Leaves LoRA in the model. Raises UnsupportedModel."""
    trained, _ = prepare(encoder, Recipe(), None)
    return sum(parameter.numel() for parameter in trained.values())
