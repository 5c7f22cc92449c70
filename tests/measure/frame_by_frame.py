"""Prints what joined frames find for a model that was only trained on single pictures, by what class tokens attend to.

    python -m tests.measure.frame_by_frame --folder DIR         # trains a model for each seed, and keeps it in DIR
    python -m tests.measure.frame_by_frame --weights FILE FILE  # of models as the tiny model's page makes them

The trained models are the built-in one with a new image tower from the first block on that joined frames reach: random
by the seed, then trained on single pictures alone. What stays, two blocks and the text half, has no part in joining.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vidfind.demo.captions import caption
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.tiny.heads import Heads
from vidfind.demo.tiny.train import (
    TIMES,
    Recipe,
    build,
    draw_batch,
    learning_rate_factor,
    same_meaning,
)
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, EncoderChoice
from vidfind.encoders.tempme import tempme_joins
from vidfind.models.catalog import TINY, TINY_FOLDER
from vidfind.models.load import load_encoder, load_for_training
from vidfind.training.optimize import contrastive_loss

CLIPS = 300
CAPTIONS = 5
"""Wordings of each clip's caption."""
WAYS: Mapping[str, tuple[str, str]] = {
    "`mean`": ("mean", "clip"),
    "`tome`": ("tome", "clip"),
    "`tempme`, class tokens read all joined frames": ("tempme", "clip"),
    "`tempme`, each its own frame": ("tempme", "frame"),
    "`tempme-fast`, all joined frames": ("tempme-fast", "clip"),
    "`tempme-fast`, each its own frame": ("tempme-fast", "frame"),
}
"""The encoder and the reading of each row."""


def train_on_pictures(recipe: Recipe, whole: bool) -> Encoder:
    """The `mean` encoder of a model whose blocks that joined frames would reach have seen single pictures alone.

    `whole`: new are all parts of the image tower, not these blocks alone."""
    encoder, _ = load_for_training(EncoderChoice(TINY, encoder="mean"), device="cpu")
    encoder.parameters.clear()  # temporal positions, which were trained on joined frames
    model, visual = encoder.model, encoder.model.visual
    first_joined = min(tempme_joins(len(visual.transformer.resblocks), DEFAULT_NUM_FRAMES))
    config = json.loads((TINY_FOLDER / "tiny.json").read_text())
    random = dict(build(recipe, "cpu", config)["mean"].model.visual.named_parameters())
    later = ("ln_post.", "proj", *(f"transformer.resblocks.{i}." for i in range(first_joined, encoder.tower.depth)))
    model.requires_grad_(False)
    with torch.no_grad():
        for name, parameter in visual.named_parameters():
            if whole or name.startswith(later):
                parameter.copy_(random[name])
                parameter.requires_grad_(True)
        model.logit_scale.fill_(math.log(1 / 0.07))
    model.logit_scale.requires_grad_(True)

    heads = Heads(encoder.dim)
    trained = [p for p in [*model.parameters(), *heads.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(recipe, step))
    began = time.monotonic()
    for step in range(recipe.steps):
        clips, scenes, captions = draw_batch(recipe, step, encoder.image_size, 3)
        at = slice(2, 3) if step % 2 else slice(9, 10)  # one frame of each clip
        features = encoder.frame_features(torch.from_numpy(clips[:, at]))
        losses = heads(features, scenes, TIMES[at])
        with torch.no_grad():
            text = encoder.text_features(encoder.tokenizer(captions))
        contrast = contrastive_loss(features[:, 0], text, model.logit_scale.exp(), same_meaning(scenes))
        hints = recipe.hints * (1 - step / recipe.steps) / 3
        loss = contrast + hints * sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            pace = (time.monotonic() - began) / (step + 1)
            say(f"seed {recipe.seed}: step {step + 1} of {recipe.steps}, {contrast.item():.2f}, {pace:.1f} s a step")
    return encoder


def trained_model(folder: Path, seed: int, steps: int, whole: bool) -> Path:
    """The weights of a seed in the folder, trained now if they are not there."""
    file = folder / f"pictures-{'whole-' * whole}{seed}-{steps}.safetensors"
    if not file.is_file():
        encoder = train_on_pictures(Recipe(steps=steps, seed=seed, warm_up=50, single_steps=steps // 4), whole)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({n: t.detach().half().contiguous() for n, t in encoder.model.state_dict().items()}, file)
    return file


def judge(weights: Path, seed: str) -> Iterator[tuple[str, tuple[float, ...]]]:
    """The R@1, R@5 and R@10 of each way, in percent, on clips that are drawn from the seed."""
    plain = load_encoder(TINY, str(weights), "mean", device="cpu", dtype="float32")
    scenes = list(distinct_scenes(Random(f"judged {seed}"), CLIPS))
    size = plain.image_size
    clips = np.stack([draw(scene, DEFAULT_NUM_FRAMES, size, size) for scene in scenes])
    texts = [
        plain.encode_text([caption(scene, Random(f"{n} {wording}")) for n, scene in enumerate(scenes)])
        for wording in range(CAPTIONS)
    ]
    for name, (encoder, reading) in WAYS.items():
        videos = encode(plain.with_encoder(encoder, reading), clips)
        yield name, tuple(np.mean([recalls(text @ videos.T) for text in texts], axis=0))


def encode(encoder: Encoder, clips: np.ndarray) -> Tensor:
    return torch.cat([encoder.encode_video(clips[i : i + 25]) for i in range(0, len(clips), 25)])


def recalls(similarity: Tensor) -> tuple[float, ...]:
    """R@1, R@5 and R@10 in percent, of captions (N) against their clips (N)."""
    rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1)
    return tuple(100 * (rank < k).float().mean().item() for k in (1, 5, 10))


def format_rows(found: Sequence[Mapping[str, tuple[float, ...]]], names: Sequence[str]) -> Iterator[str]:
    """The lines of a Markdown table: a row for each way, a column for each model, and the mean of all."""
    yield f"| R@1 / R@5 / R@10, % | {' | '.join(names)} | mean of {len(names)} |"
    yield "|---|" + "---|" * (len(names) + 1)
    for way in WAYS:
        marks = [one[way] for one in found]
        cells = [" / ".join(f"{value:.1f}" for value in one) for one in [*marks, np.mean(marks, axis=0)]]
        yield f"| {way} | {' | '.join(cells)} |"


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.frame_by_frame", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="train a model for each seed, and keep it here")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="%(default)s")
    parser.add_argument("--steps", type=int, default=200, help="of a training: %(default)s")
    parser.add_argument("--whole", action="store_true", help="train the whole image tower, not its later blocks alone")
    parser.add_argument("--weights", type=Path, nargs="+", default=[], help="files of weights, of the shape of tiny")
    arguments = parser.parse_args()
    if bool(arguments.folder) == bool(arguments.weights):
        parser.error("give either --folder or --weights")
    torch.set_num_threads(1)
    models = dict.fromkeys(arguments.weights) or {seed: None for seed in arguments.seeds}
    found = []
    for model in models:
        weights = (
            model if arguments.weights else trained_model(arguments.folder, model, arguments.steps, arguments.whole)
        )
        found.append(dict(judge(weights, str(model))))
        for way, marks in found[-1].items():
            say(f"{model}: {way} {' / '.join(f'{value:.1f}' for value in marks)}")
    names = [f"seed {model}" if arguments.folder else str(model) for model in models]
    sys.stdout.write("\n".join(format_rows(found, names)) + "\n")


if __name__ == "__main__":
    main()
