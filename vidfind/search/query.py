"""Turns the words of a query into a vector of an index, by the quickest way that works.

The ways, quickest first: the vector kept from when the same was asked before (kept.py); the text half of the model
alone (text/tower.py); the whole model (encoders/encoder.py), which takes seconds to import. Never prints.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from vidfind.errors import VidfindError
from vidfind.models import load as registry
from vidfind.models.catalog import MULTILINGUAL
from vidfind.search.kept import KeptVectors, QueryVector, Vector
from vidfind.search.question.expression import query_words
from vidfind.store.mismatch import require_weights
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import Generation
from vidfind.store.store import Store
from vidfind.text import tower as text
from vidfind.words.half import knows_nothing, knows_only_english, read_text_half, unknown_words
from vidfind.words.language import other_language

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder, EncoderLoader
log = logging.getLogger(__name__)
WITHOUT_WEIGHT = 0.5
"""How much what is left out counts against what is looked for, both divided by their spread."""
KEPT_FORMAT = 1
"""Has to change whenever the same text becomes another vector than before."""

READING_AHEAD = "reading ahead"


class QueryEncoder:
    """Makes vectors of queries, as `generation` of the index at `path` needs them."""

    def __init__(
        self,
        path: IndexPath,
        generation: Generation,
        load_encoder: EncoderLoader = registry.load_choice,
        announce: Callable[[str], None] = log.info,
        repeats_remarks: bool = False,
    ) -> None:
        self._path, self._generation, self._load_encoder, self._announce = path, generation, load_encoder, announce
        self._kept = KeptVectors(path)
        self._loading, self._reading = threading.Lock(), threading.Lock()
        self._typed = ""
        self._ahead: tuple[str, QueryVector] | None = None
        """The words that were read last, and their vector."""
        self._whole: Encoder | None = None
        self._repeats_remarks, self._has_told_language = repeats_remarks, False

    def prepare(self) -> None:
        """Loads now what a query needs that was not asked before. Raises ModelUnavailable, IndexMismatch."""
        if self._tower is None:
            assert self.whole
        else:
            self._tower.encode(["a"])

    def read_ahead(self, typed: str) -> None:
        """Begins to read words in another thread, while more are typed: of these only the rest is to be read then."""
        self._typed = typed
        threading.Thread(target=self._read_typed, args=[typed], name=READING_AHEAD, daemon=True).start()

    def _read_typed(self, typed: str) -> None:
        tower = self._tower
        if tower is not None and tower.shape.is_causal:  # else all is to be read again with each word
            with suppress(VidfindError):  # of an empty text
                self._read(tower, query_words(typed), lambda: typed == self._typed)

    def vector(self, query: str, typed: str | None = None) -> Vector:
        """A query in words -> (D,), of unit length. A warning tells when the model reads only its beginning.

        `typed`: the words that the user gave, where others stand for some of them now.

        Raises BadInput for an empty one, ModelUnavailable, and IndexMismatch if the weights are not the same any more.
        """
        words = query_words(query)
        name = self._name(words)
        kept = name and self._kept.get(name)
        if not kept:
            kept = self._encode(words)
            if unknown := unknown_words(self._tower, words) if self._tower else []:
                if own := [word for word in unknown if typed is None or word in typed]:
                    log.warning("The model does not know: %s.", ", ".join(own))
            elif name:  # otherwise the next time would not tell
                self._kept.put(name, *kept)
        vector, is_cut = kept
        if is_cut:
            log.warning("The query is longer than the model can read: only its beginning counts.")
        self._tell_language(words)
        return vector

    def knows_nothing(self, query: str) -> bool:
        """Whether the model knows no word of a query, so that its vector means nothing."""
        return self._tower is not None and knows_nothing(self._tower, query_words(query))

    def _tell_language(self, words: str) -> None:
        """Says once if a query is not in English, and the model knows nothing else."""
        model = self._generation.settings.identity.model
        if self._has_told_language or not (language := other_language(words)) or not knows_only_english(model):
            return
        self._has_told_language = not self._repeats_remarks
        log.warning(
            "This looks like %s, and the model %s was taught English. Say it in English, or index with a model of many "
            "languages, such as %s.",
            language,
            model,
            MULTILINGUAL,
        )

    @property
    def whole(self) -> Encoder:
        """The encoder that the index was made with; threads that want it at a time load it once."""
        with self._loading:
            if self._whole is None:
                self._whole = load_query_encoder(Store.open(self._path, self._generation), self._load_encoder)
            return self._whole

    def _encode(self, words: str) -> QueryVector:
        self._typed = ""  # what waits to be read ahead need not be read any more
        if self._tower is not None and (read := self._read(self._tower, words)):
            return read
        return encode_query(self.whole, words)

    def _read(
        self, tower: text.TextTower, words: str, is_wanted: Callable[[], bool] = lambda: True
    ) -> QueryVector | None:
        """The vector of words by the text half alone; None if it has no direction, or is not wanted any more."""
        with self._reading:
            if not is_wanted():
                return None
            if self._ahead and self._ahead[0] == words:
                return self._ahead[1]
            ids, is_cut = tower.tokenizer.tokenize(words)
            features = tower.encode_ids([ids])[0]
            if not (np.isfinite(length := np.linalg.norm(features)) and length > 0):
                return None
            self._ahead = words, QueryVector(features / length, is_cut)
            return self._ahead[1]

    @functools.cached_property
    def _tower(self) -> text.TextTower | None:
        """The text half of the model; None where only the whole knows, or says what is wrong."""
        return read_text_half(self._path, self._generation, self._announce)

    def _name(self, words: str) -> bytes:
        """The key that the vector of a query is kept under; empty where it cannot be told what that depends on."""
        ours = self._generation.settings.identity
        if ours.adapter and not self._generation.adapter_file:
            return b""
        depends = [KEPT_FORMAT, ours.model, ours.pretrained, ours.weights_digest, self._generation.adapter_file]
        return hashlib.sha256(json.dumps([*depends, words]).encode()).digest()


def encode_query(encoder: Encoder, query: str) -> QueryVector:
    """The vector of a query, made by the whole model. Raises BadInput for an empty query."""
    words = query_words(query)
    vector: Vector = encoder.encode_text([words])[0].numpy()
    return QueryVector(vector, encoder.tokenizer.is_cut(words))


def combined(plus: Sequence[Vector], minus: Sequence[Vector], spread: Callable[[Vector], float]) -> Vector | None:
    """One vector (D,) for all that is looked for and left out; None if nothing is left of it.

    Each part is divided by its `spread`, so that pictures and words count alike: their similarities to the segments of
    an index vary by different amounts. A part alone is returned as it is."""
    if len(plus) == 1 and not minus:
        return plus[0]
    wanted, unwanted = (sum((one / spread(one) for one in parts), np.zeros(1)) for parts in (plus, minus))
    total = wanted - WITHOUT_WEIGHT * unwanted
    length = np.linalg.norm(total)
    return (total / length).astype(np.float32) if length > 1e-3 * np.linalg.norm(wanted) else None


def load_query_encoder(store: Store, load_encoder: EncoderLoader) -> Encoder:
    """The encoder that the index was made with, its own adapter included.

    Raises IndexMismatch if its weights are not the same any more."""
    require_weights(store.path, store.settings.identity)
    encoder = load_encoder(store.choice)
    store.require_identity(encoder.identity)
    return encoder
