"""What `--not` and `--like` with words find, with the tiny model on scenes of the drawn world.

    uv run python -m tests.measure.expressions [--scenes 1500] [--seed 51]

The first table is of tasks such as "a red shape" without "a circle": P@10 is the share of relevant scenes among the
first ten, leak the share that show what was left out. The second is of harder ones, whose negatives overlap the words,
and of three negatives: R@10 is the share of min(10, relevant). The third looks for the like of a clip with another
motion or colour; its last column adds one direction to all clips and another to all words, as real models have it.
All numbers are means over the kinds of tasks, in percent. Vectors are combined by the function that searches use.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from random import Random
from typing import NamedTuple

import numpy as np

from tests.measure.match import World, draw_world, unit
from vidfind.demo.world import COLOURS, KINDS, MOTIONS, Scene, can_move
from vidfind.encoders.encoder import Encoder
from vidfind.models.catalog import TINY
from vidfind.models.load import load_encoder
from vidfind.search import query
from vidfind.search.query import combined

SAY = {
    "left": "moving left",
    "right": "moving right",
    "up": "moving up",
    "down": "moving down",
    "grows": "growing",
    "shrinks": "shrinking",
    "spins": "spinning",
    "bounces": "bouncing",
    "still": "staying still",
}
WEIGHTS = (0.25, 0.4, 0.5, 0.6, 0.75, 1.0)
FEWEST = 3
"""Relevant scenes that a task needs."""
GAP = (0.5, 2.0)
"""Lengths of the directions that are added to all clips and to all words, whose own vectors have length 1."""

Test = Callable[[Scene], bool]


class Task(NamedTuple):
    """What is looked for and what not, the same in one text, and which scenes are relevant or show what is left out."""

    kind: str
    words: str
    without: list[str]
    text: str
    is_relevant: Test
    is_left_out: Test


def has(**wanted: str) -> Test:
    """Whether a scene has a shape with these attributes."""
    return lambda scene: any(
        all(getattr(shape, name) == value for name, value in wanted.items()) for shape in scene.shapes
    )


def task(kind: str, words: str, without: Sequence[str], wanted: Test, unwanted: Test) -> Task:
    text = f"{words}, not {' or '.join(without)}"
    return Task(kind, words, list(without), text, lambda scene: wanted(scene) and not unwanted(scene), unwanted)


def plain_tasks() -> Iterator[Task]:
    for colour, kind in product(COLOURS, KINDS):
        yield task("colour - kind", f"a {colour} shape", [f"a {kind}"], has(colour=colour), has(kind=kind))
        yield task("kind - colour", f"a {kind}", [f"a {colour} shape"], has(kind=kind), has(colour=colour))
    for colour, kind, motion in product(COLOURS, KINDS, MOTIONS):
        if can_move(kind, motion):
            thing = has(colour=colour, kind=kind)
            yield task("thing - motion", f"a {colour} {kind}", [SAY[motion]], thing, has(motion=motion))
    for colour, kind, other in product(COLOURS, KINDS, KINDS):
        if kind != other:
            thing = has(colour=colour, kind=kind)
            yield task("thing - other thing", f"a {colour} {kind}", [f"a {other}"], thing, has(kind=other))
    for kind, motion in product(KINDS, MOTIONS):
        if can_move(kind, motion) and motion != "still":
            without = [f"a {kind} {SAY[motion]}"]
            yield task("moving - direction", f"a {kind} moving", without, has(kind=kind), has(motion=motion))


def hard_tasks(rng: Random) -> Iterator[Task]:
    def any_of(*tests: Test) -> Test:
        return lambda scene: any(test(scene) for test in tests)

    for colour, kind, motion in product(COLOURS, KINDS, MOTIONS):
        if can_move(kind, motion):
            thing, other = has(colour=colour, kind=kind), has(colour=colour, kind=kind, motion=motion)
            yield task("overlap", f"a {colour} {kind}", [f"a {colour} {kind} {SAY[motion]}"], thing, other)
    for colour, kind, colour2 in product(COLOURS, KINDS, COLOURS):
        if colour != colour2:
            thing, other = has(colour=colour, kind=kind), has(colour=colour2, kind=kind)
            yield task("other colour", f"a {colour} {kind}", [f"a {colour2} {kind}"], thing, other)
    for kind in KINDS:
        for _ in range(12):
            colours = rng.sample(list(COLOURS), 3)
            unwanted = any_of(*(has(colour=colour) for colour in colours))
            yield task("three colours", f"a {kind}", [f"a {one} shape" for one in colours], has(kind=kind), unwanted)
    for colour, kind in product(COLOURS, KINDS):
        motions = rng.sample([motion for motion in MOTIONS if can_move(kind, motion)], 2)
        other_kind = rng.choice([other for other in KINDS if other != kind])
        without = [f"a {other_kind}", *(SAY[motion] for motion in motions)]
        unwanted = any_of(has(kind=other_kind), *(has(motion=motion) for motion in motions))
        yield task("kind and motions", f"a {colour} {kind}", without, has(colour=colour, kind=kind), unwanted)


def ranked(vectors: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The ten best clips."""
    return np.argsort(-(vectors @ vector), kind="stable")[:10]


def spread_over(vectors: np.ndarray) -> Callable[[np.ndarray], float]:
    """The standard deviation of the scores of a vector, as a searcher takes it."""
    known: dict[bytes, float] = {}

    def spread(vector: np.ndarray) -> float:
        name = vector.tobytes()
        if name not in known:
            known[name] = float((vectors @ vector).std())
        return known[name]

    return spread


def plain_sum(vector: np.ndarray) -> float:
    return 1.0


class Ways:
    """Ways to answer a task in a world; the vectors of texts are made once."""

    def __init__(self, encoder: Encoder, world: World) -> None:
        self._encoder, self._spread = encoder, spread_over(world.vectors)
        self._texts: dict[str, np.ndarray] = {}

    def read(self, texts: Sequence[str]) -> None:
        """Encodes many texts at once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        for at in range(0, len(new), 128):
            vectors = unit(self._encoder.encode_text(new[at : at + 128]).numpy())
            self._texts |= dict(zip(new[at : at + 128], vectors, strict=True))

    def text(self, text: str) -> np.ndarray:
        self.read([text])
        return self._texts[text]

    def subtracted(self, one: Task, weight: float, divides: bool = True) -> np.ndarray:
        query.WITHOUT_WEIGHT = weight
        spread = self._spread if divides else plain_sum
        vector = combined([self.text(one.words)], [self.text(text) for text in one.without], spread)
        query.WITHOUT_WEIGHT = 0.5
        assert vector is not None
        return vector

    def all(self) -> dict[str, Callable[[Task], np.ndarray]]:
        def weighted(weight: float) -> Callable[[Task], np.ndarray]:
            return lambda one: self.subtracted(one, weight)

        return {
            "words alone": lambda one: self.text(one.words),
            "'not' inside the text": lambda one: self.text(one.text),
            "p - 0.5 n, not divided": lambda one: self.subtracted(one, 0.5, divides=False),
            **{f"divided by the spread, {weight:g}": weighted(weight) for weight in WEIGHTS},
        }


def has_enough(world: World, one: Task, least: int) -> bool:
    """Whether so many scenes are relevant to a task."""
    return sum(map(one.is_relevant, world.scenes)) >= least


def score_tasks(
    world: World, ways: Mapping[str, Callable[[Task], np.ndarray]], tasks: Sequence[Task]
) -> dict[str, tuple[float, float, float]]:
    """P@10, leak and R@10 of each way, in percent, as means over the kinds of tasks."""
    results: dict[str, dict[str, list[tuple[float, float, float]]]] = defaultdict(lambda: defaultdict(list))
    for one in tasks:
        relevant = np.array([one.is_relevant(scene) for scene in world.scenes])
        left_out = np.array([one.is_left_out(scene) for scene in world.scenes])
        if relevant.sum() < FEWEST:
            continue
        for name, way in ways.items():
            top = ranked(world.vectors, way(one))
            recall = relevant[top].sum() / min(10, relevant.sum())
            results[name][one.kind].append((relevant[top].mean(), left_out[top].mean(), recall))
    means = {
        name: np.mean([np.mean(rows, axis=0) for rows in kinds.values()], axis=0) for name, kinds in results.items()
    }
    return {name: (100 * mean[0], 100 * mean[1], 100 * mean[2]) for name, mean in means.items()}


def score_examples(world: World, ways: Ways, rng: Random, gap: tuple[float, float]) -> dict[str, list[float]]:
    """R@10 of each way to look for the like of a clip in another motion, and in another colour, in percent.

    `gap`: lengths of the directions added to clips and to words."""
    directions = unit(np.random.default_rng(1).standard_normal((2, world.vectors.shape[1])))
    vectors = unit(world.vectors + gap[0] * directions[0])

    def text(words: str) -> np.ndarray:
        return np.asarray(unit((ways.text(words) + gap[1] * directions[1])[None])[0])

    spread = spread_over(vectors)
    recalls: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    single = [number for number, scene in enumerate(world.scenes) if len(scene.shapes) == 1]
    for number in rng.sample(single, min(300, len(single))):
        shape = world.scenes[number].shapes[0]
        motion = rng.choice([one for one in MOTIONS if one != shape.motion and can_move(shape.kind, one)])
        colour = rng.choice([one for one in COLOURS if one != shape.colour])
        for kind, new, old, wanted in (
            ("motion", SAY[motion], SAY[shape.motion], has(kind=shape.kind, colour=shape.colour, motion=motion)),
            ("colour", colour, shape.colour, has(kind=shape.kind, colour=colour, motion=shape.motion)),
        ):
            relevant = np.array([len(scene.shapes) == 1 and wanted(scene) for scene in world.scenes])
            relevant[number] = False
            if not relevant.any():
                continue
            clip, word, old_word = vectors[number], text(new), text(old)
            for name, vector in {
                "clip alone": clip,
                "words alone": word,
                "plain sum": combined([clip, word], [], plain_sum),
                "divided by the spread": combined([clip, word], [], spread),
                "and --not the old word": combined([clip, word], [old_word], spread),
            }.items():
                assert vector is not None
                top = [one for one in np.argsort(-(vectors @ vector), kind="stable")[:11] if one != number][:10]
                recalls[name][kind].append(relevant[top].sum() / min(10, relevant.sum()))
    return {name: [100 * float(np.mean(found)) for found in kinds.values()] for name, kinds in recalls.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=51)
    options = parser.parse_args()
    encoder = load_encoder(TINY, device="cpu", dtype="float32")
    world = draw_world(encoder, options.scenes, options.seed)
    ways = Ways(encoder, world)
    plain, hard = list(plain_tasks()), list(hard_tasks(Random(options.seed)))
    print(f"{options.scenes} scenes of seed {options.seed}; {len(plain)} tasks, and {len(hard)} harder ones\n")
    ways.read([text for one in [*plain, *hard] for text in (one.words, one.text, *one.without)])
    easy_scores, hard_scores = (score_tasks(world, ways.all(), tasks) for tasks in (plain, hard))
    print(f"{'':32}{'P@10':>8}{'leak':>8}{'harder: R@10':>14}")
    for name, (precision, leak, _) in easy_scores.items():
        print(f"{name:32}{precision:8.1f}{leak:8.1f}{hard_scores[name][2]:14.1f}")
    print(f"\n{'like a clip, with words: R@10':32}{'motion':>8}{'colour':>8}{'both, with a gap':>18}")
    apart = score_examples(world, ways, Random(options.seed), GAP)
    for name, recalls in score_examples(world, ways, Random(options.seed), (0.0, 0.0)).items():
        print(f"{name:32}" + "".join(f"{one:8.1f}" for one in recalls) + f"{np.mean(apart[name]):18.1f}")


if __name__ == "__main__":
    main()
