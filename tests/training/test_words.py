"""Words of the owner's: found in captions, placed among the tokens, and read with and without PyTorch."""

from __future__ import annotations

import copy
import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.made_tokenizers import tokenizer_of, write_t5
from tests.support.ran import Run
from vidfind.demo.collection import draw_collection
from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput, ModelUnavailable
from vidfind.models.adapter_file import Adapter, read_adapter, write_adapter
from vidfind.models.catalog import TINY_FOLDER, TINY_WEIGHTS
from vidfind.models.load import load_encoder
from vidfind.text.config import read_config
from vidfind.text.padded import PaddedTokenizer
from vidfind.text.tokenizer import (
    DIRECTIONS,
    LEARNED,
    ClipTokenizer,
    Learned,
    learned_ids,
    tokenize,
    tokenize_all,
)
from vidfind.text.tower import read_text_tower
from vidfind.training.recall import WordMarks, likely_range
from vidfind.training.recipe import Recipe
from vidfind.training.trainable import can_learn_words, new_words, prepare
from vidfind.words.naming import best_noun, candidates, check_words, has_word, replaced

WORDS = learned_ids({"Rex": 1, "grandma's garden": 2, "Mar": 1})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Rex runs", ["rex"]),
        ("a REX, and rex's ball", ["rex"]),
        ("two rexs", ["rex"]),
        ("Grandma's  GARDEN in the rain", ["grandma 's garden"]),
        ("grandma in the garden", []),
        ("a trex", []),
        ("on Mars", []),
        ("mar and rex", ["mar", "rex"]),
    ],
)
def test_learned_words_are_found_whole_whatever_their_case(text: str, found: list[str]) -> None:
    ids = tokenize(text, 77, WORDS)[0]
    assert list(dict.fromkeys(id for id in ids if id < 0)) == [id for word in found for id in WORDS[word]]


def test_learned_words_have_ids_of_their_own_and_the_end_of_text_keeps_the_highest() -> None:
    ids, is_cut = tokenize("a Rex in grandma's garden", 77, WORDS)
    assert (ids[2], ids[-3:-1], is_cut) == (-4, [-3, -2], False)
    assert max(ids) == ids[-1] == tokenize("a", 77)[0][-1]
    assert tokenize_all(["a Rex in grandma's garden"], 77, WORDS) == [ids]
    assert tokenize("a dog in the garden", 77, WORDS) == tokenize("a dog in the garden", 77)


def test_names_and_words_in_pieces_may_be_new_and_words_of_all_captions_are_not() -> None:
    captions = [f"{who} and the zorpy ball number {n} of the film" for n in range(5) for who in ("my Rex", "a dog")]
    assert candidates(captions, lambda ids: False) == {"Rex": False}
    assert list(candidates([*captions, *["a tree"] * 9, *(f"a tree {n}" for n in range(9))], lambda ids: False)) == [
        "zorpy",
        "Rex",
    ]


def test_a_plural_counts_as_its_singular() -> None:
    captions = [*(f"a zorp {n}" for n in range(6)), *(f"two zorps {n}" for n in range(5)), *map(str, range(20))]
    assert list(candidates(captions, lambda ids: len(ids) > 1)) == ["zorp"]
    assert has_word("Two Zorps!", "zorp") and not has_word("zorpish", "zorp")
    assert replaced("two zorps, one Zorp", "zorp", "star") == "two star, one star"


def test_the_noun_that_places_captions_best_is_found() -> None:
    nouns = ["square", "triangle", "star"]
    captions = ["a blip 1", "a blip 2", "a square 3", "a star 4", "a blip 5"]
    axes = dict(zip([*nouns, "other"], np.eye(4), strict=True))

    def encode(texts: list[str]) -> np.ndarray:
        return np.stack([next((axes[noun] for noun in nouns if noun in text), axes["other"]) for text in texts])

    clips = encode([caption.replace("blip", "triangle") for caption in captions])
    assert best_noun("blip", captions, clips, nouns, encode, 5.0) == ("triangle", True)  # type: ignore[arg-type]
    assert best_noun("square", captions, clips, nouns, encode, 5.0) == ("square", False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("marks", "verdict"),
    [
        (WordMarks(4, 0, 3, 1.0, 0.3), "learned"),
        (WordMarks(4, 0, 1, 0.2, 0.3), "unknown"),
        (WordMarks(4, 1, 0, -0.1, 0.3), "not learned"),
        (WordMarks(4, 4, 4, -0.1, 0.3), "unknown"),
        (WordMarks(2, 0, 2, 1.0, 0.1), "unknown"),
        (WordMarks(0, 0, 0, 0.0, float("inf")), "unknown"),
    ],
)
def test_a_word_is_learned_where_its_captions_place_their_videos_better_with_it(marks: WordMarks, verdict: str) -> None:
    assert marks.verdict == verdict


def test_a_range_is_wide_for_few_captions_and_holds_their_share() -> None:
    assert likely_range(0, 0) == (0, 100)
    few, many = likely_range(1, 2), likely_range(100, 200)
    assert few[0] < many[0] < 50 < many[1] < few[1]
    assert likely_range(0, 10)[0] == 0 and likely_range(10, 10)[1] == pytest.approx(100)


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of captions of sixteen drawn videos, in which a shape that moves sideways is a blip."""
    folder = tmp_path_factory.mktemp("captioned")
    drawn = draw_collection(folder / "films", 16, seed=5)
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption"])
        for number, (path, caption) in enumerate(drawn):
            for noun in ("triangle", "circle") if number % 2 else ():
                caption = caption.replace(noun, "blip")
            writer.writerow([path.relative_to(folder), caption])
    return folder / "captions.csv"


def test_a_word_is_learned_through_the_command_line_and_searched_without_pytorch(run: Run, captioned: Path) -> None:
    ran = run(
        *("finetune", "--pairs", captioned, "--model", "tiny", "--text-only", "--epochs", 1, "--no-use"),
        *("--word", "blip=triangle"),
    )
    assert ran.code == 0, ran.err
    said = " ".join(ran.out.split())
    assert "It began as triangle, and trained with " in said
    assert re.search(r" without new words \d \d \d \d+ to \d+ % with blip \d \d \d \d+ to \d+ % ", said)
    assert "began as triangle" in run("adapters", "show", "home").out
    shown = json.loads(run("adapters", "show", "home", "--json").out)
    assert shown["words"]["blip"]["noun"] == "triangle"

    adapter = read_adapter(Path(shown["path"]))
    assert adapter.info
    assert adapter.tensors[DIRECTIONS].any()
    whole = load_encoder("tiny", adapter="home", device="cpu", dtype="float32")
    earlier = Adapter({name: one for name, one in adapter.tensors.items() if name != DIRECTIONS}, adapter.info)
    write_adapter(captioned.parent / "earlier.safetensors", earlier)
    same = load_encoder("tiny", adapter=captioned.parent / "earlier.safetensors", device="cpu", dtype="float32")
    for file, encoder in ((Path(shown["path"]), whole), (captioned.parent / "earlier.safetensors", same)):
        vectors_are_the_same_without_pytorch(file, adapter.info.learned, encoder)
    assert not torch.allclose(whole.encode_text(["a red blip"]), same.encode_text(["a red blip"]), atol=1e-3)
    torch.testing.assert_close(whole.encode_text(["a star"]), same.encode_text(["a star"]), atol=0, rtol=0)

    assert run("index", captioned.parent / "films", "--adapter", "home").code == 0
    assert "does not know: zorp" in run("search", "a zorp").err
    assert "does not know" not in run("search", "a blip").err

    again = load_encoder("tiny", device="cpu", dtype="float32")
    trained, _ = prepare(again, Recipe(text_only=True), adapter)
    torch.testing.assert_close(again.encode_text(["a red blip"]), whole.encode_text(["a red blip"]), atol=1e-5, rtol=0)
    assert all(torch.equal(trained[name], adapter.tensors[name]) for name in (LEARNED, DIRECTIONS))

    for name in (LEARNED, DIRECTIONS):
        write_adapter(
            captioned.parent / "odd.safetensors", replace(adapter, tensors={**adapter.tensors, name: torch.zeros(3, 1)})
        )
        with pytest.raises(ModelUnavailable, match="3 rows for learned words, not 1"):
            read_adapter(captioned.parent / "odd.safetensors")
        write_adapter(
            captioned.parent / "odd.safetensors", replace(adapter, tensors={**adapter.tensors, name: torch.zeros(1, 1)})
        )
        with pytest.raises(ModelUnavailable, match="does not fit the model"):
            load_encoder("tiny", adapter=captioned.parent / "odd.safetensors", device="cpu")


def vectors_are_the_same_without_pytorch(adapter: Path, learned: Learned, encoder: Encoder) -> None:
    config = read_config(TINY_FOLDER / "tiny.json")
    half = read_text_tower(config, ClipTokenizer(77, learned), TINY_WEIGHTS, adapter, learned)
    assert half
    texts = ["a red blip", "BLIP", "two blips and a blip", "a triangle"]
    vectors = half.encode(texts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, encoder.encode_text(texts).numpy(), atol=5e-5)


def test_encoders_from_python_can_be_taught_words_and_those_with_other_tokens_cannot(
    tiny_encoder: Encoder, tmp_path: Path
) -> None:
    assert can_learn_words(tiny_encoder)
    other = copy.copy(tiny_encoder)
    other.tokenizer = PaddedTokenizer(lambda: tokenizer_of("ViT-B-16-SigLIP", write_t5(tmp_path)))
    assert not can_learn_words(other)


def test_words_that_cannot_be_taught_are_refused_with_the_remedy(tiny_encoder: Encoder, run: Run) -> None:
    captions = [f"a blip {n}" for n in range(9)]
    with pytest.raises(BadInput, match="No caption has the word 'Rex'"):
        check_words({"Rex": "star"}, captions)
    with pytest.raises(BadInput, match="does not know 'dog': write --word blip alone"):
        new_words(captions, torch.eye(9, tiny_encoder.dim), tiny_encoder, {"blip": "dog"}, {})
    assert run("finetune", "--pairs", "captions.csv", "--word", "=dog").code == 2
