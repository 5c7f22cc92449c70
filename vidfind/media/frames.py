"""Opens a video file with PyAV, and gives its packets, its decoded frames, and its pictures as a model sees them.

Owns everything that odd or broken files need. Knows nothing of segments, or of which frames are wanted.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import logging
import math
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import Container, InputContainer
from av.format import Flags
from av.packet import Packet
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.errors import ReaderFailed, UnreadableVideo
from vidfind.media.sampling import View

log = logging.getLogger(__name__)

# FFmpeg reports broken files as exceptions too; its messages on the screen would only be noise.
av.logging.set_level(None)

MAX_BAD_READS = 100  # failed reads in a row before the rest of the file is given up
MAX_BLIND_PACKETS = 1000  # packets without a frame, half a minute of video, before a file is given up
LONGEST_FRAME = 3600  # seconds; a lower mean rate is a mistake in the header
JUMP_MARGIN = 5.0  # seconds before the target of a jump: longer than frames after a keyframe can be broken
MAX_PIXEL_ASPECT = 64.0  # width divided by height of a pixel; players obey more, and show a line
MIN_SINE = (
    0.5  # of the angle between the edges of a picture as its display matrix puts them; with less it means nothing
)
WITHOUT_PIXEL_ASPECT = {"mpegts", "mpeg"}  # containers that leave it to the stream, where broadcasts change it
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
    path: Path, threads: int | None = None, is_quick: bool = False, device: str = ""
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a file and gives its container and video stream, which decodes in `threads` (None: one for each core).

    `is_quick`: no frame is decoded until it is wanted, and edges between blocks are not smoothed, which does not show
    in a small picture. `device`: the device type that decodes, by FFmpeg's name; without one, the processor does.
    Raises UnreadableVideo, and ReaderFailed where the device does not open or lacks the codec.
    """
    check_regular(path)
    try:
        container = _open_on(device, path) if device else _open_container(path, is_quick)
    except av.error.PermissionError as error:
        raise UnreadableVideo("may not be read: no permission") from error
    except av.error.FFmpegError as error:
        raise UnreadableVideo(_why_not_opened(path, error)) from error
    with container:
        if container.format.name in PLAYLISTS:
            raise UnreadableVideo("is a list of other files, not a video")
        stream = _video_stream(container)
        if device and not _is_on_device(stream):
            raise ReaderFailed(f"{device} does not decode {stream.codec_context.name}")
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        codec = stream.codec_context
        codec.thread_type, codec.thread_count = "AUTO", threads or 0
        if is_quick:
            codec.options = {"skip_loop_filter": "all"}
        yield container, stream


def _is_on_device(stream: VideoStream) -> bool:
    return stream.codec_context.is_hwaccel


def _open_on(device: str, path: Path) -> InputContainer:
    try:
        return _open_container(path, is_quick=True, hwaccel=HWAccel(device, allow_software_fallback=False))
    except (av.error.FFmpegError, RuntimeError) as error:  # RuntimeError: it has none of the codecs
        raise ReaderFailed(f"{device} cannot be used: {error}") from error


def _open_container(path: Path, is_quick: bool, hwaccel: HWAccel | None = None) -> InputContainer:
    try:
        return av.open(
            os.path.abspath(path),
            metadata_errors="replace",
            # A playlist that calls itself .mp4 must not make us fetch from the network.
            options={"protocol_whitelist": "file"},
            stream_options=NOT_LOOKED_INTO if is_quick else None,
            hwaccel=hwaccel,
        )
    except ValueError:  # the container describes its streams only after some packets
        if not is_quick:
            raise
        return _open_container(path, is_quick=False, hwaccel=hwaccel)


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


def read_packets(container: InputContainer, stream: VideoStream | None) -> Iterator[Packet[VideoStream]]:
    """Yields the packets of a stream (None: of all) from the current position, skipping places that cannot be read.

    Their times are those of the file, until a `Timeline` puts them on the clock of moments."""
    bad_reads = 0
    while bad_reads < MAX_BAD_READS:
        try:
            packets: Iterable[Any] = container.demux(stream) if stream else container.demux()
            for packet in packets:
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
    """Returns when a frame or packet is shown, in seconds on the clock of its packets; None if that is unknown."""
    stamp = thing.pts if thing.pts is not None else thing.dts
    return None if stamp is None or stream.time_base is None else float(stamp * stream.time_base)


def seek(container: InputContainer, stream: VideoStream, time: float) -> bool:
    """Seeks the keyframe before `time`, in seconds on the file's clock; returns False if the file cannot seek."""
    try:
        container.seek(int(time / (stream.time_base or 1)), stream=stream)
    except av.error.FFmpegError as error:
        log.debug("%s: %s", container.name, error)
        return False
    return True


def has_timestamps(container: Container) -> bool:
    """Whether there are times in such a file; raw streams have none, whatever FFmpeg makes up."""
    return Flags.no_timestamps not in Flags(container.format.flags)


def frame_rate(stream: VideoStream) -> Fraction:
    rate = (stream.average_rate if has_timestamps(stream.container) else None) or stream.guessed_rate
    return Fraction(rate) if rate and rate * LONGEST_FRAME >= 1 else Fraction(25)


# Pictures ------------------------------------------------------------------------------------------------------------


class Orientation(NamedTuple):
    """How the stored picture is shown: mirrored left to right or not, and then turned counter-clockwise."""

    quarter_turns: int = 0
    is_mirrored: bool = False

    def turn(self, picture: np.ndarray) -> np.ndarray:
        """Turns a stored picture (H, W, ...) upright."""
        return np.rot90(picture[:, ::-1] if self.is_mirrored else picture, self.quarter_turns)


UPRIGHT = Orientation()


def orientation(frame: VideoFrame, default: Orientation = UPRIGHT) -> Orientation:
    """Returns how a frame is shown, from its display matrix: the nearest quarter turn, as players show it.

    A frame whose matrix means nothing is upright. One without a matrix is shown as `default`: where the matrix lies in
    the video stream and not in the container, FFmpeg gives it with some frames only."""
    matrix = display_matrix(frame)
    return default if matrix is None else _meaning(matrix) or UPRIGHT


def display_matrix(frame: VideoFrame) -> tuple[float, float, float, float] | None:
    """Returns where the display matrix puts a step to the right and one down: (x, y, x, y), y downwards."""
    try:
        # `frame.side_data` would remember the frame, which remembers it: memory would grow.
        read: Any = SideDataContainer  # PyAV's stub is wrong
        found = [bytes(one) for one in read(frame) if one.type is SideDataType.DISPLAYMATRIX]
    except ValueError:  # PyAV 18 reads none if there is a kind among them that it does not know
        with suppress(ValueError):  # not a number: a matrix of zeros
            angle = math.radians(frame.rotation)
            return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
        return None
    if not found or len(found[0]) < 20:
        return None
    right_x, right_y, _, down_x, down_y = struct.unpack_from("=5i", found[0])
    return right_x, right_y, down_x, down_y


def _meaning(matrix: tuple[float, float, float, float]) -> Orientation | None:
    """Returns the orientation that is nearest to a display matrix; None if it is near to none: singular, or sheared."""
    right_x, right_y, down_x, down_y = matrix
    right, down = math.hypot(right_x, right_y), math.hypot(down_x, down_y)
    area = right_x * down_y - right_y * down_x
    if not abs(area) > MIN_SINE * right * down:
        return None
    right_x, right_y, down_x, down_y = right_x / right, right_y / right, down_x / down, down_y / down
    if area < 0:  # mirrored first: the step to the right was one to the left
        right_x, right_y = -right_x, -right_y
    clockwise = math.degrees(math.atan2(right_y - down_x, right_x + down_y))
    return Orientation(-round(clockwise / 90) % 4, area < 0)


def shown_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Returns width and height of the picture as shown: turned upright, and with square pixels."""
    width, height = _squared_size(frame, stream)
    return (height, width) if orientation(frame).quarter_turns % 2 else (width, height)


def _squared_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Returns width and height of the stored picture if its pixels were squares."""
    aspect = pixel_aspect(frame, stream)
    width, height = frame.width, frame.height
    if 1 < aspect <= MAX_PIXEL_ASPECT:
        width = round(width * aspect)
    elif 1 / MAX_PIXEL_ASPECT <= aspect < 1:
        height = round(height / aspect)
    return width, height


def pixel_aspect(frame: VideoFrame, stream: VideoStream) -> float:
    """Returns width divided by height of a pixel: as the container says, else as the decoder found in the stream.

    The first of these is wrong where FFmpeg computed it from a display matrix that means nothing. Of a container that
    cannot say, PyAV repeats what the stream said when the file was opened, and that may change on the way."""
    of_stream = stream.codec_context.sample_aspect_ratio
    matrix = display_matrix(frame)
    is_told = stream.container.format.name not in WITHOUT_PIXEL_ASPECT and not (matrix and _meaning(matrix) is None)
    return float((stream.sample_aspect_ratio if is_told else None) or of_stream or 1)


def centre(pictures: np.ndarray, size: int) -> np.ndarray:
    """Cuts out the middle of one picture or many: (..., H, W, 3) to (..., S, S, 3)."""
    top, left = (pictures.shape[-3] - size) // 2, (pictures.shape[-2] - size) // 2
    return pictures[..., top : top + size, left : left + size, :]


def fitted_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Returns width and height of a picture that is scaled down so that its long side is at most `longest`."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def picture(frame: VideoFrame, stream: VideoStream, view: View, default: Orientation = UPRIGHT) -> np.ndarray:
    """Returns a decoded frame as the model sees it: turned upright, scaled and cut; (S, S, 3) uint8.

    `default` is the orientation of frames without a display matrix."""
    scaled = view.scaled_size(*_squared_size(frame, stream))
    return _upright(frame, scaled, default, lambda upright: centre(upright, view.size), view.is_bilinear)


def whole_picture(frame: VideoFrame, stream: VideoStream, longest: int, default: Orientation = UPRIGHT) -> np.ndarray:
    """Returns a decoded frame as players show it, (H, W, 3) uint8, with a long side of at most `longest` pixels."""
    return _upright(frame, fitted_size(*_squared_size(frame, stream), longest), default)


def _upright(
    frame: VideoFrame,
    size: tuple[int, int],
    default: Orientation,
    cut: Callable[[np.ndarray], np.ndarray] = lambda upright: upright,
    is_bilinear: bool = False,
) -> np.ndarray:
    """Returns a frame that is scaled to width and height, turned upright and cut, in the colours of SDR."""
    is_hdr = frame.color_trc in HDR_TO_LIGHT
    array = frame.reformat(
        *size, "rgb48le" if is_hdr else "rgb24", interpolation="BILINEAR" if is_bilinear else "BICUBIC", threads=1
    ).to_ndarray()  # one thread: to start as many as there are cores for each picture costs more than they save
    array = cut(orientation(frame, default).turn(array))
    return np.ascontiguousarray(to_sdr(array, frame.color_trc) if is_hdr else array)


# HDR ------------------------------------------------------------------------------------------------------------------
# Highlights brighter than white paper are compressed.

WHITE_NITS = 203.0  # brightness of white paper in HDR: ITU-R BT.2408
KNEE = 0.6  # brightness up to this fraction of white is kept; highlights share the rest
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
LUMA_BT2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)


def pq_to_light(coded: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084: converts (..., 3) coded values in 0..1 to light, where white paper is 1."""
    root = coded ** np.float32(1 / 78.84375)
    light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return np.asarray(light ** np.float32(1 / 0.1593017578125) * (10000 / WHITE_NITS))


def hlg_to_light(coded: np.ndarray) -> np.ndarray:
    """ARIB STD-B67 on a screen of 1000 nits: converts (..., 3) coded values in 0..1 to light."""
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    luma = (scene @ LUMA_BT2020)[..., None]
    return np.asarray(scene * luma**0.2 * (1000 / WHITE_NITS))


# Keys: the numbers of transfer curves in ITU-T H.273, as video files carry them.
HDR_TO_LIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {16: pq_to_light, 18: hlg_to_light}


def to_sdr(coded: np.ndarray, curve: int) -> np.ndarray:
    """Converts a picture (..., 3) of 16-bit BT.2020 values, coded by a curve of HDR_TO_LIGHT, to 8-bit BT.709.

    Takes a few ms for the small pictures that a model sees; for full frames it would take most of the decoding time.
    """
    light = HDR_TO_LIGHT[curve](coded.astype(np.float32) / 65535) @ BT2020_TO_BT709.T
    light = np.maximum(light, 0)
    over = np.maximum(light - KNEE, 0)
    light = np.minimum(light, KNEE) + (1 - KNEE) * over / (over + (1 - KNEE))
    return np.asarray((light ** np.float32(1 / 2.2) * 255 + 0.5).astype(np.uint8))
