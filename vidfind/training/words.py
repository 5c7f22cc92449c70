"""Teaches an encoder words of its owner's: finds them in captions, and gives each a place among the tokens.

A new word starts as a copy of the embeddings of a known noun (PALAVRA: Cohen et al., ECCV 2022), so that it means that
noun at once; training then moves it together with everything else that learns. Departures from PALAVRA: the noun is
found where the user gives none, by how well it places the captions; the word's own vectors are trained, and no network
that predicts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.encoders.encoder import Encoder
from vidfind.encoders.towers import embedding_table, has_plain_text_tower
from vidfind.errors import BadInput
from vidfind.models.lora import attach_words, with_words
from vidfind.models.tokenizer import VOCABULARY_SIZE, Learned, tokenize, word_key
from vidfind.words.naming import NewWord, best_noun, candidates, has_word, read_nouns

CONTEXT = 77
TEXTS_A_BATCH = 64


def can_learn_words(encoder: Encoder) -> bool:
    """Whether the text tower and the tokenizer of an encoder are CLIP's own, which can be taught words."""
    table = embedding_table(encoder.model) if has_plain_text_tower(encoder.model) else ()
    return len(table) >= VOCABULARY_SIZE and getattr(encoder.tokenizer, "vocab_size", 0) == VOCABULARY_SIZE


def check_words(asked: Mapping[str, str], captions: Sequence[str]) -> None:
    """Raises BadInput for a word that the user wants to teach, but that no caption has."""
    for word in asked:
        if not word_key(word) or not any(has_word(caption, word) for caption in captions):
            raise BadInput(f"No caption has the word {word!r}. Give --word a word of your captions: --word Rex=dog.")


def may_be_words(captions: Sequence[str], encoder: Encoder) -> list[str]:
    """Returns words of captions that the model may not know."""
    return list(candidates(captions, partial(_is_blank, embedding_table(encoder.model))))


def _is_blank(table: Tensor, ids: Sequence[int]) -> bool:
    return not table[list(ids)].any()


def new_words(
    captions: Sequence[str],
    clips: Tensor,
    encoder: Encoder,
    asked: Mapping[str, str],
    known: Mapping[str, Any],
) -> list[NewWord]:
    """Returns the words to be learned: those that the user asks for, and those that the model cannot place.

    `captions` (N) of clips with vectors (N, D); `asked`: words with a noun each, empty where it is to be found;
    `known`: words that are learned already. Raises BadInput for a noun that the model does not know."""
    is_blank = partial(_is_blank, embedding_table(encoder.model))

    def encode(texts: Sequence[str]) -> np.ndarray:
        parts = [texts[i : i + TEXTS_A_BATCH] for i in range(0, len(texts), TEXTS_A_BATCH)]
        return torch.cat([encoder.encode_text(part) for part in parts]).numpy()

    for word, noun in asked.items():
        if noun and is_blank(tokenize(noun, CONTEXT)[0][1:-1]):
            raise BadInput(f"The model does not know {noun!r}: write --word {word} alone, and vidfind finds what fits.")
    vectors = F.normalize(clips, dim=-1).cpu().numpy()
    scale = float(encoder.model.logit_scale.detach().exp())
    taken = {word_key(word) for word in known}
    found = [NewWord(word, noun, True) for word, noun in asked.items() if word_key(word) not in taken]
    taken |= {word_key(word.text) for word in found}
    nouns = [noun for noun in read_nouns(encoder.identity.model) if noun not in taken]
    words = []
    for word, is_sure in [
        *((word.text, True) for word in found),
        *((word, sure) for word, sure in candidates(captions, is_blank).items() if word_key(word) not in taken),
    ]:
        noun, is_clear = asked.get(word, ""), True
        if not noun:
            noun, is_clear = best_noun(word, captions, vectors, nouns, encode, scale)
        if is_sure or is_clear:
            words.append(NewWord(word, noun, word in asked))
    return words


def teach(encoder: Encoder, learned: Learned, rows: Tensor) -> nn.Parameter:
    """Lets an encoder read learned words, with the embeddings (K, W) of their tokens. Returns these as a parameter."""
    encoder.tokenizer = with_words(encoder.tokenizer, learned)
    return attach_words(encoder.model, rows)


def first_rows(encoder: Encoder, noun: str) -> Tensor:
    """Returns the embeddings (n, W) that a word starts from: those of its noun."""
    return embedding_table(encoder.model)[tokenize(noun, CONTEXT)[0][1:-1]].clone()
