"""One video file: what it is, its segments, and the frames of each segment.

All times are seconds of presentation time, and 0 is when the first decoded frame is shown. Knows nothing of models or
the index. Two readers deliver the same frames: decord, and a careful one over PyAV for the files decord gets wrong.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import logging
import os
import re
import stat
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import chain, dropwhile, pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.errors import UnreadableVideo
from vidfind.hdr import HDR_TO_LIGHT, to_sdr

# decord2 3.4 loads every CUDA library that pip has installed, for all of the process to use: one of them, libnvblas,
# takes over the matrix products of the CPU and ends the process. It looks for them in the package nvidia, and needs
# none; so that package is out of sight while it is imported.
_nvidia = sys.modules.get("nvidia")
sys.modules["nvidia"] = None  # type: ignore[assignment]  # what the import system takes for "not there"
try:
    import decord.logging
    from decord import DECORDError, DECORDLimitReachedError, VideoReader
finally:
    del sys.modules["nvidia"]
    if _nvidia:
        sys.modules["nvidia"] = _nvidia

log = logging.getLogger(__name__)

# Their words about broken files come back as exceptions; on the screen they would only be noise.
av.logging.set_level(None)
decord.logging.set_level(decord.logging.QUIET)

TICK = 1e-6  # times closer than this are the same: far below any frame's length, far above rounding
SMALL_FILE = 16 * 2**20  # bytes that are read to the end without a thought, to learn the duration
JUMP_MARGIN = 5.0  # seconds before a goal: more than frames after a keyframe can be broken
MIN_JUMP = 15.0  # seconds ahead: nearer, reading on is as fast
DECORD_THREADS = 2  # with 8 or more, decord2 3.4 fails on AV1
DECORD_ERRORS = (DECORDError, DECORDLimitReachedError, RuntimeError, ValueError)
MAX_BAD_READS = 100  # of the file in a row, before the rest of it is given up
MAX_BLIND_PACKETS = 1000  # without one frame among them, half a minute of video, before a file is given up
MAX_GAP = 3600.0  # seconds between two frames: beyond, the clock was damaged or set anew, and the video ends for us
MAX_PIXEL_ASPECT = 4.0  # width by height of a pixel: beyond, it is a mistake in the header
PLAYLISTS = {"hls", "dash", "concat", "imf"}
OLDEST_RECORDING = datetime(1990, 1, 2, tzinfo=UTC)  # earlier dates are clocks never set: 1904, 1970, 1980


@dataclass(frozen=True)
class VideoInfo:
    """What a video is. `width` and `height` are those of the picture shown: turned, and with square pixels.

    `duration` reaches to the end of the last frame that is really in the file, whatever its header says; `missing` is
    how many seconds more the header promises, when they are more than one: the file was cut short.
    `rotation` is how many degrees counter-clockwise the stored picture is turned to be shown: 0, 90, 180 or 270.
    """

    duration: float
    frame_rate: Fraction
    width: int
    height: int
    codec: str
    rotation: int
    created: datetime | None
    missing: float = 0.0


@dataclass(frozen=True)
class Segment:
    """A stretch of a video, in seconds: from `start` up to `end`."""

    start: float
    end: float


class Sample(NamedTuple):
    """The frames of one segment that stand for all of it, in the order of their times."""

    frames: np.ndarray  # (T, S, S, 3) uint8 RGB
    times: np.ndarray  # (T,) float64: when each of them begins to be shown, in seconds


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
    return _examine_once(path)[0]


def read_clips(
    path: Path, segments: Sequence[Segment], num_frames: int, size: int
) -> Generator[Sample, None, float | None]:
    """A sample of each segment: T frames of (S, S, 3), spread evenly over it.

    The short side of the picture is scaled to `size` and the middle is cut out. The segments must come in the order
    of their times. Holds one sample and a few decoded frames, however long the video. Ends early when the video ends,
    or cannot be decoded any further, before a segment begins. Returns until when it could be decoded, if that was not
    to the end of the last segment. Raises UnreadableVideo when there is no frame at all.
    """
    if any(later.start < earlier.start for earlier, later in pairwise(segments)):
        raise ValueError("segments must be in the order of their times")
    info, traits = _examine_once(path)
    delivered = 0
    if choose_reader(traits) == "decord":
        try:
            for sample in read_with_decord(path, info, segments, num_frames, size):
                yield sample
                delivered += 1
            return None
        except DECORD_ERRORS as error:
            log.info("%s: decord failed, going on with PyAV: %s", path, error)
    return (yield from read_with_pyav(path, segments[delivered:], num_frames, size))


def read_picture(path: Path, size: int) -> np.ndarray:
    """The still image of a jpg, png or webp file: (S, S, 3) uint8, scaled and cut like a frame of a video.

    Raises UnreadableVideo.
    """
    try:
        with _open(path) as (container, stream):
            return _picture(_first_frame(_packets(container, stream), stream), stream, size)
    except UnreadableVideo as error:
        raise UnreadableVideo(f"cannot be read as a picture: it {error}".replace("a video", "a picture")) from error


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


# Which reader ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traits:
    """What decides which reader is right for a file."""

    container: str  # FFmpeg's names for it, such as "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str
    is_hdr: bool
    has_edits: bool  # some packets are to be decoded and not shown
    has_open_keyframes: bool  # frames after a keyframe need frames from before it
    is_cut_short: bool  # the file ends before its header says
    has_no_length: bool  # the header does not say; recorded to a pipe, or never finished


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


def choose_reader(traits: Traits) -> Literal["decord", "pyav"]:
    """The reader that delivers the right frames of such a file; decord where both do."""
    return "pyav" if any(is_wrong(traits) for is_wrong in NOT_FOR_DECORD.values()) else "decord"


def _examine_once(path: Path) -> tuple[VideoInfo, Traits]:
    """Probing and reading a file need the same facts: get them from the disk once, unless the file changes."""
    check_regular(path)
    status = os.stat(path)
    return _examine(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)  # a few more than there are decoding workers
def _examine(path: Path, size: int, mtime_ns: int) -> tuple[VideoInfo, Traits]:
    with _open(path) as (container, stream):
        seen = _Seen()
        packets = _watch(_packets(container, stream), stream, seen)
        frame = _first_frame(packets, stream)
        start = _time(frame, stream) or 0.0
        rate = _frame_rate(stream)
        claimed = _claimed_duration(container, stream)
        if claimed and size > SMALL_FILE and _seek(container, stream, start + claimed - JUMP_MARGIN):
            packets = _watch(_packets(container, stream), stream, seen)
        deque(packets, maxlen=0)
        if seen.end < start + claimed / 2:  # cut short, or the last packets were not where they should be
            deque(_watch(_packets_again(path), stream, seen), maxlen=0)
        duration = max(seen.end + (0 if seen.has_durations else float(1 / rate)) - start, float(1 / rate))
        missing = claimed - max(duration, seen.end)  # mkv counts from 0, whenever its video begins
        width, height = _shown_size(frame, stream)
        info = VideoInfo(
            duration=duration,
            frame_rate=rate,
            width=width,
            height=height,
            codec=stream.codec_context.codec.canonical_name,
            rotation=frame.rotation % 360,
            created=_created(container, stream),
            missing=missing if missing > 1 else 0.0,
        )
        traits = Traits(
            container=container.format.name,
            codec=info.codec,
            is_hdr=frame.color_trc in HDR_TO_LIGHT,
            has_edits=seen.has_edits,
            has_open_keyframes=seen.has_open_keyframes,
            is_cut_short=info.missing > 0,
            has_no_length=not claimed,
        )
        return info, traits


def _frame_rate(stream: VideoStream) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    return Fraction(rate) if rate and rate * MAX_GAP >= 1 else Fraction(25)


def _claimed_duration(container: InputContainer, stream: VideoStream) -> float:
    """Seconds, as the header says; 0 if it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


# Opening -------------------------------------------------------------------------------------------------------------


def check_regular(path: Path) -> None:
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
    check_regular(path)
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
        raise UnreadableVideo(_why_not_opened(path, error)) from error
    with container:
        if container.format.name in PLAYLISTS:
            raise UnreadableVideo("is a list of other files, not a video")
        stream = _video_stream(container)
        stream.thread_type = "AUTO"
        yield container, stream


def _why_not_opened(path: Path, error: av.error.FFmpegError) -> str:
    with suppress(OSError), open(path, "rb") as file:
        if file.read(8)[4:] == b"ftyp":
            return "is incomplete: its recording or copying stopped before the list of its frames (moov) was written"
    return f"is not a video, or is damaged at its start ({error.strerror})"


def _video_stream(container: InputContainer) -> VideoStream:
    videos = [s for s in container.streams.video if s.codec_context is not None]
    moving = [s for s in videos if not s.disposition & Disposition.attached_pic]
    if moving:
        best = container.streams.best("video")  # where there are several, decord takes this one too
        return next((s for s in moving if s is best), moving[0])
    if videos:
        raise UnreadableVideo("has sound and a cover picture, but no video")
    if container.streams.video:
        raise UnreadableVideo("holds video of a kind that cannot be decoded here")
    if container.streams.audio:
        raise UnreadableVideo("has sound, but no video")
    raise UnreadableVideo("has no video in it")


# Packets and frames ---------------------------------------------------------------------------------------------------


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of a stream from here on, past places where the file cannot be read."""
    bad_reads = 0
    while bad_reads < MAX_BAD_READS:
        try:
            for packet in container.demux(stream):
                if packet.size:  # the empty one at the end is ours to send
                    bad_reads = 0
                    yield packet
            return
        except (av.error.FFmpegError, IndexError) as error:  # IndexError: of a stream that the header did not tell of
            bad_reads += 1
            log.debug("%s: %s", container.name, error)


def _packets_again(path: Path) -> Iterator[Packet[VideoStream]]:
    with _open(path) as (container, stream):
        yield from _packets(container, stream)


def _frames(packets: Iterable[Packet[VideoStream]], stream: VideoStream) -> Iterator[VideoFrame]:
    """The frames of packets in the order they are shown, without those that cannot be decoded."""
    blind = 0
    for packet in chain(packets, [None]):  # None: give what is still held back
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError as error:
            log.debug("%s: %s", stream.container.name, error)
            frames = []
        blind = 0 if frames else blind + 1
        if blind > MAX_BLIND_PACKETS:
            return
        yield from frames


def _first_frame(packets: Iterable[Packet[VideoStream]], stream: VideoStream) -> VideoFrame:
    for frame in _frames(packets, stream):
        return frame
    raise UnreadableVideo("is damaged: no frame of it can be decoded")


def _time(thing: VideoFrame | Packet[VideoStream], stream: VideoStream) -> float | None:
    """When a frame or packet is shown, by the stream's clock."""
    stamp = thing.pts if thing.pts is not None else thing.dts
    return None if stamp is None or stream.time_base is None else float(stamp * stream.time_base)


@dataclass
class _Seen:
    """What the packets that went by tell of their video. `end` is by the stream's clock."""

    end: float = 0.0
    has_durations: bool = False
    has_edits: bool = False
    has_open_keyframes: bool = False


def _watch(packets: Iterable[Packet[VideoStream]], stream: VideoStream, seen: _Seen) -> Iterator[Packet[VideoStream]]:
    """The same packets; notes in `seen` what they tell."""
    last: float | None = None
    for packet in packets:
        time = _time(packet, stream)
        if packet.is_discard:
            seen.has_edits = True
        elif time is not None and not packet.is_corrupt and (last is None or time - last < MAX_GAP):
            last = time
            length = float((packet.duration or 0) * (stream.time_base or 0))
            length = length if length < MAX_GAP else 0.0
            if time + length >= seen.end:
                seen.end, seen.has_durations = time + length, length > 0
        if packet.is_keyframe and not _is_closed(packet, stream):
            seen.has_open_keyframes = True
        yield packet


def _is_closed(keyframe: Packet[VideoStream], stream: VideoStream) -> bool:
    """Whether decoding can begin at a keyframe without harm to what is shown after it.

    In H.264 true only of IDR pictures; open GOPs and gradual refresh have others. Of codecs that decord does not read
    nobody needs to know, and the rest have no other keyframes.
    """
    if stream.codec_context.codec.canonical_name != "h264":
        return True
    return any(header & 31 == IDR for header in _unit_headers(keyframe, stream))


IDR = 5  # the kind of NAL unit


def _unit_headers(packet: Packet[VideoStream], stream: VideoStream) -> Iterator[int]:
    """The first byte of each NAL unit: after its length in mp4 and mkv, after a start code elsewhere."""
    data = bytes(packet)
    extra = stream.codec_context.extradata or b""
    if not extra.startswith(b"\x01"):
        yield from (data[at.end()] for at in re.finditer(b"\0\0\1(?=.)", data, re.DOTALL))
        return
    length_size = (extra[4] & 3) + 1
    at = 0
    while at + length_size < len(data):
        yield data[at + length_size]
        at += length_size + int.from_bytes(data[at : at + length_size], "big")


def _seek(container: InputContainer, stream: VideoStream, time: float) -> bool:
    """Go to the keyframe before a time by the stream's clock; False if the file cannot be sought."""
    try:
        container.seek(int(time / (stream.time_base or 1)), stream=stream)
    except av.error.FFmpegError as error:
        log.debug("%s: %s", container.name, error)
        return False
    return True


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
    if 1 < aspect <= MAX_PIXEL_ASPECT:
        width = round(width * aspect)
    elif 1 / MAX_PIXEL_ASPECT <= aspect < 1:
        height = round(height / aspect)
    return (height, width) if frame.rotation % 180 else (width, height)


def _scaled_size(width: int, height: int, size: int) -> tuple[int, int]:
    """The width and height of a picture scaled so that its short side is `size`."""
    short = min(width, height)
    return max(size, round(width * size / short)), max(size, round(height * size / short))


def _centre(pictures: np.ndarray, size: int) -> np.ndarray:
    """The middle of one picture or of many: (..., H, W, 3) to (..., S, S, 3)."""
    top, left = (pictures.shape[-3] - size) // 2, (pictures.shape[-2] - size) // 2
    return pictures[..., top : top + size, left : left + size, :]


def _picture(frame: VideoFrame, stream: VideoStream, size: int) -> np.ndarray:
    """A decoded frame as the model sees it: turned, scaled, cut; (S, S, 3) uint8."""
    width, height = _scaled_size(*_shown_size(frame, stream), size)
    if frame.rotation % 180:
        width, height = height, width
    is_hdr = frame.color_trc in HDR_TO_LIGHT
    pixels = "rgb48le" if is_hdr else "rgb24"
    array = frame.reformat(width, height, pixels, interpolation="BICUBIC").to_ndarray()
    array = _centre(np.rot90(array, frame.rotation // 90), size)
    return np.ascontiguousarray(to_sdr(array, frame.color_trc) if is_hdr else array)


# decord --------------------------------------------------------------------------------------------------------------


def read_with_decord(
    path: Path, info: VideoInfo, segments: Sequence[Segment], num_frames: int, size: int
) -> Iterator[Sample]:
    """As read_clips, for the files decord is right for. Raises one of DECORD_ERRORS."""
    width, height = _scaled_size(info.width, info.height, size)
    # fault_tol: decord puts another frame in the place of each it cannot decode, and says so from the third on.
    reader = VideoReader(str(path), width=width, height=height, num_threads=DECORD_THREADS, fault_tol=2)
    times = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    times -= times[0]
    if np.any(np.diff(times) < 0) or not -1 < info.duration - times[-1] < 1 + 2 * info.duration / len(times):
        raise ValueError("the times of its frames make no sense")
    for segment in segments:
        if segment.start >= info.duration:
            return
        wanted = np.array(sample_times(segment, num_frames)) + TICK
        numbers = np.maximum(np.searchsorted(times, wanted, side="right") - 1, 0)
        pictures = reader.get_batch(numbers).asnumpy()  # (T, H, W, 3)
        yield Sample(np.ascontiguousarray(_centre(pictures, size)), times[numbers])


# The careful reader --------------------------------------------------------------------------------------------------


def read_with_pyav(
    path: Path, segments: Sequence[Segment], num_frames: int, size: int
) -> Generator[Sample, None, float | None]:
    """As read_clips, for any file: packet by packet, without those that cannot be decoded.

    The frame shown at a time is the last one that begins at it or before. Reads on from segment to segment, and jumps
    when the next one is far ahead.
    """
    for run in _runs(segments):
        with _frames_from(path, run[0].start) as (frames, origin):
            for segment in run:
                clip, times = np.empty((num_frames, size, size, 3), np.uint8), np.empty(num_frames)
                for i, time in enumerate(sample_times(segment, num_frames)):
                    is_new = frames.advance(origin + time) or i == 0
                    clip[i] = _picture(frames.frame, frames.stream, size) if is_new else clip[i - 1]
                    times[i] = frames.time - origin
                if frames.end <= origin + segment.start + TICK:
                    return frames.end - origin
                yield Sample(clip, times)
                if frames.upcoming is None and frames.end < origin + segment.end - TICK:
                    return frames.end - origin
    return None


class _Lookahead:
    """The frame shown now, and the one after it. Times are by the stream's clock.

    Raises UnreadableVideo when there is no frame.
    """

    def __init__(self, packets: Iterable[Packet[VideoStream]], stream: VideoStream) -> None:
        self.stream = stream
        self.frame_length = float(1 / _frame_rate(stream))
        self.frames = self._timed(_frames(packets, stream))
        first = next(self.frames, None)
        if first is None:
            raise UnreadableVideo("is damaged: no frame of it can be decoded")
        self.frame, self.time = first
        self.upcoming = next(self.frames, None)

    def advance(self, time: float) -> bool:
        """Go on to the frame shown at `time`, or to the last one. Whether that is another frame than before."""
        before = self.frame
        while self.upcoming is not None and self.upcoming[1] <= time + TICK:
            self.frame, self.time = self.upcoming
            self.upcoming = next(self.frames, None)
        return self.frame is not before

    @property
    def end(self) -> float:
        """Until when the frame is shown."""
        if self.upcoming is not None:
            return self.upcoming[1]
        return self.time + max(float((self.frame.duration or 0) * (self.stream.time_base or 0)), self.frame_length)

    def _timed(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, float]]:
        time = -self.frame_length
        for frame in frames:
            known = _time(frame, self.stream)
            time = time + self.frame_length if known is None else known
            yield frame, time


@contextmanager
def _frames_from(path: Path, start: float) -> Iterator[tuple[_Lookahead, float]]:
    """The frames from some time before `start` on, and the time of the first of all by the stream's clock."""
    if start > MIN_JUMP:
        with _open(path) as (container, stream):
            origin = _Lookahead(_packets(container, stream), stream).time
            frames = _jump(container, stream, origin + start)
            if frames is not None:
                yield frames, origin
                return
    with _open(path) as (container, stream):
        frames = _Lookahead(_packets(container, stream), stream)
        yield frames, frames.time


def _jump(container: InputContainer, stream: VideoStream, time: float) -> _Lookahead | None:
    """The frames from a keyframe well before `time` on; None when the file does not lead there.

    Well before: the first frames after a keyframe may be broken (open GOP, gradual refresh) or their times unsure (TS).
    """
    for margin in (JUMP_MARGIN, 4 * JUMP_MARGIN):
        if not _seek(container, stream, time - margin):
            return None
        packets = dropwhile(lambda packet: not packet.is_keyframe, _packets(container, stream))
        keyframe = next(packets, None)
        begin = None if keyframe is None else _time(keyframe, stream)
        if keyframe is not None and begin is not None and begin < time - JUMP_MARGIN / 2:
            try:
                return _Lookahead(chain([keyframe], packets), stream)
            except UnreadableVideo:
                return None
    return None


def _runs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """The segments in groups, parted where it pays to jump."""
    run: list[Segment] = []
    for segment in segments:
        if run and segment.start - run[-1].end > MIN_JUMP:
            yield run
            run = []
        run.append(segment)
    if run:
        yield run
