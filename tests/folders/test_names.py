"""Extensions that are taken for videos are those of containers that can be opened."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import pytest

from vidfind.folders.names import VIDEO_EXTENSIONS, extension, is_video_name
from vidfind.media.probe import probe

COPIED = {
    "h264.mp4": (".360", ".3gpp", ".f4v", ".glv", ".insv", ".ismv", ".lrf", ".lrv", ".m4v", ".qt"),
    "h264.ts": (".m2t", ".m2ts", ".mts", ".tp", ".trp", ".tod"),
    "mpeg2.mpg": (".evo", ".m2p", ".mod", ".mpe", ".vob", ".vro"),
    "cues.mkv": (".mk3d",),
    "wmv2.wmv": (".asf", ".dvr-ms"),
    "mpeg4.avi": (".divx",),
}
REMUXED = {".264": "h264.ts", ".avc": "h264.ts", ".h264": "h264.ts", ".ivf": "vp9.webm", ".nut": "vp8.webm"}
FORMATS = {".264": "h264", ".avc": "h264", ".h264": "h264"}


@pytest.mark.parametrize(("source", "ending"), [(name, ending) for name, all_of in COPIED.items() for ending in all_of])
def test_a_video_with_another_extension_of_its_container_is_read(
    clips: Path, tmp_path: Path, source: str, ending: str
) -> None:
    assert ending in VIDEO_EXTENSIONS
    copy = Path(shutil.copy(clips / source, tmp_path / f"a{ending}"))
    assert probe(copy).codec == probe(clips / source).codec


@pytest.mark.parametrize(("ending", "source"), REMUXED.items(), ids=list(REMUXED))
def test_a_raw_stream_is_read(clips: Path, tmp_path: Path, ending: str, source: str) -> None:
    assert ending in VIDEO_EXTENSIONS
    path = tmp_path / f"a{ending}"
    with av.open(str(clips / source)) as old, av.open(str(path), "w", format=FORMATS.get(ending)) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    assert probe(path).codec == probe(clips / source).codec


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.MP4", ".mp4"), ("a.b.dvr-ms", ".dvr-ms"), (".mp4", ""), ("mp4", ""), ("a.", "."), ("a.mp4.part", ".part")],
)
def test_an_extension_begins_with_the_last_dot(name: str, expected: str) -> None:
    assert extension(name) == expected
    assert is_video_name(name) == (expected in (".mp4", ".dvr-ms"))
