"""How a text tower is built: its shape, read from open_clip's configuration of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SETTINGS = frozenset(
    ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale", "init_logit_bias", "custom_text")
)
TEXT_SETTINGS = frozenset(
    (
        *("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "ls_init_value", "no_causal_mask"),
        *("pool_type", "eos_id", "proj_type", "proj_bias", "norm_kwargs", "act_kwargs"),
        *("hf_tokenizer_name", "tokenizer_kwargs"),
    )
)
"""The settings that a model may have whose text tower this module knows; any other setting changes the tower."""
EMBEDDING = "token_embedding.weight"
GELUS = ("exact", "quick", "tanh")
"""The activations that a text tower may have."""


@dataclass(frozen=True)
class Shape:
    """How a text tower is built, as open_clip's configuration says."""

    dim: int
    width: int
    layers: int
    heads: int
    hidden: int
    context_length: int
    vocabulary: int
    is_causal: bool
    """Whether a token sees only those before it. If not, padding is seen too, and counts."""
    pool: str
    """The place whose output is the vector: `argmax`, that of the highest id; `eos`, that of the id `end`; `last`."""
    end: int
    projection: str
    """`matrix`, `linear` with a bias, or `none`."""
    has_scales: bool
    epsilon: float
    gelu: str
    """`exact`, `quick` or `tanh`."""

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the tensors, by name."""
        width, hidden = self.width, self.hidden
        block = {
            "ln_1.weight": (width,),
            "ln_1.bias": (width,),
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "ln_2.weight": (width,),
            "ln_2.bias": (width,),
            "mlp.c_fc.weight": (hidden, width),
            "mlp.c_fc.bias": (hidden,),
            "mlp.c_proj.weight": (width, hidden),
            "mlp.c_proj.bias": (width,),
            **({"ls_1.gamma": (width,), "ls_2.gamma": (width,)} if self.has_scales else {}),
        }
        projections: dict[str, dict[str, tuple[int, ...]]] = {
            "matrix": {"text_projection": (width, self.dim)},
            "linear": {"text_projection.weight": (self.dim, width), "text_projection.bias": (self.dim,)},
            "none": {},
        }
        return {
            EMBEDDING: (self.vocabulary, width),
            "positional_embedding": (self.context_length, width),
            **{f"transformer.resblocks.{i}.{name}": shape for i in range(self.layers) for name, shape in block.items()},
            "ln_final.weight": (width,),
            "ln_final.bias": (width,),
            **projections[self.projection],
        }


def read_shape(config: Mapping[str, Any]) -> Shape | None:
    """Returns the shape of the text tower of a model with this `config` of open_clip; None for another kind."""
    text = config["text_cfg"]
    if not (config.keys() <= SETTINGS and text.keys() <= TEXT_SETTINGS):
        return None
    norm, act = text.get("norm_kwargs") or {}, text.get("act_kwargs") or {}
    gelu = "quick" if config.get("quick_gelu") else act.get("approximate", "none").replace("none", "exact")
    width, heads, pool = text.get("width", 512), text.get("heads", 8), text.get("pool_type", "argmax")
    is_odd = act.keys() > {"approximate"} or norm.keys() > {"eps"} or (gelu == "quick" and act)
    if is_odd or width % heads or gelu not in GELUS or pool not in ("argmax", "eos", "last"):
        return None
    has_projection = text.get("proj_type", "linear") != "none"
    return Shape(
        dim=config["embed_dim"],
        width=width,
        layers=text.get("layers", 12),
        heads=heads,
        hidden=int(width * text.get("mlp_ratio", 4.0)),
        context_length=text.get("context_length", 77),
        vocabulary=text.get("vocab_size", 49408),
        is_causal=not text.get("no_causal_mask"),
        pool=pool,
        end=text.get("eos_id", 2),
        projection=("linear" if text.get("proj_bias") else "matrix") if has_projection else "none",
        has_scales=text.get("ls_init_value") is not None,
        epsilon=norm.get("eps", 1e-5),
        gelu=gelu,
    )
