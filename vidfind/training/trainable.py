"""Prepares a model for training: which parameters learn, and which words of its owner's get a place among the tokens.

A new word starts as a copy of the embeddings of a known noun (PALAVRA: Cohen et al., ECCV 2022), so that it means that
noun at once; training then moves it together with everything else that learns. Departures from PALAVRA: the noun is
found where the user gives none, by how well it places the captions; the word's own vectors are trained, and no network
that predicts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidfind.encoders.encoder import Encoder
from vidfind.encoders.table import ENCODERS
from vidfind.encoders.tempme import fit_position
from vidfind.errors import BadInput, UnsupportedModel
from vidfind.models.adapter_file import PARAMETER, Adapter
from vidfind.models.lora import attach_lora, attach_words, directions_of, fold_adapter, with_words
from vidfind.text.tokenizer import DIRECTIONS, LEARNED, VOCABULARY_SIZE, ClipTokenizer, Learned, tokenize, word_key
from vidfind.towers.text import embedding_table, has_text_transformer
from vidfind.towers.whole import WholeTower
from vidfind.training.pairs import Pair
from vidfind.training.recipe import Recipe, check_recipe, is_frozen
from vidfind.words.naming import NewWord, best_noun, candidates, has_any, has_word, read_nouns

CONTEXT = 77
TEXTS_A_BATCH = 64
PAIRS_FITTED = 256
TOKENS = (LEARNED, DIRECTIONS)
"""The tensors of learned words."""


def prepare(
    encoder: Encoder, recipe: Recipe, start: Adapter | None
) -> tuple[dict[str, nn.Parameter], dict[str, Tensor]]:
    """Prepares the model of `encoder` for training that starts from the adapter `start`.

    Returns the parameters that learn, by their names in an adapter, and the tensors of `start` that stay unchanged; all
    other parameters are frozen. Raises UnsupportedModel, and BadInput if the recipe does not fit the encoder."""
    model = encoder.model
    if not has_text_transformer(model):
        raise UnsupportedModel(
            f"{encoder.identity.model} cannot be fine-tuned: its text tower is one of the package transformers."
        )
    if isinstance(encoder.tower, WholeTower) and not recipe.text_only:
        raise UnsupportedModel(
            f"The image tower of {encoder.identity.model} runs only whole, and cannot be fine-tuned. "
            "Add --text-only to train the text tower alone."
        )
    start = start or Adapter({})
    words = (
        {LEARNED: start.tensors[LEARNED], DIRECTIONS: directions_of(model, start)} if LEARNED in start.tensors else {}
    )
    start = Adapter({name: tensor for name, tensor in start.tensors.items() if name not in TOKENS}, start.info)
    check_recipe(encoder, recipe)
    model.requires_grad_(False)
    trained: dict[str, nn.Parameter] = {}
    kept: dict[str, Tensor] = {}
    if recipe.full:
        fold_adapter(model, start)
        trained = {name: p.requires_grad_() for name, p in model.named_parameters() if name != "logit_scale"}
    elif not is_frozen(encoder):
        trained_on = {
            name
            for name in start.tensors
            if is_addition(name) and not (recipe.text_only and name.startswith("visual."))
        }
        kept = {name: tensor for name, tensor in start.tensors.items() if name not in trained_on}
        fold_adapter(model, Adapter(kept))
        found = [len(tensor) for name, tensor in start.tensors.items() if name.endswith("lora_a")]
        trained = attach_lora(model, found[0] if found else recipe.rank, recipe.text_only)
        with torch.no_grad():
            for name in trained_on & trained.keys():
                trained[name].copy_(start.tensors[name])
    encoder.parameters.update({name: tensor.to(encoder.device) for name, tensor in start.parameters().items()})
    if not recipe.text_only:
        # Random initial values are drawn again, with the seed of the recipe.
        known = start.parameters() if is_frozen(encoder) else encoder.parameters
        for name, untrained in ENCODERS[encoder.identity.encoder].parameters(encoder.backbone).items():
            value = fit_position(known.get(name, untrained), len(untrained)).to(encoder.device)
            encoder.parameters[name] = trained[name] = nn.Parameter(value.detach().clone())
    if words and start.info:
        taught = teach(encoder, start.info.learned, *words.values())
        trained |= taught if not is_frozen(encoder) else {}
        kept |= words if is_frozen(encoder) else {}
    return trained, kept


def is_addition(name: str) -> bool:
    """Whether a tensor of an adapter is an addition to CLIP's own weights: LoRA, a parameter of the encoder, or learned
    words."""
    return ".lora_" in name or PARAMETER.fullmatch(name) is not None or name in TOKENS


def can_learn_words(encoder: Encoder) -> bool:
    """Whether the tokenizer of an encoder is CLIP's own, which can be taught words."""
    has_words = has_text_transformer(encoder.model) and len(embedding_table(encoder.model)) >= VOCABULARY_SIZE
    return has_words and isinstance(encoder.tokenizer.tokenizer, ClipTokenizer)


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

    `captions` (N) of clips with vectors (N, D) of unit length; `asked`: words with a noun each, empty where it is to be
    found; `known`: words that are learned already. Raises BadInput for a noun that the model does not know."""
    is_blank = partial(_is_blank, embedding_table(encoder.model))

    def encode(texts: Sequence[str]) -> np.ndarray:
        parts = [texts[i : i + TEXTS_A_BATCH] for i in range(0, len(texts), TEXTS_A_BATCH)]
        return torch.cat([encoder.encode_text(part) for part in parts]).numpy()

    for word, noun in asked.items():
        if noun and is_blank(tokenize(noun, CONTEXT)[0][1:-1]):
            raise BadInput(f"The model does not know {noun!r}: write --word {word} alone, and vidfind finds what fits.")
    vectors = clips.cpu().numpy()
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


def teach(encoder: Encoder, learned: Learned, rows: Tensor, directions: Tensor) -> dict[str, nn.Parameter]:
    """Lets an encoder read learned words, with the embeddings (K, W) of their tokens and their directions (K, D).

    Returns both as parameters, by their names in an adapter."""
    encoder.tokenizer = with_words(encoder.tokenizer, learned)
    return attach_words(encoder.model, rows, directions)


def facts_of(found: Sequence[NewWord], captions: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the facts about new words that an adapter keeps: noun, number of tokens, and captions of the training."""
    return {
        word.text: {
            "noun": word.noun,
            "tokens": len(tokenize(word.noun, CONTEXT)[0]) - 2,  # without the frame of start and end
            "captions": sum(has_word(caption, word.text) for caption in captions),
        }
        for word in found
    }


def pairs_to_fit(pairs: Sequence[Pair], words: Sequence[str], seed: int) -> list[Pair]:
    """Returns pairs for the training of words alone: up to PAIRS_FITTED with a word, and as many without."""
    drawn = Random(seed).sample(list(pairs), len(pairs))
    own = [pair for pair in drawn if has_any(pair.caption, words)]
    rest = [pair for pair in drawn if not has_any(pair.caption, words)]
    return [*own[:PAIRS_FITTED], *rest[:PAIRS_FITTED]] if own else []


def first_rows(encoder: Encoder, noun: str) -> Tensor:
    """Returns the embeddings (n, W) that a word starts from: those of its noun."""
    return embedding_table(encoder.model)[tokenize(noun, CONTEXT)[0][1:-1]].clone()
