"""Tiny clips whose frames show their numbers, on all kinds of clocks, and when a player shows each frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from tests.clips.make import HEIGHT, WIDTH, draw, read_number

RATE = 5
TICK = Fraction(1, 90000)
"""The clock of the encoders."""
WRAP = 2**33 / 90000
"""Seconds, after which the clock of TS begins at 0 again."""
ENCODERS = {
    "libx264": {"g": "10", "bf": "2", "preset": "veryfast", "x264-params": "scenecut=0:open-gop=0"},
    "libvpx": {"g": "10", "deadline": "realtime", "cpu-used": "8"},
}
"""Their options by default."""
Shown = list[tuple[float, int]]
"""For each frame when it begins to be shown, in seconds, and its number; in the order of the times."""


def write_clip(
    path: Path,
    times: Iterable[float],
    codec: str = "libx264",
    sound: tuple[float, float] | None = None,
    first_number: int = 0,
    format: str | None = None,
    options: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
    rate: int = RATE,
) -> None:
    """Writes a clip with a frame at each of `times`, and with sound between two times, on the file's clock."""
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        video = container.add_stream(codec, rate=rate, options=encoder or ENCODERS.get(codec, {}))
        assert isinstance(video, VideoStream)
        video.width, video.height = WIDTH, HEIGHT
        is_steady = codec not in ("libx264", "libvpx") or format in ("h264", "ivf")
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.codec_context.time_base = Fraction(1, rate) if is_steady else TICK
        audio = container.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48000) if sound else None
        assert audio is None or isinstance(audio, AudioStream)
        packets: list[Packet[Any]] = []
        for number, time in enumerate(times, start=first_number):
            frame = av.VideoFrame.from_ndarray(draw(number)).reformat(format=video.pix_fmt)
            frame.time_base = video.codec_context.time_base
            frame.pts, frame.duration = round(time / frame.time_base), round(1 / rate / frame.time_base)
            packets += video.encode(frame)
        packets += video.encode()
        if audio and sound:
            audio.layout = "mono"
            for begin in np.arange(sound[0], sound[1], 0.02):
                block = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), format="s16", layout="mono")
                block.sample_rate, block.time_base, block.pts = 48000, Fraction(1, 48000), round(begin * 48000)
                packets += audio.encode(block)
            packets += audio.encode()
        for packet in sorted(packets, key=lambda one: one.dts * one.time_base):  # type: ignore[operator]
            container.mux(packet)


def join_clips(
    path: Path, *parts: list[float], codec: str = "libx264", rate: int = RATE, format: str | None = None
) -> Shown:
    """Writes clips joined byte by byte, as `cat` does; returns when each frame is shown if the time goes on."""
    data, end = b"", 0.0
    shown: Shown = []
    for part in parts:
        write_clip(path, part, codec, first_number=len(shown), rate=rate, format=format)
        data += path.read_bytes()
        shown += [(end + time - part[0], len(shown) + i) for i, time in enumerate(part)]
        end = shown[-1][0] + 1 / rate
    path.write_bytes(data)
    return shown


def steady(start: float, seconds: float, rate: int = RATE) -> list[float]:
    return [start + i / rate for i in range(round(seconds * rate))]


def shown_by_players(path: Path) -> Shown:
    """Decodes all of a file, and counts from the container's start, as ffmpeg and mpv do."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        start = (container.start_time or 0) / av.time_base
        return sorted((float(frame.pts * frame.time_base) - start, _number(frame)) for frame in frames)  # type: ignore[operator]


def _number(frame: av.VideoFrame) -> int:
    left = (WIDTH - HEIGHT) // 2
    number = read_number(frame.to_ndarray(format="rgb24")[:, left : left + HEIGHT])
    assert number is not None
    return number


def number_at(shown: Sequence[tuple[float, int]], time: float) -> int:
    return [number for begin, number in shown if begin <= time + 0.001][-1] if time >= shown[0][0] else shown[0][1]
