"""How well classes are learned from few examples, and what that costs: the ways of `vidfind learn fit` beside others.

    uv run python -m tests.measure.categories [--seeds 5] [--shots 1 2 4 8] [--real] [--ways prototype linear vector]
    uv run python -m tests.measure.categories --cost [--segments 100000]

Three tasks of the demo's world, seen by the tiny model: the shape, colour and motion of one drawn thing. Their classes
have made-up names, or with --real those that the model knows. An example answers one task; 300 other videos are judged.
"probe" is a logistic regression, "own context" tunes a context for each task alone, as CoOp does, and "published" is
SoftCPT as its authors trained it; "guard" is what the program chooses without seeing the judged videos. Accuracy is
the mean over the tasks, and its standard deviation is over the seeds. --cost times 10 tasks of 10 classes with random
vectors of 512 numbers, in an index, and prints the largest memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F

from tests.support.rows import make_row
from vidfind.categories.fitting import FitOptions, encode_names, fit_classes
from vidfind.categories.judging import accuracy
from vidfind.categories.learning import learn, linear, logit_scale, prototype, starting_bias, zero_shot
from vidfind.categories.shared_network import fit_vectors
from vidfind.categories.tasks import ClassExamples, Heads, Learning, Task, Texts, Vectors, task_of
from vidfind.categories.token_prompts import fit_reference, fit_tokens, make_tower
from vidfind.demo.drawing import draw
from vidfind.demo.world import COLOURS, KINDS, MOTIONS, random_scene
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.models.load import load_encoder
from vidfind.store.labelled.labels import Label
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.tagging.learning.vectors import centred, prototypes, segment_shift, unit

VIDEOS, JUDGED = 800, 300
WORDS = {"shape": KINDS, "colour": tuple(COLOURS), "motion": MOTIONS}
MADE_UP = (
    *("zorp", "blick", "dax", "wug", "fep", "toma", "lirp", "gazzer", "kiki", "bouba"),
    *("mip", "nold", "sarn", "quib", "vesh", "yomp", "harl", "crell", "dunt"),
)
Ways = dict[str, Callable[[], Heads]]


def world(encoder: Encoder) -> tuple[Vectors, np.ndarray]:
    """Returns the vectors of videos (N, D), and the number of the class of each in each task (N, 3)."""
    file = Path(tempfile.gettempdir(), f"vidfind-class-world-{VIDEOS}.npz")
    if file.is_file():
        with np.load(file) as kept:
            return kept["vectors"], kept["classes"]
    rng = Random(7)
    scenes = [random_scene(rng, count=1) for _ in range(VIDEOS)]
    size, frames = encoder.image_size, encoder.num_frames
    parts = []
    for begin in range(0, VIDEOS, 32):
        clips = np.stack([draw(scene, frames, size, size) for scene in scenes[begin : begin + 32]])
        parts.append(encoder.encode_video(clips).numpy())
    vectors = np.concatenate(parts).astype(np.float32)
    shapes = [scene.shapes[0] for scene in scenes]
    columns = [
        [names.index(value) for value in values]
        for names, values in zip(
            WORDS.values(), zip(*((s.kind, s.colour, s.motion) for s in shapes), strict=True), strict=True
        )
    ]
    classes = np.array(columns).T
    np.savez(file, vectors=vectors, classes=classes)
    return vectors, classes


def make_tasks(real: bool) -> list[Task]:
    made_up = iter(MADE_UP)
    return [
        Task(name, words if real else tuple(next(made_up) for _ in words), ("",) * len(words))
        for name, words in WORDS.items()
    ]


def draw_examples(vectors: Vectors, classes: np.ndarray, shots: int, seed: int, shift: Vectors) -> ClassExamples:
    """Returns `shots` videos of each class, each an example of one task, and others of which nothing is said."""
    order = np.random.default_rng(seed).permutation(VIDEOS - JUDGED)
    owner = np.repeat(np.arange(3), [len(words) for words in WORDS.values()])
    first = np.searchsorted(owner, np.arange(3))
    used: dict[int, int] = {}
    for column, task in enumerate(owner):
        own = [one for one in order if classes[one, task] == column - first[task] and one not in used]
        used |= dict.fromkeys(own[:shots], column)
    free = [one for one in order if one not in used][: max(40, 4 * len(used))]
    rows = np.array([*used, *free])
    states = np.zeros((len(rows), len(owner)), np.int8)
    states[np.arange(len(used)), list(used.values())] = 1
    answered = np.zeros((len(rows), 3), bool)
    answered[np.arange(len(used)), owner[list(used.values())]] = True
    plain = vectors[rows]
    return ClassExamples(plain, centred(plain, shift), np.arange(len(rows) + 1), states, answered, rows)


def probe(examples: ClassExamples, tasks: Sequence[Task]) -> Heads:
    """Returns a logistic regression for each task."""
    owner, targets = task_of(tasks), examples.targets(tasks)
    weights = np.zeros((len(owner) + len(tasks), examples.plain.shape[1]), np.float32)
    bias = np.zeros(len(weights), np.float32)
    for number, task in enumerate(tasks):
        rows = targets[:, number] >= 0
        x, y = torch.tensor(examples.vectors[rows]), torch.tensor(targets[rows, number])
        w = torch.zeros(len(task.classes), x.shape[1], requires_grad=True)
        b = torch.zeros(len(task.classes), requires_grad=True)
        optimizer = torch.optim.LBFGS([w, b], max_iter=100)

        def closure() -> float:
            optimizer.zero_grad()  # noqa: B023, called at once
            loss = F.cross_entropy(10 * x @ w.T + b, y) + 0.01 * w.square().sum()  # noqa: B023
            loss.backward()
            return float(loss.detach())

        optimizer.step(closure)
        own = np.flatnonzero(owner == number)
        weights[own], bias[own] = 10 * w.detach().numpy(), b.detach().numpy()
    return Heads(weights, bias)


def make_ways(
    encoder: Encoder,
    examples: ClassExamples,
    tasks: Sequence[Task],
    texts: Texts,
    shift: Vectors,
    chosen: Sequence[str],
) -> Ways:
    scale = logit_scale(examples.vectors, texts.centred)
    counts = examples.counts()
    looks = prototypes(examples.vectors, examples.starts, examples.states > 0, texts.centred)
    weighed = ((counts / (counts + 2))[:, None] * looks).astype(np.float32)
    start = starting_bias(prototype(examples, texts, scale), examples, tasks)
    vector = (examples, tasks, start, texts.centred, unit(texts.tasks), weighed, scale)
    ways: Ways = {
        "zero-shot": lambda: zero_shot(texts, len(tasks), scale),
        "prototype": lambda: prototype(examples, texts, scale),
        "probe": lambda: probe(examples, tasks),
        "linear": lambda: linear(examples, texts, tasks, scale),
        "vector, each alone": lambda: fit_vectors(*vector, is_shared=False)[0],
        "vector": lambda: fit_vectors(*vector)[0],
        "guard": lambda: learn(examples, tasks, texts, shift, Learning("vector")).heads,
    }
    if not chosen or {"own context", "token", "published"} & set(chosen):
        tower = make_tower(encoder)
        ways |= {
            "own context": lambda: fit_tokens(tower, examples, tasks, texts.shift, is_shared=False)[0],
            "token": lambda: fit_tokens(tower, examples, tasks, texts.shift)[0],
            "published": lambda: fit_reference(tower, examples, tasks, texts.shift)[0],
        }
    return {name: fit for name, fit in ways.items() if not chosen or name in chosen}


def measure_shots(seeds: int, shots: Sequence[int], real: bool, chosen: Sequence[str]) -> None:
    encoder = load_encoder("tiny", device="cpu")
    vectors, classes = world(encoder)
    known = VIDEOS - JUDGED
    shift = segment_shift(vectors[:known].sum(axis=0), known)
    tasks = make_tasks(real)
    texts = encode_names(tasks, lambda names: encoder.encode_text(list(names)).numpy())
    owner = task_of(tasks)
    judged = vectors[known:], centred(vectors[known:], shift)
    print(f"{'real' if real else 'made-up'} names, {seeds} seeds: mean (and deviation); shape / colour / motion")
    for count in shots:
        found: dict[str, list[list[float]]] = defaultdict(list)
        seconds: dict[str, float] = defaultdict(float)
        for seed in range(seeds):
            examples = draw_examples(vectors, classes, count, seed, shift)
            for name, fit in make_ways(encoder, examples, tasks, texts, shift, chosen).items():
                began = time.monotonic()
                logits = fit().logits(*judged)
                seconds[name] += time.monotonic() - began
                found[name].append(
                    [
                        accuracy(logits[:, :19][:, owner == task].argmax(axis=1), classes[known:, task])
                        for task in range(3)
                    ]
                )
        for name, values in found.items():
            means = np.mean(values, axis=1)
            tasks_shown = " / ".join(f"{value:5.1f}" for value in np.mean(values, axis=0))
            took = seconds[name] / seeds
            print(f"{count} shots  {name:20} {means.mean():5.1f} ({means.std():3.1f})  {tasks_shown}  {took:6.2f} s")


def measure_cost(segments: int) -> None:
    """Times a fit of 10 tasks of 10 classes with 8 videos each of 4 segments, which look little like one another."""
    rng = np.random.default_rng(0)
    identity = EncoderIdentity("ViT-B-32", "random", "digest", "tempme", None, 12)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder, "default"), IndexSettings(identity), dim=512)
        looks = unit(rng.standard_normal((100, 512)))
        rows, parts, labels = [], [], []
        for number in range(segments // 4):
            row = make_row(f"/videos/{number}.mp4", 4, fingerprint=str(number))
            look = looks[number % 100] if number < 800 else 0
            vectors = unit(0.25 * look + rng.standard_normal((4, 512)) / np.sqrt(512))
            rows.append(row)
            parts.append(Embedded(row.content, [(10.0 * i, 10.0 * i + 10) for i in range(4)], vectors))
            if number < 800:
                task, name = divmod(number % 100, 10)
                labels.append(
                    Label(row.content, None, None, "class", f"task {task}", f"class {name}", 1, video=str(number))
                )
        with store.writing() as writer:
            writer.put(rows, parts)
            writer.change_labels(labels)
        texts: dict[str, Vectors] = {}

        def encode(names: Sequence[str]) -> Vectors:
            return np.stack([texts.setdefault(name, unit(rng.standard_normal(512))) for name in names])

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        for mode in ("linear", "vector"):
            fitted = fit_classes(store, encode, FitOptions(Learning(mode)))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            learned = fitted.learned
            print(
                f"{segments:,} segments, 10 tasks x 10 classes, --mode {mode}: {fitted.seconds:.1f} s, {peak:.2f} GB "
                f"({before:.2f} before); used {learned.mode}, {learned.scores}, {sum(fitted.found.values())} found"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--ways", nargs="+", default=[], metavar="WAY", help="only these")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--segments", type=int, default=100_000)
    options = parser.parse_args()
    if options.cost:
        measure_cost(options.segments)
    else:
        torch.set_num_threads(1)
        measure_shots(options.seeds, options.shots, options.real, options.ways)


if __name__ == "__main__":
    main()
