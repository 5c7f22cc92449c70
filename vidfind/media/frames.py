"""Opens a video file with PyAV, and gives its packets, its decoded frames, and its pictures as a model sees them.

Owns everything that odd or broken files need. Knows nothing of segments, or of which frames are wanted.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.errors import UnreadableVideo
from vidfind.media.hdr import HDR_TO_LIGHT, to_sdr

log = logging.getLogger(__name__)

# FFmpeg reports broken files as exceptions too; its messages on the screen would only be noise.
av.logging.set_level(None)

MAX_BAD_READS = 100  # failed reads in a row before the rest of the file is given up
MAX_BLIND_PACKETS = 1000  # packets without a frame, half a minute of video, before a file is given up
MAX_GAP = 3600.0  # seconds between two frames; after a longer gap the clock was damaged or reset, and the video ends
MAX_REORDER = 16  # frames that an H.264 or HEVC decoder may hold back to put them in order
MAX_PIXEL_ASPECT = 4.0  # width divided by height of a pixel; a larger value is a mistake in the header
NOT_LOOKED_INTO: Any = [
    {"skip_frame": "all"}
]  # otherwise FFmpeg decodes a frame to learn its colours; PyAV's stub is wrong
PLAYLISTS = {"hls", "dash", "concat", "imf"}


# Opening -------------------------------------------------------------------------------------------------------------


def check_regular(path: Path) -> None:
    """Raises UnreadableVideo for anything but a regular file with content: a pipe, for instance, hangs every reader."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise UnreadableVideo(_why_not_there(path, error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableVideo("is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableVideo("is not a regular file (a pipe, a socket or a device)")
    if status.st_size == 0:
        raise UnreadableVideo("is empty (0 bytes)")


def _why_not_there(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "may not be read: no permission"
    if os.path.islink(path):
        return "is a link to a file that is not there"
    if isinstance(error, FileNotFoundError):
        return "is not there"
    return f"cannot be read: {error.strerror}"


@contextmanager
def open_video(
    path: Path, threads: int | None = None, is_quick: bool = False
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a file and gives its container and video stream, which decodes in `threads` (None: one for each core).

    `is_quick`: no frame is decoded until it is wanted, and edges between blocks are not smoothed, which does not show
    in a small picture. Raises UnreadableVideo.
    """
    check_regular(path)
    try:
        container = _open_container(path, is_quick)
    except av.error.PermissionError as error:
        raise UnreadableVideo("may not be read: no permission") from error
    except av.error.FFmpegError as error:
        raise UnreadableVideo(_why_not_opened(path, error)) from error
    with container:
        if container.format.name in PLAYLISTS:
            raise UnreadableVideo("is a list of other files, not a video")
        stream = _video_stream(container)
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        codec = stream.codec_context
        codec.thread_type, codec.thread_count = "AUTO", threads or 0
        if is_quick:
            codec.options = {"skip_loop_filter": "all"}
        yield container, stream


def _open_container(path: Path, is_quick: bool) -> InputContainer:
    try:
        return av.open(
            os.path.abspath(path),
            metadata_errors="replace",
            # A playlist that calls itself .mp4 must not make us fetch from the network.
            options={"protocol_whitelist": "file"},
            stream_options=NOT_LOOKED_INTO if is_quick else None,
        )
    except ValueError:  # the container describes its streams only after some packets
        if not is_quick:
            raise
        return _open_container(path, is_quick=False)


def _why_not_opened(path: Path, error: av.error.FFmpegError) -> str:
    with suppress(OSError), open(path, "rb") as file:
        if file.read(8)[4:] == b"ftyp":
            return "is incomplete: its recording or copying stopped before the list of its frames (moov) was written"
    return f"is not a video, or is damaged at its start ({error.strerror})"


def _video_stream(container: InputContainer) -> VideoStream:
    videos = [s for s in container.streams.video if s.codec_context is not None]
    moving = [s for s in videos if not s.disposition & Disposition.attached_pic]
    if moving:
        best = container.streams.best("video")  # decord chooses this one too if there are several
        return next((s for s in moving if s is best), moving[0])
    if videos:
        raise UnreadableVideo("has sound and a cover picture, but no video")
    if container.streams.video:
        raise UnreadableVideo("holds video of a kind that cannot be decoded here")
    if container.streams.audio:
        raise UnreadableVideo("has sound, but no video")
    raise UnreadableVideo("has no video in it")


# Packets and frames ---------------------------------------------------------------------------------------------------


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yields the packets of a stream from the current position, skipping places that cannot be read."""
    bad_reads = 0
    while bad_reads < MAX_BAD_READS:
        try:
            for packet in container.demux(stream):
                if packet.size:  # decode_frames sends the empty packet at the end itself
                    bad_reads = 0
                    yield packet
            return
        except (av.error.FFmpegError, IndexError) as error:  # IndexError: a stream that is not in the header
            bad_reads += 1
            log.debug("%s: %s", container.name, error)


def decode_frames(packets: Iterable[Packet[VideoStream]], stream: VideoStream) -> Iterator[VideoFrame]:
    """Yields the frames of packets in the order they are shown; skips those that cannot be decoded."""
    blind = 0
    for packet in chain(packets, [None]):  # None: flush the decoder
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError as error:
            log.debug("%s: %s", stream.container.name, error)
            frames = []
        blind = 0 if frames else blind + 1
        if blind > MAX_BLIND_PACKETS:
            return
        yield from frames


def first_frame(packets: Iterable[Packet[VideoStream]], stream: VideoStream) -> VideoFrame:
    for frame in decode_frames(packets, stream):
        return frame
    raise UnreadableVideo("is damaged: no frame of it can be decoded")


def time_of(thing: VideoFrame | Packet[VideoStream], stream: VideoStream) -> float | None:
    """Returns when a frame or packet is shown, in seconds on the stream's clock; None if that is unknown."""
    stamp = thing.pts if thing.pts is not None else thing.dts
    return None if stamp is None or stream.time_base is None else float(stamp * stream.time_base)


def seek(container: InputContainer, stream: VideoStream, time: float) -> bool:
    """Seeks the keyframe before `time`, in seconds on the stream's clock; returns False if the file cannot seek."""
    try:
        container.seek(int(time / (stream.time_base or 1)), stream=stream)
    except av.error.FFmpegError as error:
        log.debug("%s: %s", container.name, error)
        return False
    return True


def frame_rate(stream: VideoStream) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    return Fraction(rate) if rate and rate * MAX_GAP >= 1 else Fraction(25)


# Pictures ------------------------------------------------------------------------------------------------------------


def shown_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Returns width and height of the picture as shown: rotated, and with square pixels."""
    aspect = float(stream.sample_aspect_ratio or 1)
    width, height = frame.width, frame.height
    if 1 < aspect <= MAX_PIXEL_ASPECT:
        width = round(width * aspect)
    elif 1 / MAX_PIXEL_ASPECT <= aspect < 1:
        height = round(height / aspect)
    return (height, width) if frame.rotation % 180 else (width, height)


def scaled_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Returns width and height of a picture that is scaled so that its short side is `size`."""
    short = min(width, height)
    return max(size, round(width * size / short)), max(size, round(height * size / short))


def centre(pictures: np.ndarray, size: int) -> np.ndarray:
    """Cuts out the middle of one picture or many: (..., H, W, 3) to (..., S, S, 3)."""
    top, left = (pictures.shape[-3] - size) // 2, (pictures.shape[-2] - size) // 2
    return pictures[..., top : top + size, left : left + size, :]


def picture(frame: VideoFrame, stream: VideoStream, size: int) -> np.ndarray:
    """Returns a decoded frame as the model sees it: rotated, scaled and cut; (S, S, 3) uint8."""
    width, height = scaled_size(*shown_size(frame, stream), size)
    if frame.rotation % 180:
        width, height = height, width
    is_hdr = frame.color_trc in HDR_TO_LIGHT
    pixels = "rgb48le" if is_hdr else "rgb24"
    array = frame.reformat(width, height, pixels, interpolation="BICUBIC").to_ndarray()
    array = centre(np.rot90(array, frame.rotation // 90), size)
    return np.ascontiguousarray(to_sdr(array, frame.color_trc) if is_hdr else array)
