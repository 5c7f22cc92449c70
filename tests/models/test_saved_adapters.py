"""Adapters by name: what is listed, removed, exported and imported, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from tests.support.golden_clip import Golden, golden_clips, golden_encoder, golden_model, golden_part, load_golden
from tests.support.small_adapters import save_adapter
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput, ModelUnavailable
from vidfind.models.adapter_file import read_adapter, read_info
from vidfind.models.choice import default_adapter
from vidfind.models.default_adapters import set_default_adapter
from vidfind.models.load import load_encoder
from vidfind.models.saved_adapters import export_adapter, import_adapter, list_adapters, remove_adapter, saved_adapter
from vidfind.system.paths import adapter_path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Adapters are kept in a place of their own: here, not in the user's."""
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def names() -> list[str]:
    return [adapter.name for adapter in list_adapters()]


def test_adapters_are_listed_by_name_and_a_broken_file_among_them() -> None:
    assert list_adapters() == []
    for name in ("words", "home"):
        save_adapter(adapter_path(name))
    adapter_path("broken").write_bytes(b"no adapter")
    adapter_path("x").with_name("my adapter.safetensors").write_bytes(adapter_path("home").read_bytes())
    broken, home, spaced, words = list_adapters()
    assert (home.name, home.info, home.size_bytes) == ("home", read_info(home.path), home.path.stat().st_size)
    assert (words.name, words.problem) == ("words", "")
    assert broken.info is None and str(broken.path) in broken.problem
    assert spaced.info is None and "'my adapter' cannot name an adapter" in spaced.problem


def test_listing_adapters_loads_neither_torch_nor_a_model(home: Path) -> None:
    save_adapter(adapter_path("home"))
    program = (
        "import sys; from vidfind.models.saved_adapters import list_adapters; print(list_adapters()[0].name, "
        "sys.modules.keys() & {'torch', 'open_clip', 'lancedb'})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("home set()\n", "")


@pytest.mark.parametrize("name", ["none", "None", "../home", "", "a b"])
def test_some_names_are_no_names(name: str) -> None:
    with pytest.raises(BadInput, match="cannot name an adapter"):
        adapter_path(name)


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    for name in ("words", "home"):
        save_adapter(adapter_path(name))
    for ask in (saved_adapter, remove_adapter, lambda name: export_adapter(name, Path("x")), set_default_adapter):
        with pytest.raises(ModelUnavailable, match=r"no adapter 'hme' \(there is: home, words\)"):
            ask("hme")


def test_a_removed_adapter_is_the_default_no_more() -> None:
    for name in ("words", "home"):
        save_adapter(adapter_path(name))
    set_default_adapter("words")
    set_default_adapter("home")
    assert default_adapter(EncoderChoice("tiny")) == default_adapter(EncoderChoice("tiny", "builtin")) == "home"
    for without in (EncoderChoice(), EncoderChoice("ViT-B-99"), EncoderChoice("tiny", "other")):
        assert default_adapter(without) is None
    assert [adapter.is_default for adapter in list_adapters()] == [True, False]
    remove_adapter("home")
    assert names() == ["words"]
    assert default_adapter(EncoderChoice("tiny")) is None


def test_an_exported_adapter_comes_back_the_same_under_its_own_or_another_name(tmp_path: Path) -> None:
    save_adapter(adapter_path("home"))
    content = adapter_path("home").read_bytes()
    assert export_adapter("home", tmp_path) == tmp_path / "home.safetensors"
    file = export_adapter("home", tmp_path / "copy.safetensors")
    remove_adapter("home")
    assert import_adapter(file).name == "home"
    assert adapter_path("home").read_bytes() == content
    saved = import_adapter(file, name="garden")
    assert saved.info == dataclasses.replace(read_info(file), name="garden")
    assert torch.equal(
        *(next(iter(sorted(read_adapter(adapter_path(name)).tensors.items())))[1] for name in ("home", "garden"))
    )
    assert names() == ["garden", "home"]


@pytest.mark.parametrize("name", ["mean", "tfvl"])
def test_an_adapter_cannot_be_called_like_an_encoder(tmp_path: Path, name: str) -> None:
    save_adapter(adapter_path("home"))
    with pytest.raises(BadInput, match=f"^{name} is the name of an encoder"):
        import_adapter(export_adapter("home", tmp_path), name=name)


def test_nothing_that_is_there_is_replaced_unless_forced(tmp_path: Path) -> None:
    save_adapter(adapter_path("home"), seed=1)
    file = export_adapter("home", tmp_path)
    with pytest.raises(BadInput, match="add --force"):
        export_adapter("home", tmp_path)
    save_adapter(adapter_path("home"), seed=2)
    with pytest.raises(BadInput, match=r"already is an adapter 'home'.*--name NAME.*--force"):
        import_adapter(file)
    import_adapter(file, force=True)
    assert adapter_path("home").read_bytes() == file.read_bytes()
    save_adapter(adapter_path("home"), seed=2)
    export_adapter("home", file, force=True)
    assert adapter_path("home").read_bytes() == file.read_bytes()


def test_what_an_own_adapter_was_trained_on_cannot_be_said_otherwise(tmp_path: Path) -> None:
    save_adapter(tmp_path / "home.safetensors")
    with pytest.raises(BadInput, match="tiny / builtin: leave out --model"):
        import_adapter(tmp_path / "home.safetensors", model="ViT-B-32")


# Checkpoints of the public TempMe code


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_golden("tempme_tiny_b32")


@pytest.fixture(autouse=True)
def small_vit_b_32(golden: Golden) -> Iterator[None]:
    """open_clip's ViT-B-32 has the shape of the golden files' model here."""
    model = golden_model(golden)
    weights = golden_part(golden, "weight")
    before = open_clip.factory._MODEL_CONFIGS["ViT-B-32"]
    vision = {**before["vision_cfg"], "width": model.visual.transformer.width, "head_width": 64}
    width = weights["token_embedding.weight"].shape[1]
    text = {**before["text_cfg"], "vocab_size": len(weights["token_embedding.weight"]), "width": width}
    text |= {"heads": width // 64, "layers": len(model.transformer.resblocks)}
    small = {"embed_dim": model.visual.output_dim, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}
    open_clip.factory._MODEL_CONFIGS["ViT-B-32"] = small
    yield
    open_clip.factory._MODEL_CONFIGS["ViT-B-32"] = before


@pytest.fixture
def state(golden: Golden) -> dict[str, torch.Tensor]:
    """What the public code saves: the tensors of the whole model, those it trains among them."""
    weights = {f"clip.{name}": tensor for name, tensor in golden_part(golden, "weight").items()}
    return weights | golden_part(golden, "adapter")


@pytest.mark.parametrize("form", ["plain", "nested", "parallel", "legacy", "safetensors"])
def test_a_checkpoint_of_tempme_becomes_an_adapter_with_the_authors_features(
    golden: Golden, state: dict[str, torch.Tensor], tmp_path: Path, form: str
) -> None:
    file = tmp_path / "pytorch_model.bin.4"
    if form == "nested":
        torch.save({"epoch": 4, "state_dict": state}, file)
    elif form == "parallel":
        torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, file)
    elif form == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=form == "plain")
    weights = tmp_path / "base.safetensors"
    save_file(golden_part(golden, "weight"), weights)
    info = import_adapter(file, pretrained=str(weights)).info
    assert info is not None
    assert (info.name, info.model, info.encoder, info.num_frames) == ("pytorch_model", "ViT-B-32", "tempme", 12)
    assert (info.kind, info.rank, info.weights_digest) == ("lora", 8, "")

    encoder = load_encoder(adapter="pytorch_model", device="cpu", dtype="float32")
    clips = golden_clips(golden)
    torch.testing.assert_close(
        encoder.encode_video(clips), golden_encoder(golden).encode_video(clips), atol=1e-5, rtol=1e-5
    )


def test_a_checkpoint_is_for_openai_weights_unless_said_otherwise(
    golden: Golden, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "tempme.pt")
    info = import_adapter(tmp_path / "tempme.pt", name="theirs").info
    assert info and info.pretrained == "openai"
    weights = tmp_path / "base.safetensors"
    save_file(golden_part(golden, "weight"), weights)
    with pytest.raises(ModelUnavailable, match=r"trained on other weights .* on ViT-B-32 / openai"):
        load_encoder("ViT-B-32", str(weights), adapter="theirs", device="cpu")


def test_a_checkpoint_that_does_not_fit_its_model_is_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    file = tmp_path / "tempme.pt"
    torch.save(state, file)
    for model in ("ViT-B-16", "ViT-L-14"):  # too wide, and too deep as well
        with pytest.raises(ModelUnavailable, match=f"{model}"):
            import_adapter(file, model=model)
    for model in ("RN50", "ViT-B-99"):
        with pytest.raises(ModelUnavailable, match=model):
            import_adapter(file, model=model)
    assert names() == []


@pytest.mark.parametrize("missing", ["LoRA_b", "Positional", "Positional_of_one_block"])
def test_a_checkpoint_that_is_not_whole_is_refused(
    state: dict[str, torch.Tensor], tmp_path: Path, missing: str
) -> None:
    gone = [name for name in state if missing.removesuffix("_of_one_block") in name]
    for name in gone[:1] if missing.endswith("block") else gone:
        del state[name]
    torch.save(state, tmp_path / "tempme.pt")
    with pytest.raises(ModelUnavailable, match="not a whole TempMe adapter"):
        import_adapter(tmp_path / "tempme.pt")


class Unsafe:
    """Runs a command when it is unpickled by a program that does not look."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file: torch.save({"weight": Unsafe()}, file), "is refused: it holds more than tensors"),
        (lambda file: file.write_bytes(pickle.dumps({"weight": Unsafe()}, 2)), "is refused"),
        (lambda file: file.write_bytes(pickle.dumps({"weight": Unsafe()})), "is not an exported adapter"),
        (
            lambda file: torch.save({"visual.conv1.weight": torch.zeros(1)}, file),
            r"\(visual.conv1.weight\) none has a name",
        ),
        (lambda file: torch.save([1, 2], file), "it holds a list"),
        (lambda file: file.write_bytes(b""), "is not an exported adapter"),
        (lambda file: file.write_text("words\n" * 100), "is not an exported adapter"),
        (lambda file: file.write_bytes(b"\x10\0\0\0\0\0\0\0{" + b"x" * 99), "cannot be read as an adapter"),
        (lambda file: None, "There is no file"),
    ],
    ids=[
        "unsafe",
        "unsafe pickle",
        "unreadable pickle",
        "other tensors",
        "a list",
        "empty",
        "text",
        "broken",
        "missing",
    ],
)
def test_a_file_that_is_no_adapter_is_refused_and_named(
    tmp_path: Path, make: Callable[[Path], object], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "strange.pt"
    make(file)
    with pytest.raises((ModelUnavailable, BadInput), match=says) as raised:
        import_adapter(file)
    assert str(file) in str(raised.value)
    assert capsys.readouterr().out == ""
    assert names() == []


def test_the_list_of_defaults_is_plain_json(home: Path) -> None:
    save_adapter(adapter_path("home"))
    set_default_adapter("home")
    assert json.loads((home / "adapters" / "default.json").read_text()) == {"tiny / builtin": "home"}
