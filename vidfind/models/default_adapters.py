"""Which adapter a new index of a model uses by default."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from vidfind.errors import BadInput, ModelUnavailable
from vidfind.models.adapter_file import AdapterInfo, find_adapter, read_info
from vidfind.models.catalog import DEFAULT_ENCODER, default_encoder
from vidfind.system.files import fingerprint
from vidfind.system.paths import adapter_path, home
from vidfind.system.storage import storage_errors, write_text

log = logging.getLogger(__name__)


# The default adapter of each model


def default_name(model: str, pretrained: str) -> str | None:
    """Returns the adapter that new indexes of this model and weights use, if it is still there and fits."""
    defaults = read_defaults()
    key, file = _model_key(model, pretrained), Path(pretrained).expanduser()
    digest = fingerprint(file) if file.is_file() else ""  # a checkpoint may have moved since the training
    for name in [defaults[key]] if key in defaults else list(defaults.values()) if digest else []:
        try:
            info = read_info(find_adapter(name))
        except (ModelUnavailable, BadInput) as error:
            log.info("the default adapter cannot be used: %s", error)
            continue
        if info.model == model and (info.pretrained == pretrained or (digest and info.weights_digest == digest)):
            return name
    return None


def set_default_adapter(name: str) -> str:
    """Makes a saved adapter the one that new indexes use, of the `MODEL / WEIGHTS` it was trained on; returns these."""
    info = read_info(find_adapter(name))
    key = _model_key(info.model, info.pretrained)
    write_defaults({**read_defaults(), key: name})
    return key


def is_for_daily_use(info: AdapterInfo, used: str | None) -> bool:
    """Whether an adapter may become the default: new indexes have its encoder, or the index in use has (`used`).

    One of any other encoder is a trial."""
    return info.encoder in (DEFAULT_ENCODER, default_encoder(info.model), used)


def default_adapters() -> dict[str, str]:
    """Returns the default adapter of each `MODEL / WEIGHTS`, even if it is gone."""
    return read_defaults()


def lost_defaults() -> dict[str, str]:
    """Returns the default adapters that can never be used, with the reason. The key is "" for an unreadable file.

    An existing adapter that cannot be read is not among them, because it may be restored."""
    lost = {}
    try:
        defaults = _load_defaults()
    except BadInput as error:
        return {"": str(error)}
    for model, name in defaults.items():
        try:
            info = read_info(find_adapter(name))
            if model != _model_key(info.model, info.pretrained):
                lost[model] = f"the adapter {name!r} is the default of {model}, but was trained on another"
        except (ModelUnavailable, BadInput) as error:
            if isinstance(error, BadInput) or not adapter_path(name).is_file():
                lost[model] = f"the adapter {name!r} is the default of {model}, but there is none of that name"
    return lost


def forget_default(model: str) -> None:
    """Lets new indexes use no adapter, by a key of `lost_defaults`."""
    write_defaults({other: name for other, name in read_defaults().items() if other != model})


def _model_key(model: str, pretrained: str) -> str:
    return f"{model} / {pretrained}"


def _defaults_file() -> Path:
    return home() / "adapters" / "default.json"


def read_defaults() -> dict[str, str]:
    try:
        return _load_defaults()
    except BadInput:
        return {}  # a lost default costs an option, not an index


def _load_defaults() -> dict[str, str]:
    """Raises BadInput where the file cannot be read."""
    file = _defaults_file()
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return {str(model): str(name) for model, name in values.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error


def write_defaults(defaults: Mapping[str, str]) -> None:
    file = _defaults_file()
    if not defaults:
        with storage_errors(file.parent):
            file.unlink(missing_ok=True)
        return
    write_text(file, json.dumps(defaults, indent=2) + "\n")
