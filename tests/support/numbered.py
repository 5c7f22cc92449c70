"""The clips whose frames show their own numbers, and the numbers that frames read from them must show."""

import json
from bisect import bisect_right
from pathlib import Path

from tests.clips.make import CLIPS, HERE, read_number
from vidfind.media.read import read_clips
from vidfind.media.sampling import Segment, sample_times

SIZE = 112
"""Side in pixels of the frames that are read."""
TRUTH = json.loads((HERE / "truth.json").read_text())
"""By the name of a clip: the times of its frames in seconds, and the numbers they show."""
BROKEN = [name for name, clip in CLIPS.items() if clip.cut_at or clip.noise]
WHOLE = [name for name in TRUTH if name not in BROKEN]


def number_at(name: str, time: float) -> int:
    """The number a clip shows at a time."""
    times, numbers = TRUTH[name]["times"], TRUTH[name]["numbers"]
    return int(numbers[max(bisect_right(times, time + 1e-6) - 1, 0)])


def numbers_wanted(name: str, segments: list[Segment], num_frames: int = 12) -> list[list[int]]:
    """For each segment the numbers that its sampled frames must show."""
    return [[number_at(name, time) for time in sample_times(segment, num_frames)] for segment in segments]


def numbers_read(path: Path, segments: list[Segment], num_frames: int = 12) -> list[list[int | None]]:
    """For each segment the numbers that its sampled frames show; None where one cannot be read."""
    return [[read_number(frame) for frame in clip] for clip, _ in read_clips(path, segments, num_frames, SIZE)]
