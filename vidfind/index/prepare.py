"""Opens the index of a run, or creates it, and changes its adapter when asked."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput, IndexNotFound, ModelUnavailable
from vidfind.index.events import Cost
from vidfind.media.files import find_videos
from vidfind.models.adapter_file import find_adapter, read_info
from vidfind.models.catalog import DEFAULT_ENCODER, default_pretrained
from vidfind.models.hub import look_for_weights
from vidfind.models.load import check_needs_no_adapter, default_adapter
from vidfind.store.settings import IndexSettings, is_index
from vidfind.store.status import find_unfinished
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow
from vidfind.system.paths import NO_ADAPTER, adapter_path

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

log = logging.getLogger(__name__)

Announce = Callable[[str], None]


def open_store(
    path: Path,
    load_encoder: Callable[..., Encoder],
    asked: Mapping[str, Any],
    find_default: Callable[[str | None, str | None], str | None] = lambda model, pretrained: None,
    announce: Announce = log.info,
) -> tuple[Store, Callable[[], Encoder]]:
    """The index at `path`, made now if there is none or an empty one, and a function that loads the encoder it needs.

    `asked` holds only what the user chose: any of `model`, `pretrained`, `encoder`, `adapter` (a saved one's name, or
    None for none), `segment_length`. `load_encoder` takes the first four. An index with videos keeps its settings:
    IndexMismatch if `asked` differs, but for the adapter. Another adapter is put in at once where it leaves video
    vectors as they are; else the store is a new one beside that in use, for `index_videos` to fill.
    One without videos keeps what it was begun with, but for what is asked.
    A new index takes `find_default` of the model and weights asked for, if no adapter is. `announce` is told, in a
    line, what was not asked for."""
    try:
        store = Store.open(path)
    except IndexNotFound:
        store = None
    if store is None:
        return _make_store(path, load_encoder, asked, find_default, announce)
    if not store.count_videos():
        return _make_store(path, load_encoder, {**_begun_with(store, asked), **asked}, find_default, announce)
    if asked.get("model", store.settings.identity.model) != store.settings.identity.model:
        # A name that was mistyped must not be answered with a command that deletes the index.
        look_for_weights(asked["model"], asked.get("pretrained") or default_pretrained(asked["model"]))
    if "adapter" in asked:
        return _change_adapter(store, load_encoder, asked, announce)
    if asked.get("encoder", store.settings.identity.encoder) != store.settings.identity.encoder:
        # Nor one that would fail after the deletion.
        check_needs_no_adapter(asked["encoder"], asked.get("model", store.settings.identity.model))
    store.require(_choice(asked), asked.get("segment_length"))
    if begun := find_unfinished(store):
        announce(f"Encoding again with {_with(begun.adapter)} is not finished. To go on with it: {begun.command}")
    return store, functools.cache(functools.partial(_load_own, store, load_encoder))


def open_to_index(
    folders: Sequence[Path],
    path: Path,
    load_encoder: Callable[..., Encoder],
    asked: Mapping[str, Any],
    exclude: Sequence[str] = (),
    announce: Announce = log.info,
) -> tuple[Store, Callable[[], Encoder]] | None:
    """`open_store` for a run over `folders`; None if they hold no video and the index neither: no model is loaded.

    Raises BadInput for a folder that was never there, before a model is fetched for nothing."""
    check_folders(folders, path)
    if folders and not needs_index(folders, path, exclude):
        return None
    return open_store(path, load_encoder, asked, default_adapter, announce)


def _choice(asked: Mapping[str, Any]) -> EncoderChoice:
    values = {name: value for name, value in asked.items() if name != "segment_length"}
    if "adapter" in values and values["adapter"] is None:
        values["adapter"] = NO_ADAPTER
    return EncoderChoice(**values)


def _begun_with(store: Store, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an index without videos, as far as they go with what is asked."""
    ours = store.settings.identity
    own: dict[str, Any] = {"segment_length": store.settings.segment_length}
    if all(asked.get(name, getattr(ours, name)) == getattr(ours, name) for name in ("model", "pretrained", "encoder")):
        own |= {"model": ours.model, "pretrained": ours.pretrained, "encoder": ours.encoder}
        if ours.adapter is None or adapter_path(ours.adapter).is_file():
            own["adapter"] = ours.adapter
    return own


def _make_store(
    path: Path,
    load_encoder: Callable[..., Encoder],
    asked: Mapping[str, Any],
    find_default: Callable[[str | None, str | None], str | None],
    announce: Announce,
) -> tuple[Store, Callable[[], Encoder]]:
    choice = {name: value for name, value in asked.items() if name != "segment_length"}
    default = None if "adapter" in asked else find_default(asked.get("model"), asked.get("pretrained"))
    if name := choice.get("adapter"):
        choice["adapter"] = find_adapter(name)
    if default is None:
        encoder = load_encoder(**choice)
    else:
        encoder, choice = _load_with_default(load_encoder, choice, default, announce)
    length = {"segment_length": asked["segment_length"]} if "segment_length" in asked else {}
    settings = IndexSettings(encoder.identity, **length)
    return Store.create(path, settings, encoder.dim, choice.get("adapter")), lambda: encoder


def _load_with_default(
    load_encoder: Callable[..., Encoder], choice: Mapping[str, Any], default: str, announce: Announce
) -> tuple[Encoder, dict[str, Any]]:
    """The encoder with the default adapter, or without if that is of no use here; and what it was loaded with."""
    try:
        with_default = {**choice, "adapter": find_adapter(default)}
        encoder = load_encoder(**with_default)
    except ModelUnavailable as error:
        encoder = load_encoder(**choice)  # raises again if it is not for the adapter
        announce(f"The default adapter {default} is left out: {error}")
        return encoder, dict(choice)
    name = encoder.identity.encoder
    its_encoder = f", and its encoder {name}" if name != choice.get("encoder", DEFAULT_ENCODER) else ""
    announce(f"Using the adapter {default}, the default for this model{its_encoder}; --adapter none does without.")
    return encoder, with_default


def _change_adapter(
    store: Store, load_encoder: Callable[..., Encoder], asked: Mapping[str, Any], announce: Announce
) -> tuple[Store, Callable[[], Encoder]]:
    """The index with the adapter asked for: as it is, with its adapter switched, or a store beside it to be filled."""
    ours = store.settings.identity
    store.require(replace(_choice(asked), adapter=None), asked.get("segment_length"))
    file = find_adapter(asked["adapter"]) if asked["adapter"] is not None else None
    if file and (info := read_info(file)) and (info.model, info.encoder) != (ours.model, ours.encoder):
        store.require(EncoderChoice(info.model, info.pretrained, info.encoder, info.name))
    begun = store.unfinished()
    if begun and begun.has_adapter(file):
        return begun, functools.cache(functools.partial(_load_own, begun, load_encoder))
    if store.has_adapter(file):
        if begun:
            _give_up(store, begun, announce)
        return store, functools.cache(functools.partial(_load_own, store, load_encoder))

    encoder = load_encoder(model=ours.model, pretrained=ours.pretrained, encoder=ours.encoder, adapter=file)
    settings = replace(store.settings, identity=encoder.identity)
    if settings.has_vectors_of(store.settings):
        if begun:
            _give_up(store, begun, announce)
        announce(
            f"Searches of the index {store.path.name!r} go through {_with(settings.identity.adapter)} now. "
            "That changes queries alone: no video has to be encoded again."
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


def _give_up(store: Store, begun: Store, announce: Announce) -> None:
    with store.writing() as writer:
        writer.give_up_unfinished()
    announce(f"Gave up encoding again with {_with(begun.settings.identity.adapter)}, which was not finished.")


def _load_own(store: Store, load_encoder: Callable[..., Encoder]) -> Encoder:
    ours = store.settings.identity
    return load_encoder(model=ours.model, pretrained=ours.pretrained, encoder=ours.encoder, adapter=store.adapter)


def _with(adapter: str | None) -> str:
    return f"the adapter {adapter}" if adapter else "no adapter"


def reencode_cost(store: Store) -> Cost:
    """What encoding all videos of an index again will take. Copies of a video cost nothing."""
    return cost(store, (row for row in store.videos().values() if not row.failed))


def cost(store: Store, rows: Iterable[VideoRow]) -> Cost:
    lengths = {row.content: row.duration for row in rows}
    footage, speed = sum(lengths.values()), store.speed()
    return Cost(len(lengths), footage, footage / speed if speed else None)


def check_folders(folders: Sequence[Path], store_path: Path) -> list[Path]:
    """`folders` made absolute. Raises BadInput for one that neither exists nor has videos in the index."""
    absolute = [Path(os.path.abspath(folder)) for folder in folders]
    absent = [folder for folder in absolute if not folder.exists()]
    known = list(Store.open(store_path).videos()) if absent and is_index(store_path) else []
    for folder in absent:
        if not any(path.is_relative_to(folder) for path in known):
            raise BadInput(f"There is no folder or video {folder}")
    return absolute


def needs_index(folders: Sequence[Path], store_path: Path, exclude: Sequence[str] = ()) -> bool:
    """Whether there is anything to index, or indexed already: else no model need be loaded, or even fetched."""
    if next(find_videos(folders, exclude), None):
        return True
    return is_index(store_path) and bool(Store.open(store_path).count_videos())
