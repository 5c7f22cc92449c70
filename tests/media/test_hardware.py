"""Decoding on a device. No device is needed here: where one is wanted, the processor stands for it."""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support import faulty
from tests.support.numbered import SIZE
from tests.support.ran import Run
from vidfind.errors import DeviceMissing, ReaderFailed
from vidfind.media import decoding, frames, hardware
from vidfind.media.decoding import decode_ahead
from vidfind.media.frames import open_video
from vidfind.media.hardware import (
    DEVICE_TYPES,
    PROCESSOR,
    Device,
    DeviceChoice,
    Trial,
    fastest,
    find_devices,
    first_device,
    known_types,
    mean_difference,
    time_decoders,
)
from vidfind.media.messages import Clip, Done, Failed
from vidfind.media.probe import probe
from vidfind.media.read import read_clips
from vidfind.media.readers import keyframes
from vidfind.media.sampling import split_segments

ABSENT = "d3d12va" if sys.platform == "linux" else "vaapi"
"""A device type that cannot be opened here, if FFmpeg knows it at all."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that decodes as the processor does, since the processor does its work."""
    monkeypatch.setattr(frames, "_open_on", lambda device, path: frames._open_container(path, is_quick=True))
    monkeypatch.setattr(frames, "_is_on_device", lambda stream: True)
    monkeypatch.setattr(hardware, "known_types", lambda: ["cuda"])
    monkeypatch.setattr(hardware, "open_device", lambda name: iter([Device(name)]))


# What is here


def test_each_system_has_device_types_that_ffmpeg_has_heard_of() -> None:
    known = {one.name for one in av.codec.hwaccel.HWDeviceType}
    assert {name for names in DEVICE_TYPES.values() for name in names} <= known
    assert set(known_types()) <= set(DEVICE_TYPES.get(sys.platform, ()))


def test_each_device_opens_or_has_a_reason_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [device.name for device in find_devices()] == known_types()
    monkeypatch.setattr(hardware, "known_types", lambda: ["drm"])  # built in on Linux, and for no usual decoder
    [device] = find_devices()
    assert "h264" in device.trouble


def test_where_no_device_opens_that_is_an_error_that_names_those_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "known_types", lambda: ["drm"])
    with pytest.raises(DeviceMissing, match=r"drm: .*--decoder auto or cpu"):
        first_device()
    with pytest.raises(DeviceMissing):
        next(decode_ahead([Path("a.mp4")], 10.0, 4, SIZE, decoder="hardware"))


@pytest.mark.parametrize("name", ["h264.mp4", "av1.mp4", "prores.mov"])
def test_a_device_that_does_not_open_or_lacks_the_codec_is_no_fault_of_the_file(clips: Path, name: str) -> None:
    with pytest.raises(ReaderFailed, match=ABSENT), open_video(clips / name, device=ABSENT):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--decoder", "hardware"], "Use --decoder auto or cpu"),
        (["--decoder", "hardware", "--sampling", "exact"], "--decoder auto or cpu"),
        (["--decoder", "gpu"], "auto, cpu, hardware"),
    ],
)
def test_a_run_without_the_decoder_that_it_wants_ends_before_it_begins(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setattr(hardware, "known_types", list)
    ran = run("index", tmp_path, *options)
    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert not list(tmp_path.iterdir())


def test_the_decoder_can_be_a_setting(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "known_types", list)
    monkeypatch.setenv("VIDFIND_DECODER", "hardware")
    assert run("index", tmp_path).code == 2
    monkeypatch.setenv("VIDFIND_DECODER", "gpu")
    assert "VIDFIND_DECODER takes one of auto, cpu, hardware, not 'gpu'" in run("index", tmp_path).err
    assert "Error: --decoder takes" in run("index", tmp_path, "--decoder", "tpu").err
    monkeypatch.setenv("VIDFIND_DECODER", "hardware")
    monkeypatch.setattr(hardware, "first_device", lambda: "cuda")
    assert "--sampling exact" in run("index", tmp_path, "--sampling", "exact").err


# The choice


@pytest.mark.parametrize(
    ("seconds", "decoders", "chosen"),
    [
        ({PROCESSOR: 1.0, "cuda": 0.4}, 2, "cuda"),
        ({PROCESSOR: 1.0, "cuda": 0.4}, 4, PROCESSOR),
        ({PROCESSOR: 1.0, "cuda": 0.4, "vaapi": 0.1}, 8, "vaapi"),
        ({PROCESSOR: 1.0, "cuda": 1.0}, 1, PROCESSOR),
        ({PROCESSOR: 1.0}, 2, PROCESSOR),
    ],
)
def test_a_device_must_be_faster_than_all_decoders_of_the_processor(
    seconds: dict[str, float], decoders: int, chosen: str
) -> None:
    assert fastest(seconds, decoders) == chosen


class InProcess:
    """Runs the work of a worker here, and counts."""

    def __init__(self, *trials: Trial) -> None:
        self.trials, self.runs = trials, 0

    def run(self, *arguments: object, seconds: float) -> object:
        self.runs += 1
        return iter(self.trials)


@pytest.mark.parametrize(
    ("trials", "devices", "runs"),
    [
        ([], ["", ""], 2),  # of a file that no device decodes nothing is learnt
        ([Trial(PROCESSOR, 0.0)], ["", ""], 1),
        ([Trial(PROCESSOR, 1.0), Trial("cuda", 0.1)], ["cuda", "cuda"], 1),
        ([Trial(PROCESSOR, 1.0), Trial("cuda", 0.9)], ["", ""], 1),
    ],
)
def test_the_first_video_that_can_tell_decides_for_the_run(
    trials: list[Trial], devices: list[str], runs: int, caplog: pytest.LogCaptureFixture, stand_in: None
) -> None:
    worker, choice = InProcess(*trials), DeviceChoice("auto", 10.0, 4, SIZE, "auto", 2)
    with caplog.at_level(logging.INFO, "vidfind"):
        assert [choice.device_for(worker, Path(name)) for name in ("a.mp4", "b.mp4")] == devices  # type: ignore[arg-type]
    assert worker.runs == runs
    if len(trials) == 2:
        assert "a.mp4 took processor 1.00 s, cuda" in caplog.text


def test_processor_and_device_read_the_same_start_of_a_video(
    clips: Path, stand_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = (1.3, 4, SIZE, "auto")
    assert [trial.device for trial in time_decoders(clips / "h264.mp4", *wanted)] == [PROCESSOR, "cuda"]  # type: ignore[arg-type]
    assert not list(time_decoders(clips / "mpeg4.avi", *wanted))  # type: ignore[arg-type]
    monkeypatch.setattr(hardware, "MAX_DIFFERENCE", -1.0)  # as if it showed other pictures
    assert not list(time_decoders(clips / "h264.mp4", *wanted))  # type: ignore[arg-type]


def test_pictures_differ_by_their_mean_in_both_directions() -> None:
    one = np.array([0, 250], np.uint8)
    assert mean_difference(one, np.array([6, 250], np.uint8)) == mean_difference(one, np.array([0, 244], np.uint8)) == 3


# What a device cannot


def test_the_processor_goes_on_where_a_device_fails_within_a_file(
    clips: Path, stand_in: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = clips / "long.mp4"
    segments = split_segments(probe(path).duration, 10)
    expected = list(read_clips(path, segments, 5, SIZE, "auto"))
    opened: list[str] = []
    take = keyframes._Decoder._take

    def fail_late(self: keyframes._Decoder, packet: object, time: float) -> None:
        if opened[-1] and packet is not None and packet.pts * packet.time_base > 25:  # type: ignore[attr-defined]
            raise ReaderFailed("the device is gone")
        take(self, packet, time)  # type: ignore[arg-type]

    def open_noting(path: Path, threads: int, is_quick: bool, device: str) -> object:
        opened.append(device)
        return open_video(path, threads, is_quick, device)

    monkeypatch.setattr(keyframes, "open_video", open_noting)
    monkeypatch.setattr(keyframes._Decoder, "_take", fail_late)
    with caplog.at_level(logging.INFO, "vidfind"):
        found = list(read_clips(path, segments, 5, SIZE, "auto", device="cuda"))
    assert opened == ["cuda", ""]
    assert "with the processor: the device is gone" in caplog.text
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.times, other.times)


def test_a_file_is_read_by_the_processor_where_the_device_does_not_open(clips: Path) -> None:
    segments = split_segments(3, 1)
    for one, other in zip(
        read_clips(clips / "h264.mp4", segments, 3, SIZE, "auto", device=ABSENT),
        read_clips(clips / "h264.mp4", segments, 3, SIZE, "auto"),
        strict=True,
    ):
        assert np.array_equal(one.frames, other.frames)


def test_a_driver_that_crashes_costs_no_video_and_is_used_no_more(
    clips: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hardware, "first_device", lambda: "cuda")
    monkeypatch.setattr(decoding, "read_video", faulty.read_video_on_device)
    paths = [clips / "long.mp4", clips / "h264.mp4"]
    with closing(decode_ahead(paths, 10.0, 4, SIZE, workers=1, decoder="hardware")) as batches:
        messages = [message for batch in batches for message in batch]
    assert not any(isinstance(message, Failed) for message in messages)
    assert [message.path for message in messages if isinstance(message, Done)] == paths
    for path in paths:
        [times] = [np.concatenate([one.times for one in messages if isinstance(one, Clip) and one.path == path])]
        segments = split_segments(probe(path).duration, 10)
        expected = [sample.times for sample in read_clips(path, segments, 4, SIZE, "auto")]
        assert np.array_equal(times, np.concatenate(expected))
    assert sum("Decoding goes on without cuda" in text for text in caplog.messages) == 1
