"""Clips as other programs see them: the numbers that frames show and when, and when tones in the sound begin."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from tests.clips.make import HEIGHT, WIDTH, draw, read_number
from vidfind.export.clips import Written, export_clips
from vidfind.export.wanted import Wanted
from vidfind.media.frames import open_video, shown_size

SOUNDS = [
    ("a.mp4", "aac", 48000, 0.0),
    ("late.mp4", "aac", 44100, 2.0),
    ("a.mkv", "libopus", 48000, 0.0),
    ("a.ts", "mp2", 48000, 0.0),
    ("a.mov", "pcm_s16le", 11025, 0.0),
    ("a.avi", "mp3", 44100, 0.0),
    ("a.flv", "aac", 22050, 0.0),
]
"""Files whose sound is tried: name, codec, samples a second, and the second at which the sound begins."""
BEEPS = [1.0, 2.5, 3.2, 16.3]
"""Seconds at which a tone of 0.1 s begins, where there is else silence."""


def make_clip(path: Path, start: float, end: float, folder: Path) -> Path:
    """The clip of one moment."""
    events = [event for event in export_clips([Wanted(path, start, end)], folder) if isinstance(event, Written)]
    return events[0].path


def numbers_of(path: Path) -> dict[float, int | None]:
    """When each number of a clip begins to be shown, as a program sees it that turns no picture."""
    found: dict[float, int | None] = {}
    with open_video(path, threads=1) as (container, stream):
        for frame in container.decode(stream):
            width, height = shown_size(frame, stream)
            picture = np.asarray(Image.fromarray(frame.to_ndarray(format="rgb24")).resize((width, height)))
            left, top = max(0, width - height) // 2, max(0, height - width) // 2
            side = min(width, height)
            number = read_number(picture[top : top + side, left:][:, :side])
            if number != next(reversed(found.values()), None):
                found[frame.time] = number
    return found


def write_beeps(path: Path, codec: str, rate: int = 48000, begin: float = 0.0, seconds: int = 17) -> None:
    """A video of so many seconds, a frame each 0.2 s, whose sound begins at `begin` and beeps at BEEPS."""
    time = np.arange(seconds * rate) / rate
    on = np.any([(time >= beep) & (time < beep + 0.1) for beep in BEEPS], axis=0)
    wave = (np.sin(time * 2 * np.pi * 440) * on * 20000).astype(np.int16)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(
            "mpeg4" if path.suffix == ".avi" else "libx264", rate=5, options={"g": "20", "preset": "ultrafast"}
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio: Any = container.add_stream(codec, rate=rate, layout="mono")
        for number in range(seconds * 5):
            container.mux(video.encode(av.VideoFrame.from_ndarray(draw(number)).reformat(format="yuv420p")))
            place = number * rate // 5
            if place >= begin * rate:
                block = wave[None, place : (number + 1) * rate // 5]
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), place
                container.mux(audio.encode(frame))
        container.mux([*video.encode(), *audio.encode()])


def beeps_of(path: Path) -> list[float]:
    """When the tones in the sound of a file begin, in seconds; encoders begin a little late, and may not say so."""
    with av.open(str(path)) as container:
        start = (container.start_time or 0) / av.time_base
        blocks = [
            (frame.time or 0.0, frame.sample_rate, np.abs(frame.to_ndarray()).max(0))
            for frame in container.decode(audio=0)
        ]
    times = np.concatenate([time - start + np.arange(len(wave)) / rate for time, rate, wave in blocks])
    loud = times[np.concatenate([wave for _, _, wave in blocks]) > 0.2]
    return [float(loud[0]), *map(float, loud[1:][np.diff(loud) > 0.05])] if len(loud) else []
