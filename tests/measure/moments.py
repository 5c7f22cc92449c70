"""How exactly moments are found: start and end errors, recall and cost, for several segments and with a second look.

    uv run python -m tests.measure.moments [--videos 4] [--events 24] [--length 3 6]

Draws videos that are joined from clips of the demo's world, so that each event has a known beginning and end, and looks
for each by its caption with the tiny model. An event counts as found if the middle of it lies in the best moment of its
video. Errors are medians over the events that were found; overlap is the mean of intersection over union of all. CPU
times do not count the processes that decode for a second look. The vectors are those of the index; overlapping segments
are made of the same frames as plain ones, so they cost encoding and room, and no decoding.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from vidfind.demo.captions import caption
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.world import FRAME_RATE
from vidfind.encoders.encoder import Encoder
from vidfind.media.read import read_clips
from vidfind.media.sampling import Segment, split_segments
from vidfind.media.write import write_video
from vidfind.models.load import load_encoder
from vidfind.search.moments import Moment
from vidfind.search.refine import CELLS_A_SEGMENT, cells_around, encode_cells, half_height
from vidfind.search.spans import ScoredSpan, merge_hits
from vidfind.store.nearest import Hit


class Event(NamedTuple):
    """A part of a video, in seconds, and what is to be seen there."""

    start: float
    end: float
    caption: str


@dataclass(frozen=True)
class Way:
    """How moments are looked for: the length of segments in seconds, overlapping or not, and refined or not."""

    length: float
    overlaps: bool = False
    refines: bool = False

    def __str__(self) -> str:
        return f"{self.length:g} s" + ", overlapping" * self.overlaps + ", refined" * self.refines


def draw_joined(path: Path, count: int, seed: int, shortest: float, longest: float) -> list[Event]:
    """Draws a video of `count` events, one after the other."""
    rng = Random(seed)
    events, clips, begin = [], [], 0
    for scene in distinct_scenes(rng, count):
        frames = round(rng.uniform(shortest, longest) * FRAME_RATE)
        events.append(Event(begin / FRAME_RATE, (begin + frames) / FRAME_RATE, caption(scene, rng)))
        clips.append(draw(scene, frames))
        begin += frames
    write_video(path, (frame for clip in clips for frame in clip), FRAME_RATE, gop=FRAME_RATE)
    return events


def encode(encoder: Encoder, path: Path, end: float, way: Way) -> tuple[list[Segment], np.ndarray]:
    """The segments of a video and their vectors (N, D)."""
    segments = split_segments(end, way.length)
    frames = [sample.frames for sample in read_clips(path, segments, encoder.num_frames, encoder.view)]
    clips = list(frames)
    if way.overlaps:
        half = encoder.num_frames // 2
        for one, other in pairwise(list(segments)):
            segments.append(Segment((one.start + one.end) / 2, (other.start + other.end) / 2))
        clips += [np.concatenate([one[half:], other[:half]]) for one, other in pairwise(frames)]
    vectors = [encoder.encode_video(np.stack(clips[at : at + 8])).numpy() for at in range(0, len(clips), 8)]
    return segments, np.concatenate(vectors)


def best_span(segments: Sequence[Segment], scores: np.ndarray) -> ScoredSpan:
    """The best segment, with neighbours that score alike."""
    hits = [Hit(1, segment.start, segment.end, float(score)) for segment, score in zip(segments, scores, strict=True)]
    return merge_hits(hits, 1)[0]


@dataclass
class Result:
    """What was found in one way: moments with their events, and what it cost in seconds."""

    pairs: list[tuple[Segment, Event]] = field(default_factory=list)
    vectors: int = 0
    indexing: float = 0.0
    refining: float = 0.0
    """Of all events; the cells of a video are encoded once here, and for each moment in a search."""

    def row(self, way: Way) -> list[str]:
        """The cells of the table's row."""
        found = [(span, event) for span, event in self.pairs if span.start <= (event.start + event.end) / 2 <= span.end]
        overlaps = [
            max(0.0, min(span.end, event.end) - max(span.start, event.start))
            / (max(span.end, event.end) - min(span.start, event.start))
            for span, event in self.pairs
        ]
        return [
            str(way),
            f"{100 * len(found) / len(self.pairs):.0f} %",
            f"{statistics.median(abs(span.start - event.start) for span, event in found):.1f} s",
            f"{statistics.median(abs(span.end - event.end) for span, event in found):.1f} s",
            f"{statistics.mean(overlaps):.2f}",
            str(self.vectors),
            f"{self.indexing:.1f} s",
            f"{self.refining / len(self.pairs):.2f} s" if way.refines else "",
        ]


def measure(encoder: Encoder, films: Sequence[tuple[Path, Sequence[Event]]], ways: Sequence[Way]) -> None:
    """Prints the table, from one pass over the films for each length."""
    queries = {event: encoder.encode_text([event.caption])[0].numpy() for _, events in films for event in events}
    for length in dict.fromkeys(way.length for way in ways):
        results = {way: Result() for way in ways if way.length == length}
        for path, events in films:
            end = events[-1].end
            began = time.process_time()
            if any(way.refines for way in results):
                cells, fine = encode_cells(encoder, path, split_segments(end, length / CELLS_A_SEGMENT))
            refining = time.process_time() - began
            for overlaps in dict.fromkeys(way.overlaps for way in results):
                began = time.process_time()
                segments, vectors = encode(encoder, path, end, Way(length, overlaps))
                indexing = time.process_time() - began
                for way, result in results.items():
                    if way.overlaps != overlaps:
                        continue
                    result.vectors += len(segments)
                    result.indexing += indexing
                    for event in events:
                        span = best_span(segments, vectors @ queries[event])
                        part = Segment(span.start, span.end)
                        if way.refines:
                            moment = Moment(1, span.score, path, span.start, span.end, end, datetime.now(UTC))
                            around = cells_around(moment, length)
                            inside = [
                                number
                                for number, cell in enumerate(cells)
                                if cell.start >= around[0].start - 0.01 and cell.end <= around[-1].end + 0.01
                            ]
                            scores = fine[inside] @ queries[event]
                            part = Segment(*half_height([cells[number] for number in inside], scores))
                            result.refining += refining * len(around) / len(cells)
                        result.pairs.append((part, event))
        for way, result in results.items():
            print("| " + " | ".join(result.row(way)) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--events", type=int, default=24)
    parser.add_argument("--length", type=float, nargs=2, default=(3.0, 6.0))
    asked = parser.parse_args()
    encoder = load_encoder("tiny", device="cpu")
    ways = [
        Way(length, overlaps, refines)
        for length in (10.0, 5.0, 2.5)
        for overlaps in (False, True)
        for refines in ((False, True) if length > 3 else (False,))
    ]
    with tempfile.TemporaryDirectory() as folder:
        films = []
        for number in range(asked.videos):
            path = Path(folder) / f"{number}.mp4"
            films.append((path, draw_joined(path, asked.events, number, *asked.length)))
        titles = (
            "segments",
            "found",
            "start error",
            "end error",
            "overlap",
            "vectors",
            "CPU to index",
            "CPU a moment",
        )
        print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
        measure(encoder, films, ways)


if __name__ == "__main__":
    main()
