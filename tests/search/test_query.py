"""How a query becomes a vector: kept from before, by the text half alone, or by the whole model."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest

from tests.support.texts import refuse
from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput, IndexMismatch
from vidfind.models import hub
from vidfind.models.catalog import MODELS, MULTILINGUAL, OPENAI_HUBS, TINY, known_hub
from vidfind.models.hub import hub_files
from vidfind.models.load import load_encoder
from vidfind.search.query import READING_AHEAD, QueryEncoder, encode_query
from vidfind.store.folder import QUERIES_FILE, QUERIES_FOLDER, delete_index
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings, read_generation
from vidfind.store.store import Store
from vidfind.text.shape import EMBEDDING
from vidfind.words.half import known_config, knows_only_english

HEAVY = {"torch", "open_clip", "av", "decord", "multiprocessing", "huggingface_hub", "watchfiles", "psutil"}


def query_encoder(path: IndexPath, load: Callable[..., Encoder] = refuse) -> QueryEncoder:
    return QueryEncoder(path, read_generation(path), load)


def test_a_query_needs_only_the_text_half_of_the_model(index: IndexPath, tiny_encoder: Encoder) -> None:
    vector = query_encoder(index).vector("a red\n circle")
    expected, _ = encode_query(tiny_encoder, "a red circle")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert vector @ expected == pytest.approx(1, abs=1e-3)


def test_a_query_asked_before_needs_no_model(index: IndexPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = query_encoder(index).vector("a red circle")
    monkeypatch.setattr(hub, "TINY_WEIGHTS", tmp_path / "gone")
    np.testing.assert_array_equal(query_encoder(index).vector(" a  red circle "), first)
    with pytest.raises(FileNotFoundError):
        query_encoder(index).vector("a blue circle")


def test_words_are_read_while_they_are_typed(index: IndexPath, tiny_encoder: Encoder) -> None:
    encoder = query_encoder(index)
    for typed in ("", "a", "a re", "a red", "a red circle"):
        encoder.read_ahead(typed)
    for thread in threading.enumerate():
        if thread.name == READING_AHEAD:
            thread.join()
    tower = encoder._tower
    assert tower
    embedding = {EMBEDDING: tower.tensors[EMBEDDING]}
    vars(encoder)["_tower"] = dataclasses.replace(tower, tensors=embedding)  # which can read nothing more
    np.testing.assert_allclose(encoder.vector("a red circle"), encode_query(tiny_encoder, "a red circle")[0], atol=1e-4)
    with pytest.raises(KeyError):
        encoder.vector("a red circle moves")


def test_a_query_too_long_is_told_each_time(
    index: IndexPath, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vidfind"), "propagate", True)  # which display turns off
    for _ in range(2):
        caplog.clear()
        query_encoder(index).vector("word " * 200)
        assert "The query is longer than the model can read" in caplog.text


def test_words_that_the_model_does_not_know_are_named_each_time(
    index: IndexPath, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vidfind"), "propagate", True)
    for _ in range(2):
        caplog.clear()
        query_encoder(index).vector("a red giraffe's circle, with a zebra! - (giraffe's)")
        assert list(dict.fromkeys(caplog.messages)) == ["The model does not know: giraffe's, with, zebra."]
    caplog.clear()
    query_encoder(index).vector("a red circle, moving left!")
    assert list(dict.fromkeys(caplog.messages)) == []


def test_a_query_in_another_language_gets_one_remark(
    index: IndexPath, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vidfind"), "propagate", True)
    encoder = query_encoder(index)
    for query in ("a red circle", "ein roter Kreis und ein Stern", "\u043a\u0440\u0443\u0433"):
        encoder.vector(query)
    [remark] = [message for message in dict.fromkeys(caplog.messages) if "English" in message]
    assert remark.startswith("This looks like German") and MULTILINGUAL in remark


@pytest.mark.parametrize(
    ("model", "is_english"),
    [(TINY, True), ("ViT-B-32", True), ("EVA02-B-16", True), (MULTILINGUAL, False), ("no such model", False)],
)
def test_models_that_know_only_english_are_recognised_by_their_text_half(model: str, is_english: bool) -> None:
    assert knows_only_english(model) == is_english


@pytest.mark.parametrize("text", ["", "  \n", "\u200b\ud800"])
def test_an_empty_query_is_refused(index: IndexPath, text: str) -> None:
    with pytest.raises(BadInput, match="empty"):
        query_encoder(index).vector(text)


def test_other_weights_than_the_index_was_made_with_are_refused(place: IndexPath, tiny_encoder: Encoder) -> None:
    settings = IndexSettings(dataclasses.replace(tiny_encoder.identity, weights_digest="other"))
    Store.create(place, settings, tiny_encoder.dim)
    with pytest.raises(IndexMismatch, match="other weights"):
        query_encoder(place, lambda choice: tiny_encoder).vector("a red circle")


def test_where_the_text_half_cannot_be_read_alone_the_whole_model_answers(
    place: IndexPath, tiny_encoder: Encoder
) -> None:
    encoder = load_encoder("tiny", device="cpu")
    encoder.identity = dataclasses.replace(encoder.identity, weights_digest="of weights that lie nowhere")
    Store.create(place, IndexSettings(encoder.identity), encoder.dim)
    vector = query_encoder(place, lambda choice: encoder).vector("a red circle")
    np.testing.assert_array_equal(vector, encode_query(tiny_encoder, "a red circle")[0])


def test_what_is_known_of_weights_without_open_clip_is_what_that_says() -> None:
    names = [(entry.model, entry.pretrained) for entry in MODELS if entry.hub]
    for model, pretrained in [*names, *((model, "openai") for model in OPENAI_HUBS)]:
        tag = open_clip.get_pretrained_cfg(model, pretrained)
        assert hub_files(known_hub(model, pretrained)) == hub_files(tag["hf_hub"])
        assert tag.get("quick_gelu", False) == (pretrained == "openai")
        config = known_config(model, pretrained)
        assert config
        assert config.get("quick_gelu", False) == tag.get("quick_gelu", False)


@pytest.mark.on_disk
def test_a_search_in_words_imports_no_part_of_the_model_but_its_text_half(index: IndexPath) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom vidfind.search.searcher import Searcher\n"
        f"searcher = Searcher(Path({str(index)!r}))\n"
        "assert searcher.find('a red circle')\n"
        f"print(*(sys.modules.keys() & {HEAVY - {'multiprocessing', 'huggingface_hub'}!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_an_index_is_deleted_with_the_queries_it_keeps(index: IndexPath) -> None:
    query_encoder(index).vector("a red circle")
    assert (index / QUERIES_FILE).is_file() or any((index / QUERIES_FOLDER).iterdir())
    delete_index(index)
    assert not index.exists()
