"""How well fine-tuning teaches words of the owner's, on small worlds that are drawn anew for each seed and renderer.

    uv run python -m tests.measure.new_words [--seeds 5] [--renderers sketched drawn] [--worlds known unseen]

Each training is `vidfind finetune` on sixty captioned videos. World `known`: in twelve captions a triangle is called a
blip. World `unseen`: twelve zorps (a look that the model has never met), twelve captions in which a square is a dax,
and twelve of Rex, one certain triangle with a dot in its middle. Then others are to be found among eighty drawings of
all kinds: by captions with the new word, by the same with the known noun, and by the word alone. "Old world": captions
of 150 drawings of the demo's world, before and after.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np

from tests.support.owner_words import (
    BLIP,
    DAX,
    RENDERERS,
    REX,
    ZORP,
    Drawn,
    Word,
    draw_clips,
    make,
    scenes_of,
    with_noun,
    write,
    write_csv,
)
from vidfind.demo import captions
from vidfind.demo import world as demo
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.world import Scene
from vidfind.encoders.encoder import Encoder
from vidfind.models.load import load_encoder

WITH_WORD, CAPTIONS, OTHERS, OLD, GROUPS, ORDINARY = 12, 60, 80, 150, 12, 9
WORLDS: Mapping[str, Sequence[Word]] = {"known": [BLIP], "unseen": [ZORP, DAX, REX]}
Vectors = np.ndarray


def drawings(words: Sequence[Word], count: int, seed: int) -> list[Drawn]:
    """Returns drawings of all kinds, of which WITH_WORD show the thing of each word."""
    rng = Random(seed)
    own = [
        make(scene, rng, word)
        for number, word in enumerate(words)
        for scene in scenes_of(word.kind, WITH_WORD, seed + 100 * number)
    ]
    rest = distinct_scenes(Random(seed + 5000), count - len(own))
    return [*own, *(make(scene, rng) for scene in rest)]


def train(folder: Path, words: Sequence[Word], renderer: str, seed: int) -> float:
    """Trains the adapter `home` on new drawings; returns the seconds of processor time."""
    write_csv(folder / "captions.csv", write(folder / "films", drawings(words, CAPTIONS, 1000 * seed), renderer))
    command = [sys.executable, "-m", "vidfind", "finetune", "--pairs", str(folder / "captions.csv"), "--model", "tiny"]
    began = os.times()
    subprocess.run([*command, "--no-use"], check=True, env={**os.environ, "VIDFIND_HOME": str(folder)})
    ended = os.times()
    return ended.children_user + ended.children_system - began.children_user - began.children_system


def encode(encoder: Encoder, scenes: Sequence[Scene], renderer: str) -> Vectors:
    clips = draw_clips(scenes, renderer, encoder.num_frames, encoder.image_size)
    parts = [encoder.encode_video(clips[i : i + 8]).numpy() for i in range(0, len(clips), 8)]
    return np.concatenate(parts)


def recall(encoder: Encoder, texts: Sequence[str], own: Sequence[int], clips: Vectors, first: int) -> float:
    """Returns the percentage of texts that find their own clip among the `first`."""
    scores = encoder.encode_text(list(texts)).numpy() @ clips.T
    rank = (scores > scores[np.arange(len(own)), list(own)][:, None]).sum(axis=1)
    return 100 * float((rank < first).mean())


def judge(encoder: Encoder, words: Sequence[Word], renderer: str, seed: int) -> dict[str, float]:
    """Returns all figures of a world, in percent, with names for a table."""
    shown = drawings(words, OTHERS, 1000 * seed + 500)
    clips = encode(encoder, [one.scene for one in shown], renderer)
    plain = [place for place, one in enumerate(shown) if not one.words]
    figures = {"ordinary R@1": recall(encoder, [shown[place].caption for place in plain], plain, clips, 1)}
    for word in words:
        own = [place for place, one in enumerate(shown) if word.text in one.words]
        texts = [shown[place].caption for place in own]
        for first in (1, 5):
            figures[f"{word.text} R@{first}"] = recall(encoder, texts, own, clips, first)
            known = [with_noun(text, word) for text in texts]
            figures[f"{word.text} as {word.noun} R@{first}"] = recall(encoder, known, own, clips, first)
        for one in (word.text, word.noun):
            figures[f"{one} alone, of its first 5"] = alone(encoder, one, set(own), shown, clips)
    if ZORP in words:
        figures["zorp among ten that move alike"] = among_ten(encoder, renderer, seed)
    old = list(distinct_scenes(Random(20261121), OLD))
    texts = [captions.caption(scene, Random(number)) for number, scene in enumerate(old)]
    figures["old world R@1"] = recall(encoder, texts, range(OLD), encode(encoder, old, "drawn"), 1)
    return figures


def alone(encoder: Encoder, word: str, own: set[int], shown: Sequence[Drawn], clips: Vectors) -> float:
    """Returns how many of the first five for `a WORD` and `WORD` show one, in percent.

    For a known noun, all that show its shape count."""
    kinds = {place for place, one in enumerate(shown) if any(shape.kind == word for shape in one.scene.shapes)}
    right = kinds or own
    if word == BLIP.text or word == DAX.text:
        kind = {BLIP.text: BLIP.kind, DAX.text: DAX.kind}[word]
        right = {place for place, one in enumerate(shown) if any(shape.kind == kind for shape in one.scene.shapes)}
    scores = encoder.encode_text([f"a {word}", word]).numpy() @ clips.T
    return 100 * float(np.mean([[place in right for place in np.argsort(-row)[:5]] for row in scores]))


def among_ten(encoder: Encoder, renderer: str, seed: int) -> float:
    """Returns how many zorps, big and small, are found first among ordinary shapes that move alike, in percent."""
    rng = Random(1000 * seed + 700)
    found = []
    for _ in range(GROUPS):
        motion = rng.choice(("left", "right", "up", "down", "bounces", "still"))
        size = rng.choice(list(demo.SIZES))
        star = Scene((demo.random_shape(rng, "star", size=size, motion=motion),), demo.random_background(rng))
        zorp = make(star, rng, ZORP)
        others = [
            Scene((demo.random_shape(rng, size=size, motion=motion),), demo.random_background(rng))
            for _ in range(ORDINARY)
        ]
        clips = encode(encoder, [zorp.scene, *others], renderer)
        found.append(recall(encoder, [zorp.caption], [0], clips, 1))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--renderers", nargs="+", default=list(RENDERERS), choices=list(RENDERERS))
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    asked = parser.parse_args()
    plain = load_encoder("tiny", device="cpu", dtype="float32")
    for world in asked.worlds:
        for renderer in asked.renderers:
            rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for seed in asked.seeds:
                with tempfile.TemporaryDirectory() as folder:
                    words = WORLDS[world]
                    seconds = train(Path(folder), words, renderer, seed)
                    adapter = Path(folder) / "adapters" / "home.safetensors"
                    tuned = load_encoder("tiny", adapter=adapter, device="cpu", dtype="float32")
                    before, after = (judge(one, words, renderer, seed) for one in (plain, tuned))
                print(f"seed {seed}: {seconds:.0f} s of processor time, {time.strftime('%H:%M')}", flush=True)
                for name, value in after.items():
                    rows[name].append((before[name], value))
                    print(f"    {name:34} {before[name]:5.0f} {value:5.0f}", flush=True)
            print(f"\n{world}, {renderer}, {len(asked.seeds)} seeds: mean and standard deviation, before and after")
            for name, values in rows.items():
                (a, b), (c, d) = np.mean(values, axis=0), np.std(values, axis=0)
                print(f"| {name} | {a:.1f} ± {c:.1f} | {b:.1f} ± {d:.1f} |", flush=True)


if __name__ == "__main__":
    main()
