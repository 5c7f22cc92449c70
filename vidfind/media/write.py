"""Writes frames to a video file."""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame


def write_video(path: Path, frames: Iterable[np.ndarray], frame_rate: int, gop: int = 250) -> None:
    """Writes frames, (H, W, 3) uint8 RGB with even height and width, to an H.264 mp4 file.

    Every `gop`-th frame is a keyframe; `frame_rate` is in frames per second."""
    with av.open(str(path), "w", format="mp4") as container:
        options = {"preset": "veryfast", "crf": "20", "g": str(gop)}
        stream = container.add_stream("libx264", rate=frame_rate, options=options)
        stream.pix_fmt = "yuv420p"
        for i, array in enumerate(frames):
            if i == 0:
                stream.height, stream.width = array.shape[:2]
            container.mux(stream.encode(VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())
