"""Indexes of videos that look like descriptions, more or less, without files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.support.rows import make_row
from tests.support.stored import put
from vidfind.encoders.encoder import Encoder
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.words.levels import update_levels

SHOWN = [
    f"{colour} {kind} {motion}"
    for colour in ("red", "blue", "white")
    for kind in ("circle", "star", "square")
    for motion in ("moving left", "growing", "bouncing")
]
NEXT = 7
"""The second segment of a video looks like the description so many further on."""


def describe(path: IndexPath, encoder: Encoder) -> Store:
    """An index of 27 videos, each with a segment like its name and one like another, with its levels."""
    store = Store.create(path, IndexSettings(encoder.identity), encoder.dim)
    vectors = encoder.encode_text(SHOWN).numpy()
    rng = np.random.default_rng(1)
    films = {}
    for number, text in enumerate(SHOWN):
        pair = np.stack([vectors[number], vectors[(number + NEXT) % len(SHOWN)]])
        films[f"{'/trips' if number % 2 else '/home'}/{text}.mp4"] = noisy(pair, 0.5, rng)
    add_films(store, films)
    update_levels(store)
    return store


def noisy(vectors: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Vectors (N, D) with noise of this length, of unit length again."""
    noise = rng.standard_normal(vectors.shape)
    changed = vectors + amount * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(changed / np.linalg.norm(changed, axis=1, keepdims=True))


def add_films(store: Store, films: Mapping[str, np.ndarray]) -> None:
    """Puts videos with these vectors (N, D) into the index; a "copy" has the fingerprint of "0"."""
    rows = [make_row(path, len(films[path]), fingerprint=path.replace("copy", "0")) for path in films]
    spans = [(10.0 * i, 10.0 * i + 10) for i in range(max(map(len, films.values())))]
    put(store, rows, [Embedded(row.content, spans[: row.segments], films[str(row.path)]) for row in rows])
