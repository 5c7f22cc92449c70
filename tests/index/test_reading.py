"""What class tokens attend to is a part of an index: one made before keeps its own way, whatever is the default now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.small_adapters import save_adapter
from vidfind.errors import IndexMismatch
from vidfind.models.catalog import TINY_WEIGHTS
from vidfind.models.load import load_choice, load_encoder, weights_digest
from vidfind.store.settings import SETTINGS_FILE, read_generation
from vidfind.store.store import Store
from vidfind.system.paths import adapter_path, index_path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights that were never trained on joined frames: those of the tiny model without its temporal positions."""
    return Path(shutil.copyfile(TINY_WEIGHTS, tmp_path / "mine.safetensors"))


def reading() -> str:
    return read_generation(index_path()).settings.identity.reading


def make_as_before() -> None:
    """The settings of the index, as a version of vidfind wrote them that knew one reading."""
    file = index_path() / SETTINGS_FILE
    values = json.loads(file.read_text())
    assert values.pop("reading") == "frame"
    file.write_text(json.dumps({**values, "format": 4}))


def test_an_index_made_before_keeps_its_reading(run: Run, made: Path, weights: Path) -> None:
    films = ["index", made / "a.mp4"]
    asked = ["--model", "tiny", "--pretrained", weights, "--encoder", "tempme"]
    assert run(*films, *asked).code == 0 and reading() == "frame"
    store = Store.open(index_path())
    assert load_choice(store.choice, "cpu").identity == store.settings.identity
    make_as_before()
    for arguments in (asked, []):
        assert run(*films, *arguments).code == 0 and reading() == "clip"
    store = Store.open(index_path())
    assert load_choice(store.choice, "cpu").identity == store.settings.identity
    assert run("search", "a red circle").code == 0
    with pytest.raises(IndexMismatch, match="frames read all at once, not one by one"):
        store.require_identity(load_encoder("tiny", str(weights), "tempme", device="cpu").identity)
    store.require_identity(load_encoder("tiny", str(weights), "tempme", device="cpu", reading="clip").identity)


def test_an_adapter_of_words_comes_and_goes_without_changing_the_reading(run: Run, made: Path, weights: Path) -> None:
    digest = weights_digest("tiny", weights)
    save_adapter(adapter_path("words"), "text", pretrained=str(weights), weights_digest=digest)
    save_adapter(adapter_path("home"), pretrained=str(weights), weights_digest=digest)
    films = ["index", made / "a.mp4"]
    assert run(*films, "--model", "tiny", "--pretrained", weights, "--encoder", "tempme").code == 0
    make_as_before()
    for adapter in ("words", "none"):
        ran = run(*films, "--adapter", adapter)
        assert ran.code == 0 and "no video had to be read again" in ran.err and reading() == "clip"
    assert run(*films, "--adapter", "home").code == 0 and reading() == "clip"  # as it was trained
    assert run(*films, "--adapter", "none").code == 0 and reading() == "frame"  # all is encoded again in any case
