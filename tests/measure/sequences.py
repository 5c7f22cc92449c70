"""What `--then` finds in videos that are joined from clips of the drawn world, and what it costs in a large index.

    uv run python -m tests.measure.sequences [--triples 24] [--seed 71]
    uv run python -m tests.measure.sequences --segments 100000 [--structured]

The first draws triples of videos of 4 to 6 clips: with A and then B near, with B and then A, and with B long after A.
In the one table clips are as long as segments, in the other they are of any length. Each pair is looked for in both
orders, within 15 seconds. The second makes an index of random vectors and compares times, and answers with those of a
scan of all segments: any segment may show any of 200 things. `--structured`: as in a real collection, a video is about
some of 1,000 things, and a thing goes on for several segments.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from tests.measure.match import unit
from tests.support.rows import make_row
from vidfind.demo.captions import caption
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.world import Scene
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.media.sampling import split_segments
from vidfind.models.catalog import TINY
from vidfind.models.load import load_encoder
from vidfind.search import sequence
from vidfind.search.query import combined
from vidfind.search.sequence import Step, search_sequences
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store

FRAME_RATE = 8
LENGTH = 10.0
WITHIN = 15.0


class Film(NamedTuple):
    """A video of a triple: which of `AB`, `BA` and `far` it is, and the seconds at which A and B begin and end."""

    triple: int
    kind: str
    a: tuple[float, float]
    b: tuple[float, float]

    @property
    def name(self) -> str:
        return f"/v/{self.triple:02}-{self.kind}"


class Query(NamedTuple):
    """What is looked for: two captions in order, and the names of the right, the reversed and the far video."""

    first: str
    second: str
    right: Film
    reverse: Film
    far: Film


def joined(scenes: Sequence[Scene], lengths: Sequence[float], size: int) -> np.ndarray:
    """The frames of a video (T, S, S, 3)."""
    return np.concatenate(
        [draw(one, round(n * FRAME_RATE), size, size) for one, n in zip(scenes, lengths, strict=True)]
    )


def encode(encoder: Encoder, frames: np.ndarray) -> tuple[list[tuple[float, float]], np.ndarray]:
    """The segments of a video in seconds, and their vectors, of frames that are spread evenly as in an index."""
    spans = [(one.start, one.end) for one in split_segments(len(frames) / FRAME_RATE, LENGTH)]
    clips = []
    for start, end in spans:
        places = start + (np.arange(encoder.num_frames) + 0.5) * (end - start) / encoder.num_frames
        clips.append(frames[np.minimum((places * FRAME_RATE).astype(int), len(frames) - 1)])
    return spans, encoder.encode_video(np.stack(clips)).numpy()


def draw_films(encoder: Encoder, store: Store, triples: int, is_aligned: bool, seed: int) -> Iterator[Query]:
    """Draws, encodes and stores the videos of each triple; yields two queries for each."""
    rng = Random(seed)
    scenes = distinct_scenes(Random(seed + 1), triples * 20)
    rows, embedded, queries = [], [], []
    for triple in range(triples):
        a, b = next(scenes), next(scenes)
        films = {}
        near = rng.choice((0, 0, 1))  # clips between the two
        for kind in ("AB", "BA", "far"):
            count = 6 if kind == "far" else rng.randint(4, 6)
            between = rng.choice((3, 4)) if kind == "far" else near
            first = rng.randint(0, count - 2 - between)
            clips = [next(scenes) for _ in range(count)]
            clips[first], clips[first + 1 + between] = (b, a) if kind == "BA" else (a, b)
            lengths = [LENGTH if is_aligned else rng.uniform(6, 14) for _ in clips]
            spans, vectors = encode(encoder, joined(clips, lengths, encoder.image_size))
            ends = np.cumsum([round(n * FRAME_RATE) / FRAME_RATE for n in lengths]).tolist()
            where = [(ends[clips.index(one)] - lengths[clips.index(one)], ends[clips.index(one)]) for one in (a, b)]
            films[kind] = Film(triple, kind, *where)
            rows.append(make_row(films[kind].name, len(spans), duration=spans[-1][1], folder=Path("/v")))
            embedded.append(Embedded(rows[-1].content, spans, vectors))
        said_a, said_b = caption(a, Random(f"{seed} {triple} a")), caption(b, Random(f"{seed} {triple} b"))
        queries.append(Query(said_a, said_b, films["AB"], films["BA"], films["far"]))
        queries.append(Query(said_b, said_a, films["BA"], films["AB"], films["far"]))
    with store.writing() as writer:
        writer.put(rows, embedded)
    yield from queries


def make_store(folder: Path, dim: int) -> Store:
    return Store.create(folder, IndexSettings(EncoderIdentity(TINY, "builtin", "digest", "tempme", None, 12)), dim)


def segments_of(store: Store) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The spans (N, 2) and vectors (N, D) of each video by its name, in order of time."""
    names = {row.content: str(row.path) for row in store.videos().values()}
    found: dict[str, list[tuple[float, float, np.ndarray]]] = defaultdict(list)
    for contents, spans, vectors in store.segments():
        for content, (start, end), vector in zip(contents, spans, unit(vectors), strict=True):
            found[names[int(content)]].append((start, end, vector))
    ordered = {name: sorted(one, key=lambda each: each[0]) for name, one in found.items()}
    return {
        name: (np.array([each[:2] for each in one]), np.stack([each[2] for each in one]))
        for name, one in ordered.items()
    }


Answer = tuple[list[str], tuple[float, float]]
"""The names of videos, best first, and the moment of the right one."""


def answers(encoder: Encoder, store: Store, query: Query) -> dict[str, Answer]:
    """The answers of each way to look for a sequence."""
    first, second, whole = encoder.encode_text(
        [query.first, query.second, f"{query.first} and then {query.second}"]
    ).numpy()
    sample = store.sample(2000)
    steps = [Step(vector, float((sample @ vector).std())) for vector in (first, second)]
    segments = segments_of(store)

    def by(score: Callable[[np.ndarray], float], place: Callable[[np.ndarray], tuple[int, int]]) -> Answer:
        order = sorted(segments, key=lambda name: -score(segments[name][1]))
        spans, vectors = segments[query.right.name]
        begin, end = place(vectors)
        return order, (float(spans[begin, 0]), float(spans[end, 1]))

    def both_places(vectors: np.ndarray) -> tuple[int, int]:
        one, other = sorted(int((vectors @ vector).argmax()) for vector in (first, second))
        return one, other

    def alone(vector: np.ndarray) -> Answer:
        def place(vectors: np.ndarray) -> tuple[int, int]:
            best = int((vectors @ vector).argmax())
            return best, best

        return by(lambda vectors: float((vectors @ vector).max()), place)

    def in_order(within: float) -> Answer:
        moments = search_sequences(store, steps, within, limit=len(segments))
        right = [one for one in moments if str(one.path) == query.right.name]
        return [str(one.path) for one in moments], (right[0].start, right[0].end) if right else (0.0, 0.0)

    return {
        "one text 'A and then B'": alone(whole),
        "A alone": alone(first),
        "best A + best B in any order": by(
            lambda vectors: float((vectors @ first).max() + (vectors @ second).max()), both_places
        ),
        "in order in the window": in_order(WITHIN),
        "in order, no window": in_order(1e9),
    }


def judge(answer: Answer, query: Query) -> tuple[float, ...]:
    """Whether the right video is first, among five, before the reversed and before the far one, and the moment right.

    The far video has A before B: it is no rival of a query for B and then A."""
    order, (begin, end) = answer
    place = {name: number for number, name in enumerate(order)}
    last = len(order)
    right = place.get(query.right.name, last)
    (start, _), (_, stop) = (
        (query.right.a, query.right.b) if query.right.kind == "AB" else (query.right.b, query.right.a)
    )
    overlap = max(0.0, min(stop, end) - max(start, begin)) / (max(stop, end) - min(start, begin))
    before_far = float(right < place.get(query.far.name, last)) if query.right.kind == "AB" else np.nan
    return right < 1, right < 5, right < place.get(query.reverse.name, last), before_far, overlap >= 0.5


def print_quality(triples: int, seed: int) -> None:
    encoder = load_encoder(TINY, device="cpu", dtype="float32")
    for name, is_aligned in (("as long as segments", True), ("of any length", False)):
        with tempfile.TemporaryDirectory() as base:
            store = make_store(Path(base) / "index", encoder.dim)
            rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
            for query in draw_films(encoder, store, triples, is_aligned, seed + is_aligned):
                for way, answer in answers(encoder, store, query).items():
                    rows[way].append(judge(answer, query))
        print(f"\nClips {name}, {2 * triples} queries in {3 * triples} videos, in percent")
        print(f"{'':32}{'first':>8}{'in five':>8}{'> reversed':>12}{'> far':>8}{'moment':>8}")
        for way, judged in rows.items():
            means = 100 * np.nanmean(np.array(judged, float), axis=0)
            print(f"{way:32}{means[0]:8.1f}{means[1]:8.1f}{means[2]:12.1f}{means[3]:8.1f}{means[4]:8.1f}", flush=True)


def timed(times: list[tuple[float, float]], run: Callable[..., Any], *arguments: object) -> Any:
    """What `run` returns; notes how long it took, and how much of the processors."""
    began, used = time.perf_counter(), time.process_time()
    found = run(*arguments)
    times.append((time.perf_counter() - began, time.process_time() - used))
    return found


def draw_things(rng: np.random.Generator, count: int, things: int, is_structured: bool) -> np.ndarray:
    """Which thing each of `count` segments shows (N,), 50 in each video."""
    if not is_structured:
        return rng.integers(things, size=count)
    rare = 1 / np.arange(1, things + 1) ** 0.7  # few things are filmed often
    of_video = rng.choice(things, size=(count // 50, 8), p=rare / rare.sum())
    scene = np.cumsum(rng.random((count // 50, 50)) < 0.25, axis=1) % 8
    return np.take_along_axis(of_video, scene, axis=1).reshape(-1)


def print_costs(count: int, is_structured: bool, dim: int = 512, runs: int = 9) -> None:
    """Of an index with so many segments, 50 in each video."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as base:
        store = make_store(Path(base) / "index", dim)
        spans = [(LENGTH * number, LENGTH * (number + 1)) for number in range(50)]
        centres = rng.standard_normal((1000 if is_structured else 200, dim)).astype(np.float32)
        shown = draw_things(rng, count, len(centres), is_structured)
        with store.writing() as writer:
            for at in range(0, count, 5000):
                vectors = centres[shown[at : at + 5000]] + 1.5 * rng.standard_normal((5000, dim))
                rows = [make_row(f"/v/{at + n}", 50, duration=500.0) for n in range(0, 5000, 50)]
                parts = np.split(unit(vectors), 100)
                writer.put(rows, [Embedded(row.content, spans, part) for row, part in zip(rows, parts, strict=True)])
            writer.compact()
        sample = store.sample(2000)

        def spread(vector: np.ndarray) -> float:
            return float((sample @ vector).std())

        pairs = [
            unit(centres[shown[rng.integers(count, size=2)]] + rng.standard_normal((2, dim))).astype(np.float32)
            for _ in range(runs)
        ]
        times: dict[str, list[tuple[float, float]]] = defaultdict(list)
        same_sequences = same_tens = 0.0
        for pair in pairs:
            steps = [Step(vector, spread(vector)) for vector in pair]
            left_out = combined([pair[0]], [pair[1]], spread)
            assert left_out is not None

            store.search(pair[0], 80)
            timed(times["one plain search"], store.search, pair[0], 80)
            found = timed(times["--then"], search_sequences, store, steps, 60)
            usual = sequence.FIRST_HITS
            sequence.FIRST_HITS = sequence.MOST_HITS + 1
            scanned = timed(times["--then, all segments read"], search_sequences, store, steps, 60)
            sequence.FIRST_HITS = usual
            same_sequences += [one.path for one in found] == [one.path for one in scanned]
            exact = np.concatenate([unit(vectors) @ left_out for _, _, vectors in store.segments()])
            ten = [hit.score for hit in store.search(left_out, 10)]
            same_tens += bool(np.allclose(np.sort(exact)[::-1][:10], ten, atol=1e-3))
        print(f"{count:,} segments of {dim} numbers; milliseconds: median and least, and of the processors")
        for name, took in times.items():
            wall, used = (sorted(1000 * each for each in one) for one in zip(*took, strict=True))
            print(f"{name:32}{statistics.median(wall):8.0f}{wall[0]:8.0f}{statistics.median(used):8.0f}")
        print(f"{'--then, as a scan of all':32}{100 * same_sequences / runs:8.0f} %")
        print(f"{'--not, the ten of a scan':32}{100 * same_tens / runs:8.0f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--triples", type=int, default=24)
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--segments", type=int)
    parser.add_argument("--structured", action="store_true")
    options = parser.parse_args()
    if options.segments:
        print_costs(options.segments, options.structured)
    else:
        print_quality(options.triples, options.seed)


if __name__ == "__main__":
    main()
