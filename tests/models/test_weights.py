"""Files of weights: what is wrong with them is told before they are loaded, and nothing in them is ever run."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vidfind.errors import ModelUnavailable
from vidfind.models.catalog import TINY_WEIGHTS
from vidfind.models.load import load_clip
from vidfind.models.weights import digest_problem, weights_problem

TENSORS = {"weight": torch.ones(300)}


def save_torchscript(file: Path) -> None:
    """What tells a TorchScript archive from a checkpoint; making a real one warns that TorchScript is deprecated."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"archive/{name}", b"")


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def cut_safetensors(file: Path) -> None:
    save_file(TENSORS, file)
    halve(file)


def cut_checkpoint(file: Path) -> None:
    torch.save(TENSORS, file)
    halve(file)


def other_archive(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "words")


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("a.safetensors", lambda file: file.touch(), "is empty"),
        ("a.pt", lambda file: file.write_bytes(bytes(500)), "is filled with zeros"),
        ("a.safetensors", lambda file: file.write_text("<!DOCTYPE html><html>Sign in</html>"), "is a web page"),
        ("a.pt", lambda file: file.write_text("\n<html><body>404</body></html>"), "is a web page"),
        ("a.bin", lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12"), "Git LFS"),
        ("a.safetensors", cut_safetensors, "is cut short or damaged"),
        ("a.safetensors", lambda file: file.write_bytes(b"\xff" * 7 + b"\x7f{}"), "is cut short or damaged"),
        ("a.safetensors", lambda file: save_file({}, file), "holds no tensors"),
        ("a.safetensors", lambda file: torch.save(TENSORS, file), r"a name that ends with \.pt"),
        ("a.pt", lambda file: save_file(TENSORS, file), r"a name that ends with \.safetensors"),
        ("a.pt", cut_checkpoint, "is cut short or damaged"),
        ("a.pt", other_archive, "something other than weights"),
        ("a.pt", save_torchscript, "TorchScript.*--pretrained openai"),
    ],
    ids=[
        "empty",
        "zeros",
        "web page",
        "web page as a checkpoint",
        "pointer",
        "cut safetensors",
        "huge header",
        "no tensors",
        "checkpoint called safetensors",
        "safetensors called checkpoint",
        "cut checkpoint",
        "other archive",
        "torchscript",
    ],
)
def test_what_can_be_no_weights_is_told_by_a_look(
    tmp_path: Path, name: str, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / name)
    assert re.search(says, weights_problem(tmp_path / name))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "old.pt"])
def test_whole_files_have_no_problem(tmp_path: Path, name: str) -> None:
    if name == "a.safetensors":
        save_file(TENSORS, tmp_path / name)
    else:
        torch.save(TENSORS, tmp_path / name, _use_new_zipfile_serialization=name == "a.pt")
    assert weights_problem(tmp_path / name) == ""


class Unsafe:
    """Makes a file when it is unpickled by a program that does not look."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("kind", ["archive", "legacy", "pickle"])
@pytest.mark.parametrize("nested", [True, False], ids=["state_dict", "bare"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, kind: str, nested: bool) -> None:
    made = tmp_path / "made"
    content: object = {"state_dict": Unsafe(made)} if nested else Unsafe(made)
    file = tmp_path / "unsafe.pt"
    if kind == "pickle":
        file.write_bytes(pickle.dumps(content, 2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind == "archive")
    with pytest.raises(ModelUnavailable, match=r"unsafe\.pt is refused: it holds more than tensors"):
        load_clip("tiny", "builtin", file)
    assert not made.exists()
    pickle.loads(pickle.dumps(content))  # as a program would that does not look
    assert made.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "it holds something else"),
        ({}, "it holds something else"),
        ({"weight": "words", 3: 4}, "it holds something else"),
        (TENSORS, r"Missing key\(s\) in state_dict: .* and more"),
    ],
    ids=["list", "nothing", "no tensors", "others"],
)
def test_a_checkpoint_of_something_else_is_named(tmp_path: Path, content: object, says: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ModelUnavailable, match=rf"other\.pt does not load as weights of tiny: {says}\. .*--model"):
        load_clip("tiny", "builtin", tmp_path / "other.pt")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    shutil.copyfile(TINY_WEIGHTS, damaged)
    load_clip("tiny", "builtin", damaged)
    with open(damaged, "r+b") as file:
        file.seek(-4000, os.SEEK_END)
        file.write(b"\xff" * 4)
    assert weights_problem(damaged) == ""
    with pytest.raises(ModelUnavailable, match=r"damaged\.safetensors is damaged: some of its numbers"):
        load_clip("tiny", "builtin", damaged)


def test_a_file_called_like_a_tag_is_still_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(TENSORS, "openai")
    with pytest.raises(ModelUnavailable, match=r"^openai does not load as weights of ViT-B-32: Missing"):
        load_clip("ViT-B-32", "openai", Path("openai"))


def test_the_content_is_compared_with_the_digest_that_the_cache_has_named_it_by(tmp_path: Path) -> None:
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    blob, link = tmp_path / digest, tmp_path / "link"
    blob.write_bytes(content)
    link.symlink_to(blob)
    assert digest_problem(link) == digest_problem(blob, digest) == digest_problem(blob) == ""
    blob.write_bytes(b"Weights")
    assert digest_problem(link) == digest_problem(blob, digest) != ""
    assert digest_problem(blob, "0123456789abcdef") == ""  # of a small file, the hub gives no SHA-256


def test_weights_read_one_by_one_are_those_that_open_clip_loads(tmp_path: Path) -> None:
    legacy = tmp_path / "tiny.pt"  # which open_clip reads
    torch.save(load_file(TINY_WEIGHTS), legacy)
    for dtype in (torch.float32, torch.bfloat16):
        ours, theirs = load_clip("tiny", "builtin", TINY_WEIGHTS, dtype), load_clip("tiny", "builtin", legacy)
        assert ours.visual.image_mean == theirs.visual.image_mean
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], tensor.to(dtype)), name
        assert torch.equal(ours.attn_mask, theirs.attn_mask.to(dtype))
        assert [name for name, parameter in ours.named_parameters() if not parameter.requires_grad] == []
