"""Drawn clips of a small world, with captions: the demo, the tiny model's training data, test fixtures.

A scene holds one or two shapes, each with a colour, a size and a motion, over a muted background. Owns drawing and
wording; knows nothing of models or indexes. Lengths are fractions of the picture's height and times fractions of the
clip, so that one scene can be drawn at any size and length. x runs right, y down, and (0, 0) to (1, 1) is the centre
square: everything happens inside it, because that is what the encoders see.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidfind.media.read import write_video

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
SMALLEST, BIGGEST = 0.09, 0.28  # where growing starts and ends
# Each motion with what it is when played backwards: the same frames in another order, so that only an encoder that sees
# time can tell the two apart.
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
        """All that a caption can tell of this shape."""
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
    """What a clip shows; shapes drawn in order."""

    shapes: tuple[Shape, ...]
    background: Background

    @property
    def meaning(self) -> frozenset[tuple[str, str, str, str]]:
        """Two scenes with the same meaning could carry the same caption."""
        return frozenset(shape.meaning for shape in self.shapes)


# Scenes


def random_scene(rng: Random, *, count: int | None = None, held_out: bool = False) -> Scene:
    """A scene of `count` shapes (if not given, one or two), of those that training uses or of those it never does."""
    count = count or (1 if rng.random() < 0.6 else 2)
    while True:
        scene = Scene(tuple(random_shape(rng) for _ in range(count)), random_background(rng))
        if is_held_out(scene) == held_out and not overlaps(scene):
            return scene


def random_shape(
    rng: Random, kind: str | None = None, colour: str | None = None, size: str | None = None, motion: str | None = None
) -> Shape:
    """A shape of which anything not given is drawn by lot. `size` is ignored for a shape that grows or shrinks."""
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
    """The scene played backwards."""

    def reverse_shape(shape: Shape) -> Shape:
        motion, turns = REVERSED[shape.motion], -shape.turns if shape.motion == "spins" else shape.turns
        if shape.motion == "bounces":  # there and back again: the same both ways
            return shape
        return replace(shape, motion=motion, start=shape.end, end=shape.start, radius=shape.radius[::-1], turns=turns)

    return replace(scene, shapes=tuple(reverse_shape(shape) for shape in scene.shapes))


def is_held_out(scene: Scene) -> bool:
    """Whether the scene shows one of the combinations, one in five, that are never trained on."""
    return any(zlib.crc32(" ".join(shape.meaning).encode()) % 5 == 0 for shape in scene.shapes)


def overlaps(scene: Scene) -> bool:
    """Whether two shapes touch at some time, or look alike from the start."""
    if len(scene.shapes) < 2:
        return False
    first, second = scene.shapes
    time = np.linspace(0, 1, 25, dtype=np.float32)
    x1, y1, r1, _ = pose(first, time)
    x2, y2, r2, _ = pose(second, time)
    alike = (first.kind, first.colour) == (second.kind, second.colour)
    return alike or bool((np.hypot(x1 - x2, y1 - y2) < r1 + r2).any())


# Drawing


def draw(scene: Scene, num_frames: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """The scene as (T, H, W, 3) uint8 RGB frames, evenly over its time."""
    time = (np.arange(num_frames, dtype=np.float32) + 0.5) / num_frames
    frames = np.repeat(draw_background(scene.background, height, width)[None], num_frames, axis=0)
    for shape in scene.shapes:
        paint(frames, shape, time)
    return frames


def pose(shape: Shape, time: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """x, y, radius and angle (radians) of the shape at each time, 0 to 1."""
    along = np.abs(np.sin(math.pi * shape.turns * time)) if shape.motion == "bounces" else time
    x = shape.start[0] + (shape.end[0] - shape.start[0]) * along
    y = shape.start[1] + (shape.end[1] - shape.start[1]) * along
    radius = shape.radius[0] + (shape.radius[1] - shape.radius[0]) * time
    angle = 2 * math.pi * shape.turns * time if shape.motion == "spins" else np.zeros_like(time)
    return x, y, radius, angle


def paint(frames: NDArray[np.uint8], shape: Shape, time: Floats) -> None:
    """Paint the shape over the frames (T, H, W, 3), one for each time, in place."""
    _, height, width, _ = frames.shape
    x, y, radius, angle = pose(shape, time)
    x, y, radius = x * height + (width - height) / 2, y * height, radius * height  # pixels from here on
    # The same small window around the shape in each frame: one array for all times, K pixels wide.
    k = 2 * math.ceil(float(radius.max())) + 4
    left, top = np.floor(x - k / 2).astype(int), np.floor(y - k / 2).astype(int)
    u = (np.arange(k, dtype=np.float32) + 0.5 + (left - x)[:, None])[:, None, :]  # (T, 1, K)
    v = (np.arange(k, dtype=np.float32) + 0.5 + (top - y)[:, None])[:, :, None]  # (T, K, 1)
    cos, sin, scale = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None], radius[:, None, None]
    outside = OUTLINES[shape.kind]((u * cos + v * sin) / scale, (v * cos - u * sin) / scale) * scale
    cover = np.clip(0.5 - outside, 0, 1)[..., None]  # (T, K, K, 1): how much of the pixel the shape covers
    colour = np.array(COLOURS[shape.colour], dtype=np.float32)
    for frame, alpha, i, j in zip(frames, cover, top, left, strict=True):
        alpha = alpha[max(-i, 0) : height - i, max(-j, 0) : width - j]
        patch = frame[max(i, 0) : i + k, max(j, 0) : j + k]
        patch[:] = patch + alpha * (colour - patch) + 0.5


# Signed distances to the outline, negative inside, of shapes that just fit into a circle of radius 1.


def _circle(u: Floats, v: Floats) -> Floats:
    outside: Floats = np.sqrt(u * u + v * v) - 0.86
    return outside


def _square(u: Floats, v: Floats) -> Floats:
    return np.maximum(np.abs(u), np.abs(v)) - 0.7


def _triangle(u: Floats, v: Floats) -> Floats:
    return np.maximum(v, math.sqrt(0.75) * np.abs(u) - 0.5 * v) - 0.5


def _star(u: Floats, v: Floats) -> Floats:
    fifth = 2 * math.pi / 5
    angle = np.abs((np.arctan2(u, -v) + fifth / 2) % fifth - fifth / 2)  # folded onto one half of one ray
    length = np.sqrt(u * u + v * v)
    valley = 0.45 * math.cos(fifth / 2), 0.45 * math.sin(fifth / 2)
    edge = math.hypot(1 - valley[0], valley[1])
    outside: Floats = ((length * np.cos(angle) - 1) * valley[1] + length * np.sin(angle) * (1 - valley[0])) / edge
    return outside


OUTLINES = {"circle": _circle, "square": _square, "triangle": _triangle, "star": _star}


def draw_background(background: Background, height: int, width: int) -> NDArray[np.uint8]:
    """The background as (H, W, 3) uint8 RGB."""
    x = ((np.arange(width, dtype=np.float32) + 0.5 - (width - height) / 2) / height)[None, :]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    along = x * math.cos(background.angle) + y * math.sin(background.angle)  # (H, W)
    if background.kind == "gradient":
        mix = 0.5 + (along - (math.cos(background.angle) + math.sin(background.angle)) / 2) / 2
    elif background.kind == "stripes":
        mix = 0.5 + 0.5 * np.sin(2 * math.pi * along / background.period)
    elif background.kind == "noise":
        grid = np.array(background.cells, dtype=np.float32).reshape(NOISE_CELLS, NOISE_CELLS)
        mix = _blend_rows(_blend_rows(grid, y[:, 0]).T, (x[0] + 0.2) / 1.4).T
    else:
        mix = np.zeros_like(along)
    first, second = (np.array(colour, dtype=np.float32) for colour in background.colours)
    return np.clip(first + np.clip(mix, 0, 1)[..., None] * (second - first), 0, 255).astype(np.uint8)


def _blend_rows(grid: Floats, position: Floats) -> Floats:
    """The rows of the grid blended smoothly at each position, 0 to 1."""
    place = np.clip(position, 0, 1) * (len(grid) - 1)
    row = np.minimum(place.astype(int), len(grid) - 2)
    part = (place - row)[:, None]
    part = part * part * (3 - 2 * part)
    blended: Floats = grid[row] * (1 - part) + grid[row + 1] * part
    return blended


# Captions

NOUNS = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
}
ADJECTIVES = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
# Each as "it ...", and as "a circle ..." without a verb of its own.
VERBS = {
    "left": (
        ("moves left", "moving left"),
        ("slides to the left", "sliding to the left"),
        ("moves from right to left", "moving from right to left"),
        ("goes from the right side to the left side", "going from the right side to the left side"),
        ("drifts leftwards", "drifting leftwards"),
    ),
    "right": (
        ("moves right", "moving right"),
        ("slides to the right", "sliding to the right"),
        ("moves from left to right", "moving from left to right"),
        ("goes from the left side to the right side", "going from the left side to the right side"),
        ("drifts rightwards", "drifting rightwards"),
    ),
    "up": (
        ("moves up", "moving up"),
        ("rises", "rising"),
        ("slides upwards", "sliding upwards"),
        ("goes from the bottom to the top", "going from the bottom to the top"),
        ("climbs to the top", "climbing to the top"),
    ),
    "down": (
        ("moves down", "moving down"),
        ("falls", "falling"),
        ("slides downwards", "sliding downwards"),
        ("goes from the top to the bottom", "going from the top to the bottom"),
        ("sinks to the bottom", "sinking to the bottom"),
    ),
    "grows": (("grows", "growing"), ("gets bigger", "getting bigger"), ("becomes larger", "becoming larger")),
    "shrinks": (("shrinks", "shrinking"), ("gets smaller", "getting smaller"), ("becomes smaller", "becoming smaller")),
    "spins": (("spins", "spinning"), ("rotates", "rotating"), ("turns around", "turning around")),
    "bounces": (("bounces", "bouncing"), ("hops up and down", "hopping up and down"), ("keeps jumping", "jumping")),
    "still": (("stays still", "staying still"), ("does not move", "that does not move"), ("rests", "resting")),
}


def caption(scene: Scene, rng: Random) -> str:
    """One of the many ways to say what the scene shows, every attribute of every shape included."""
    shapes = list(scene.shapes)
    rng.shuffle(shapes)
    joint = rng.choice((" while ", " and ", ", "))
    return joint.join(_phrase(shape, rng) for shape in shapes)


def _phrase(shape: Shape, rng: Random) -> str:
    adjective = [rng.choice(ADJECTIVES[shape.size])] if shape.size else []
    noun = " ".join([*adjective, shape.colour, rng.choice(NOUNS[shape.kind])])
    verb, participle = rng.choice(VERBS[shape.motion])
    article = rng.choice(("a", "a", "the", "one"))
    return rng.choice((f"{article} {noun} {verb}", f"{article} {noun} {participle}", f"{noun} {participle}"))


# Files


def draw_collection(folder: Path, count: int, seed: int = 0) -> list[tuple[Path, str]]:
    """`count` video files of distinct scenes in the folder, each with its caption. Their names say nothing."""
    rng = Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for number, scene in enumerate(distinct_scenes(rng, count), start=1):
        path = folder / f"clip-{number:0{len(str(count))}}.mp4"
        write_video(path, draw(scene, round(rng.uniform(3, 6) * FRAME_RATE)), FRAME_RATE)
        drawn.append((path, caption(scene, rng)))
    return drawn


def distinct_scenes(rng: Random, count: int, held_out: bool = True) -> Iterator[Scene]:
    """Scenes no two of which mean the same; with `held_out`, one in five of them is never trained on."""
    seen: set[Any] = set()
    while len(seen) < count:
        scene = random_scene(rng, held_out=held_out and len(seen) % 5 == 4)
        if scene.meaning not in seen:
            seen.add(scene.meaning)
            yield scene
