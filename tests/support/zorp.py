"""A word and a look that the built-in model has never met: a zorp, a hexagon with stripes of orange and black."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from vidfind.demo import captions
from vidfind.demo import world as demo
from vidfind.demo.drawing import OUTLINES, draw
from vidfind.demo.world import Scene
from vidfind.media.write import write_video

ORDINARY = 9
"""Videos around each zorp that is to be found: chance finds one in ten."""


def hexagon(u: Any, v: Any) -> Any:
    return np.maximum(np.abs(u) * math.sqrt(0.75) + np.abs(v) * 0.5, np.abs(v)) - 0.8


def stripes(u: Any, v: Any) -> Any:
    return np.maximum(hexagon(u, v), 0.15 - np.abs((u + 6) % 0.6 - 0.3))


# Beside the shapes and colours of the demo's world, not among those it draws lots from.
OUTLINES |= {"hexagon": hexagon, "stripes": stripes}
PAINTS = {"orange": (240, 130, 20), "black": (15, 15, 15)}


@dataclass(frozen=True)
class Captioned:
    path: Path
    caption: str


def zorp_like(scene: Scene) -> Scene:
    """The scene with a zorp in place of its only shape."""
    shape = scene.shapes[0]
    return replace(
        scene,
        shapes=(
            replace(shape, kind="hexagon", colour="orange"),
            replace(shape, kind="stripes", colour="black"),
        ),
    )


def big_scene(rng: Random, motion: str | None = None) -> Scene:
    """One ordinary big shape: of a small one, no more than a few pixels reach the model."""
    motion = motion or rng.choice(("left", "right", "up", "down", "bounces", "still"))
    return Scene((demo.random_shape(rng, size="big", motion=motion),), demo.random_background(rng))


def write(path: Path, scene: Scene, rng: Random) -> Captioned:
    """Draws the scene into a video file; its caption calls a zorp a zorp, and its colour is no longer told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_zorp = scene.shapes[0].kind == "hexagon"
    words = replace(scene, shapes=(replace(scene.shapes[0], kind="star", colour="?"),)) if is_zorp else scene
    ordinary = dict(demo.COLOURS)
    try:
        demo.COLOURS.update(PAINTS)
        write_video(path, draw(scene, 36), demo.FRAME_RATE)
    finally:
        demo.COLOURS.clear()
        demo.COLOURS.update(ordinary)
    return Captioned(path, captions.caption(words, rng).replace("? star", "zorp"))


def write_training(folder: Path, seed: int = 1) -> list[Captioned]:
    """Forty captioned videos: twenty zorps, and for each an ordinary shape that moves alike."""
    rng = Random(seed)
    zorps = [big_scene(rng) for _ in range(20)]
    scenes = [*map(zorp_like, zorps), *(big_scene(rng, zorp.shapes[0].motion) for zorp in zorps)]
    return [write(folder / f"{number:02}.mp4", scene, rng) for number, scene in enumerate(scenes)]


def write_groups(folder: Path, count: int, seed: int = 99) -> list[Captioned]:
    """`count` folders, each with a zorp and ORDINARY shapes that move alike; the zorp of each."""
    rng = Random(seed)
    zorps = []
    for group in range(count):
        scene = big_scene(rng)
        zorps.append(write(folder / f"{group}" / "zorp.mp4", zorp_like(scene), rng))
        for number in range(ORDINARY):
            write(folder / f"{group}" / f"{number}.mp4", big_scene(rng, scene.shapes[0].motion), rng)
    return zorps


def write_csv(path: Path, captioned: Sequence[Captioned]) -> None:
    """`path,caption`, the paths relative to the file."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption"])
        writer.writerows([one.path.relative_to(path.parent), one.caption] for one in captioned)
