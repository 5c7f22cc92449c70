"""What a user asks for: what is not asked for is filled in, and "none" for the adapter is an answer of its own."""

from pathlib import Path

import pytest

from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.system.paths import NO_ADAPTER

INDEX = EncoderIdentity("ViT-B-16", "openai", "digest", "mean", "home", 8)


def test_a_choice_of_nothing_is_filled_in_and_changes_nothing() -> None:
    other = EncoderChoice("ViT-B-16", "openai", "mean", "home", 8)
    assert EncoderChoice().or_else(other) == other
    assert EncoderChoice().over(INDEX) == INDEX


def test_a_choice_of_everything_stays_as_it_is() -> None:
    asked = EncoderChoice("tiny", "builtin", "tempme", "garden", 12)
    assert asked.or_else(EncoderChoice("ViT-B-16", "openai", "mean", "home", 8)) == asked
    assert asked.over(INDEX) == EncoderIdentity("tiny", "builtin", "digest", "tempme", "garden", 12)


@pytest.mark.parametrize(
    ("adapter", "wanted", "filled_in", "of_index"),
    [
        (None, None, "home", "home"),
        (NO_ADAPTER, None, NO_ADAPTER, None),
        ("garden", "garden", "garden", "garden"),
        (Path("garden.safetensors"), Path("garden.safetensors"), Path("garden.safetensors"), "garden.safetensors"),
    ],
    ids=["not-asked", "none", "name", "file"],
)
def test_no_adapter_is_asked_for_by_name(
    adapter: str | Path | None, wanted: str | Path | None, filled_in: str | Path, of_index: str | None
) -> None:
    asked = EncoderChoice(adapter=adapter)
    assert asked.wanted_adapter == wanted
    assert asked.or_else(EncoderChoice(adapter="home")).adapter == filled_in
    assert asked.over(INDEX).adapter == of_index
