"""The image tower in 8-bit integers that is kept on disk, and weights in floats that stay in their file beside it."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.support.small_adapters import save_adapter
from vidfind.encoders.encoder import Encoder
from vidfind.models.clip import ImageHalf
from vidfind.models.load import load_encoder
from vidfind.precision import trial
from vidfind.precision.integers import largest_weight
from vidfind.precision.kept import MAX_TOWERS, kept_towers, read_tower, tower_key, write_tower
from vidfind.precision.trial import CAREFUL, CLIPS, INT8

pytestmark = pytest.mark.skipif(not largest_weight(), reason="this CPU, or its PyTorch, has no products of integers")
BLOCK = "transformer.resblocks.3.mlp.c_fc.weight"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which nothing was tried before."""
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def load(adapter: Path | None = None, dtype: str = "int8") -> Encoder:
    return load_encoder("tiny", adapter=adapter or "none", device="cpu", dtype=dtype)


def even_clips(count: int) -> torch.Tensor:
    """Clips of one colour each: where nothing moves, no merge depends on the last bit."""
    colours = torch.randint(0, 256, (count, 1, 1, 1, 3), generator=torch.Generator().manual_seed(0))
    return colours.byte().expand(-1, 12, 56, 56, -1).contiguous()


def kept_by(encoder: Encoder) -> Path:
    """The file of the tower that is kept once an encoder has passed its trial."""
    assert encoder.trial
    for _ in range(CLIPS):
        encoder.trial.add(encoder.trial.stage, 1.0)
    encoder.encode_video(even_clips(1))
    [tower] = kept_towers()
    return tower.file


def is_in_memory(encoder: Encoder) -> bool:
    return not encoder.model.visual.get_parameter(BLOCK).isnan().any()


@pytest.mark.parametrize("with_adapter", [False, True], ids=["plain", "adapter"])
@pytest.mark.parametrize("stage", [INT8, CAREFUL])
def test_a_kept_tower_gives_the_very_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_adapter: bool, stage: str
) -> None:
    monkeypatch.setattr(trial, "STAGES", (stage, trial.FLOAT32))
    adapter = tmp_path / "lora.safetensors" if with_adapter else None
    if adapter:
        save_adapter(adapter)
    first, clips = load(adapter), even_clips(3)
    kept_by(first)
    second = load(adapter)
    assert not is_in_memory(second)
    assert torch.equal(second.encode_video(clips), first.encode_video(clips))
    assert not is_in_memory(second) and not is_in_memory(first)  # the first has dropped them
    exact = load(adapter, "float32").encode_video(clips)
    assert not torch.equal(second.encode_video(clips), exact)
    torch.testing.assert_close(second.copy().encode_video(clips), exact)
    assert is_in_memory(load(adapter, "float32"))


@pytest.mark.parametrize(
    "use",
    [
        lambda encoder, clips: encoder.frame_features(clips),
        lambda encoder, clips: encoder.video_features(clips),
        lambda encoder, clips: encoder.encode_text(["a red circle"]),
        lambda encoder, clips: encoder.copy().encode_video(clips),
        lambda encoder, clips: encoder.with_encoder("mean").video_features(clips),
    ],
    ids=["frames", "floats", "text", "copy", "other encoder"],
)
def test_weights_in_floats_are_read_when_they_are_needed(
    use: Callable[[Encoder, torch.Tensor], torch.Tensor],
) -> None:
    kept_by(load())
    clips, encoder = even_clips(2), load()
    assert not is_in_memory(encoder)
    torch.testing.assert_close(use(encoder, clips), use(load(dtype="float32"), clips))


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def change_key(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        key = opened.metadata()["key"]
    save_file(load_file(file), file, {"key": key.replace(torch.__version__, "1.0")})


@pytest.mark.parametrize(
    "spoil",
    [
        flip,
        change_key,
        lambda file: file.write_bytes(file.read_bytes()[:1000]),
        lambda file: file.write_bytes(bytes(file.stat().st_size)),
        lambda file: file.unlink(),
    ],
    ids=["one bit", "other PyTorch", "cut short", "zeros", "gone"],
)
def test_a_tower_that_cannot_be_trusted_is_made_again(spoil: Callable[[Path], object]) -> None:
    clips, first = even_clips(1), load()
    file = kept_by(first)
    spoil(file)
    second = load()
    assert is_in_memory(second)
    assert torch.equal(second.encode_video(clips), first.encode_video(clips))
    assert not is_in_memory(load())  # it was kept anew


def test_a_trial_that_goes_on_keeps_nothing() -> None:
    encoder = load()
    encoder.encode_video(even_clips(1))
    assert kept_towers() == [] and is_in_memory(encoder) and is_in_memory(load())


def test_no_weight_in_floats_stays_in_memory_when_the_tower_is_kept() -> None:
    encoder, clips = load(), even_clips(1)
    encoder.encode_video(clips)
    assert encoder.trial and isinstance(encoder.model, ImageHalf)
    weights = [weakref.ref(weight) for weight in encoder.model.visual.parameters()]
    for _ in range(CLIPS):
        encoder.trial.add(INT8, 1.0)
    encoder.encode_video(clips)
    gc.collect()
    assert [weight for weight in weights if weight() is not None] == []


def test_a_folder_that_cannot_be_written_stops_nothing(home: Path) -> None:
    home.mkdir()
    (home / "int8-towers").write_text("no folder")
    encoder, clips = load(), even_clips(1)
    assert encoder.trial
    for _ in range(CLIPS):
        encoder.trial.add(INT8, 1.0)
    assert torch.equal(encoder.encode_video(clips), load().encode_video(clips))
    assert (home / "int8-towers").is_file()


def test_only_the_towers_used_last_are_kept() -> None:
    towers = {name: {"sums": torch.full((4,), float(ord(name)))} for name in "abcdef"}
    for name in "abcd":
        write_tower(tower_key(name, INT8), towers[name])
    assert read_tower(tower_key("a", INT8))  # used again
    for name in "ef":
        write_tower(tower_key(name, INT8), towers[name])
    found = [name for name in towers if read_tower(tower_key(name, INT8))]
    assert (found, len(kept_towers())) == (["a", "d", "e", "f"], MAX_TOWERS)
    for tower in kept_towers()[:2]:
        change_key(tower.file)
    assert [one.is_stale for one in kept_towers()].count(True) == 2
    write_tower(tower_key("g", INT8), towers["a"])
    assert [one.is_stale for one in kept_towers()] == [False] * 3


def test_borrowed_weights_are_dropped_after_their_use() -> None:
    half = load(dtype="float32").model
    assert isinstance(half, ImageHalf)
    weight = half.visual.get_parameter(BLOCK).clone()
    with half.borrow_weights():
        half.drop_weights(["proj"])
        with half.borrow_weights():
            assert torch.equal(half.visual.get_parameter(BLOCK), weight)
        assert torch.equal(half.visual.get_parameter(BLOCK), weight)
    assert half.visual.get_parameter(BLOCK).isnan().all() and not half.visual.proj.isnan().any()
    with half.borrow_weights():
        assert torch.equal(half.visual.get_parameter(BLOCK), weight)
