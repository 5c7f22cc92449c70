"""Trains the built-in model on the small world of `vidfind.demo`. The program of all of it, exam.py's commands too.

    python -m vidfind.demo.tiny.train train      # from the start, or on from the checkpoint
    python -m vidfind.demo.tiny.train judge      # prints the table of README.md; with --sampling, that of samplings
    python -m vidfind.demo.tiny.train draw DIR   # videos and captions.csv, for vidfind finetune and vidfind eval

Each batch is drawn from the seed and the number of its step alone, so a run that was stopped goes on where it was.
"""

import argparse
import json
import logging
import math
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vidfind.demo import world as demo
from vidfind.demo.captions import ADJECTIVES, NOUNS, VERBS, caption
from vidfind.demo.drawing import draw
from vidfind.demo.tiny.exam import (
    JUDGE_SEED,
    JUDGED_CLIPS,
    Clips,
    compare_samplings,
    draw_captioned,
    draw_exam,
    format_line,
    format_table,
    judge,
    read_exam,
)
from vidfind.demo.tiny.heads import Heads
from vidfind.demo.world import Scene
from vidfind.encoders.backbone import mean_of_unit_vectors
from vidfind.encoders.encoder import Encoder, choose_device
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, EncoderIdentity
from vidfind.encoders.tempme import position_name, tempme_position_shapes
from vidfind.models.adapter_file import Adapter, write_adapter
from vidfind.models.catalog import TINY, TINY_FOLDER
from vidfind.models.load import load_encoder
from vidfind.system.paths import home
from vidfind.text.padded import PaddedTokenizer
from vidfind.text.tokenizer import ClipTokenizer
from vidfind.training.optimize import contrastive_loss

logger = logging.getLogger(__name__)
TIMES = (np.arange(DEFAULT_NUM_FRAMES, dtype=np.float32) + 0.5) / DEFAULT_NUM_FRAMES


@dataclass(frozen=True)
class Recipe:
    """How to train. Each field is an option of the command."""

    steps: int = 6500
    batch: int = 32
    """Clips a step; three times as many where only pictures are looked at."""
    seed: int = 1
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.1
    warm_up: int = 200
    """Steps in which the learning rate rises; a cosine to 2 % follows."""
    picture_steps: int = 2000
    """Steps at the start with single frames and the mean encoder: what is where comes before how it moves."""
    picture_every: int = 8
    """One step in so many does so later on too, so that the mean encoder stays a fair baseline."""
    single_steps: int = 1000
    """Steps at the start with one shape in each scene."""
    themed: float = 0.5
    """Share of a batch that is variations on a few scenes: same but for the motion, size, colour or kind of a shape."""
    hints: float = 1.0
    """Weight of the loss of the heads that name attributes, falling to nothing at the last step."""
    position_std: float = 0.3
    """Of the temporal positions at the start. Not zero as in the paper: there is no trained CLIP to preserve."""


@dataclass(frozen=True)
class Vocabulary(ClipTokenizer):
    """A tokenizer for the tokens that captions use, numbered from 0 in CLIP's order: a small table to train."""

    @cached_property
    def ids(self) -> list[int]:
        """CLIP's ids of these tokens, that of padding first."""
        words = [" ".join(w) for w in (demo.COLOURS, *NOUNS.values(), *ADJECTIVES.values())]
        words += [" ".join(phrases) for verbs in VERBS.values() for phrases in verbs]
        used = super().tokenize_all(["a an the one while and ,", *words])
        return sorted({self.pad, *(token for ids in used for token in ids)})

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the positions in `ids` of the tokens of each text."""
        return [[bisect_left(self.ids, token) for token in ids] for ids in super().tokenize_all(texts)]


def build(recipe: Recipe, device: str, config: Mapping[str, Any]) -> dict[str, Encoder]:
    """A tempme and a mean encoder that share one model of random weights, over the small vocabulary."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    vocabulary = Vocabulary(text["context_length"])
    torch.manual_seed(recipe.seed)
    model = open_clip.CLIP(config["embed_dim"], vision, {**text, "vocab_size": len(vocabulary.ids)})
    preprocess = {
        "size": vision["image_size"],
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
    }
    open_clip.set_model_preprocess_cfg(model, preprocess)
    positions = {
        position_name(block): nn.Parameter(torch.randn(f, vision["width"], device=device) * recipe.position_std)
        for block, f in tempme_position_shapes(vision["layers"], DEFAULT_NUM_FRAMES).items()
    }
    return {
        name: Encoder(
            model,
            PaddedTokenizer(lambda: vocabulary),
            EncoderIdentity(TINY, "", "", name, None, DEFAULT_NUM_FRAMES),
            positions,
            device,
        )
        for name in ("tempme", "mean")
    }


def draw_batch(recipe: Recipe, step: int, size: int, times: int = 1) -> tuple[Clips, list[Scene], list[str]]:
    """Clips (B, T, S, S, 3), their scenes and captions. Beside most clips stands the same one played backwards."""
    rng = Random(f"{recipe.seed} {step}")
    batch: list[tuple[Clips, Scene, str]] = []
    theme: Scene | None = None
    count = recipe.batch * times
    while len(batch) < count:
        if theme and len(batch) < count * recipe.themed:
            scene = vary(theme, rng)
        else:
            scene = theme = demo.random_scene(rng, count=1 if step < recipe.single_steps else None)
        if rng.random() < 0.2:
            theme = None
        clip = draw(scene, DEFAULT_NUM_FRAMES, size, size)
        wording = rng.random()
        batch.append((clip, scene, caption(scene, Random(wording))))
        backwards = demo.reverse(scene)
        if backwards.meaning != scene.meaning and not demo.is_held_out(backwards):
            batch.append((clip[::-1], backwards, caption(backwards, Random(wording))))
    clips, scenes, captions = zip(*batch[:count], strict=True)
    return np.stack(clips), list(scenes), list(captions)


def vary(scene: Scene, rng: Random) -> Scene:
    """The scene with another motion, size, colour or kind of its first shape; another scene if that finds no place."""
    first = scene.shapes[0]
    for _ in range(20):
        keep = {"kind": first.kind, "colour": first.colour, "size": first.size or None, "motion": first.motion}
        change = rng.choice(("motion", "motion", "size", "colour", "kind"))
        keep[change] = None
        if change == "kind" and first.motion == "spins":  # the lot could fall on a circle
            continue
        varied = replace(scene, shapes=(demo.random_shape(rng, **keep), *scene.shapes[1:]))
        if not demo.is_held_out(varied) and not demo.overlaps(varied):
            return varied
    return demo.random_scene(rng)


def same_meaning(scenes: Sequence[Scene]) -> Tensor:
    """(B, B) bool: which scenes mean the same, and are not to be set against each other."""
    meanings = [scene.meaning for scene in scenes]
    return torch.tensor([[a == b for b in meanings] for a in meanings])


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / recipe.steps, 1)))
    return min((step + 1) / recipe.warm_up, 0.02 + 0.98 * cosine)


def train(
    recipe: Recipe, device: str, config: Mapping[str, Any], checkpoint: Path, save_every: int = 200
) -> dict[str, Encoder]:
    """The trained encoders. Goes on from the checkpoint if there is one, and writes it every `save_every` steps."""
    encoders = build(recipe, device, config)
    tempme = encoders["tempme"]
    model, positions = tempme.model, tempme.parameters
    heads = Heads(tempme.dim).to(device)
    decayed = [p for m in (model, heads) for p in m.parameters() if p.ndim >= 2]
    others = [*(p for m in (model, heads) for p in m.parameters() if p.ndim < 2), *positions.values()]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(recipe, step))
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        with torch.no_grad():
            for name, position in positions.items():
                position.copy_(state["positions"][name])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        start = state["step"]
        logger.info("going on from step %d of %s", start, checkpoint)

    exam = draw_exam(tempme.image_size)
    recent: list[dict[str, float]] = []
    began = time.monotonic()
    for step in range(start, recipe.steps):
        is_picture = step < recipe.picture_steps or step % recipe.picture_every == 0
        clips, scenes, captions = draw_batch(recipe, step, tempme.image_size, 3 if is_picture else 1)
        frames = torch.from_numpy(clips).to(device)
        if is_picture:
            # Two frames, each as far from the middle, show all but motion at a sixth of the cost.
            features = encoders["mean"].frame_features(frames[:, 2::7])
            losses = heads(features, scenes, TIMES[2::7])
        else:
            features = tempme.frame_features(frames)
            losses = heads(features, scenes, TIMES)
        text = tempme.text_features(tempme.tokenizer(captions).to(device))
        video = mean_of_unit_vectors(features, features)
        losses["contrast"] = contrastive_loss(video, text, model.logit_scale.exp(), same_meaning(scenes))
        weight = recipe.hints * (1 - step / recipe.steps)
        loss = losses["contrast"] + weight * sum(loss for name, loss in losses.items() if name != "contrast") / 3
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*decayed, *others], 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        recent.append({name: loss.item() for name, loss in losses.items()})

        done = step + 1
        if done % 50 == 0:
            pace = (time.monotonic() - began) / (done - start)
            means = {name: np.mean([r[name] for r in recent if name in r]) for r in recent for name in r}
            logger.info("step %d  %s  %.2f s a step", done, "  ".join(f"{n} {v:.2f}" for n, v in means.items()), pace)
            recent.clear()
        if done % save_every == 0 or done == recipe.steps:
            state = {
                "step": done,
                "model": model.state_dict(),
                "heads": heads.state_dict(),
                "positions": {name: position.detach() for name, position in positions.items()},
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
            }
            write_checkpoint(checkpoint, state)
            for name, encoder in encoders.items():
                logger.info("step %d  %-6s  %s", done, name, format_line(judge(encoder, *exam)))
    return encoders


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)  # never half a checkpoint, whenever it is stopped


def export(encoder: Encoder, config: Mapping[str, Any], folder: Path) -> None:
    """Write tiny.json, tiny.safetensors and positions.safetensors as the registry loads them.

    Tokens never trained get zeros: a word the model does not know says nothing, and the file compresses well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu() for name, tensor in encoder.model.state_dict().items()}
    trained = state["token_embedding.weight"]
    table = torch.zeros(config["text_cfg"]["vocab_size"], trained.shape[1])
    vocabulary = encoder.tokenizer.tokenizer
    assert isinstance(vocabulary, Vocabulary)
    table[vocabulary.ids] = trained
    state["token_embedding.weight"] = table
    (folder / "tiny.json").write_text(json.dumps(config, indent=4) + "\n")
    save_file({name: tensor.half().contiguous() for name, tensor in state.items()}, folder / "tiny.safetensors")
    write_adapter(folder / "positions.safetensors", Adapter(encoder.parameters))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vidfind.demo.tiny.train", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train, or go on from the checkpoint, and write the weights")
    training.add_argument("--checkpoint", type=Path, default=home() / "training" / "tiny.pt", help="%(default)s")
    training.add_argument(
        "--config", type=Path, default=TINY_FOLDER / "tiny.json", help="shape of the model: %(default)s"
    )
    training.add_argument("--out", type=Path, default=TINY_FOLDER, help="folder for the weights: %(default)s")
    for field in fields(Recipe):
        name = f"--{field.name.replace('_', '-')}"
        training.add_argument(name, type=type(field.default), default=field.default, help="%(default)s")
    judging = commands.add_parser("judge", help="draw video files and print the table of README.md")
    judging.add_argument("--clips", type=int, default=JUDGED_CLIPS, help="%(default)s")
    judging.add_argument("--seed", type=int, default=JUDGE_SEED, help="%(default)s")
    judging.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or int8: %(default)s")
    judging.add_argument("--sampling", action="store_true", help="print the table of samplings instead")
    drawing = commands.add_parser("draw", help="draw video files with their captions, to train on or to judge by")
    drawing.add_argument("folder", type=Path, help="where to")
    drawing.add_argument("--clips", type=int, default=JUDGED_CLIPS, help="%(default)s")
    drawing.add_argument("--seed", type=int, default=JUDGE_SEED, help="%(default)s")
    drawing.add_argument("--exam", action="store_true", help="with combinations that no training draws")
    for command in (training, judging):
        command.add_argument("--device", default="auto", help="auto, cuda, mps or cpu: %(default)s")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    if arguments.command == "train":
        recipe = Recipe(**{field.name: getattr(arguments, field.name) for field in fields(Recipe)})
        config = json.loads(arguments.config.read_text())
        encoders = train(recipe, choose_device(arguments.device), config, arguments.checkpoint)
        export(encoders["tempme"], config, arguments.out)
        return
    if arguments.command == "draw":
        draw_captioned(arguments.folder, arguments.clips, arguments.seed, arguments.exam)
        return
    encoders = {
        name: load_encoder(TINY, encoder=name, device=arguments.device, dtype=arguments.dtype)
        for name in ("tempme", "mean")
    }
    if arguments.sampling:
        for line in compare_samplings(encoders, arguments.clips, arguments.seed):
            sys.stdout.write(line + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        exam = read_exam(Path(folder), encoders["tempme"].image_size, arguments.clips, arguments.seed)
    sys.stdout.write(format_table({name: judge(encoder, *exam) for name, encoder in encoders.items()}) + "\n")


if __name__ == "__main__":
    main()
