"""Small models whose image towers are of timm's kinds, with random weights that let every part speak."""

from functools import partial
from typing import Any

import open_clip
import torch
from open_clip.timm_model import TimmModel
from timm.layers.hybrid_embed import HybridEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from timm.models.vitamin import GeGluMlp, MbConvStages, StridedConv, VitCfg, VitConvCfg
from torch import nn

SIZE, PATCHES, WIDTH, DIM = 56, 49, 48, 32
SHAPE: dict[str, Any] = {"img_size": SIZE, "patch_size": 8, "embed_dim": WIDTH, "num_heads": 4, "mlp_ratio": 2.0}
PE: dict[str, Any] = {
    "attn_type": "rope",
    "use_rot_pos_emb": True,
    "ref_feat_shape": (7, 7),
    "rope_grid_offset": 1.0,
    "rope_grid_indexing": "xy",
    "use_pre_transformer_norm": True,
    "global_pool": "map",
    "attn_pool_num_heads": 2,
}
EVA02: dict[str, Any] = {
    "use_rot_pos_emb": True,
    "ref_feat_shape": (4, 4),
    "qkv_fused": False,
    "swiglu_mlp": True,
    "scale_mlp": True,
    "scale_attn_inner": True,
    "global_pool": "token",
}
STEM = partial(
    HybridEmbed,
    backbone=ConvStem(channels=(8, 8, WIDTH), kernel_size=(2, 2, 2), stride=(2, 2, 2), padding=0, act_layer=nn.GELU),
    proj=False,
)
STAGES = MbConvStages(VitCfg((8, 16, WIDTH), (1, 1, 1), 8, VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6)))
STAGES.pool = StridedConv(stride=1, in_chans=16, embed_dim=WIDTH)  # ViTamin's halves the patches once more
TRUNKS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "PE": (Eva, PE),
    "SigLIP": (VisionTransformer, {"class_token": False, "global_pool": "map"}),
    "EVA02": (Eva, EVA02),
    "EVA": (Eva, {"global_pool": "avg", "init_values": 0.5, "norm_layer": partial(nn.LayerNorm, eps=1e-6)}),
    "MobileCLIP": (
        VisionTransformer,
        {"global_pool": "token", "no_embed_class": True, "embed_layer": STEM, "patch_size": 1},
    ),
    "ViTamin": (
        VisionTransformer,
        {
            "global_pool": "avg",
            "class_token": False,
            "mlp_layer": GeGluMlp,
            "embed_layer": partial(HybridEmbed, backbone=STAGES, proj=False),
            "patch_size": 1,
        },
    ),
    "mean of patches": (VisionTransformer, {"global_pool": "avg", "class_token": False, "init_values": 0.5}),
    "registers": (VisionTransformer, {"global_pool": "token", "reg_tokens": 2, "qk_norm": True}),
}
"""By family: the trunk and what sets it apart. All but the last two are those of models of open_clip."""


class SmallTower(TimmModel):  # type: ignore[misc]
    def __init__(self, trunk: nn.Module) -> None:
        nn.Module.__init__(self)
        self.image_size = (SIZE, SIZE)
        self.image_mean, self.image_std = (0.5, 0.45, 0.4), (0.5, 0.25, 0.3)
        self.trunk, self.head = trunk, nn.Sequential()


def small_model(family: str, depth: int = 2, seed: int = 0, **changes: Any) -> Any:
    """A model of open_clip with towers apart, as they come with timm: 49 patches a frame, vectors of 32 numbers.

    `changes`: arguments of the trunk that are not those of the family."""
    torch.manual_seed(seed)
    kind, options = TRUNKS[family]
    options = {**options, **changes}
    vision = {"image_size": 16, "patch_size": 16, "width": 8, "layers": 1, "head_width": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    model = open_clip.CustomTextCLIP(DIM, vision, text)
    model.visual = SmallTower(kind(**{**SHAPE, "depth": depth, "num_classes": DIM, **options}))
    enliven(model.visual)
    return model.eval()


@torch.no_grad()
def enliven(module: nn.Module) -> None:
    """Fills parameters so that each changes the result. As timm makes them, biases and the queries of poolings are
    zero and heads nearly so, and much that is wrong would pass."""
    for name, parameter in module.named_parameters():
        if parameter.ndim in (2, 4):
            parameter.normal_(std=1.4 * parameter[0].numel() ** -0.5)
        elif parameter.ndim == 3:  # positions, class tokens, queries
            parameter.normal_(std=1.0)
        elif name.endswith("bias"):
            parameter.normal_(std=0.1)
        else:
            parameter.normal_(mean=1.0, std=0.2)
