"""Adapters: what is trained, what is left alone, what comes back from a file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.support.golden_clip import golden_adapter, golden_model, load_golden
from tests.support.small_adapters import save_adapter
from vidfind.encoders.tempme import position_name, tempme_position_shapes
from vidfind.errors import ModelUnavailable
from vidfind.models.adapter_file import (
    HEADER,
    Adapter,
    AdapterInfo,
    read_adapter,
    read_info,
    video_digest,
    write_adapter,
)
from vidfind.models.load import load_encoder
from vidfind.models.lora import attach_lora
from vidfind.training.recipe import Recipe


def test_trained_parameters_of_vit_b_32_are_as_many_as_in_the_paper() -> None:
    with torch.device("meta"):
        config = open_clip.get_model_config("ViT-B-32")
        model = open_clip.CLIP(**config)
        lora = attach_lora(model, Recipe.rank)
    positions = sum(f * 768 for f in tempme_position_shapes(depth=12, num_frames=12).values())
    assert sum(p.numel() for p in lora.values()) + positions == 507_648


def test_a_fresh_lora_changes_nothing() -> None:
    model = golden_model(load_golden("tempme_tiny_b32_8f"))
    ids = torch.tensor(load_golden("tempme_tiny_b32_8f")["text_ids"])
    ids = torch.nn.functional.pad(ids, (0, 77 - ids.shape[1]))
    with torch.inference_mode():
        before = model.encode_text(ids)
    attach_lora(model, Recipe.rank)
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_text(ids), before)


def test_an_adapter_comes_back_from_its_file(tmp_path: Path) -> None:
    info = AdapterInfo("home", "ViT-B-32", "openai", "digest", "tempme", 12, "lora", 8, metrics={"pairs": 4})
    adapter = Adapter(golden_adapter(load_golden("tempme_tiny_b32")).tensors, info)
    write_adapter(tmp_path / "made" / "a.safetensors", adapter)
    back = read_adapter(tmp_path / "made" / "a.safetensors")
    assert (
        back.info
        == replace(info, video_digest=video_digest(adapter.tensors))
        == read_info(tmp_path / "made" / "a.safetensors")
    )
    assert set(back.tensors) == set(adapter.tensors)
    assert all(torch.equal(back.tensors[name], adapter.tensors[name]) for name in adapter.tensors)
    shapes = {name: tuple(position.shape) for name, position in back.parameters().items()}
    assert shapes == {position_name(8): (12, 64), position_name(9): (6, 64), position_name(10): (3, 64)}


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_a_file_that_is_no_adapter_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "wrong.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"wrong\.safetensors"):
        read_adapter(path)


def change_header(content: bytes, **changes: object) -> bytes:
    """The file of an adapter with other values in its AdapterInfo."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"][HEADER] = json.dumps({**json.loads(header["__metadata__"][HEADER]), **changes})
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def in_place_of_data(content: bytes, byte: bytes) -> bytes:
    start = 8 + int.from_bytes(content[:8], "little")
    return content[:start] + byte * (len(content) - start)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda content: content[: len(content) // 2], "not fully covered"),
        (lambda content: content + b"more", "not fully covered"),
        (lambda content: bytes(len(content)), "header"),
        (lambda content: (2**63).to_bytes(8, "little") + content[8:], "header too large"),
        (lambda content: change_header(content, shoe_size=43), "shoe_size, so a newer vidfind made it"),
        (lambda content: change_header(content, rank="four"), "its rank is 'four'"),
        (lambda content: change_header(content, metrics=[1]), r"its metrics is \[1\]"),
        (lambda content: change_header(content, num_frames=0), "its num_frames is 0"),
        (lambda content: in_place_of_data(content, b"\xff"), "is not a finite number"),
        (lambda content: in_place_of_data(content, b"\0"), "not those that were saved"),
    ],
    ids=["short", "long", "zeros", "huge header", "newer", "word", "list", "no frames", "nan", "zeroed numbers"],
)
def test_a_damaged_adapter_is_named_with_what_is_wrong(
    tmp_path: Path, spoil: Callable[[bytes], bytes], says: str
) -> None:
    path = tmp_path / "home.safetensors"
    save_adapter(path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ModelUnavailable, match=rf"home\.safetensors cannot be read as an adapter: .*{says}.*doctor"):
        read_adapter(path)


@pytest.mark.parametrize("header", ["[1]", "3", "{}", "[" * 100_000, "not json"])
def test_a_header_of_another_kind_is_told(tmp_path: Path, header: str) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "home.safetensors", metadata={HEADER: header})
    for read in (read_info, read_adapter):
        with pytest.raises(ModelUnavailable, match=r"home\.safetensors cannot be read as an adapter"):
            read(tmp_path / "home.safetensors")


def test_tensors_that_no_training_saves_are_told(tmp_path: Path) -> None:
    a, b = torch.zeros(4, 8), torch.zeros(24, 4)
    block = "transformer.resblocks.0.attn"
    for tensors, says in [
        ({f"{block}.lora_a": a}, "no counterpart"),
        ({f"{block}.lora_a": a, f"{block}.lora_b": torch.zeros(24, 5)}, "no counterpart"),
        ({f"{block}.lora_a": a[0], f"{block}.lora_b": b}, "1 dimensions, not 2"),
        ({"visual.transformer.resblocks.0.temporal_position": torch.zeros(3)}, "1 dimensions, not 2"),
        ({"proj": torch.zeros(3, dtype=torch.int64)}, "not a finite number"),
    ]:
        write_adapter(tmp_path / "a.safetensors", Adapter(tensors))
        with pytest.raises(ModelUnavailable, match=says):
            read_adapter(tmp_path / "a.safetensors")


def test_an_adapter_for_other_shapes_or_an_unknown_encoder_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "home.safetensors"
    save_adapter(path, encoder="telepathy")
    with pytest.raises(ModelUnavailable, match="'home' is for the encoder 'telepathy'"):
        load_encoder(adapter=path, device="cpu")
    info = save_adapter(path)
    write_adapter(path, Adapter({"logit_scale": torch.zeros(3)}, info))
    with pytest.raises(ModelUnavailable, match=r"The adapter 'home' does not fit the model: logit_scale \(3,\)"):
        load_encoder(adapter=path, device="cpu")


@pytest.mark.parametrize(
    ("encoder", "frames", "first", "other"),
    [("tempme", 12, "clip", "frame"), ("tempme", 16, "parts", "clip"), ("mean", 16, "clip", "frame")],
)
def test_a_header_names_its_reading_only_if_it_is_not_the_first_that_there_was(
    tmp_path: Path, encoder: str, frames: int, first: str, other: str
) -> None:
    for reading in (first, other):
        file = tmp_path / f"{reading}.safetensors"
        save_adapter(file, "text", encoder=encoder, num_frames=frames, reading=reading)
        with safe_open(file, framework="np") as opened:
            assert ("reading" in json.loads(opened.metadata()[HEADER])) == (reading == other)
        assert read_info(file).reading == reading
    save_adapter(tmp_path / "home.safetensors", reading="aloud")
    with pytest.raises(ModelUnavailable, match="its reading is 'aloud'"):
        read_info(tmp_path / "home.safetensors")
