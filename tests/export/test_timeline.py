"""Timelines name the same frames as the moments, in every format."""

from __future__ import annotations

import csv
import random
import re
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import av
import opentimelineio as otio
import pytest

from tests.clips.make import HEIGHT, WIDTH, draw
from vidfind.errors import BadInput
from vidfind.export.clips import Failed
from vidfind.export.source import Cut, Source, make_cuts
from vidfind.export.timecode import from_timecode, to_timecode
from vidfind.export.timeline import FORMATS, MAX_EVENTS, write_timeline
from vidfind.export.wanted import Wanted

NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)


def write_film(path: Path, rate: Fraction, timecode: str = "", has_sound: bool = False) -> Path:
    """A video of 90 frames, with time code if any is given, and with sound or without."""
    with av.open(str(path), "w") as container:
        if timecode:
            container.metadata["timecode"] = timecode
        video: Any = container.add_stream("mpeg4", rate=rate)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono") if has_sound else None
        frame = av.VideoFrame.from_ndarray(draw(0)).reformat(format="yuv420p")
        for number in range(90):
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio:
            sound = av.AudioFrame("s16", "mono", 8000)
            sound.sample_rate, sound.pts = 8000, 0
            sound.planes[0].update(bytes(16000))
            container.mux([*audio.encode(sound), *audio.encode()])
    return path


def cut(path: Path, rate: Fraction, first: int, last: int) -> Wanted:
    """A moment from one frame up to another, with times as JSON has them."""
    return Wanted(path, round(float(first / rate), 3), round(float(last / rate), 3), "a dog", 0.25)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos of several frame rates."""
    folder = tmp_path_factory.mktemp("films")
    write_film(folder / "ntsc.mov", NTSC, "01:00:00;00", has_sound=True)
    write_film(folder / "minute.mov", NTSC, "00:09:59;00")
    write_film(folder / "whole.mov", NTSC, "00:00:59:00")
    write_film(folder / "film.mov", FILM)
    write_film(folder / "pal.mov", Fraction(25), "10:00:00:00", has_sound=True)
    return folder


def cuts_of(*wanted: Wanted) -> list[Cut]:
    return [one for one in make_cuts(wanted) if isinstance(one, Cut)]


def times(ranged: Any) -> tuple[int, int]:
    """Start and length of a range of OpenTimelineIO, in frames."""
    return ranged.start_time.to_frames(), ranged.duration.to_frames()


@pytest.mark.parametrize(
    ("name", "rate", "first"),
    [("ntsc.mov", NTSC, 107892), ("film.mov", FILM, 0), ("pal.mov", Fraction(25), 900000), ("whole.mov", NTSC, 1770)],
)
def test_otio_has_the_frames_the_rate_the_time_code_and_the_handles(
    name: str, rate: Fraction, first: int, film: Path, tmp_path: Path
) -> None:
    moments = [cut(film / name, rate, first, last) for first, last in ((0, 90), (13, 14), (29, 61))]
    (path,) = write_timeline(cuts_of(*moments), tmp_path / "a.otio")
    timeline = otio.adapters.read_from_file(str(path))
    video = timeline.video_tracks()[0]
    assert [times(one.source_range) for one in video] == [(first, 90), (first + 13, 1), (first + 29, 32)]
    assert [times(one.range_in_parent())[0] for one in video] == [0, 90, 91]
    assert video[0].source_range.duration.rate == pytest.approx(float(rate), abs=1e-9)
    assert [times(one.media_reference.available_range) for one in video] == [(first, 90)] * 3
    assert Path(unquote(urlsplit(video[0].media_reference.target_url).path)) == film / name
    assert len(timeline.audio_tracks()) == (1 if name in ("ntsc.mov", "pal.mov") else 0)
    assert video[1].metadata["vidfind"]["query"] == "a dog"


def test_an_edl_in_drop_frame_keeps_the_rules(film: Path, tmp_path: Path) -> None:
    moments = [
        cut(film / "minute.mov", NTSC, 0, 90),
        cut(film / "ntsc.mov", NTSC, 10, 70),
        cut(film / "whole.mov", NTSC, 0, 90),
    ]
    (path,) = write_timeline(cuts_of(*moments), tmp_path / "a.edl")
    lines = path.read_text().splitlines()
    assert lines[:2] == ["TITLE: a", "FCM: DROP FRAME"]
    assert [line for line in lines if line[:1].isdigit()] == [
        "001  MINUTE   V     C        00:09:59;00 00:10:02;00 00:00:00;00 00:00:03;00",
        "002  NTSC     B     C        01:00:00;10 01:00:02;10 00:00:03;00 00:00:05;00",
        "003  WHOLE    V     C        00:00:59:00 00:01:02:00 00:00:05;00 00:00:08;00",
    ]
    timeline = otio.adapters.read_from_file(str(path), rate=float(NTSC))
    found = [times(one.source_range) for one in timeline.video_tracks()[0]]
    assert found == [(one.timecode, one.length) for one in cuts_of(*moments)]


@pytest.mark.parametrize(("rate", "dropped"), [(NTSC, 2), (2 * NTSC, 4)])
def test_each_event_in_drop_frame_is_as_long_in_the_video_as_in_the_film(
    rate: Fraction, dropped: int, tmp_path: Path
) -> None:
    chance = random.Random(1)
    source = Source(tmp_path / "a.mov", rate, 200 * 60 * 60, 96, 80, 0.0, is_drop=True)
    moments = [
        Cut(source, Wanted(source.path, 0, 1), chance.randrange(190 * 3600), chance.choice([1, 29, 1798, 1800, 17_981]))
        for _ in range(300)
    ]
    (path,) = write_timeline(moments, tmp_path / "a.edl")
    lines = path.read_text().splitlines()
    events = [line.split() for line in lines if re.match(r"\d{3}  ", line)]
    assert [int(event[0]) for event in events] == list(range(1, 301))
    assert all(len(line) <= 80 for line in lines if line[:1].isdigit()) and path.read_text().isascii()
    codes = [event[4:] for event in events]
    for code in (one for event in codes for one in event):
        _, minute, second, frame = map(int, re.split("[:;]", code))
        assert ";" in code and (second or minute % 10 == 0 or frame >= dropped)  # such numbers are left out
    frames = [[otio.opentime.from_timecode(code, float(rate)).to_frames() for code in event] for event in codes]
    assert [(event[0], event[1] - event[0]) for event in frames] == [(cut.start, cut.length) for cut in moments]
    assert [event[3] - event[2] for event in frames] == [cut.length for cut in moments]
    assert [event[2] for event in frames] == [0, *(event[3] for event in frames[:-1])]


@pytest.mark.parametrize(
    ("rate", "is_drop"), [(NTSC, True), (2 * NTSC, True), (NTSC, False), (FILM, False), (Fraction(50), False)]
)
def test_time_code_is_that_of_opentimelineio(rate: Fraction, is_drop: bool) -> None:
    for frame in [*range(0, 40000, 7), *range(1790, 1810), *range(17970, 17990), *range(107880, 107900), 2_000_003]:
        code = to_timecode(frame, rate, is_drop)
        wanted = otio.opentime.to_timecode(otio.opentime.RationalTime(frame, float(rate)), float(rate), is_drop)
        assert code == wanted
        assert from_timecode(code, rate) == (frame, is_drop)


@pytest.mark.parametrize("code", ["", "1:2", "00:00:60:00", "00:60:00:00", "00:00:00:30", "a", "-1:00:00:00"])
def test_what_is_no_time_code_is_none(code: str) -> None:
    assert from_timecode(code, NTSC) is None


@pytest.mark.parametrize(
    ("name", "rate", "first"), [("ntsc.mov", NTSC, 107892), ("film.mov", FILM, 0), ("pal.mov", Fraction(25), 900000)]
)
def test_fcpxml_has_the_frames_exactly(name: str, rate: Fraction, first: int, film: Path, tmp_path: Path) -> None:
    moments = [cut(film / name, rate, start, last) for start, last in ((0, 90), (13, 14), (29, 61))]
    (path,) = write_timeline(cuts_of(*moments), tmp_path / "a.fcpxml")
    root = ElementTree.parse(path).getroot()

    def frames(element: ElementTree.Element, name: str) -> int:
        frames = Fraction(element.get(name, "").removesuffix("s")) * rate
        assert frames.denominator == 1
        return int(frames)

    shown = [[frames(one, name) for name in ("start", "duration", "offset")] for one in root.iter("asset-clip")]
    assert shown == [[first, 90, 0], [first + 13, 1, 90], [first + 29, 32, 91]]
    (asset,) = root.iter("asset")
    assert (frames(asset, "start"), frames(asset, "duration")) == (first, 90)
    assert {Fraction(one.get("frameDuration", "").removesuffix("s")) for one in root.iter("format")} == {1 / rate}
    (sequence,) = root.iter("sequence")
    assert frames(sequence, "duration") == 123
    assert sequence.get("tcFormat") == ("DF" if rate == NTSC else "NDF")


def test_opentimelineio_reads_fcpxml(film: Path, tmp_path: Path) -> None:
    moments = [cut(film / "pal.mov", Fraction(25), start, last) for start, last in ((0, 90), (25, 50))]
    (path,) = write_timeline(cuts_of(*moments), tmp_path / "a.fcpxml")
    timeline = otio.adapters.read_from_file(str(path))
    assert [times(one.source_range) for one in timeline.video_tracks()[0]] == [(900000, 90), (900025, 25)]


def test_videos_of_other_rates_last_as_long(film: Path, tmp_path: Path) -> None:
    moments = [
        cut(film / "pal.mov", Fraction(25), 0, 50),
        cut(film / "film.mov", FILM, 24, 48),
        cut(film / "pal.mov", Fraction(25), 25, 50),
    ]
    (path,) = write_timeline(cuts_of(*moments), tmp_path / "a.edl")
    assert [line[29:] for line in path.read_text().splitlines() if line[:1].isdigit()] == [
        "10:00:00:00 10:00:02:00 00:00:00:00 00:00:02:00",
        "00:00:01:00 00:00:02:00 00:00:02:00 00:00:03:00",
        "10:00:01:00 10:00:02:00 00:00:03:00 00:00:04:00",
    ]
    (path,) = write_timeline(cuts_of(*moments), tmp_path / "a.fcpxml")
    shown = [(one.get("offset"), one.get("duration")) for one in ElementTree.parse(path).iter("asset-clip")]
    assert shown == [("0s", "5000/2500s"), ("5000/2500s", "2500/2500s"), ("7500/2500s", "2500/2500s")]


def test_reels_are_short_and_differ(tmp_path: Path) -> None:
    names = ["holiday in Rome 1.mp4", "holiday in Rome 2.mp4", "äöü.mp4", "日本.mp4", "a\nb.mp4"]
    sources = [Source(tmp_path / name, Fraction(25), 100, 96, 80, 0.0) for name in names]
    cuts = [Cut(source, Wanted(source.path, 0, 1), 0, 25) for source in sources]
    (path,) = write_timeline(cuts, tmp_path / "a.edl")
    events = [line for line in path.read_text().splitlines() if re.match(r"\d{3}  ", line)]
    assert [line[5:13].strip() for line in events] == ["HOLIDAYI", "HOLIDA_2", "AX_2", "AX_3", "AB"]
    assert len(events) == len(names)


def test_an_edl_has_no_more_events_than_numbers(tmp_path: Path) -> None:
    source = Source(tmp_path / "a.mp4", Fraction(25), 100, 96, 80, 0.0)
    with pytest.raises(BadInput, match="holds 999 moments, not 1,000"):
        write_timeline([Cut(source, Wanted(source.path, 0, 1), 0, 25)] * (MAX_EVENTS + 1), tmp_path / "a.edl")
    assert list(tmp_path.iterdir()) == []


def test_playlists_have_start_and_end(film: Path, tmp_path: Path) -> None:
    vlc, mpv = write_timeline(cuts_of(Wanted(film / "pal.mov", 0.48, 9.0)), tmp_path / "a.m3u")
    address = (film / "pal.mov").as_uri()
    assert vlc.read_text().splitlines() == [
        "#EXTM3U",
        "#PLAYLIST:a",
        "#EXTINF:3,pal.mov",
        "#EXTVLCOPT:start-time=0.480",
        "#EXTVLCOPT:stop-time=3.600",
        address,
    ]
    assert mpv.name == "a.mpv.m3u"
    assert mpv.read_text().splitlines()[-1] == f"edl://%{len(address)}%{address},0.480,3.120"


def test_a_table_has_times_and_time_code(film: Path, tmp_path: Path) -> None:
    wanted = Wanted(film / "ntsc.mov", 1.001, 2.002, "=a dog", 0.25)
    (path,) = write_timeline(cuts_of(wanted), tmp_path / "a.csv")
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [
            {
                "path": str(film / "ntsc.mov"),
                "start": "1.001",
                "end": "2.002",
                "start_timecode": "01:00:01;00",
                "end_timecode": "01:00:02;00",
                "frame_rate": "29.97",
                "query": "'=a dog",
                "score": "0.2500",
            }
        ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_odd_names_go_into_every_timeline(suffix: str, tmp_path: Path) -> None:
    source = Source(tmp_path / 'a\n"<&,%\udcff\u202e 日本.mp4', Fraction(25), 100, 96, 80, 0.0)
    moment = Cut(source, Wanted(source.path, 0, 1, "a\n\udcff<query>"), 0, 25)
    for path in write_timeline([moment, moment], tmp_path / f"a{suffix}"):
        text = path.read_bytes()
        if suffix == ".otio":
            timeline = otio.adapters.read_from_file(str(path))
            assert timeline.video_tracks()[0][0].media_reference.target_url == source.path.as_uri()
        elif suffix == ".edl":
            assert len(otio.adapters.read_from_file(str(path), rate=25).video_tracks()[0]) == 2
        elif suffix == ".fcpxml":
            assert [one.get("src") for one in ElementTree.fromstring(text).iter("asset")] == [source.path.as_uri()]
        elif suffix == ".csv":
            with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
                assert [row["path"] for row in csv.DictReader(file)] == [str(source.path)] * 2
        else:
            lines = text.decode().splitlines()
            assert sum(not line.startswith("#") for line in lines) == 2


def test_moments_in_clips_begin_with_the_frame_that_is_shown(clips: Path) -> None:
    moments = [
        Wanted(clips / "h264.mp4", 0.5, 0.9),
        Wanted(clips / "start_offset.ts", 0.04, 0.08),
        Wanted(clips / "h264.mp4", 2.97, 9),
    ]
    assert [(one.start, one.length) for one in cuts_of(*moments)] == [(12, 11), (1, 1), (74, 1)]
    (failed,) = make_cuts([Wanted(clips / "sound.mp4", 0, 1)])
    assert isinstance(failed, Failed)
