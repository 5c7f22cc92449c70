"""Scenes in which little moves or nothing, drawn and encoded in a moment: what changes in them is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

WIDTH, HEIGHT, RATE, SECONDS = 320, 240, 5, 20

_random = np.random.default_rng(0)
_small = _random.integers(60, 200, (HEIGHT // 8, WIDTH // 4, 3), np.uint8)
WALL = np.kron(_small, np.ones((8, 8, 1), np.uint8))  # (HEIGHT, 2 * WIDTH, 3)
OTHER = np.ascontiguousarray(WALL[:, WIDTH:])
ROOM = np.ascontiguousarray(WALL[:, :WIDTH])


def dark(share: float) -> np.ndarray:
    return (ROOM * share).astype(np.uint8)


def pan(time: float, far: float) -> np.ndarray:
    """The camera moves to the right by `far` pixels and back, once."""
    left = round(far * np.sin(np.pi * time / SECONDS) ** 2)
    return WALL[:, left : left + WIDTH]


def crossing(time: float, size: int) -> np.ndarray:
    """A small thing goes through the picture between two seconds."""
    picture = ROOM.copy()
    if 4 <= time < 7:
        left = int((time - 4) / 3 * (WIDTH - size))
        picture[100 : 100 + size, left : left + size] = 230
    return picture


def slides(time: float, *seconds: float) -> np.ndarray:
    """Another picture between each two of these times."""
    return OTHER if sum(time >= one for one in seconds) % 2 else ROOM


SCENES: dict[str, Callable[[float], np.ndarray]] = {
    "still": lambda time: ROOM,
    "slow pan": lambda time: pan(time, 40),
    "slower pan": lambda time: pan(time, 12),
    "fade": lambda time: dark(1 - time / SECONDS / 2),
    "there and back": lambda time: dark(1 - 0.3 * np.sin(np.pi * time / 8) ** 2),
    "day to night": lambda time: dark(1 - 0.2 * time / SECONDS),
    "small thing": lambda time: crossing(time, 12),
    "flash": lambda time: dark(1.2 if 5 <= time < 5.3 else 1),
    "another slide": lambda time: slides(time, 7.4),
    "slide and back": lambda time: slides(time, 3.3, 6.1),
    "slides at keyframes": lambda time: slides(time, 3, 6, 12, 13),
}


def write_scene(
    path: Path, draw: Callable[[float], np.ndarray], gop: int, noise: int = 0, codec: str = "libx264"
) -> Path:
    """Writes a scene of SECONDS, with a keyframe at least every `gop` frames, and noise of so many grey levels."""
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=RATE, options=OPTIONS[codec]))
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", gop
        for number in range(RATE * SECONDS):
            picture = draw(number / RATE).astype(int)
            if noise:
                picture = picture + _random.integers(-noise, noise + 1, picture.shape)
            frame = VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "23"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"},
}
