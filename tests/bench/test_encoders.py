"""All encoders side by side, and the command that shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.support.drawn import drawn
from vidfind.bench import encoders, models
from vidfind.bench.encoders import Comparison, MeasuredEncoder, compare_encoders, count_trained, random_encoder
from vidfind.bench.models import Speed
from vidfind.bench.workloads import encode, make_index, products_of
from vidfind.display.models import figures_table, notes_table, speed_text
from vidfind.encoders.costs import ClipCost
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.encoders.table import ENCODERS
from vidfind.errors import UnsupportedModel
from vidfind.models.catalog import MODELS
from vidfind.models.clip import random_clip
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.system.imports import import_open_clip
from vidfind.training.recipe import Recipe
from vidfind.training.trainable import prepare

pytestmark = pytest.mark.usefixtures("measured_once")
Run = Callable[..., Any]

VISION = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 3, "head_width": 32}
TEXT = {"context_length": 77, "vocab_size": 100, "width": 64, "heads": 2, "layers": 1}


@pytest.fixture
def small_model(tmp_path: Path) -> Callable[..., str]:
    """Makes a model known to open_clip that is a few kB large, and says its name."""

    def make(name: str, **config: Any) -> str:
        values = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT, **config}
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
        import_open_clip().add_model_config(tmp_path / f"{name}.json")
        return name

    return make


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """All encoders of the tiny model, measured once."""
    return compare_encoders("tiny", device="cpu")


def test_every_encoder_is_compared_with_what_it_costs(comparison: Comparison) -> None:
    encoders = {one.name: one for one in comparison.encoders}
    assert list(encoders) == list(ENCODERS)
    assert not any(one.problem for one in comparison.encoders)
    assert all(one.cost and one.cost.seconds > 0 for one in comparison.encoders)
    assert [one.name for one in comparison.encoders if one.is_default] == ["tempme"]
    assert [one.name for one in comparison.encoders if one.needs_adapter] == ["tfvl"]
    assert (comparison.model, comparison.num_frames, comparison.image_size, comparison.device) == (
        "tiny",
        12,
        56,
        "cpu",
    )


def test_trained_numbers_are_those_that_fine_tuning_trains_though_encoders_share_a_model(
    comparison: Comparison, tiny_encoder: Encoder
) -> None:
    counted = {one.name: one.trained for one in comparison.encoders}
    for name in ENCODERS:
        encoder = tiny_encoder.copy().with_encoder(name)
        trained, _ = prepare(encoder, Recipe(), None)
        assert counted[name] == sum(parameter.numel() for parameter in trained.values()), name


def test_of_vit_b_32_as_many_numbers_are_trained_as_in_the_papers(small_model: Callable[..., str]) -> None:
    vision = {"image_size": 32, "patch_size": 32, "width": 768, "layers": 12}
    text = {**TEXT, "width": 512, "heads": 8, "layers": 12}
    model = small_model("as-wide-and-deep-as-vit-b-32", embed_dim=512, vision_cfg=vision, text_cfg=text)
    encoder = random_encoder(model, "cpu", "bfloat16")
    for name, trained in {"tempme": 507_648, "tfvl": 430_080}.items():
        assert count_trained(encoder.with_encoder(name)) == trained, name


def test_what_a_model_of_few_blocks_cannot_do_stands_in_its_row(small_model: Callable[..., str]) -> None:
    encoders = {
        one.name: one for one in compare_encoders(small_model("three-blocks"), device="cpu", dtype="float32").encoders
    }
    assert encoders["mean"].cost and encoders["tome"].cost and encoders["centerclip"].cost
    assert encoders["tempme"].cost is None and encoders["tempme"].trained is None
    assert "at least 5 transformer blocks, not 3" in encoders["tempme"].problem


def test_products_are_repeated_of_tensors_that_are_one_row_many_times() -> None:
    products_of(lambda: torch.ones(1, 3).expand(2, 3) @ torch.ones(3, 2))()


def test_speed_is_measured_in_those_formats_and_encoders_that_a_model_has(
    small_model: Callable[..., str], tmp_path: Path
) -> None:
    model = small_model("read-as-a-mean", vision_cfg={**VISION, "pool_type": "avg"})
    weights = tmp_path / "weights.safetensors"
    save_file(random_clip(model).state_dict(), weights)
    told = [str(one) for one in encode(model, str(weights), "cpu", torch.get_num_threads(), clips=1, runs=1)]
    assert "mean/bfloat16" in "".join(told) and "int8" not in "".join(told) and "tempme" not in "".join(told)


def test_searches_are_measured_in_an_index_of_the_encoder_that_is_the_default_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision = {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear", "image_size": 64}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT}
    monkeypatch.setitem(import_open_clip().factory._MODEL_CONFIGS, "convnext_base", config)
    weights = tmp_path / "weights.safetensors"
    save_file(random_clip("convnext_base").state_dict(), weights)
    list(make_index(str(tmp_path), 10, "convnext_base", str(weights)))
    assert Store.open(tmp_path / "indexes" / "default").settings.identity.encoder == "mean"


def test_what_a_model_with_another_text_tower_cannot_do_stands_in_its_row(small_model: Callable[..., str]) -> None:
    encoders = {
        one.name: one
        for one in compare_encoders(
            small_model("other-text", custom_text=True, text_cfg={**TEXT, "no_causal_mask": True}), device="cpu"
        ).encoders
    }
    assert encoders["mean"].cost and encoders["mean"].trained
    assert encoders["tfvl"].cost is None
    assert "cannot be used with the tfvl encoder" in encoders["tfvl"].problem


MEASURED = [
    MeasuredEncoder("tempme", "joins frames", True, False, ClipCost(97, 69_449_110_784, 0.2413), 507_648),
    MeasuredEncoder("mean", "each frame alone", False, False, ClipCost(600, 105_811_476_480, 0.3337), 491_520),
    MeasuredEncoder(
        "tfvl", "a sentence", False, True, ClipCost(600, 113_000_000_000, 1.2891), None, "its text tower is odd."
    ),
    MeasuredEncoder("centerclip-spectral", "clusters", False, False, None, None, "it is too shallow."),
]
COMPARISON = Comparison(MEASURED, "ViT-B-32", 12, 224, "cpu", "bfloat16", 2)


def test_the_table_says_how_much_less_work_there_is_than_for_plain_clip() -> None:
    lines = [" ".join(line.split()) for line in drawn(figures_table(COMPARISON), 80)]
    assert lines[0] == "Encoder Tokens GFLOPs Trained ms a clip"
    assert lines[2:] == [
        "tempme 97 -84 % 69.4 -34 % 507,648 241",
        "mean 600 105.8 491,520 334",
        "tfvl 600 113.0 +7 % - 1,289",
        "centerclip-spectral - - - -",
    ]


def test_the_notes_say_what_is_the_default_what_is_needed_and_what_is_in_the_way() -> None:
    lines = [" ".join(line.split()) for line in drawn(notes_table(COMPARISON), 160)]
    assert lines == [
        "tempme joins frames; the default",
        "mean each frame alone",
        "tfvl a sentence (its text tower is odd.)",
        "centerclip-spectral clusters (it is too shallow.)",
    ]


@pytest.mark.parametrize("table", [figures_table, notes_table], ids=["figures", "notes"])
def test_the_tables_fit_80_columns(table: Callable[[Comparison], Any]) -> None:
    assert max(map(len, drawn(table(COMPARISON), 80))) <= 80


# The command


def test_encoders_shows_all_of_them_in_a_table(run: Run) -> None:
    ran = run("encoders", "--model", "tiny", "--device", "cpu", "--threads", "1")
    assert (ran.code, ran.err) == (0, "")
    assert all(f"\n{name} " in f"\n{ran.out}" for name in ENCODERS)
    assert "TFVL-style: our reading of the paper" in ran.out
    assert "1 clip at a time on cpu" in ran.out
    assert "tiny with the weights in the package" in ran.out


def test_encoders_prints_the_same_facts_of_the_model_of_an_index_as_json(run: Run, tmp_path: Path) -> None:
    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "mean", None, 12))
    Store.create(tmp_path / "home" / "indexes" / "trip", settings, dim=8)
    ran = run("encoders", "--index", "trip", "--device", "cpu", "--dtype", "float32", "--json")
    rows = {row["name"]: row for row in map(json.loads, ran.out.splitlines())}
    assert list(rows) == list(ENCODERS)
    assert rows["mean"]["tokens"] == 600
    assert rows["tempme"]["tokens"] < 200 and rows["tempme"]["flops"] < rows["mean"]["flops"]
    assert rows["tempme"]["is_default"] and rows["tfvl"]["needs_adapter"]
    assert all(row["ms"] > 0 and row["trained"] > 0 and row["problem"] == "" for row in rows.values())
    assert {(row["model"], row["dtype"], row["device"]) for row in rows.values()} == {("tiny", "float32", "cpu")}


def test_a_tower_without_int8_is_measured_in_the_fastest_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "choose_format", lambda asked, *_: "int8" if asked == "auto" else asked)
    monkeypatch.setattr(encoders, "fastest_float", lambda device: "bfloat16")
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 32, "patch_size": None}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": {"width": 32, "heads": 2, "layers": 1}}
    monkeypatch.setitem(import_open_clip().factory._MODEL_CONFIGS, "RN50", config)
    assert encoders.random_encoder("RN50", "cpu", "auto").number_format == "bfloat16"
    with pytest.raises(UnsupportedModel, match="RN50 cannot be used in int8"):
        encoders.random_encoder("RN50", "cpu", "int8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "ViT-B-33"], "open_clip has no model called ViT-B-33. Did you mean"),
        (["--model", "roberta-ViT-B-32"], "roberta-ViT-B-32 cannot be used: its text half"),
        (["--index", "nope"], "There is no index 'nope'"),
    ],
    ids=["unknown", "fetched-text-tower", "no-index"],
)
def test_encoders_refuses_what_it_cannot_measure(run: Run, arguments: list[str], message: str) -> None:
    ran = run("encoders", *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_a_model_measured_beside_itself_is_about_as_fast_and_is_shown_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DEFAULT_MODEL", "tiny")
    said: list[str] = []
    [(entry, speed)] = models.measure_models([one for one in MODELS if one.model == "tiny"], "cpu", "auto", said.append)
    assert entry.model == "tiny" and 0 < speed.seconds < 60 and speed.ratio > 0
    assert said == ["Making tiny with random weights", "Measuring tiny"]
    assert speed_text(entry, Speed(0.0612, 0.1)) == "tiny: 0.10x, 61 ms a clip with --encoder tempme"
    assert speed_text(entry, Speed(0.0612, 21.3)) == "tiny: 21x, 61 ms a clip with --encoder tempme"
