"""What differs between an index and what is asked of it, and what the error tells to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vidfind.commands import NO_ADAPTER
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.encoders.views import joint_digest
from vidfind.store.mismatch import choice_mismatch, identity_mismatch, mismatch_error
from vidfind.store.settings import IndexSettings

OWN = EncoderIdentity("ViT-B-32", "openai", "digest", "tempme", "home", 12)
OURS = IndexSettings(OWN)


@pytest.mark.parametrize(
    "asked",
    [
        EncoderChoice(),
        EncoderChoice("ViT-B-32", "openai", "tempme", "home", 12),
        EncoderChoice(adapter="home"),
    ],
    ids=["nothing", "all of it", "its adapter"],
)
def test_what_the_index_has_may_be_asked_for(asked: EncoderChoice) -> None:
    assert choice_mismatch(OURS, asked) is None
    assert choice_mismatch(OURS, asked, segment_length=10.0) is None


def test_each_setting_that_differs_is_named_with_both_values() -> None:
    mismatch = choice_mismatch(OURS, EncoderChoice(encoder="mean", num_frames=8), segment_length=5.0)
    assert mismatch
    assert mismatch.names == ["encoder", "num_frames", "segment_length"]
    assert str(mismatch) == "encoder tempme, not mean, num frames 12, not 8, segment length 10.0, not 5.0"


def test_another_model_keeps_neither_the_name_of_the_weights_nor_the_adapter() -> None:
    mismatch = choice_mismatch(OURS, EncoderChoice("ViT-B-16"))
    assert mismatch
    assert mismatch.wanted.identity == EncoderIdentity("ViT-B-16", "", "digest", "tempme", None, 12)
    assert mismatch.adapter is None


def test_another_segment_length_keeps_the_adapter() -> None:
    mismatch = choice_mismatch(OURS, EncoderChoice(), segment_length=5.0)
    assert mismatch and mismatch.adapter == mismatch.wanted.identity.adapter == "home"


@pytest.mark.parametrize(
    ("overlap", "other", "words"),
    [(False, True, "segments that do not overlap"), (True, False, "segments that overlap")],
)
def test_segments_that_overlap_are_another_setting(overlap: bool, other: bool, words: str) -> None:
    ours = IndexSettings(OWN, overlap=overlap)
    assert choice_mismatch(ours, EncoderChoice()) is choice_mismatch(ours, EncoderChoice(), overlap=overlap) is None
    mismatch = choice_mismatch(ours, EncoderChoice(), overlap=other)
    assert mismatch and str(mismatch) == words
    beside, replace = str(mismatch_error(Path("films"), mismatch, (), None)).split("   ")
    assert ("--overlap" in beside, "--overlap" in replace) == (other, other)
    assert not ours.has_vectors_of(mismatch.wanted)


def test_no_adapter_is_not_the_same_as_none_asked_for() -> None:
    mismatch = choice_mismatch(OURS, EncoderChoice(adapter=NO_ADAPTER))
    assert mismatch and (str(mismatch), mismatch.adapter) == ("adapter home, not none", NO_ADAPTER)


def test_the_same_weights_may_have_another_name_and_other_weights_may_not() -> None:
    elsewhere = EncoderIdentity("ViT-B-32", "/elsewhere/clip.safetensors", "digest", "tempme", "home", 12)
    assert identity_mismatch(OURS, elsewhere) is None
    mismatch = identity_mismatch(OURS, EncoderIdentity("ViT-B-32", "openai", "changed", "tempme", "home", 12))
    assert mismatch and str(mismatch) == "other weights, which have changed since under the same name"


def test_the_error_names_the_command_for_another_index_and_the_one_that_replaces_this() -> None:
    mismatch = choice_mismatch(OURS, EncoderChoice(encoder="mean"))
    assert mismatch
    message = str(mismatch_error(Path("/home/indexes/trip"), mismatch, [Path("/films")], None))
    options = "--model ViT-B-32 --pretrained openai --encoder mean"
    assert f"To make another beside it: vidfind index /films {options} --index NAME" in message
    assert f"vidfind remove --all --index trip && vidfind index /films {options} --index trip" in message


def test_another_adapter_alone_needs_no_other_index() -> None:
    mismatch = choice_mismatch(OURS, EncoderChoice(adapter="garden"))
    assert mismatch
    message = str(mismatch_error(Path("/home/indexes/default"), mismatch, [], None))
    assert "To encode it again: vidfind index --adapter garden" in message


def test_an_adapter_that_is_saved_nowhere_else_is_imported_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))
    mismatch = choice_mismatch(OURS, EncoderChoice(), segment_length=5.0)
    assert mismatch
    own = tmp_path / "indexes" / "default" / "adapter-1.safetensors"
    message = str(mismatch_error(own.parent, mismatch, [Path("/films")], own))
    assert f"vidfind adapters import {own} && vidfind remove --all && vidfind index /films" in message


def test_an_index_of_cut_pictures_is_told_from_one_of_other_weights() -> None:
    """An older vidfind cut pictures to their middle that these weights want whole."""
    ours = IndexSettings(EncoderIdentity("ViT-H-14", "dfn5b", "digest", "mean", None, 12))
    now = replace(ours.identity, weights_digest=joint_digest("digest", "squashed"))
    mismatch = identity_mismatch(ours, now)
    assert mismatch and "the middles of pictures, as vidfind once did" in str(mismatch)
    other = identity_mismatch(ours, replace(now, weights_digest="other"))
    assert other and "other weights, which have changed since" in str(other)
