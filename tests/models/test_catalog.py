"""The models that vidfind offers."""

import open_clip
import pytest

from vidfind.models.catalog import MODELS, TINY, ModelEntry
from vidfind.models.hub import hub_files, list_models


@pytest.mark.parametrize(
    "entry", [entry for entry in MODELS if entry.model != TINY], ids=lambda entry: entry.pretrained
)
def test_the_table_of_models_agrees_with_open_clip(entry: ModelEntry) -> None:
    tag = open_clip.get_pretrained_cfg(entry.model, entry.pretrained)
    assert hub_files(tag["hf_hub"]) == hub_files(str(entry.hub))


def test_the_tiny_model_is_always_there() -> None:
    tiny = next(entry for entry in list_models() if entry.model == TINY)
    assert tiny.path is not None and tiny.path.is_file() and tiny.size_bytes > 1_000_000
