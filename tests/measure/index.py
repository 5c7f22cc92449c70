"""Compares `vidfind index` with the common recipe, one after the other, each a program of its own.

    uv run python -m tests.measure.index CORPUS... [--pairs 3] [--weights FILE] [--readers sequential,picked]
                                         [--threads 2] [--folder FOLDER] [-- options for vidfind index]

CORPUS is `phone` (1080p H.264, a keyframe each second), `long` (a keyframe every 250 frames) or `hevc` (4K HEVC), drawn
into FOLDER the first time, which takes minutes. The recipe is vidfind/bench/baseline.py. Prints, as medians of the
pairs: x real time, as a whole and without the start (what a video of a second takes); how many times as fast as the
recipe; frames an hour; and the peak memory of all processes together, and of the largest. With `--readers ''` vidfind
runs alone. The first clips of a model, which are encoded in float32 too, are encoded before.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from uuid import uuid4

from vidfind.bench.drawn import KINDS, draw_footage, lengthen
from vidfind.bench.program import Measured, run_python
from vidfind.bench.workloads import make_shorts

MODEL = "ViT-B-32"
SIZES = {"phone": (4, 45), "long": (4, 100 / 3), "hevc": (4, 10)}  # files, and seconds of each
FRAMES_A_SEGMENT = 12
SHORT = Path(__file__).parent.parent / "clips" / "short.mp4"


def main() -> None:
    own = sys.argv[1:]
    extra: list[str] = []
    if "--" in own:
        own, extra = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", choices=KINDS)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--readers", default="sequential")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "corpus")
    asked = parser.parse_args(own)
    asked.folder.mkdir(parents=True, exist_ok=True)
    weights = asked.weights or make_weights(asked.folder / "vit-b-32.safetensors")
    readers = [reader for reader in asked.readers.split(",") if reader]
    home = asked.folder / "home"
    shorts = [Path(made["path"]) for made in make_shorts(str(asked.folder))]
    run_vidfind(shorts, weights, asked.threads, extra, home)  # the first clips of a model are encoded in float32 too
    for corpus in asked.corpora:
        files = make_corpus(asked.folder / corpus, corpus, *SIZES[corpus])
        size = sum(file.stat().st_size for file in files) / 1e6
        print(f"{corpus}: {len(files)} files of {KINDS[corpus].title}, {size:.0f} MB")
        runs: dict[str, list[dict[str, float]]] = {}
        for _ in range(asked.pairs):
            start = run_vidfind([SHORT], weights, asked.threads, extra, home)["seconds"]
            runs.setdefault("vidfind", []).append(run_vidfind(files, weights, asked.threads, extra, home, start))
            for reader in readers:
                start = run_recipe([SHORT], weights, asked.threads, reader)["seconds"]
                runs.setdefault(reader, []).append(run_recipe(files, weights, asked.threads, reader, start))
        show(runs)


def make_corpus(folder: Path, kind: str, count: int, seconds: float) -> list[Path]:
    """Files of `seconds`; what is there is kept."""
    drawn = draw_footage(folder / "drawn", kind, count)
    paths = [folder / f"{path.stem}-{seconds:.0f}s.mp4" for path in drawn]
    for short, path in zip(drawn, paths, strict=True):
        if not path.exists():
            lengthen(short, path, seconds)
    return paths


def make_weights(path: Path) -> Path:
    """Random weights of the model's shape: as fast as real ones."""
    if not path.exists():
        import open_clip
        from safetensors.torch import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(open_clip.create_model(MODEL, load_weights=False).state_dict(), path)
    return path


def run_vidfind(
    files: list[Path], weights: Path, threads: int, extra: list[str], home: Path, start: float = 0.0
) -> dict[str, float]:
    """Into a new index each time."""
    options = ["--model", MODEL, "--pretrained", str(weights), "--threads", str(threads), "--json", *extra]
    options += ["--index", f"run-{uuid4().hex}"]
    measured = run_python(["-m", "vidfind", "index", *map(str, files), *options], {"VIDFIND_HOME": str(home)})
    *outcomes, summary = map(json.loads, measured.output.splitlines())
    frames = sum(outcome["segments"] for outcome in outcomes) * FRAMES_A_SEGMENT
    footage = sum(outcome["seconds"] for outcome in outcomes)
    assert summary["summary"]["new"] == len(files), summary
    return figures(measured, frames, footage, start)


def run_recipe(files: list[Path], weights: Path, threads: int, reader: str, start: float = 0.0) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "vectors.npy"
        arguments = [MODEL, str(weights), str(threads), reader, str(output), *map(str, files)]
        measured = run_python(["-m", "vidfind.bench.baseline", *arguments])
    told = json.loads(measured.output)
    return figures(measured, told["frames"], told["footage"], start)


def figures(measured: Measured, frames: float, footage: float, start: float) -> dict[str, float]:
    """`start` is how many seconds of it are not the videos' doing."""
    return {
        "seconds": measured.seconds,
        "x real time": footage / measured.seconds,
        "without the start": footage / (measured.seconds - start),
        "frames an hour": 3600 * frames / measured.seconds,
        "MB": measured.memory / 2**20,
        "MB of the largest": measured.largest / 2**20,
    }


def show(runs: dict[str, list[dict[str, float]]]) -> None:
    for name, series in runs.items():
        medians = {key: median(run[key] for run in series) for key in series[0]}
        print(f"  {name:12}" + "".join(f"{value:10,.0f} {key}" for key, value in medians.items()))
        print(f"  {'':12} seconds: {' '.join(str(round(run['seconds'], 1)) for run in series)}")
    for name in list(runs)[1:]:
        for key in ("x real time", "without the start", "frames an hour"):
            ratios = [ours[key] / theirs[key] for ours, theirs in zip(runs["vidfind"], runs[name], strict=True)]
            print(f"  vidfind : {name}, {key}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
