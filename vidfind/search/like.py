"""Searching with a picture or a moment of a video instead of words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from vidfind.errors import BadInput, UnreadableVideo
from vidfind.media.sampling import SEGMENT_LENGTH, Segment
from vidfind.system.times import parse_time

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder


def like_vector(
    encoder: Encoder, path: Path, time: float | None = None, segment_length: float = SEGMENT_LENGTH
) -> npt.NDArray[np.float32]:
    """A picture, or a video around `time` (the whole of it without one), as a query -> (D,).

    Raises BadInput for a file that is neither, and for a time outside the video."""
    try:
        clip = _example_clip(encoder, path, time, segment_length)
    except UnreadableVideo as error:
        raise BadInput(f"{path} {error}") from error
    vector: npt.NDArray[np.float32] = encoder.encode_video(clip[np.newaxis])[0].numpy()
    return vector


class Example(NamedTuple):
    """A file to look for the like of; `time` in seconds, None for all of a video."""

    file: Path
    time: float | None = None


def parse_like(text: str) -> Example:
    """`FILE` or `FILE@TIME` as an example; TIME is `83`, `1:23`, `1:02:03.5`.

    A file whose name has an `@` is taken as it is if it exists. Raises BadInput."""
    whole = Path(text)
    if whole.exists():
        return Example(whole)
    name, at, time = text.rpartition("@")
    if not at or not name:
        raise BadInput(f"There is no file {text}")
    try:
        seconds = parse_time(time)
    except ValueError as error:
        raise BadInput(f"{time!r} is not a time: write 83, 1:23 or 1:02:03 after the @.") from error
    if not Path(name).exists():
        raise BadInput(f"There is no file {name}")
    return Example(Path(name), seconds)


def _example_clip(
    encoder: Encoder, path: Path, time: float | None, segment_length: float
) -> npt.NDArray[np.uint8]:  # (T, S, S, 3)
    from vidfind.media.decoding import read_clip, read_picture
    from vidfind.media.read import is_picture

    if is_picture(path):
        if time is not None:
            raise BadInput(f"{path} is a picture: it has no moment at {time:g} seconds.")
        return read_picture(path, encoder.num_frames, encoder.image_size)
    segment = _segment_around(path, time, segment_length)
    return read_clip(path, segment, encoder.num_frames, encoder.image_size)


def _segment_around(path: Path, time: float | None, length: float) -> Segment:
    from vidfind.media.decoding import probe

    info = probe(path)
    begin, duration = info.start, info.duration
    if time is None:
        return Segment(begin, duration)
    if time < begin - length:
        raise BadInput(f"The picture of {path} begins at {begin:.1f} seconds: there is no moment at {time:g} seconds.")
    if time > duration:
        raise BadInput(f"{path} is only {duration:.1f} seconds long: there is no moment at {time:g} seconds.")
    start = max(begin, min(time - length / 2, duration - length))
    return Segment(start, min(start + length, duration))
