"""Opens the index of a run, or creates it, and changes its adapter when asked."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.encoders.names import EncoderChoice, EncoderIdentity, lasting_name
from vidfind.errors import BadInput, IndexNotFound, ModelUnavailable, VidfindError
from vidfind.folders.unreadable import check_readable
from vidfind.folders.walk import find_videos
from vidfind.index.events import Cost
from vidfind.index.options import DEFAULT_OPTIONS, IndexOptions
from vidfind.media.decoding import start_decoders
from vidfind.models.adapter_file import find_adapter, read_info
from vidfind.models.catalog import default_encoder, default_pretrained
from vidfind.models.choice import check_needs_no_adapter, default_adapter
from vidfind.models.hub import look_for_weights
from vidfind.models.load import has_weights_of
from vidfind.store.files import StoredVideos
from vidfind.store.folder import require_free
from vidfind.store.mismatch import require_weights
from vidfind.store.places.bucket import EXAMPLES
from vidfind.store.places.database import prepare_to_connect
from vidfind.store.places.path import IndexPath, require_place
from vidfind.store.settings import IndexSettings, is_index
from vidfind.store.status import find_unfinished
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow
from vidfind.system.paths import NO_ADAPTER, adapter_path

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder, EncoderLoader

log = logging.getLogger(__name__)

Announce = Callable[[str], None]


def open_store(
    path: IndexPath,
    load_encoder: EncoderLoader,
    asked: EncoderChoice,
    segment_length: float | None = None,
    find_default: Callable[[EncoderChoice], str | None] = lambda asked: None,
    announce: Announce = log.info,
    overlap: bool | None = None,
) -> tuple[Store, Callable[[], Encoder]]:
    """The index at `path`, made now if there is none or an empty one, and a function that loads the encoder it needs.

    An index with videos keeps its settings: IndexMismatch if the encoder asked for differs, `segment_length` in
    seconds, or `overlap`, but for the adapter. Another adapter is put in at once where it leaves video vectors as they
    are; else the store is a new one beside that in use, for `index_videos` to fill.
    One without videos keeps what it was begun with, but for what is asked for.
    A new index takes the adapter that `find_default` returns for what is asked, if no adapter is. `announce` is called
    with a line about each thing that was not asked for."""
    try:
        store = Store.open(path)
    except IndexNotFound:
        return _make_store(path, load_encoder, asked, segment_length, overlap, find_default, announce)
    ours = store.settings.identity
    if not store.count_videos():
        length = segment_length or store.settings.segment_length
        overlaps = store.settings.overlap if overlap is None else overlap
        return _make_store(path, load_encoder, _as_begun(ours, asked), length, overlaps, find_default, announce)
    if asked.pretrained and asked.model in (None, ours.model):
        store, asked = _with_moved_weights(store, asked, announce)
    if asked.model and asked.model != ours.model:
        # A name that was mistyped must not be answered with a command that deletes the index.
        look_for_weights(asked.model, asked.pretrained or default_pretrained(asked.model))
    if asked.adapter:
        store.require(replace(asked, adapter=None), segment_length, overlap)
        return _change_adapter(store, load_encoder, asked, announce)
    if asked.encoder and asked.encoder != ours.encoder:
        check_needs_no_adapter(asked.encoder, asked.model or ours.model)  # nor one that would fail after the deletion
    store.require(asked, segment_length, overlap)
    if begun := find_unfinished(store):
        announce(f"Encoding again with {_with(begun.adapter)} is not finished. To go on with it: {begun.command}")
    return store, _own_encoder(store, load_encoder)


def _with_moved_weights(store: Store, asked: EncoderChoice, announce: Announce) -> tuple[Store, EncoderChoice]:
    """The index, and what is asked for by its name of the weights: if they are its own elsewhere, it keeps that name.

    Raises ModelUnavailable for unknown names."""
    ours = store.settings.identity
    assert asked.pretrained
    name = lasting_name(asked.pretrained)
    if name == ours.pretrained or not has_weights_of(ours, name, store.adapter):
        return store, replace(asked, pretrained=name)
    with store.writing() as writer:
        store = writer.move_weights(name)
    announce(
        f"The index {store.path.name!r} takes its weights from {name} from now on: they are the same, and no video had "
        "to be read again."
    )
    return store, replace(asked, pretrained=name)


def open_to_index(
    folders: Sequence[Path],
    path: IndexPath,
    load_encoder: EncoderLoader,
    asked: EncoderChoice,
    segment_length: float | None = None,
    options: IndexOptions = DEFAULT_OPTIONS,
    announce: Announce = log.info,
    overlap: bool | None = None,
) -> tuple[Store, Callable[[], Encoder]] | None:
    """`open_store` for a run over `folders`; None if they hold no video and the index neither: no model is loaded.

    Raises BadInput for a folder that was never there or may not be read, before a model is fetched for nothing."""
    check_folders(folders, path)
    if folders and not needs_index(folders, path, options):
        return None
    if not is_index(path):
        start_decoders(1)  # while the model is loaded
        prepare_to_connect()
    return open_store(path, load_encoder, asked, segment_length, default_adapter, announce, overlap)


def _as_begun(ours: EncoderIdentity, asked: EncoderChoice) -> EncoderChoice:
    """The encoder asked for, and else that of an index without videos, as far as they go together."""
    wanted = asked.over(ours)
    if (wanted.model, wanted.pretrained, wanted.encoder) != (ours.model, ours.pretrained, ours.encoder):
        return asked
    is_there = ours.adapter is None or adapter_path(ours.adapter).is_file()
    adapter = (ours.adapter or NO_ADAPTER) if is_there else None
    return asked.or_else(EncoderChoice(ours.model, ours.pretrained, ours.encoder, adapter))


def _make_store(
    path: IndexPath,
    load_encoder: EncoderLoader,
    asked: EncoderChoice,
    segment_length: float | None,
    overlap: bool | None,
    find_default: Callable[[EncoderChoice], str | None],
    announce: Announce,
) -> tuple[Store, Callable[[], Encoder]]:
    require_place(path)
    require_free(path)  # both before a model is fetched for nothing
    default = None if asked.adapter else find_default(asked)
    if default is None:
        adapter = find_adapter(asked.wanted_adapter) if asked.wanted_adapter else None
        encoder = load_encoder(replace(asked, adapter=adapter or asked.adapter))
    else:
        encoder, adapter = _load_with_default(load_encoder, asked, default, announce)
    settings = IndexSettings(encoder.identity, segment_length or IndexSettings.segment_length, bool(overlap))
    return Store.create(path, settings, encoder.dim, adapter), lambda: encoder


def _load_with_default(
    load_encoder: EncoderLoader, asked: EncoderChoice, default: str, announce: Announce
) -> tuple[Encoder, Path | None]:
    """The encoder with the default adapter, and the file of that; or without if it is of no use here."""
    try:
        adapter = find_adapter(default)
        encoder = load_encoder(replace(asked, adapter=adapter))
    except ModelUnavailable as error:
        encoder = load_encoder(asked)  # raises again if it is not for the adapter
        announce(f"The default adapter {default} is left out: {error}")
        return encoder, None
    name = encoder.identity.encoder
    its_encoder = (
        f", and its encoder {name}" if name != (asked.encoder or default_encoder(encoder.identity.model)) else ""
    )
    announce(f"Using the adapter {default}, the default for this model{its_encoder}; --adapter none does without.")
    return encoder, adapter


def _change_adapter(
    store: Store, load_encoder: EncoderLoader, asked: EncoderChoice, announce: Announce
) -> tuple[Store, Callable[[], Encoder]]:
    """The index with the adapter asked for: as it is, with its adapter switched, or a store beside it to be filled."""
    ours = store.settings.identity
    file = find_adapter(asked.wanted_adapter) if asked.wanted_adapter else None
    if file and (info := read_info(file)) and (info.model, info.encoder) != (ours.model, ours.encoder):
        store.require(EncoderChoice(info.model, info.pretrained, info.encoder, info.name))
    begun = store.unfinished()
    if begun and begun.has_adapter(file):
        return begun, _own_encoder(begun, load_encoder)
    if store.has_adapter(file):
        if begun:
            _give_up(store, begun, announce)
        return store, _own_encoder(store, load_encoder)

    require_weights(store.path, ours)
    encoder = load_encoder(
        EncoderChoice(
            ours.model, ours.pretrained, ours.encoder, file or NO_ADAPTER, reading=None if file else _own_reading(store)
        )
    )
    settings = replace(store.settings, identity=encoder.identity)
    if settings.has_vectors_of(store.settings):
        if begun:
            _give_up(store, begun, announce)
        announce(
            f"The index {store.path.name!r} uses {_with(settings.identity.adapter)} from now on; "
            "no video had to be read again."
        )
        with store.writing() as writer:
            return writer.switch_adapter(settings, file), lambda: encoder
    if begun and settings.has_vectors_of(begun.settings):
        with begun.writing() as writer:
            return writer.switch_adapter(settings, file), lambda: encoder
    if begun:
        _give_up(store, begun, announce)
    with store.writing() as writer:
        return writer.begin_again(settings, file), lambda: encoder


def _own_reading(store: Store) -> str | None:
    """The reading that the vectors of an index have without its adapter; None if they have none, as it changes them."""
    try:
        changes_vectors = store.adapter and read_info(find_adapter(store.adapter)).video_digest
    except VidfindError:  # its adapter is lost
        return None
    return None if changes_vectors else store.settings.identity.reading


def _give_up(store: Store, begun: Store, announce: Announce) -> None:
    with store.writing() as writer:
        writer.give_up_unfinished()
    announce(f"Gave up encoding again with {_with(begun.settings.identity.adapter)}, which was not finished.")


def _own_encoder(store: Store, load_encoder: EncoderLoader) -> Callable[[], Encoder]:
    """A function that loads the encoder of the index when it is first called."""

    @functools.cache
    def load() -> Encoder:
        require_weights(store.path, store.settings.identity)
        return load_encoder(store.choice)

    return load


def _with(adapter: str | None) -> str:
    return f"the adapter {adapter}" if adapter else "no adapter"


def reencode_cost(store: Store) -> Cost:
    """The work of encoding all videos of an index again. Copies of a video cost nothing."""
    return cost(store, (row for row in store.videos().values() if not row.failed))


def cost(store: Store, rows: Iterable[VideoRow]) -> Cost:
    lengths = {row.content: row.duration for row in rows}
    footage, speed = sum(lengths.values()), store.speed()
    return Cost(len(lengths), footage, footage / speed if speed else None)


def check_folders(folders: Sequence[Path], store_path: IndexPath) -> list[Path]:
    """`folders` made absolute. Raises BadInput for one that cannot be listed, or that is not there and has no videos in
    the index."""
    absolute = [Path(os.path.abspath(folder)) for folder in folders]
    for folder in absolute:
        if reason := check_readable(folder):
            raise BadInput(f"{folder} {reason}. What is indexed of it stays in the index.")
    absent = [folder for folder in absolute if not os.path.exists(folder)]
    known = Store.open(store_path).stored_videos() if absent and is_index(store_path) else StoredVideos.of([])
    for folder in absent:
        if not known.under([folder]):
            raise BadInput(f"There is no folder or video {folder}{_meant_as_index(folders)}")
    return absolute


def _meant_as_index(folders: Sequence[Path]) -> str:
    """A sentence for whoever gives the URL of an index, or of videos, in place of a folder; else empty."""
    if any(str(folder).partition(":")[0].lower() in EXAMPLES for folder in folders):
        return ". Videos are read from folders alone; an index in object storage is named with --index."
    return ""


def known_folders(store_path: IndexPath) -> tuple[list[Path], list[Path]]:
    """The folders and single files that an index knows: those that can be brought up to date, and those that cannot be
    read."""
    folders = Store.open(store_path).folders() if is_index(store_path) else []
    unreadable = dict.fromkeys(folder for folder in folders if check_readable(folder))
    return [folder for folder in folders if folder not in unreadable], list(unreadable)


def drop_missing(files: Sequence[Path], store_path: IndexPath) -> tuple[list[Path], list[Path]]:
    """The files of a list that are there or in the index, and those that are neither."""
    missing = [path for path in files if not os.path.exists(path)]
    known = Store.open(store_path).stored_videos() if missing and is_index(store_path) else StoredVideos.of([])
    lost = dict.fromkeys(path for path in missing if Path(os.path.abspath(path)) not in known)
    return [path for path in files if path not in lost], list(lost)


def needs_index(folders: Sequence[Path], store_path: IndexPath, options: IndexOptions = DEFAULT_OPTIONS) -> bool:
    """Whether there is anything to index, or indexed already: else no model need be loaded, or even fetched."""
    if next(find_videos(folders, options.exclude, options.all_files), None):
        return True
    return is_index(store_path) and bool(Store.open(store_path).count_videos())
