"""What a training takes: time and memory of an epoch, and the time of a whole one beside a busy process.

    uv run python -m tests.measure.training epoch WEIGHTS [--model ViT-B-32] [--pairs 128] [--before FOLDER]
    uv run python -m tests.measure.training busy [--pairs 60] [--runs 1]

`epoch`: WEIGHTS is a checkpoint file of MODEL in safetensors. An epoch is one step over all training pairs: with LoRA
in both towers, where a third of the clips is computed at each step; with LoRA in the text tower alone (`--text-only`);
and with the encoder tfvl, which leaves the text tower frozen. Each in a process of its own: processor time, and the
most memory. Features of clips that are computed once for many epochs (with `--text-only`; for the others those before
training) are drawn instead; those of captions before training are computed earlier. With `--before` the vidfind of
another working tree is measured in turn with this one.

`busy`: `vidfind finetune` with the built-in model, alone and beside one process that never rests. Wall and processor
seconds, and how many times as long it took. It means something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.support.owner_words import make, write, write_csv
from vidfind.demo.collection import distinct_scenes

HERE = Path(__file__).parents[2]
WAYS = {
    "both": ("tempme", "Recipe()"),
    "text-only": ("tempme", "Recipe(text_only=True)"),
    "tfvl": ("tfvl", "Recipe()"),
}
EPOCH = """
import json, resource, sys, time
from vidfind.encoders.names import EncoderChoice
from vidfind.models.load import load_for_training
from vidfind.training.finetune import FineTuning
from vidfind.training.pairs import read_pairs
from vidfind.training.recipe import Recipe
import torch

captions, model, weights, encoder = sys.argv[1:]
torch.set_num_threads(1)
base, start = load_for_training(EncoderChoice(model, weights, encoder), "cpu")
pairs, _ = read_pairs(captions)
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with FineTuning(pairs, base, {recipe}, start) as training:
    for _ in training._decode():
        pass
    features = training._features
    drawn = torch.nn.functional.normalize(torch.randn(len(pairs), base.dim), dim=-1)
    features._known |= dict(enumerate(drawn))
    features.varied_before = lambda batch, variants, clips: clips if {recipe}.text_only else drawn[: len(batch)]
    features.text_before([pair.caption for pair in training.training])
    loaded, began = most(), time.process_time()
    training.backward(training.training)
    seconds = time.process_time() - began
print(json.dumps([seconds, loaded, most()]))
"""
SPIN = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while True:
    pass
"""


def write_pairs(folder: Path, count: int) -> Path:
    """Draws so many captioned videos in a folder; returns the file of their captions."""
    rng = Random(18)
    captions = folder / "captions.csv"
    write_csv(captions, write(folder / "films", [make(scene, rng) for scene in distinct_scenes(rng, count)], "drawn"))
    return captions


def measure_epochs(asked: argparse.Namespace, folder: Path) -> None:
    captions = write_pairs(folder, asked.pairs)
    trees = {"before": asked.before.resolve()} if asked.before else {}
    trees["now"] = HERE
    print("| | | an epoch, s | MB before it | most MB |\n|---|---|---|---|---|", flush=True)
    for way in asked.ways:
        encoder, recipe = WAYS[way]
        for name, tree in trees.items():
            code = EPOCH.replace("{recipe}", recipe)
            command = [sys.executable, "-c", code, str(captions), asked.model, str(asked.weights.resolve()), encoder]
            done = subprocess.run(
                command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, check=True, stdout=subprocess.PIPE
            )
            seconds, loaded, most = json.loads(done.stdout.splitlines()[-1])
            print(f"| {way} | {name} | {seconds:.1f} | {loaded:,.0f} | {most:,.0f} |", flush=True)


@contextmanager
def busy_process() -> Iterator[None]:
    """Meanwhile a process computes on the first core without a rest."""
    process = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def train(captions: Path, home: Path) -> tuple[float, float]:
    """Runs a training; returns its wall and processor seconds."""
    command = [sys.executable, "-m", "vidfind", "finetune", "--pairs", str(captions), "--model", "tiny"]
    began, before = time.perf_counter(), os.times()
    subprocess.run(
        [*command, "--force", "--no-use", "--no-default"], check=True, env={**os.environ, "VIDFIND_HOME": str(home)}
    )
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, spent


def measure_busy(asked: argparse.Namespace, folder: Path) -> None:
    captions = write_pairs(folder, asked.pairs)
    for _ in range(asked.runs):
        alone, spent = train(captions, folder)
        with busy_process():
            beside, spent_beside = train(captions, folder)  # the time of the busy process is no child's until it ends
        print(f"alone   {alone:6.1f} s, {spent:6.1f} s of processor time")
        print(f"beside  {beside:6.1f} s, {spent_beside:6.1f} s of processor time")
        print(f"{beside / alone:.2f} times as long, {spent_beside / spent:.2f} times the processor time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    epoch = commands.add_parser("epoch")
    epoch.add_argument("weights", type=Path)
    epoch.add_argument("--model", default="ViT-B-32")
    epoch.add_argument("--pairs", type=int, default=128)
    epoch.add_argument("--before", type=Path)
    epoch.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    epoch.set_defaults(measure=measure_epochs)
    busy = commands.add_parser("busy")
    busy.add_argument("--pairs", type=int, default=60)
    busy.add_argument("--runs", type=int, default=1)
    busy.set_defaults(measure=measure_busy)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asked.measure(asked, Path(folder))


if __name__ == "__main__":
    main()
