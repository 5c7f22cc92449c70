"""The match of words, and the levels that it is counted from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.measure.match import measure, unit
from tests.support.drawn_world import kept_world
from tests.support.rows import embed, make_row
from tests.support.stored import compact, on_disk, put, remove
from vidfind.demo.drawing import draw
from vidfind.encoders.encoder import Encoder
from vidfind.models.catalog import MODELS, TINY
from vidfind.search.moments import NOTHING
from vidfind.store.folder import delete_index, leftovers, levels_file
from vidfind.store.settings import IndexSettings, read_generation
from vidfind.store.store import Embedded, Store
from vidfind.words import levels
from vidfind.words.bank import count_words, read_bank
from vidfind.words.levels import Levels, read_levels, update_levels


@pytest.fixture
def filled(tmp_path: Path, tiny_encoder: Encoder) -> Store:
    """An index of the built-in model with ten videos of four random segments each."""
    store = Store.create(tmp_path / "indexes" / "default", IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    add(store, *range(10))
    return store


def add(store: Store, *numbers: int) -> None:
    for number in numbers:
        row = make_row(f"/videos/{number}.mp4", 4)
        vectors = np.random.default_rng(number).standard_normal((4, store.dim))
        spans = [(10.0 * i, 10.0 * i + 10) for i in range(4)]
        put(store, [row], [Embedded(row.content, spans, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))])


def tops(store: Store) -> np.ndarray:
    """The levels of an index after an update."""
    update_levels(store)
    found = read_levels(store.path, store.generation)
    assert found
    return found.tops


def made_anew(store: Store) -> np.ndarray:
    levels_file(store.path, store.generation.number).unlink()
    return tops(store)


def test_the_match_counts_texts_of_the_bank_that_fit_less_well_for_their_length() -> None:
    words = np.repeat([2.0, 12.0], 50)
    noise = np.tile(np.linspace(-0.1, 0.1, 50), 2)
    one = Levels(words, 0.3 + 0.02 * words + noise)
    for count in (2, 7, 12):
        level = 0.3 + 0.02 * count
        assert [one.match(level + more, count) for more in (-0.2, 0.001, 0.2)] == [0, 50, 100]


def test_what_is_there_matches_and_what_is_far_from_it_does_not(tiny_encoder: Encoder) -> None:
    """In collections of scenes that were drawn and encoded before: tests/measure/match.py --save keeps them."""
    world = kept_world()
    size = tiny_encoder.image_size
    again = tiny_encoder.encode_video(draw(world.scenes[0], tiny_encoder.num_frames, size, size)[np.newaxis])
    assert again.numpy()[0] @ world.vectors[0] > 0.999  # else the model is another: keep the vectors anew
    bank = unit(tiny_encoder.encode_text(list(read_bank(TINY))).numpy())
    present, absent = measure(tiny_encoder, world, bank, size=60, is_far=True, trials=8, seed=5)
    assert np.mean(present.matches >= NOTHING) >= 0.95
    assert np.mean(absent.matches >= NOTHING) <= 0.20


def test_each_bank_has_256_different_texts_of_many_lengths() -> None:
    for model in (TINY, *{entry.model for entry in MODELS}):
        bank = read_bank(model)
        assert len(set(bank)) == len(bank) == 256
        assert {2, 4, 6, 8, 11} <= set(count_words(bank))


def test_longest_texts_count_as_sixteen_words_and_marks_as_none() -> None:
    assert count_words(["a dog - on, a beach!", "!?", "word " * 40]) == [5, 0, 16]


def test_levels_follow_the_index_and_equal_those_made_anew(filled: Store) -> None:
    first = tops(filled)
    add(filled, 10)
    more = tops(filled)
    assert (more >= first).all() and (more > first).any()
    np.testing.assert_allclose(more, made_anew(filled), atol=1e-6)
    remove(filled, [make_row("/videos/10.mp4").path])
    compact(filled)
    np.testing.assert_allclose(tops(filled), first, atol=1e-6)
    stamp = on_disk(levels_file(filled.path, 0)).stat().st_mtime_ns
    assert tops(filled) is not None and on_disk(levels_file(filled.path, 0)).stat().st_mtime_ns == stamp


def test_levels_are_of_the_nearest_segments(filled: Store, tiny_encoder: Encoder) -> None:
    bank = tiny_encoder.encode_text(list(read_bank(TINY))).numpy()
    stored = np.concatenate([vectors for _, _, vectors in filled.segments()])
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    np.testing.assert_allclose(tops(filled), (bank @ stored.T).max(axis=1), atol=2e-3)  # the bank is kept in float16


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"no file of ours"])
def test_damaged_levels_are_unknown_until_they_are_made_anew(filled: Store, content: bytes) -> None:
    first = tops(filled)
    levels_file(filled.path, 0).write_bytes(content)
    assert read_levels(filled.path, filled.generation) is None
    np.testing.assert_array_equal(tops(filled), first)


def test_levels_of_another_bank_or_adapter_are_unknown(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    update_levels(filled)
    identity = dataclasses.replace(filled.settings.identity, adapter="home")
    other = dataclasses.replace(filled.generation, settings=dataclasses.replace(filled.settings, identity=identity))
    assert read_levels(filled.path, filled.generation) and read_levels(filled.path, other) is None
    monkeypatch.setattr(levels, "FORMAT", 0)
    assert read_levels(filled.path, filled.generation) is None


def test_few_segments_have_no_levels(tmp_path: Path, tiny_encoder: Encoder) -> None:
    store = Store.create(tmp_path / "indexes" / "default", IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    update_levels(store)
    add(store, *range(4))
    update_levels(store)
    assert read_levels(store.path, store.generation) is None and not levels_file(store.path, 0).exists()
    add(store, 4)
    assert len(tops(store)) == 256
    remove(store, [make_row("/videos/0.mp4").path])
    update_levels(store)
    assert read_levels(store.path, store.generation) is None


def test_without_its_model_an_index_has_no_levels(store: Store) -> None:
    rows = [make_row(f"/videos/{number}.mp4", 4) for number in range(10)]
    put(store, rows, [embed(row) for row in rows])
    update_levels(store)  # the text half has other weights than those the index names
    assert read_levels(store.path, store.generation) is None


def test_levels_belong_to_the_files_of_an_index(filled: Store) -> None:
    update_levels(filled)
    levels_file(filled.path, 7).write_bytes(b"of a generation that is gone")
    assert [file.name for file in leftovers(filled.path)] == []
    assert levels_file(filled.path, 0).is_file() and read_generation(filled.path).number == 0
    delete_index(filled.path)
    assert not filled.path.exists()
