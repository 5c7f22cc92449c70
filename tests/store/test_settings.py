"""The files that say what an index was made with: their text is what earlier releases wrote, and is read as before."""

from pathlib import Path

import pytest

from vidfind.encoders.names import EncoderIdentity
from vidfind.errors import IndexDamaged
from vidfind.store.settings import Generation, IndexSettings, read_generation, write_generation

PLAIN = """\
{
  "format": 4,
  "model": "tiny",
  "pretrained": "builtin",
  "weights_digest": "digest",
  "encoder": "tempme",
  "adapter": null,
  "num_frames": 12,
  "segment_length": 10.0
}
"""
OF_PLAIN = Generation(IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12)))
WITH_ADAPTER = """\
{
  "format": 4,
  "model": "ViT-B-16",
  "pretrained": "laion2b_s34b_b88k",
  "weights_digest": "joint",
  "encoder": "mean",
  "adapter": "holiday",
  "num_frames": 8,
  "segment_length": 4.5,
  "generation": 3,
  "adapter_file": "adapter-1.safetensors"
}
"""
OF_WITH_ADAPTER = Generation(
    IndexSettings(EncoderIdentity("ViT-B-16", "laion2b_s34b_b88k", "joint", "mean", "holiday", 8), 4.5),
    3,
    "adapter-1.safetensors",
)

READ_BY_FRAME = PLAIN.replace('"format": 4', '"format": 5').replace(
    '"num_frames": 12,\n', '"num_frames": 12,\n  "reading": "frame",\n'
)
OF_READ_BY_FRAME = Generation(
    IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12, "frame")),
)
OF_16_FRAMES = PLAIN.replace('"num_frames": 12', '"num_frames": 16')
IN_PARTS = Generation(IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 16, "parts")))

OVERLAPPING = PLAIN.replace("10.0", '10.0,\n  "overlap": true')
OF_OVERLAPPING = Generation(IndexSettings(OF_PLAIN.settings.identity, overlap=True))


@pytest.mark.parametrize(
    ("text", "generation"),
    [
        (PLAIN, OF_PLAIN),
        (WITH_ADAPTER, OF_WITH_ADAPTER),
        (OVERLAPPING, OF_OVERLAPPING),
        (READ_BY_FRAME, OF_READ_BY_FRAME),
        (OF_16_FRAMES, IN_PARTS),
    ],
    ids=["plain", "with-an-adapter", "overlapping", "read-by-frame", "16-frames-of-an-earlier-version"],
)
def test_the_text_of_settings_stays_as_it_is_on_disk(tmp_path: Path, text: str, generation: Generation) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    assert read_generation(tmp_path) == generation
    file.unlink()
    write_generation(tmp_path, generation)
    assert file.read_text() == text


def test_a_whole_number_of_seconds_is_a_length_too(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(PLAIN.replace("10.0", "5"))
    assert read_generation(tmp_path).settings.segment_length == 5


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"encoder": "tempme",\n', "", "encoder is None"),
        ('"num_frames": 12', '"num_frames": "12"', "num_frames is '12'"),
        ('"segment_length": 10.0', '"segment_length": "long"', "segment_length is 'long'"),
        ('"segment_length": 10.0', '"segment_length": 10.0, "overlap": "no"', "overlap is 'no'"),
        ('"model": "tiny"', '"model": "tiny", "colour": "blue"', "colour"),
        ('"model": "tiny"', '"model": "tiny", "reading": "aloud"', "reading is 'aloud'"),
    ],
    ids=["missing", "text-for-a-number", "length", "overlap", "unknown", "reading"],
)
def test_settings_that_are_missing_unknown_or_no_values_are_named(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    (tmp_path / "settings.json").write_text(PLAIN.replace(old, new))
    with pytest.raises(IndexDamaged, match=reason):
        read_generation(tmp_path)
