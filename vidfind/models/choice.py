"""Decides what is asked of an encoder: its model, weights, adapter and frames; and whether they fit together.

Reads adapters, but no model, and fetches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.commands import finetune_command
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, ENCODER_NAMES, EncoderChoice, lasting_name
from vidfind.errors import BadInput, ModelUnavailable
from vidfind.models.adapter_file import find_adapter
from vidfind.models.catalog import DEFAULT_MODEL, default_encoder, default_pretrained
from vidfind.models.default_adapters import default_name
from vidfind.models.saved_adapters import list_adapters

if TYPE_CHECKING:
    from vidfind.models.adapter_file import Adapter, AdapterInfo


@dataclass(frozen=True)
class ResolvedChoice:
    """An `EncoderChoice` with everything decided; see there."""

    model: str
    pretrained: str
    encoder: str
    num_frames: int
    adapter: Adapter | None = None
    reading: str | None = None
    """None: that of an encoder without an adapter, see `encoders.table.reading_of`."""


def resolve(choice: EncoderChoice) -> ResolvedChoice:
    """Decides what is not asked for: as the adapter was trained, or by the defaults. Fetches nothing.

    Raises BadInput for an unknown encoder, ModelUnavailable for an adapter that is missing or was trained for something
    else, and for a model without recommended weights."""
    if choice.encoder and choice.encoder not in ENCODER_NAMES:
        raise BadInput(f"There is no encoder {choice.encoder!r}. The encoders are: {', '.join(ENCODER_NAMES)}.")
    if choice.wanted_adapter is None:
        model = choice.model or DEFAULT_MODEL
        pretrained = lasting_name(choice.pretrained or default_pretrained(model))
        encoder, num_frames = choice.encoder or default_encoder(model), choice.num_frames or DEFAULT_NUM_FRAMES
        return ResolvedChoice(model, pretrained, encoder, num_frames, reading=choice.reading)
    adapter, info = read_saved_adapter(choice.wanted_adapter)
    check_adapter(info, choice)
    pretrained = lasting_name(choice.pretrained or info.pretrained)
    return ResolvedChoice(info.model, pretrained, info.encoder, info.num_frames, adapter, info.reading)


def default_adapter(asked: EncoderChoice) -> str | None:
    """The adapter that a new index of this model and weights uses when nobody asks for another, if there is one."""
    model = asked.model or DEFAULT_MODEL
    try:
        return default_name(model, asked.pretrained or default_pretrained(model))
    except ModelUnavailable:
        return None  # loading the model raises it again


def read_saved_adapter(adapter: str | Path) -> tuple[Adapter, AdapterInfo]:
    """A saved adapter by its name, or by its file. Raises ModelUnavailable, with the names there are."""
    from vidfind.models.adapter_file import read_adapter

    path = find_adapter(adapter)
    saved = read_adapter(path)
    if saved.info is None:
        raise ModelUnavailable(f"{path} is a safetensors file, but no adapter of vidfind.")
    return saved, saved.info


def check_needs_no_adapter(encoder: str, model: str) -> None:
    """Raises ModelUnavailable for an encoder that means nothing without an adapter, with those that there are."""
    from vidfind.encoders.table import ENCODERS

    if ENCODERS[encoder].is_frozen:
        saved = [one for one in list_adapters() if one.info and (one.info.encoder, one.info.model) == (encoder, model)]
        names = ", ".join(one.name for one in saved)
        train = finetune_command(encoder=encoder, model=model if model != DEFAULT_MODEL else None)
        raise ModelUnavailable(
            f"The encoder {encoder} knows nothing before it is trained. Add --adapter NAME with an adapter of it "
            f"({f'saved for {model}: {names}' if names else f'none is saved for {model}'}), "
            f"or make one: {train}"
        )


def check_adapter(info: AdapterInfo, choice: EncoderChoice) -> None:
    """Raises ModelUnavailable when an adapter was not trained for what is asked."""
    if info.encoder not in ENCODER_NAMES:
        raise ModelUnavailable(f"The adapter {info.name!r} is for the encoder {info.encoder!r}, which vidfind lacks.")
    asked = {"model": choice.model, "encoder": choice.encoder, "frames": choice.num_frames}
    trained = {"model": info.model, "encoder": info.encoder, "frames": info.num_frames}
    for name, value in asked.items():
        if value not in (None, trained[name]):
            raise ModelUnavailable(
                f"The adapter {info.name!r} was trained with {name} {trained[name]}, not {value}: "
                f"leave out --{name}, or take another adapter."
            )


def check_weights(info: AdapterInfo, model: str, pretrained: str, digest: str) -> None:
    """Raises ModelUnavailable when an adapter was trained on other weights than these."""
    if digest != info.weights_digest and (info.weights_digest or pretrained != info.pretrained):
        raise ModelUnavailable(
            f"The adapter {info.name!r} was trained on other weights than {model} / {pretrained} has here: "
            f"on {info.model} / {info.pretrained}."
        )
