"""The demo's world as a library of vectors: videos of one or two drawn scenes, and which tags are true of each.

The tags are shapes, colours and motions. Vectors are made once and kept in the temporary folder, as drawing and
encoding takes half a minute for 300 videos.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from vidfind.demo.drawing import draw
from vidfind.demo.world import COLOURS, KINDS, MOTIONS, Scene, random_scene
from vidfind.encoders.encoder import Encoder

TAGS = (*KINDS, *COLOURS, *MOTIONS)
WORDS = {
    **{kind: f"a {kind}" for kind in KINDS},
    **{colour: f"something {colour}" for colour in COLOURS},
    "left": "moving left",
    "right": "moving right",
    "up": "moving up",
    "down": "moving down",
    "grows": "growing",
    "shrinks": "shrinking",
    "spins": "spinning",
    "bounces": "bouncing",
    "still": "staying still",
}
"""Tags as an owner writes them."""
MOST_SCENES = 2
CLIPS_A_BATCH = 32


@dataclass(frozen=True)
class World:
    """A library: vectors (N, D) of segments, `starts` (B + 1,) of videos, and the true tags (B, C) and (N, C)."""

    vectors: npt.NDArray[np.float32]
    starts: npt.NDArray[np.int64]
    true: npt.NDArray[np.bool_]
    true_segments: npt.NDArray[np.bool_]


def tags_of(scene: Scene) -> list[bool]:
    shown = {word for shape in scene.shapes for word in (shape.kind, shape.colour, shape.motion)}
    return [tag in shown for tag in TAGS]


def make_world(load: Callable[[], Encoder], seed: int, videos: int = 300, shapes: int | None = None) -> World:
    """Returns the world of a seed, from the file where it was kept or drawn anew. Each scene has so many `shapes`, or
    one or two."""
    file = Path(tempfile.gettempdir(), f"vidfind-tag-world-{videos}-{shapes or 0}-{seed}.npz")
    if file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            return World(**kept)
    rng = Random(f"tags {seed}")
    scenes = [[random_scene(rng, count=shapes) for _ in range(rng.randint(1, MOST_SCENES))] for _ in range(videos)]
    flat = [scene for video in scenes for scene in video]
    starts = np.concatenate([[0], np.cumsum([len(video) for video in scenes])])
    segments = np.array([tags_of(scene) for scene in flat])
    world = World(encoded(load(), flat), starts, np.logical_or.reduceat(segments, starts[:-1], axis=0), segments)
    np.savez(file, **vars(world))
    return world


def encoded(encoder: Encoder, scenes: Sequence[Scene]) -> npt.NDArray[np.float32]:
    """Returns the vectors (N, D) of scenes, each drawn as one segment."""
    size, frames = encoder.image_size, encoder.identity.num_frames
    parts = []
    for begin in range(0, len(scenes), CLIPS_A_BATCH):
        clips = np.stack([draw(scene, frames, size, size) for scene in scenes[begin : begin + CLIPS_A_BATCH]])
        parts.append(encoder.encode_video(clips).numpy())
    return np.concatenate(parts).astype(np.float32)
