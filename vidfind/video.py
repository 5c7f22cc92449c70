"""One video file: what it is, its segments, and the frames of each segment.

All times are seconds of presentation time, and 0 is when the first decoded frame is shown. Knows nothing of models or
the index. Two readers deliver the same frames: decord, and a careful one over PyAV for the files decord gets wrong.
"""

import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.errors import UnreadableVideo

log = logging.getLogger(__name__)

av.logging.set_level(None)

TICK = 1e-6  # times closer than this are the same: far below any frame's length, far above rounding
MAX_BAD_READS = 100  # of the file in a row, before the rest of it is given up
MAX_BLIND_PACKETS = 1000  # without one frame among them, half a minute of video, before a file is given up
OLDEST_RECORDING = datetime(1990, 1, 2, tzinfo=UTC)  # earlier dates are clocks never set: 1904, 1970, 1980


@dataclass(frozen=True)
class VideoInfo:
    """What a video is. `width` and `height` are those of the picture shown: turned, and with square pixels.

    `duration` reaches to the end of the last frame that is really in the file, whatever its header says.
    `rotation` is how many degrees counter-clockwise the stored picture is turned to be shown: 0, 90, 180 or 270.
    """

    duration: float
    frame_rate: Fraction
    width: int
    height: int
    codec: str
    rotation: int
    created: datetime | None


@dataclass(frozen=True)
class Segment:
    """A stretch of a video, in seconds: from `start` up to `end`."""

    start: float
    end: float


def split_segments(duration: float, length: float) -> list[Segment]:
    """Segments of `length` seconds that cover a video without gaps; at least one.

    A last stretch shorter than half a segment joins the segment before it.
    """
    if duration <= 0 or length <= 0:
        raise ValueError("duration and length must be positive")
    count = max(1, int(duration / length + 0.5))
    bounds = [i * length for i in range(count)] + [duration]
    return [Segment(start, end) for start, end in pairwise(bounds)]


def sample_times(segment: Segment, num_frames: int) -> list[float]:
    """The middle of each of `num_frames` equal parts of a segment."""
    step = (segment.end - segment.start) / num_frames
    return [segment.start + (i + 0.5) * step for i in range(num_frames)]


def probe(path: Path) -> VideoInfo:
    """What the video is, from its header, its first frame and its last packets.

    Raises UnreadableVideo, with a reason for people, when no frame of the file can be decoded.
    """
    with _open(path) as (container, stream):
        frame = _first_frame(container, stream)
        start = _time(frame, stream) or 0.0
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        end = _last_end(container, stream, start)
        rotation = frame.rotation % 360
        width, height = _shown_size(frame, stream)
        return VideoInfo(
            duration=max(end - start, float(1 / rate)),
            frame_rate=Fraction(rate),
            width=width,
            height=height,
            codec=stream.codec_context.codec.canonical_name,
            rotation=rotation,
            created=_created(container, stream),
        )


def read_clips(path: Path, segments: Sequence[Segment], num_frames: int, size: int) -> Iterator[np.ndarray]:
    """A clip for each segment: (T, S, S, 3) uint8 RGB, from frames spread evenly over it.

    The short side of the picture is scaled to `size` and the middle is cut out. The segments must come in the order
    of their times. Holds one clip and a few decoded frames, however long the video. Ends early when the video ends,
    or cannot be decoded any further, before a segment begins. Raises UnreadableVideo when there is no frame at all.
    """
    if any(later.start < earlier.start for earlier, later in pairwise(segments)):
        raise ValueError("segments must be in the order of their times")
    yield from _read_carefully(path, segments, num_frames, size)


def read_picture(path: Path, size: int) -> np.ndarray:
    """The still image of a jpg, png or webp file: (S, S, 3) uint8, scaled and cut like a frame of a video.

    Raises UnreadableVideo.
    """
    with _open(path) as (container, stream):
        return _picture(_first_frame(container, stream), stream, size)


def write_video(path: Path, frames: Iterable[np.ndarray], frame_rate: int) -> None:
    """Write frames, (H, W, 3) uint8 RGB of an even height and width, as an H.264 mp4 file."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frame_rate, options={"preset": "veryfast", "crf": "20"})
        stream.pix_fmt = "yuv420p"
        for i, array in enumerate(frames):
            if i == 0:
                stream.height, stream.width = array.shape[:2]
            container.mux(stream.encode(VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())


# Opening -------------------------------------------------------------------------------------------------------------


def _check_regular(path: Path) -> None:
    """Raises UnreadableVideo for what no reader should be given: a pipe, for one, hangs all of them."""
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
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The opened file and its video stream. Raises UnreadableVideo."""
    _check_regular(path)
    try:
        container = av.open(
            os.path.abspath(path),
            metadata_errors="replace",
            # A playlist that calls itself .mp4 must not make us fetch from the network.
            options={"protocol_whitelist": "file"},
        )
    except av.error.PermissionError as error:
        raise UnreadableVideo("may not be read: no permission") from error
    except av.error.FFmpegError as error:
        raise UnreadableVideo(f"is not a video, or is damaged at its start ({error.strerror})") from error
    with container:
        stream = _video_stream(container)
        stream.thread_type = "AUTO"
        yield container, stream


def _video_stream(container: InputContainer) -> VideoStream:
    videos = [s for s in container.streams.video if s.codec_context is not None]
    moving = [s for s in videos if not s.disposition & Disposition.attached_pic]
    if moving:
        return moving[0]
    if videos:
        raise UnreadableVideo("has sound and a cover picture, but no video")
    if container.streams.video:
        raise UnreadableVideo("holds video of a kind that cannot be decoded here")
    if container.streams.audio:
        raise UnreadableVideo("has sound, but no video")
    raise UnreadableVideo("has no video in it")


# Packets and frames --------------------------------------------------------------------------------------------------


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Any]:
    """The packets of a stream from here on, past places where the file cannot be read."""
    bad_reads = 0
    while bad_reads < MAX_BAD_READS:
        try:
            for packet in container.demux(stream):
                if packet.size:  # the empty one at the end is ours to send
                    bad_reads = 0
                    yield packet
            return
        except av.error.FFmpegError as error:
            bad_reads += 1
            log.debug("%s: %s", container.name, error)


def _frames(packets: Iterable[Any], stream: VideoStream) -> Iterator[VideoFrame]:
    """The frames of packets in the order they are shown, without those that cannot be decoded."""
    blind = 0
    for packet in _then_flush(packets):
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError as error:
            log.debug("%s: %s", stream.container.name, error)
            frames = []
        blind = 0 if frames else blind + 1
        if blind > MAX_BLIND_PACKETS:
            return
        yield from frames


def _then_flush(packets: Iterable[Any]) -> Iterator[Any]:
    yield from packets
    yield None


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    for frame in _frames(_packets(container, stream), stream):
        return frame
    raise UnreadableVideo("is damaged: no frame of it can be decoded")


def _time(frame: VideoFrame, stream: VideoStream) -> float | None:
    """When a frame is shown, by the stream's clock."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    return None if stamp is None or stream.time_base is None else float(stamp * stream.time_base)


def _last_end(container: InputContainer, stream: VideoStream, start: float) -> float:
    """When the last frame ends, by the clock of the stream: from the last packets, or from all if need be."""
    base = float(stream.time_base or 0)
    claimed = (stream.duration or 0) * base or (container.duration or 0) / 1e6
    if claimed and base:
        try:
            container.seek(int((start + claimed) / base), stream=stream)
            end = _end_of_packets(container, stream, start)
            if end > start + claimed / 2:
                return end
        except av.error.FFmpegError as error:
            log.debug("%s: %s", container.name, error)
    try:
        container.seek(int(start / base), stream=stream)
    except av.error.FFmpegError as error:
        log.debug("%s: %s", container.name, error)
    return _end_of_packets(container, stream, start)


def _end_of_packets(container: InputContainer, stream: VideoStream, start: float) -> float:
    base = float(stream.time_base or 0)
    end = start
    for packet in _packets(container, stream):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and not packet.is_discard:
            end = max(end, (stamp + (packet.duration or 0)) * base)
    return end


def _created(container: InputContainer, stream: VideoStream) -> datetime | None:
    """When the video was recorded, as its metadata says; None if that is missing or cannot be true."""
    text = container.metadata.get("creation_time") or stream.metadata.get("creation_time") or ""
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return None
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    is_sane = OLDEST_RECORDING < created < datetime.now(UTC) + timedelta(days=2)
    return created.astimezone(UTC) if is_sane else None


# Pictures ------------------------------------------------------------------------------------------------------------


def _shown_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height of the picture as shown: turned, and with square pixels."""
    aspect = float(stream.sample_aspect_ratio or 1)
    width, height = frame.width, frame.height
    if aspect > 1:
        width = round(width * aspect)
    elif 0 < aspect < 1:
        height = round(height / aspect)
    return (height, width) if frame.rotation % 180 else (width, height)


def _scaled_size(width: int, height: int, size: int) -> tuple[int, int]:
    """The width and height of a picture scaled so that its short side is `size`."""
    short = min(width, height)
    return max(size, round(width * size / short)), max(size, round(height * size / short))


def _centre(picture: np.ndarray, size: int) -> np.ndarray:
    top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
    return picture[top : top + size, left : left + size]


def _picture(frame: VideoFrame, stream: VideoStream, size: int) -> np.ndarray:
    """A decoded frame as the model sees it: turned, scaled, cut; (S, S, 3) uint8."""
    width, height = _scaled_size(*_shown_size(frame, stream), size)
    if frame.rotation % 180:
        width, height = height, width
    array = frame.reformat(width, height, "rgb24", interpolation="BICUBIC").to_ndarray()
    return np.ascontiguousarray(_centre(np.rot90(array, frame.rotation // 90), size))


# The careful reader --------------------------------------------------------------------------------------------------


def _read_carefully(path: Path, segments: Sequence[Segment], num_frames: int, size: int) -> Iterator[np.ndarray]:
    with _open(path) as (container, stream):
        frames = _timed_frames(container, stream)
        shown, next_time = next(frames, (None, 0.0))
        if shown is None:
            raise UnreadableVideo("is damaged: no frame of it can be decoded")
        picture: np.ndarray | None = None
        upcoming = next(frames, None)
        last_end = 0.0
        for segment in segments:
            clip = np.empty((num_frames, size, size, 3), np.uint8)
            for i, time in enumerate(sample_times(segment, num_frames)):
                while upcoming is not None and upcoming[1] <= time + TICK:
                    shown, picture = upcoming[0], None
                    next_time = upcoming[1]
                    upcoming = next(frames, None)
                if picture is None:
                    picture = _picture(shown, stream, size)
                    last_end = next_time + float((shown.duration or 0) * (stream.time_base or 0))
                clip[i] = picture
            if upcoming is None and segment.start > 0 and segment.start >= last_end - TICK:
                return
            yield clip


def _timed_frames(container: InputContainer, stream: VideoStream) -> Iterator[tuple[VideoFrame, float]]:
    """Frames with the time each is shown, counted from the first."""
    start: float | None = None
    time = 0.0
    for frame in _frames(_packets(container, stream), stream):
        stamp = _time(frame, stream)
        if stamp is None:
            stamp = time + float(1 / (stream.average_rate or 25))
        if start is None:
            start = stamp
        time = stamp
        yield frame, stamp - start
