"""open_clip's configurations of models, read without importing open_clip, which would take seconds."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def open_clip_folder() -> Path:
    """Returns the folder of open_clip."""
    spec = importlib.util.find_spec("open_clip")
    assert spec and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def open_clip_config(model: str) -> Mapping[str, Any] | None:
    """Returns open_clip's configuration of a model; None if open_clip has no model of this name."""
    file = open_clip_folder() / "model_configs" / f"{model}.json"
    return read_config(file) if file.is_file() else None


def read_config(file: Path) -> Mapping[str, Any]:
    config: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config
