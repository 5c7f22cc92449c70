"""How well tags are completed on the demo's world, and what that costs in time and memory.

    uv run python -m tests.measure.tag_quality world [--seeds 5] [--shapes 1]
    uv run python -m tests.measure.tag_quality shuffled [--seeds 5]
    uv run python -m tests.measure.tag_quality size [--segments 20000] [--tags 100] [--dim 512]

`world`: of 300 drawn videos a quarter has labels, half of their true tags (shapes, colours and motions). Mean average
precision in percent on the other videos, of names alone (A), of names and examples (B), of training (C), and of what
the guard chose; then that of the tag of stars where it is called "alpha", a word that the model does not know, found
from five examples; and the share of automatic tags that are right. `shuffled`: the same with the labels of other
videos. `size`: seconds and peak memory of `fill_tags` on random vectors.
"""

from __future__ import annotations

import argparse
import functools
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.support.rows import make_row
from tests.support.stored import put
from tests.support.tag_world import TAGS, WORDS, World, make_world
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.store.labelled.labels import Label
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.tagging.fill import FillOptions, fill_tags
from vidfind.tagging.learning.examples import UNKNOWN, YES, Examples, Recipe, Weights, fit_blend, fit_text
from vidfind.tagging.learning.guard import TRAINED, choose, threshold
from vidfind.tagging.learning.prior import tag_relation
from vidfind.tagging.learning.training import one_thread, train
from vidfind.tagging.learning.vectors import average_precisions, centred, segment_shift, text_shift, text_vectors, unit

STAR = TAGS.index("star")
FEW = 5
Encode = Callable[[Sequence[str]], np.ndarray]


def labelled(world: World, encode: Encode, seed: int, unknown_word: bool = False, is_centred: bool = True) -> Examples:
    """A quarter of the videos with half of their true tags; with `unknown_word`, exactly five have "alpha"."""
    rng, videos = np.random.default_rng(seed), len(world.starts) - 1
    touched = rng.permutation(videos)[: videos // 4]
    states = np.zeros(world.true.shape, np.int8)
    states[touched] = (world.true & (rng.random(world.true.shape) < 0.5))[touched]
    words = [*WORDS.values()]
    if unknown_word:
        words[STAR] = "alpha"
        states[:, STAR] = UNKNOWN
        states[touched[world.true[touched, STAR]][:FEW], STAR] = YES
    total = world.vectors.sum(axis=0) if is_centred else np.zeros(world.vectors.shape[1])
    text = text_vectors(words, encode)
    neutral = text_shift(encode) if is_centred else np.zeros(text.shape[1])
    vectors = centred(world.vectors, segment_shift(total, len(world.vectors)))
    return Examples(vectors, world.starts, np.arange(videos), states, centred(text, neutral))


def trained(examples: Examples) -> Weights:
    with one_thread():
        yes = examples.states[examples.touched] == YES
        return train(examples, fit_blend(examples), tag_relation(examples.text, yes))


def precisions(weights: Weights, examples: Examples, world: World) -> np.ndarray:
    untouched = ~examples.touched
    return 100 * average_precisions(weights.scores(examples)[untouched], world.true[untouched])


def measure_world(encode: Encode, load: Callable[[], Encoder], seeds: int, shapes: int | None) -> None:
    columns = ("A uncentred", "A", "B", "C", "chosen", "alpha A", "alpha B", "alpha C", "added right", "used")
    print(" | ".join(["seed", *columns]))
    lines = []
    for seed in range(seeds):
        world = make_world(load, seed, shapes=shapes)
        plain, examples = (labelled(world, encode, seed, is_centred=one) for one in (False, True))
        choice = choose(examples, Recipe())
        line = [precisions(fit_text(plain), plain, world).mean()]
        ways = (fit_text(examples), fit_blend(examples), trained(examples), choice.weights)
        line += [precisions(weights, examples, world).mean() for weights in ways]
        alpha = labelled(world, encode, seed, unknown_word=True)
        line += [precisions(fit(alpha), alpha, world)[STAR] for fit in (fit_text, fit_blend, trained)]
        limits = np.array([threshold(choice.held_out, tag) for tag in range(len(TAGS))])
        added = (choice.weights.scores(examples) >= limits) & ~examples.touched[:, None]
        line.append(100 * world.true[added].mean())
        print(" | ".join([str(seed), *(f"{value:.1f}" for value in line), choice.way]), flush=True)
        lines.append(line)
    for name, values in (("mean", np.mean(lines, axis=0)), ("spread", np.std(lines, axis=0))):
        print(" | ".join([name, *(f"{value:.1f}" for value in values), ""]))


def measure_shuffled(encode: Encode, load: Callable[[], Encoder], seeds: int, shapes: int | None) -> None:
    used = []
    for seed in range(seeds):
        examples = labelled(make_world(load, seed, shapes=shapes), encode, seed)
        states, touched = examples.states.copy(), np.flatnonzero(examples.touched)
        states[touched] = states[np.random.default_rng(seed).permutation(touched)]
        choice = choose(replace(examples, states=states), Recipe())
        used.append(choice.way)
        shown = ", ".join(f"{way} {precision:.1f}" for way, precision in choice.precisions.items())
        print(f"seed {seed}: {choice.way} ({shown}) {choice.failed}", flush=True)
    print(f"trained was used {used.count(TRAINED)} times of {seeds}")


def measure_size(segments: int, tags: int, dim: int, seconds: float) -> None:
    """A quarter of videos of five segments has labels; a tag is on three of a hundred of them."""
    rng = np.random.default_rng(0)
    names = [f"tag{number}" for number in range(tags)]
    looks = {name: unit(rng.normal(size=dim)) for name in names}

    def encode(texts: Sequence[str]) -> np.ndarray:
        own = [sum((look for name, look in looks.items() if f"{name}." in text), np.ones(dim) / dim) for text in texts]
        return unit(np.array(own))

    with tempfile.TemporaryDirectory() as folder:
        settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
        store = Store.create(Path(folder, "index"), settings, dim)
        rows = [make_row(f"/videos/{number}.mp4", 5) for number in range(segments // 5)]
        matrix = np.stack([*looks.values()])
        labels = []
        for begin in range(0, len(rows), 1000):
            embedded = []
            for number, row in enumerate(rows[begin : begin + 1000], start=begin):
                shown = rng.random((5, tags)) < 0.01
                vectors = unit(shown @ matrix + rng.normal(size=(5, dim)) / dim**0.5)
                embedded.append(Embedded(row.content, [(10.0 * i, 10.0 * i + 10) for i in range(5)], vectors))
                if number % 4 == 0:
                    own = np.flatnonzero(shown.any(axis=0))
                    labels += [
                        Label(row.content, None, None, "tag", "", names[tag], 1, video=row.fingerprint) for tag in own
                    ]
            put(store, rows[begin : begin + 1000], embedded)
        with store.writing() as writer:
            writer.change_labels(labels)
        before = peak_memory()
        began, cpu = time.monotonic(), time.process_time()
        filled = fill_tags(store, encode, FillOptions(seconds=seconds))
        print(f"{segments} segments, {tags} tags, {len(labels)} labels, {dim} numbers a vector")
        print(
            f"{time.monotonic() - began:.0f} s, {time.process_time() - cpu:.0f} s of CPU, {filled.choice.steps} steps"
        )
        print(f"peak memory {peak_memory()} MB, {before} MB before")
        print(filled.choice.way, filled.choice.precisions, sum(one.added for one in filled.tags), "added")


def peak_memory() -> int:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("world", "shuffled", "size"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shapes", type=int, help="shapes in each scene; by default one or two")
    parser.add_argument("--segments", type=int, default=20_000)
    parser.add_argument("--tags", type=int, default=100)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    if options.what == "size":
        measure_size(options.segments, options.tags, options.dim, options.seconds)
        return

    @functools.cache
    def load() -> Encoder:
        from vidfind.models.load import load_encoder

        return load_encoder("tiny", device="cpu")

    def encode(texts: Sequence[str]) -> np.ndarray:
        vectors: np.ndarray = load().encode_text(list(texts)).numpy()
        return vectors

    measure = measure_world if options.what == "world" else measure_shuffled
    measure(encode, load, options.seeds, options.shapes)


if __name__ == "__main__":
    main()
