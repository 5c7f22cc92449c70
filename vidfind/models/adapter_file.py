"""Reads and writes adapter files: trained tensors by name, and a header that says what they were trained for.

    visual.transformer.resblocks.{i}.attn.lora_a        (r, C)       transformer.resblocks.{i}... for the text tower
    visual.transformer.resblocks.{i}.attn.lora_b        (3 C, r)
    visual.transformer.resblocks.{i}.temporal_position  (F, C)       tempme
    visual.transformer.resblocks.{i}.prompts            (4, C)       tfvl
    visual.word_projection                              (C, W)       tfvl: W is the width of the text tower
    any weight of the model, under its own name                      full fine-tuning only
    token_embedding.rows                                (K, W)       rows of learned words, in the order of the header

On disk: safetensors, with AdapterInfo as JSON in the header. Knows nothing of models: lora.py applies an adapter.
torch is imported where tensors are touched, so that adapters are listed in no time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from vidfind import __version__
from vidfind.commands import doctor_command
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, READINGS, EncoderIdentity, first_reading
from vidfind.errors import ModelUnavailable
from vidfind.system.paths import adapter_path
from vidfind.system.storage import atomic_write, storage_errors
from vidfind.text.tokenizer import DIRECTIONS, LEARNED, Learned, learned_ids

if TYPE_CHECKING:
    from torch import Tensor

PARAMETER = re.compile(r"visual\.(transformer\.resblocks\.\d+\.(temporal_position|prompts)|word_projection)")
"""Names of tensors that belong to the encoder, not to the model."""
LORA = re.compile(r"\.lora_[ab]$")
HEADER = "vidfind"
FIELD_TYPES: Mapping[str, type] = {"str": str, "int": int, "Mapping[str, Any]": Mapping}
UNREADABLE = (OSError, SafetensorError, ValueError, TypeError, AttributeError, RuntimeError)
"""Errors of reading a broken file. RecursionError, from deeply nested JSON, is a RuntimeError."""


@dataclass(frozen=True)
class AdapterInfo:
    """The header of an adapter file: what it was trained for, on which pairs, and its recall."""

    name: str
    model: str
    pretrained: str
    weights_digest: str
    """Digest of the base weights; empty if unknown, as in checkpoints of the public TempMe code."""
    encoder: str
    num_frames: int
    kind: str
    """`lora`, `text` (LoRA on the text tower alone: video vectors stay as they are), `full` (whole weights) or `frozen`
    (nothing of the model: prompts and a projection beside it)."""
    rank: int
    """Rank of the LoRA; 0 without LoRA."""
    pairs_digest: str = ""
    num_pairs: int = 0
    created: str = ""
    """Date and time in UTC, ISO 8601."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """`before` and `after`: the held-out pairs as recall.Retrieval.as_dict gives them, and how many there are."""
    video_digest: str = ""
    """Digest of the tensors that change video vectors; empty if none does. `write_adapter` fills it in."""
    version: str = __version__
    words: Mapping[str, Any] = field(default_factory=dict)
    """The learned words as their owner writes them. Of each: `noun`, the known word that it started from; `tokens`, the
    number of its rows in LEARNED and DIRECTIONS; `captions`, how many of the training pairs have it; and how well the
    held-out captions with it do, if there were any: see `training.recall.WordMarks`."""
    reading: str = EncoderIdentity.reading
    """The `Reading` that it was trained in. Where it is the first that there was, the file does not name it."""

    @property
    def learned(self) -> Learned:
        """The token ids of the learned words."""
        return learned_words(self.words)


def learned_words(words: Mapping[str, Mapping[str, Any]]) -> Learned:
    """Returns the token ids of learned words, from the facts about them in a header."""
    return learned_ids({word: facts["tokens"] for word, facts in words.items()})


@dataclass(frozen=True)
class Adapter:
    """Trained tensors by name, and their header (None: part of a model, not made by a user)."""

    tensors: Mapping[str, Tensor]
    info: AdapterInfo | None = None

    def parameters(self) -> dict[str, Tensor]:
        """Returns the tensors that belong to the encoder and are not folded into the weights of the model."""
        return {name: tensor for name, tensor in self.tensors.items() if PARAMETER.fullmatch(name)}


def video_digest(tensors: Mapping[str, Tensor]) -> str:
    """Returns 32 hexadecimal digits for all tensors that change video vectors; empty if none does."""
    visual = sorted(name for name in tensors if name.startswith("visual."))
    if not visual:
        return ""
    digest = hashlib.sha256()
    for name in visual:
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def from_tempme(state: Mapping[str, Tensor]) -> Adapter:
    """Returns the adapter in a state dict with the names of the public TempMe code; ignores other entries."""
    tensors = {}
    for name, tensor in state.items():
        name = name.removeprefix("clip.")
        if name.endswith("TVPt_Video_Positional_embedding"):  # (1, F, 1, C)
            name = name.replace("TVPt_Video_Positional_embedding", "temporal_position")
            tensors[name] = tensor.reshape(tensor.shape[1], tensor.shape[-1])
        elif "TVPt_LoRA_" in name:
            tensors[name.replace("TVPt_LoRA_", "lora_")] = tensor
    return Adapter(tensors)


def read_info(path: Path) -> AdapterInfo:
    """Returns the header of an adapter file. Raises ModelUnavailable if the file is missing or no adapter."""
    try:
        with safe_open(path, framework="np") as file:
            info = _info_of(file.metadata())
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    if info is None:
        raise ModelUnavailable(f"{path} is a safetensors file, but no adapter of vidfind.")
    return info


def read_adapter(path: Path) -> Adapter:
    """Returns the adapter in a file. Raises ModelUnavailable if the file is missing, damaged, or no adapter."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
            adapter = Adapter(tensors, _info_of(file.metadata()))
        _check_tensors(tensors)
        rows = sum(map(len, adapter.info.learned.values())) if adapter.info else 0
        for name in (LEARNED, *(name for name in tensors if name == DIRECTIONS)):
            if len(tensors.get(name, ())) != rows:
                raise ValueError(f"it has {len(tensors.get(name, ()))} rows for learned words, not {rows}")
        if adapter.info and adapter.info.video_digest != video_digest(tensors):
            raise ValueError("its numbers are not those that were saved")
        return adapter
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def write_adapter(path: Path, adapter: Adapter) -> None:
    """Writes an adapter as safetensors, atomically; makes folders as needed. Raises StorageError."""
    from safetensors.torch import save_file

    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in adapter.tensors.items()}
    metadata = {}
    if adapter.info:
        info = dataclasses.replace(adapter.info, video_digest=video_digest(tensors))
        values = dataclasses.asdict(info)
        if not info.words:
            del values["words"]  # earlier versions of vidfind can read the file
        if info.reading == first_reading(info.encoder, info.num_frames):
            del values["reading"]  # nor another reading
        metadata[HEADER] = json.dumps(values)
    with atomic_write(path) as part:
        save_file(tensors, part, metadata=metadata)


def _info_of(metadata: Mapping[str, str] | None) -> AdapterInfo | None:
    text = (metadata or {}).get(HEADER)
    if not text:
        return None
    values = json.loads(text)
    fields = {field.name: field.type for field in dataclasses.fields(AdapterInfo)}
    if not isinstance(values, dict) or "name" not in values:
        raise ValueError("its header does not say what it was trained for")
    if unknown := values.keys() - fields.keys():
        raise ValueError(f"it has {', '.join(sorted(unknown))}, so a newer vidfind made it: update vidfind")
    first = first_reading(str(values.get("encoder")), values.get("num_frames", DEFAULT_NUM_FRAMES))
    info = AdapterInfo(**{"reading": first, **values})
    for name, kind in fields.items():
        if not isinstance(getattr(info, name), FIELD_TYPES[str(kind)]):
            raise ValueError(f"its {name} is {getattr(info, name)!r}")
    if info.reading not in READINGS:
        raise ValueError(f"its reading is {info.reading!r}")
    if info.num_frames < 1:
        raise ValueError(f"its num_frames is {info.num_frames}")
    for word, facts in info.words.items():
        if not isinstance(facts, dict) or not isinstance(facts.get("tokens"), int) or facts["tokens"] < 1:
            raise ValueError(f"it does not say how many tokens {word!r} has")
    return info


def _check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError for tensors that no training saves: they would fail later, or spoil vectors."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.float().sum().isfinite():
            raise ValueError(f"{name} holds what is not a finite number")
        if (LORA.search(name) or PARAMETER.fullmatch(name) or name in (LEARNED, DIRECTIONS)) and tensor.ndim != 2:
            raise ValueError(f"{name} has {tensor.ndim} dimensions, not 2")
        if LORA.search(name):
            a, b = (tensors.get(LORA.sub(f".lora_{x}", name)) for x in "ab")
            if a is None or b is None or a.shape[0] != b.shape[-1]:
                raise ValueError(f"{name} has no counterpart that fits")


def _unreadable(path: Path, error: Exception) -> ModelUnavailable:
    said = str(error).removeprefix("Error while deserializing header: ").partition("\n")[0].rstrip(".")
    reason = f"{path} cannot be read as an adapter: {said or type(error).__name__}."
    return ModelUnavailable(f"{reason} `{doctor_command()}` tells what to do.", reason)


def find_adapter(adapter: str | Path) -> Path:
    """Returns the file of the adapter of this name; returns a file unchanged.

    Raises ModelUnavailable, with the existing names, and BadInput if it cannot be a name."""
    if isinstance(adapter, Path):
        return adapter
    path = adapter_path(adapter)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in path.parent.glob("*.safetensors")))
        known = f"there is: {names}" if names else "there is none yet"
        raise ModelUnavailable(f"There is no adapter {adapter!r} ({known}).")
    return path
