import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput
from vidfind.precision import formats
from vidfind.precision.formats import Speeds, choose_format, fastest_float, float_type, measured_speeds
from vidfind.precision.integers import largest_weight
from vidfind.training.features import use_autocast


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home in which nothing was measured before."""
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    measured_speeds.cache_clear()
    largest_weight.cache_clear()
    yield tmp_path / "home"
    measured_speeds.cache_clear()
    largest_weight.cache_clear()


def test_formats_are_measured_once_and_kept(home: Path) -> None:
    speeds = measured_speeds()
    assert {"float32", "bfloat16"} <= speeds.gflops.keys() and min(speeds.gflops.values()) > 0
    [kept] = json.loads((home / "machine.json").read_text()).values()
    measured_speeds.cache_clear()
    assert measured_speeds().gflops == kept["gflops"] == speeds.gflops
    formats.measure_again()
    [again] = json.loads((home / "machine.json").read_text()).values()
    assert again != kept


def test_what_another_machine_measured_is_not_taken_and_not_lost(home: Path) -> None:
    home.mkdir()
    (home / "machine.json").write_text('{"Another CPU": {"gflops": {"float32": 1, "bfloat16": 2}}}')
    assert measured_speeds().gflops["float32"] > 1
    assert json.loads((home / "machine.json").read_text()).keys() >= {"Another CPU", formats._key()}


@pytest.mark.parametrize("text", ["", "[]", "{KEY: 1}", '{KEY: {"gflops": {}}}', '{KEY: {"gflops": {"float32": "x"}}}'])
def test_damaged_measurements_are_made_again(home: Path, text: str) -> None:
    home.mkdir()
    (home / "machine.json").write_text(text.replace("KEY", json.dumps(formats._key())))
    found = formats._read().get(formats._key())
    assert found is None or formats._parse(found) is None
    assert isinstance(formats._read(), dict)


@pytest.mark.parametrize(("largest", "is_told"), [(64, True), (127, False)])
def test_it_is_told_that_products_of_8_bits_are_not_used(largest: int, is_told: bool) -> None:
    words = formats.describe(formats.Speeds({"float32": 62.0, "int8": 129.0}, largest))
    assert words.startswith("float32 62, int8 129 GFLOP/s on a core")
    assert ("weights of 7 bits, as this CPU multiplies those exactly" in words) == is_told


def test_the_fastest_format_is_used_whatever_the_cpu_announces(home: Path) -> None:
    home.mkdir()
    int8 = {"int8": 0.5} if largest_weight() else {}
    for bfloat16, best in ((2.0, "bfloat16"), (0.6, "float32")):
        gflops = {"float32": 1.0, "bfloat16": bfloat16, **int8}
        (home / "machine.json").write_text(json.dumps({formats._key(): {"gflops": gflops}}))
        measured_speeds.cache_clear()
        assert choose_format("auto", "cpu", 768) == fastest_float("cpu", 768) == best


def test_int8_must_be_much_faster_since_it_is_less_precise() -> None:
    assert Speeds({"float32": 1.0, "bfloat16": 0.5, "int8": 1.4}, 127).fastest == "float32"
    assert Speeds({"float32": 1.0, "bfloat16": 0.5, "int8": 1.6}, 127).fastest == "int8"
    assert Speeds({"float32": 1.0, "bfloat16": 1.2, "int8": 1.6}, 127).fastest == "bfloat16"
    assert Speeds({"float32": 1.0, "bfloat16": 1.2}, 0).fastest == "bfloat16"


def test_a_format_that_is_asked_for_is_used_as_it_is() -> None:
    assert [choose_format(name, "cpu") for name in ("float32", "bfloat16")] == ["float32", "bfloat16"]
    assert [float_type(name) for name in formats.FORMATS] == [torch.float32, torch.bfloat16, torch.float32]


def test_narrow_towers_and_apple_gpus_are_in_float32() -> None:
    assert choose_format("auto", "mps") == choose_format("auto", "cpu", width=96) == "float32"


def test_without_operators_for_integers_int8_is_refused_and_auto_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "onednn", object())
    assert largest_weight() == 0
    assert "int8" not in measured_speeds().gflops
    assert choose_format("auto", "cpu") in ("float32", "bfloat16")
    with pytest.raises(BadInput, match="--dtype int8 cannot be used: this CPU, or its PyTorch, has no exact products"):
        choose_format("int8", "cpu")


def test_training_is_in_floats_and_refuses_int8_before_it_begins(
    tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if largest_weight():
        assert use_autocast("int8", tiny_encoder) is use_autocast("auto", tiny_encoder) is False
    largest_weight.cache_clear()
    monkeypatch.setattr(torch.ops, "onednn", object())
    with pytest.raises(BadInput, match="--dtype int8 cannot be used"):
        use_autocast("int8", tiny_encoder)


def test_int8_is_for_cpus() -> None:
    with pytest.raises(BadInput, match="runs on cuda"):
        choose_format("int8", "cuda")
