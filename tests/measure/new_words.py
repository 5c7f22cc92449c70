"""How well fine-tuning teaches words of the owner's, on small worlds that are drawn anew for each seed and renderer.

    uv run python -m tests.measure.new_words [--seeds 1 2] [--renderers sketched drawn] [--worlds known unseen]

Each training is `vidfind finetune` on sixty captioned videos. World `known`: in twelve captions a triangle is called a
blip. World `unseen`: twelve zorps (a look that the model has never met), twelve captions in which a square is a dax,
and twelve of Rex, one certain triangle with a dot in its middle. dax and Rex are taught with their noun (--word), the
others are found by themselves. Then others are to be found among eighty drawings of all kinds: by captions with the new
word, by the same with the known noun, and by the word alone; a zorp also among nine other shapes that move alike, and
Rex among nine triangles of its colour and size that move alike. "Old world": captions of 150 drawings of the demo's
world. Everything before and after.

A caption names no colour of a zorp, and so fits several of them: "zorp R@1 at most" is what one finds who knows every
shape and movement and chooses among those that fit by chance. "Among the zorps alone" is what one finds who knows a
zorp from everything else, and reads the rest of the caption as the model does.

With --text-only, clips are seen as before. With --words-alone nothing but the directions of the words is learned, from
all sixty captions and in seconds: all other captions and clips keep their vectors.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import torch

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
from vidfind.models.adapter_file import learned_words
from vidfind.models.load import load_encoder
from vidfind.towers.text import tokens_present
from vidfind.training.optimize import contrastive_loss, fit_directions
from vidfind.training.trainable import facts_of, first_rows, new_words, teach

WITH_WORD, CAPTIONS, OTHERS, OLD, GROUPS, ORDINARY = 12, 60, 80, 150, 12, 9
FOUND = (BLIP, ZORP)
WORLDS: Mapping[str, Sequence[Word]] = {"known": [BLIP], "unseen": [ZORP, DAX, REX]}
Vectors = np.ndarray
ENCODED: dict[Hashable, Vectors] = {}
"""The vectors of scenes; an adapter of the text tower alone leaves them as they are."""


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


def train(folder: Path, words: Sequence[Word], renderer: str, seed: int, options: Sequence[str]) -> float:
    """Trains the adapter `home` on new drawings; returns the seconds of processor time."""
    write_csv(folder / "captions.csv", write(folder / "films", drawings(words, CAPTIONS, 1000 * seed), renderer))
    command = [sys.executable, "-m", "vidfind", "finetune", "--pairs", str(folder / "captions.csv"), "--model", "tiny"]
    for word in words:
        command += [] if word in FOUND else ["--word", f"{word.text}={word.noun}"]
    began = os.times()
    subprocess.run([*command, *options, "--no-use"], check=True, env={**os.environ, "VIDFIND_HOME": str(folder)})
    ended = os.times()
    return ended.children_user + ended.children_system - began.children_user - began.children_system


def big_shapes(seed: int, count: int, ordinary: int) -> list[list[Drawn]]:
    """Returns groups of a big zorp and `ordinary` big shapes that move alike."""
    rng, groups = Random(seed), []
    for _ in range(count):
        motion = rng.choice(("left", "right", "up", "down", "bounces", "still"))
        shapes = [demo.random_shape(rng, kind, size="big", motion=motion) for kind in (ZORP.kind, *[None] * ordinary)]
        scenes = [Scene((shape,), demo.random_background(rng)) for shape in shapes]
        groups.append([make(scenes[0], rng, ZORP), *(make(scene, rng) for scene in scenes[1:])])
    return groups


def of_forty_captions(plain: Encoder, renderer: str, seed: int) -> list[float]:
    """Returns how many zorps are found first among ten that move alike, in percent, before and after the direction of
    the word is learned from forty captions: of twenty big zorps and twenty shapes that move alike."""
    encoder = plain.copy()
    teach_alone(encoder, [ZORP], renderer, [one for group in big_shapes(seed, 20, 1) for one in group])
    groups = [
        (group[0].caption, encode(plain, [one.scene for one in group], renderer))
        for group in big_shapes(100 + seed, 20, ORDINARY)
    ]
    return [float(np.mean([recall(e, [text], [0], clips, 1) for text, clips in groups])) for e in (plain, encoder)]


def teach_alone(encoder: Encoder, words: Sequence[Word], renderer: str, shown: Sequence[Drawn]) -> None:
    """Teaches an encoder the directions of words, as the first step of fine-tuning does, and nothing else."""
    texts = [one.caption for one in shown]
    clips = torch.from_numpy(encode(encoder, [one.scene for one in shown], renderer))
    asked = {word.text: word.noun for word in words if word not in FOUND}
    found = new_words(texts, clips, encoder, asked, {})
    print(f"    {', '.join(f'{word.text} began as {word.noun}' for word in found)}")
    learned = learned_words(facts_of(found, texts))
    rows = torch.cat([first_rows(encoder, word.noun) for word in found])
    teach(encoder, learned, rows, torch.zeros(len(rows), encoder.dim))
    present = tokens_present(encoder.tokenizer(texts), len(rows)).float()
    scale = encoder.model.logit_scale.detach().exp()
    loss = partial(contrastive_loss, scale=scale)
    teach(encoder, learned, rows, fit_directions(clips, encoder.encode_text(texts), present, loss))


def encode(encoder: Encoder, scenes: Sequence[Scene], renderer: str) -> Vectors:
    key = replace(encoder.identity, adapter=None), renderer, tuple(scenes)
    if key not in ENCODED:
        clips = draw_clips(scenes, renderer, encoder.num_frames, encoder.image_size)
        parts = [encoder.encode_video(clips[i : i + 8]).numpy() for i in range(0, len(clips), 8)]
        ENCODED[key] = np.concatenate(parts)
    return ENCODED[key]


def recall(encoder: Encoder, texts: Sequence[str], own: Sequence[int], clips: Vectors, first: int) -> float:
    """Returns the percentage of texts that find their own clip among the `first`."""
    scores = encoder.encode_text(list(texts)).numpy() @ clips.T
    rank = (scores > scores[np.arange(len(own)), list(own)][:, None]).sum(axis=1)
    return 100 * float((rank < first).mean())


def judge(encoder: Encoder, words: Sequence[Word], renderer: str, seed: int, old_world: float) -> dict[str, float]:
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
        figures |= zorps_that_fit(encoder, shown, clips)
        figures["zorp among ten that move alike"] = among_ten(encoder, ZORP, renderer, seed)["with the word"]
    if REX in words:
        found = among_ten(encoder, REX, renderer, seed)
        figures |= {f"Rex among ten triangles alike, {how}": share for how, share in found.items()}
    return {**figures, "old world R@1": old_world}


def zorps_that_fit(encoder: Encoder, shown: Sequence[Drawn], clips: Vectors) -> dict[str, float]:
    """Returns how many captions of zorps find first a video that they fit, among all and among zorps alone, and how
    many could find their own first at most, since several fit: in percent."""
    own = np.array([place for place, one in enumerate(shown) if ZORP.text in one.words])
    said = [facts_said(shown[place].scene) for place in own]
    fits = np.array([[a == b for b in said] for a in said])
    scores = encoder.encode_text([shown[place].caption for place in own]).numpy() @ clips.T
    rows, best_zorp = np.arange(len(own)), scores[:, own].argmax(axis=1)
    is_found = fits[rows, best_zorp]
    is_zorp = scores.argmax(axis=1) == own[best_zorp]
    return {
        "zorp, any that the caption fits first": 100 * float((is_found & is_zorp).mean()),
        "the same among the zorps alone": 100 * float(is_found.mean()),
        "zorp R@1 at most": 100 * float((1 / fits.sum(axis=1)).mean()),
    }


def facts_said(scene: Scene) -> list[tuple[str, str, str, str]]:
    """Returns what a caption says of each shape of a scene: of a zorp no colour."""
    shapes = [shape for shape in scene.shapes if shape.kind != "stripes"]
    return sorted(
        (shape.kind, "" if shape.kind == "hexagon" else shape.colour, shape.size or "", shape.motion)
        for shape in shapes
    )


def old_world(encoder: Encoder) -> float:
    """Returns R@1 on drawings of the demo's world."""
    old = list(distinct_scenes(Random(20261121), OLD))
    texts = [captions.caption(scene, Random(number)) for number, scene in enumerate(old)]
    return recall(encoder, texts, range(OLD), encode(encoder, old, "drawn"), 1)


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


def among_ten(encoder: Encoder, word: Word, renderer: str, seed: int) -> dict[str, float]:
    """Returns how many things of a word are found first among ordinary shapes that move alike, in percent: by captions
    with the word, and with its noun. Among zorps, big and small, are shapes of all kinds; of Rex, triangles alike."""
    rng = Random(1000 * seed + 700)
    found = []
    for _ in range(GROUPS):
        motion = rng.choice(("left", "right", "up", "down", "bounces", "still"))
        size = rng.choice(list(demo.SIZES))
        shape = demo.random_shape(rng, word.kind, size=size, motion=motion)
        own = make(Scene((shape,), demo.random_background(rng)), rng, word)
        kind, colour = (word.kind, shape.colour) if word == REX else (None, None)
        others = [
            Scene((demo.random_shape(rng, kind, colour, size, motion),), demo.random_background(rng))
            for _ in range(ORDINARY)
        ]
        clips = encode(encoder, [own.scene, *others], renderer)
        texts = (own.caption, with_noun(own.caption, word))
        found.append([recall(encoder, [text], [0], clips, 1) for text in texts])
    return dict(zip(("with the word", "with its noun"), map(float, np.mean(found, axis=0)), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--renderers", nargs="+", default=list(RENDERERS), choices=list(RENDERERS))
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--text-only", action="store_true")
    parser.add_argument("--words-alone", action="store_true")
    parser.add_argument("--forty", action="store_true", help="one word of forty captions alone, and nothing else")
    asked = parser.parse_args()
    options = ["--text-only"] if asked.text_only else []
    torch.set_num_threads(1)
    plain = load_encoder("tiny", device="cpu", dtype="float32")
    for seed, renderer in product(asked.seeds, asked.renderers if asked.forty else ()):
        print(f"forty captions, {renderer}, seed {seed}: {of_forty_captions(plain, renderer, seed)}", flush=True)
    if asked.forty:
        return
    kept = old_world(plain)
    rows: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for seed, world, renderer in product(asked.seeds, asked.worlds, asked.renderers):
        with tempfile.TemporaryDirectory() as folder:
            words = WORLDS[world]
            if asked.words_alone:
                tuned, began = plain.copy(), time.process_time()
                teach_alone(tuned, words, renderer, drawings(words, CAPTIONS, 1000 * seed))
                seconds = time.process_time() - began
            else:
                seconds = train(Path(folder), words, renderer, seed, options)
                adapter = Path(folder) / "adapters" / "home.safetensors"
                tuned = load_encoder("tiny", adapter=adapter, device="cpu", dtype="float32")
            before, after = (
                judge(plain, words, renderer, seed, kept),
                judge(tuned, words, renderer, seed, old_world(tuned)),
            )
        print(f"{world}, {renderer}, seed {seed}: {seconds:.0f} s of processor time, {time.strftime('%H:%M')}")
        for name, value in after.items():
            rows[world, renderer][name].append((before[name], value))
            print(f"    {name:46} {before[name]:5.0f} {value:5.0f}", flush=True)
    for (world, renderer), table in rows.items():
        print(f"\n{world}, {renderer}, {len(asked.seeds)} seeds: mean and standard deviation, before and after")
        for name, values in table.items():
            (a, b), (c, d) = np.mean(values, axis=0), np.std(values, axis=0)
            print(f"| {name} | {a:.1f} ± {c:.1f} | {b:.1f} ± {d:.1f} |", flush=True)


if __name__ == "__main__":
    main()
