"""The messages of a video that is decoded: what it is, its clips, and how it ended.

Runs in a worker, see decoding.py. Times are in seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidfind.errors import UnreadableVideo
from vidfind.media.probe import VideoInfo, probe
from vidfind.media.read import read_clips
from vidfind.media.readers.still import is_one_picture
from vidfind.media.sampling import (
    DEFAULT_SAMPLING,
    Sample,
    Sampling,
    Segment,
    View,
    add_between,
    sample_times,
    split_segments,
)
from vidfind.system.files import fingerprint

log = logging.getLogger(__name__)

# In place of the frames of a clip that repeats the one before it, on the way from the worker.
NO_FRAMES = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Opened:
    """First of a video's messages. Its clips follow, one for each segment in order, then Done; or Failed, any time.

    A damaged video has fewer clips than segments."""

    path: Path
    fingerprint: str
    info: VideoInfo
    segments: list[Segment]


@dataclass(frozen=True)
class Clip:
    path: Path
    seconds: float
    """How much further it reaches than the clip before it."""
    frames: npt.NDArray[np.uint8]  # (T, S, S, 3)
    times: npt.NDArray[np.float64]  # (T,): when each frame is shown, in seconds
    is_repeat: bool = False  # whether its frames are those of the clip before it, as nothing moves


@dataclass(frozen=True)
class Done:
    path: Path
    until: float | None = None
    """The time up to which the video could be decoded, if that was not to its end, in seconds."""
    time_error: float = 0.0
    """The largest distance of a frame from the time wanted, in seconds, where other frames were taken instead of those
    shown at the times wanted, such as keyframes."""


@dataclass(frozen=True)
class Failed:
    path: Path
    reason: str
    try_again: bool
    """Whether the disk or the permissions were at fault, not what is in the file."""


@dataclass(frozen=True)
class Queued:
    """A video that is not opened yet, and the length that its header claims, in seconds."""

    path: Path
    seconds: float


Message = Opened | Clip | Done | Failed | Queued


def read_video(
    path: Path,
    segment_length: float,
    num_frames: int,
    view: View | int,
    sampling: Sampling = DEFAULT_SAMPLING,
    threads: int | None = None,
    overlap: bool = False,
    device: str = "",
) -> Iterator[Message]:
    """Reads a video, on `device` if one is named; yields its messages, for `decode_ahead`.

    Raises UnreadableVideo and OSError."""
    digest = fingerprint(path)
    info = probe(path)
    segments = split_segments(info.duration, segment_length, info.start)
    yield Opened(path, digest, info, add_between(segments) if overlap else segments)
    clips = read_clips(path, segments, num_frames, view, sampling, threads, device)
    half = num_frames // 2
    before: Sample | None = None
    count, time_error = 0, 0.0
    while True:
        try:
            sample = next(clips)
        except StopIteration as ended:
            until: float | None = ended.value
            break
        segment = segments[count]
        length = segment.end - segment.start
        if sampling != "exact":
            wanted = sample_times(segment, num_frames)
            time_error = max(time_error, float(np.abs(sample.times - wanted).max()))
        is_repeat = before is not None and is_one_picture(before.frames, sample.frames)
        if overlap and before:
            length /= 2
            frames, times = (np.concatenate([a[half:], b[:half]]) for a, b in zip(before, sample, strict=True))
            yield Clip(path, length, NO_FRAMES if is_repeat else frames, times, is_repeat)
        yield Clip(path, length, NO_FRAMES if is_repeat else sample.frames, sample.times, is_repeat)
        before = sample
        count += 1
    if not count:
        raise UnreadableVideo("is damaged: nothing but its first frame can be decoded")
    if time_error:
        log.info("%s: frames lie up to %.2f seconds from the times wanted", path, time_error)
    yield Done(path, until, round(time_error, 3))
