"""The facts of videos that timelines name, and their moments counted in frames.

An editor counts the frames of a file from its first one, or from the time code that the camera has written into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidfind.errors import UnreadableVideo
from vidfind.export.clips import Failed, inside
from vidfind.export.timecode import from_timecode, known_rate
from vidfind.export.wanted import EXACT, Wanted
from vidfind.media.frames import open_video
from vidfind.media.probe import probe


@dataclass(frozen=True)
class Source:
    """A video as editors see it: `rate` is in frames a second, `frames` is its length.

    `first` is the time code of its first frame, as a number of frames; 0 where it has none."""

    path: Path
    rate: Fraction
    frames: int
    width: int
    height: int
    begin: float
    """When its first frame is shown, in seconds on the clock of moments."""
    first: int = 0
    has_timecode: bool = False
    is_drop: bool = False
    channels: int = 0
    """Of its sound; 0 where it has none."""
    sample_rate: int = 0


@dataclass(frozen=True)
class Cut:
    """A moment in the frames of its video: `length` of them from `start` on, which counts from its first frame."""

    source: Source
    wanted: Wanted
    start: int
    length: int

    @property
    def timecode(self) -> int:
        """The time code of the first frame, as a number of frames."""
        return self.source.first + self.start

    def frames_at(self, rate: Fraction) -> tuple[int, int]:
        """Returns time code and length in frames of another rate."""
        if rate == self.source.rate:
            return self.timecode, self.length
        return round(self.timecode / self.source.rate * rate), max(1, round(self.length / self.source.rate * rate))


def make_cuts(wanted: Iterable[Wanted]) -> Iterator[Cut | Failed]:
    """Yields each moment in frames: from the one shown at its start to the one shown just before its end."""
    known: dict[Path, Source] = {}
    for one in wanted:
        try:
            path = one.present_path.absolute()
            source = known[path] = known.get(path) or read_source(path)
            start, end = ((time - source.begin) * source.rate for time in inside(one, probe(source.path)))
            near = EXACT * source.rate
            first = min(max(0, math.floor(start + near)), source.frames - 1)
            yield Cut(source, one, first, max(1, min(math.ceil(end - near), source.frames) - first))
        except UnreadableVideo as error:
            yield Failed(one, str(error))


def read_source(path: Path) -> Source:
    """Returns the facts of a video. Raises UnreadableVideo."""
    info = probe(path)
    rate = known_rate(info.frame_rate)
    with open_video(path, threads=1, is_quick=True) as (container, stream):
        sounds = [one for one in container.streams.audio if one.codec_context is not None and one.rate]
        tags = [stream.metadata, container.metadata, *(one.metadata for one in container.streams)]
    texts = [value for one in tags for name, value in one.items() if name.lower() == "timecode"]
    code = next((found for text in texts if (found := from_timecode(text, rate))), None)
    return Source(
        path,
        rate,
        max(1, round((info.duration - info.start) * rate)),
        info.width,
        info.height,
        info.start,
        code[0] if code else 0,
        code is not None,
        code is not None and code[1],
        sounds[0].channels if sounds else 0,
        sounds[0].rate if sounds else 0,
    )


def most_common_rate(cuts: Sequence[Cut]) -> Fraction:
    """Returns the frame rate that most of the cuts have; of several, that of the first."""
    rates = [cut.source.rate for cut in cuts]
    return max(rates, key=rates.count)
