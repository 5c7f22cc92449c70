"""Adapters: what is trained, what is left alone, what comes back from a file."""

from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from golden_clip import golden_adapter, golden_model, load_golden

from vidfind.adapter import Adapter, AdapterInfo, read_adapter, read_info, video_digest, write_adapter
from vidfind.errors import ModelUnavailable
from vidfind.lora import attach_lora
from vidfind.tokens import tempme_position_shapes


def test_trained_parameters_of_vit_b_32_are_as_many_as_in_the_paper() -> None:
    with torch.device("meta"):
        config = open_clip.get_model_config("ViT-B-32")
        model = open_clip.CLIP(**config)
        lora = attach_lora(model)
    positions = sum(f * 768 for f in tempme_position_shapes(depth=12, num_frames=12).values())
    assert sum(p.numel() for p in lora.values()) + positions == 507_648


def test_a_fresh_lora_changes_nothing() -> None:
    model = golden_model(load_golden("tempme_tiny_b32_8f"))
    ids = torch.tensor(load_golden("tempme_tiny_b32_8f")["text_ids"])
    ids = torch.nn.functional.pad(ids, (0, 77 - ids.shape[1]))
    with torch.inference_mode():
        before = model.encode_text(ids)
    attach_lora(model)
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
    assert {block: tuple(p.shape) for block, p in back.positions().items()} == {8: (12, 64), 9: (6, 64), 10: (3, 64)}


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_a_file_that_is_no_adapter_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "wrong.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"wrong\.safetensors"):
        read_adapter(path)
