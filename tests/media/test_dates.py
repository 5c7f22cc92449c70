"""The date of a video: from what its container says, from names, or from the file's time."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from vidfind.media.dates import DATE_TAGS, file_time, parse_date, when_recorded
from vidfind.media.probe import probe

WEST = timezone(timedelta(hours=-5))
MODIFIED = datetime(2025, 6, 1, 9, tzinfo=UTC)
MTIME_NS = int(MODIFIED.timestamp()) * 10**9


@pytest.fixture(autouse=True)
def five_hours_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is five hours behind UTC, all year round."""
    if not hasattr(time, "tzset"):
        pytest.skip("needs a time zone that can be set")
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "EST+5")
        time.tzset()
        yield
    time.tzset()


def make_video(
    path: Path, metadata: dict[str, str], codec: str = "mpeg4", options: dict[str, str] | None = None
) -> Path:
    """Writes a video of two frames with these tags."""
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = 64, 48
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode())
    os.utime(path, ns=(MTIME_NS, MTIME_NS))
    return path


# Metadata


@pytest.mark.parametrize(
    ("name", "metadata", "expected"),
    [
        ("a.mp4", {"creation_time": "2019-07-04T16:20:00Z"}, datetime(2019, 7, 4, 16, 20, tzinfo=UTC)),
        (
            "a.mov",
            {
                "creation_time": "2024-03-01T10:00:00Z",
                "com.apple.quicktime.creationdate": "2019-07-04T18:20:00+0200",
            },
            datetime(2019, 7, 4, 16, 20, tzinfo=UTC),
        ),
        (
            "a.mov",
            {"creation_time": "2024-03-01T10:00:00Z", "com.apple.quicktime.creationdate": "1970-01-01T00:00:12+0000"},
            datetime(2024, 3, 1, 10, tzinfo=UTC),
        ),
        ("a.mp4", {"date": "2019-07-04T18:20:00+0200"}, datetime(2019, 7, 4, 16, 20, tzinfo=UTC)),
        ("a.mkv", {"creation_time": "2019-07-04T16:20:00Z"}, datetime(2019, 7, 4, 16, 20, tzinfo=UTC)),
        ("a.mkv", {"DATE_RECORDED": "2019-07-04 18:20:00.000"}, datetime(2019, 7, 4, 18, 20, tzinfo=WEST)),
        ("a.webm", {"date": "2019-07-04"}, datetime(2019, 7, 4, 12, tzinfo=WEST)),
        ("a.avi", {"date": "2019-07-04 18:20:00"}, datetime(2019, 7, 4, 18, 20, tzinfo=WEST)),
        ("a.flv", {"creationdate": "Thu Jul 04 18:20:00 2019"}, datetime(2019, 7, 4, 18, 20, tzinfo=WEST)),
        ("a.wmv", {"WM/EncodingTime": "132067308000000000"}, datetime(2019, 7, 4, 16, 20, tzinfo=UTC)),
    ],
    ids=lambda value: str(value),
)
def test_each_container_tells_when_a_video_was_recorded(
    tmp_path: Path, name: str, metadata: dict[str, str], expected: datetime
) -> None:
    codec = {".flv": "flv1", ".webm": "libvpx"}.get(Path(name).suffix, "mpeg4")
    info = probe(
        make_video(tmp_path / name, metadata, codec, {"movflags": "use_metadata_tags"} if ".mov" in name else {})
    )
    assert (info.created, info.created_from) == (expected, "metadata")
    assert info.created.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"Thu Jul  4 18:20:00 2019\n\0", datetime(2019, 7, 4, 18, 20, tzinfo=WEST)),
     (b"2019/07/04 18:20:00\0", datetime(2019, 7, 4, 18, 20, tzinfo=WEST))],
    ids=["asctime", "slashes"],
)  # fmt: skip
def test_an_avi_of_a_camera_tells_when_it_was_recorded(tmp_path: Path, text: bytes, expected: datetime) -> None:
    path = make_video(tmp_path / "a.avi", {})
    data = path.read_bytes()
    chunk = b"IDIT" + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)
    start = data.index(b"hdrl")
    [size] = struct.unpack_from("<I", data, start - 4)
    at = start + size
    data = data[:at] + chunk + data[at:]
    data = data.replace(struct.pack("<I", size) + b"hdrl", struct.pack("<I", size + len(chunk)) + b"hdrl")
    path.write_bytes(data)
    assert (probe(path).created, probe(path).created_from) == (expected, "metadata")


@pytest.mark.parametrize(
    "text",
    [
        "", "2019", "2019-07", "summer", "2019-13-01", "1904-01-01T00:00:00Z", "1970-01-01T00:00:00Z",
        "1970-01-05T03:00:00Z", "1980-01-01T00:00:12", "1980-01-06T00:00:00Z", "2000-01-01T03:12:00Z",
        "2019-01-01T00:00:00Z", "2036-02-07T06:28:16Z", "2999-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-0500", "0", "99999999999999999999", "Thu Jul 99 18:20:00 2019",
    ],
)  # fmt: skip
def test_a_date_that_cannot_be_true_is_passed_over(text: str) -> None:
    found = when_recorded(Path("/films/a.mp4"), MTIME_NS, [{"creation_time": text}, {}])
    assert (found.created, found.created_from) == (MODIFIED, "file")
    believed = [{"Creation_Time": text}, {"creation_time": "2019-07-04T16:20:00Z"}]
    assert when_recorded(Path("/films/a.mp4"), MTIME_NS, believed).created == datetime(2019, 7, 4, 16, 20, tzinfo=UTC)


@pytest.mark.parametrize("tag", DATE_TAGS)
def test_a_tag_of_the_file_goes_before_that_of_the_stream(tag: str) -> None:
    tags = [{tag.upper(): "2019-07-04T16:20:00Z"}, {tag: "2020-07-04T16:20:00Z"}]
    assert when_recorded(Path("/films/20220101_120000.mp4"), MTIME_NS, tags).created.year == 2019
    assert when_recorded(Path("/films/20220101_120000.mp4"), MTIME_NS, tags[1:]).created.year == 2020


def test_a_date_without_a_day_is_none() -> None:
    assert parse_date("2019") is None
    assert parse_date("UTC 2019-07-04 16:20:00") == datetime(2019, 7, 4, 16, 20, tzinfo=WEST)


# Names

WHOLE_DAY = datetime(2022, 1, 3, 12, tzinfo=WEST)
SECOND = datetime(2022, 1, 3, 14, 5, 6, tzinfo=WEST)
MINUTE = datetime(2022, 1, 3, 14, 5, tzinfo=WEST)
IN_UTC = datetime(2022, 1, 3, 14, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("20220103_140506.mp4", SECOND),
        ("VID_20220103_140506.mp4", SECOND),
        ("VID20220103140506.mp4", SECOND),
        ("VID_20220103_140506789.mp4", SECOND),
        ("VID_20220103_140506_HSR_240.mp4", SECOND),
        ("VID_20220103_140506_00_001.insv", SECOND),
        ("PXL_20220103_140506789.mp4", IN_UTC),
        ("PXL_20220103_140506789.TS.mp4", IN_UTC),
        ("GMT20220103-140506_Recording_640x360.mp4", IN_UTC),
        ("20220103T140506Z.mp4", IN_UTC),
        ("2022-01-03T14:05:06Z.mp4", IN_UTC),
        ("VID-20220103-WA0001.mp4", WHOLE_DAY),
        ("IMG-20220103-WA0001.mp4", WHOLE_DAY),
        ("signal-2022-01-03-14-05-06-123.mp4", SECOND),
        ("signal-2022-01-03-140506.mp4", SECOND),
        ("video_2022-01-03_14-05-06.mp4", SECOND),
        ("2022-01-03 14.05.06.mp4", SECOND),
        ("2022-01-03 14-05-06.mkv", SECOND),
        ("Game 2022.01.03 - 14.05.06.07.mp4", SECOND),
        ("Screen Recording 2022-01-03 at 14.05.06.mov", SECOND),
        ("Screen Recording 2022-01-03 at 2.05.06 PM.mov", WHOLE_DAY),
        ("Screen Recording 2022-01-03 at 02.05.06\u202fPM.mov", SECOND),
        ("Bildschirmaufnahme 2022-01-03 um 14.05.06.mov", SECOND),
        ("Enregistrement de l'écran 2022-01-03 à 14.05.06.mov", SECOND),
        ("Screen_Recording_20220103-140506_Maps.mp4", SECOND),
        ("Screenrecorder-2022-01-03-14-05-06-123.mp4", SECOND),
        ("WIN_20220103_14_05_06_Pro.mp4", SECOND),
        ("DJI_20220103140506_0001_D.MP4", SECOND),
        ("DJI_20220103_140506_1.mp4", SECOND),
        ("2022_0103_140506_001F.MP4", SECOND),
        ("NO20220103-140506-000001F.MP4", SECOND),
        ("2022-01-03_14-05-06-front.mp4", SECOND),
        ("Cam-00-20220103140506.mp4", SECOND),
        ("RecM01_20220103_140506_140607_6D28808_1A468F9.mp4", SECOND),
        ("2022-01-03 14-05 party.mp4", MINUTE),
        ("2022-01-03.mp4", WHOLE_DAY),
        ("2022-01-03 a walk.mp4", WHOLE_DAY),
        ("20220103.mp4", WHOLE_DAY),
        ("20220103_C0001.MP4", WHOLE_DAY),
        ("2022-01-03 25.61.00.mp4", WHOLE_DAY),
        ("cam1/2022-01-03/14-05-06.mp4", SECOND),
        ("cam1/20220103/140506.mp4", SECOND),
        ("2022/01/03/14-05-06.mp4", SECOND),
        ("2022-01-03/001/dav/14/14.05.06-14.15.06[M][0@0][0].mp4", SECOND),
        ("2022-01-03 Rome/GX010001.mp4", WHOLE_DAY),
        ("2021-05-05 Rome/2022-01-03 14.05.06.mp4", SECOND),
        ("1987-06-12 birthday.mp4", datetime(1987, 6, 12, 12, tzinfo=WEST)),
        ("2025-06-01 breakfast.mp4", MODIFIED),
    ],
)  # fmt: skip
def test_a_name_tells_when_a_video_was_recorded(path: str, expected: datetime) -> None:
    found = when_recorded(Path("/films", path), MTIME_NS)
    assert (found.created, found.created_from) == (expected, "name")


@pytest.mark.parametrize(
    "path",
    [
        "a.mp4", "GX010001.mp4", "12345678.mp4", "MOV_99999999.mp4", "20221301_120000.mp4", "20220230.mp4",
        "2022-13-01.mp4", "19000101_120000.mp4", "19870612.mp4", "20990101_120000.mp4", "1234567890123456.mp4",
        "202201031405061234.mp4", "1920x1080.mp4", "2022.mp4", "2022-01.mp4", "clip 2022 01 mp4.mp4",
        "VID_19700101_000012.mp4", "1980-01-01 00.00.12.mp4", "VID_20000101_000012.mp4", "2022/GX010001.mp4",
        "Backup 2025-08-01/GX010001.mp4", "10-00-00.mp4", "\u0662\u0660\u0662\u0662-\u0660\u0661-\u0660\u0663.mp4",
    ],
)  # fmt: skip
def test_other_numbers_in_a_name_are_no_date(path: str) -> None:
    found = when_recorded(Path("/films", path), MTIME_NS)
    assert (found.created, found.created_from) == (MODIFIED, "file")


@pytest.mark.parametrize("seconds", [-(10**12), -1, 0, 10**18])
def test_a_file_time_out_of_range_is_the_nearest_date(seconds: int) -> None:
    assert file_time(seconds * 10**9).year in (1970, 9999)
    assert when_recorded(Path("/films/a.mp4"), seconds * 10**9).created_from == "file"
