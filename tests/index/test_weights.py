"""An index made with a checkpoint file, after that file has moved or changed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.small_adapters import save_adapter
from vidfind.encoders.names import EncoderChoice
from vidfind.models.catalog import TINY_WEIGHTS
from vidfind.models.default_adapters import default_name, set_default_adapter
from vidfind.models.load import weights_digest
from vidfind.store.settings import COPY_FILE, SETTINGS_FILE, read_generation
from vidfind.store.store import Store
from vidfind.system.paths import adapter_path, index_path
from vidfind.training.choose import choose_encoders


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint of the user's own: a copy of the tiny model's."""
    (tmp_path / "new").mkdir()
    return Path(shutil.copyfile(TINY_WEIGHTS, tmp_path / "mine.safetensors"))


def place(name: str = "default", file: str = SETTINGS_FILE) -> str:
    return read_generation(index_path(name), file).settings.identity.pretrained


def test_an_index_takes_its_weights_from_where_they_are_now(
    run: Run, made: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    films = ["index", made / "a.mp4"]
    assert run(*films, "--model", "tiny", "--pretrained", weights.name).code == 0
    assert place() == str(weights)  # found from every folder
    before = run("search", "a red circle", "--json").out
    contents = [row.content for row in Store.open(index_path()).videos().values()]
    moved = weights.rename(tmp_path / "new" / "mine.safetensors")

    for command in (["search", "a blue square"], ["search", "--like", made / "a.mp4"], [*films, "--force"]):
        ran = run(*command)
        assert ran.code == 1 and f"{weights} is not there" in ran.err
        assert "vidfind index --pretrained FILE" in ran.err and "remove" not in ran.err
    told = run("index", "--pretrained", moved)
    assert told.code == 0 and f"takes its weights from {moved} from now on" in told.err
    assert (place(), place(file=COPY_FILE)) == (str(moved), str(moved))
    assert run("search", "a blue square").code == 0
    assert run("search", "a red circle", "--json").out == before
    assert "1 unchanged" in run(*films, "--pretrained", moved).out
    assert [row.content for row in Store.open(index_path()).videos().values()] == contents  # nothing encoded again


def test_other_weights_at_the_old_or_the_new_place_are_refused(
    run: Run, made: Path, weights: Path, tmp_path: Path
) -> None:
    films = ["index", made / "a.mp4"]
    assert run(*films, "--model", "tiny", "--pretrained", weights).code == 0
    moved = Path(shutil.copyfile(weights, tmp_path / "new" / "mine.safetensors"))
    weights.write_bytes(moved.read_bytes()[:-4] + b"\x01\x02\x03\x04")  # somebody has put others there
    ran = run(*films, "--force")
    assert ran.code == 1 and "other weights, which have changed since" in ran.err
    assert "vidfind index --pretrained FILE" in ran.err
    assert run("index", "--pretrained", moved).code == 0 and place() == str(moved)
    ran = run("index", "--pretrained", weights)
    assert ran.code == 1 and f"made with pretrained {moved}, not {weights}" in ran.err
    ran = run("index", "--pretrained", tmp_path / "nothing.pt")
    assert ran.code == 1 and "There is no checkpoint file" in ran.err


def test_adapters_go_with_weights_that_have_moved(run: Run, made: Path, weights: Path, tmp_path: Path) -> None:
    digest = weights_digest("tiny", weights)
    for name, kind in (("home", "lora"), ("words", "text")):
        save_adapter(adapter_path(name), kind, pretrained=str(weights), weights_digest=digest)
    set_default_adapter("home")
    films = ["index", made / "a.mp4"]
    assert run(*films, "--adapter", "home").code == 0
    moved = weights.rename(tmp_path / "new" / "mine.safetensors")
    assert default_name("tiny", str(moved)) == "home"
    ran = run(*films, "--adapter", "home", "--index", "other")
    assert ran.code == 1 and "add --pretrained with its new path" in ran.err
    assert "adapter home" in run(*films, "--model", "tiny", "--pretrained", moved, "--index", "other").err
    assert run("index", "--pretrained", moved).code == 0
    assert (place(), place("other")) == (str(moved), str(moved))
    assert run("search", "a red circle").code == 0
    store = Store.open(index_path())
    ours, own = store.settings.identity, store.adapter
    for names in ([], ["home", "words"]):  # of the index, whose place is known, and not of the adapters
        chosen = choose_encoders(names, EncoderChoice(), ours, own)
        assert {one.pretrained for one in chosen.values()} == {str(moved)}
    before = dataclasses.replace(ours, pretrained=str(weights))
    assert list(choose_encoders([], EncoderChoice(pretrained=str(moved)), before, own)) == ["home"]
