"""A moment as a stream that browsers play, made while it is sent: fragmented MP4 of H.264 and AAC.

It is quick rather than exact in colour and size: at most HD, at most 30 frames a second, and HDR becomes SDR. Times are
in seconds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from vidfind.export.clips import inside, raising_ours
from vidfind.export.picture import BT709, STUDIO, Look, PictureEncoder, Pictures, Shape, Shown, shape_of
from vidfind.export.sound import COMMON_FORM, Sound, SoundEncoder
from vidfind.export.wanted import Wanted
from vidfind.media.probe import probe

LONGEST_SIDE = 1280
MOST_FRAMES = 31  # a second; of more, some are left out
# A frame comes out of the encoder as soon as it goes in, and takes a few milliseconds.
LIVE = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23", "bf": "0"}
FRAGMENTED = {"movflags": "empty_moov+default_base_moof", "frag_duration": "400000"}
"""A player can begin after each fragment, of so many microseconds."""


def stream_moment(path: Path, start: float, end: float) -> Generator[bytes]:
    """Yields the parts of a film of a moment, which begins at its time 0, as they are made.

    Closing it ends the work. Raises UnreadableVideo if the video cannot be read from `start` on."""
    start, end = inside(Wanted(path, start, end), probe(path))
    pictures, sound = Pictures(path, start, end), Sound(path, start, COMMON_FORM)
    pipe = _Pipe()
    with raising_ours(path), closing(pictures.shown()) as shown:
        frames = _thinned(shown)
        container = av.open(pipe, "w", format="mp4", container_options=FRAGMENTED)
        encoder, heard, shape = None, None, None
        blocks = sound.samples() if sound.is_there else iter(())
        for (frame, begin, until), stream in frames:
            if encoder is None or shape is None:
                shape, origin = _live(shape_of(pictures, frame, stream)), begin
                encoder = PictureEncoder(container, *shape, LIVE)
                heard = SoundEncoder(container, *COMMON_FORM) if sound.is_there else None
            container.mux(encoder.encode(pictures.upright(frame, stream, shape.look), begin - origin, until - origin))
            if heard:
                container.mux(list(heard.encode(blocks, until - origin)))
            yield from pipe.taken()
        if encoder:
            container.mux(encoder.finish())
        if heard:
            container.mux(list(heard.finish()))
        container.close()
    yield from pipe.taken()


def _live(shape: Shape) -> Shape:
    """Returns the shape of the stream: square pixels, small, in the colours of HD, with few frames."""
    width, height = shape.look.square
    scale = min(Fraction(1), Fraction(LONGEST_SIDE, max(width, height)))
    width, height = (max(2, round(side * scale / 2) * 2) for side in (width, height))
    look = Look(width, height, Fraction(1), values=STUDIO, colours=(BT709, BT709, BT709))
    return shape._replace(look=look, rate=min(shape.rate, Fraction(30)))


def _thinned(shown: Iterable[tuple[Shown, VideoStream]]) -> Iterator[tuple[Shown, VideoStream]]:
    """Yields at most MOST_FRAMES frames of each second, each shown until the next."""
    waiting: tuple[Shown, VideoStream] | None = None
    for one, stream in shown:
        if waiting and one.begin - waiting[0].begin < 1 / MOST_FRAMES:
            waiting = waiting[0]._replace(end=one.end), stream
            continue
        if waiting:
            yield waiting
        waiting = one, stream
    if waiting:
        yield waiting


class _Pipe:
    """Takes what is written to it, until that is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> list[bytes]:
        parts, self._parts = self._parts, []
        return [b"".join(parts)] if parts else []
