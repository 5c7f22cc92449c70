"""The frames that are read: those of each clip show their numbers, so the truth is in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.clips.make import draw, read_number
from tests.support.numbered import BROKEN, SIZE, TRUTH, WHOLE, numbers_read, numbers_wanted
from vidfind.errors import ReaderFailed, UnreadableVideo
from vidfind.media import read as video
from vidfind.media.probe import Traits, examine_once, probe
from vidfind.media.read import choose_reader, read_clips
from vidfind.media.readers.pyav import frames_from, read_with_pyav
from vidfind.media.sampling import Sample, Segment, split_segments
from vidfind.media.write import write_video

BY_PYAV = """
    h264_open_gop.mp4 h264_refresh.mp4 hevc.mp4 hevc_open_gop.mp4 hevc_10bit.mp4 hevc_pq.mp4 hevc_hlg.mp4 mpeg4.avi
    mpeg4.mp4 mpeg2.ts mpeg2.mpg h264.ts mjpeg.avi wmv2.wmv start_offset.ts edit_list.mp4 no_cues.mkv long.ts long.mpg
    long.wmv long_open_gop.mp4 rotated90.mp4 rotated180.mp4 rotated270.mp4
"""
LONG = [name for name in WHOLE if name.startswith("long")]


# Frames of every kind


@pytest.mark.parametrize("name", WHOLE)
def test_frames_are_the_right_ones(clips: Path, name: str) -> None:
    duration = probe(clips / name).duration
    segments = split_segments(duration, 1.3)
    assert numbers_read(clips / name, segments) == numbers_wanted(name, segments)


@pytest.mark.parametrize("name", WHOLE)
def test_every_frame_is_shown_at_its_time(clips: Path, name: str) -> None:
    times = TRUTH[name]["times"]
    segments = [Segment(time, time + 0.02) for time in times[:: max(1, len(times) // 20)]]
    assert numbers_read(clips / name, segments, 1) == numbers_wanted(name, segments, 1)


@pytest.mark.parametrize("name", WHOLE)
def test_few_frames_far_apart_are_the_right_ones(clips: Path, name: str) -> None:
    segments = [Segment(0, probe(clips / name).duration)]
    assert numbers_read(clips / name, segments, 4) == numbers_wanted(name, segments, 4)


@pytest.mark.parametrize("name", WHOLE)
def test_the_reader_is_as_the_table_in_the_readme_says(clips: Path, name: str) -> None:
    assert choose_reader(examine_once(clips / name)[1]) == ("pyav" if name in BY_PYAV.split() else "decord")


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in BY_PYAV.split()])
def test_both_readers_agree_where_decord_is_chosen(clips: Path, name: str) -> None:
    info = probe(clips / name)
    segments = split_segments(info.duration, 1.3)
    by_decord = list(video.read_with_decord(clips / name, info, segments, 4, SIZE))
    by_pyav = list(read_with_pyav(clips / name, segments, 4, SIZE))
    assert len(by_decord) == len(by_pyav) == len(segments)
    for one, other in zip(by_decord, by_pyav, strict=True):
        assert np.abs(one.frames.astype(int) - other.frames).mean() < 4
        assert one.times == pytest.approx(other.times)


@pytest.mark.parametrize("name", LONG)
def test_jumping_ahead_finds_the_same_frames(clips: Path, name: str) -> None:
    end = probe(clips / name).duration
    starts = [0.0, 2.0, 18.3, end - 2.5, end - 0.6]
    for segments in ([Segment(start, start + 0.5)] for start in starts):
        got = [[read_number(f) for f in clip] for clip, _ in read_with_pyav(clips / name, segments, 3, SIZE)]
        assert got == numbers_wanted(name, segments, 3)
    segments = [Segment(start, start + 0.5) for start in starts]
    got = [[read_number(f) for f in clip] for clip, _ in read_with_pyav(clips / name, segments, 3, SIZE)]
    assert got == numbers_wanted(name, segments, 3)


@pytest.mark.parametrize("name", LONG)
def test_jumping_ahead_leaves_most_of_the_file_undecoded(clips: Path, name: str) -> None:
    end = probe(clips / name).duration
    with frames_from(clips / name, end - 1) as frames:
        assert frames.time > end - 1 - 20


@pytest.mark.parametrize("name", ["äöü 映画.mp4", "🎬🐕.mp4", "x" * 245 + ".mp4", "a%03d:b?c\n.mp4", b"\xff\xfe.mp4"])
@pytest.mark.parametrize("kind", ["h264.mp4", "h264.ts"])
def test_any_name_will_do(clips: Path, tmp_path: Path, kind: str, name: str | bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    shutil.copy(clips / kind, path)
    segments = split_segments(probe(path).duration, 1.5)
    assert numbers_read(path, segments) == numbers_wanted(kind, segments)


@pytest.mark.parametrize("size", [32, 80, 224])
@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "rotated90.mp4", "anamorphic.mp4", "vp9_odd.webm"])
def test_clips_have_the_size_asked_for(clips: Path, name: str, size: int) -> None:
    ((clip, _),) = read_clips(clips / name, [Segment(0, 1)], 3, size)
    assert clip.shape == (3, size, size, 3)
    assert clip.dtype == np.uint8
    assert [read_number(frame) for frame in clip] == numbers_wanted(name, [Segment(0, 1)], 3)[0]


def test_segments_out_of_order_are_a_mistake(clips: Path) -> None:
    with pytest.raises(ValueError, match="order"):
        next(read_clips(clips / "h264.mp4", [Segment(1, 2), Segment(0, 1)], 2, SIZE))


@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "long.mp4", "long.ts"])
def test_no_clip_is_made_up_after_the_end(clips: Path, name: str) -> None:
    end = probe(clips / name).duration
    segments = [Segment(0, 1), Segment(end + 0.1, end + 1), Segment(end + 100, end + 101)]
    assert len(list(read_clips(clips / name, segments, 2, SIZE))) == 1


# Files that are broken in part


@pytest.mark.parametrize("name", ["truncated.mp4", "truncated.mkv", "truncated.ts"])
def test_a_file_cut_short_is_read_as_far_as_it_goes(clips: Path, name: str) -> None:
    duration = probe(clips / name).duration
    assert 1.5 < duration < 2.7  # of 3 s
    segments = split_segments(duration, 0.5)
    got = numbers_read(clips / name, segments, 3)
    assert len(got) >= len(segments) - 1
    assert got[:-1] == numbers_wanted(name, segments, 3)[: len(got) - 1]


@pytest.mark.parametrize("name", ["bad_block.mp4", "bad_block.mkv", "bad_block.ts"])
def test_a_file_with_a_bad_block_is_read_before_and_after_it(clips: Path, name: str) -> None:
    assert probe(clips / name).duration == pytest.approx(3)
    segments = [Segment(0, 0.5), Segment(0.5, 1), Segment(1, 2), Segment(2, 2.5), Segment(2.5, 3)]
    got, wanted = numbers_read(clips / name, segments), numbers_wanted(name, segments)
    assert len(got) == len(segments)
    for i in (0, 1, 3, 4):
        assert got[i] == wanted[i]


def test_no_clip_is_made_up_where_nothing_can_be_decoded_any_more(clips: Path) -> None:
    segments = split_segments(3, 0.25)
    got = numbers_read(clips / "damaged.mp4", segments, 3)
    assert 2 <= len(got) < 8
    assert got[:-1] == numbers_wanted("damaged.mp4", segments, 3)[: len(got) - 1]


def test_a_file_that_decord_gives_up_is_gone_on_with_by_pyav(clips: Path) -> None:
    path = clips / "bad_block.mp4"
    info, traits = examine_once(path)
    segments = split_segments(info.duration, 0.5)
    assert choose_reader(traits) == "decord"
    with pytest.raises(ReaderFailed):
        list(video.read_with_decord(path, info, segments, 12, SIZE))
    assert len(list(read_clips(path, segments, 12, SIZE))) == len(segments)


@pytest.mark.parametrize("default", [0, 1])
def test_of_two_videos_in_a_file_both_readers_take_the_same(tmp_path: Path, default: int) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mjpeg", rate=10, pix_fmt="yuvj420p") for _ in range(2)]
        for i, stream in enumerate(streams):
            stream.width, stream.height = 96, 80
            stream.disposition = Disposition.default if i == default else Disposition(0)
        for n in range(20):
            for i, stream in enumerate(streams):
                frame = av.VideoFrame.from_ndarray(draw(100 * (i + 1) + n)).reformat(format="yuvj420p")
                frame.pts, frame.time_base = n, Fraction(1, 10)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    segments = [Segment(0, 2)]
    ((by_pyav, _),) = read_with_pyav(path, segments, 2, SIZE)
    ((by_decord, _),) = video.read_with_decord(path, probe(path), segments, 2, SIZE)
    wanted = [100 * (default + 1) + 5, 100 * (default + 1) + 15]
    assert [read_number(frame) for frame in by_pyav] == [read_number(frame) for frame in by_decord] == wanted


# Which reader

PLAIN = Traits("mov,mp4,m4a,3gp,3g2,mj2", "h264", False, False, False, False, False)


def test_decord_reads_plain_files() -> None:
    assert choose_reader(PLAIN) == "decord"


@pytest.mark.parametrize(
    "change",
    [
        {"container": "mpegts"},
        {"container": "asf"},
        {"container": "avi"},
        {"container": "mpeg"},
        {"codec": "mpeg2video"},
        {"codec": "mpeg4"},
        {"codec": "hevc"},
        {"codec": "a codec of next year"},
        {"is_hdr": True},
        {"has_edits": True},
        {"has_open_keyframes": True},
        {"is_cut_short": True},
        {"has_matrix": True},
        {"has_no_length": True},
    ],
    ids=str,
)
def test_pyav_reads_what_decord_gets_wrong(change: dict[str, str | bool]) -> None:
    assert choose_reader(replace(PLAIN, **change)) == "pyav"  # type: ignore[arg-type]


# Colours


def background(clips: Path, name: str) -> np.ndarray:
    ((clip, _),) = read_clips(clips / name, [Segment(0, 0.2)], 1, SIZE)
    return np.asarray(clip[0, 3:8].mean((0, 1)))


@pytest.mark.parametrize(
    "name", [name for name in WHOLE if name not in ("hevc_pq.mp4", "hevc_hlg.mp4") and not name.startswith("long")]
)
def test_colours_are_kept(clips: Path, name: str) -> None:
    assert np.abs(background(clips, name) - (200, 110, 50)).max() < 12


@pytest.mark.parametrize("name", ["hevc_pq.mp4", "hevc_hlg.mp4"])
def test_hdr_becomes_a_usual_picture(clips: Path, name: str) -> None:
    red, green, blue = background(clips, name)  # as coded it was (200, 110, 50): dull, because HDR is coded dark
    assert red > 220
    assert red > green > blue - 1


# Hopeless files


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sound.m4a", "sound, but no video"),
        ("sound.mp4", "sound, but no video"),
        ("cover.mp3", "cover picture"),
        ("cover.m4a", "cover picture"),
    ],
)
def test_sound_is_not_a_video(clips: Path, name: str, reason: str) -> None:
    with pytest.raises(UnreadableVideo, match=reason):
        probe(clips / name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"x", "not a video"),
        (b"A letter, and no film.\n" * 500, "not a video"),
        (np.random.default_rng(1).bytes(30_000), "not a video"),
        (b"ffconcat version 1.0\nfile real.mp4\n", "list of other files"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nh264.ts\n#EXT-X-ENDLIST\n", "not a video"),
    ],
    ids=["empty", "one byte", "text", "random", "list", "playlist"],
)
def test_other_files_are_not_videos(clips: Path, tmp_path: Path, content: bytes, reason: str) -> None:
    shutil.copy(clips / "h264.mp4", tmp_path / "real.mp4")
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableVideo, match=reason):
        probe(path)
    with pytest.raises(UnreadableVideo, match=reason):
        next(read_clips(path, [Segment(0, 1)], 1, SIZE))


def test_a_recording_that_never_ended_is_incomplete(clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "no_moov.mp4"
    path.write_bytes((clips / "h264.mp4").read_bytes()[:1500])
    with pytest.raises(UnreadableVideo, match="incomplete"):
        probe(path)


def test_a_video_of_which_nothing_can_be_decoded_is_damaged(clips: Path, tmp_path: Path) -> None:
    data = (clips / "hevc.mp4").read_bytes()
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    path = tmp_path / "a.mp4"
    path.write_bytes(data[:start] + np.random.default_rng(0).bytes(end - start) + data[end:])
    with pytest.raises(UnreadableVideo, match="no frame of it can be decoded"):
        probe(path)


def test_what_is_no_file_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    reasons = {
        "dangling.mp4": "link to a file that is not there",
        "loop.mp4": "link to a file that is not there",
        "folder.mp4": "folder",
        "pipe.mp4": "pipe",
        "missing.mp4": "is not there",
    }
    for name, reason in reasons.items():
        with pytest.raises(UnreadableVideo, match=reason):
            probe(tmp_path / name)


def test_a_file_without_permission_is_told(clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    shutil.copy(clips / "h264.mp4", path)
    path.chmod(0)
    is_root = os.geteuid() == 0  # whom no permission keeps out
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(UnreadableVideo, match="no permission"):
            probe(path)
    finally:
        if is_root:
            os.seteuid(0)


def test_broken_files_put_nothing_on_the_screen(clips: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in BROKEN:
        list(read_clips(clips / name, split_segments(3, 1), 4, SIZE))
    assert capfd.readouterr() == ("", "")


# Writing


def test_a_video_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, (draw(n) for n in range(30)), 10)
    info = probe(path)
    assert (info.duration, info.frame_rate, info.width, info.height, info.codec) == (3.0, Fraction(10), 96, 80, "h264")
    assert numbers_read(path, [Segment(0, 3)], 6) == [[2, 7, 12, 17, 22, 27]]


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    """Frames of 3 MB each: holding even a tenth of them would show."""
    import resource

    path = tmp_path / "a.mp4"
    write_video(path, (np.full((720, 1280, 3), n % 256, np.uint8) for n in range(60)), 10)
    segments = split_segments(6, 1)
    readers: list[Callable[[], Iterator[Sample]]] = [
        lambda: read_with_pyav(path, segments, 12, SIZE),
        lambda: video.read_with_decord(path, probe(path), segments, 12, SIZE),
        lambda: read_clips(path, segments, 12, SIZE, "auto", threads=2),
    ]
    for read in readers:
        next(read())  # what is loaded once
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in read():
            pass
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 50_000  # KB on Linux, of 160 MB


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="Linux tells what a process has loaded")
def test_reading_videos_loads_no_cuda_library_that_would_take_over_the_matrix_products() -> None:
    """decord loads libnvblas where it finds it: the next product of two matrices on the CPU ended the process."""
    program = "import vidfind.media.readers.decord; print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "libdecord" in done.stdout
    assert "libnvblas" not in done.stdout


def test_a_decord_that_cannot_be_imported_is_done_without(clips: Path, tmp_path: Path) -> None:
    """As a build of decord for CUDA, which needs the libraries that vidfind keeps from it."""
    (tmp_path / "decord.py").write_text("import nvidia")
    program = (
        "import logging, sys; from pathlib import Path; from vidfind.media.read import read_clips\n"
        "from vidfind.media.sampling import split_segments\n"
        "logging.basicConfig(level='INFO', stream=sys.stdout)\n"
        "for sample in read_clips(Path(sys.argv[1]), split_segments(2, 1), 4, 64): print(sample.frames.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(clips / "h264.mp4")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert "decord cannot be imported" in done.stdout
    assert done.stdout.count("(4, 64, 64, 3)") == 2
