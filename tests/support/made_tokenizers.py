"""Files tokenizer.json of a few tokens, built as those of SigLIP2, SigLIP, CLIPA and MetaCLIP 2 are."""

from __future__ import annotations

from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from vidfind.text.config import open_clip_config
from vidfind.text.hub_tokenizer import make_tokenizer
from vidfind.text.tokenizer import Tokenizer


def tokenizer_of(model: str, file: Path) -> Tokenizer:
    """The tokenizer of a model of open_clip that is in a file."""
    config = open_clip_config(model)
    assert config
    return make_tokenizer(config, file)


WORDS = ("▁a", "▁dog", "▁hund", "▁two", "▁dogs")


def write_gemma(folder: Path) -> Path:
    """Byte pair encoding, which spells unknown characters in bytes; a text begins without a space."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += ["▁", *"abcdeghiknoruw", "do", "dog", "▁do", "▁dog", "hu", "nd", "hund"]
    merges = [("d", "o"), ("▁", "do"), ("▁do", "g"), ("do", "g"), ("h", "u"), ("n", "d"), ("hu", "nd")]
    vocabulary = {token: id for id, token in enumerate(tokens)}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    return _write(made, folder)


def write_t5(folder: Path) -> Path:
    """Unigrams; a word that it does not know is one token, unknown."""
    made = tokenizers.Tokenizer(
        models.Unigram([(token, -1.0) for token in ("<pad>", "</s>", "<unk>", "▁", *WORDS)], unk_id=2)
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return _write(made, folder)


def write_xlm(folder: Path) -> Path:
    tokens = ("<s>", "<pad>", "</s>", "<unk>", "▁", *WORDS)
    made = tokenizers.Tokenizer(models.Unigram([(token, -1.0) for token in tokens], unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return _write(made, folder)


def write_bert(folder: Path) -> Path:
    vocabulary = {token: id for id, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "##s", "two"))}
    made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _write(made, folder)


def _write(tokenizer: tokenizers.Tokenizer, folder: Path) -> Path:
    tokenizer.enable_truncation(4)  # files of the hub may say so; the model decides
    file = folder / "tokenizer.json"
    tokenizer.save(str(file))
    return file
