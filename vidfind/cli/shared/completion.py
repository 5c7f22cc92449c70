"""The names that a shell completes: indexes, adapters, encoders, models and weights.

Each function gets what is typed so far and returns the names that begin so. They run at every press of the Tab key, so
they list folders and read constants; they open no file and import nothing heavy.
"""

from collections.abc import Iterable
from typing import get_args

import typer

from vidfind.encoders.names import EncoderName
from vidfind.models.catalog import MODELS
from vidfind.system import paths


def index_names(incomplete: str) -> list[str]:
    from vidfind.store.settings import SETTINGS_FILE

    return _starting(incomplete, [file.parent.name for file in (paths.home() / "indexes").glob(f"*/{SETTINGS_FILE}")])


def adapter_names(incomplete: str) -> list[str]:
    return _starting(incomplete, [file.stem for file in (paths.home() / "adapters").glob("*.safetensors")])


def adapter_names_or_none(incomplete: str) -> list[str]:
    return [*adapter_names(incomplete), *_starting(incomplete, [paths.NO_ADAPTER])]


def model_names(incomplete: str) -> list[str]:
    return _starting(incomplete, [entry.model for entry in MODELS])


def weight_names(context: typer.Context, incomplete: str) -> list[str]:
    """Returns the weights of the model given by --model, or of all recommended ones."""
    model = context.params.get("model")
    return _starting(incomplete, [entry.pretrained for entry in MODELS if model in (None, entry.model)])


def names_to_compare(incomplete: str) -> list[str]:
    """Completes the last name of a list such as `mean,temp` with encoders and adapters."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in [*_starting(last, get_args(EncoderName)), *adapter_names(last)]]


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
