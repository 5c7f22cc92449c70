"""Compares the number formats of the image tower: time beside plain CLIP, cosines to float32, and recall.

    uv run python -m tests.measure.precision speed [--model ViT-B-32] [--encoders mean tempme] [--runs 5]
    uv run python -m tests.measure.precision world [--clips 300]

`speed` uses random weights, which are as fast as real ones, and one thread. Each line is the median of runs in turn, in
the time of the process itself, which other programs do not lengthen. `world` judges the built-in model on the drawn
world, as `python -m vidfind.demo.tiny.train judge` does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from tests.support.timm_towers import enliven
from vidfind.bench.encoders import random_encoder
from vidfind.bench.workloads import draw_clips, encode_plainly
from vidfind.demo.tiny.exam import format_line, judge, read_exam
from vidfind.encoders.costs import time_interleaved
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.table import ENCODERS
from vidfind.models.load import load_encoder
from vidfind.precision.formats import describe, measure_speeds
from vidfind.precision.integers import largest_weight
from vidfind.system.machine import cpu_name

SEED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed", help="time and cosines with random weights")
    speed.add_argument("--model", default="ViT-B-32")
    speed.add_argument("--encoders", nargs="+", choices=ENCODERS, default=["mean", "tempme", "tempme-fast"])
    speed.add_argument("--runs", type=int, default=5)
    world = commands.add_parser("world", help="recall on the drawn world")
    world.add_argument("--clips", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    say(f"{cpu_name()}, one thread: {describe(measure_speeds())}")
    if arguments.command == "speed":
        compare_speeds(arguments.model, arguments.encoders, arguments.runs)
    else:
        compare_recall(arguments.clips)


def compare_speeds(model: str, names: Sequence[str], runs: int) -> None:
    exact = random_encoder(model, "cpu", "float32")
    if hasattr(exact.model.visual, "trunk"):
        enliven(exact.model.visual)  # as timm makes them, heads are nearly zero
    clips = torch.from_numpy(draw_clips(3, exact.image_size))
    pixels = torch.randn(exact.num_frames, 3, exact.image_size, exact.image_size)
    encoders = {}
    for name in names:
        encoders[f"{name} float32"] = exact.with_encoder(name)
        if largest_weight():
            encoders[f"{name} int8"] = in_int8(exact).with_encoder(name)
    works = {"open_clip float32": partial(encode_plainly, exact.model, pixels)}
    works |= {name: partial(encoder.encode_video, clips[:1]) for name, encoder in encoders.items()}
    time_interleaved(works, 1)
    times = time_interleaved(works, runs, clock=time.process_time)
    say(f"{model}, 12 frames, random weights   ms a clip   to open_clip   to float32   cosine: median, least")
    for name, seconds in times.items():
        plain = median(b / a for a, b in zip(seconds, times["open_clip float32"], strict=False))
        line = f"{name:32} {1000 * median(seconds):9.0f} {plain:14.2f}"
        if name.endswith("int8"):
            same = name.replace("int8", "float32")
            cosines = (encoders[name].encode_video(clips) * encoders[same].encode_video(clips)).sum(dim=1)
            ratio = median(b / a for a, b in zip(seconds, times[same], strict=False))
            line += f" {ratio:12.2f} {cosines.median():12.5f}, {cosines.min():.5f}"
        say(line)


def compare_recall(count: int) -> None:
    encoders = {name: load_encoder("tiny", device="cpu", dtype=name) for name in ("float32", "bfloat16")}
    if largest_weight():
        encoders["int8"] = in_int8(encoders["float32"])
    with tempfile.TemporaryDirectory() as folder:
        clips, scenes = read_exam(Path(folder), encoders["float32"].image_size, count, SEED)
    vectors = {}
    for name, encoder in encoders.items():
        parts = np.array_split(clips, -(-count // 50))
        vectors[name] = torch.cat([encoder.encode_video(part) for part in parts])
        cosines = (vectors[name] * vectors["float32"]).sum(dim=1)
        shares = [float(cosines.quantile(share)) for share in (0.5, 0.01, 0.0)]
        marks = format_line(judge(encoder, clips, scenes))
        say(f"{name:20} cosine median {shares[0]:.5f}, 1st percentile {shares[1]:.5f}, least {shares[2]:.5f}  {marks}")


def in_int8(exact: Encoder) -> Encoder:
    """The encoder in integers from the first clip on."""
    return Encoder(exact.model, exact.tokenizer, exact.identity, exact.parameters, int8=True)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
