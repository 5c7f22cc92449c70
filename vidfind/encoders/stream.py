"""Videos to vectors: a stream of encoded videos, made while more of them are decoded.

Joins decoding and encoders, and knows nothing of an index: whatever else encodes videos can yield the same events.
Times are in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfind.media.decoding import decode_ahead
from vidfind.media.hardware import DEFAULT_DECODER, Decoder
from vidfind.media.messages import Clip, Done, Message, Opened, Queued
from vidfind.media.probe import VideoInfo
from vidfind.media.sampling import DEFAULT_SAMPLING, MISSING, Sampling, Segment
from vidfind.system.machine import parallel_map

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

Vectors = list[npt.NDArray[np.float32]]
"""One array (N, D) for each encoder: a vector of unit length for each of N clips."""


@dataclass(frozen=True)
class EncodedVideo:
    """A video, and the vectors of its segments. Of a damaged one, only the segments that could be read."""

    path: Path
    fingerprint: str
    """Equal for files with the same contents."""
    info: VideoInfo
    segments: list[Segment]
    """The N segments that were encoded, in the order of their times."""
    vectors: Vectors
    lost_segments: int = 0
    """Number of segments at the end that could not be read."""
    readable_until: float | None = None
    """The time from which on a damaged video cannot be decoded; None if it was decoded to its end."""
    time_error: float = 0.0
    """The largest distance of a frame taken from the time wanted, where keyframes were taken instead."""


@dataclass(frozen=True)
class FailedVideo:
    """A video that could not be encoded."""

    path: Path
    reason: str
    """Follows the video's name in a sentence: "is not a video"."""
    try_again: bool
    """Whether the disk or the permissions were at fault, not what is in the file."""


@dataclass(frozen=True)
class Progress:
    """The progress of the encoding."""

    path: Path
    """The video at work."""
    done_seconds: float
    """Length of the segments encoded so far."""
    total_seconds: float
    """Length of all videos."""
    done_files: int
    total_files: int
    is_estimate: bool = False
    """Whether the length of some videos is not known yet."""
    nodes: int = 0
    """Number of machines of a cluster that encode; 0: this machine does."""


def encode_videos(
    paths: Sequence[Path],
    encoders: Sequence[Encoder],
    segment_length: float,
    workers: int | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    overlap: bool = False,
    decoder: Decoder = DEFAULT_DECODER,
    threads: int | None = None,
) -> Generator[EncodedVideo | FailedVideo | Progress]:
    """Decodes and encodes videos; yields each as soon as it is done, in any order, and Progress now and then.

    >>> from pathlib import Path
    >>> from vidfind import EncodedVideo, encode_videos, load_encoder
    >>> for event in encode_videos([Path("Videos/clip-01.mp4")], [load_encoder("tiny")], segment_length=2.0):
    ...     if isinstance(event, EncodedVideo):
    ...         print(event.path.name, len(event.segments), event.vectors[0].shape)
    clip-01.mp4 2 (2, 128)

    Close the generator to stop early.

    Arguments:
        paths: the videos, each once.
        encoders: one or more that look at the same frames: each clip is decoded once for all of them.
        segment_length: in seconds.
        workers: number of processes that decode; None: one for each core, 2 to 8.
        sampling: which frames stand for a segment.
        overlap: put one more segment between each two, which overlaps both by half.
        decoder: what decodes the videos; see `media/hardware.py`.
        threads: number of threads of each such process; None: as many as keep all cores busy.

    Raises DeviceMissing for `hardware` without a device, and ModelUnavailable, as `Encoder.encode_video` does."""
    open_videos: dict[Path, _OpenVideo] = {}
    totals = Totals({path: _size(path) for path in paths})
    at_work: Path | None = None
    with closing(
        encode_ahead(paths, segment_length, encoders, workers, sampling, overlap, decoder, threads)
    ) as batches:
        for batch, encoded in batches:
            vectors = zip(*encoded, strict=True)  # for each clip, one from each encoder
            for message in batch:
                path = message.path
                if isinstance(message, Queued):
                    totals.waits(path, message.seconds)
                    continue
                if isinstance(message, Opened):
                    open_videos[path] = _OpenVideo(message)
                    totals.opened(path, message.info.duration)
                elif isinstance(message, Clip):
                    video = open_videos[path]
                    video.vectors.append(video.vectors[-1] if message.is_repeat else next(vectors))
                    totals.done_seconds += message.seconds
                elif isinstance(message, Done):
                    video = open_videos.pop(path)
                    totals.ended(path, video.seconds_left)
                    yield video.encoded(message)
                else:
                    totals.ended(path, open_videos.pop(path).seconds_left if path in open_videos else 0.0)
                    yield FailedVideo(path, message.reason, message.try_again)
                at_work = path
            if at_work:
                yield totals.progress(at_work)


@dataclass
class _OpenVideo:
    """A video of which some clips have been encoded."""

    opened: Opened
    vectors: list[tuple[npt.NDArray[np.float32], ...]] = field(default_factory=list)
    """For each segment done, one (D,) from each encoder."""

    @property
    def seconds_left(self) -> float:
        segments, count = self.opened.segments, len(self.vectors)
        return segments[-1].end - (segments[count - 1].end if count else segments[0].start)

    def encoded(self, done: Done) -> EncodedVideo:
        opened, count = self.opened, len(self.vectors)
        segments, until = opened.segments[:count], done.until
        if until is not None and segments[-1].start < until:
            segments = [  # nothing is shown after that
                Segment(one.start, until) if until < one.end - MISSING else one for one in segments
            ]
        return EncodedVideo(
            opened.path,
            opened.fingerprint,
            opened.info,
            segments,
            [np.stack(of_encoder) for of_encoder in zip(*self.vectors, strict=True)],
            lost_segments=len(opened.segments) - count,
            readable_until=done.until,
            time_error=done.time_error,
        )


class Totals:
    """Counts for Progress.

    The length of a video that waits is what its header claims; until that is known, an estimate from its size in bytes,
    by the ratio of those that are known."""

    def __init__(self, sizes: dict[Path, int]) -> None:
        self.done_seconds = 0.0
        self._sizes, self._done_files = sizes, 0
        self._unknown_bytes, self._known_bytes = sum(sizes.values()), 0
        self._unknown = set(sizes)
        self._claimed: dict[Path, float] = {}
        """Lengths of videos that wait, in seconds."""
        self._claimed_seconds, self._opened_seconds = 0.0, 0.0

    def waits(self, path: Path, seconds: float) -> None:
        """A video that is not opened yet has this length by its header; 0: the header has none."""
        if seconds > 0 and path in self._unknown:
            self._know(path)
            self._claimed[path] = seconds
            self._claimed_seconds += seconds

    def opened(self, path: Path, seconds: float) -> None:
        self._know(path)
        self._claimed_seconds -= self._claimed.pop(path, 0.0)
        self._opened_seconds += seconds

    def ended(self, path: Path, seconds_left: float) -> None:
        """A video is done, or failed: `seconds_left` of it are not encoded."""
        self._done_files += 1
        if path in self._unknown:  # it could not be opened
            self._unknown.remove(path)
            self._unknown_bytes -= self._sizes[path]
        self._claimed_seconds -= self._claimed.pop(path, 0.0)
        self._opened_seconds -= seconds_left

    def progress(self, path: Path) -> Progress:
        known = self._opened_seconds + self._claimed_seconds
        estimate = self._unknown_bytes * known / self._known_bytes if self._known_bytes else 0.0
        files = len(self._sizes)
        return Progress(
            path, self.done_seconds, known + estimate, self._done_files, files, is_estimate=bool(self._unknown)
        )

    def _know(self, path: Path) -> None:
        if path in self._unknown:
            self._unknown.remove(path)
            self._unknown_bytes -= self._sizes[path]
            self._known_bytes += self._sizes[path]


def _size(path: Path) -> int:
    with suppress(OSError):  # reported when it is decoded
        return os.stat(path).st_size
    return 0


def encode_ahead(
    paths: Sequence[Path],
    segment_length: float,
    encoders: Sequence[Encoder],
    workers: int | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    overlap: bool = False,
    decoder: Decoder = DEFAULT_DECODER,
    threads: int | None = None,
) -> Generator[tuple[list[Message], Vectors]]:
    """Yields the batches of `decode_ahead`, each with the vectors of its clips that are no repeats, from each encoder.

    Close the generator to stop early. Raises ModelUnavailable, as `Encoder.encode_video` does."""
    first = encoders[0]
    decoding = decode_ahead(
        paths,
        segment_length,
        first.num_frames,
        first.view,
        workers,
        sampling,
        first.batch_size,
        overlap,
        decoder,
        threads,
    )

    def encode(batch: list[Message]) -> Vectors:
        frames = [message.frames for message in batch if isinstance(message, Clip) and not message.is_repeat]
        if not frames:
            return [np.empty((0, encoder.dim), np.float32) for encoder in encoders]
        clips = np.stack(frames)
        return [encoder.encode_video(clips).numpy() for encoder in encoders]

    with closing(decoding) as batches, closing(parallel_map(encode, batches, first.lanes)) as encoded:
        yield from encoded
