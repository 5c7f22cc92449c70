"""Measures whether decoding and encoding wait for each other: each alone, on all cores, and both together.

    uv run python -m tests.measure.overlap WEIGHTS VIDEO... [--runs 3]

For ViT-B-32 and its weights, without the start. Where both take all cores, together they can take no less than the sum
of the two; on a GPU, no less than the longer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np

from vidfind.encoders.stream import encode_ahead
from vidfind.media.decoding import decode_ahead
from vidfind.media.messages import Clip
from vidfind.models.load import load_encoder
from vidfind.system.machine import parallel_map

SEGMENT_LENGTH = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    encoder = load_encoder("ViT-B-32", asked.weights)
    wanted = (SEGMENT_LENGTH, encoder.num_frames, encoder.image_size)

    def decode() -> int:
        batches = decode_ahead(asked.videos, *wanted, batch_size=encoder.batch_size)
        return sum(isinstance(message, Clip) for batch in batches for message in batch)

    count = decode()  # and the workers are there
    batch = np.random.default_rng(0).integers(0, 256, (encoder.batch_size, *clip_shape(wanted)), np.uint8)

    def encode() -> None:
        batches = [batch] * (count // len(batch)) + [batch[: count % len(batch)]]
        for _ in parallel_map(encoder.encode_video, [batch for batch in batches if len(batch)], encoder.lanes):
            pass

    def both() -> None:
        with closing(encode_ahead(asked.videos, SEGMENT_LENGTH, [encoder])) as batches:
            for _ in batches:
                pass

    runs = [[seconds(work) for work in (decode, encode, both)] for _ in range(asked.runs)]
    for name, series in zip(("decode", "encode", "both"), zip(*runs, strict=True), strict=True):
        print(f"{name}: {median(series):.1f} s ({min(series):.1f} to {max(series):.1f}) for {count} clips")
    for name, ratios in {
        "both : sum": [together / (one + other) for one, other, together in runs],
        "both : longer": [together / max(one, other) for one, other, together in runs],
    }.items():
        print(f"{name}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def clip_shape(wanted: tuple[float, int, int]) -> tuple[int, int, int, int]:
    _, frames, size = wanted
    return frames, size, size, 3


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
