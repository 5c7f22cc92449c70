"""Facts about a video that are known before its frames are read."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.clips.make import CLIPS, draw, read_number
from tests.support.numbered import BROKEN, SIZE, TRUTH, WHOLE, number_at, numbers_read
from vidfind.errors import UnreadableVideo
from vidfind.media import probe as probing
from vidfind.media.probe import examine_once, probe
from vidfind.media.read import read_clips
from vidfind.media.sampling import Sampling, Segment


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in ("vfr.mp4", "vfr.mkv", "anamorphic.mp4")])
def test_probe_tells_length_rate_and_size(clips: Path, name: str) -> None:
    info = probe(clips / name)
    clip = CLIPS[name]
    rate = 25 if name == "long.mpg" else clip.rate
    assert info.duration == pytest.approx((clip.shown or clip.count) / clip.rate, abs=1.1 / rate)
    assert info.frame_rate == rate
    assert (info.width, info.height) == clip.size


def test_probe_tells_the_mean_rate_of_a_variable_one(clips: Path) -> None:
    info = probe(clips / "vfr.mp4")
    assert 10 < info.frame_rate < 13
    assert info.duration == pytest.approx(TRUTH["vfr.mp4"]["times"][-1] + 0.04, abs=0.3)


def test_probe_tells_the_codec(clips: Path) -> None:
    names = ["h264.mp4", "hevc_10bit.mp4", "vp8.webm", "vp9_alpha.webm", "av1.mp4", "prores.mov", "gif.gif", "wmv2.wmv"]
    assert [probe(clips / name).codec for name in names] == [
        "h264", "hevc", "vp8", "vp9", "av1", "prores", "gif", "wmv2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rotation"),
    [("h264.mp4", 0), ("rotated90.mp4", 90), ("rotated180.mp4", 180), ("rotated270.mp4", 270)],
)
def test_probe_tells_the_rotation_and_the_size_shown(clips: Path, name: str, rotation: int) -> None:
    info = probe(clips / name)
    assert (info.rotation, info.width, info.height) == (rotation, 96, 80)


def test_probe_counts_pixels_as_squares(clips: Path) -> None:
    info = probe(clips / "anamorphic.mp4")  # 48 x 80, each twice as wide as high
    assert (info.width, info.height) == (96, 80)


def test_probe_tells_when_a_video_was_recorded_and_what_tells_so(clips: Path) -> None:
    info = probe(clips / "rotated90.mp4")
    assert (info.created, info.created_from) == (datetime(2021, 7, 8, 9, 10, 11, tzinfo=UTC), "metadata")
    assert probe(clips / "h264.mp4").created_from == "file"


@pytest.mark.parametrize("name", WHOLE + BROKEN)
def test_a_large_file_is_probed_at_its_ends_with_the_same_result(
    clips: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = examine_once(clips / name)
    monkeypatch.setattr(probing, "SMALL_FILE", 0)
    assert examine_once(Path(shutil.copy2(clips / name, tmp_path))) == expected  # it remembers the other path


def test_a_file_is_probed_again_when_it_changes(clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    shutil.copy(clips / "h264.mp4", path)
    assert probe(path).codec == "h264"
    shutil.copy(clips / "hevc.mp4", path)
    assert probe(path).codec == "hevc"


def test_a_frame_that_claims_to_last_for_weeks_does_not_make_a_video_of_weeks(clips: Path, tmp_path: Path) -> None:
    data = bytearray((clips / "mjpeg.avi").read_bytes())
    scale = data.index(b"strh") + 8 + 20  # of the video stream's clock: seconds a frame, times its rate
    data[scale + 3] = 8
    (tmp_path / "slow.avi").write_bytes(data)
    assert probe(tmp_path / "slow.avi").duration < 3600


def test_a_stream_that_damage_has_made_up_is_passed_over(clips: Path, tmp_path: Path) -> None:
    data = bytearray((clips / "h264.flv").read_bytes())
    data[224], data[2137], data[2600] = 32, 0, 37  # found by fuzzing: after these PyAV raises an IndexError
    (tmp_path / "a.flv").write_bytes(data)
    with pytest.raises(UnreadableVideo, match="is damaged"):
        probe(tmp_path / "a.flv")


def test_a_clock_that_leaps_does_not_make_a_video_of_days(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10, pix_fmt="yuvj420p")
        stream.width, stream.height = 96, 80
        for n in range(20):
            frame = av.VideoFrame.from_ndarray(draw(n)).reformat(format="yuvj420p")
            frame.pts, frame.time_base = (n if n < 15 else n + 10 * 86400), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert probe(tmp_path / "a.mkv").duration == pytest.approx(1.5, abs=0.11)
    segments = [Segment(0, 1.5)]
    assert numbers_read(tmp_path / "a.mkv", segments, 5) == [[1, 4, 7, 10, 13]]


@pytest.mark.parametrize(
    ("name", "trait"),
    [
        ("h264_open_gop.mp4", "has_open_keyframes"),
        ("h264_refresh.mp4", "has_open_keyframes"),
        ("long_open_gop.mp4", "has_open_keyframes"),
        ("edit_list.mp4", "has_edits"),
        ("hevc_pq.mp4", "is_hdr"),
        ("hevc_hlg.mp4", "is_hdr"),
        ("truncated.mp4", "is_cut_short"),
        ("no_cues.mkv", "has_no_length"),
    ],
)
def test_the_probe_sees_what_decides(clips: Path, name: str, trait: str) -> None:
    assert getattr(examine_once(clips / name)[1], trait)
    assert not getattr(examine_once(clips / "h264.mp4")[1], trait)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.flv", "wmv2.wmv"])
def test_files_joined_in_a_way_that_cannot_be_read_are_noticed(clips: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(2 * (clips / name).read_bytes())
    info, alone = probe(tmp_path / name), probe(clips / name)
    assert (info.has_more, info.duration) == (True, alone.duration)
    assert not alone.has_more


@pytest.mark.parametrize(
    "name", ["cues.mkv", "no_cues.mkv", "vp9.webm", "mpeg4.avi", "fragmented.mp4", "mpeg2.mpg", "h264.ts"]
)
@pytest.mark.parametrize("sampling", ["auto", "exact"])
def test_files_joined_are_read_to_the_end(clips: Path, tmp_path: Path, name: str, sampling: Sampling) -> None:
    (tmp_path / name).write_bytes(2 * (clips / name).read_bytes())
    info, alone = probe(tmp_path / name), probe(clips / name)
    assert info.duration == pytest.approx(2 * alone.duration, abs=0.05)
    assert not info.has_more
    starts = [0.0, alone.duration]
    segments = [Segment(start + 0.5, start + 1.5) for start in starts]
    samples = list(read_clips(tmp_path / name, segments, 1, SIZE, sampling))
    for start, (frames, [time]) in zip(starts, samples, strict=True):
        assert abs(time - start - 1) <= 0.54
        assert read_number(frames[0]) == number_at(name, time - start + 0.001)
