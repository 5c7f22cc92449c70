"""The vectors of pictures and videos that a search looks for the like of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfind.errors import BadInput, UnreadableVideo
from vidfind.media.sampling import SEGMENT_LENGTH, Segment
from vidfind.search.kept import Vector
from vidfind.search.moments import Asked
from vidfind.search.question.expression import Example
from vidfind.store.store import Store
from vidfind.system.machine import one_thread
from vidfind.system.times import clock

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
    with one_thread():
        vector: npt.NDArray[np.float32] = encoder.encode_video(clip[np.newaxis])[0].numpy()
    return vector


def stored_example(store: Store, example: Example) -> tuple[Vector, Asked] | None:
    """The stored vector (D,) of a moment of an indexed video, and its segment; None for what is not indexed.

    Needs no file. Raises BadInput for a time outside the video."""
    from vidfind.store.select import find_content  # only here: Arrow's functions take time

    path, time = example
    content = find_content(store, path) if time is not None else None
    if content is None or time is None:
        return None
    [video, *_] = store.videos_of([content])
    batches = [(spans, vectors) for _, spans, vectors in store.segments([content]) if len(spans)]
    if not batches:
        return None
    spans, vectors = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    starts, ends = spans.T
    away = np.maximum(np.maximum(starts - time, time - ends), 0.0)
    best = int(np.lexsort((abs(starts + ends - 2 * time), away))[0])
    if time > video.duration:
        raise _after_the_end(path, video.duration, time)
    if time < starts.min() - store.settings.segment_length:
        raise _before_the_picture(path, starts.min(), time)
    if away[best] > store.settings.segment_length:
        raise BadInput(f"The index holds nothing of {path} at {_shown(time)}.")
    middle, length = float(starts[best] + ends[best]) / 2, float(ends[best] - starts[best])
    asked = Asked(frozenset(store.contents_like(video.fingerprint)), middle, length)
    return vectors[best] / np.linalg.norm(vectors[best]), asked


def _example_clip(
    encoder: Encoder, path: Path, time: float | None, segment_length: float
) -> npt.NDArray[np.uint8]:  # (T, S, S, 3)
    from vidfind.media.decoding import read_clip, read_picture
    from vidfind.media.read import is_picture

    if is_picture(path):
        if time is not None:
            raise BadInput(f"{path} is a picture: it has no moment at {_shown(time)}.")
        return read_picture(path, encoder.num_frames, encoder.view)
    segment = _segment_around(path, time, segment_length)
    return read_clip(path, segment, encoder.num_frames, encoder.view)


def _segment_around(path: Path, time: float | None, length: float) -> Segment:
    from vidfind.media.decoding import probe

    info = probe(path)
    begin, duration = info.start, info.duration
    if time is None:
        return Segment(begin, duration)
    if time < begin - length:
        raise _before_the_picture(path, begin, time)
    if time > duration:
        raise _after_the_end(path, duration, time)
    start = max(begin, min(time - length / 2, duration - length))
    return Segment(start, min(start + length, duration))


def _after_the_end(path: Path, duration: float, time: float) -> BadInput:
    return BadInput(f"{path} is only {_shown(duration, '.1f')} long: there is no moment at {_shown(time)}.")


def _before_the_picture(path: Path, begin: float, time: float) -> BadInput:
    return BadInput(f"The picture of {path} begins at {_shown(begin, '.1f')}: there is no moment at {_shown(time)}.")


def _shown(seconds: float, form: str = "g") -> str:
    """Returns a time as people type it, such as `9:07` or `9:07.5`; below a minute in seconds, in this format."""
    if seconds < 60:
        return f"{seconds:{form}} seconds"
    tenth = int(seconds * 10) % 10
    return clock(seconds) + (f".{tenth}" if tenth else "")
