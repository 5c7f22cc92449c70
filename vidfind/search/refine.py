"""Finds where a moment begins and ends, finer than the segments of the index, by a second look at its file.

The time around a moment is cut into short cells. Each two neighbours make a clip, whose score tells how well the time
in its middle answers the query. Where the scores fall to half their height, the moment begins and ends. Times are in
seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfind.errors import UnreadableVideo
from vidfind.media.sampling import Segment, split_segments
from vidfind.search.moments import Moment
from vidfind.search.spans import MERGE_MARGIN
from vidfind.system.machine import parallel_map

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

CELLS_A_SEGMENT = 8
"""How finely a moment is looked at: two cells, a quarter of a segment, make a clip."""
AROUND = 1.0
"""How far before and after a moment it is looked for, in segments: the best segment may be the one beside the event."""
HEIGHT = 0.5
"""The part of the height of the scores at which a moment ends: a clip half in an event scores about half as high."""


def refine_moment(encoder: Encoder, vector: npt.NDArray[np.floating], moment: Moment, segment_length: float) -> Moment:
    """The same moment with the start and end that its frames tell; unchanged where its file cannot be read now."""
    if not moment.online:
        return moment
    with suppress(UnreadableVideo):
        clips, vectors = encode_cells(encoder, moment.path, cells_around(moment, segment_length))
        scores = vectors @ vector
        if len(clips) > 1 and np.ptp(scores) > MERGE_MARGIN:  # otherwise it is one scene throughout
            start, end = half_height(clips, scores)
            return dataclasses.replace(moment, start=start, end=end)
    return moment


def refine_sequence(
    encoder: Encoder, vectors: Sequence[npt.NDArray[np.floating]], moment: Moment, segment_length: float
) -> Moment:
    """The same sequence with the start and end of each step that its frames tell; `vectors` are those of the steps."""
    whole = [dataclasses.replace(moment, start=step.start, end=step.end) for step in moment.steps]
    fine = [refine_moment(encoder, vector, one, segment_length) for vector, one in zip(vectors, whole, strict=True)]
    steps = [
        dataclasses.replace(step, start=one.start, end=one.end) for step, one in zip(moment.steps, fine, strict=True)
    ]
    return dataclasses.replace(moment, start=steps[0].start, end=steps[-1].end, steps=tuple(steps))


def cells_around(moment: Moment, segment_length: float) -> list[Segment]:
    """The cells that cover a moment and what is around it, as far as the video lasts."""
    first = max(0.0, moment.start - AROUND * segment_length)
    last = min(moment.duration, moment.end + AROUND * segment_length)
    return split_segments(last, segment_length / CELLS_A_SEGMENT, first)


def encode_cells(
    encoder: Encoder, path: Path, cells: Sequence[Segment]
) -> tuple[list[Segment], npt.NDArray[np.floating]]:
    """The clips of each two neighbouring cells, and their vectors (N, D). Raises UnreadableVideo."""
    from vidfind.media.decoding import read_clips

    first = encoder.num_frames // 2
    frames = list(read_clips(path, cells, encoder.num_frames - first, encoder.view))
    clips = [np.concatenate([one[:first], other]) for one, other in pairwise(frames)]
    batches = [np.stack(clips[at : at + encoder.batch_size]) for at in range(0, len(clips), encoder.batch_size)]
    with closing(parallel_map(encoder.encode_video, batches, encoder.lanes)) as encoded:
        vectors = [found.numpy() for _, found in encoded]
    spans = [Segment(one.start, other.end) for one, other in pairwise(cells[: len(frames)])]
    return spans, np.concatenate(vectors) if vectors else np.empty((0, encoder.dim))


def half_height(clips: Sequence[Segment], scores: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Where the scores (N,) around the best fall to HEIGHT of their height, counted from the lower quarter of them.

    At an end of what was looked at, the moment ends there."""
    best = int(scores.argmax())
    middles = [(clip.start + clip.end) / 2 for clip in clips]
    base = float(np.quantile(scores, 0.25))
    level = base + HEIGHT * (scores[best] - base)

    def edge(step: int, outermost: float) -> float:
        inside = best
        while 0 <= inside + step < len(scores) and scores[inside + step] >= level:
            inside += step
        if not 0 <= inside + step < len(scores):
            return outermost
        high, low = scores[inside], scores[inside + step]
        return float(middles[inside] + (high - level) / (high - low) * (middles[inside + step] - middles[inside]))

    return edge(-1, clips[0].start), edge(1, clips[-1].end)
