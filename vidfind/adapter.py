"""What fine-tuning changes: LoRA on the attention of both towers, and TempMe's temporal positions.

Attach, read, write, import. An adapter is a dict of tensors by name:

    visual.transformer.resblocks.{i}.attn.lora_a        (r, C)       transformer.resblocks.{i}... for the text tower
    visual.transformer.resblocks.{i}.attn.lora_b        (3 C, r)
    visual.transformer.resblocks.{i}.temporal_position  (F, C)

On disk: safetensors, with what it was made for in the header.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vidfind.errors import ModelUnavailable

DEFAULT_RANK = 8
POSITION = re.compile(r"visual\.transformer\.resblocks\.(\d+)\.temporal_position")


@dataclass(frozen=True)
class Adapter:
    """Trained tensors by name, and what they were trained for (base model, encoder, frames)."""

    tensors: Mapping[str, Tensor]
    info: Mapping[str, str] = field(default_factory=dict)

    def positions(self) -> dict[int, Tensor]:
        """Temporal positions, block number to (F, C)."""
        found = ((POSITION.fullmatch(name), tensor) for name, tensor in self.tensors.items())
        return {int(match[1]): tensor for match, tensor in found if match}


class LoRA(nn.Module):
    """A low-rank term on a weight: W + B A (Hu et al., 2021; without a scaling factor, as TempMe trains it)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.a = nn.Parameter(weight.new_empty(rank, columns))  # (r, C)
        self.b = nn.Parameter(weight.new_zeros(rows, rank))  # (3 C, r)
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.b @ self.a


def attention_blocks(model: Any) -> Iterator[tuple[str, nn.MultiheadAttention]]:
    """The attention of every block of both towers, by name."""
    for prefix, tower in (("visual.", model.visual), ("", model)):
        for i, block in enumerate(tower.transformer.resblocks):
            yield f"{prefix}transformer.resblocks.{i}.attn", block.attn


def attach_lora(model: Any, rank: int = DEFAULT_RANK) -> dict[str, nn.Parameter]:
    """Add a fresh LoRA to the query-key-value projection of every block of both towers; returns its parameters by name.

    The model's output does not change, as B is zero at the start.
    """
    parameters: dict[str, nn.Parameter] = {}
    for name, attn in attention_blocks(model):
        lora = LoRA(attn.in_proj_weight, rank)
        parametrize.register_parametrization(attn, "in_proj_weight", lora)
        parameters |= {f"{name}.lora_a": lora.a, f"{name}.lora_b": lora.b}
    return parameters


def fold_lora(model: Any, adapter: Adapter) -> None:
    """Add the adapter's B A to the model's own weights, in place: at inference it costs nothing."""
    for name, attn in attention_blocks(model):
        if f"{name}.lora_a" in adapter.tensors:
            a, b = (adapter.tensors[f"{name}.lora_{x}"].to(attn.in_proj_weight) for x in "ab")
            with torch.no_grad():
                attn.in_proj_weight.add_(b @ a)


def from_tempme(state: Mapping[str, Tensor]) -> Adapter:
    """The adapter in a state dict with the names of the public TempMe code; other entries are left out."""
    tensors = {}
    for name, tensor in state.items():
        name = name.removeprefix("clip.")
        if name.endswith("TVPt_Video_Positional_embedding"):  # (1, F, 1, C)
            name = name.replace("TVPt_Video_Positional_embedding", "temporal_position")
            tensors[name] = tensor.reshape(tensor.shape[1], tensor.shape[-1])
        elif "TVPt_LoRA_" in name:
            tensors[name.replace("TVPt_LoRA_", "lora_")] = tensor
    return Adapter(tensors)


def read_adapter(path: Path) -> Adapter:
    """Raises ModelUnavailable when there is no such file or it is not an adapter."""
    try:
        with safe_open(path, framework="pt") as file:
            return Adapter({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})  # noqa: SIM118, not a dict
    except (OSError, SafetensorError) as error:
        raise ModelUnavailable(f"{path} cannot be read as an adapter: {error}.") from error


def write_adapter(path: Path, adapter: Adapter) -> None:
    """Write as safetensors; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in adapter.tensors.items()}
    save_file(tensors, path, metadata=dict(adapter.info))
