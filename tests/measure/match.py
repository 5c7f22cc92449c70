"""Whether the match tells what is in a collection from what is not, with the tiny model on scenes of the drawn world.

    uv run python -m tests.measure.match [--scenes 1500] [--seed 31] [--costs]

"Far" collections hold two kinds of shapes in three colours, and what is absent has other kinds and other colours.
"Near" ones lack one kind, colour or motion, and have all else that the words name. Words are whole captions, "a red
star", "a star" and "a red star moving left", mixed. `--costs` also measures the levels of 100,000 random segments.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from vidfind.demo.captions import VERBS, caption
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.world import COLOURS, KINDS, MOTIONS, Scene, Shape
from vidfind.encoders.encoder import Encoder
from vidfind.models.catalog import TINY
from vidfind.models.load import load_encoder
from vidfind.words.bank import count_words, read_bank
from vidfind.words.levels import Levels

LEAST = (20, 30, 50)
ABSENT = [
    *(("kind", value) for value in KINDS),
    *(("colour", value) for value in COLOURS),
    *(("motion", value) for value in MOTIONS),
]
QUERIES = 30
"""Scenes of a collection that are asked for in each form, and as many that are not in it."""


class World(NamedTuple):
    """Scenes and the vectors of their clips (N, D)."""

    scenes: Sequence[Scene]
    vectors: np.ndarray


class Scores(NamedTuple):
    """Of queries, the match in percent and the cosine of the best clip, each (Q,)."""

    matches: np.ndarray
    cosines: np.ndarray


def draw_world(encoder: Encoder, count: int, seed: int) -> World:
    scenes = list(distinct_scenes(Random(seed), count))
    vectors = []
    for at in range(0, count, 50):
        clips = [draw(one, encoder.num_frames, encoder.image_size, encoder.image_size) for one in scenes[at : at + 50]]
        vectors.append(encoder.encode_video(np.stack(clips)).numpy())
    return World(scenes, unit(np.concatenate(vectors).astype(np.float16).astype(np.float32)))


def unit(vectors: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths)


def forms(shapes: Sequence[Shape], scene: Scene, rng: Random) -> list[str]:
    """What one may say to find a scene; `shapes`: those of which a form may name one."""
    shape = rng.choice(shapes)
    thing = f"a {shape.colour} {shape.kind}"
    return [caption(scene, rng), thing, f"a {shape.kind}", f"{thing} {VERBS[shape.motion][0][1]}"]


def absent_forms(scene: Scene, attribute: str, value: str, rng: Random) -> list[str]:
    """What one may say of a scene that names the value that is absent."""
    shapes = [shape for shape in scene.shapes if getattr(shape, attribute) == value]
    said = forms(shapes, scene, rng)
    return {"kind": said, "colour": said[:2] + said[3:], "motion": [said[0], said[3]]}[attribute]


def levels_of(bank: np.ndarray, collection: np.ndarray) -> Levels:
    return Levels(np.array(count_words(read_bank(TINY)), float), (bank @ collection.T).max(axis=1).astype(float))


def measure(
    encoder: Encoder, world: World, bank: np.ndarray, size: int, is_far: bool, trials: int, seed: int
) -> tuple[Scores, Scores]:
    """The scores of queries for what is in random collections of so many clips, and for what is not."""
    found: dict[bool, list[Scores]] = {True: [], False: []}
    for trial in range(trials):
        rng = Random(f"{seed} {size} {is_far} {trial}")
        inside, outside, say_absent = far_sides(rng) if is_far else near_sides(*ABSENT[trial % len(ABSENT)])
        members = [number for number, scene in enumerate(world.scenes) if inside(scene)]
        others = [number for number, scene in enumerate(world.scenes) if outside(scene)]
        chosen = rng.sample(members, min(size, len(members)))
        collection = world.vectors[chosen]
        levels = levels_of(bank, collection)
        present = [
            text
            for number in rng.sample(chosen, min(QUERIES, len(chosen)))
            for text in forms(world.scenes[number].shapes, world.scenes[number], rng)
        ]
        absent = [text for number in rng.choices(others, k=QUERIES) for text in say_absent(world.scenes[number], rng)]
        for is_present, texts in ((True, present), (False, absent)):
            texts = list(dict.fromkeys(texts))
            cosines = (encoder.encode_text(texts).numpy() @ collection.T).max(axis=1)
            matches = [levels.match(float(one), n) for one, n in zip(cosines, count_words(texts), strict=True)]
            found[is_present].append(Scores(np.array(matches), cosines))
    return joined(found[True]), joined(found[False])


def joined(parts: Sequence[Scores]) -> Scores:
    return Scores(*(np.concatenate(one) for one in zip(*parts, strict=True)))


Sides = tuple[Callable[[Scene], bool], Callable[[Scene], bool], Callable[[Scene, Random], list[str]]]


def far_sides(rng: Random) -> Sides:
    kinds, colours = rng.sample(KINDS, 2), rng.sample(list(COLOURS), 3)
    return (
        lambda scene: all(shape.kind in kinds and shape.colour in colours for shape in scene.shapes),
        lambda scene: all(shape.kind not in kinds and shape.colour not in colours for shape in scene.shapes),
        lambda scene, rng: forms(scene.shapes, scene, rng),
    )


def near_sides(attribute: str, value: str) -> Sides:
    def has(scene: Scene) -> bool:
        return any(getattr(shape, attribute) == value for shape in scene.shapes)

    return (
        lambda scene: not has(scene),
        has,
        lambda scene, rng: absent_forms(scene, attribute, value, rng),
    )


def auroc(present: np.ndarray, absent: np.ndarray) -> float:
    """How often, in percent, what is present scores above what is absent; equal scores count half."""
    order = np.sort(absent)
    below, upto = np.searchsorted(order, present, "left"), np.searchsorted(order, present, "right")
    return float(100 * (below + upto).mean() / 2 / len(absent))


def table(encoder: Encoder, world: World, bank: np.ndarray, seed: int) -> list[str]:
    lines = [
        "| % of present / absent queries at or above | "
        + " | ".join(f"{least} %" for least in LEAST)
        + " | AUROC match"
        " | AUROC cosine |",
        "|---|" + "---|" * (len(LEAST) + 2),
    ]
    for is_far, sizes in ((True, (20, 100, 300)), (False, (20, 100, 1000))):
        for size in sizes:
            trials = 2 * len(ABSENT) if size < 300 else len(ABSENT)
            present, absent = measure(encoder, world, bank, size, is_far, trials, seed)
            shares = [
                f"{100 * (present.matches >= least).mean():.0f}/{100 * (absent.matches >= least).mean():.0f}"
                for least in LEAST
            ]
            areas = [auroc(present.matches, absent.matches), auroc(present.cosines, absent.cosines)]
            name = f"{'far' if is_far else 'near'}, {size} clips"
            lines.append(f"| {name} | {' | '.join(shares)} | {' | '.join(f'{area:.1f}' for area in areas)} |")
    return lines


def costs() -> list[str]:
    """What the levels of 100,000 segments of 512 numbers cost, and a match."""
    from tests.support.rows import make_row
    from tests.support.stored import put
    from vidfind.encoders.names import EncoderIdentity
    from vidfind.store.settings import IndexSettings
    from vidfind.store.store import Embedded, Store
    from vidfind.words import levels

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        identity = EncoderIdentity(TINY, "builtin", "digest", "tempme", None, 12)
        store = Store.create(Path(folder, "default"), IndexSettings(identity), 512)
        rows = [make_row(f"/v/{number}.mp4", 100) for number in range(1000)]
        spans = [(10.0 * i, 10.0 * i + 10) for i in range(100)]
        put(store, rows, [Embedded(row.content, spans, unit(rng.standard_normal((100, 512)))) for row in rows])
        bank = unit(rng.standard_normal((256, 512))).astype(np.float16)
        contents = np.array([row.content for row in rows])
        seconds = timed(lambda: levels._tops(store, bank, contents))
        new = timed(lambda: levels._tops(store, bank, contents[:10]))
        one = Levels(np.array(count_words(read_bank(TINY)), float), rng.random(256))
        match = timed(lambda: [one.match(0.3, 4) for _ in range(1000)])
    return [f"levels of 100,000 segments: {seconds:.2f} s; of 1,000 new ones: {new:.3f} s; a match: {match:.4f} ms"]


def timed(run: Callable[[], object]) -> float:
    """Seconds that the best of three runs takes."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--save", type=Path, help="only keep the vectors of the scenes in this file, for a test")
    arguments = parser.parse_args()
    encoder = load_encoder(TINY, device="cpu")
    world = draw_world(encoder, arguments.scenes, arguments.seed)
    if arguments.save:
        np.savez_compressed(arguments.save, seed=arguments.seed, vectors=world.vectors.astype(np.float16))
        return
    bank = unit(encoder.encode_text(list(read_bank(TINY))).numpy().astype(np.float16).astype(np.float32))
    for line in table(encoder, world, bank, arguments.seed) + (costs() if arguments.costs else []):
        print(line)


if __name__ == "__main__":
    main()
