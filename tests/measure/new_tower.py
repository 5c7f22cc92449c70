"""Prints what encoders find with a small image tower of the newer kind, before and after a short training.

    python -m tests.measure.new_tower --folder DIR --seeds 1   # trains a tower for each seed, and keeps it in DIR
    python -m tests.measure.new_tower --weights FILE FILE      # the same of models in the shape of the built-in one

The tower is built as those of PE-Core: places are rotated in attention (RoPE), and a pooling reads it. It learns to
give single pictures the vectors that the built-in model gives them, whose text half it is then used with: so it has
never seen joined frames. The short training is that of `vidfind finetune` (LoRA on attention, temporal positions,
contrast and distillation) without what holds it back; it is done in both readings of joined frames.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm.models.eva import Eva

from tests.measure.frame_by_frame import encode, recalls, say
from tests.support.timm_towers import PE, SHAPE, SmallTower
from vidfind.demo.captions import caption
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.tiny.train import same_meaning
from vidfind.demo.world import Scene, random_scene
from vidfind.encoders.costs import count
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, EncoderChoice
from vidfind.models.catalog import TINY
from vidfind.models.load import load_encoder, load_for_training
from vidfind.training.optimize import contrastive_loss, make_optimizer
from vidfind.training.recipe import Recipe
from vidfind.training.trainable import prepare

WAYS: Mapping[str, tuple[str, str, bool]] = {
    "`mean`": ("mean", "clip", False),
    "`tome`": ("tome", "clip", False),
    "`tempme`, read frame by frame": ("tempme", "frame", False),
    "`tempme`, one reading of all joined frames": ("tempme", "clip", False),
    "`mean`, trained": ("mean", "clip", True),
    "`tempme`, read frame by frame, trained": ("tempme", "frame", True),
    "`tempme`, one reading of all joined frames, trained": ("tempme", "clip", True),
}
"""The encoder and the reading of each row, and whether it is trained."""
PICTURES, A_STEP = 2400, 32
LEARNING_RATE = 1e-3
CAPTIONS = 5
"""Wordings of each clip's caption."""


def new_tower(folder: Path, seed: int, steps: int) -> Encoder:
    """The `mean` encoder of a new tower with the text half of the built-in model; trained now if it is not in the
    folder."""
    encoder, _ = load_for_training(EncoderChoice(TINY, encoder="mean"), device="cpu")
    encoder.parameters.clear()  # temporal positions, which were trained on joined frames
    torch.manual_seed(seed)
    shape = {**SHAPE, **PE, "embed_dim": 96, "mlp_ratio": 4.0, "depth": 6, "num_classes": encoder.dim}
    tower, file = SmallTower(Eva(**shape)), folder / f"pe-{seed}-{steps}.safetensors"
    if not file.is_file():
        distil(encoder, tower, seed, steps)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in tower.state_dict().items()}, file)
    tower.load_state_dict(load_file(file))
    encoder.model.visual = tower
    return Encoder(encoder.model, encoder.tokenizer, encoder.identity)


def distil(teacher: Encoder, tower: SmallTower, seed: int, steps: int) -> None:
    """Trains a tower to give single pictures the vectors of the teacher, and to tell them apart as well."""
    rng, size = Random(f"pictures {seed}"), teacher.image_size
    pictures = torch.from_numpy(np.concatenate([draw(random_scene(rng), 3, size, size) for _ in range(PICTURES // 3)]))
    with torch.no_grad():
        wanted = torch.cat([F.normalize(teacher.frame_features(p[:, None])[:, 0], dim=-1) for p in pictures.split(300)])
    teacher_tower, teacher.model.visual = teacher.model.visual, tower
    student = Encoder(teacher.model, teacher.tokenizer, teacher.identity)
    tower.requires_grad_(True)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    for step in range(steps):
        rate = LEARNING_RATE * min((step + 1) / 50, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        some = torch.randperm(len(pictures))[:A_STEP]
        found = F.normalize(student.frame_features(pictures[some][:, None])[:, 0], dim=-1)
        near = 1 - (found * wanted[some]).sum(dim=-1).mean()
        loss = near + 0.1 * contrastive_loss(found, wanted[some], torch.tensor(20.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0:
            say(f"seed {seed}: step {step + 1} of {steps}, cosine to the teacher {1 - near.item():.3f}")
    teacher.model.visual = teacher_tower


def train(encoder: Encoder, scenes: Sequence[Scene], steps: int, batch_size: int) -> Encoder:
    """The encoder with a model of its own that has learned from the scenes."""
    # Again with what it adds to the model, as that is before training.
    encoder = encoder.copy().with_encoder(encoder.identity.encoder, encoder.identity.reading)
    before = encoder.copy()
    recipe = replace(Recipe(), batch_size=batch_size)
    rng, size = Random("trained"), encoder.image_size
    trained, _ = prepare(encoder, recipe, None)
    optimizer = make_optimizer(trained, recipe, steps)
    scale = encoder.model.logit_scale.exp().detach()
    for _ in range(steps):
        batch = rng.sample(list(scenes), batch_size)
        clips = torch.from_numpy(np.stack([draw(scene, DEFAULT_NUM_FRAMES, size, size) for scene in batch]))
        ids = encoder.tokenizer([caption(scene, rng) for scene in batch])
        with torch.no_grad():
            old = before.video_features(clips), before.text_features(ids)
        new = encoder.video_features(clips), encoder.text_features(ids)
        kept = sum((1 - F.cosine_similarity(a, b, dim=-1)).mean() for a, b in zip(new, old, strict=True)) / 2
        loss = contrastive_loss(*new, scale, same_meaning(batch)) + recipe.distill_weight * kept
        loss.backward()
        optimizer.step()
    return encoder


def judge(plain: Encoder, seed: str, clips: int, scenes: int, steps: int) -> Iterator[tuple[str, Sequence[float]]]:
    """The R@1, R@5 and R@10 of each way, in percent, and thousands of millions of operations, and tokens left."""
    judged = list(distinct_scenes(Random(f"judged {seed}"), clips))
    rng, size = Random(f"learned {seed}"), plain.image_size
    learned = [random_scene(rng) for _ in range(scenes)]
    frames = np.stack([draw(scene, DEFAULT_NUM_FRAMES, size, size) for scene in judged])
    for name, (encoder, reading, is_trained) in WAYS.items():
        if is_trained and not steps:
            continue
        own = plain.with_encoder(encoder, reading)
        if is_trained:
            own = train(own, learned, steps, min(32, len(learned)))
        videos = encode(own, frames)
        texts = [
            own.encode_text([caption(scene, Random(f"{n} {wording}")) for n, scene in enumerate(judged)])
            for wording in range(CAPTIONS)
        ]
        marks = np.mean([recalls(text @ videos.T) for text in texts], axis=0)
        tokens, flops = count(own, frames[:1])
        say(f"{seed}: {name} {' / '.join(f'{value:.1f}' for value in marks)}")
        yield name, (*marks, tokens, flops / 1e9)


def format_rows(found: Sequence[Mapping[str, Sequence[float]]], names: Sequence[str]) -> Iterator[str]:
    """The lines of a Markdown table: a row for each way, a column for each model, the mean of all, and the cost."""
    yield f"| R@1 / R@5 / R@10, % | {' | '.join(names)} | mean of {len(names)} | tokens | GFLOPs |"
    yield "|---|" + "---|" * (len(names) + 3)
    for way in found[0]:
        marks = [one[way] for one in found]
        cells = [" / ".join(f"{value:.1f}" for value in one[:3]) for one in [*marks, np.mean(marks, axis=0)]]
        yield f"| {way} | {' | '.join(cells)} | {marks[0][3]:.0f} | {marks[0][4]:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.new_tower", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="train a tower for each seed, and keep it here")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="%(default)s")
    parser.add_argument("--steps", type=int, default=400, help="of the training on pictures: %(default)s")
    parser.add_argument("--weights", type=Path, nargs="+", default=[], help="files of weights, of the shape of tiny")
    parser.add_argument("--clips", type=int, default=200, help="to judge by: %(default)s")
    parser.add_argument("--scenes", type=int, default=300, help="to learn from: %(default)s")
    parser.add_argument("--tuning", type=int, default=15, help="steps of the short training: %(default)s; 0 for none")
    arguments = parser.parse_args()
    if bool(arguments.folder) == bool(arguments.weights):
        parser.error("give either --folder or --weights")
    torch.set_num_threads(1)
    found, names = [], []
    for model in arguments.weights or arguments.seeds:
        if arguments.folder:
            plain = new_tower(arguments.folder, model, arguments.steps)
        else:
            plain = load_encoder(TINY, str(model), "mean", device="cpu", dtype="float32")
        names.append(f"seed {model}" if arguments.folder else str(model))
        marks = judge(plain, str(model), arguments.clips, arguments.scenes, arguments.tuning)
        found.append(dict(marks))
    sys.stdout.write("\n".join(format_rows(found, names)) + "\n")


if __name__ == "__main__":
    main()
