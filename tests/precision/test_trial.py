import json
import logging
from pathlib import Path

import pytest
import torch

from tests.support.ran import Run
from vidfind.encoders.encoder import Encoder
from vidfind.precision.integers import largest_weight
from vidfind.precision.trial import CAREFUL, CLIPS, FLOAT32, INT8, Trial, describe, is_precise

needs_integers = pytest.mark.skipif(
    not largest_weight(), reason="this CPU, or its PyTorch, has no products of integers"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which nothing was tried before."""
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("cosines", "precise"),
    [
        ([], None),
        ([0.9999] * (CLIPS - 1), None),
        ([0.9999] * CLIPS, True),
        ([0.9999] * 7 + [0.98], True),  # a merge may fall the other way
        ([0.9999, 0.96], False),
        ([0.997] * CLIPS, False),
        ([float("nan")] * CLIPS, False),
    ],
)
def test_the_median_and_each_clip_must_be_close_enough(cosines: list[float], precise: bool | None) -> None:
    assert is_precise(cosines) is precise


def test_what_was_found_is_kept_for_each_model(home: Path) -> None:
    trial = Trial("one")
    for number in range(CLIPS):
        assert (trial.stage, trial.is_over) == (INT8, False)
        trial = trial if number % 3 else Trial("one")  # another run goes on
        trial.add(INT8, 0.9995)
    assert (Trial("one").stage, Trial("one").is_over, Trial("one").cosines) == (INT8, True, [0.9995] * CLIPS)
    assert (Trial("two").stage, Trial("two").is_over) == (INT8, False)
    Trial("two").add(INT8, 0.9)
    assert Trial("one").is_over


def test_after_int8_a_careful_tower_is_tried_and_then_float32_stays(caplog: pytest.LogCaptureFixture) -> None:
    trial = Trial("one")
    with caplog.at_level(logging.INFO):
        trial.add(INT8, 0.9)
        trial.add(INT8, 0.99)  # of a thread that was late
        assert (trial.stage, trial.is_over, trial.cosines) == (CAREFUL, False, [])
        trial.add(CAREFUL, 0.8)
    assert (trial.stage, trial.is_over) == (Trial("one").stage, Trial("one").is_over) == (FLOAT32, True)
    assert trial.describe().startswith(
        "float32, since int8 is not precise enough for this model (cosine to float32 of 1"
    )
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@pytest.mark.parametrize("text", ["", "[]", '{"KEY": 1}', '{"KEY": {"int8": 1}}', '{"KEY": {"int8": ["x"]}}'])
def test_a_damaged_file_begins_the_trial_anew(home: Path, text: str) -> None:
    Trial("one").add(INT8, 0.9995)
    [key] = json.loads((home / "precision.json").read_text())
    (home / "precision.json").write_text(text.replace("KEY", key))
    trial = Trial("one")
    assert (trial.stage, trial.cosines) == (INT8, [])
    trial.add(INT8, 0.9995)
    assert Trial("one").cosines == [0.9995]


def test_a_home_that_cannot_be_written_stops_nothing(home: Path) -> None:
    home.mkdir()
    (home / "precision.json").mkdir()
    trial = Trial("one")
    trial.add(INT8, 0.9995)
    assert trial.cosines == [0.9995]


def test_the_state_is_told_in_words() -> None:
    assert describe(INT8, [], False) == "float32 for 8 clips, to try int8"
    assert describe(INT8, [0.99, 0.998], False).endswith(
        "(cosine to float32 of 2 clips: median 0.9940, least 0.9900 so far)"
    )


@needs_integers
def test_the_first_clips_are_in_float32_and_later_ones_in_int8(tiny_encoder: Encoder) -> None:
    encoder = with_trial(tiny_encoder)
    clips = even_clips(tiny_encoder, CLIPS + 1)
    exact, found = tiny_encoder.encode_video(clips), encoder.encode_video(clips)
    torch.testing.assert_close(found[:CLIPS], exact[:CLIPS], atol=1e-5, rtol=0)
    assert not torch.allclose(found[CLIPS:], exact[CLIPS:], atol=1e-5)
    assert not torch.allclose(with_trial(tiny_encoder).encode_video(clips)[:CLIPS], exact[:CLIPS], atol=1e-5)


@needs_integers
def test_a_model_that_int8_spoils_stays_in_float32(tiny_encoder: Encoder) -> None:
    """One hidden unit is always large, so that of the others nothing is left in 8 bits."""
    spoilt = tiny_encoder.copy()
    for block in spoilt.model.visual.transformer.resblocks:
        block.mlp.c_fc.bias.data[0] = 1000.0
        block.mlp.c_proj.weight.data[:, 0] /= 1000.0
    clips = even_clips(spoilt, 2 * CLIPS + 1)
    encoder = with_trial(spoilt)
    torch.testing.assert_close(encoder.encode_video(clips), spoilt.encode_video(clips), atol=1e-5, rtol=0)
    assert (encoder.describe_format().split(",")[0], encoder.number_format) == ("float32", "int8")


def with_trial(encoder: Encoder) -> Encoder:
    trial = Trial("the model")
    return Encoder(encoder.model, encoder.tokenizer, encoder.identity, encoder.parameters, int8=True, trial=trial)


def even_clips(encoder: Encoder, count: int) -> torch.Tensor:
    """Clips of one colour each: where nothing moves, no merge depends on the last bit."""
    colours = torch.linspace(0, 255, count * 3).byte().view(count, 1, 1, 1, 3)
    return colours.expand(-1, encoder.num_frames, encoder.image_size, encoder.image_size, -1).contiguous()


@needs_integers
def test_the_format_of_an_index_is_shown(run: Run, made: Path, home: Path) -> None:
    options = ["--model", "tiny", "--segment", "3", "--quiet"]
    assert run("index", made, *options, "--dtype", "int8").code == 0
    told = json.loads(run("status", "--json").out)["precision"]
    assert told["words"].startswith("int8 (cosine to float32 of 8 clips: median ")
    assert told["before"] == []
    assert "tempme, in int8 (cosine to float32 of 8 clips: median " in " ".join(run("doctor").out.split())
    assert run("index", made, *options, "--dtype", "float32", "--force").code == 0
    assert "Numbers   float32; before in int8" in run("status").out
    assert run("search", "a red circle", "--dtype", "int8", "--json").code == 0
    (home / "indexes" / "default" / "precision.json").unlink()  # as in an index of an older vidfind
    ran = run("status")
    assert (ran.code, "Numbers" in ran.out) == (0, False)
    assert run("remove", "--all", "--yes").code == 0
    assert not (home / "indexes" / "default").exists()
