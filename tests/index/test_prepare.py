"""Which index and encoder a run uses, and what is refused before it begins."""

import functools
from pathlib import Path

import pytest

from tests.support.indexing import Index, never
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput, IndexMismatch, ModelUnavailable
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import check_folders, needs_index, open_store
from vidfind.index.run import index_videos
from vidfind.store.places.path import IndexPath
from vidfind.store.store import Store
from vidfind.system.paths import NO_ADAPTER


def test_a_folder_that_never_was_there_is_refused(library: Path, film_store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no folder or video"):
        list(index_videos([library / "nothing"], film_store, never))
    with pytest.raises(BadInput, match="There is no folder or video"):
        check_folders([library / "nothing"], tmp_path / "no index yet")


def test_an_encoder_that_is_not_the_index_own_is_refused(library: Path, film_store: Store) -> None:
    from vidfind.models.load import load_encoder

    load_mean = functools.partial(load_encoder, "tiny", encoder="mean", device="cpu")
    with pytest.raises(IndexMismatch, match="encoder tempme, not mean"):
        list(index_videos([library], film_store, load_mean))


def test_an_index_keeps_its_settings_once_it_has_videos(
    index: Index, library: Path, film_store: Store, tiny_encoder: Encoder
) -> None:
    index(library)
    asked: list[EncoderChoice] = []

    def load_own(choice: EncoderChoice) -> Encoder:
        asked.append(choice)
        return tiny_encoder

    _, load = open_store(film_store.path, load_own, EncoderChoice())
    load()
    assert asked == [EncoderChoice("tiny", "builtin", "tempme", NO_ADAPTER, reading="clip")]
    with pytest.raises(IndexMismatch, match="segment length"):
        open_store(film_store.path, never, EncoderChoice(), 5.0)


def test_an_index_without_videos_keeps_what_it_was_begun_with(place: IndexPath, tiny_encoder: Encoder) -> None:
    asked: list[EncoderChoice] = []

    def load(choice: EncoderChoice) -> Encoder:
        asked.append(choice)
        return tiny_encoder

    open_store(place, load, EncoderChoice("tiny"), 5.0, overlap=True)
    store, _ = open_store(place, load, EncoderChoice())
    assert asked[-1] == EncoderChoice("tiny", "builtin", "tempme", NO_ADAPTER)
    assert (store.settings.segment_length, store.settings.overlap) == (5, True)
    open_store(place, load, EncoderChoice("ViT-B-32"))
    assert asked[-1] == EncoderChoice("ViT-B-32")


def test_a_mistyped_model_is_not_answered_with_a_command_that_deletes_the_index(
    index: Index, library: Path, film_store: Store
) -> None:
    index(library)
    with pytest.raises(ModelUnavailable, match=r"no model called tinny\. Did you mean tiny"):
        open_store(film_store.path, never, EncoderChoice("tinny"))
    with pytest.raises(IndexMismatch, match="model tiny, not ViT-L-14") as mismatch:
        open_store(film_store.path, never, EncoderChoice("ViT-L-14"))
    assert "--model ViT-L-14 --encoder tempme" in str(mismatch.value)


def test_nothing_to_index_needs_no_index(library: Path, tmp_path: Path, film_store: Store) -> None:
    (tmp_path / "empty").mkdir()
    assert needs_index([library], film_store.path)
    assert not needs_index([library], film_store.path, IndexOptions(exclude=["*"]))
    assert not needs_index([tmp_path / "empty"], film_store.path)
    assert not needs_index([tmp_path / "empty"], tmp_path / "no-index")
