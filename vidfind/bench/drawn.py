"""Draws videos with fixed content that cost as much to decode as those of a phone, to measure with on any machine.

The pictures resemble photographs (their spectrum falls as 1/f); they pan, zoom and pass one another, with sensor noise.
A few seconds are drawn and encoded; longer files repeat their packets with new times. Knows nothing of
measurements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidfind.system.storage import atomic_write, storage_errors

VERSION = 1
"""Version of the content: figures of different versions cannot be compared."""
FRAME_RATE = 30
NOISE = 6  # grey levels in both directions: a phone indoors
NOISE_PICTURES = 7  # a prime number, so that no keyframe interval repeats them in step
MARGIN = 1.25  # share of the scene around the visible part


@dataclass(frozen=True)
class Kind:
    """One kind of video. `drawn` is in seconds, `bit_rate` in bits per second, `gop` in frames."""

    title: str
    codec: str
    width: int
    height: int
    gop: int
    bit_rate: int
    drawn: float
    options: dict[str, str] = field(default_factory=dict)


# Phones write no B frames; downloaded films have them, and keyframes far apart.
KINDS = {
    "phone": Kind(
        "1080p H.264, a keyframe each second",
        "libx264",
        1920,
        1080,
        30,
        14_000_000,
        15.0,
        {"preset": "veryfast", "bf": "0", "sc_threshold": "0"},
    ),
    "long": Kind(
        "1080p H.264, 250 frames from keyframe to keyframe",
        "libx264",
        1920,
        1080,
        250,
        14_000_000,
        50 / 3,
        {"preset": "veryfast", "bf": "3", "sc_threshold": "0"},
    ),
    "hevc": Kind(
        "4K HEVC, a keyframe every 2 seconds",
        "libx265",
        3840,
        2160,
        60,
        40_000_000,
        2.0,
        {"preset": "superfast", "x265-params": "log-level=none:bframes=0:scenecut=0:open-gop=0"},
    ),
}


def draw_footage(folder: Path, name: str, count: int) -> list[Path]:
    """Draws `count` different files of `KINDS[name]` into `folder`; existing ones are kept. Returns their paths.

    The first of a kind takes seconds, 4K takes a minute on a few cores. Raises StorageError."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{seed}.v{VERSION}.mp4" for seed in range(count)]
    for seed, path in enumerate(paths):
        if not path.exists():
            with atomic_write(path) as part:
                write_footage(part, KINDS[name], seed)
    return paths


def write_footage(path: Path, kind: Kind, seed: int) -> None:
    """Draws and encodes one file."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = cast(VideoStream, container.add_stream(kind.codec, rate=FRAME_RATE, options=kind.options))
        stream.width, stream.height, stream.pix_fmt = kind.width, kind.height, "yuv420p"
        stream.bit_rate, stream.gop_size = kind.bit_rate, kind.gop
        for i, frame in enumerate(draw(kind.width, kind.height, round(kind.drawn * FRAME_RATE), seed)):
            frame.pts, frame.time_base = i, Fraction(1, FRAME_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def lengthen(drawn: Path, path: Path, seconds: float) -> None:
    """Repeats the drawn part for about `seconds`. Each repetition begins with a keyframe, like a cut."""
    with av.open(str(drawn)) as source, av.open(str(path), "w", format="mp4") as container:
        stream = source.streams.video[0]
        target = container.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        assert stream.time_base and stream.duration
        for repeat in range(max(1, round(seconds / float(stream.duration * stream.time_base)))):
            for packet in packets:
                again = _later(packet, repeat * stream.duration)
                again.stream = target
                container.mux(again)


def _later(packet: Packet[VideoStream], ticks: int) -> Packet[VideoStream]:
    """Returns a copy of a packet that is shown `ticks` of its clock later."""
    again = cast("Packet[VideoStream]", Packet(bytes(packet)))
    assert packet.pts is not None and packet.dts is not None and packet.time_base
    again.time_base, again.is_keyframe, again.duration = packet.time_base, packet.is_keyframe, packet.duration
    again.pts, again.dts = packet.pts + ticks, packet.dts + ticks
    return again


def draw(width: int, height: int, count: int, seed: int) -> Iterator[VideoFrame]:
    """Yields `count` frames in yuv420p: a camera pans and zooms over a scene, and two objects pass in front of it."""
    rng = np.random.default_rng(seed)
    scene = Picture.drawn(rng, _even(width * MARGIN), _even(height * MARGIN))
    things = [Picture.drawn(rng, _even(height / 3), _even(height / 3)) for _ in range(2)]
    noise = rng.normal(0, NOISE / 2, (NOISE_PICTURES, height, width)).clip(-NOISE, NOISE).astype(np.int8)
    phase, speed = rng.uniform(0, 2 * np.pi, 5), rng.uniform(0.3, 0.6, 5)  # radians a second
    for i in range(count):
        wave = (1 + np.sin(phase + speed * i / FRAME_RATE * 2)) / 2  # (5,) from 0 to 1
        zoom = 1 - 0.1 * wave[0]
        frame = scene.view(wave[1], wave[2], _even(width * zoom), _even(height * zoom), width, height)
        for thing, along in zip(things, wave[3:], strict=True):
            thing.paint(frame, along, wave[1])
        # The scenes avoid black and white, so that adding bytes cannot overflow.
        frame[:height] += noise[i % NOISE_PICTURES].view(np.uint8)
        yield VideoFrame.from_ndarray(frame, format="yuv420p")


@dataclass(frozen=True)
class Picture:
    """Returns brightness (H, W) and two planes of colour (H / 2, W / 2), uint8."""

    planes: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]

    @classmethod
    def drawn(cls, rng: np.random.Generator, width: int, height: int) -> Picture:
        colours = (texture(rng, height // 2, width // 2, 90, 166, 1.6) for _ in range(2))
        return cls((texture(rng, height, width, 30, 225, 1.1), *colours))  # type: ignore[arg-type]

    def view(self, x: float, y: float, width: int, height: int, out_width: int, out_height: int) -> NDArray[np.uint8]:
        """Cuts out and scales the part at (x, y), each from 0 to 1 of the way: (1.5 * H, W) as in yuv420p."""
        top = _even((self.planes[0].shape[0] - height) * y)
        left = _even((self.planes[0].shape[1] - width) * x)
        parts = [
            plane[top // step : (top + height) // step, left // step : (left + width) // step]
            for plane, step in zip(self.planes, (1, 2, 2), strict=True)
        ]
        colours = np.concatenate([part.reshape(-1) for part in parts[1:]]).reshape(height // 2, width)
        frame = VideoFrame.from_ndarray(np.concatenate([parts[0], colours]), format="yuv420p")
        scaled: NDArray[Any] = frame.reformat(out_width, out_height, interpolation="BILINEAR").to_ndarray()
        return scaled

    def paint(self, frame: NDArray[np.uint8], x: float, y: float) -> None:
        """Puts the picture over a frame (1.5 * H, W) at (x, y), each from 0 to 1 of the way."""
        height, width = frame.shape[0] * 2 // 3, frame.shape[1]
        colours = frame[height:].reshape(2, height // 2, width // 2)
        size = self.planes[0].shape[0]
        top, left = _even((height - size) * y), _even((width - size) * x)
        for plane, target, step in zip(self.planes, (frame[:height], *colours), (1, 2, 2), strict=True):
            target[top // step : (top + size) // step, left // step : (left + size) // step] = plane


def texture(rng: np.random.Generator, height: int, width: int, low: int, high: int, slope: float) -> NDArray[np.uint8]:
    """Returns a random picture (H, W) uint8 whose spectrum falls with the frequency to the power `slope`."""
    waves = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width)
    frequency[0, 0] = np.inf
    picture = np.fft.irfft2(waves / frequency**slope, (height, width))
    picture /= 2.5 * picture.std()
    return (low + (high - low) * (picture.clip(-1, 1) + 1) / 2).astype(np.uint8)


def _even(length: float) -> int:
    """Returns the nearest even number below, because colours have half the resolution."""
    return int(length) // 2 * 2
