"""Clips of moments begin and end at the exact frames, and keep what else there is to a video."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips.make import HEIGHT, WIDTH, draw
from tests.support import clocks
from tests.support.exported import SOUNDS, beeps_of, make_clip, numbers_of, write_beeps
from tests.support.numbered import TRUTH, WHOLE, number_at, numbers_read
from vidfind.export.clips import Failed, Written, clip_name, export_clips, padded
from vidfind.export.join import join_clips
from vidfind.export.names import new_file, safe_name
from vidfind.export.wanted import Wanted, read_wanted
from vidfind.media.probe import probe
from vidfind.media.sampling import Segment, sample_times


@pytest.mark.parametrize("name", WHOLE)
def test_a_clip_shows_the_frames_of_its_moment(name: str, clips: Path, tmp_path: Path) -> None:
    times = [*TRUTH[name]["times"], probe(clips / name).duration]
    first, last = len(times) // 4, max(len(times) // 4 + 1, min(len(times) // 4 + 12, len(times) - 1))
    start, end = times[first], times[last]
    made = make_clip(clips / name, start, end, tmp_path)
    shown = numbers_of(made)
    assert list(shown.values()) == [number_at(name, time) for time in times[first:last]]
    assert list(shown) == pytest.approx([time - start for time in times[first:last]], abs=0.001)
    before, after = probe(clips / name), probe(made)
    assert after.duration == pytest.approx(end - start, abs=0.001)
    assert (after.width, after.height, after.created) == (before.width // 2 * 2, before.height // 2 * 2, before.created)
    assert (after.codec, after.rotation) == ("hevc" if name in ("hevc_pq.mp4", "hevc_hlg.mp4") else "h264", 0)


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.9), (0.033, 0.067), (1.0001, 1.2999), (0.51, 0.53)])
def test_a_moment_between_frames_begins_with_the_frame_that_is_shown(
    start: float, end: float, clips: Path, tmp_path: Path
) -> None:
    made = make_clip(clips / "h264.mp4", start, end, tmp_path)
    numbers = list(numbers_of(made).values())
    assert (numbers[0], numbers[-1]) == (number_at("h264.mp4", start + 0.0006), number_at("h264.mp4", end - 0.0006))
    assert probe(made).duration == pytest.approx(end - start, abs=0.001)


def test_a_clip_of_variable_frame_rate_ends_while_its_last_frame_is_shown(clips: Path, tmp_path: Path) -> None:
    made = make_clip(clips / "vfr.mp4", 2.1, 2.9, tmp_path)
    shown = numbers_of(made)
    assert list(shown.values()) == [49, 56, 63, 70]
    assert list(shown) == pytest.approx([0, 0.14, 0.42, 0.7], abs=0.001)
    assert probe(made).duration == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize(
    ("name", "colours"),
    [
        ("h264_bt709.mp4", (1, 1, 1, 1)),
        ("hevc_pq.mp4", (9, 16, 9, 1)),
        ("hevc_hlg.mp4", (9, 18, 9, 1)),
        ("mjpeg.avi", (2, 2, 5, 2)),
        ("h264.mp4", (2, 2, 2, 0)),
        ("prores.mov", (2, 2, 2, 1)),
        ("vfr.mkv", (2, 2, 2, 1)),
    ],
)
def test_colour_tags_are_kept(name: str, colours: tuple[int, ...], clips: Path, tmp_path: Path) -> None:
    with av.open(str(make_clip(clips / name, 0, 0.2, tmp_path))) as container:
        frame = next(container.decode(video=0))
    assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == colours


def test_pixels_that_are_not_square_stay_so(clips: Path, tmp_path: Path) -> None:
    with av.open(str(make_clip(clips / "anamorphic.mp4", 0, 0.2, tmp_path))) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(2)


def test_a_video_that_cannot_be_read_does_not_stop_the_others(clips: Path, tmp_path: Path) -> None:
    moments = [
        Wanted(tmp_path / "gone.mp4", 0, 1),
        Wanted(clips / "sound.mp4", 0, 1),
        Wanted(clips / "h264.mp4", 5, 6),
        Wanted(clips / "h264.mp4", 2.8, 9),
        Wanted(tmp_path / "gone.mp4", 0, 0.1, copies=(clips / "h264.mp4",)),
    ]
    events = list(export_clips(moments, tmp_path / "new" / "folder"))
    assert [event.reason for event in events if isinstance(event, Failed)] == [
        "is not there",
        "has sound, but no video",
        "ends at 3 s, before the moment begins, at 5 s",
    ]
    made = [event for event in events if isinstance(event, Written)]
    assert [event.duration for event in made] == pytest.approx([0.2, 0.1])
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "04 h264 2.8s-3s.mp4",
        "05 gone 0s-0.1s.mp4",
    ]


def test_a_damaged_video_gives_what_can_be_read_and_says_what_lacks(clips: Path, tmp_path: Path) -> None:
    events = [
        one for one in export_clips([Wanted(clips / "damaged.mp4", 0.4, 2.4)], tmp_path) if isinstance(one, Written)
    ]
    assert (events[0].duration, events[0].missing) == pytest.approx((0.4, 1.6))


def test_a_clip_that_is_stopped_leaves_nothing(clips: Path, tmp_path: Path) -> None:
    events = export_clips([Wanted(clips / "h264.mp4", 0, 3)], tmp_path)
    next(events)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    events.close()
    assert list(tmp_path.iterdir()) == []


# Sound


@pytest.mark.parametrize(("name", "codec", "rate", "begin"), SOUNDS)
def test_sound_is_in_step(name: str, codec: str, rate: int, begin: float, tmp_path: Path) -> None:
    source = tmp_path / name
    write_beeps(source, codec, rate, begin)
    beeps, shown_by_players = beeps_of(source), clocks.shown_by_players(source)
    assert len(beeps) == (4 if not begin else 3)
    for start, end in ((0.7, 3.0), (15.9, 17.0)):
        made = make_clip(source, start, end, tmp_path / "out")
        wanted = [beep - start for beep in beeps if start <= beep < end]
        assert beeps_of(made) == pytest.approx(wanted, abs=0.011)  # packets of TS say so exactly when they begin
        assert next(iter(numbers_of(made).values())) == clocks.number_at(shown_by_players, start)


@pytest.mark.parametrize(
    ("layout", "rate", "wanted"),
    [
        ("5.1(side)", 48000, ("5.1", 48000)),
        ("7.1", 48000, ("5.1", 48000)),
        ("octagonal", 96000, ("5.1", 96000)),
        ("quad", 22050, ("stereo", 22050)),
        ("stereo", 192000, ("stereo", 48000)),
        ("mono", 4000, ("mono", 48000)),
    ],
)
def test_sound_of_any_channels_and_rate_becomes_aac(
    layout: str, rate: int, wanted: tuple[str, int], tmp_path: Path
) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio: Any = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        picture = av.VideoFrame.from_ndarray(draw(0)).reformat(format="yuv420p")
        for number in range(10):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(video.encode(picture))
        block = np.zeros((1, audio.codec_context.channels * (rate // 5)), np.int16)
        sound = av.AudioFrame.from_ndarray(block, format="s16", layout=layout)
        sound.sample_rate, sound.pts = rate, 0
        container.mux([*video.encode(), *audio.encode(sound), *audio.encode()])
    with av.open(str(make_clip(tmp_path / "a.mkv", 0.0, 0.4, tmp_path))) as container:
        (stream,) = container.streams.audio
        assert (stream.layout.name, stream.rate) == wanted
        assert float((stream.duration or 0) * (stream.time_base or 0)) == pytest.approx(0.4, abs=0.03)


def test_sound_is_in_step_where_recordings_were_joined(tmp_path: Path) -> None:
    write_beeps(tmp_path / "a.ts", "mp2", seconds=3)
    recording = (tmp_path / "a.ts").read_bytes()
    (tmp_path / "b.ts").write_bytes(recording * 3)
    beeps = [time + 3 * part for part in range(3) for time in beeps_of(tmp_path / "a.ts")]
    for start, end in ((2.3, 4.4), (0.0, 8.0)):
        made = make_clip(tmp_path / "b.ts", start, end, tmp_path / "out")
        assert beeps_of(made) == pytest.approx([beep - start for beep in beeps if start <= beep < end], abs=0.02)
        assert next(iter(numbers_of(made).values())) == int(start % 3 * 5 + 0.001)


# Copies


COPIED = [name for name in WHOLE if name not in ("gif.gif", "edit_list.mp4")]  # the latter shows what was cut off


@pytest.mark.parametrize("name", COPIED)
def test_a_copy_is_the_video_from_keyframe_to_keyframe(name: str, clips: Path, tmp_path: Path) -> None:
    before = probe(clips / name)
    start, end = before.start + 0.3 * before.duration, before.start + 0.6 * before.duration
    (made,) = [
        one for one in export_clips([Wanted(clips / name, start, end)], tmp_path, copy=True) if isinstance(one, Written)
    ]
    after = probe(made.path)
    assert made.early > -0.001 and made.late > -0.001
    assert after.duration == pytest.approx(made.duration, abs=0.05)
    assert made.duration == pytest.approx(end - start + made.early + made.late, abs=0.001)
    assert (after.codec, after.width, after.height, after.rotation) == (
        before.codec,
        before.width,
        before.height,
        before.rotation,
    )
    segments = [Segment(after.start, after.duration)]
    wanted = [number_at(name, time - after.start + start - made.early) for time in sample_times(segments[0], 12)]
    assert numbers_read(made.path, segments) == [wanted]


def test_a_copy_of_what_no_container_holds_is_refused(clips: Path, tmp_path: Path) -> None:
    events = [
        one for one in export_clips([Wanted(clips / "gif.gif", 0, 1)], tmp_path, copy=True) if isinstance(one, Failed)
    ]
    assert events[0].reason.startswith("cannot be copied without encoding it again (leave out --copy)")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.ts", "mp2")])
def test_the_sound_of_a_copy_is_in_step(name: str, codec: str, tmp_path: Path) -> None:
    source = tmp_path / name
    write_beeps(source, codec)
    (made,) = [
        one
        for one in export_clips([Wanted(source, 14.5, 16.5)], tmp_path / "out", copy=True)
        if isinstance(one, Written)
    ]
    begin = 14.5 - made.early
    wanted = [beep - begin for beep in beeps_of(source) if begin <= beep < begin + made.duration]
    assert beeps_of(made.path) == pytest.approx(wanted, abs=0.005)
    assert wanted


# Films


def test_a_film_shows_all_moments_one_after_another(clips: Path, tmp_path: Path) -> None:
    names = ["h264.mp4", "rotated90.mp4", "anamorphic.mp4", "hevc_pq.mp4", "vfr.mp4", "gif.gif", "mjpeg.avi"]
    (made,) = [
        one
        for one in join_clips([Wanted(clips / name, 0.4, 0.8) for name in names], tmp_path / "a.mp4")
        if isinstance(one, Written)
    ]
    film = probe(made.path)
    assert [film.duration, made.duration] == pytest.approx([0.4 * len(names)] * 2, abs=0.001)
    assert (film.width, film.height, film.created) == (96, 80, probe(clips / "h264.mp4").created)
    shown = numbers_of(made.path)
    wanted = {}
    for place, name in enumerate(names):
        for time, number in zip(TRUTH[name]["times"], TRUTH[name]["numbers"], strict=True):
            if 0.4 - 1e-6 <= time < 0.8 - 1e-6:
                wanted[round(0.4 * place + time - 0.4, 3)] = number
    assert {round(time, 3): number for time, number in shown.items()} == wanted


def test_a_film_of_videos_that_look_alike_keeps_how_they_look(clips: Path, tmp_path: Path) -> None:
    moments = [Wanted(clips / "hevc_hlg.mp4", start, start + 0.1) for start in (0, 1)]
    (made,) = [one for one in join_clips(moments, tmp_path / "a.mp4") if isinstance(one, Written)]
    with av.open(str(made.path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.color_primaries, frame.color_trc, frame.format.name) == (9, 18, "yuv420p10le")


def test_the_sound_of_a_film_is_in_step(clips: Path, tmp_path: Path) -> None:
    write_beeps(tmp_path / "a.mp4", "aac")
    write_beeps(tmp_path / "b.mov", "pcm_s16le", 11025)
    moments = [(tmp_path / "a.mp4", 0.7, 3.0), (clips / "h264.mp4", 0.4, 0.81), (tmp_path / "b.mov", 2.4, 3.4)]
    (made,) = [
        one for one in join_clips([Wanted(*one) for one in moments], tmp_path / "f.mp4") if isinstance(one, Written)
    ]
    assert beeps_of(made.path) == pytest.approx([0.3, 1.8, 2.81, 3.51], abs=0.005)


# Names


def test_no_file_is_overwritten(clips: Path, tmp_path: Path) -> None:
    made = [make_clip(clips / "h264.mp4", 0, 0.1, tmp_path).name for _ in range(3)]
    assert made == ["01 h264 0s-0.1s.mp4", "01 h264 0s-0.1s (2).mp4", "01 h264 0s-0.1s (3).mp4"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("holiday", "holiday"),
        ('a/b\\c:d*e?f"g<h>i|j', "a_b_c_d_e_f_g_h_i_j"),
        ("line\nend\x00\x1b[31m", "line_end__[31m"),
        ("../../etc", "_.._etc"),
        ("-rf", "_rf"),
        ("CON.txt", "_CON.txt"),
        ("nul", "_nul"),
        ("trailing. . ", "trailing"),
        ("\udcff\u202efdp", "__fdp"),
        ("🐕" * 100, "🐕" * 50),
        ("", "video"),
        (" . ", "video"),
    ],
)
def test_names_are_safe_everywhere(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    with new_file(tmp_path / "a.txt") as (part, placed):
        part.write_text("new")
        (tmp_path / "a.txt").write_text("of another program")
    assert placed == [tmp_path / "a (2).txt"]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.txt": "of another program",
        "a (2).txt": "new",
    }


@pytest.mark.skipif(os.name == "nt", reason="has no such names")
@pytest.mark.parametrize("copy", [False, True])
def test_videos_with_odd_names_become_clips_with_safe_ones(copy: bool, clips: Path, tmp_path: Path) -> None:
    names = [
        "-n.mp4",
        "a\nb.mp4",
        "%d.mp4",
        "file:x.mp4",
        "\udcff.mp4",
        "'\";`$(id).mp4",
        f"{'é' * 120}.mp4",
        ".mp4",
        "CON.mp4",
    ]
    for name in names:
        shutil.copyfile(clips / "one_frame.mp4", tmp_path / name)
    moments = [Wanted(tmp_path / name, 0, 1e300) for name in names]
    made = [one.path.name for one in export_clips(moments, tmp_path / "out", copy) if isinstance(one, Written)]
    assert made == [
        "01 _n 0s-0.04s.mp4",
        "02 a_b 0s-0.04s.mp4",
        "03 %d 0s-0.04s.mp4",
        "04 file_x 0s-0.04s.mp4",
        "05 _ 0s-0.04s.mp4",
        "06 '_;`$(id) 0s-0.04s.mp4",
        f"07 {'é' * 75} 0s-0.04s.mp4",
        "08 mp4 0s-0.04s.mp4",
        "09 _CON 0s-0.04s.mp4",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == made


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [(0, 10, "dog 0s-10s"), (83.456, 3723.5, "dog 1m23.46s-1h02m3.5s"), (59.999, 60, "dog 1m0s-1m0s")],
)
def test_clips_are_named_after_video_and_time(start: float, end: float, name: str) -> None:
    assert clip_name(Path("/a/dog.mov"), start, end) == name


# Moments


def test_a_moment_is_made_longer_on_both_sides() -> None:
    assert [(one.start, one.end) for one in padded([Wanted(Path("a"), 1, 4)], 2)] == [(0, 6)]


def test_odd_names_come_through_json() -> None:
    line = '{"path": "/\\udcff\\n.mp4", "start": 0, "end": 1.5, "rank": 1, "score": 0.25, "copies": ["/b"]}'
    assert list(read_wanted([line.encode(), b"\n"])) == [
        Wanted(Path("/\udcff\n.mp4"), 0, 1.5, score=0.25, copies=(Path("/b"),))
    ]
