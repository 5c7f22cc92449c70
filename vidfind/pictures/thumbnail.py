"""A small picture of a video near a time: upright, in the colours that players show, in tens of milliseconds.

Times are in seconds on the clock of moments.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vidfind.errors import UnreadableVideo

if TYPE_CHECKING:
    import numpy as np

SIZE = 320
"""Pixels of the long side: some 15 KB."""
NEAR = 5.0
"""Seconds: so far is the middle of a segment from its start, as segments are by default."""
QUALITY = 82
"""Of a JPEG; above it, small pictures get larger and look the same."""


def thumbnail(path: Path, time: float, size: int = SIZE, near: float = NEAR) -> bytes:
    """Returns a JPEG of a frame of a video near a time, or of a picture; its long side is at most `size` pixels.

    The frame is shown at most `near` seconds before `time`: the last keyframe, if it is so near, else the first frame
    in these seconds, which takes least to decode. `near=0` gives the frame shown at `time`. A time after the end gives
    the last frame. Nothing is made larger. Threads may call it at the same time.

    Raises UnreadableVideo, whose text is a reason that follows the name of the file: `{path} {error}.`
    """
    from vidfind.media.frames import check_regular
    from vidfind.media.read import is_picture, read_frame, read_whole_picture  # only here: PyAV takes time

    if size < 1 or not math.isfinite(time) or not near >= 0:
        raise ValueError(f"there is no picture of size {size} at {time} s, near {near} s")
    check_regular(path)  # a pipe would be waited for
    try:
        return to_jpeg(read_whole_picture(path, size) if is_picture(path) else read_frame(path, time, near, size))
    except OSError as error:
        raise UnreadableVideo(f"cannot be read: {error.strerror or error}") from error


class Shot(NamedTuple):
    """A picture that is wanted: of which video, and of which time in it, as `thumbnail` takes them."""

    path: Path
    fingerprint: str
    time: float
    near: float = NEAR
    is_there: bool = True
    """Whether the file is there; if not, it is not looked for, which may take minutes on a share that is gone."""


def shot_of(path: Path, fingerprint: str, start: float, end: float, best: float, is_there: bool = True) -> Shot:
    """Returns the picture of a moment from `start` to `end`: near its best time, or its middle if that is outside."""
    time = best if start <= best <= end else (start + end) / 2
    return Shot(path, fingerprint, time, min(NEAR, time - start), is_there)


def to_jpeg(array: np.ndarray) -> bytes:
    """Returns the JPEG of a picture (H, W, 3) uint8."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
