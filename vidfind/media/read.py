"""Reads the frames of each segment of a video file with the fastest reader that is right for the file.

All times are seconds on the clock that players show, see clock.py. Knows no model and no index.
decord and PyAV deliver the same frames; PyAV is slower, and right for the files that decord gets wrong.
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
    """Yields a sample of each segment: T frames of (S, S, 3), uint8, chosen as `sampling` says.

    The short side of each picture is scaled to `size`, and its middle is cut out. `segments` must be in the order of
    their times. Memory holds one sample and a few decoded frames, however long the video is. Yields fewer samples if
    the video ends, or cannot be decoded further, before a segment begins. Returns the time up to which it could be
    decoded, or None if that is the end of the last segment. Raises UnreadableVideo if there is no frame at all.
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
                samples = read_by_keyframes(path, traits, segments, num_frames, size, sampling, threads or 1)
            for sample in samples:
                yield sample
                delivered += 1
            return None
        except ReaderFailed as error:
            log.info("%s: reading it again with PyAV: %s", path, error)
    return (yield from read_with_pyav(path, segments[delivered:], num_frames, size, threads, traits.orientation))


def read_picture(path: Path, size: int) -> np.ndarray:
    """Returns the picture of a jpg, png or webp file: (S, S, 3) uint8, scaled and cut like a frame of a video.

    Raises UnreadableVideo.
    """
    try:
        with open_video(path) as (container, stream):
            return picture(first_frame(read_packets(container, stream), stream), stream, size)
    except UnreadableVideo as error:
        raise UnreadableVideo(f"cannot be read as a picture: it {error}".replace("a video", "a picture")) from error


# In these formats keyframes are marked reliably, and decoding can begin at each of them.
SURE_CONTAINERS = {"mov", "matroska", "mpegts", "flv"}
SURE_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4", "prores", "mjpeg", "flv1"}


def is_sure_of_keyframes(traits: Traits) -> bool:
    """Whether the keyframe reader may try a file. It gives up by itself if the file is odd."""
    is_known = not SURE_CONTAINERS.isdisjoint(traits.container.split(",")) and traits.codec in SURE_CODECS
    return is_known and not traits.has_edits and not traits.is_cut_short


# decord reads the kinds of files for which decord2 3.4 was right with every clip of tests/clips, and PyAV reads all
# others. tests/clips/README.md has the results clip by clip.
DECORD_CONTAINERS = {"mov", "matroska", "flv", "gif"}  # TS: exceptions and hangs; AVI, MPEG-PS: no times; WMV: 24 off
DECORD_CODECS = {"h264", "vp8", "vp9", "av1", "prores", "mjpeg", "gif", "flv1"}  # MPEG-4: 2 off; HEVC: exceptions
NOT_FOR_DECORD: dict[str, Callable[[Traits], bool]] = {
    "container": lambda traits: DECORD_CONTAINERS.isdisjoint(traits.container.split(",")),
    "codec": lambda traits: traits.codec not in DECORD_CODECS,
    "HDR": lambda traits: traits.is_hdr,  # decord does not map the brightness: washed out
    "edit list": lambda traits: traits.has_edits,  # up to 15 frames off: decord shows what was cut away
    "open GOP": lambda traits: traits.has_open_keyframes,  # up to 5 frames off: decord counts broken leading frames
    "cut short": lambda traits: traits.is_cut_short,  # exceptions, or the last frame again and again
    "joined": lambda traits: traits.clock.is_joined,  # decord does not let the time go on
    "no length": lambda traits: traits.has_no_length,  # exceptions
    "display matrix": lambda traits: traits.has_matrix,  # mirrored pictures are shown as they are stored
}


def choose_reader(traits: Traits, sampling: Sampling = "exact") -> Literal["keyframes", "decord", "pyav"]:
    """Returns the fastest reader that delivers the right frames of a file with these traits."""
    if sampling != "exact" and is_sure_of_keyframes(traits):
        return "keyframes"
    return "pyav" if any(is_wrong(traits) for is_wrong in NOT_FOR_DECORD.values()) else "decord"


# The readers ---------------------------------------------------------------------------------------------------------


def read_with_decord(
    path: Path, info: VideoInfo, segments: Sequence[Segment], num_frames: int, size: int, threads: int | None = None
) -> Iterator[Sample]:
    """Like `read_clips`, for files that decord reads right. Raises ReaderFailed, also if decord cannot be imported."""
    try:
        from vidfind.media import decord_reader
    except (ImportError, OSError, RuntimeError) as error:  # OSError: one of its own libraries cannot be loaded
        raise ReaderFailed(f"decord cannot be imported: {error}") from error

    scaled = scaled_size(info.width, info.height, size)
    yield from decord_reader.read_samples(path, info, scaled, segments, num_frames, size, threads)
