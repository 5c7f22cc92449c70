"""The pictures of a clip: the frames of a moment, upright, encoded as H.264, or as HEVC where they are HDR.

Times are in seconds.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.errors import UnreadableVideo
from vidfind.export.wanted import EXACT
from vidfind.media.frames import HDR_TO_LIGHT, UPRIGHT, Orientation, frame_rate, orientation, pixel_aspect, to_sdr
from vidfind.media.probe import examine_once
from vidfind.media.readers.pyav import frames_from

MIN_TICKS = 10_000  # a second: the times of frames are kept to a tenth of a millisecond where files have coarser ones
SHORTEST_TICK = Fraction(1, 1_000_000)  # second; MP4 cannot count much finer ones
KEYFRAMES = 2  # seconds between two, so that editors and players jump quickly
# Without B-frames each frame is stored in the order and at the time that it is shown. CRF 18 shows no difference.
H264 = {"preset": "veryfast", "crf": "18", "bf": "0"}
HEVC = {"preset": "superfast", "crf": "19", "x265-params": "log-level=none:bframes=0"}
BT709 = 1  # primaries, transfer curve and matrix, and
BOTTOM_FIRST = (3, 4)  # orders of fields, by FFmpeg's numbers
HD = 720  # lines, from which on players take the colours of a file that does not say for BT.709
UNKNOWN, STUDIO, FULL = 0, 1, 2  # ranges of values, by their numbers in ITU-T H.273 and in FFmpeg


class Shown(NamedTuple):
    """A frame, and from when to when it is shown, on the clock of moments."""

    frame: VideoFrame
    begin: float
    end: float


@dataclass(frozen=True)
class Look:
    """The properties that all frames of a clip have, once they are upright."""

    width: int
    height: int
    pixel_aspect: Fraction
    is_hdr: bool = False
    values: int = UNKNOWN
    """The range of values: UNKNOWN, STUDIO or FULL."""
    colours: tuple[int, int, int] = (2, 2, 2)
    """Primaries, transfer curve and matrix, by their numbers in ITU-T H.273; 2 is unknown."""
    first_field: str = ""
    """The x264 option for the field that is shown first, `tff` or `bff`; empty unless the picture is interlaced."""

    @property
    def pixels(self) -> str:
        return "yuv420p10le" if self.is_hdr else "yuvj420p" if self.values == FULL else "yuv420p"

    @property
    def square(self) -> tuple[int, int]:
        """Width and height with square pixels, both even."""
        wide, high = max(self.pixel_aspect, Fraction(1)), max(1 / self.pixel_aspect, Fraction(1))
        return max(2, round(self.width * wide / 2) * 2), max(2, round(self.height * high / 2) * 2)

    @property
    def area(self) -> int:
        width, height = self.square
        return width * height

    def fit(self, other: Look) -> tuple[int, int]:
        """Returns the width and height, both even, at which a picture of another look fits into one of this."""
        if (other.width, other.height, other.pixel_aspect) == (self.width, self.height, self.pixel_aspect):
            return self.width, self.height
        width, height = other.width * other.pixel_aspect / self.pixel_aspect, Fraction(other.height)
        scale = min(self.width / width, self.height / height)
        fitted = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
        return min(fitted[0], self.width), min(fitted[1], self.height)


class Pictures:
    """The frames shown from `start` to `end`; the first one from `start` on, the last one up to `end`."""

    def __init__(self, path: Path, start: float, end: float) -> None:
        self.path, self.start, self.end = path, start, end
        self._default = examine_once(path)[1].orientation

    def shown(self) -> Generator[tuple[Shown, VideoStream]]:
        """Yields each frame and its stream. Raises UnreadableVideo if the video ends before `start`."""
        with frames_from(self.path, self.start) as ahead:
            ahead.advance(self.start + EXACT)
            if ahead.end <= self.start + EXACT:
                raise UnreadableVideo(f"cannot be read from {self.start:g} s on")
            begin = ahead.time if abs(ahead.time - self.start) < EXACT else self.start
            while True:
                frame, stop = ahead.frame, ahead.end
                is_last = ahead.upcoming is None or stop >= self.end - EXACT
                if is_last and stop > self.end + EXACT:
                    stop = self.end
                if stop > begin:  # times of damaged files may go back
                    yield Shown(frame, begin, stop), ahead.stream
                if is_last:
                    return
                begin = max(begin, stop)
                ahead.advance(stop)

    def look(self, frame: VideoFrame, stream: VideoStream) -> Look:
        """Returns the look of a clip of this video, by one of its frames."""
        turn = orientation(frame, self._default)
        aspect = Fraction(pixel_aspect(frame, stream)).limit_denominator(1000) or Fraction(1)
        width, height = frame.width, frame.height
        if turn.quarter_turns % 2:
            width, height, aspect = height, width, 1 / aspect
        is_rgb = not frame.format.name.startswith(("yuv", "nv", "p0", "gray", "uyvy"))
        return Look(
            max(2, width // 2 * 2),
            max(2, height // 2 * 2),
            aspect,
            frame.color_trc in HDR_TO_LIGHT,
            STUDIO if is_rgb else FULL if frame.format.name.startswith("yuvj") else frame.color_range,
            (BT709, BT709, BT709) if is_rgb else (frame.color_primaries, frame.color_trc, frame.colorspace),
            _first_field(frame, stream) if turn == UPRIGHT else "",
        )

    def upright(self, frame: VideoFrame, stream: VideoStream, look: Look) -> VideoFrame:
        """Returns a frame as it is shown, with this look; black bars fill what a picture of another shape leaves."""
        own, turn = self.look(frame, stream), orientation(frame, self._default)
        size = look.fit(own)
        width, height = reversed(size) if turn.quarter_turns % 2 else size
        if own.is_hdr and not look.is_hdr:
            light = frame.reformat(width, height, "rgb48le", interpolation="BICUBIC").to_ndarray()
            frame = VideoFrame.from_ndarray(to_sdr(light, frame.color_trc), format="rgb24")
        conversion: dict[str, Any] = {"dst_color_range": look.values or STUDIO}
        if look.colours[2] == BT709:
            is_sd = own.colours[2] != BT709 and frame.height < HD
            conversion |= {"dst_colorspace": "ITU709", **({} if is_sd else {"src_colorspace": "ITU709"})}
        shown = frame.reformat(width, height, look.pixels, interpolation="BICUBIC", **conversion)
        if turn == UPRIGHT and size == (look.width, look.height):
            return shown
        return _placed(shown, turn, look)


def _first_field(frame: VideoFrame, stream: VideoStream) -> str:
    if not frame.interlaced_frame:
        return ""
    return "bff" if stream.codec_context.field_order in BOTTOM_FIRST else "tff"


def _placed(frame: VideoFrame, turn: Orientation, look: Look) -> VideoFrame:
    """Returns a frame of 4:2:0 turned upright, in the middle of a black picture of the size of `look`."""
    stacked = frame.to_ndarray()
    height, width = frame.height, frame.width
    planes = [stacked[:height], *stacked[height:].reshape(2, height // 2, width // 2)]
    depth = 4 if look.is_hdr else 1  # ten bits
    black = (0 if look.values == FULL else 16 * depth, 128 * depth, 128 * depth)
    result = []
    for plane, value, part in zip(planes, black, (1, 2, 2), strict=True):
        picture = turn.turn(plane)
        canvas = np.full((look.height // part, look.width // part), value, stacked.dtype)
        top, left = (np.array(canvas.shape) - picture.shape) // 4 * 2 // part  # even, so that colours stay in place
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        result.append(canvas.reshape(-1, look.width))
    return VideoFrame.from_ndarray(np.concatenate(result), format=frame.format.name)


def common_look(looks: Sequence[Look]) -> Look:
    """Returns the look of a film of clips: theirs if it is the same, else that of the largest, with usual colours."""
    first, largest = looks[0], max(looks, key=lambda one: one.area)
    if all(one == first for one in looks):
        return first
    if len({(one.colours, one.values) for one in looks}) == 1:
        colours = {"colours": first.colours, "values": first.values, "is_hdr": first.is_hdr}
    else:
        colours = {"colours": (BT709, BT709, BT709), "values": STUDIO}
    return Look(*largest.square, Fraction(1), **colours)  # type: ignore[arg-type]


class Shape(NamedTuple):
    """The clock of an encoder: the smallest step of time in seconds, and the usual number of frames a second."""

    look: Look
    tick: Fraction
    rate: Fraction


def shape_of(pictures: Pictures, frame: VideoFrame, stream: VideoStream) -> Shape:
    """Returns the shape of a clip, in which all times of its stream can be told, and those between them."""
    base = stream.time_base or Fraction(1, 90000)
    tick = Fraction(1, base.denominator * math.ceil(MIN_TICKS / base.denominator))
    return Shape(pictures.look(frame, stream), tick, frame_rate(stream))


def common_shape(shapes: Sequence[Shape]) -> Shape:
    """Returns the shape of a film of clips: the look of all, a step that suits each, and the most common frame rate."""
    tick = Fraction(1, math.lcm(*(shape.tick.denominator for shape in shapes)))
    rates = [shape.rate for shape in shapes]
    look = common_look([shape.look for shape in shapes])
    return Shape(look, max(tick, SHORTEST_TICK), max(rates, key=rates.count))


class PictureEncoder:
    """Encodes frames into a stream of a file; times are those in the file."""

    def __init__(
        self,
        container: OutputContainer,
        look: Look,
        tick: Fraction,
        rate: Fraction,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are those of the codec: by default such that no difference can be seen."""
        self._tick = tick
        settings = settings or (HEVC if look.is_hdr else H264)
        options: dict[str, str] = {**settings, "g": str(max(1, round(rate * KEYFRAMES)))}
        if not look.is_hdr:
            own = [f"{look.first_field}=1"] if look.first_field else []
            # x264 says in which range the values are only beside something else, such as a format.
            own += ["videoformat=component"] if look.values == STUDIO else []
            options |= {"x264-params": ":".join(own), **({"flags": "+ildct+ilme"} if look.first_field else {})}
        self.stream: Any = container.add_stream("libx265" if look.is_hdr else "libx264", rate=rate, options=options)
        codec = self.stream.codec_context
        codec.width, codec.height, codec.pix_fmt = look.width, look.height, look.pixels
        codec.time_base, codec.sample_aspect_ratio = self._tick, look.pixel_aspect
        codec.color_primaries, codec.color_trc, codec.colorspace = look.colours
        codec.color_range = look.values
        if look.is_hdr:
            codec.codec_tag = "hvc1"  # without it, QuickTime does not play it
        self._lengths: dict[int, int] = {}

    def encode(self, frame: VideoFrame, begin: float, end: float) -> list[Packet[VideoStream]]:
        """Returns the packets that are ready. The frame is shown from `begin` to `end`."""
        frame.time_base, frame.pts = self._tick, round(begin / self._tick)
        frame.pict_type = 0  # the encoder chooses, and does not follow that of the source
        self._lengths[frame.pts] = round(end / self._tick) - frame.pts
        return self._timed(self.stream.encode(frame))

    def finish(self) -> list[Packet[VideoStream]]:
        return self._timed(self.stream.encode())

    def _timed(self, packets: list[Packet[VideoStream]]) -> list[Packet[VideoStream]]:
        for packet in packets:
            if packet.pts in self._lengths:
                packet.duration = self._lengths.pop(packet.pts)
        return packets
