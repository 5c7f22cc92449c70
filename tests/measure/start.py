"""How long `vidfind index` takes for one video of a second, above an empty Python, and how much of that is torch.

    python -m tests.measure.start WEIGHTS [--model ViT-B-32] [--runs 5] [--before FOLDER]

WEIGHTS is a checkpoint file of MODEL in safetensors. Each run makes a new index, plainly and with a new adapter (LoRA
of rank 8): as the first with this model, whose clips are tried in int8 and in float32, and after that trial. The number
format is measured once, before. With `--before`, the vidfind of another working tree runs in turn with this one. Prints
the median of wall seconds, and of the processor time of all processes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parents[2]


def run(tree: Path, *arguments: str, home: Path) -> tuple[float, float]:
    """Runs this Python in a working tree; returns wall and processor seconds."""
    environment = {**os.environ, "VIDFIND_HOME": str(home), "PYTHONPATH": str(tree)}
    began, before = time.perf_counter(), os.times()
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, spent


def make_adapter(file: Path, model: str, weights: Path) -> None:
    import torch
    from safetensors import safe_open

    from vidfind.models.adapter_file import Adapter, AdapterInfo, write_adapter
    from vidfind.models.load import weights_digest

    tensors: dict[str, torch.Tensor] = {}
    with safe_open(weights, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118, no mapping
            block, _, last = name.rpartition(".")
            if last == "in_proj_weight":
                rows, columns = opened.get_slice(name).get_shape()
                tensors |= {
                    f"{block}.lora_a": torch.randn(8, columns) * 0.02,
                    f"{block}.lora_b": torch.randn(rows, 8) * 0.02,
                }
    info = AdapterInfo("lora", model, str(weights), weights_digest(model, weights), "tempme", 12, "lora", 8)
    write_adapter(file, Adapter(tensors, info))


def set_trials(file: Path, is_over: bool) -> None:
    """Forgets the trials of int8, or ends those that have begun as if all their clips had been precise."""
    if not is_over:
        file.unlink(missing_ok=True)
    elif file.exists():
        file.write_text(json.dumps({key: {"int8": [0.9999] * 8} for key in json.loads(file.read_text())}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--before", type=Path)
    asked = parser.parse_args()
    weights = asked.weights.resolve()
    trees = {"before": asked.before.resolve()} if asked.before else {}
    trees["now"] = HERE
    with tempfile.TemporaryDirectory() as folder:
        from vidfind.bench.workloads import make_shorts

        home, videos = Path(folder) / "home", Path(folder) / "videos"
        adapter = home / "adapters" / "lora.safetensors"
        for made in (videos, adapter.parent):
            made.mkdir(parents=True)
        shutil.copy(next(make_shorts(folder))["path"], videos)
        make_adapter(adapter, asked.model, weights)
        index = ["-m", "vidfind", "index", str(videos), "--model", asked.model, "--pretrained", str(weights)]
        ways = {"plain": [*index, "--adapter", "none"], "with an adapter": [*index, "--adapter", adapter.stem]}
        seconds: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        for number in range(asked.runs + 1):
            for name, code in (("empty Python", "pass"), ("import torch", "import torch")):
                seconds[name, ""].append(run(HERE, "-c", code, home=home))
            for (way, arguments), (tree, path) in itertools.product(ways.items(), trees.items()):
                for state in ("first", "later"):
                    shutil.rmtree(home / "indexes", ignore_errors=True)
                    set_trials(home / "precision.json", is_over=state == "later")
                    if state == "later" and not number:
                        run(path, *arguments, home=home)  # keeps the tower in int8
                    seconds[f"{way}, {state}", tree].append(run(path, *arguments, home=home))
            if not number:
                seconds.clear()  # compiles modules, reads weights into memory, and measures the number format
        for (name, tree), times in seconds.items():
            wall, spent = (statistics.median(part) for part in zip(*times, strict=True))
            print(f"{f'{name} {tree}':28} {wall:6.2f} s, {spent:6.2f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
