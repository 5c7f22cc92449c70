"""The models that vidfind recommends, and the names of models that open_clip knows.

Imports only what every command needs, because the options of the commands show these defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from vidfind.commands import models_command
from vidfind.errors import ModelUnavailable, UnsupportedModel
from vidfind.text.config import open_clip_config

DEFAULT_MODEL = "ViT-B-32"
DEFAULT_ENCODER = "tempme"
TINY = "tiny"
TINY_FOLDER = Path(__file__).parent.parent / "demo" / "tiny"
TINY_WEIGHTS = TINY_FOLDER / "tiny.safetensors"
TINY_POSITIONS = TINY_FOLDER / "positions.safetensors"
OPENAI = "openai"
TEMPME_MODEL, TEMPME_PRETRAINED = "ViT-B-32", OPENAI
"""The model and weights that the public TempMe code trains."""
MULTILINGUAL = "ViT-B-32-SigLIP2-256"
"""A model of open_clip that was taught many languages."""
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
    """A model whose weights vidfind can name without open_clip. Every other model of open_clip with weights on the hub
    works too, unless `check_config` refuses it."""

    model: str
    pretrained: str
    hub: str
    """Hugging Face repository; empty for the model in the package."""
    size_bytes: int
    licence: str
    dim: int
    """The length of its vectors."""
    note: str = ""
    """What vidfind recommends it for; empty if it does not."""
    languages: str = "English"
    quality: str = ""
    """How well it finds without training, as published."""
    source: str = ""
    """Where that was published."""
    path: Path | None = None
    """The weights on this machine; None if they are not here."""


RESULTS = "open_clip, docs/openclip_retrieval_results.csv"
PE = "perception_models, apps/pe/README.md"
MODELS = (
    ModelEntry(
        DEFAULT_MODEL,
        "laion2b_s34b_b79k",
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        605_143_284,
        "MIT",
        512,
        "the default: quick",
        quality="COCO 39.3 %",
        source=RESULTS,
    ),
    ModelEntry(
        "ViT-B-32-SigLIP2-256",
        "webli",
        "timm/ViT-B-32-SigLIP2-256",
        1_507_000_000,
        "Apache-2.0",
        768,
        "balanced, and in many languages",
        "many",
        "COCO 47.2 %",
        "big_vision, README_siglip2.md",
    ),
    ModelEntry(
        "PE-Core-S-16-384",
        "meta",
        "timm/PE-Core-S-16-384",
        349_000_000,
        "Apache-2.0",
        512,
        "the smallest download, made for videos too",
        quality="MSR-VTT 39.3 %, COCO 42.6 %",
        source=PE,
    ),
    ModelEntry(
        "PE-Core-B-16",
        "meta",
        "timm/PE-Core-B-16",
        1_791_000_000,
        "Apache-2.0",
        1024,
        "the best on a CPU",
        quality="MSR-VTT 47.6 %, COCO 50.9 %",
        source=PE,
    ),
    ModelEntry(
        "PE-Core-L-14-336",
        "meta",
        "timm/PE-Core-L-14-336",
        2_685_000_000,
        "Apache-2.0",
        1024,
        "the best with a GPU",
        quality="MSR-VTT 50.3 %, COCO 57.1 %",
        source=PE,
    ),
    ModelEntry(TINY, "builtin", "", 0, "MIT", 128, "in the package: knows only the demo's drawn shapes"),
    ModelEntry(
        "ViT-B-32", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", 605_143_284, "MIT", 512
    ),
    ModelEntry("ViT-B-16", "laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 598_516_972, "MIT", 512),
    ModelEntry("ViT-L-14", "laion2b_s32b_b82k", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", 1_710_517_724, "MIT", 768),
)
ALIKE = {"PE-Core-*": "meta", "ViT-*-SigLIP2*": "webli"}
"""Models whose one set of weights has this name, and lies in a repository of timm that is called as they are."""


def default_pretrained(model: str) -> str:
    """Returns the recommended weights of `model`, or its only ones. Raises ModelUnavailable if the user must choose."""
    for entry in MODELS:
        if entry.model == model:
            return entry.pretrained
    if alike := _weights_alike(model):
        return alike
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
    hub = next((entry.hub for entry in MODELS if (entry.model, entry.pretrained) == (model, pretrained)), "")
    return hub or (f"timm/{model}" if pretrained and pretrained == _weights_alike(model) else "")


def _weights_alike(model: str) -> str:
    is_known = open_clip_config(model) is not None
    return next((weights for names, weights in ALIKE.items() if is_known and fnmatchcase(model, names)), "")


def check_config(config: Mapping[str, Any], model: str) -> None:
    """Raises UnsupportedModel, with the reason, for a model that vidfind cannot run: before anything is downloaded."""
    from importlib.util import find_spec

    from vidfind.text.hub_tokenizer import needs_transformers, tokenizer_of

    if needs_transformers(config) and find_spec("transformers") is None:
        reader = config["text_cfg"].get("hf_model_name")
        part = f"its text half, {reader}," if reader else f"its tokenizer, {tokenizer_of(config)},"
        raise UnsupportedModel(
            f"{model} cannot be used: {part} needs the package transformers, which is not part of "
            f"vidfind. {MULTILINGUAL} speaks many languages without it, and `{models_command()}` lists more."
        )


def default_encoder(model: str) -> str:
    """Returns the encoder of a model where none is asked for and no adapter brings one.

    That is DEFAULT_ENCODER with an image tower of CLIP's kind, which the evidence is about, and `mean` with any other:
    it is what the published quality of these was measured with."""
    return DEFAULT_ENCODER if has_clip_tower(model) else "mean"


def has_clip_tower(model: str) -> bool:
    """Whether the image tower of a model is of CLIP's kind, by its configuration; True for a model without one."""
    config = None if model == TINY else open_clip_config(model)
    if config is None:
        return True
    vision = config["vision_cfg"]
    is_transformer = not timm_tower(config) and isinstance(vision.get("layers"), int)
    return is_transformer and not vision.get("attentional_pool") and vision.get("pool_type", "tok") == "tok"


WHOLE_TOWERS = ("convnext*", "eva02_enormous*", "fastvit*", "swin*", "vit_relpos*")
"""Image towers of timm that run whole, by timm's names: those of open_clip with a `timm_problem`."""


def runs_whole(model: str) -> bool:
    """Whether the image tower of a model runs whole, by its configuration; False for a model without one."""
    config = None if model == TINY else open_clip_config(model)
    tower = timm_tower(config or {})
    return any(fnmatchcase(tower, name) for name in WHOLE_TOWERS) if tower else not has_clip_tower(model)


def check_can_merge(model: str, encoder: str) -> None:
    """Raises UnsupportedModel for an encoder that merges tokens and a model whose image tower runs whole.

    By the configuration alone, before anything is downloaded; `Encoder` looks at the tower itself."""
    if encoder != "mean" and runs_whole(model):
        kind = timm_tower(open_clip_config(model) or {}) or "of another kind than CLIP's"
        raise UnsupportedModel(
            f"{encoder} merges tokens, and the image tower of {model} is {kind}: it can be used with --encoder mean."
        )


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
