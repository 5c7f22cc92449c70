"""The match of words: how many texts of the bank, of the same length, have no segment in the index that fits as well.

For each text of the bank, the cosine of the segment nearest to it is kept in a file beside the tables. Long texts score
on another level than short ones, so a straight line over the number of words is taken off first. Knows nothing of
queries.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfind.errors import VidfindError
from vidfind.models.hub import look_for_weights
from vidfind.store.folder import levels_file
from vidfind.store.places.path import IndexPath, write_bytes
from vidfind.store.settings import Generation
from vidfind.words.bank import count_words, read_bank
from vidfind.words.half import encode_texts, known_config, read_text_half

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
    from vidfind.store.store import Store

log = logging.getLogger(__name__)
Vectors = npt.NDArray[np.floating]
FORMAT = 1
FEWEST_SEGMENTS = 20
"""With fewer, what is not there reaches a good match too often: one in seven times with two segments."""
CONTENTS_LISTED = 1000
"""The segments of more contents are found as quickly by reading all."""


@dataclass(frozen=True)
class Levels:
    """The best cosines of the texts of the bank in one index, from which the match of other words is computed."""

    words: npt.NDArray[np.floating]  # (N,), of each text of the bank
    tops: npt.NDArray[np.floating]  # (N,), the cosine of the segment nearest to it

    def match(self, score: float, words: int) -> int:
        """Returns the match (0 to 100) of a segment whose cosine to a text of `words` words is `score`."""
        base, slope = self._line
        below = int(np.searchsorted(self._residuals, score - base - slope * words))
        return 100 * below // len(self._residuals)

    def score_of(self, match: int, words: int) -> float:
        """Returns the score that a text of `words` words must exceed to have more than this match (0 to 100)."""
        base, slope = self._line
        below = -(-match * len(self._residuals) // 100)  # so many texts, at least
        return float(self._residuals[below - 1] + base + slope * words) if below else -1.0

    @cached_property
    def _line(self) -> npt.NDArray[np.floating]:
        """The level of a text of no words, and how much each word adds to it: least squares."""
        line: npt.NDArray[np.floating] = np.linalg.lstsq(self._features, self.tops)[0]
        return line

    @cached_property
    def _residuals(self) -> npt.NDArray[np.floating]:
        return np.sort(self.tops - self._features @ self._line)

    @property
    def _features(self) -> npt.NDArray[np.floating]:
        return np.stack([np.ones(len(self.words)), self.words], axis=1)


@dataclass(frozen=True)
class _Kept:
    """The file of levels: bank vectors (N, D), their best cosines (N,), the contents they were found in, and the number
    of segments."""

    vectors: npt.NDArray[np.float16]
    tops: npt.NDArray[np.float32]
    contents: npt.NDArray[np.int64]
    segments: int


def read_levels(path: IndexPath, generation: Generation) -> Levels | None:
    """Returns the levels of an index; None if it has too few segments, or no file of levels for this bank."""
    kept = _read(levels_file(path, generation.number), _digest(generation))
    if kept is None or kept.segments < FEWEST_SEGMENTS:
        return None
    words = np.array(count_words(read_bank(generation.settings.identity.model)), float)
    return Levels(words, kept.tops.astype(float))


def update_levels(store: Store, encoder: Encoder | None = None) -> None:
    """Brings the levels of an index up to date with its segments; does nothing if they are.

    The bank becomes vectors once for each model: by the text half alone, or `encoder` where that is not enough. Without
    either, there are no levels until the next call. Raises StorageError."""
    file, digest = levels_file(store.path, store.generation.number), _digest(store.generation)
    columns = store.columns("content", "segments")
    contents, first = np.unique(columns["content"].to_numpy(), return_index=True)
    segments = int(columns["segments"].to_numpy()[first].sum())
    kept = _read(file, digest)
    if kept is None:
        vectors = _bank_vectors(store, encoder) if segments >= FEWEST_SEGMENTS else None
        if vectors is None:
            return
        kept = _Kept(vectors, np.full(len(vectors), -1, np.float32), np.array([], np.int64), 0)
    new, gone = np.setdiff1d(contents, kept.contents), np.setdiff1d(kept.contents, contents)
    if not len(new) and not len(gone):
        return
    tops = kept.tops if not len(gone) else np.full(len(kept.tops), -1, np.float32)
    tops = np.maximum(tops, _tops(store, kept.vectors, new if not len(gone) else contents))
    content = io.BytesIO()
    np.savez(content, digest=digest, vectors=kept.vectors, tops=tops, contents=contents, segments=segments)
    write_bytes(file, content.getvalue())


def _tops(store: Store, bank: Vectors, contents: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Returns for each vector of the bank the cosine (N,) of the nearest segment of `contents`."""
    bank = bank / np.linalg.norm(bank.astype(np.float32), axis=1, keepdims=True)
    tops = np.full(len(bank), -1, np.float32)
    for found, _, vectors in store.segments(contents.tolist() if len(contents) <= CONTENTS_LISTED else None):
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        is_good = (lengths > 0) & np.isin(found, contents)
        if is_good.any():
            cosines = vectors @ bank.T / np.maximum(lengths, 1e-12)[:, np.newaxis]
            tops = np.maximum(tops, cosines[is_good].max(axis=0))
    return tops


def _bank_vectors(store: Store, encoder: Encoder | None) -> npt.NDArray[np.float16] | None:
    """Returns the vectors of the bank (N, D); None if the model that makes them is not on this machine."""
    ours = store.settings.identity
    texts = read_bank(ours.model)
    with suppress(VidfindError):  # what is wrong with the weights is said where they are needed
        is_here = known_config(ours.model, ours.pretrained) and look_for_weights(ours.model, ours.pretrained)[0]
        if is_here and (half := read_text_half(store.path, store.generation)):
            return encode_texts(half, texts).astype(np.float16)
    return encoder.encode_text(texts).numpy().astype(np.float16) if encoder else None


def _digest(generation: Generation) -> str:
    """Returns a digest of everything that the vectors of the bank depend on."""
    ours = generation.settings.identity
    depends = [FORMAT, ours.weights_digest, ours.adapter, generation.adapter_file, read_bank(ours.model)]
    return hashlib.sha256(json.dumps(depends).encode()).hexdigest()


def _read(file: IndexPath, digest: str) -> _Kept | None:
    """Returns the content of the file; None if it is missing, damaged, or of another bank or model."""
    try:
        with np.load(io.BytesIO(file.read_bytes())) as kept:
            if str(kept["digest"]) == digest:
                return _Kept(kept["vectors"], kept["tops"], kept["contents"], int(kept["segments"]))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.info("the levels in %s cannot be read: %s", file, error)
    return None
