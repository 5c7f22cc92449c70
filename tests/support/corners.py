"""Small videos and pictures whose corners have different colours, which show how they are turned."""

import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

COLOURS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "W": (255, 255, 255)}
ONE, WHOLE = 1 << 16, 1 << 30
"""The number 1 in a display matrix, and in its last column."""


def draw_corners(width: int = 96, height: int = 64) -> np.ndarray:
    """Red in the upper left, green in the upper right, blue in the lower left, white in the lower right: "RGBW"."""
    picture = np.empty((height, width, 3), np.uint8)
    for colour, (rows, columns) in zip(COLOURS.values(), [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        picture[rows * height // 2 :, columns * width // 2 :] = colour
    return picture


def read_corners(picture: np.ndarray) -> str:
    """The letters of the colours in the upper left, upper right, lower left and lower right of a picture (H, W, 3)."""
    height, width = picture.shape[:2]
    places = [(y, x) for y in (height // 8, height - 1 - height // 8) for x in (width // 8, width - 1 - width // 8)]
    seen = [picture[place].astype(int) for place in places]
    return "".join(min(COLOURS, key=lambda letter: int(np.abs(pixel - COLOURS[letter]).sum())) for pixel in seen)


def write_corners(
    path: Path,
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
    aspect: Fraction | None = None,
    pixels: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    picture: np.ndarray | None = None,
) -> Path:
    """Writes a video of ten frames with `picture` or `draw_corners`; its pixels have the `aspect` in the stream."""
    if picture is None:
        picture = draw_corners(*size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"g": "5", **(options or {})})
        assert isinstance(stream, VideoStream)
        (stream.width, stream.height), stream.pix_fmt = size, pixels
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(10):
            container.mux(stream.encode(VideoFrame.from_ndarray(picture).reformat(format=pixels)))
        container.mux(stream.encode())
    return path


def set_matrix(path: Path, numbers: tuple[float, float, float, float], box: bytes = b"tkhd") -> Path:
    """Puts a display matrix into the header of an mp4 file: where the steps to the right and down lead (x, y, x, y)."""
    right_x, right_y, down_x, down_y = (max(-(2**31), min(2**31 - 1, round(number * ONE))) for number in numbers)
    data = bytearray(path.read_bytes())
    at = data.index(box) + (44 if box == b"tkhd" else 40)
    struct.pack_into(">9i", data, at, right_x, right_y, 0, down_x, down_y, 0, 0, 0, WHOLE)
    path.write_bytes(data)
    return path


def copy_packets(source: Path, target: Path, bitstream_filter: str = "null") -> Path:
    """Writes the packets of a video into another container."""
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0], opaque=True)
        changed = BitStreamFilterContext(bitstream_filter, given.streams.video[0], stream)
        for packet in [*given.demux(video=0)]:
            for one in changed.filter(packet if packet.size else None):
                one.stream = stream
                container.mux(one)
    return target
