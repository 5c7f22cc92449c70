"""Draws a collection of different scenes as video files, and deletes it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from vidfind.demo.captions import caption
from vidfind.demo.drawing import draw
from vidfind.demo.world import FRAME_RATE, Scene, random_scene
from vidfind.media.write import write_video

# Files


def draw_collection(folder: Path, count: int, seed: int = 0) -> list[tuple[Path, str]]:
    """Draws `count` video files of distinct scenes into the folder; yields each path and its caption.

    The names of the files say nothing about the scenes."""
    rng = Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for number, scene in enumerate(distinct_scenes(rng, count), start=1):
        path = folder / _name(number, count)
        write_video(path, draw(scene, round(rng.uniform(3, 6) * FRAME_RATE)), FRAME_RATE)
        drawn.append((path, caption(scene, rng)))
    return drawn


def delete_collection(folder: Path, count: int) -> int:
    """Deletes the video files that `draw_collection` made, and the folder if it is then empty; returns their number."""
    drawn = [path for number in range(1, count + 1) if (path := folder / _name(number, count)).is_file()]
    for path in drawn:
        path.unlink()
    with suppress(OSError):  # not there, or holds other files
        folder.rmdir()
    return len(drawn)


def _name(number: int, count: int) -> str:
    return f"clip-{number:0{len(str(count))}}.mp4"


def distinct_scenes(rng: Random, count: int, held_out: bool = True) -> Iterator[Scene]:
    """Yields scenes of which no two mean the same; with `held_out`, one in five is a combination never trained on."""
    seen: set[Any] = set()
    while len(seen) < count:
        scene = random_scene(rng, held_out=held_out and len(seen) % 5 == 4)
        if scene.meaning not in seen:
            seen.add(scene.meaning)
            yield scene
