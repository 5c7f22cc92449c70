"""How many look-alikes `--collapse` folds, and how many different videos, by the least cosine.

    uv run python -m tests.measure.alike [--videos 120] [--twins 20] [--seed 32]

Draws videos of distinct scenes, and of some of them look-alikes: of half the size, trimmed by a tenth at both ends,
brighter, cropped, and the same scene filmed again a little elsewhere ("burst"). All are written, read again and encoded
with the tiny model. "Wrong" are different videos that have another one so near.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.tiny.exam import read_videos
from vidfind.demo.world import FRAME_RATE, Scene
from vidfind.encoders.encoder import Encoder
from vidfind.media.write import write_video
from vidfind.models.catalog import TINY
from vidfind.models.load import load_encoder

LEAST = (0.95, 0.97, 0.98, 0.99)
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half size": lambda frames: frames[:, ::2, ::2],
    "trimmed": lambda frames: frames[len(frames) // 10 : -(len(frames) // 10)],
    "brighter": lambda frames: np.clip(frames.astype(np.int16) * 1.1 + 8, 0, 255).astype(np.uint8),
    "cropped": lambda frames: frames[:, 10:-10, 12:-12],
}
MOVED = 0.03
"""How far things lie elsewhere in a burst, as a share of the picture."""


def filmed_again(scene: Scene, rng: Random) -> Scene:
    def near(place: tuple[float, float]) -> tuple[float, float]:
        x, y = (min(max(one + rng.uniform(-MOVED, MOVED), 0.1), 0.9) for one in place)
        return x, y

    shapes = [dataclasses.replace(one, start=near(one.start), end=near(one.end)) for one in scene.shapes]
    return dataclasses.replace(scene, shapes=tuple(shapes))


def encode(encoder: Encoder, clips: list[np.ndarray], folder: Path) -> np.ndarray:
    """The vectors (N, D) of frames, each written to a file and read again."""
    paths = [folder / f"{number}.mp4" for number in range(len(clips))]
    for path, frames in zip(paths, clips, strict=True):
        write_video(path, np.ascontiguousarray(frames), FRAME_RATE)
    read = read_videos(paths, encoder.image_size)
    vectors = [encoder.encode_video(read[at : at + 50]).numpy() for at in range(0, len(read), 50)]
    return np.concatenate(vectors)


def table(encoder: Encoder, videos: int, twins: int, seed: int, folder: Path) -> list[str]:
    rng = Random(seed)
    scenes = list(distinct_scenes(rng, videos))
    lengths = [round(rng.uniform(3, 6) * FRAME_RATE) for _ in scenes]
    clips = [draw(scene, length) for scene, length in zip(scenes, lengths, strict=True)]
    vectors = encode(encoder, clips, folder)
    cosines = {}
    for name, change in CHANGES.items():
        cosines[name] = (encode(encoder, [change(frames) for frames in clips[:twins]], folder) * vectors[:twins]).sum(1)
    again = [draw(filmed_again(scene, rng), length) for scene, length in zip(scenes[:twins], lengths, strict=False)]
    cosines["burst"] = (encode(encoder, again, folder) * vectors[:twins]).sum(1)
    others = vectors @ vectors.T
    np.fill_diagonal(others, -1)
    cosines["wrong"] = others.max(axis=1)
    lines = ["| Cosine at least | " + " | ".join(cosines) + " |", "|---|" + "---|" * len(cosines)]
    for least in LEAST:
        lines.append(
            f"| {least} | " + " | ".join(f"{100 * (one >= least).mean():.1f}" for one in cosines.values()) + " |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=120)
    parser.add_argument("--twins", type=int, default=20)
    parser.add_argument("--seed", type=int, default=32)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for line in table(
            load_encoder(TINY, device="cpu"), arguments.videos, arguments.twins, arguments.seed, Path(folder)
        ):
            print(line)


if __name__ == "__main__":
    main()
