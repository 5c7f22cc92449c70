"""What decoding costs, and what is saved: the filter of edges between blocks, and pictures of still scenes.

    uv run python -m tests.measure.decoding [FILE ...]

Without files it draws scenes of 720p. Each row is of one file: CPU seconds of this process, the median of three runs
in turn. "whole" takes nothing for still and smooths edges; "no filter" does not smooth them; "now" is what
`vidfind index` does. Cosines are the lowest and the mean of the vectors of clips to those of "whole", from the built-in
model; "shift" is the cosine where all frames are taken half a spacing later.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import av
import numpy as np
from av.video.frame import VideoFrame

from vidfind.encoders.encoder import Encoder
from vidfind.media.frames import open_video
from vidfind.media.probe import examine_once
from vidfind.media.readers import gops, keyframes
from vidfind.media.readers.keyframes import read_by_keyframes
from vidfind.media.sampling import Segment, split_segments
from vidfind.models.load import load_encoder
from vidfind.system.machine import cpu_name

WIDTH, HEIGHT, RATE, SECONDS = 1280, 720, 25, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    files = parser.parse_args().files
    encoder = load_encoder("tiny", encoder="mean", device="cpu", dtype="float32")
    print(f"{cpu_name()}, one thread\n")
    print("| file | clips | whole, s | no filter | now | times | repeats | cosine, no filter | now | shift |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for file in files or draw_scenes(Path(folder)):
            print(f"| {file.stem} | {' | '.join(measure(file, encoder))} |", flush=True)


def measure(path: Path, encoder: Encoder) -> list[str]:
    """Returns the cells of a file."""
    info, traits = examine_once(path)
    segments = split_segments(info.duration, 10, info.start)
    spacing = (segments[0].end - segments[0].start) / encoder.num_frames
    later = [Segment(one.start + spacing / 2, min(one.end + spacing / 2, info.duration)) for one in segments]

    def read(wanted: list[Segment]) -> np.ndarray:
        found = read_by_keyframes(path, traits, wanted, encoder.num_frames, encoder.view, "auto")
        return np.stack([sample.frames for sample in found])

    ways: dict[str, Callable[[], object]] = {"whole": edges_smoothed, "no filter": nothing_still, "now": as_it_is}
    times: dict[str, list[float]] = {way: [] for way in ways}
    clips: dict[str, np.ndarray] = {}
    for _ in range(3):
        for way, prepared in ways.items():
            with prepared():  # type: ignore[attr-defined]
                began = time.process_time()
                clips[way] = read(segments)
                times[way].append(time.process_time() - began)
    with edges_smoothed():
        clips["shift"] = read(later)
    vectors = {way: encoder.encode_video(frames).numpy() for way, frames in clips.items()}
    cosines = {way: (one * vectors["whole"]).sum(axis=1) for way, one in vectors.items()}
    now = clips["now"]
    repeats = sum(bool((one == other).all()) for one, other in zip(now[1:], now[:-1], strict=True))
    seconds = {way: median(some) for way, some in times.items()}
    told = [f"{cosines[way].min():.4f} {cosines[way].mean():.4f}" for way in ("no filter", "now", "shift")]
    faster = f"{seconds['whole'] / seconds['now']:.1f}"
    return [str(len(now)), *(f"{seconds[way]:.2f}" for way in ways), faster, str(repeats), *told]


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


@contextmanager
def nothing_still() -> Iterator[None]:
    with patch.object(gops, "still_limit", lambda width, height: 0.0):
        yield


@contextmanager
def edges_smoothed() -> Iterator[None]:
    @contextmanager
    def opened(path: Path, threads: int | None = None, is_quick: bool = False, device: str = "") -> Iterator[object]:
        with open_video(path, threads, is_quick) as (container, stream):
            stream.codec_context.options = {"skip_loop_filter": "default"}
            yield container, stream

    with nothing_still(), patch.object(keyframes, "open_video", opened):
        yield


def draw_scenes(folder: Path) -> Iterator[Path]:
    """Writes scenes with still, slowly changing and moving pictures."""
    rng = np.random.default_rng(0)
    wall = np.kron(rng.integers(50, 200, (HEIGHT // 16, 2 * WIDTH // 16, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    scenes: dict[str, Callable[[float], np.ndarray]] = {
        "still": lambda now: wall[:, :WIDTH],
        "slides": lambda now: wall[:, 16 * int(now / 7) :][:, :WIDTH],
        "slow pan": lambda now: wall[:, int(2 * now) :][:, :WIDTH],
        "fade": lambda now: (wall[:, :WIDTH] * (1 - now / SECONDS / 2)).astype(np.uint8),
        "thing crosses": lambda now: crossed(wall[:, :WIDTH], now),
    }
    for name, draw in scenes.items():
        for gop in (25, 250):
            path = folder / f"{name}, GOP {gop}.mp4"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "23"})
                stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", gop
                for number in range(RATE * SECONDS):
                    frame = VideoFrame.from_ndarray(np.ascontiguousarray(draw(number / RATE)), format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
            yield path


def crossed(picture: np.ndarray, now: float) -> np.ndarray:
    """A thing of 32 pixels crosses the picture between second 6 and 9."""
    picture = picture.copy()
    if 6 <= now < 9:
        left = int((now - 6) / 3 * (WIDTH - 32))
        picture[300:332, left : left + 32] = 240
    return picture


if __name__ == "__main__":
    main()
