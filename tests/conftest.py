from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vidfind.encoder import Encoder
    from vidfind.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty index of 16 numbers a vector, named as by default: enough wherever vectors may be random."""
    from vidfind.store import IndexSettings, Store

    settings = IndexSettings("tiny", "builtin", "digest", "tempme", None, 12)
    return Store.create(tmp_path / "indexes" / "default", settings, dim=16)


@pytest.fixture(scope="session")
def tiny_encoder() -> Encoder:
    """The built-in model with TempMe on the CPU, loaded once: real, and milliseconds a clip."""
    from vidfind.registry import load_encoder

    return load_encoder("tiny", device="cpu")
