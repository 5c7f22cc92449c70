"""Tokenizers that are files against open_clip's HFTokenizer, which reads them with the package transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import open_clip
import pytest

from tests.support.made_tokenizers import write_bert, write_gemma, write_t5, write_xlm
from vidfind.models.load import load_tokenizer
from vidfind.text.config import open_clip_config
from vidfind.text.hub_tokenizer import make_tokenizer
from vidfind.text.padded import PaddedTokenizer

pytest.importorskip("transformers", reason="the package transformers is not part of vidfind")
SUBJECTS = (
    *("a dog catches a frisbee", "ein Hund fängt eine Frisbeescheibe", "un chien attrape un frisbee"),
    *("un perro atrapa un disco volador", "собака ловит фрисби", "狗接住了飞盘", "犬がフリスビーをキャッチする"),
    *("개가 원반을 잡는다", "कुत्ता फ्रिसबी पकड़ता है", "كلب يمسك بالقرص الطائر", "pes chytá létající talíř"),
    "o cão apanha o disco",
)
"""The same in twelve languages."""
FRAMES = (
    *("{}", "{}!", "  {} ", "A photo of: {}.", "{}, {}", "“{}” & more", "{} 😀", "{} 3/4 of 100 %", "{}\n{}"),
    *("{}_{}", "Hello;world {}", "<b>{}</b>", "&amp; {}", "É {} ñ", "{} - {} - {}", "{}..." + " and" * 90, "THE {} II"),
)
SENTENCES = ["", " ", *(frame.replace("{}", subject) for subject, frame in product(SUBJECTS, FRAMES))]
NEEDED = {
    "ViT-B-32-SigLIP2-256": (write_gemma, {"pad_token": "<pad>", "eos_token": "<eos>"}),
    "ViT-B-16-SigLIP": (write_t5, {"pad_token": "</s>", "eos_token": "</s>"}),
    "ViT-L-14-CLIPA": (write_bert, {"pad_token": "[PAD]", "sep_token": "[SEP]", "cls_token": "[CLS]"}),
    "ViT-H-14-worldwide": (write_xlm, {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"}),
}
"""A small file for each kind of tokenizer, and what stands in the settings beside it."""


def test_there_are_enough_sentences() -> None:
    assert len(set(SENTENCES)) >= 200


@pytest.mark.network
@pytest.mark.parametrize("model", ["ViT-B-32-SigLIP2-256", "ViT-B-16-SigLIP", "ViT-L-14-CLIPA"])
def test_ids_of_the_files_of_the_hub_are_those_of_open_clip(model: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(model, "", tmp_path)
    assert tokenizer(SENTENCES).tolist() == open_clip.get_tokenizer(model)(SENTENCES).tolist()


@pytest.mark.parametrize("model", NEEDED)
def test_ids_of_small_files_are_those_of_open_clip(model: str, tmp_path: Path) -> None:
    write, special = NEEDED[model]
    file = framed(write, model, tmp_path)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    config = open_clip_config(model)
    assert config
    text = config["text_cfg"]
    theirs = open_clip.tokenizer.HFTokenizer(
        str(tmp_path), context_length=text.get("context_length", 77), **text.get("tokenizer_kwargs", {})
    )
    ours = PaddedTokenizer(lambda: make_tokenizer(config, file))
    assert ours(SENTENCES).tolist() == theirs(SENTENCES).tolist()


def framed(write: Callable[[Path], Path], model: str, folder: Path) -> Path:
    """A small tokenizer.json that frames texts as that of the model does."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    file = write(folder)
    made = Tokenizer.from_file(str(file))
    made.no_truncation()
    template = {
        "ViT-B-32-SigLIP2-256": "$A <eos>",
        "ViT-B-16-SigLIP": "$A </s>",
        "ViT-L-14-CLIPA": "[CLS] $A [SEP]",
        "ViT-H-14-worldwide": "<s> $A </s>",
    }[model]
    names = [name for name in template.split() if name != "$A"]
    made.post_processor = TemplateProcessing(template, special_tokens=[(one, made.token_to_id(one)) for one in names])
    made.save(str(file))
    return file
