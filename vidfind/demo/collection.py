"""Draws a collection of different scenes as video files."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from vidfind.demo.captions import caption
from vidfind.demo.drawing import draw
from vidfind.demo.world import FRAME_RATE, Scene, random_scene
from vidfind.media.write import write_video

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
