"""The image tower of CLIP as modules of PyTorch, by open_clip's names: a vision transformer with a class token.

Only what towers/clip.py reads of a tower; it has no forward pass of its own. Importing open_clip for it would take
a second. Knows nothing of files.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """The activation of OpenAI's own models."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """The parts of a transformer block."""

    def __init__(self, width: int, heads: int, quick_gelu: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads)
        self.ls_1, self.ls_2 = nn.Identity(), nn.Identity()
        gelu = QuickGELU() if quick_gelu else nn.GELU()
        layers = [("c_fc", nn.Linear(width, 4 * width)), ("gelu", gelu), ("c_proj", nn.Linear(4 * width, width))]
        self.mlp = nn.Sequential(OrderedDict(layers))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, quick_gelu: bool) -> None:
        super().__init__()
        self.width = width
        self.resblocks = nn.ModuleList([Block(width, heads, quick_gelu) for _ in range(layers)])


class ImageTower(nn.Module):
    """The parts of an image tower. Its arguments are named as in open_clip's configuration."""

    attn_pool, pool_type = None, "tok"
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]

    def __init__(
        self,
        embed_dim: int,
        quick_gelu: bool,
        layers: int = 12,
        width: int = 768,
        head_width: int = 64,
        patch_size: int = 16,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        grid = image_size // patch_size
        self.image_size, self.grid_size, self.output_dim = (image_size, image_size), (grid, grid), embed_dim
        self.patch_size = (patch_size, patch_size)
        self.conv1 = nn.Conv2d(3, width, patch_size, stride=patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(grid**2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, width // head_width, quick_gelu)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))
