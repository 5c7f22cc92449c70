"""Which family an image tower is of."""

from typing import Any

from torch import nn

from vidfind.towers import clip, timm
from vidfind.towers.clip import ClipTower, Int8ClipTower
from vidfind.towers.loop import Tower
from vidfind.towers.timm import Int8TimmTower, TimmTower, timm_problem
from vidfind.towers.whole import WholeTower


def image_tower(model: Any) -> Tower:
    """Returns the image tower of a model as the loop runs it."""
    is_timm = hasattr(model.visual, "trunk")
    problem = timm_problem(model.visual) if is_timm else _clip_problem(model.visual)
    if problem:
        return WholeTower(model, problem)
    return TimmTower(model) if is_timm else ClipTower(model)


def _clip_problem(visual: Any) -> str:
    """Why a tower is not a `ClipTower`, as words that follow "its image tower"; empty if it is one."""
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    if not isinstance(getattr(visual, "conv1", None), nn.Conv2d) or blocks is None:
        return f"is a {type(getattr(visual, 'trunk', visual)).__name__}"
    if visual.attn_pool is not None or visual.pool_type != "tok":
        return "does not end in a class token"
    if not all(isinstance(getattr(b, "attn", None), nn.MultiheadAttention) and hasattr(b, "ls_1") for b in blocks):
        return "has transformer blocks of another kind"
    return ""


def has_int8_tower(model: Any) -> bool:
    """Whether the image tower of a model can also be run with products of 8-bit integers."""
    tower = image_tower(model)
    if isinstance(tower, TimmTower):
        return timm.has_int8(tower)
    return isinstance(tower, ClipTower) and clip.has_int8(tower)


def int8_tower(model: Any, largest: int, is_careful: bool = False) -> Tower:
    """Returns the image tower of a model with products of 8-bit integers. Arguments are those of `clip.round_tower`."""
    if isinstance(image_tower(model), TimmTower):
        return Int8TimmTower(model, largest, is_careful)
    return Int8ClipTower(model, clip.round_tower(model, largest, is_careful))
