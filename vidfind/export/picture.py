"""The pictures of a clip: the frames of a moment, upright, encoded as H.264, or as HEVC where they are HDR.

Times are in seconds.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import math
from collections.abc import Iterator
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
from vidfind.media.frames import HDR_TO_LIGHT, UPRIGHT, Orientation, frame_rate, orientation, pixel_aspect
from vidfind.media.probe import examine_once
from vidfind.media.pyav_reader import frames_from

MIN_TICKS = 10_000  # a second: the times of frames are kept to a tenth of a millisecond where files have coarser ones
KEYFRAMES = 2  # seconds between two, so that editors and players jump quickly
# Without B-frames each frame is stored in the order and at the time that it is shown. CRF 18 shows no difference.
H264 = {"preset": "veryfast", "crf": "18", "bf": "0"}
HEVC = {"preset": "veryfast", "crf": "20", "x265-params": "log-level=none:bframes=0"}
RGB, BT709 = 0, 1  # matrices, and
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
    is_interlaced: bool = False

    @property
    def pixels(self) -> str:
        return "yuv420p10le" if self.is_hdr else "yuvj420p" if self.values == FULL else "yuv420p"


class Pictures:
    """The frames shown from `start` to `end`; the first one from `start` on, the last one up to `end`."""

    def __init__(self, path: Path, start: float, end: float) -> None:
        self.path, self.start, self.end = path, start, end
        self._default = examine_once(path)[1].orientation

    def __iter__(self) -> Iterator[tuple[Shown, VideoStream]]:
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
        """Returns the look of the clip, by its first frame."""
        turn = orientation(frame, self._default)
        aspect = Fraction(pixel_aspect(frame, stream)).limit_denominator(1000) or Fraction(1)
        width, height = frame.width, frame.height
        if turn.quarter_turns % 2:
            width, height, aspect = height, width, 1 / aspect
        is_rgb = not frame.format.name.startswith(("yuv", "nv", "p0", "gray", "yuyv", "uyvy"))
        return Look(
            max(2, width // 2 * 2),
            max(2, height // 2 * 2),
            aspect,
            frame.color_trc in HDR_TO_LIGHT,
            STUDIO if is_rgb else FULL if frame.format.name.startswith("yuvj") else frame.color_range,
            (BT709, BT709, BT709) if is_rgb else (frame.color_primaries, frame.color_trc, frame.colorspace),
            frame.interlaced_frame and not turn.quarter_turns,
        )

    def upright(self, frame: VideoFrame, look: Look) -> VideoFrame:
        """Returns a frame as it is shown, in the size and the pixels of the clip."""
        turn = orientation(frame, self._default)
        width, height = (look.height, look.width) if turn.quarter_turns % 2 else (look.width, look.height)
        values = look.values or STUDIO
        matrix = {"dst_colorspace": "ITU709"} if look.colours[2] == BT709 else {}
        shown = frame.reformat(width, height, look.pixels, dst_color_range=values, interpolation="BICUBIC", **matrix)  # type: ignore[arg-type]
        return shown if turn == UPRIGHT else _turned(shown, turn)


def _turned(frame: VideoFrame, turn: Orientation) -> VideoFrame:
    """Returns a frame of 4:2:0 turned upright."""
    stacked = frame.to_ndarray()
    height, width = frame.height, frame.width
    luma, chroma = stacked[:height], stacked[height:].reshape(2, height // 2, width // 2)
    turned = turn.turn(luma)
    colours = [turn.turn(one).reshape(-1, turned.shape[1]) for one in chroma]
    return VideoFrame.from_ndarray(np.concatenate([turned, *colours]), format=frame.format.name)


class PictureEncoder:
    """Encodes frames into a stream of a file; times are those in the file."""

    def __init__(self, container: OutputContainer, look: Look, source: VideoStream) -> None:
        base = source.time_base or Fraction(1, 90000)
        self._tick = Fraction(1, base.denominator * math.ceil(MIN_TICKS / base.denominator))
        rate = frame_rate(source)
        options: dict[str, str] = {**(HEVC if look.is_hdr else H264), "g": str(max(1, round(rate * KEYFRAMES)))}
        if look.is_interlaced:
            options |= {"flags": "+ildct+ilme", "x264-params": "tff=1"}
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
