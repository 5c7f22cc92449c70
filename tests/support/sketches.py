"""A second way to draw the demo's scenes: other sizes and colours, outlines that are round and dark at the rim, shapes
that lean, and motions that start and end softly and tremble."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidfind.demo.drawing import OUTLINES, draw_background
from vidfind.demo.world import COLOURS, HEIGHT, WIDTH, Floats, Scene, Shape, pose

PASTELS = {
    "red": (200, 60, 60),
    "yellow": (235, 200, 80),
    "green": (60, 130, 70),
    "blue": (60, 100, 190),
    "purple": (120, 60, 140),
    "white": (225, 225, 235),
}
ROUND = 0.06
"""By how much outlines are wider than drawn, which makes their corners round; in radii."""
TREMBLE = 0.012


def sketch(scene: Scene, num_frames: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Draws the scene as frames (T, H, W, 3), uint8 RGB, spread evenly over its time."""
    time = (np.arange(num_frames, dtype=np.float32) + 0.5) / num_frames
    background = draw_background(scene.background, height, width).astype(np.float32)
    frames = np.repeat(background[None], num_frames, axis=0)
    for shape in scene.shapes:
        _sketch_shape(frames, shape, time)
    drawn: NDArray[np.uint8] = np.clip(frames + 0.5, 0, 255).astype(np.uint8)
    return drawn


def _sketch_shape(frames: Floats, shape: Shape, time: Floats) -> None:
    _, height, width, _ = frames.shape
    soft = time if shape.motion in ("spins", "bounces") else (0.5 - 0.5 * np.cos(math.pi * time)).astype(np.float32)
    x, y, radius, angle = pose(shape, soft)
    radius = radius * (1.06 if shape.size == "big" else 0.88)
    tremble = TREMBLE * np.sin(4 * math.pi * time + 9 * shape.start[0])
    if shape.motion in ("left", "right"):
        y = y + tremble
    elif shape.motion in ("up", "down", "bounces"):
        x = x + tremble
    angle = angle + 0.22 * math.sin(37 * shape.start[0] + 11 * shape.start[1])
    colour = np.array(PASTELS.get(shape.colour) or COLOURS[shape.colour], np.float32)
    down, right = np.mgrid[0:height, 0:width].astype(np.float32)
    down, right = (down + 0.5) / height, (right + 0.5 - (width - height) / 2) / height
    for frame, one_x, one_y, one_radius, one_angle in zip(frames, x, y, radius, angle, strict=True):
        reach = math.ceil(1.2 * one_radius * height) + 2
        middle_x, middle_y = int(one_x * height + (width - height) / 2), int(one_y * height)
        part = np.s_[max(0, middle_y - reach) : middle_y + reach, max(0, middle_x - reach) : middle_x + reach]
        u, v = (right[part] - one_x) / one_radius, (down[part] - one_y) / one_radius
        cos, sin = math.cos(one_angle), math.sin(one_angle)
        outline = OUTLINES[shape.kind](1.08 * (u * cos + v * sin), 1.08 * (v * cos - u * sin))
        outside = (outline - ROUND) * one_radius * height  # pixels
        cover = np.clip(0.5 - outside, 0, 1)[..., None]
        rim = np.clip(0.5 + 0.018 * height - np.abs(outside + 0.035 * height), 0, 1)[..., None]
        frame[part] += cover * (colour * (1 - 0.55 * rim) - frame[part])
