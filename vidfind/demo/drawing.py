"""Turns scenes into pictures: outlines, backgrounds, frames of a clip."""

import math

import numpy as np
from numpy.typing import NDArray

from vidfind.demo.world import COLOURS, HEIGHT, NOISE_CELLS, WIDTH, Background, Floats, Scene, Shape, pose

# Drawing


def draw(scene: Scene, num_frames: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Draws the scene as frames (T, H, W, 3), uint8 RGB, spread evenly over its time."""
    time = (np.arange(num_frames, dtype=np.float32) + 0.5) / num_frames
    frames = np.repeat(draw_background(scene.background, height, width)[None], num_frames, axis=0)
    for shape in scene.shapes:
        paint(frames, shape, time)
    return frames


def paint(frames: NDArray[np.uint8], shape: Shape, time: Floats) -> None:
    """Paints the shape over the frames (T, H, W, 3), one for each time, in place."""
    _, height, width, _ = frames.shape
    x, y, radius, angle = pose(shape, time)
    x, y, radius = x * height + (width - height) / 2, y * height, radius * height  # pixels from here on
    # A small window of K pixels around the shape in each frame: one array for all times.
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


# Signed distances to the outline (negative inside) of shapes that just fit into a circle of radius 1.


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
    """Draws the background as (H, W, 3), uint8 RGB."""
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
    """Returns the rows of the grid, blended smoothly at each position from 0 to 1."""
    place = np.clip(position, 0, 1) * (len(grid) - 1)
    row = np.minimum(place.astype(int), len(grid) - 2)
    part = (place - row)[:, None]
    part = part * part * (3 - 2 * part)
    blended: Floats = grid[row] * (1 - part) + grid[row + 1] * part
    return blended
