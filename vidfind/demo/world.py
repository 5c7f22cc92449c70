"""Scenes of a small world of moving shapes, for the demo, the training of the tiny model, and tests.

A scene has one or two shapes, each with a colour, a size and a motion, over a muted background. Knows nothing of models
or indexes. Lengths are fractions of the picture's height, and times fractions of the clip, so that a scene can be drawn
at any size and length. x runs right, y runs down, and (0, 0) to (1, 1) is the centre square: everything happens inside
it, because encoders see only that part.
"""

import math
import zlib
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("circle", "square", "triangle", "star")
COLOURS = {
    "red": (225, 25, 35),
    "yellow": (250, 230, 40),
    "green": (20, 150, 50),
    "blue": (25, 70, 230),
    "purple": (145, 35, 185),
    "white": (250, 250, 250),
}
SIZES = {"small": 0.13, "big": 0.23}
SMALLEST, BIGGEST = 0.09, 0.28  # radii where growing starts and ends
# Each motion, and the motion it becomes when played backwards. Both have the same frames in another order, so only an
# encoder that sees time can tell them apart.
REVERSED = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "grows": "shrinks",
    "shrinks": "grows",
    "spins": "spins",
    "bounces": "bounces",
    "still": "still",
}
MOTIONS = tuple(REVERSED)
BACKGROUNDS = ("plain", "gradient", "noise", "stripes")
HEIGHT, WIDTH, FRAME_RATE = 240, 320, 15
NOISE_CELLS = 6  # coarse enough to look blurred
Floats = NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """`size` is "" for a shape that grows or shrinks.

    A bouncing shape goes from `start` to `end` and back, `turns` times; a spinning one turns `turns` times.
    """

    kind: str
    colour: str
    size: str
    motion: str
    start: tuple[float, float]
    end: tuple[float, float]
    radius: tuple[float, float]
    turns: float = 0.0

    @property
    def meaning(self) -> tuple[str, str, str, str]:
        """Everything that a caption can say about this shape."""
        return self.kind, self.colour, self.size, self.motion


@dataclass(frozen=True)
class Background:
    kind: str
    colours: tuple[tuple[float, ...], tuple[float, ...]]
    angle: float
    period: float
    cells: tuple[float, ...]


@dataclass(frozen=True)
class Scene:
    """The content of a clip; shapes are drawn in this order."""

    shapes: tuple[Shape, ...]
    background: Background

    @property
    def meaning(self) -> frozenset[tuple[str, str, str, str]]:
        """The meaning of the scene: two scenes with the same meaning may have the same caption."""
        return frozenset(shape.meaning for shape in self.shapes)


# Scenes


def random_scene(rng: Random, *, count: int | None = None, held_out: bool = False) -> Scene:
    """Returns a random scene of `count` shapes (None: one or two), of combinations that training uses or never uses."""
    count = count or (1 if rng.random() < 0.6 else 2)
    while True:
        scene = Scene(tuple(random_shape(rng) for _ in range(count)), random_background(rng))
        if is_held_out(scene) == held_out and not overlaps(scene):
            return scene


def random_shape(
    rng: Random, kind: str | None = None, colour: str | None = None, size: str | None = None, motion: str | None = None
) -> Shape:
    """Returns a shape with random values for everything not given. A shape that grows or shrinks ignores `size`."""
    kind = kind or rng.choice(KINDS)
    motion = motion or rng.choice([name for name in MOTIONS if can_move(kind, name)])
    size = size or rng.choice(list(SIZES))
    colour = colour or rng.choice(list(COLOURS))
    turns = 0.0
    radius = SIZES[size] * rng.uniform(0.93, 1.07)
    radii = (radius, radius)
    if motion in ("grows", "shrinks"):
        size, radii = "", (SMALLEST * rng.uniform(0.9, 1.1), BIGGEST * rng.uniform(0.9, 1.05))
    margin = max(radii) + 0.01
    x, y = rng.uniform(margin, 1 - margin), rng.uniform(margin, 1 - margin)
    slack = min(0.08, 0.5 - margin)
    near, far = margin + rng.uniform(0, slack), 1 - margin - rng.uniform(0, slack)
    start, end = (x, y), (x, y)
    if motion in ("left", "right"):
        start, end = (near, y), (far, y)
    elif motion in ("up", "down"):
        start, end = (x, near), (x, far)
    elif motion == "bounces":
        start, end, turns = (x, far), (x, far - min(0.4, far - near)), rng.choice((2.0, 3.0))
    elif motion == "spins":
        turns = rng.choice((-1, 1)) * rng.uniform(0.7, 1.1)
    if motion in ("left", "up", "shrinks"):
        start, end, radii = end, start, radii[::-1]
    return Shape(kind, colour, size, motion, start, end, radii, turns)


def can_move(kind: str, motion: str) -> bool:
    """Whether the motion can be seen: a circle that spins cannot."""
    return (kind, motion) != ("circle", "spins")


def random_background(rng: Random) -> Background:
    def muted() -> tuple[float, ...]:
        grey = rng.uniform(75, 185)
        return tuple(grey + rng.uniform(-22, 22) for _ in range(3))

    return Background(
        kind=rng.choice(BACKGROUNDS),
        colours=(muted(), muted()),
        angle=rng.uniform(0, 2 * math.pi),
        period=rng.uniform(0.12, 0.5),
        cells=tuple(rng.random() for _ in range(NOISE_CELLS**2)),
    )


def reverse(scene: Scene) -> Scene:
    """Returns the scene played backwards."""

    def reverse_shape(shape: Shape) -> Shape:
        motion, turns = REVERSED[shape.motion], -shape.turns if shape.motion == "spins" else shape.turns
        if shape.motion == "bounces":  # there and back: the same in both directions
            return shape
        return replace(shape, motion=motion, start=shape.end, end=shape.start, radius=shape.radius[::-1], turns=turns)

    return replace(scene, shapes=tuple(reverse_shape(shape) for shape in scene.shapes))


def is_held_out(scene: Scene) -> bool:
    """Whether the scene is one of the combinations (one in five) that are never trained on."""
    return any(zlib.crc32(" ".join(shape.meaning).encode()) % 5 == 0 for shape in scene.shapes)


def overlaps(scene: Scene) -> bool:
    """Whether two shapes touch at some time, or look the same at the start."""
    if len(scene.shapes) < 2:
        return False
    first, second = scene.shapes
    time = np.linspace(0, 1, 25, dtype=np.float32)
    x1, y1, r1, _ = pose(first, time)
    x2, y2, r2, _ = pose(second, time)
    alike = (first.kind, first.colour) == (second.kind, second.colour)
    return alike or bool((np.hypot(x1 - x2, y1 - y2) < r1 + r2).any())


def pose(shape: Shape, time: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns x, y, radius and angle (radians) of the shape at each time from 0 to 1."""
    along = np.abs(np.sin(math.pi * shape.turns * time)) if shape.motion == "bounces" else time
    x = shape.start[0] + (shape.end[0] - shape.start[0]) * along
    y = shape.start[1] + (shape.end[1] - shape.start[1]) * along
    radius = shape.radius[0] + (shape.radius[1] - shape.radius[0]) * time
    angle = 2 * math.pi * shape.turns * time if shape.motion == "spins" else np.zeros_like(time)
    return x, y, radius, angle
