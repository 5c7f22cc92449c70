"""One video file: what it is, its segments, and the frames of each segment.

All times are seconds of presentation time, and 0 is when the first decoded frame is shown. Knows nothing of models or
the index. Two readers deliver the same frames: decord, and a careful one over PyAV for the files decord gets wrong.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from vidfind.errors import ReaderFailed, UnreadableVideo
from vidfind.media.frames import (
    first_frame,
    open_video,
    picture,
    read_packets,
    scaled_size,
)
from vidfind.media.keyframe_reader import read_by_keyframes
from vidfind.media.probe import Traits, VideoInfo, examine_once
from vidfind.media.pyav_reader import read_with_pyav
from vidfind.media.sampling import Sample, Sampling, Segment

log = logging.getLogger(__name__)


def read_clips(
    path: Path,
    segments: Sequence[Segment],
    num_frames: int,
    size: int,
    sampling: Sampling = "exact",
    threads: int | None = None,
) -> Generator[Sample, None, float | None]:
    """A sample of each segment: T frames of (S, S, 3), spread evenly over it, or as `sampling` says.

    The short side of the picture is scaled to `size` and the middle is cut out. The segments must come in the order
    of their times. Holds one sample and a few decoded frames, however long the video. Ends early when the video ends,
    or cannot be decoded any further, before a segment begins. Returns until when it could be decoded, if that was not
    to the end of the last segment. Raises UnreadableVideo when there is no frame at all.
    """
    if any(later.start < earlier.start for earlier, later in pairwise(segments)):
        raise ValueError("segments must be in the order of their times")
    info, traits = examine_once(path)
    reader = choose_reader(traits, sampling)
    delivered = 0
    if reader != "pyav":
        try:
            if reader == "decord":
                samples = read_with_decord(path, info, segments, num_frames, size, threads)
            else:
                samples = read_by_keyframes(path, traits.start, segments, num_frames, size, sampling, threads or 1)
            for sample in samples:
                yield sample
                delivered += 1
            return None
        except ReaderFailed as error:
            log.info("%s: reading it more carefully: %s", path, error)
    return (yield from read_with_pyav(path, segments[delivered:], num_frames, size, threads))


def read_picture(path: Path, size: int) -> np.ndarray:
    """The still image of a jpg, png or webp file: (S, S, 3) uint8, scaled and cut like a frame of a video.

    Raises UnreadableVideo.
    """
    try:
        with open_video(path) as (container, stream):
            return picture(first_frame(read_packets(container, stream), stream), stream, size)
    except UnreadableVideo as error:
        raise UnreadableVideo(f"cannot be read as a picture: it {error}".replace("a video", "a picture")) from error


# Files of which keyframes are where they should be, and whose decoders can begin at any of them.
SURE_CONTAINERS = {"mov", "matroska", "mpegts", "flv"}
SURE_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4", "prores", "mjpeg", "flv1"}


def is_sure_of_keyframes(traits: Traits) -> bool:
    """Whether a file may be read by its keyframes alone; if not all is well with it, that reader itself gives up."""
    is_known = not SURE_CONTAINERS.isdisjoint(traits.container.split(",")) and traits.codec in SURE_CODECS
    return is_known and not traits.has_edits and not traits.is_cut_short


# decord is used where it was right for every clip of tests/clips, and PyAV for all else, because of what decord2 3.4
# did there. tests/clips/README.md has the results clip by clip.
DECORD_CONTAINERS = {"mov", "matroska", "flv", "gif"}  # TS: exceptions and hangs; AVI, MPEG-PS: no times; WMV: 24 off
DECORD_CODECS = {"h264", "vp8", "vp9", "av1", "prores", "mjpeg", "gif", "flv1"}  # MPEG-4: 2 off; HEVC: exceptions
NOT_FOR_DECORD: dict[str, Callable[[Traits], bool]] = {
    "container": lambda traits: DECORD_CONTAINERS.isdisjoint(traits.container.split(",")),
    "codec": lambda traits: traits.codec not in DECORD_CODECS,
    "HDR": lambda traits: traits.is_hdr,  # decord takes the brightness as it is: washed out
    "edit list": lambda traits: traits.has_edits,  # up to 15 frames off: shows what was cut away
    "open GOP": lambda traits: traits.has_open_keyframes,  # up to 5 frames off: counts from broken leading frames
    "cut short": lambda traits: traits.is_cut_short,  # exceptions, or the last frame over and over
    "no length": lambda traits: traits.has_no_length,  # exceptions
}


def choose_reader(traits: Traits, sampling: Sampling = "exact") -> Literal["keyframes", "decord", "pyav"]:
    """The reader that delivers the right frames of such a file; the quicker one where several do."""
    if sampling != "exact" and is_sure_of_keyframes(traits):
        return "keyframes"
    return "pyav" if any(is_wrong(traits) for is_wrong in NOT_FOR_DECORD.values()) else "decord"


# The readers ---------------------------------------------------------------------------------------------------------


def read_with_decord(
    path: Path, info: VideoInfo, segments: Sequence[Segment], num_frames: int, size: int, threads: int | None = None
) -> Iterator[Sample]:
    """As read_clips, for the files decord is right for. Raises ReaderFailed, also where decord cannot be imported."""
    try:
        from vidfind.media import decord_reader
    except (ImportError, OSError, RuntimeError) as error:  # OSError: of a library of its own that cannot be loaded
        raise ReaderFailed(f"decord cannot be imported: {error}") from error

    scaled = scaled_size(info.width, info.height, size)
    yield from decord_reader.read_samples(path, info.duration, scaled, segments, num_frames, size, threads)
