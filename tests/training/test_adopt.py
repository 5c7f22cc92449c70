"""What is trained for an index, and what becomes of the trained adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.rows import embed, make_row
from tests.support.small_adapters import save_adapter
from vidfind.encoders.names import EncoderChoice
from vidfind.models.adapter_file import read_adapter, read_info
from vidfind.models.default_adapters import default_adapters
from vidfind.models.load import joint_digest
from vidfind.store.store import Store
from vidfind.system.paths import adapter_path
from vidfind.training.adopt import choose_start, fit_of, save_trained


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))


def test_what_the_index_was_made_with_is_trained_unless_other_is_asked_for(store: Store) -> None:
    assert choose_start(EncoderChoice(), store, False) == EncoderChoice("tiny", "builtin", "tempme", "none")
    assert choose_start(EncoderChoice(encoder="mean"), store, False) == EncoderChoice("tiny", "builtin", "mean", "none")
    assert choose_start(EncoderChoice(model="ViT-B-16"), store, False) == EncoderChoice("ViT-B-16")
    assert choose_start(EncoderChoice(), None, True) == EncoderChoice()


def test_an_adapter_asked_for_is_gone_on_from_and_knows_its_model(store: Store) -> None:
    assert choose_start(EncoderChoice(adapter="home"), store, False) == EncoderChoice(adapter="home")
    assert choose_start(EncoderChoice(adapter="none"), store, True).adapter == "none"


@pytest.mark.parametrize(
    ("is_worse", "is_better", "encoder", "asked", "is_default"),
    [
        (False, True, "tempme", None, True),
        (False, False, "tempme", None, False),
        (False, True, "tome", None, False),
        (False, True, "tempme", False, False),
        (True, False, "tempme", None, False),
        (True, False, "tome", True, True),
    ],
    ids=["clearly better", "perhaps chance", "another encoder", "not wanted", "worse", "wanted"],
)
def test_what_is_clearly_better_and_of_the_encoder_in_use_becomes_the_default(
    store: Store, is_worse: bool, is_better: bool, encoder: str, asked: bool | None, is_default: bool
) -> None:
    path = adapter_path("home")
    save_adapter(path, encoder=encoder)
    adapter = read_adapter(path)
    path.unlink()
    saved = save_trained(adapter, path, store, is_worse=is_worse, is_better=is_better, default=asked)
    assert (saved.is_worse, saved.is_default) == (is_worse, is_default)
    assert read_info(path) == saved.info
    assert ("home" in default_adapters().values()) is is_default


def test_an_adapter_of_words_alone_fits_an_index_as_it_is(store: Store) -> None:
    base = store.settings.identity
    save_adapter(adapter_path("words"), "text")
    save_adapter(adapter_path("home"))
    words, home = (read_info(adapter_path(name)) for name in ("words", "home"))
    assert words.video_digest == "" and joint_digest(base.weights_digest, home.video_digest) != base.weights_digest
    assert fit_of(words, base, None) == fit_of(words, base, store) == "no index"
    row = make_row("/videos/a.mp4")
    with store.writing() as writer:
        writer.put([row], [embed(row)])
    assert fit_of(words, base, store) == "same vectors"
    assert fit_of(home, base, store) == "other vectors"
    assert fit_of(home, replace(base, encoder="mean"), store) == "other encoder"
