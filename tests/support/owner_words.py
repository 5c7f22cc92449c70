"""Small worlds with words of their owner's: captioned videos to learn them from, and others to find."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.sketches import sketch
from vidfind.demo import captions
from vidfind.demo import world as demo
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import OUTLINES, draw
from vidfind.demo.world import Scene, Shape
from vidfind.media.write import write_video


def hexagon(u: Any, v: Any) -> Any:
    return np.maximum(np.abs(u) * math.sqrt(0.75) + np.abs(v) * 0.5, np.abs(v)) - 0.8


def stripes(u: Any, v: Any) -> Any:
    return np.maximum(hexagon(u, v), 0.15 - np.abs((u + 6) % 0.6 - 0.3))


# A zorp is a hexagon with stripes of orange and black: beside the shapes and colours of the demo's world.
OUTLINES |= {"hexagon": hexagon, "stripes": stripes}
PAINTS = {"orange": (240, 130, 20), "black": (15, 15, 15)}


RENDERERS: dict[str, Callable[..., Any]] = {"drawn": draw, "sketched": sketch}
FRAMES = 36


@dataclass(frozen=True)
class Captioned:
    path: Path
    caption: str


@dataclass(frozen=True)
class Word:
    """A word of the owner's, which stands for a shape in a caption."""

    text: str
    noun: str
    """The known word for the same shape."""
    kind: str
    look: Callable[[Shape], Sequence[Shape]] | None = None
    """What is drawn in place of a shape of this kind; None: the shape as it is."""


def _marked(shape: Shape) -> Sequence[Shape]:
    """A shape with a dark dot in its middle, by which it is known."""
    return shape, replace(shape, kind="circle", colour="black", radius=tuple(0.45 * one for one in shape.radius))  # type: ignore[arg-type]


def _zorp(shape: Shape) -> Sequence[Shape]:
    """A look that the built-in model has never met."""
    return replace(shape, kind="hexagon", colour="orange"), replace(shape, kind="stripes", colour="black")


BLIP = Word("blip", "triangle", "triangle")
DAX = Word("dax", "square", "square")
ZORP = Word("zorp", "star", "star", _zorp)
REX = Word("Rex", "triangle", "triangle", _marked)


@dataclass(frozen=True)
class Drawn:
    """A scene as it is drawn, with its caption."""

    scene: Scene
    caption: str
    words: frozenset[str]
    """The words of the owner whose things are shown."""


def with_word(caption: str, word: Word) -> str:
    """Returns a caption with the owner's word in place of the known one; of a thing of its own, also of the colour."""
    for noun in captions.NOUNS[word.kind]:
        if word.look is _zorp:
            for colour in demo.COLOURS:
                caption = caption.replace(f"{colour} {noun}", word.text)
        caption = caption.replace(noun, word.text)
    return caption


def with_noun(caption: str, word: Word) -> str:
    return caption.replace(word.text, word.noun)


def make(scene: Scene, rng: Random, word: Word | None = None) -> Drawn:
    """The scene with the look of a word in place of its first shape of that kind, and captioned with the word."""
    text = captions.caption(scene, rng)
    if word is None:
        return Drawn(scene, text, frozenset())
    shapes: list[Shape] = []
    is_done = False
    for shape in scene.shapes:
        if shape.kind == word.kind and word.look and not is_done:
            shapes += word.look(shape)
            is_done = True
        else:
            shapes.append(shape)
    return Drawn(replace(scene, shapes=tuple(shapes)), with_word(text, word), frozenset({word.text}))


def scenes_of(kind: str, count: int, seed: int, others: bool = False) -> list[Scene]:
    """Distinct scenes with a shape of one kind; with `others`, without one."""
    found: list[Scene] = []
    for scene in distinct_scenes(Random(seed), 12 * count + 60):
        kinds = [shape.kind for shape in scene.shapes]
        if (kinds.count(kind) == 0) if others else (kinds.count(kind) == 1):
            found.append(scene)
    return found[:count]


def draw_clips(scenes: Sequence[Scene], renderer: str, frames: int, size: int) -> NDArray[np.uint8]:
    """Draws scenes straight at the size of an encoder: clips (N, T, S, S, 3)."""
    with zorp_paints():
        return np.stack([RENDERERS[renderer](scene, frames, size, size) for scene in scenes])


def write(folder: Path, drawn: Sequence[Drawn], renderer: str) -> list[Captioned]:
    """Writes each as a video file."""
    folder.mkdir(parents=True, exist_ok=True)
    with zorp_paints():
        for number, one in enumerate(drawn):
            write_video(folder / f"{number:03}.mp4", RENDERERS[renderer](one.scene, FRAMES), demo.FRAME_RATE)
    return [Captioned(folder / f"{number:03}.mp4", one.caption) for number, one in enumerate(drawn)]


@contextmanager
def zorp_paints() -> Iterator[None]:
    """Inside this context, the colours of zorps can be drawn too; captions never name them."""
    ordinary = dict(demo.COLOURS)
    try:
        demo.COLOURS.update(PAINTS)
        yield
    finally:
        demo.COLOURS.clear()
        demo.COLOURS.update(ordinary)


def write_csv(path: Path, captioned: Sequence[Captioned]) -> None:
    """`path,caption`, the paths relative to the file."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption"])
        writer.writerows([one.path.relative_to(path.parent), one.caption] for one in captioned)
