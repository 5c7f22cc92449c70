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
FEWEST_STEPS = 60  # a small set is repeated until this many steps are done
FEWEST_HELD_OUT = 4  # pairs; with fewer, recall means nothing
FEWEST_OF_WORD = 3  # held-out captions of a word; with fewer, nothing tells whether it was learned
FEWEST_TO_TELL = 20  # held-out captions; with fewer, no gain is told from chance


@dataclass(frozen=True)
class Recipe:
    """The settings of a training. The defaults are those of the TempMe paper.

    >>> from vidfind import Recipe
    >>> for_many_pairs = Recipe(epochs=3, batch_size=256, seed=1)
    """

    epochs: int | None = None
    """Passes through all pairs. None: 5, or as many as 60 steps take; then it may also stop when nothing improves."""
    learning_rate: float = 6e-4
    """The highest learning rate: that of the end of the warm-up."""
    rank: int = 8
    """Rank of the LoRA; training that continues an adapter keeps its rank."""
    batch_size: int = 128
    """Pairs in each step."""
    seed: int = 42
    """Of everything random: which pairs are held out, in which order the others come, how clips are varied."""
    val: float = 0.1
    """Share of the pairs that is held out to judge by, whole videos at a time; 4 pairs at least."""
    weight_decay: float = 0.2
    warm_up: float = 0.1
    """Share of the steps in which the learning rate rises; then it falls to zero along a cosine."""
    distill_weight: float = 6.0
    """Weight of a distillation loss that is not in the paper: 1 - cosine between a vector and the vector that the
    encoder gave for the same clip or caption before training. It keeps what the model knows; a few pairs cannot
    teach everything else again."""
    max_drift: float = 0.02
    """How far vectors of clips without new words may move on average, as a share of the mean distance between clips.
    Not in the paper either: with more, other videos are found worse than before."""
    full: bool = False
    """Train all weights of CLIP, at a smaller learning rate, instead of LoRA."""
    text_only: bool = False
    """Train only the LoRA of the text tower: video vectors, and so indexes, stay valid."""


def is_frozen(encoder: Encoder) -> bool:
    """Whether the encoder leaves CLIP's own weights as they are."""
    from vidfind.encoders.table import ENCODERS

    return ENCODERS[encoder.identity.encoder].is_frozen


def check_recipe(encoder: Encoder, recipe: Recipe) -> None:
    """Raises BadInput if the encoder cannot be trained with this recipe."""
    name = encoder.identity.encoder
    if is_frozen(encoder) and (recipe.full or recipe.text_only or recipe.rank != Recipe.rank):
        raise BadInput(
            f"{name} leaves the model as it is and trains no LoRA: leave out --full, --text-only and --rank."
        )


def kind_of(encoder: Encoder, recipe: Recipe) -> str:
    """Returns the kind of the adapter, as in `AdapterInfo.kind`."""
    return "full" if recipe.full else "text" if recipe.text_only else "frozen" if is_frozen(encoder) else "lora"
