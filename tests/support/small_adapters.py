"""Adapters of the tiny model with random numbers in them: what training would save, made in milliseconds."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch

from vidfind.models.adapter_file import Adapter, AdapterInfo, write_adapter
from vidfind.models.catalog import TINY
from vidfind.models.load import load_encoder
from vidfind.models.lora import attach_lora


def save_adapter(path: Path, kind: str = "lora", seed: int = 0, scale: float = 0.3, **changes: Any) -> AdapterInfo:
    """Writes an adapter called like its file. `lora` changes videos and queries, `text` queries alone; `frozen` is of
    tfvl."""
    tensors, info = untrained()
    torch.manual_seed(seed)
    if kind == "frozen":
        tensors = load_encoder(TINY, encoder="mean", device="cpu").with_encoder("tfvl").parameters
        changes = {"encoder": "tfvl", "rank": 0, **changes}
    trained = {name: torch.randn_like(tensor) * scale for name, tensor in tensors.items()}
    if kind == "text":
        trained = {name: tensor for name, tensor in trained.items() if not name.startswith("visual.")}
    info = dataclasses.replace(info, name=path.stem, kind=kind, **changes)
    write_adapter(path, Adapter(trained, info))
    return info


@functools.cache
def untrained() -> tuple[dict[str, torch.Tensor], AdapterInfo]:
    encoder = load_encoder(TINY, device="cpu")
    digest = encoder.identity.weights_digest
    lora = attach_lora(encoder.model, rank=4)
    info = AdapterInfo("", TINY, "builtin", digest, "tempme", 12, "", 4, created="2026-02-03T04:05:06+00:00")
    return {name: parameter.detach().clone() for name, parameter in lora.items()}, info
