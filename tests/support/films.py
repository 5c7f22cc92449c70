"""A folder of small videos that are told apart by their colours and lengths."""

from pathlib import Path

import numpy as np

from vidfind.media.write import write_video

LENGTHS = {"a.mp4": 1, "b.mp4": 2, "inner/long.mp4": 31}
"""Length in seconds of each video, by its path in the folder; the long one has three segments."""


def make_films(folder: Path) -> Path:
    """Writes the videos into a folder, and returns it."""
    (folder / "inner").mkdir()
    for seed, (name, seconds) in enumerate(LENGTHS.items()):
        colours = np.random.default_rng(seed).integers(0, 256, (seconds * 4, 1, 1, 3), np.uint8)
        write_video(folder / name, np.broadcast_to(colours, (seconds * 4, 64, 96, 3)), 4)
    return folder
