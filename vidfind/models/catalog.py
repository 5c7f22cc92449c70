"""The models that vidfind recommends, and the names of models that open_clip knows.

Imports only what every command needs, because the options of the commands show these defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfind.commands import models_command
from vidfind.errors import ModelUnavailable, UnsupportedModel

DEFAULT_MODEL = "ViT-B-32"
DEFAULT_ENCODER = "tempme"
TINY = "tiny"
TINY_FOLDER = Path(__file__).parent.parent / "demo" / "tiny"
TINY_WEIGHTS = TINY_FOLDER / "tiny.safetensors"
TINY_POSITIONS = TINY_FOLDER / "positions.safetensors"
OPENAI = "openai"
TEMPME_MODEL, TEMPME_PRETRAINED = "ViT-B-32", OPENAI
"""The model and weights that the public TempMe code trains."""
MULTILINGUAL = "xlm-roberta-base-ViT-B-32"
"""A model of open_clip that speaks a hundred languages. Its text half needs the package `transformers`."""
OPENAI_HUBS = {
    "ViT-B-32": "timm/vit_base_patch32_clip_224.openai",
    "ViT-B-16": "timm/vit_base_patch16_clip_224.openai",
    "ViT-L-14": "timm/vit_large_patch14_clip_224.openai",
    "ViT-L-14-336": "timm/vit_large_patch14_clip_336.openai",
}
"""Repositories of OpenAI's weights; listed here so that a search for words finds them without importing open_clip."""


INCEPTION_WEIGHTS = frozenset({("ViT-L-14", "laion2b_s32b_b82k")})
"""Of the weights in this module, those trained with pixels from -1 to 1; all others normalise them as OpenAI does."""


@dataclass(frozen=True)
class ModelEntry:
    """A model that vidfind recommends. Every other model of open_clip with CLIP's own text tower works too."""

    model: str
    pretrained: str
    hub: str
    """Hugging Face repository; empty for the model in the package."""
    size_bytes: int
    licence: str
    note: str
    path: Path | None = None
    """The weights on this machine; None if they are not here."""


MODELS = (
    ModelEntry(
        DEFAULT_MODEL, "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 605_143_284, "MIT", "the default"
    ),
    ModelEntry(
        "ViT-B-32", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", 605_143_284, "MIT", "as fast"
    ),
    ModelEntry(
        "ViT-B-16", "laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 598_516_972, "MIT", "finer, 4x slower"
    ),
    ModelEntry(
        "ViT-L-14",
        "laion2b_s32b_b82k",
        "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        1_710_517_724,
        "MIT",
        "finest here, 18x slower",
    ),
    ModelEntry(TINY, "builtin", "", 0, "MIT", "knows only the demo's drawn shapes"),
)


def default_pretrained(model: str) -> str:
    """Returns the recommended weights of `model`, or its only ones. Raises ModelUnavailable if the user must choose."""
    for entry in MODELS:
        if entry.model == model:
            return entry.pretrained
    from vidfind.system.imports import import_open_clip

    open_clip = import_open_clip()
    tags = open_clip.list_pretrained_tags_by_model(model)
    if len(tags) == 1:
        return str(tags[0])
    if tags:
        raise ModelUnavailable(f"{model} comes with several weights: add --pretrained and one of {', '.join(tags)}.")
    check_model(model)
    raise ModelUnavailable(
        f"open_clip offers no weights for {model}: add --pretrained FILE with a checkpoint of yours."
    )


def known_hub(model: str, pretrained: str) -> str:
    """Returns the Hugging Face repository of weights if it is known without open_clip; else an empty string."""
    if pretrained == OPENAI:
        return OPENAI_HUBS.get(model, "")
    return next((entry.hub for entry in MODELS if (entry.model, entry.pretrained) == (model, pretrained)), "")


def check_config(config: Mapping[str, Any], model: str) -> None:
    """Raises UnsupportedModel, with the reason, for a model that vidfind cannot run: before anything is downloaded."""
    from importlib.util import find_spec

    reader = config["text_cfg"].get("hf_model_name")
    if reader and find_spec("transformers") is None:
        raise UnsupportedModel(
            f"{model} cannot be used: its text half, {reader}, needs the package transformers, which is not part of "
            f"vidfind. `{models_command()}` lists models that work."
        )


def default_encoder(model: str) -> str:
    """Returns the encoder of a model where none is asked for and no adapter brings one.

    That is DEFAULT_ENCODER with an image tower of CLIP's kind, which the evidence is about, and `mean` with any other:
    it is what the published quality of these was measured with."""
    from vidfind.text.config import open_clip_config

    config = None if model == TINY else open_clip_config(model)
    if config is None:
        return DEFAULT_ENCODER
    vision = config["vision_cfg"]
    is_transformer = not timm_tower(config) and isinstance(vision.get("layers"), int)
    is_read_at_class_token = not vision.get("attentional_pool") and vision.get("pool_type", "tok") == "tok"
    return DEFAULT_ENCODER if is_transformer and is_read_at_class_token else "mean"


def timm_tower(config: Mapping[str, Any]) -> str:
    """Returns timm's name of the image tower of a model; empty if it is not one of timm."""
    return str(config.get("vision_cfg", {}).get("timm_model_name", ""))


def check_model(model: str) -> None:
    """Raises ModelUnavailable, with similar names, if open_clip has no such model."""
    import difflib

    from vidfind.system.imports import import_open_clip

    open_clip = import_open_clip()
    # With a colon, open_clip would look for it on the network or in a folder.
    if ":" not in model and open_clip.get_model_config(model) is not None:
        return
    known = {name.lower(): name for name in (TINY, *open_clip.list_models())}
    close = [known[name] for name in difflib.get_close_matches(model.lower(), known, n=3, cutoff=0.4)]
    hint = f"Did you mean {' or '.join(close)}?" if close else f"`{models_command()}` lists the recommended ones."
    raise ModelUnavailable(f"open_clip has no model called {model}. {hint}")
