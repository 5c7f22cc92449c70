"""Which image towers the loop can run: by the tower itself, and by a configuration of open_clip."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from vidfind.commands import models_command
from vidfind.errors import UnsupportedModel
from vidfind.towers.clip import ClipTower, Int8ClipTower, has_int8
from vidfind.towers.loop import Tower


def image_tower(model: Any, name: str = "the model") -> Tower:
    """Returns the image tower of a model as the loop runs it. Raises UnsupportedModel for towers of other kinds."""
    reason = _clip_problem(model.visual)
    if reason:
        raise unsupported_tower(name, reason)
    return ClipTower(model)


def _clip_problem(visual: Any) -> str:
    """Why a tower is not a `ClipTower`, in words; empty if it is one."""
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    if not isinstance(getattr(visual, "conv1", None), nn.Conv2d) or blocks is None:
        return f"its image tower is a {type(visual).__name__}"
    if visual.attn_pool is not None or visual.pool_type != "tok":
        return "its image tower does not end in a class token"
    if not all(isinstance(getattr(b, "attn", None), nn.MultiheadAttention) and hasattr(b, "ls_1") for b in blocks):
        return "its transformer blocks are of another kind"
    if visual.image_size[0] != visual.image_size[1]:
        return "its pictures are not square"
    return ""


def has_int8_tower(model: Any) -> bool:
    """Whether the image tower of a model can also be run with products of 8-bit integers."""
    tower = image_tower(model)
    return isinstance(tower, ClipTower) and has_int8(tower)


def int8_tower(model: Any, largest: int, is_careful: bool = False) -> Tower:
    """Returns the image tower of a model with products of 8-bit integers, as `Int8ClipTower` makes it."""
    return Int8ClipTower(model, largest, is_careful)


def check_tower_config(config: Mapping[str, Any], name: str) -> None:
    """Like `image_tower`, from open_clip's configuration alone, before the weights are downloaded."""
    vision = config["vision_cfg"]
    if "timm_model_name" in vision or not isinstance(vision.get("layers"), int):
        raise unsupported_tower(name, f"its image tower is of another kind, {vision.get('timm_model_name', 'ResNet')}")
    if vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        raise unsupported_tower(name, "its image tower does not end in a class token")


def unsupported_tower(name: str, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{name} cannot be used: {reason}, and vidfind needs a plain vision transformer. "
        f"`{models_command()}` lists models that work."
    )
