"""Measures how fast this machine decodes, encodes, indexes and searches, and how much memory that takes.

Each measurement is a function that yields rows. Heavy work runs in separate processes, either vidfind itself or a part
of it (workloads.py), so that neither memory nor imports mix. Knows nothing of how rows are shown.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from vidfind import __version__
from vidfind.bench import SEGMENTS, VIDEOS
from vidfind.bench.program import Measured, run_python
from vidfind.errors import BadInput
from vidfind.media.sampling import SEGMENT_LENGTH
from vidfind.models.catalog import DEFAULT_MODEL, TINY, default_pretrained
from vidfind.models.hub import find_weights
from vidfind.system.machine import cpu_name
from vidfind.system.paths import footage_path

FORMAT = 1
KINDS = {"phone": 45.0, "long": 50.0, "hevc": 10.0}
"""Kinds of drawn videos (drawn.py), and the length of each file in seconds: two files, for two decoders at least."""
QUICK_KINDS = {"phone": 30.0, "long": 50.0, "hevc": 8.0}
FILES = 2
SAMPLINGS = ("exact", "auto", "keyframes")


@dataclass(frozen=True)
class Row:
    """One figure: the values of some runs. `beside` has its ratios to other figures, by their names, and of vectors the
    median `cosine` to those in float32.

    If a figure depends on a size, its `key` contains the size: only rows with the same key can be compared."""

    key: str
    what: str
    unit: str
    values: Sequence[float]
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.key.partition("/")[0]

    @property
    def value(self) -> float:
        return median(self.values)


@dataclass(frozen=True)
class Setup:
    """The settings of a measurement, and a folder for its files.

    `weights` None: random weights, which are as fast as others; `pretrained` is their name."""

    folder: Path
    model: str = DEFAULT_MODEL
    weights: Path | None = None
    pretrained: str = "random"
    device: str = "auto"
    quick: bool = False
    recipe: bool = False
    videos: Sequence[str] = ()
    """Kinds of videos; none: all, or the first if it is quick."""
    segments: int = SEGMENTS
    threads: int = os.cpu_count() or 1
    say: Callable[[str], None] = lambda text: None

    def runs(self, count: int) -> int:
        return 1 if self.quick else count

    @property
    def kinds(self) -> Mapping[str, float]:
        lengths = QUICK_KINDS if self.quick else KINDS
        return {kind: lengths[kind] for kind in self.videos or (VIDEOS[:1] if self.quick else VIDEOS)}

    def weights_file(self) -> Path:
        """The weights to measure with; random ones are created at first use."""
        if self.weights:
            return self.weights
        path = self.folder / "random.safetensors"
        if not path.exists():
            self.say("Making a model of random weights")
            work("make_weights", model=self.model, path=path)
        return path

    def footage(self, kind: str) -> list[Path]:
        """Returns different files of a kind; the first time they are drawn, which takes up to a minute."""
        paths = [self.folder / f"{kind}-{number}.mp4" for number in range(FILES)]
        if not paths[0].exists():
            self.say(f"Getting {kind} videos ready; the first time they are drawn")
            work("make_footage", folder=footage_path(), kind=kind, seconds=self.kinds[kind], paths=paths)
        return paths


def work(name: str, **arguments: Any) -> list[dict[str, Any]]:
    """Runs a function of workloads.py in a separate process and returns what it yields."""
    told = run_python(["-m", "vidfind.bench.workloads", name, json.dumps(arguments, default=_as_json)])
    return [json.loads(line) for line in told.output.splitlines()]


def _as_json(value: object) -> str:
    return str(value)


def setup(folder: Path, model: str, pretrained: str | None, announce: Callable[[str], None], **options: Any) -> Setup:
    """Returns the setup: random weights unless `pretrained` names others, so that a model alone needs no download.

    Raises ModelUnavailable."""
    if model == TINY:
        pretrained = pretrained or default_pretrained(TINY)
    weights = find_weights(model, pretrained, announce).absolute() if pretrained else None
    if options.get("recipe") and model == TINY:
        raise BadInput(f"The common recipe knows only models of open_clip, not {TINY}: leave out --recipe or --model.")
    return Setup(folder, model, weights, pretrained or "random", **options)


def measure(setup: Setup, groups: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of these groups as soon as they are known."""
    for group in groups:
        setup.say(f"Measuring: {group}")
        yield from MEASUREMENTS[group](setup)


# Decoding and encoding ------------------------------------------------------------------------------------------------


def measure_decoding(setup: Setup) -> Iterator[Row]:
    """Decodes clips as `vidfind index` does, without encoding them."""
    for kind, seconds in setup.kinds.items():
        paths = setup.footage(kind)
        setup.say(f"Measuring: decoding {kind}")
        told = work("decode", paths=paths, samplings=SAMPLINGS, runs=setup.runs(2))
        speeds = {one["sampling"]: [seconds * FILES / value for value in one["seconds"]] for one in told}
        for sampling, values in speeds.items():
            beside = {"exact": median(values) / median(speeds["exact"])} if sampling != "exact" else {}
            yield Row(f"decode/{kind}/{sampling}", f"{title(kind)}: {sampling}", "x real time", values, beside)


def title(kind: str) -> str:
    from vidfind.bench.drawn import KINDS as DRAWN  # numpy and PyAV

    return DRAWN[kind].title


def measure_encoding(setup: Setup) -> Iterator[Row]:
    """Encodes clips with each encoder and number format, interleaved; the baseline is plain CLIP in float32."""
    weights = setup.weights_file()
    setup.say("Measuring: encoding")
    if setup.device in ("auto", "cpu"):
        [told] = work("formats")
        for name, speed in told["gflops"].items():
            bits = " with weights of 7 bits" if name == "int8" and told["largest_weight"] < 127 else ""
            beside = {"float32": speed / told["gflops"]["float32"]} if name != "float32" else {}
            yield Row(f"encode/products/{name}", f"products in {name}{bits}, on a core", "GFLOP/s", [speed], beside)
    clips = 2 if setup.quick else 4
    common = {"model": setup.model, "weights": weights, "device": setup.device, "threads": setup.threads}
    costs = {one["key"]: one for one in work("encode", **common, clips=clips, runs=setup.runs(3))}
    plain = median(costs["plain"]["ms"])
    for key, one in costs.items():
        value = median(one["ms"])
        beside = {"real time": SEGMENT_LENGTH * 1000 / value}
        if key != "plain":
            beside["plain CLIP"] = plain / value
        if "cosines" in one:
            beside["cosine"] = median(one["cosines"])
        yield Row(f"encode/{key}", one["what"], "ms a clip", one["ms"], beside)
        if "products" in one:
            what, products = "  of which matrix products and attention", one["products"]
            yield Row(f"encode/{key}/products", what, "ms a clip", products, {"of it": median(products) / value})
    if setup.device in ("auto", "cuda"):
        setup.say("Measuring: encoding on the GPU")
        for one in work("encode_on_gpu", runs=setup.runs(5)):
            yield Row(f"encode/{one['key']}", one["what"], "clips/s", one["clips"])
            yield Row(f"encode/{one['key']}/memory", "  in memory of the GPU", "MB", [one["bytes"] / 1e6])


# Indexing -------------------------------------------------------------------------------------------------------------


def measure_indexing(setup: Setup) -> Iterator[Row]:
    """Runs the whole program, from files to a committed index, each time into a new one; also the recipe if wanted.

    First on a new machine, which measures its number formats and tries int8 on the first clips of a model; then as it
    is from then on."""
    weights = setup.weights_file()
    home = setup.folder / "indexed"
    shorts = [Path(told["path"]) for told in work("make_shorts", folder=setup.folder)]
    short = shorts[0]
    setup.say("Measuring: starting to index")
    firsts = [run_index(setup, weights, [short], setup.folder / f"new-{run}") for run in range(setup.runs(2))]
    yield Row("index/first", "one short video, the first with a model", "s", [first.seconds for first in firsts])
    tried = run_index(setup, weights, shorts, home)
    yield Row(
        "index/first/memory", f"  memory of all processes, for its first {len(shorts)}", "MB", [tried.memory / 1e6]
    )
    starts = [run_index(setup, weights, [short], home) for _ in range(setup.runs(3))]
    yield Row("index/start", "one short video, later: the start", "s", [start.seconds for start in starts])
    recipe_starts = [run_recipe(setup, weights, [short]) for _ in range(setup.runs(2))] if setup.recipe else []
    for kind, length in setup.kinds.items():
        paths = setup.footage(kind)
        setup.say(f"Measuring: indexing {kind}")
        pairs = []
        for _ in range(setup.runs(2)):
            ours = run_index(setup, weights, paths, home)
            pairs.append((ours, run_recipe(setup, weights, paths) if setup.recipe else None))
        footage = length * len(paths)
        yield from index_rows(kind, footage, starts, recipe_starts, pairs)
    run_index(setup, weights, [short], home, "unchanged")
    unchanged = [run_index(setup, weights, [short], home, "unchanged").seconds for _ in range(setup.runs(3))]
    yield Row("index/unchanged", "nothing has changed", "s", unchanged)


def index_rows(
    kind: str,
    footage: float,
    starts: Sequence[Measured],
    recipe_starts: Sequence[Measured],
    pairs: Sequence[tuple[Measured, Measured | None]],
) -> Iterator[Row]:
    """Yields the rows of the runs over `footage` seconds of a kind, each beside the run of the recipe that followed it.

    `starts` and `recipe_starts` are runs over one short video: what they take is no video's doing."""
    runs = [ours for ours, _ in pairs]

    def spent(what: Callable[[Measured], float], without_start: bool) -> tuple[list[float], dict[str, float]]:
        own, other = (median(map(what, some)) if some and without_start else 0.0 for some in (starts, recipe_starts))
        ratios = [(what(theirs) - other) / (what(ours) - own) for ours, theirs in pairs if theirs]
        beside = {"the common recipe": median(ratios)} if ratios else {}
        return [what(ours) - own for ours in runs], beside

    size = f"{kind}/{footage:g}s"
    for key, what in (("", f"{title(kind)}: whole program"), ("/steady", "  without the start")):
        seconds, beside = spent(lambda run: run.seconds, bool(key))
        yield Row(f"index/{size}{key}", what, "x real time", [footage / one for one in seconds], beside)
    for key, what in (("", "  processor time"), ("/steady", "  without that of the start")):
        seconds, beside = spent(lambda run: run.processor, bool(key))
        less = {f"less than {name}": ratio for name, ratio in beside.items()}
        yield Row(f"index/{size}/processor{key}", what, "s", seconds, less)
    yield Row(f"index/{size}/memory", "  memory of all processes", "MB", [run.memory / 1e6 for run in runs])
    yield Row(f"index/{size}/largest", "  memory of the largest", "MB", [run.largest / 1e6 for run in runs])


def run_index(setup: Setup, weights: Path, files: Sequence[Path], home: Path, index: str | None = None) -> Measured:
    """Indexes into the index of this name in `home`, or into a new one."""
    options = ["--index", index or f"run-{uuid4().hex}", "--device", setup.device, "--threads", str(setup.threads)]
    return run_python(
        ["-m", "vidfind", "index", *map(str, files), *model_options(setup.model, weights), *options, "--json"],
        {"VIDFIND_HOME": str(home)},
    )


def model_options(model: str, weights: Path) -> list[str]:
    return ["--model", model] if model == TINY else ["--model", model, "--pretrained", str(weights)]


def run_recipe(setup: Setup, weights: Path, files: Sequence[Path]) -> Measured:
    arguments = [setup.model, str(weights), str(setup.threads), "sequential", str(setup.folder / "vectors.npy")]
    return run_python(["-m", "vidfind.bench.baseline", *arguments, *map(str, files)])


# Searching ------------------------------------------------------------------------------------------------------------

QUERIES = ("a dog catches a frisbee", "snow falls on the garden", "children dance at a wedding", "a red car turns left")


def measure_searching(setup: Setup) -> Iterator[Row]:
    """Runs the whole program with a large index, first with new words and then again; then searches in one process."""
    weights = setup.weights_file()
    home = setup.folder / "searched"
    setup.say(f"Making an index of {setup.segments:,} segments")
    work("make_index", home=home, segments=setup.segments, model=setup.model, weights=weights)
    setup.say("Measuring: searching")
    environment = {"VIDFIND_HOME": str(home)}
    search = ["-m", "vidfind", "search", "--json"]
    run_python([*search, "once, so that files are in memory"], environment)
    queries = QUERIES[: setup.runs(len(QUERIES))]
    empty = [run_python(["-c", ""]).seconds for _ in queries]
    first = [run_python([*search, query], environment) for query in queries]
    again = [run_python([*search, query], environment).seconds for query in queries]
    size = f"search/{setup.segments}"
    yield Row(f"{size}/empty", "an empty Python", "s", empty)
    yield Row(f"{size}/first", "a first search, from start to table", "s", [run.seconds for run in first])
    more = [run.seconds - median(empty) for run in first]
    yield Row(f"{size}/first/more", "  more than an empty Python", "s", more)
    yield Row(f"{size}/first/memory", "  memory", "MB", [run.memory / 1e6 for run in first])
    yield Row(f"{size}/again", "the same words again", "s", again)
    [told] = work("search", home=home, queries=20 if setup.quick else 100)
    yield Row(f"{size}/warm", "within one program: words to moments", "ms", told["ms"])


MEASUREMENTS: dict[str, Callable[[Setup], Iterator[Row]]] = {
    "decode": measure_decoding,
    "encode": measure_encoding,
    "index": measure_indexing,
    "search": measure_searching,
}


# What was measured ----------------------------------------------------------------------------------------------------


def describe(setup: Setup) -> dict[str, Any]:
    """Returns the machine and the measured settings: the last line of `--json`."""
    import psutil

    from vidfind.bench.drawn import VERSION

    [told] = work("describe", device=setup.device)
    return {
        "format": FORMAT,
        "footage": VERSION,
        "model": setup.model,
        "weights": setup.pretrained,
        "threads": setup.threads,
        "quick": setup.quick,
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "memory": psutil.virtual_memory().total,
            "gpu": told["gpu"],
            "system": platform.platform(),
        },
        "versions": {"vidfind": __version__, "Python": platform.python_version(), "torch": told["torch"]},
    }


def footage_kept() -> int:
    """Returns how many bytes of drawn videos the cache keeps for the next time."""
    return sum(file.stat().st_size for file in footage_path().glob("*.mp4"))
