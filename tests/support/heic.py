"""HEIC pictures as phones write them: a grid of HEVC tiles. Encoders for them write no grids."""

import io
import struct
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tests.support.corners import COLOURS

TILE = 64
"""Side of a tile in pixels."""


def write_tiled_heic(path: Path, turn: int = 0, mirror: int | None = None, curve: int | None = None) -> Path:
    """Writes a picture of 2 x 2 tiles in the colours of `draw_corners`.

    `turn` is by how many quarter turns it is shown counter-clockwise; then it is mirrored at a vertical axis (`mirror`
    1) or a horizontal one (0). `curve` is its transfer curve, as in H.273."""
    config, samples = _tiles()
    count = len(samples)
    grid = struct.pack(">BBBBHH", 0, 0, 1, 1, 2 * TILE, 2 * TILE)
    properties = [config, *(_full(b"ispe", struct.pack(">II", side, side)) for side in (TILE, 2 * TILE))]
    of_grid = [3]
    for box in [
        _box(b"colr", b"nclx", struct.pack(">HHHB", 9, curve, 9, 128)) if curve else b"",
        _box(b"irot", bytes([turn])) if turn else b"",
        _box(b"imir", bytes([mirror])) if mirror is not None else b"",
    ]:
        if box:
            properties.append(box)
            of_grid.append(len(properties))
    links = [struct.pack(">HBBB", i + 1, 2, 0x80 | 1, 2) for i in range(count)]
    links.append(struct.pack(">HB", count + 1, len(of_grid)) + bytes(of_grid))
    items = [_full(b"infe", struct.pack(">HH4s", i + 1, 0, b"hvc1"), b"\0", version=2, flags=1) for i in range(count)]
    items.append(_full(b"infe", struct.pack(">HH4s", count + 1, 0, b"grid"), b"\0", version=2))

    def meta(start: int) -> bytes:
        places = []
        for i, sample in enumerate(samples):
            places.append(struct.pack(">HHHHII", i + 1, 0, 0, 1, start, len(sample)))
            start += len(sample)
        places.append(struct.pack(">HHHHII", count + 1, 1, 0, 1, 0, len(grid)))
        tiles = [struct.pack(">H", i + 1) for i in range(count)]
        return _full(
            b"meta",
            _full(b"hdlr", struct.pack(">I4s12x", 0, b"pict"), b"\0"),
            _full(b"pitm", struct.pack(">H", count + 1)),
            _full(b"iloc", struct.pack(">BBH", 0x44, 0, count + 1), *places, version=1),
            _full(b"iinf", struct.pack(">H", count + 1), *items),
            _full(b"iref", _box(b"dimg", struct.pack(">HH", count + 1, count), *tiles)),
            _box(b"iprp", _box(b"ipco", *properties), _full(b"ipma", struct.pack(">I", count + 1), *links)),
            _box(b"idat", grid),
        )

    brands = _box(b"ftyp", b"heic", struct.pack(">I", 0), b"mif1heic")
    path.write_bytes(brands + meta(len(brands) + len(meta(0)) + 8) + _box(b"mdat", *samples))
    return path


@cache
def _tiles() -> tuple[bytes, list[bytes]]:
    """The decoder's settings, and the coded tiles."""
    made = [_tile(colour) for colour in COLOURS.values()]
    return made[0][0], [sample for _, sample in made]


def _tile(colour: tuple[int, int, int]) -> tuple[bytes, bytes]:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=1"}
        stream = container.add_stream("libx265", rate=1, options=options)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = TILE
        stream.pix_fmt, stream.codec_context.codec_tag = "yuv420p", "hvc1"
        picture = np.full((TILE, TILE, 3), colour, np.uint8)
        container.mux(stream.encode(VideoFrame.from_ndarray(picture).reformat(format="yuv420p")))
        container.mux(stream.encode())
    data = file.getvalue()
    at = data.index(b"hvcC") - 4
    file.seek(0)
    with av.open(file, "r") as written:
        sample = next(bytes(packet) for packet in written.demux(video=0) if packet.size)
    return data[at : at + int.from_bytes(data[at : at + 4], "big")], sample


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
