"""Measures what share of encoding a clip the clustering of CenterCLIP takes, on one thread of a CPU.

    uv run python -m tests.measure.clusters [--weights FILE] [--runs 5] [--dtypes float32,bfloat16]

For ViT-B-32, with random weights unless a checkpoint is given, and clips of noise, four at a time as the encoder takes
them; then the clustering alone on as many random tokens as ViT-B/16 has, near enough to be neighbours. Medians, in
milliseconds of the CPU a clip: what else the machine does matters little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from tests.measure.index import MODEL, make_weights
from vidfind.encoders.centerclip import SEGMENTS, centerclip_reduction
from vidfind.encoders.clusters import Clusters, medoid_tokens, spectral_medoids
from vidfind.encoders.encoder import CLIPS_A_BATCH
from vidfind.models.load import load_encoder

Cluster = Callable[[Tensor, int], Clusters]
# Name, tokens of a segment, medoids, and the ways to cluster, with the authors' number of neighbours.
SHAPES: dict[str, tuple[int, int, dict[str, Cluster]]] = {
    MODEL: (147, 49, {"medoids": medoid_tokens, "spectral": partial(spectral_medoids, neighbours=15)}),
    "ViT-B-16": (588, 160, {"medoids": medoid_tokens, "spectral": partial(spectral_medoids, neighbours=20)}),
}
WIDTH = 768


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dtypes", default="float32,bfloat16")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    weights = asked.weights or make_weights(Path(tempfile.gettempdir()) / "corpus" / "vit-b-32.safetensors")
    print(f"ms a clip: {'':16}{'encoding':>10}{'clustering':>12}{'share':>8}")
    for dtype in asked.dtypes.split(","):
        for name, cluster in SHAPES[MODEL][2].items():
            whole, clustering = measure_encoding(weights, dtype, cluster, asked.runs)
            print(f"{MODEL} {dtype:9} {name:8}{whole:9.1f}{clustering:12.1f}{clustering / whole:8.1%}", flush=True)
    n, k, ways = SHAPES["ViT-B-16"]
    for name, cluster in ways.items():
        x = 0.1 * torch.randn(CLIPS_A_BATCH * SEGMENTS, n, WIDTH, generator=torch.Generator().manual_seed(0))
        print(f"ViT-B-16 {'':9} {name:8}{'':9}{median(cpu_ms(cluster, x, k) for _ in range(asked.runs)):12.1f}")


def measure_encoding(weights: Path, dtype: str, cluster: Cluster, runs: int) -> tuple[float, float]:
    """Of encoding as a whole and of the clustering in it, in ms a clip."""
    encoder = load_encoder(MODEL, str(weights), encoder="centerclip", device="cpu", dtype=dtype)
    spent: list[float] = []

    def timed(x: Tensor, k: int) -> Clusters:
        assert (x.shape[1], k) == SHAPES[MODEL][:2]
        began = time.process_time()
        clusters = cluster(x, k)
        spent.append(1000 * (time.process_time() - began) / CLIPS_A_BATCH)
        return clusters

    encoder.reduction = centerclip_reduction(encoder.backbone, timed)
    size = encoder.image_size
    clips = np.random.default_rng(0).integers(0, 256, (CLIPS_A_BATCH, encoder.num_frames, size, size, 3), np.uint8)
    encoder.encode_video(clips)  # the first one takes longer
    spent.clear()
    whole = median(cpu_ms(encoder.encode_video, clips) for _ in range(runs))
    return whole, median(spent)


def cpu_ms(work: Callable[..., object], *arguments: object) -> float:
    """Milliseconds of the CPU that some work on a batch takes, for each clip of it."""
    began = time.process_time()
    work(*arguments)
    return 1000 * (time.process_time() - began) / CLIPS_A_BATCH


if __name__ == "__main__":
    main()
