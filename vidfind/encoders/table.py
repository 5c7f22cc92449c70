"""The table of encoders. Each turns the frames of a clip into one vector.

To add one: write a function that makes its `Reduction` for a `Backbone`, and an entry below.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from vidfind.encoders.backbone import Backbone, keep_before_block, keep_before_mlp, mean_of_unit_vectors
from vidfind.encoders.centerclip import centerclip_reduction, centerclip_spectral_reduction
from vidfind.encoders.names import Reading
from vidfind.encoders.tempme import is_position, tempme_fast_reduction, tempme_positions, tempme_reduction
from vidfind.encoders.tfvl import tfvl_parameters, tfvl_reduction
from vidfind.encoders.tome import tome_reduction
from vidfind.towers.loop import Reduction


def mean_reduction(backbone: Backbone) -> Reduction:
    """Each frame alone, unit vectors averaged: the CLIP baseline."""
    return Reduction(keep_before_block, keep_before_mlp, mean_of_unit_vectors)


def no_parameters(backbone: Backbone) -> dict[str, Tensor]:
    return {}


@dataclass(frozen=True)
class EncoderEntry:
    """An encoder, without a model."""

    note: str
    """The method of the encoder, in a few words."""
    reduction: Callable[[Backbone], Reduction]
    """Raises ValueError, with the reason, for a backbone that it cannot work with."""
    parameters: Callable[[Backbone], dict[str, Tensor]] = no_parameters
    """The tensors that training adds beside LoRA, by their names in an adapter, with their initial values."""
    runs_whole: bool = False
    """Whether it looks at each frame alone, so that it also works with a tower that only runs whole."""
    reading: Reading = "clip"
    """What class tokens attend to in joined frames, before any training on these."""
    is_frozen: bool = False
    """Whether CLIP's own towers stay as they are: no LoRA. Before any training such an encoder gives noise."""


ENCODERS: dict[str, EncoderEntry] = {
    "tempme": EncoderEntry(
        "merges tokens in frames, then joins frames and merges across",
        tempme_reduction,
        tempme_positions,
        reading="frame",
    ),
    "tempme-fast": EncoderEntry(
        "the same, merging so much that half of the work is saved",
        tempme_fast_reduction,
        tempme_positions,
        reading="frame",
    ),
    "mean": EncoderEntry("looks at each frame alone: plain CLIP", mean_reduction, runs_whole=True),
    "tome": EncoderEntry("merges tokens in each frame alone", tome_reduction),
    "centerclip": EncoderEntry("half-way, keeps the tokens in the middle of clusters", centerclip_reduction),
    "centerclip-spectral": EncoderEntry(
        "the same, with clusters found in the spectrum of a graph", centerclip_spectral_reduction
    ),
    "tfvl": EncoderEntry(
        "reads frames as a sentence, CLIP stays as it is; TFVL-style: our reading of the paper",
        tfvl_reduction,
        tfvl_parameters,
        is_frozen=True,
    ),
}
"""By the names that users type; the first is the default."""


def reading_of(encoder: str, parameters: Mapping[str, Tensor]) -> Reading:
    """Returns the reading of an encoder without an adapter, in a model that has these parameters of an encoder.

    "frame" where neither was trained on joined frames: a class token then finds in them what it knows, one picture.
    A model whose temporal positions are trained, as the built-in one, was trained with "clip"."""
    is_trained = any(is_position(name) and bool(tensor.any()) for name, tensor in parameters.items())
    return "clip" if is_trained else ENCODERS[encoder].reading
