"""Chooses and loads the encoders that an evaluation compares."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.commands import finetune_command
from vidfind.errors import BadInput, ModelUnavailable
from vidfind.models.adapter_file import AdapterInfo, find_adapter, read_info
from vidfind.models.catalog import DEFAULT_ENCODER, DEFAULT_MODEL, default_pretrained
from vidfind.models.load import load_encoder, weights_digest
from vidfind.models.saved_adapters import list_adapters
from vidfind.system.paths import adapter_path

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
    from vidfind.encoders.names import EncoderIdentity

log = logging.getLogger(__name__)


def choose_encoders(
    names: Sequence[str],
    asked: Mapping[str, str | None],
    ours: EncoderIdentity | None = None,
    own_adapter: Path | str | None = None,
    announce: Callable[[str], None] = log.info,
) -> dict[str, dict[str, Any]]:
    """What is to be judged: for each column its name, and the arguments of `load_encoder`.

    `names` are those of encoders and saved adapters to compare. Without any, one encoder is judged: what `asked` names,
    or `ours`, the encoder of the index, with its `own_adapter`. `asked` holds what the user chose
    of `model`, `pretrained`, `encoder` and `adapter`; model and weights not chosen are those of the adapter, or else of
    the index. An encoder that means nothing before it is trained is judged with its latest adapter, of which
    `announce` is told. Raises BadInput for a name that nothing has, ModelUnavailable for an adapter that cannot be read
    or is not there."""
    from vidfind.encoders.table import ENCODERS

    chosen = {key: value for key, value in asked.items() if key in ("encoder", "adapter")}
    model = {key: value for key, value in asked.items() if key not in chosen}
    columns: dict[str, dict[str, Any]]
    if names:
        columns = {name: {"encoder" if name in ENCODERS else "adapter": name} for name in names}
    elif chosen.get("adapter") or chosen.get("encoder"):
        columns = {str(chosen.get("adapter") or chosen["encoder"]): chosen}
    elif ours and all(value == getattr(ours, key) for key, value in model.items()):
        own = {"encoder": ours.encoder, "adapter": own_adapter, **chosen}
        columns = {ours.adapter if ours.adapter and own["adapter"] else ours.encoder: own}
    else:
        columns = {DEFAULT_ENCODER: {}}
    adapters = [_adapter_info(column["adapter"]) for column in columns.values() if column.get("adapter")]
    for source in (*adapters, ours):
        if source and model.get("model", source.model) == source.model:
            model = {"model": source.model, "pretrained": source.pretrained, **model}
    for name, column in columns.items():
        if "adapter" not in column and ENCODERS[column.get("encoder", DEFAULT_ENCODER)].is_frozen:
            column["adapter"], day = _latest_adapter(column["encoder"], **model)
            announce(f"{name} is judged with its latest adapter, {column['adapter']!r} of {day}.")
    return {name: {**model, **column} for name, column in columns.items()}


def load_encoders(
    choices: Mapping[str, Mapping[str, Any]], say: Callable[[str], None] = lambda name: None, **options: Any
) -> dict[str, Encoder]:
    """The encoders that `choose_encoders` has chosen; those without an adapter share one model in memory.

    `say` is told which is next; `options` and what is raised are those of `load_encoder`."""
    encoders: dict[str, Encoder] = {}
    shared: Encoder | None = None
    for name, choice in choices.items():
        say(name)
        if choice.get("adapter"):
            encoders[name] = load_encoder(**choice, **options)
        elif shared is None:
            shared = encoders[name] = load_encoder(**choice, **options)
        else:  # model and weights are the same for all
            encoders[name] = shared.with_encoder(choice.get("encoder") or DEFAULT_ENCODER)
    return encoders


def _adapter_info(adapter: str | Path) -> AdapterInfo:
    from vidfind.encoders.table import ENCODERS

    try:
        return read_info(find_adapter(adapter))
    except ModelUnavailable as error:
        if isinstance(adapter, Path) or adapter_path(adapter).is_file():
            raise
        raise BadInput(f"{error} The encoders are: {', '.join(ENCODERS)}.") from error


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
