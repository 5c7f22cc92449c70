"""Chooses and loads the encoders that an evaluation compares."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.commands import finetune_command
from vidfind.encoders.names import ENCODER_NAMES, EncoderChoice, EncoderIdentity, is_lost_file
from vidfind.errors import BadInput, ModelUnavailable
from vidfind.models.adapter_file import AdapterInfo, find_adapter, read_info
from vidfind.models.catalog import DEFAULT_MODEL, default_encoder, default_pretrained
from vidfind.models.load import has_weights_of, weights_digest
from vidfind.models.saved_adapters import list_adapters
from vidfind.system.paths import NO_ADAPTER, adapter_path

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder, EncoderLoader

log = logging.getLogger(__name__)


def choose_encoders(
    names: Sequence[str],
    asked: EncoderChoice,
    ours: EncoderIdentity | None = None,
    own_adapter: Path | str | None = None,
    announce: Callable[[str], None] = log.info,
) -> dict[str, EncoderChoice]:
    """The encoders to judge: the name of each column, and what to load for it.

    `names` are those of encoders and saved adapters to compare. Without any, one encoder is judged: the one that
    `asked` names, or `ours`, the encoder of the index, with the index's own copy of its adapter. Model and weights that
    are not asked for are those of the adapter, or else of the index. An encoder that means nothing before it is trained
    is judged with its latest adapter; `announce` is called with a line about that.
    Raises BadInput for a name that nothing has, ModelUnavailable for an adapter that cannot be read or is missing."""
    columns = _columns(names, asked, ours, own_adapter)
    adapters = [_adapter_info(one.wanted_adapter) for one in columns.values() if one.wanted_adapter]
    model, pretrained = asked.model, asked.pretrained
    sources = [source for source in (*adapters, ours) if source]
    for source in sorted(sources, key=lambda source: is_lost_file(source.pretrained)):  # what has moved comes last
        if model in (None, source.model):
            model, pretrained = source.model, pretrained or source.pretrained
    full = {name: replace(one, model=model, pretrained=pretrained) for name, one in columns.items()}
    return {name: _with_latest_adapter(name, one, announce) for name, one in full.items()}


def _columns(
    names: Sequence[str], asked: EncoderChoice, ours: EncoderIdentity | None, own_adapter: Path | str | None
) -> dict[str, EncoderChoice]:
    """The name of each column, with its encoder and adapter alone."""
    if names:
        return {
            name: EncoderChoice(encoder=name) if name in ENCODER_NAMES else EncoderChoice(adapter=name)
            for name in names
        }
    if named := asked.wanted_adapter or asked.encoder:
        return {str(named): EncoderChoice(encoder=asked.encoder, adapter=asked.adapter)}
    if ours and asked.model in (None, ours.model) and _is_own(asked.pretrained, ours, own_adapter):
        reading = None if ours.adapter else ours.reading
        own = EncoderChoice(encoder=ours.encoder, adapter=asked.adapter or own_adapter or NO_ADAPTER, reading=reading)
        return {ours.adapter if ours.adapter and own.wanted_adapter else ours.encoder: own}
    return {default_encoder(asked.model or DEFAULT_MODEL): EncoderChoice()}


def _is_own(pretrained: str | None, ours: EncoderIdentity, own_adapter: Path | str | None) -> bool:
    """Whether the weights asked for are those of the index, which may have moved."""
    return pretrained in (None, ours.pretrained) or has_weights_of(ours, str(pretrained), own_adapter)


def _with_latest_adapter(name: str, choice: EncoderChoice, announce: Callable[[str], None]) -> EncoderChoice:
    """The same choice, with the latest adapter of an encoder that needs one, where none is asked for."""
    from vidfind.encoders.table import ENCODERS

    if choice.adapter or not (choice.encoder and ENCODERS[choice.encoder].is_frozen):
        return choice
    adapter, day = _latest_adapter(choice.encoder, choice.model, choice.pretrained)
    announce(f"{name} is judged with its latest adapter, {adapter!r} of {day}.")
    return replace(choice, adapter=adapter)


def load_encoders(
    choices: Mapping[str, EncoderChoice], load: EncoderLoader, say: Callable[[str], None] = lambda name: None
) -> dict[str, Encoder]:
    """The encoders that `choose_encoders` has chosen; those without an adapter share one model in memory.

    `say` is called with the name of the next. Raises what `load` does."""
    encoders: dict[str, Encoder] = {}
    shared: Encoder | None = None
    for name, choice in choices.items():
        say(name)
        if choice.wanted_adapter:
            encoders[name] = load(choice)
        elif shared is None:
            shared = encoders[name] = load(choice)
        else:  # model and weights are the same for all
            encoders[name] = shared.with_encoder(choice.encoder or default_encoder(shared.identity.model))
    return encoders


def words_of(choices: Mapping[str, EncoderChoice]) -> list[str]:
    """Returns the words that the adapters among the choices have learned."""
    adapters = [one.wanted_adapter for one in choices.values() if one.wanted_adapter]
    return list(dict.fromkeys(word for adapter in adapters for word in _adapter_info(adapter).words))


def _adapter_info(adapter: str | Path) -> AdapterInfo:
    try:
        return read_info(find_adapter(adapter))
    except ModelUnavailable as error:
        if isinstance(adapter, Path) or adapter_path(adapter).is_file():
            raise
        raise BadInput(f"{error} The encoders are: {', '.join(ENCODER_NAMES)}.") from error


def _latest_adapter(encoder: str, model: str | None = None, pretrained: str | None = None) -> tuple[str, str]:
    """The name of the adapter of this encoder that was made last for the model and weights, and the day.

    Raises ModelUnavailable when there is none."""
    train = finetune_command(encoder=encoder, name="NAME", model=model, pretrained=pretrained)
    model = model or DEFAULT_MODEL
    pretrained = pretrained or default_pretrained(model)
    saved = {adapter.name: adapter.info for adapter in list_adapters() if adapter.info}
    own = {name: info for name, info in saved.items() if info.encoder == encoder}
    fitting = [name for name, info in own.items() if info.model == model and _is_trained_on(info, pretrained)]
    if not fitting:
        others = ", ".join(f"{name} of {info.model} / {info.pretrained}" for name, info in own.items())
        raise ModelUnavailable(
            f"The encoder {encoder} knows nothing before it is trained, and there is no adapter of it for {model} / "
            f"{pretrained}{f' (there is: {others})' if others else ''}. To make one: {train}"
        )
    latest = max(fitting, key=lambda name: own[name].created)
    return latest, own[latest].created[:10]


def _is_trained_on(info: AdapterInfo, pretrained: str) -> bool:
    """Whether these are the weights of the adapter; a file may have been called by another path."""
    file = Path(pretrained).expanduser()
    return info.pretrained == pretrained or (file.is_file() and info.weights_digest == weights_digest(info.model, file))
