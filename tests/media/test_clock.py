"""Moments on the clock that players show: every kind of container and clock, under every sampling."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.clips.make import read_number
from tests.support.clocks import RATE, WRAP, Shown, join_clips, number_at, shown_by_players, steady, write_clip
from tests.support.numbered import SIZE
from vidfind.media import probe as probing
from vidfind.media.clock import Timeline
from vidfind.media.frames import open_video, read_packets
from vidfind.media.probe import examine_once, probe
from vidfind.media.read import read_clips
from vidfind.media.sampling import Sampling, Segment, sample_times, split_segments

SOUND = (0.0, 9.0)
LATE = steady(2, 7)
STILL = [0.0, 1, 2, 3, 4, 4210, 4211, 4212]


def late(path: Path, codec: str = "libx264", options: dict[str, str] | None = None) -> None:
    write_clip(path, LATE, codec, sound=SOUND, options=options)


def cut_in_a_gop(path: Path) -> None:
    """What a recorder leaves that begins in the middle of a broadcast: sound at once, pictures from a keyframe on."""
    write_clip(path, steady(0, 12), sound=(0, 12))
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 20 // 188 * 188 :])


def in_a_row(
    path: Path,
    codec: str,
    format: str | None = None,
    rate: int = RATE,
    encoder: dict[str, str] | None = None,
    seconds: int = 24,
) -> Shown:
    """A stream without times, whose frames follow each other at its rate."""
    write_clip(path, steady(0, seconds, rate), codec, format=format, rate=rate, encoder=encoder)
    return [(i / rate, i) for i in range(seconds * rate)]


MAKE: dict[str, Callable[..., Shown | None]] = {
    "late.mkv": late,
    "late.mp4": late,
    "late.mov": late,
    "late.ts": late,
    "late.flv": late,
    "late.webm": partial(late, codec="libvpx"),
    "late.wmv": partial(late, codec="wmv2"),
    "late_fragmented.mp4": partial(late, options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "long_sound.mkv": partial(write_clip, times=steady(0, 4), sound=(0, 8)),
    "long_sound.mp4": partial(write_clip, times=steady(0, 4), sound=(0, 8)),
    "long_sound.flv": partial(write_clip, times=steady(0, 4), sound=(0, 8)),
    "long_sound.ts": partial(write_clip, times=steady(0, 4), sound=(0, 8)),
    "long_sound.wmv": partial(write_clip, times=steady(0, 4), codec="wmv2", sound=(0, 8)),
    "cut.ts": cut_in_a_gop,
    "offset.ts": partial(write_clip, times=steady(1000, 6)),
    "offset.mkv": partial(write_clip, times=steady(1000, 6), sound=(999, 1006)),
    "offset_fragmented.mp4": partial(
        write_clip, times=steady(1000, 6), sound=(999, 1006), options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "negative.mp4": partial(write_clip, times=steady(-1, 6), options={"avoid_negative_ts": "disabled"}),
    "negative.ts": partial(write_clip, times=steady(WRAP - 20, 6)),
    "wrap.ts": partial(write_clip, times=steady(WRAP - 3, 8), sound=(WRAP - 3, WRAP + 5)),
    "late_wrap.ts": partial(write_clip, times=steady(WRAP - 70, 140, rate=1)),
    "still.mkv": partial(write_clip, times=STILL, encoder={"bf": "0"}),
    "still.mp4": partial(write_clip, times=STILL, encoder={"bf": "0"}),
    "still.ts": partial(write_clip, times=STILL, encoder={"bf": "0"}),
    "still.avi": partial(write_clip, times=[*STILL[:5], 300, 301], codec="mpeg4"),
    "still.flv": partial(write_clip, times=STILL, encoder={"bf": "0"}),
    "joined.ts": lambda path: join_clips(path, steady(0, 14), steady(0, 13)),
    "joined_later.ts": lambda path: join_clips(path, steady(0, 6), steady(20_000, 4), steady(300, 3)),
    "joined_short.ts": lambda path: join_clips(path, steady(0, 1), steady(0, 14), steady(0, 1)),
    "joined.vob": lambda path: join_clips(path, steady(0, 3, 25), steady(0, 3, 25), codec="mpeg2video", rate=25),
    "program.mpg": partial(write_clip, times=steady(0, 3, 25), codec="mpeg2video", rate=25),
    "plain.avi": partial(in_a_row, codec="mpeg4", encoder={"bf": "2"}),
    "raw.h264": partial(in_a_row, codec="libx264", format="h264"),
    "raw.hevc": partial(in_a_row, codec="libx265", encoder={"preset": "ultrafast", "x265-params": "log-level=none"}),
    "raw.m4v": partial(in_a_row, codec="mpeg4", format="m4v"),
    "raw.ivf": partial(in_a_row, codec="libvpx", format="ivf", seconds=8),
    "raw.mjpeg": partial(in_a_row, codec="mjpeg", rate=25, seconds=16),
}


@pytest.fixture(scope="module", params=MAKE)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown]:
    """A file, and when a player shows each of its frames."""
    path = tmp_path_factory.mktemp("clocks") / request.param
    shown = MAKE[request.param](path)
    return path, shown or shown_by_players(path)


def test_a_video_reaches_from_its_first_to_its_last_frame(clip: tuple[Path, Shown]) -> None:
    path, shown = clip
    info = probe(path)
    assert info.start == pytest.approx(shown[0][0], abs=0.002)
    assert 0.02 < info.duration - shown[-1][0] < 1.1
    assert info.missing == 0


@pytest.mark.parametrize("sampling", ["auto", "exact", "keyframes"])
def test_each_frame_is_what_a_player_shows_then(clip: tuple[Path, Shown], sampling: Sampling) -> None:
    path, shown = clip
    info = probe(path)
    segments = split_segments(info.duration, (info.duration - info.start) / 3, info.start)
    samples = list(read_clips(path, segments, 4, SIZE, sampling))
    assert len(samples) == 3
    for segment, sample in zip(segments, samples, strict=True):
        assert [read_number(frame) for frame in sample.frames] == [number_at(shown, time) for time in sample.times]
        if sampling == "exact":
            wanted = [number_at(shown, time) for time in sample_times(segment, 4)]
            assert [read_number(frame) for frame in sample.frames] == wanted


def test_a_large_file_is_probed_at_some_places_with_the_same_result(
    clip: tuple[Path, Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = examine_once(clip[0])
    monkeypatch.setattr(probing, "SMALL_FILE", 0)
    assert examine_once(Path(shutil.copy2(clip[0], tmp_path))) == expected  # it remembers the other path


def test_a_moment_alone_is_what_a_player_shows_then(clip: tuple[Path, Shown]) -> None:
    path, shown = clip
    for time, number in shown[len(shown) // 2 :: len(shown) // 7]:
        [sample] = read_clips(path, [Segment(time, time + 0.02)], 1, SIZE)
        assert read_number(sample.frames[0]) == number


@pytest.mark.parametrize("stamps", [("pts", "dts"), ("pts",)], ids=["both", "shown"])
@pytest.mark.parametrize("seconds", [-30, 40, 3 * 3600, 20 * 3600])
def test_a_time_that_is_damaged_is_taken_away(clips: Path, seconds: int, stamps: tuple[str, ...]) -> None:
    with open_video(clips / "start_offset.ts") as (container, stream):
        packets = list(read_packets(container, stream))
        for stamp in stamps:
            setattr(packets[20], stamp, getattr(packets[20], stamp) + seconds * 90000)
        timeline = Timeline(container, stream, 101.4)
        placed = list(timeline.place(packets))
    assert [number for number, packet in enumerate(placed) if packet.pts is None] == [20]
    assert (len(placed), timeline.joins) == (75, 0)
    assert timeline.end == pytest.approx(3)
