"""Queries: words become a vector of an index by the shortest way, and a `Searcher` answers one after the other.

The ways, best first: the vector kept from when the same was asked before; the text half of the model alone (text.py);
the whole model (encoder.py), which takes seconds to import. Never prints.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vidfind.errors import BadInput
from vidfind.models import load as registry
from vidfind.models import text_tower as text
from vidfind.models.adapter_file import read_info
from vidfind.models.weights import SAFETENSORS
from vidfind.search.moments import Moment, search_moments
from vidfind.store.settings import SETTINGS_FILE, Generation, adapter_file_name, index_option, read_generation
from vidfind.store.store import QUERIES_FILE, Store, require_index

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

log = logging.getLogger(__name__)

Vector = npt.NDArray[np.float32]

QUERIES_KEPT = 2000
"""Of an index; 2 KB each."""
BUSY_SECONDS = 0.2
"""How long to wait for another process that writes to the same file; then the vector is not kept."""
KEPT_FORMAT = 1
"""Has to change whenever the same text becomes another vector than before."""


class Searcher:
    """Answers queries in one index with what is loaded once, and sees what other processes change in it meanwhile.

    searcher = Searcher(index_path("default"))
    moments = searcher.find("dog catching frisbee", limit=3)
    """

    def __init__(
        self,
        path: Path,
        load_encoder: Callable[..., Encoder] = registry.load_encoder,
        announce: Callable[[str], None] = log.info,
    ) -> None:
        """`announce` is told, in a line, before a download begins.

        Raises IndexNotFound, IndexDamaged, IndexMismatch."""
        self._path, self._load_encoder, self._announce = path, load_encoder, announce
        self._lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        require_index(self._path)
        self._state = _state(self._path)
        self._generation = read_generation(self._path)
        self._store: Store | None = None
        self.encoder = QueryEncoder(self._path, self._generation, self._load_encoder, self._announce)

    @property
    def store(self) -> Store:
        """The index, opened when it is first needed, which takes a part of a second."""
        with self._lock:
            if self._store is None:
                self._store = Store.open(self._path, self._generation)
            return self._store

    def prepare(self) -> None:
        """Loads now what the first query needs. Raises what that would."""
        self._open_ahead()
        self.encoder.prepare()
        assert self.store

    def find(self, query: str, **filters: Any) -> list[Moment]:
        """The best moments for a query in words; `filters` as `search_moments` takes them.

        Raises BadInput for an empty query or index, and what loading a model and opening an index may raise."""
        if _state(self._path) != self._state:  # another encoding is in use now, or another index, or none
            self._open()
        self._open_ahead()
        return self.find_nearest(self.encoder.vector(query), **filters)

    def find_nearest(self, vector: Vector, **filters: Any) -> list[Moment]:
        """The best moments for a vector (D,)."""
        moments = search_moments(self.store, vector, **filters)
        if not moments and not self.store.count_videos():
            option = index_option(self._path)
            raise BadInput(f"The index {self._path.name!r} holds no videos yet. Add some: vidfind index FOLDER{option}")
        return moments

    def _open_ahead(self) -> None:
        """Begins to open the index, which goes on while the query is read."""

        def open_store() -> None:
            with suppress(Exception):  # raised again where the store is used
                assert self.store

        if self._store is None:
            threading.Thread(target=open_store).start()


class QueryEncoder:
    """Makes vectors of queries, as `generation` of the index at `path` needs them."""

    def __init__(
        self,
        path: Path,
        generation: Generation,
        load_encoder: Callable[..., Encoder] = registry.load_encoder,
        announce: Callable[[str], None] = log.info,
    ) -> None:
        self._path, self._generation, self._load_encoder, self._announce = path, generation, load_encoder, announce
        self._kept = KeptVectors(path / QUERIES_FILE)

    def prepare(self) -> None:
        """Loads now what a query needs that was not asked before. Raises ModelUnavailable, IndexMismatch."""
        if self._tower is None:
            assert self.whole
        else:
            self._tower.encode(text.tokenize("a", self._tower.context_length)[0])

    def vector(self, query: str) -> Vector:
        """A query in words -> (D,), of unit length. A warning tells when the model reads only its beginning.

        Raises BadInput for an empty one, ModelUnavailable, and IndexMismatch if the weights are not the same any more.
        """
        words = query_words(query)
        name = self._name(words)
        kept = name and self._kept.get(name)
        if not kept:
            kept = self._encode(words)
            if name:
                self._kept.put(name, *kept)
        vector, is_cut = kept
        if is_cut:
            log.warning("The query is longer than the model can read: only its beginning counts.")
        return vector

    @functools.cached_property
    def whole(self) -> Encoder:
        """The encoder that the index was made with."""
        return load_query_encoder(Store.open(self._path, self._generation), self._load_encoder)

    def _encode(self, words: str) -> tuple[Vector, bool]:
        if self._tower is not None:
            ids, is_cut = text.tokenize(words, self._tower.context_length)
            features = self._tower.encode(ids)
            if np.isfinite(length := np.linalg.norm(features)) and length > 0:
                return features / length, is_cut
        return encode_query(self.whole, words)

    @functools.cached_property
    def _tower(self) -> text.TextTower | None:
        """The text half of the model; None where only the whole knows, or says what is wrong."""
        ours, adapter = self._generation.settings, self._adapter
        config = _config(ours.model, ours.pretrained)
        if config is None or (ours.adapter and not adapter):
            return None
        if adapter and adapter_file_name(adapter) != adapter.name:  # damaged: it is named by its content
            return None
        weights = registry.find_weights(ours.model, ours.pretrained, self._announce)
        digest = registry.weights_digest(ours.model, weights)
        if adapter:
            digest = registry.joint_digest(digest, read_info(adapter).video_digest)
        if digest != ours.weights_digest:
            return None
        log.info("reading the text half of %s", weights)
        return text.read_text_tower(config, weights, adapter)

    @property
    def _adapter(self) -> Path | None:
        """The index's own copy of its adapter, if it is there."""
        file = self._path / self._generation.adapter_file
        return file if self._generation.adapter_file and file.is_file() else None

    def _name(self, words: str) -> bytes:
        """What the vector of a query is kept under; empty where it cannot be told what it depends on."""
        ours = self._generation.settings
        if ours.adapter and not self._generation.adapter_file:
            return b""
        depends = [KEPT_FORMAT, ours.model, ours.pretrained, ours.weights_digest, self._generation.adapter_file]
        return hashlib.sha256(json.dumps([*depends, words]).encode()).digest()


class KeptVectors:
    """Vectors of queries asked before, in a file of their own, under names that do not tell what was asked.

    Losing them costs little: whatever goes wrong, there are none, or one is not kept."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get(self, name: bytes) -> tuple[Vector, bool] | None:
        """A vector, and whether its query had to be cut."""
        with suppress(sqlite3.Error, ValueError), closing(self._connect("ro")) as database:
            for blob, is_cut in database.execute("SELECT vector, is_cut FROM queries WHERE name = ?", [name]):
                vector = np.frombuffer(blob, np.float32)
                if abs(np.linalg.norm(vector) - 1) < 1e-3:
                    return vector, bool(is_cut)
        return None

    def put(self, name: bytes, vector: Vector, is_cut: bool) -> None:
        """Keeps a vector, and forgets the oldest where they are too many."""
        try:
            self._put(name, vector, is_cut)
        except sqlite3.OperationalError as error:  # a folder that may not be written, a full disk, another writes
            log.debug("the query is not kept: %s", error)
        except (sqlite3.DatabaseError, OSError):  # damaged
            with suppress(sqlite3.Error, OSError):
                self._file.unlink(missing_ok=True)
                self._put(name, vector, is_cut)

    def _put(self, name: bytes, vector: Vector, is_cut: bool) -> None:
        with closing(self._connect("rwc")) as database, database:
            # No files beside it, and no waiting for the disk: a crash may cost the vectors, and they are made anew.
            database.executescript("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")
            database.execute("CREATE TABLE IF NOT EXISTS queries (name BLOB UNIQUE, vector BLOB, is_cut INTEGER)")
            database.execute("INSERT OR REPLACE INTO queries VALUES (?, ?, ?)", [name, vector.tobytes(), is_cut])
            database.execute("DELETE FROM queries WHERE rowid <= (SELECT MAX(rowid) FROM queries) - ?", [QUERIES_KEPT])

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self._file.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, timeout=BUSY_SECONDS, uri=True)


def _config(model: str, pretrained: str) -> Mapping[str, Any] | None:
    """open_clip's configuration of a model, if its weights are such that nothing else has to be known of them."""
    if model == registry.TINY:
        return text.read_config(registry.TINY_FOLDER / "tiny.json")
    if not (pretrained.endswith(SAFETENSORS) or registry.known_hub(model, pretrained)):
        return None
    config = text.open_clip_config(model)
    return {**config, "quick_gelu": True} if config and pretrained == registry.OPENAI else config


def query_words(query: str) -> str:
    """The words of a query with a space between. Raises BadInput if there are none."""
    words = " ".join(query.encode("utf-8", "ignore").decode().split())  # without halves of characters
    if not any(char.isprintable() and not char.isspace() for char in words):
        raise BadInput('The query is empty. Say what to look for: vidfind search "dog catching frisbee"')
    return words


def encode_query(encoder: Encoder, query: str) -> tuple[Vector, bool]:
    """A query -> (D,), of unit length, and whether the model could read only its beginning. Raises BadInput."""
    words = query_words(query)
    is_cut = bool((encoder.tokenizer([words]) == encoder.tokenizer([f"{words} and more"])).all())
    vector: Vector = encoder.encode_text([words])[0].numpy()
    return vector, is_cut


def load_query_encoder(store: Store, load_encoder: Callable[..., Encoder]) -> Encoder:
    """The encoder that the index was made with, its own adapter included.

    Raises IndexMismatch if its weights are not the same any more."""
    ours = store.settings
    encoder = load_encoder(model=ours.model, pretrained=ours.pretrained, encoder=ours.encoder, adapter=store.adapter)
    store.require(**dataclasses.asdict(encoder.identity))
    return encoder


def _state(path: Path) -> tuple[int, int] | None:
    """What changes whenever another encoding, or another index, takes the place of the one at `path`."""
    try:
        stat = os.stat(path / SETTINGS_FILE)
        return stat.st_ino, stat.st_mtime_ns
    except FileNotFoundError:
        return None
