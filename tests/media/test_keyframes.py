"""Frames that are taken where keyframes are: those of every clip are compared with what is shown at their times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from tests.clips.make import read_number
from tests.support.numbered import SIZE, WHOLE, number_at, numbers_wanted
from vidfind.errors import ReaderFailed
from vidfind.media.probe import examine_once, probe
from vidfind.media.read import read_clips
from vidfind.media.readers.keyframes import _Decoder, read_by_keyframes
from vidfind.media.readers.pyav import read_with_pyav
from vidfind.media.sampling import Sample, Sampling, Segment, nearest_within, part_around, sample_times, split_segments

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

READ_MORE_CAREFULLY = ["h264_refresh.mp4", "edit_list.mp4", "truncated.mp4", "bad_block.ts", "damaged.mp4"]
"""There is something about them of which the reader by keyframes is not sure."""


def by_keyframes(
    path: Path, segments: list[Segment], sampling: Sampling, num_frames: int = 12, threads: int = 1
) -> list[Sample]:
    """Without the careful reader that takes over otherwise."""
    traits = examine_once(path)[1]
    return list(read_by_keyframes(path, traits, segments, num_frames, SIZE, sampling, threads))


# Which frames are wanted


def test_a_part_has_its_time_in_the_middle() -> None:
    assert part_around(11.25, Segment(10, 20), 4) == Segment(10, 12.5)


@pytest.mark.parametrize(
    ("keyframes", "nearest"),
    [([], None), ([9.9, 12.5], None), ([10.0], 10.0), ([10.9, 11.3, 12.4], 11.3), ([10.5, 12.0], 10.5)],
    ids=str,
)
def test_a_keyframe_will_do_where_it_lies_in_the_same_part(keyframes: list[float], nearest: float | None) -> None:
    assert nearest_within(Segment(10, 12.5), 11.25, keyframes) == nearest


# Frames of every kind


@pytest.mark.parametrize("sampling", ["auto", "keyframes"])
@pytest.mark.parametrize("name", WHOLE)
def test_each_frame_is_what_the_careful_reader_shows_at_its_time(clips: Path, name: str, sampling: Sampling) -> None:
    segments = split_segments(probe(clips / name).duration, 1.3 if name[:4] != "long" else 10)
    samples = list(read_clips(clips / name, segments, 5, SIZE, sampling))
    assert len(samples) == len(segments)
    times = np.concatenate([sample.times for sample in samples])
    assert np.all(np.diff(times) >= 0)
    shown = {time: frame for sample in samples for frame, time in zip(sample.frames, sample.times, strict=True)}
    assert {time: read_number(frame) for time, frame in shown.items()} == {
        time: number_at(name, time) for time in shown
    }
    moments = [Segment(time, time + 0.002) for time in sorted(shown)]
    for moment, careful in zip(moments, read_with_pyav(clips / name, moments, 1, SIZE), strict=True):
        assert np.abs(careful.frames[0].astype(int) - shown[moment.start]).mean() < 3  # edges are not smoothed


@pytest.mark.parametrize(
    "name", ["h264.mp4", "h264_long_gop.mp4", "hevc_open_gop.mp4", "long.mp4", "long.ts", "vp9.webm"]
)
def test_each_frame_lies_in_its_own_part_of_the_segment(clips: Path, name: str) -> None:
    segments = split_segments(probe(clips / name).duration, 10)
    for segment, sample in zip(segments, by_keyframes(clips / name, segments, "auto"), strict=True):
        off = np.abs(sample.times - sample_times(segment, 12))
        assert off.max() <= (segment.end - segment.start) / 24 + 1e-6


def test_a_keyframe_is_taken_where_one_is_near_and_else_the_frame_wanted(clips: Path) -> None:
    """Keyframes are at 0, 1 and 2 s."""
    [sample] = by_keyframes(clips / "h264.mp4", [Segment(0, 3)], "auto", num_frames=10)  # at 0.15, 0.45, ...
    assert sample.times == pytest.approx([0, 0.44, 0.72, 1, 1.32, 1.64, 2, 2.24, 2.52, 2.84])


def test_in_a_long_segment_the_last_frame_wanted_of_a_gop_may_come_early_in_its_part(clips: Path) -> None:
    """The clip has one keyframe. Wanted are frames at 1.33, 4 and 6.67 s; the part of the last begins at 5.33 s."""
    [sample] = by_keyframes(clips / "h264_long_gop.mp4", [Segment(0, 8)], "auto", num_frames=3)
    assert sample.times == pytest.approx([0, 4, 5.36])


@pytest.mark.parametrize(
    ("name", "segments", "times"),
    [
        ("h264.mp4", [Segment(0, 3)], [[0, 1, 1, 2, 2]]),
        ("long.mp4", [Segment(0, 10), Segment(10, 20)], [[0, 5, 5, 5, 5], [10, 15, 15, 15, 15]]),
        ("h264_long_gop.mp4", [Segment(0, 4), Segment(4, 8)], [[0] * 5, [0] * 5]),
    ],
)
def test_nothing_but_keyframes_are_those_of_the_segment_or_the_last_before_it(
    clips: Path, name: str, segments: list[Segment], times: list[list[float]]
) -> None:
    samples = by_keyframes(clips / name, segments, "keyframes", num_frames=5)
    assert np.array([sample.times for sample in samples]) == pytest.approx(np.array(times))


def test_frames_between_keyframes_are_not_decoded_for_keyframes(clips: Path) -> None:
    """Those of one second of this clip cannot be."""
    samples = by_keyframes(clips / "bad_block.mp4", [Segment(0, 3)], "keyframes", num_frames=3)
    assert [read_number(frame) for sample in samples for frame in sample.frames] == [0, 25, 50]


def test_no_frames_are_held_between_those_that_are_wanted(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4K, those of a second would take 0.3 GB."""
    held: list[int] = []
    take = _Decoder._take

    def take_noting(self: _Decoder, packet: Packet[VideoStream] | None, time: float) -> None:
        take(self, packet, time)
        held.append(len(self._frames))

    monkeypatch.setattr(_Decoder, "_take", take_noting)
    by_keyframes(clips / "h264_long_gop.mp4", [Segment(0, 8)], "auto", num_frames=3)
    assert len(held) > 100 and max(held) < 5


@pytest.mark.parametrize("name", ["h264_long_gop.mp4", "hevc_open_gop.mp4", "vp9.webm", "av1.mp4", "long.mkv"])
def test_many_threads_give_the_same_frames(clips: Path, name: str) -> None:
    segments = split_segments(probe(clips / name).duration, 1.3)
    one, many = (by_keyframes(clips / name, segments, "auto", threads=threads) for threads in (1, 4))
    for a, b in zip(one, many, strict=True):
        assert np.array_equal(a.times, b.times)
        assert np.array_equal(a.frames, b.frames)


# Files of which it is not sure


@pytest.mark.parametrize("name", READ_MORE_CAREFULLY)
def test_where_keyframes_are_not_sure_that_is_told(clips: Path, name: str) -> None:
    with pytest.raises(ReaderFailed):
        by_keyframes(clips / name, split_segments(3, 1), "auto")


def test_half_a_picture_in_a_packet_is_not_taken_for_all_of_it(clips: Path, tmp_path: Path) -> None:
    with av.open(str(clips / "interlaced.mp4")) as source, av.open(str(tmp_path / "a.ts"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(ReaderFailed, match="interlaced"):
        by_keyframes(tmp_path / "a.ts", [Segment(0, 1)], "auto")
    assert len(list(read_clips(tmp_path / "a.ts", [Segment(0, 1)], 12, SIZE, "auto"))) == 1


@pytest.mark.parametrize("sampling", ["auto", "keyframes"])
@pytest.mark.parametrize("name", ["h264_refresh.mp4", "edit_list.mp4"])
def test_where_keyframes_are_not_sure_frames_are_exact(clips: Path, name: str, sampling: Sampling) -> None:
    segments = split_segments(probe(clips / name).duration, 1.3)
    samples = read_clips(clips / name, segments, 12, SIZE, sampling)
    numbers = [[read_number(frame) for frame in sample.frames] for sample in samples]
    assert numbers == numbers_wanted(name, segments)


@pytest.mark.parametrize("name", ["bad_block.mp4", "bad_block.mkv", "bad_block.ts"])
def test_a_file_with_a_bad_block_is_read_by_keyframes_before_and_after_it(clips: Path, name: str) -> None:
    segments = [Segment(0, 0.5), Segment(0.5, 1), Segment(1, 2), Segment(2, 2.5), Segment(2.5, 3)]
    samples = list(read_clips(clips / name, segments, 12, SIZE, "auto"))
    assert len(samples) == len(segments)
    for frames, times in (samples[i] for i in (0, 1, 3, 4)):
        assert [read_number(frame) for frame in frames] == [number_at(name, time) for time in times]


@pytest.mark.parametrize("sampling", ["auto", "keyframes"])
@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "long.mp4", "damaged.mp4"])
def test_no_clip_is_made_up_after_the_end(clips: Path, name: str, sampling: Sampling) -> None:
    end = probe(clips / name).duration
    segments = [Segment(0, 0.5), Segment(end + 0.6, end + 1), Segment(end + 100, end + 101)]
    assert len(list(read_clips(clips / name, segments, 2, SIZE, sampling))) == 1
