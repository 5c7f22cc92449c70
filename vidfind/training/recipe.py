"""How a model is trained: the settings of fine-tuning and their defaults.

Imports no PyTorch: the help of `vidfind finetune` shows these defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidfind.errors import BadInput

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

FEWEST_EPOCHS = 5
FEWEST_STEPS = 100  # a small set is gone through as often as that takes
FEWEST_HELD_OUT = 4  # pairs: with fewer, recall says nothing


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are the paper's."""

    epochs: int | None = None
    """None: FEWEST_EPOCHS, or more until there are FEWEST_STEPS."""
    learning_rate: float = 6e-4
    rank: int = 8
    """Of the LoRA; training that goes on from an adapter keeps the rank of that."""
    batch_size: int = 128
    seed: int = 42
    val: float = 0.1
    """Share of the pairs that is held out, whole videos at a time; FEWEST_HELD_OUT at least."""
    weight_decay: float = 0.2
    warm_up: float = 0.1
    """Share of the steps in which the learning rate rises; a cosine to zero follows."""
    keep: float = 6.0
    """Weight of a loss that is not in the paper: 1 - cosine of a vector and that which the encoder gave for the same
    clip or caption before training. It holds on to what the model knows: a few pairs say nothing of all the rest."""
    full: bool = False
    """Train all of CLIP's weights, at a smaller learning rate, instead of LoRA."""
    text_only: bool = False
    """Train the LoRA of the text tower alone: video vectors, and so indexes, stay as they are."""


def is_frozen(encoder: Encoder) -> bool:
    """Whether the encoder leaves CLIP's own weights as they are."""
    from vidfind.encoders.table import ENCODERS

    return ENCODERS[encoder.identity.encoder].is_frozen


def check_recipe(encoder: Encoder, recipe: Recipe) -> None:
    """Raises BadInput for what the encoder cannot be trained with."""
    name = encoder.identity.encoder
    if is_frozen(encoder) and (recipe.full or recipe.text_only or recipe.rank != Recipe.rank):
        raise BadInput(
            f"{name} leaves the model as it is and trains no LoRA: leave out --full, --text-only and --rank."
        )


def kind_of(encoder: Encoder, recipe: Recipe) -> str:
    """What AdapterInfo.kind says."""
    return "full" if recipe.full else "text" if recipe.text_only else "frozen" if is_frozen(encoder) else "lora"
