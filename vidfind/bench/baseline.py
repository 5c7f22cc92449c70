"""The common recipe: how most scripts index videos with decord and open_clip; the baseline for vidfind's speed.

A separate program, `python -m vidfind.bench.baseline`, that shares no code with vidfind: one frame a second, each
through plain CLIP in float32, a few at a time, with the vectors in a numpy file. Prints its figures as JSON.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vidfind.system.imports import without_nvidia

BATCH = 8
READERS = ("sequential", "picked", "scaled")
"""How frames are read: one after another, keeping one a second; only the wanted ones, as decord decodes them; the same,
scaled to the size of the model by decord. Most scripts do the first; the others make a faster baseline."""


def main(model: str, weights: str, threads: int, reader: str, output: Path, files: list[Path]) -> dict[str, float]:
    """Indexes the files; returns the number of frames, and the footage in seconds."""
    with without_nvidia():
        import decord
    import open_clip
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    clip, _, preprocess = open_clip.create_model_and_transforms(model, pretrained=weights)
    clip.eval()
    size = int(clip.visual.image_size[0])

    vectors: list[Any] = []
    footage = 0.0
    for file in files:
        scale = {"width": size, "height": size} if reader == "scaled" else {}
        video = decord.VideoReader(str(file), num_threads=threads, **scale)
        footage += len(video) / video.get_avg_fps()
        batch = []
        for frame in _frames(video, reader):
            batch.append(preprocess(Image.fromarray(frame)))
            if len(batch) == BATCH:
                vectors.append(_encode(clip, torch.stack(batch)))
                batch = []
        if batch:
            vectors.append(_encode(clip, torch.stack(batch)))
    np.save(output, np.concatenate(vectors))
    return {"frames": sum(map(len, vectors)), "footage": footage}


def _frames(video: Any, reader: str) -> Iterator[Any]:
    """Yields one frame a second, (H, W, 3) uint8."""
    step = round(video.get_avg_fps())
    if reader == "sequential":
        for i in range(len(video)):
            frame = video.next()
            if i % step == 0:
                yield frame.asnumpy()
    else:
        for i in range(0, len(video), step):
            yield video[i].asnumpy()


def _encode(clip: Any, pixels: Any) -> Any:
    import torch

    with torch.no_grad():
        features = clip.encode_image(pixels)
        return (features / features.norm(dim=-1, keepdim=True)).numpy()


if __name__ == "__main__":
    model, weights, threads, reader, output, *files = sys.argv[1:]
    print(json.dumps(main(model, weights, int(threads), reader, Path(output), [Path(file) for file in files])))
