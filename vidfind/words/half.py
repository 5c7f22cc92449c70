"""The text half of the model of an index, which turns words into vectors without PyTorch."""

from __future__ import annotations

import logging
import string
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfind.errors import ModelUnavailable, Unusable
from vidfind.models import load as registry
from vidfind.models.adapter_file import read_info
from vidfind.models.catalog import OPENAI, TINY
from vidfind.models.hub import find_tokenizer, find_weights
from vidfind.models.load import known_config as known_config
from vidfind.store.mismatch import require_weights
from vidfind.store.places.path import IndexPath, local_copy
from vidfind.store.settings import Generation, adapter_file_name
from vidfind.text import tower as text
from vidfind.text.config import open_clip_config
from vidfind.text.hub_tokenizer import is_english, make_tokenizer
from vidfind.text.shape import read_shape
from vidfind.text.tokenizer import NO_WORDS
from vidfind.words.bank import is_word

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
    from vidfind.store.store import Store

log = logging.getLogger(__name__)


def read_text_half(
    path: IndexPath, generation: Generation, announce: Callable[[str], None] = log.info
) -> text.TextTower | None:
    """Returns the text half of the model of the index at `path`; None if the whole model has to be loaded.

    Raises ModelUnavailable, and IndexMismatch if the weights are not the same any more."""
    ours, adapter = generation.settings.identity, own_adapter(path, generation)
    config = known_config(ours.model, ours.pretrained)
    if config is None or (ours.adapter and not adapter):
        return None
    if adapter and adapter_file_name(adapter) != adapter.name:  # damaged: it is named by its content
        return None
    require_weights(path, ours)
    if read_shape(config) is None:
        return None
    weights = find_weights(ours.model, ours.pretrained, announce)
    digest = registry.weights_digest(ours.model, weights, ours.pretrained)
    info = read_info(adapter) if adapter else None
    if info:
        digest = registry.joint_digest(digest, info.video_digest)
    if digest != ours.weights_digest:
        return None
    log.info("reading the text half of %s", weights)
    learned = info.learned if info else NO_WORDS
    tokenizer = make_tokenizer(config, find_tokenizer(ours.model, config, weights, announce), learned)
    return text.read_text_tower(config, tokenizer, weights, adapter, learned)


def own_adapter(path: IndexPath, generation: Generation) -> Path | None:
    """Returns the index's own copy of its adapter; None if it is not there."""
    if generation.adapter_file:
        with suppress(FileNotFoundError):
            file = local_copy(path / generation.adapter_file)
            return file if file.is_file() else None
    return None


def owner_words(path: IndexPath, generation: Generation) -> list[str]:
    """Returns the words that the adapter of an index has learned, as their owner writes them."""
    with suppress(ModelUnavailable):  # a damaged adapter is reported by the search itself
        if adapter := own_adapter(path, generation):
            return list(read_info(adapter).words)
    return []


def knows_only_english(model: str) -> bool:
    """Whether a model was trained on English captions only: its tokenizer is made for English."""
    config = known_config(model, OPENAI) if model == TINY else open_clip_config(model)
    return config is not None and is_english(config)


def unknown_words(half: text.TextTower, query: str) -> list[str]:
    """Returns the words of a text that the model has not learned: it has no tokens for them, or none with a meaning.

    Tokens whose embeddings are all zero have no meaning."""
    words = list(dict.fromkeys(word.strip(string.punctuation) for word in query.split() if is_word(word)))
    tokens = [half.tokenizer.inner(ids) for ids in half.tokenizer.tokenize_all(words)]
    return [word for word, ids in zip(words, tokens, strict=True) if ids and _is_unknown(half, ids)]


def _is_unknown(half: text.TextTower, ids: Sequence[int]) -> bool:
    return half.tokenizer.is_unknown(ids) or not half.embed(ids).any()


FUNCTION_WORDS = frozenset(
    ("a", "an", "the", "one", "and", "or", "of", "in", "on", "at", "to", "from", "with", "by", "is", "are", "it", "its")
)
"""Words that name nothing to look for."""


def knows_nothing(half: text.TextTower, query: str) -> bool:
    """Whether the model has never learnt any word of a text that names something: its vector then means nothing."""
    unknown = set(unknown_words(half, query))
    words = {word.strip(string.punctuation) for word in query.split() if is_word(word)}
    return bool(unknown) and all(word.lower() in FUNCTION_WORDS for word in words - unknown)


def encode_texts(half: text.TextTower, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Returns the vectors (N, D) of N texts, of unit length."""
    features = half.encode(texts)
    vectors: npt.NDArray[np.float32] = features / np.linalg.norm(features, axis=1, keepdims=True)
    return vectors


def text_encoder(
    store: Store, load: Callable[[], Encoder], announce: Callable[[str], None]
) -> Callable[[Sequence[str]], npt.NDArray[np.float32]]:
    """Returns a function from N texts to their vectors (N, D), which needs no PyTorch if the text half can be read.

    `load` is called for the whole encoder otherwise. The function raises Unusable for a text that is longer than the
    model can read."""
    half = read_text_half(store.path, store.generation, announce)

    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        tokenizer = half.tokenizer if half else load().tokenizer.tokenizer
        length = tokenizer.context_length
        for one, ids in zip(texts, tokenizer.tokenize_all(texts), strict=True):
            if len(ids) == length and tokenizer.tokenize(one)[1]:
                raise Unusable(f"The model reads {length} tokens, and this is longer: {one!r}. Use a shorter name.")
        vectors: npt.NDArray[np.float32] = (
            encode_texts(half, texts) if half else load().encode_text(list(texts)).numpy()
        )
        return vectors

    return encode
