"""Reads the frames of plain files with decord. read.py decides which files those are.

Imported only where it is used, since the import takes as long as reading several minutes of video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vidfind.errors import ReaderFailed
from vidfind.media.frames import centre
from vidfind.media.probe import VideoInfo
from vidfind.media.sampling import TICK, Sample, Segment, View, sample_times
from vidfind.system.imports import without_nvidia

with without_nvidia():
    import decord.logging
    from decord import DECORDError, DECORDLimitReachedError, VideoReader

# As in frames.py: its messages on the screen would only be noise.
decord.logging.set_level(decord.logging.QUIET)

MAX_THREADS = 2  # with 8 or more, decord2 3.4 fails on AV1
DECORD_ERRORS = (DECORDError, DECORDLimitReachedError, RuntimeError, ValueError)


def read_samples(
    path: Path,
    info: VideoInfo,
    scaled: tuple[int, int],
    segments: Sequence[Segment],
    num_frames: int,
    view: View,
    threads: int | None = None,
) -> Iterator[Sample]:
    """Like `read.read_clips`, for a video with these properties, with pictures `scaled` to (width, height).

    Raises ReaderFailed."""
    try:
        yield from _read(path, info, scaled, segments, num_frames, view, min(threads or MAX_THREADS, MAX_THREADS))
    except DECORD_ERRORS as error:
        raise ReaderFailed(f"decord failed: {error}") from error


def _read(
    path: Path,
    info: VideoInfo,
    scaled: tuple[int, int],
    segments: Sequence[Segment],
    num_frames: int,
    view: View,
    threads: int,
) -> Iterator[Sample]:
    width, height = scaled
    # fault_tol: decord replaces each frame that it cannot decode by another, and raises from the third on.
    reader = VideoReader(str(path), width=width, height=height, num_threads=threads, fault_tol=2)
    times = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    times += info.start - times[0]
    if np.any(np.diff(times) < 0) or not -1 < info.duration - times[-1] < 1 + 2 * info.duration / len(times):
        raise ValueError("the times of its frames make no sense")
    for segment in segments:
        if segment.start >= info.duration:
            return
        wanted = np.array(sample_times(segment, num_frames)) + TICK
        numbers = np.maximum(np.searchsorted(times, wanted, side="right") - 1, 0)
        pictures = reader.get_batch(numbers).asnumpy()  # (T, H, W, 3)
        yield Sample(np.ascontiguousarray(centre(pictures, view.size)), times[numbers])
