"""How a query becomes a vector: kept from before, by the text half alone, or by the whole model."""

from __future__ import annotations

import dataclasses
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest

from vidfind.encoders.encoder import Encoder, EncoderLoader
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput, IndexMismatch, IndexNotFound
from vidfind.models import hub
from vidfind.models.catalog import MODELS, OPENAI_HUBS, known_hub
from vidfind.models.hub import hub_files
from vidfind.models.load import load_encoder
from vidfind.search.kept import KeptVectors
from vidfind.search.query import QueryEncoder, encode_query, known_config
from vidfind.search.searcher import Searcher
from vidfind.store.folder import QUERIES_FILE, delete_index
from vidfind.store.settings import IndexSettings, read_generation
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow, new_content

HEAVY = {"torch", "open_clip", "av", "decord", "multiprocessing", "huggingface_hub", "watchfiles", "psutil"}


def refuse(choice: EncoderChoice) -> Encoder:
    raise AssertionError("the whole model is not needed")


@pytest.fixture
def index(tmp_path: Path, tiny_encoder: Encoder) -> Path:
    """An index of the built-in model with one video."""
    path = tmp_path / "indexes" / "default"
    store = Store.create(path, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    add_video(store, "/v/a.mp4", tiny_encoder)
    return path


def add_video(store: Store, name: str, encoder: Encoder) -> None:
    from datetime import UTC, datetime

    day, content = datetime(2024, 5, 17, tzinfo=UTC), new_content()
    row = VideoRow(Path(name), Path("/v"), 1, 1, name, day, day, content, 1, 10.0)
    vector = encoder.encode_text([name]).numpy()
    with store.writing() as writer:
        writer.put([row], [Embedded(content, [(0.0, 10.0)], vector)])


def query_encoder(path: Path, load: EncoderLoader = refuse) -> QueryEncoder:
    return QueryEncoder(path, read_generation(path), load)


def test_a_query_needs_only_the_text_half_of_the_model(index: Path, tiny_encoder: Encoder) -> None:
    vector = query_encoder(index).vector("a red\n circle")
    expected, _ = encode_query(tiny_encoder, "a red circle")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert vector @ expected == pytest.approx(1, abs=1e-3)


def test_a_query_asked_before_needs_no_model(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = query_encoder(index).vector("a red circle")
    monkeypatch.setattr(hub, "TINY_WEIGHTS", tmp_path / "gone")
    np.testing.assert_array_equal(query_encoder(index).vector(" a  red circle "), first)
    with pytest.raises(FileNotFoundError):
        query_encoder(index).vector("a blue circle")


def test_a_query_too_long_is_told_each_time(
    index: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vidfind"), "propagate", True)  # which display turns off
    for _ in range(2):
        caplog.clear()
        query_encoder(index).vector("word " * 200)
        assert "The query is longer than the model can read" in caplog.text


@pytest.mark.parametrize("text", ["", "  \n", "\u200b\ud800"])
def test_an_empty_query_is_refused(index: Path, text: str) -> None:
    with pytest.raises(BadInput, match="empty"):
        query_encoder(index).vector(text)


def test_other_weights_than_the_index_was_made_with_are_refused(tmp_path: Path, tiny_encoder: Encoder) -> None:
    settings = IndexSettings(dataclasses.replace(tiny_encoder.identity, weights_digest="other"))
    Store.create(tmp_path / "default", settings, tiny_encoder.dim)
    with pytest.raises(IndexMismatch, match="other weights"):
        query_encoder(tmp_path / "default", lambda choice: tiny_encoder).vector("a red circle")


def test_where_the_text_half_cannot_be_read_alone_the_whole_model_answers(
    tmp_path: Path, tiny_encoder: Encoder
) -> None:
    encoder = load_encoder("tiny", device="cpu")
    encoder.identity = dataclasses.replace(encoder.identity, weights_digest="of weights that lie nowhere")
    Store.create(tmp_path / "index", IndexSettings(encoder.identity), encoder.dim)
    vector = query_encoder(tmp_path / "index", lambda choice: encoder).vector("a red circle")
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


def test_a_search_in_words_imports_no_part_of_the_model_but_its_text_half(index: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom vidfind.search.searcher import Searcher\n"
        f"searcher = Searcher(Path({str(index)!r}))\n"
        "assert searcher.find('a red circle')\n"
        f"print(*(sys.modules.keys() & {HEAVY - {'multiprocessing', 'huggingface_hub'}!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


# What is kept


VECTOR = np.eye(4, dtype=np.float32)[1]


def test_vectors_are_kept_under_their_names(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path / "kept")
    assert kept.get(b"a") is None
    kept.put(b"a", VECTOR, True)
    found = KeptVectors(tmp_path / "kept").get(b"a")
    assert found
    np.testing.assert_array_equal(found[0], VECTOR)
    assert found[1] is True
    assert kept.get(b"b") is None
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


def test_only_the_latest_vectors_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfind.search.kept.QUERIES_KEPT", 3)
    kept = KeptVectors(tmp_path / "kept")
    for name in (b"a", b"b", b"c", b"a", b"d"):
        kept.put(name, VECTOR, False)
    assert [name for name in (b"a", b"b", b"c", b"d") if kept.get(name)] == [b"a", b"c", b"d"]


@pytest.mark.parametrize("content", [b"no database, only words " * 100, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    kept = KeptVectors(tmp_path / "kept")
    (tmp_path / "kept").write_bytes(content)
    assert kept.get(b"a") is None
    kept.put(b"a", VECTOR, False)
    assert kept.get(b"a")


def test_a_vector_that_was_damaged_is_not_used(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path / "kept")
    for vector in (np.full(4, np.nan, np.float32), VECTOR * 3):
        kept.put(b"a", vector, False)
        assert kept.get(b"a") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_in_a_folder_that_may_not_be_written_nothing_is_kept(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path / "kept")
    kept.put(b"a", VECTOR, False)
    tmp_path.chmod(0o500)
    (tmp_path / "kept").chmod(0o400)
    kept.put(b"b", VECTOR, False)
    assert (kept.get(b"a") is not None, kept.get(b"b")) == (True, None)


def test_without_its_folder_nothing_is_kept(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path / "gone" / "kept")
    kept.put(b"a", VECTOR, False)
    assert kept.get(b"a") is None
    assert not (tmp_path / "gone").exists()


def test_while_another_process_writes_nothing_is_waited_for_long(tmp_path: Path) -> None:
    kept = KeptVectors(tmp_path / "kept")
    kept.put(b"a", VECTOR, False)
    other = sqlite3.connect(tmp_path / "kept", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    kept.put(b"b", VECTOR, False)
    assert kept.get(b"a") is None
    other.close()
    assert (kept.get(b"a") is not None, kept.get(b"b")) == (True, None)


def test_an_index_is_deleted_with_the_queries_it_keeps(index: Path) -> None:
    query_encoder(index).vector("a red circle")
    assert (index / QUERIES_FILE).is_file()
    delete_index(index)
    assert not index.exists()


# One query after the other


def test_a_searcher_sees_what_another_process_adds(index: Path, tiny_encoder: Encoder) -> None:
    searcher = Searcher(index, refuse)
    assert [moment.path.name for moment in searcher.find("a red circle")] == ["a.mp4"]
    add_video(Store.open(index), "/v/b.mp4", tiny_encoder)
    assert {moment.path.name for moment in searcher.find("a red circle")} == {"a.mp4", "b.mp4"}


def test_a_searcher_sees_that_an_index_was_deleted_and_made_anew(index: Path, tiny_encoder: Encoder) -> None:
    searcher = Searcher(index, refuse)
    searcher.prepare()
    delete_index(index)
    with pytest.raises(IndexNotFound):
        searcher.find("a red circle")
    add_video(Store.create(index, IndexSettings(tiny_encoder.identity), tiny_encoder.dim), "/v/new.mp4", tiny_encoder)
    assert [moment.path.name for moment in searcher.find("a red circle")] == ["new.mp4"]


def test_an_index_without_videos_says_what_to_type(tmp_path: Path, tiny_encoder: Encoder) -> None:
    Store.create(tmp_path / "default", IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    with pytest.raises(BadInput, match=r"holds no videos yet\. Add some: vidfind index FOLDER"):
        Searcher(tmp_path / "default", refuse).find("a red circle")
