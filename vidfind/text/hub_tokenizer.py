"""Tokenizers that are a file `tokenizer.json` of the Hugging Face hub: those of SigLIP, SigLIP2, CLIPA and MetaCLIP 2.

They are read by the library tokenizers alone. A few others need the package transformers, which is imported in seconds.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.errors import ModelUnavailable
from vidfind.text.tokenizer import NO_WORDS, ClipTokenizer, Learned, Tokenizer, repaired, single_spaced

if TYPE_CHECKING:
    import tokenizers

FILE = "tokenizer.json"
PUNCTUATION = str.maketrans({"_": " ", **dict.fromkeys(string.punctuation.replace("_", ""))})
SPACE = "▁"
"""What sentencepiece writes for the space before a word."""


@dataclass(frozen=True)
class Framing:
    """The tokens that open_clip puts around those of a text."""

    start: str
    """Empty for none."""
    end: str
    pad: str


T5, GEMMA = Framing("", "</s>", "</s>"), Framing("", "<eos>", "<pad>")
BERT, XLM = Framing("[CLS]", "[PAD]", "[PAD]"), Framing("<s>", "</s>", "<pad>")
FRAMINGS = {
    "timm/ViT-B-16-SigLIP": T5,
    "timm/ViT-B-16-SigLIP-i18n-256": T5,
    "bert-base-uncased": BERT,  # for CLIPA, which reads padding for the end of a text
    "facebook/xlm-v-base": XLM,
}
"""By the repository of the tokenizer; all repositories of SigLIP2 have GEMMA."""
CLIP = ""
"""The repository of CLIP's tokenizer, which is part of open_clip."""
ENGLISH = (CLIP, "timm/ViT-B-16-SigLIP", "bert-base-uncased", "roberta-base")


def framing_of(config: Mapping[str, Any]) -> Framing | None:
    """Returns the framing of a model with this `config` of open_clip; None if its tokenizer is of another kind."""
    text = config["text_cfg"]
    name, options = tokenizer_of(config), text.get("tokenizer_kwargs") or {}
    framing = GEMMA if "SigLIP2" in name else FRAMINGS.get(name)
    has_own_end = framing is BERT
    is_known = options.keys() <= {"clean", "strip_sep_token"} and options.get("clean", "whitespace") in CLEANINGS
    return framing if is_known and bool(options.get("strip_sep_token")) == has_own_end else None


def is_english(config: Mapping[str, Any]) -> bool:
    """Whether the tokenizer of a model with this `config` of open_clip was made for English."""
    return tokenizer_of(config) in ENGLISH


def tokenizer_of(config: Mapping[str, Any]) -> str:
    """Returns the repository of the hub with the tokenizer of a model, or CLIP."""
    return str(config["text_cfg"].get("hf_tokenizer_name", CLIP))


def make_tokenizer(config: Mapping[str, Any], file: Path | None, learned: Learned = NO_WORDS) -> Tokenizer:
    """Returns the tokenizer of a model with this `config` of open_clip.

    `file`: the tokenizer.json of a model that needs one. Raises ModelUnavailable if it is not that of the model, and if
    the tokenizer cannot be taught words, or needs the package transformers and that is missing."""
    text = config["text_cfg"]
    length = text.get("context_length", 77)
    if tokenizer_of(config) == CLIP:
        return ClipTokenizer(length, learned)
    if learned:
        raise ModelUnavailable("The adapter has learned words, which only the tokenizer of CLIP can read.")
    cleaning = CLEANINGS[(text.get("tokenizer_kwargs") or {}).get("clean", "whitespace")]
    if file and (framing := framing_of(config)):
        return read_tokenizer(file, framing, cleaning, length, text.get("vocab_size", 49408))
    return fetch_tokenizer(tokenizer_of(config), cleaning, length)


def needs_transformers(config: Mapping[str, Any]) -> bool:
    """Whether a model with this `config` of open_clip can read texts only with the package transformers."""
    has_other = tokenizer_of(config) != CLIP and framing_of(config) is None
    return has_other or "hf_model_name" in config["text_cfg"]


@dataclass(frozen=True)
class HubTokenizer:
    """A tokenizer of the hub, for a model that reads `context_length` ids."""

    tokens: tokenizers.Tokenizer
    clean: Callable[[str], str]
    context_length: int
    start: Sequence[int]
    end: int
    pad: int
    unknown: frozenset[int]
    """The ids of what the tokenizer has no token for, and of the space before it."""

    def tokenize(self, text: str) -> tuple[list[int], bool]:
        ids = self.tokens.encode(self.clean(text), add_special_tokens=False).ids
        room = self.context_length - len(self.start) - 1
        return [*self.start, *ids[:room], self.end], len(ids) > room

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.tokenize(text)[0] for text in texts]

    def inner(self, ids: Sequence[int]) -> Sequence[int]:
        return ids[len(self.start) : -1]

    def is_unknown(self, ids: Sequence[int]) -> bool:
        return self.unknown.issuperset(ids)


def read_tokenizer(
    file: Path, framing: Framing, clean: Callable[[str], str], context_length: int, vocabulary: int
) -> HubTokenizer:
    """Reads a tokenizer.json for a model that knows so many tokens. Raises ModelUnavailable."""
    from tokenizers import Tokenizer

    try:
        tokens = Tokenizer.from_file(str(file))
    except Exception as error:  # it raises nothing narrower
        raise ModelUnavailable(f"{file} cannot be read as a tokenizer: {str(error).splitlines()[0]}.") from error
    tokens.no_truncation()
    tokens.no_padding()
    wanted = list(dict.fromkeys(name for name in (framing.start, framing.end, framing.pad) if name))
    ids = {name: id for name in wanted if (id := tokens.token_to_id(name)) is not None}
    if len(ids) < len(wanted) or tokens.get_vocab_size() > vocabulary:
        raise ModelUnavailable(
            f"{file} is the tokenizer of another model: it has {tokens.get_vocab_size():,} tokens, where this one has "
            f"{vocabulary:,} with {' and '.join(wanted)}."
        )
    names = ("<unk>", "[UNK]", SPACE)
    return HubTokenizer(
        tokens,
        clean,
        context_length,
        [ids[framing.start]] if framing.start else [],
        ids[framing.end],
        ids[framing.pad],
        frozenset(id for name in names if (id := tokens.token_to_id(name)) is not None),
    )


@dataclass(frozen=True)
class TransformersTokenizer:
    """A tokenizer of the package transformers, for a model that reads `context_length` ids."""

    tokens: Any
    clean: Callable[[str], str]
    context_length: int
    pad: int

    def tokenize(self, text: str) -> tuple[list[int], bool]:
        text, length = self.clean(text), self.context_length
        ids: list[int] = self.tokens(text, truncation=True, max_length=length).input_ids
        return ids, len(ids) == length and len(self.tokens(text).input_ids) > length

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.tokenize(text)[0] for text in texts]

    def inner(self, ids: Sequence[int]) -> Sequence[int]:
        return [id for id in ids if id not in self.tokens.all_special_ids]

    def is_unknown(self, ids: Sequence[int]) -> bool:
        return False  # these are of many languages, and spell what they do not know


def fetch_tokenizer(name: str, clean: Callable[[str], str], context_length: int) -> TransformersTokenizer:
    """Returns a tokenizer of the hub that only transformers can read. Raises ModelUnavailable."""
    try:
        tokens = import_module("transformers").AutoTokenizer.from_pretrained(name)
    except Exception as error:  # it raises its own errors, those of the hub's client and of what it imports
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ModelUnavailable(
            f"The tokenizer {name} cannot be read: {reason}. It needs the package transformers, which is not part of "
            "vidfind, and the network once."
        ) from error
    return TransformersTokenizer(tokens, clean, context_length, tokens.pad_token_id)


def canonicalised(text: str) -> str:
    """Returns a text as SigLIP reads it: repaired, without punctuation, in lower case, with single spaces."""
    return single_spaced(repaired(text).strip().translate(PUNCTUATION).lower())


def _spaced(text: str) -> str:
    return single_spaced(repaired(text))


CLEANINGS: Mapping[str, Callable[[str], str]] = {"canonicalize": canonicalised, "whitespace": _spaced}
