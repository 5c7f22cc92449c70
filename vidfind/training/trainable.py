"""Prepares a model for training: which parameters learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidfind.encoders.encoder import Encoder
from vidfind.encoders.table import ENCODERS
from vidfind.encoders.tempme import fit_position
from vidfind.encoders.towers import has_plain_text_tower
from vidfind.errors import UnsupportedModel
from vidfind.models.adapter_file import LEARNED, PARAMETER, Adapter
from vidfind.models.lora import attach_lora, fold_adapter
from vidfind.training.recipe import Recipe, check_recipe, is_frozen
from vidfind.training.words import teach


def prepare(
    encoder: Encoder, recipe: Recipe, start: Adapter | None
) -> tuple[dict[str, nn.Parameter], dict[str, Tensor]]:
    """Prepares the model of `encoder` for training that starts from the adapter `start`.

    Returns the parameters that learn, by their names in an adapter, and the tensors of `start` that stay unchanged; all
    other parameters are frozen. Raises UnsupportedModel, and BadInput if the recipe does not fit the encoder."""
    model = encoder.model
    if not has_plain_text_tower(model):
        raise UnsupportedModel(f"{encoder.identity.model} cannot be fine-tuned: its text tower is not CLIP's own.")
    start = start or Adapter({})
    words = start.tensors.get(LEARNED)
    start = Adapter({name: tensor for name, tensor in start.tensors.items() if name != LEARNED}, start.info)
    check_recipe(encoder, recipe)
    model.requires_grad_(False)
    trained: dict[str, nn.Parameter] = {}
    kept: dict[str, Tensor] = {}
    if recipe.full:
        fold_adapter(model, start)
        trained = {name: p.requires_grad_() for name, p in model.named_parameters() if name != "logit_scale"}
    elif not is_frozen(encoder):
        trained_on = {
            name
            for name in start.tensors
            if is_addition(name) and not (recipe.text_only and name.startswith("visual."))
        }
        kept = {name: tensor for name, tensor in start.tensors.items() if name not in trained_on}
        fold_adapter(model, Adapter(kept))
        found = [len(tensor) for name, tensor in start.tensors.items() if name.endswith("lora_a")]
        trained = attach_lora(model, found[0] if found else recipe.rank, recipe.text_only)
        with torch.no_grad():
            for name in trained_on & trained.keys():
                trained[name].copy_(start.tensors[name])
    encoder.parameters.update({name: tensor.to(encoder.device) for name, tensor in start.parameters().items()})
    if not recipe.text_only:
        # Random initial values are drawn again, with the seed of the recipe.
        known = start.parameters() if is_frozen(encoder) else encoder.parameters
        for name, untrained in ENCODERS[encoder.identity.encoder].parameters(encoder.backbone).items():
            value = fit_position(known.get(name, untrained), len(untrained)).to(encoder.device)
            encoder.parameters[name] = trained[name] = nn.Parameter(value.detach().clone())
    if words is not None and start.info:
        rows = teach(encoder, start.info.learned, words)
        trained |= {LEARNED: rows} if not is_frozen(encoder) else {}
        kept |= {LEARNED: words} if is_frozen(encoder) else {}
    return trained, kept


def is_addition(name: str) -> bool:
    """Whether a tensor of an adapter is an addition to CLIP's own weights: LoRA, a parameter of the encoder, or learned
    words."""
    return ".lora_" in name or PARAMETER.fullmatch(name) is not None or name == LEARNED
