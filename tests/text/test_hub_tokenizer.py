"""Tokenizers that are files: their ids, framed and padded as open_clip does it with transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest

from tests.support.made_tokenizers import tokenizer_of, write_bert, write_gemma, write_t5, write_xlm
from vidfind.errors import ModelUnavailable
from vidfind.text.config import open_clip_config
from vidfind.text.hub_tokenizer import canonicalised, is_english, make_tokenizer, needs_transformers

WITH_FILE = {
    "ViT-B-32-SigLIP2-256": write_gemma,
    "ViT-B-16-SigLIP": write_t5,
    "ViT-L-14-CLIPA": write_bert,
    "ViT-H-14-worldwide": write_xlm,
}


@pytest.mark.parametrize(
    ("model", "text", "ids"),
    [
        ("ViT-B-32-SigLIP2-256", "A Dog, hund!", [261, 278, 260, 281, 1]),
        ("ViT-B-32-SigLIP2-256", "", [1]),
        ("ViT-B-32-SigLIP2-256", "犬", [4 + 0xE7, 4 + 0x8A, 4 + 0xAC, 1]),
        ("ViT-B-16-SigLIP", "A_Dog, Hund!", [4, 5, 6, 1]),
        ("ViT-B-16-SigLIP", "a cat", [4, 3, 2, 1]),
        ("ViT-L-14-CLIPA", "Two Dogs", [2, 7, 5, 6, 0]),
        ("ViT-H-14-worldwide", "a dog", [0, 5, 6, 2]),
    ],
)
def test_a_text_becomes_the_ids_that_the_model_was_trained_with(
    model: str, text: str, ids: list[int], tmp_path: Path
) -> None:
    tokenizer = tokenizer_of(model, WITH_FILE[model](tmp_path))
    assert tokenizer.tokenize(text) == (ids, False)
    assert tokenizer.tokenize_all([text, text]) == [ids, ids]


@pytest.mark.parametrize(("model", "write"), WITH_FILE.items(), ids=WITH_FILE)
def test_a_text_too_long_is_cut_before_its_end(model: str, write: Callable[[Path], Path], tmp_path: Path) -> None:
    tokenizer = tokenizer_of(model, write(tmp_path))
    (short, _), (ids, is_cut) = tokenizer.tokenize("dog"), tokenizer.tokenize("dog " * 200)
    assert is_cut and len(ids) == tokenizer.context_length
    assert (ids[0] == short[0], ids[-1]) == (True, short[-1])
    assert not tokenizer.tokenize("dog " * (tokenizer.context_length // 3))[1]


def test_padding_is_what_the_model_was_trained_with(tmp_path: Path) -> None:
    pads = {model: tokenizer_of(model, write(tmp_path)).pad for model, write in WITH_FILE.items()}
    assert list(pads.values()) == [0, 1, 0, 1]


def test_words_without_a_token_are_unknown(tmp_path: Path) -> None:
    english = tokenizer_of("ViT-B-16-SigLIP", write_t5(tmp_path))
    assert [english.is_unknown(english.inner(english.tokenize(word)[0])) for word in ("dog", "犬")] == [False, True]
    many = tokenizer_of("ViT-B-32-SigLIP2-256", write_gemma(tmp_path))
    assert not many.is_unknown(many.inner(many.tokenize("犬")[0]))


@pytest.mark.parametrize("text", ["A dog, with_a ball!", "  x\ty ", "It's &amp; &lt;p&gt;", "naïve Ünï", "100 %"])
def test_texts_of_siglip_are_cleaned_as_open_clip_does(text: str) -> None:
    assert canonicalised(text) == open_clip.tokenizer.get_clean_fn("canonicalize")(text)


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"tokenizer of another model: it has 282 tokens.*32,000 with </s>"):
        tokenizer_of("ViT-B-16-SigLIP", write_gemma(tmp_path))
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model": {')
    with pytest.raises(ModelUnavailable, match=r"tokenizer.json cannot be read as a tokenizer"):
        tokenizer_of("ViT-B-16-SigLIP", tmp_path / "tokenizer.json")


def test_few_models_of_open_clip_need_the_package_transformers() -> None:
    configs = {model: open_clip_config(model) for model in open_clip.list_models()}
    need = {model for model, config in configs.items() if config and needs_transformers(config)}
    own = {model for model, config in configs.items() if config and "hf_model_name" in config["text_cfg"]}
    assert own and need - own == {"ViT-L-14-worldwide", "ViT-L-14-worldwide-quickgelu"}  # mt5 has no tokenizer.json


def test_a_tokenizer_that_needs_transformers_is_refused_with_the_reason() -> None:
    config = open_clip_config("ViT-L-14-worldwide")
    assert config
    with pytest.raises(ModelUnavailable, match=r"google/mt5-base cannot be read: .*needs the package transformers"):
        make_tokenizer(config, None)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        *(("ViT-B-32", True), ("PE-Core-B-16", True), ("ViT-B-16-SigLIP", True), ("ViT-L-14-CLIPA", True)),
        *(("ViT-B-32-SigLIP2-256", False), ("ViT-B-16-SigLIP-i18n-256", False), ("xlm-roberta-base-ViT-B-32", False)),
        *(("ViT-H-14-worldwide", False), ("roberta-ViT-B-32", True)),
    ],
)
def test_the_languages_of_a_model_are_those_of_its_tokenizer(model: str, expected: bool) -> None:
    config = open_clip_config(model)
    assert config and is_english(config) == expected
