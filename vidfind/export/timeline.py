"""Timelines: moments one after another, in files that editors and players open, which show the videos themselves.

Each writer takes cuts and a title, and returns the text of a file.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from vidfind.errors import BadInput, BrokenInstallation
from vidfind.export.names import new_file
from vidfind.export.source import Cut, Source, most_common_rate
from vidfind.export.timecode import can_drop, editing_rate, to_timecode

INSTALL = 'Install it, in your clone of vidfind, with: uv tool install ".[timeline]" (or: uv sync --extra timeline).'
MAX_EVENTS = 999  # of an EDL: their numbers have three digits
FORMULA = ("=", "+", "-", "@", "\t")  # what a spreadsheet takes for a formula

Writer = Callable[[Sequence[Cut], str], str]


def write_timeline(cuts: Sequence[Cut], wanted: Path) -> list[Path]:
    """Writes a timeline in the format that the name asks for, and returns the files written.

    A file that is there keeps its name, and the new one gets a number. Raises BadInput for a format that is none, or
    moments that do not fit it, BrokenInstallation where a library is missing, StorageError."""
    made = []
    for suffix, write in writers(wanted).items():
        text = write(cuts, wanted.stem)
        with new_file(wanted.with_suffix(suffix)) as (part, placed):
            part.write_bytes(text.encode("utf-8", "surrogateescape"))
        made += placed
    return made


def writers(wanted: Path) -> dict[str, Writer]:
    """Returns the writers for a name, by the suffixes of the files that they make. Raises BadInput for other names."""
    chosen = FORMATS.get(wanted.suffix.lower())
    if chosen is None:
        raise BadInput(f"{wanted.name!r} names no kind of timeline. It must end in {', '.join(FORMATS)}.")
    return {wanted.suffix: chosen, **({MPV: mpv} if chosen is m3u else {})}


def _plain(text: str) -> str:
    """Returns a text on one line, without anything invisible, or bytes that are no text."""
    return "".join("_" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)


def _title(cut: Cut) -> str:
    return _plain(cut.source.path.name)


# OpenTimelineIO -------------------------------------------------------------------------------------------------------


def otio(cuts: Sequence[Cut], title: str) -> str:
    """Returns a timeline of OpenTimelineIO: a track of video, and one of sound if any video has sound.

    Clips are in the frame rates and the time code of their videos; all of a video is there to be used as handles."""
    try:
        import opentimelineio as library
    except ImportError as error:
        raise BrokenInstallation(
            f"Timelines in .otio need OpenTimelineIO, which is not installed. {INSTALL} The others, "
            f"{', '.join(name for name in FORMATS if name != '.otio')}, need nothing."
        ) from error
    schema, time = library.schema, library.opentime

    def span(start: int, length: int, rate: Fraction) -> Any:
        return time.TimeRange(time.RationalTime(start, float(rate)), time.RationalTime(length, float(rate)))

    def clip(cut: Cut) -> Any:
        source, wanted = cut.source, cut.wanted
        reference = schema.ExternalReference(source.path.as_uri(), span(source.first, source.frames, source.rate))
        known = {"query": _plain(wanted.query), "score": wanted.score, "start": wanted.start, "end": wanted.end}
        found = {name: value for name, value in known.items() if value not in ("", None)}
        return schema.Clip(_title(cut), reference, span(cut.timecode, cut.length, source.rate), {"vidfind": found})

    timeline = schema.Timeline(_plain(title))
    timeline.tracks.append(schema.Track("V1", kind=schema.TrackKind.Video, children=[clip(cut) for cut in cuts]))
    if any(cut.source.channels for cut in cuts):
        heard = [
            clip(cut) if cut.source.channels else schema.Gap(source_range=span(0, cut.length, cut.source.rate))
            for cut in cuts
        ]
        timeline.tracks.append(schema.Track("A1", kind=schema.TrackKind.Audio, children=heard))
    return str(library.adapters.write_to_string(timeline, "otio_json"))


# CMX 3600 -------------------------------------------------------------------------------------------------------------


def edl(cuts: Sequence[Cut], title: str) -> str:
    """Returns an edit decision list in the manner of CMX 3600, which knows one frame rate: that of most cuts.

    At 29.97 and 59.94 it is in drop-frame time code, unless all videos with time code have none of that."""
    if len(cuts) > MAX_EVENTS:
        raise BadInput(f"An EDL holds {MAX_EVENTS} moments, not {len(cuts):,}. Write .otio or .fcpxml instead.")
    rate = editing_rate(most_common_rate(cuts))
    coded = [cut.source.is_drop for cut in cuts if cut.source.has_timecode]
    is_drop = can_drop(rate) and (not coded or any(coded))
    lines = [f"TITLE: {_plain(title)[:70]}", f"FCM: {'DROP FRAME' if is_drop else 'NON-DROP FRAME'}", ""]
    record = 0
    reels = _reels([cut.source for cut in cuts])
    for number, cut in enumerate(cuts, start=1):
        start, length = cut.frames_at(rate)
        drops = cut.source.is_drop if cut.source.has_timecode else is_drop
        codes = [
            *(to_timecode(frame, rate, can_drop(rate) and drops) for frame in (start, start + length)),
            *(to_timecode(frame, rate, is_drop) for frame in (record, record + length)),
        ]
        channel = "B" if cut.source.channels else "V"  # both picture and sound, or the picture alone
        lines.append(f"{number:03}  {reels[cut.source]:<8} {channel:<5} C        {' '.join(codes)}")
        lines.append(f"* FROM CLIP NAME:  {_title(cut)}")
        lines.append(f"* FROM FILE: {_plain(str(cut.source.path))}")
        record += length
    return "\n".join(lines) + "\n"


def _reels(sources: Sequence[Source]) -> dict[Source, str]:
    """Returns a name of a reel for each video: at most eight letters and digits, and no two alike."""
    reels: dict[Source, str] = {}
    for source in dict.fromkeys(sources):
        name = stem = re.sub(r"[^A-Z0-9_]", "", source.path.stem.upper())[:8] or "AX"
        number = 1
        while name in reels.values() or name in ("AX", "BL"):  # those mean "no reel" and "black"
            number += 1
            name = f"{stem[: 7 - len(str(number))]}_{number}"
        reels[source] = name
    return reels


# Final Cut Pro --------------------------------------------------------------------------------------------------------


def fcpxml(cuts: Sequence[Cut], title: str) -> str:
    """Returns a project of Final Cut Pro (FCPXML 1.8, which DaVinci Resolve and Premiere's converters read too).

    Written here, since OpenTimelineIO's adapter counts 23.976 frames a second as 23."""
    rate = editing_rate(most_common_rate(cuts))
    root = ElementTree.Element("fcpxml", version="1.8")
    resources = ElementTree.SubElement(root, "resources")
    formats: dict[tuple[Fraction, int, int], str] = {}

    def format_of(of_rate: Fraction, width: int, height: int) -> str:
        key = (of_rate, width, height)
        if key not in formats:
            formats[key] = f"f{len(formats) + 1}"
            size = {"width": str(width), "height": str(height)}
            ElementTree.SubElement(
                resources, "format", {"id": formats[key], "frameDuration": _seconds(1, of_rate), **size}
            )
        return formats[key]

    largest = max((cut.source for cut in cuts), key=lambda source: source.width * source.height)
    of_sequence = format_of(rate, largest.width, largest.height)
    assets: dict[Source, str] = {}
    for source in dict.fromkeys(cut.source for cut in cuts):
        assets[source] = f"a{len(assets) + 1}"
        sound = {"hasAudio": "1", "audioSources": "1", "audioChannels": str(source.channels)}
        values = {
            "id": assets[source],
            "name": _plain(source.path.stem),
            "src": source.path.as_uri(),
            "start": _seconds(source.first, source.rate),
            "duration": _seconds(source.frames, source.rate),
            "hasVideo": "1",
            "format": format_of(source.rate, source.width, source.height),
            **({**sound, "audioRate": str(source.sample_rate)} if source.channels else {}),
        }
        ElementTree.SubElement(resources, "asset", values)
    lengths = [cut.frames_at(rate)[1] for cut in cuts]
    project = ElementTree.SubElement(root, "project", name=_plain(title))
    values = {"format": of_sequence, "duration": _seconds(sum(lengths), rate), "tcStart": "0s"}
    values["tcFormat"] = "DF" if can_drop(rate) else "NDF"
    spine = ElementTree.SubElement(ElementTree.SubElement(project, "sequence", values), "spine")
    offset = 0
    for cut, length in zip(cuts, lengths, strict=True):
        values = {
            "ref": assets[cut.source],
            "name": _title(cut),
            "offset": _seconds(offset, rate),
            "start": _seconds(cut.timecode, cut.source.rate),
            "duration": _seconds(length, rate),
            "tcFormat": "DF" if cut.source.is_drop else "NDF",
        }
        ElementTree.SubElement(spine, "asset-clip", values)
        offset += length
    ElementTree.indent(root)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n'
    return head + ElementTree.tostring(root, encoding="unicode") + "\n"


def _seconds(frames: int, rate: Fraction) -> str:
    """Returns so many frames as seconds, in whole parts of a frame's length."""
    parts = (
        (frames * rate.denominator, rate.numerator) if rate.denominator > 1 else (frames * 100, rate.numerator * 100)
    )
    return f"{parts[0]}/{parts[1]}s" if frames else "0s"


# Players and spreadsheets ---------------------------------------------------------------------------------------------


def m3u(cuts: Sequence[Cut], title: str) -> str:
    """Returns a playlist that VLC plays from start to end of each moment; other players show the whole videos."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_plain(title)}"]
    for cut in cuts:
        start, end = _times(cut)
        lines.append(f"#EXTINF:{max(1, round(end - start))},{_title(cut)}")
        lines += [f"#EXTVLCOPT:start-time={start:.3f}", f"#EXTVLCOPT:stop-time={end:.3f}", cut.source.path.as_uri()]
    return "\n".join(lines) + "\n"


MPV = ".mpv.m3u"


def mpv(cuts: Sequence[Cut], title: str) -> str:
    """Returns a playlist for mpv, which reads start and end of a moment only so."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_plain(title)}"]
    for cut in cuts:
        start, end = _times(cut)
        address = cut.source.path.as_uri()
        lines += [f"#EXTINF:{max(1, round(end - start))},{_title(cut)}"]
        lines += [f"edl://%{len(address)}%{address},{start:.3f},{end - start:.3f}"]
    return "\n".join(lines) + "\n"


COLUMNS = ("path", "start", "end", "start_timecode", "end_timecode", "frame_rate", "query", "score")


def table(cuts: Sequence[Cut], title: str) -> str:
    """Returns a table in CSV: times in seconds, and as time code of the videos; the end is the first frame after."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for cut in cuts:
        source, wanted = cut.source, cut.wanted
        codes = [to_timecode(frame, source.rate, source.is_drop) for frame in (cut.timecode, cut.timecode + cut.length)]
        start, end = _times(cut)
        query = f"'{wanted.query}" if wanted.query.startswith(FORMULA) else wanted.query
        score = "" if wanted.score is None else f"{wanted.score:.4f}"
        rate = f"{float(source.rate):.3f}".rstrip("0").rstrip(".")
        rows.writerow([os.fspath(source.path), f"{start:.3f}", f"{end:.3f}", *codes, rate, query, score])
    return text.getvalue()


def _times(cut: Cut) -> tuple[float, float]:
    """Returns start and end of a moment in seconds, in its video."""
    end = cut.source.begin + float(cut.source.frames / cut.source.rate)
    return cut.wanted.start, min(cut.wanted.end, end)


FORMATS: dict[str, Writer] = {
    ".otio": otio,
    ".edl": edl,
    ".fcpxml": fcpxml,
    ".m3u": m3u,
    ".m3u8": m3u,
    ".csv": table,
}
"""The writers by the ends of file names."""
