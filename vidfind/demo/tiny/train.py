"""Trains the built-in model on the small world of demo.py, and judges it on video files drawn anew.

    python -m vidfind.demo.tiny.train train      # from the start, or on from the checkpoint
    python -m vidfind.demo.tiny.train judge      # prints the table of README.md; with --sampling, that of samplings
    python -m vidfind.demo.tiny.train draw DIR   # videos and captions.csv, for vidfind finetune and vidfind eval

Each batch is drawn from the seed and the number of its step alone, so a run that was stopped goes on where it was.
"""

import argparse
import csv
import json
import logging
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from random import Random
from typing import Any, get_args

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from vidfind.demo import world as demo
from vidfind.demo.captions import ADJECTIVES, NOUNS, VERBS, caption
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.world import Scene
from vidfind.encoders.encoder import DEFAULT_NUM_FRAMES, Encoder, EncoderIdentity, choose_device
from vidfind.encoders.tempme import position_name, tempme_position_shapes
from vidfind.encoders.tokens import mean_of_unit_vectors
from vidfind.media.probe import probe
from vidfind.media.read import read_clips
from vidfind.media.sampling import Sampling, Segment
from vidfind.media.write import write_video
from vidfind.models.adapter_file import Adapter, write_adapter
from vidfind.models.catalog import TINY, TINY_FOLDER
from vidfind.models.load import load_encoder
from vidfind.system.paths import home
from vidfind.training.optimize import contrastive_loss

logger = logging.getLogger(__name__)

Clips = NDArray[np.uint8]

OPPOSITES = (("left", "right"), ("up", "down"), ("grows", "shrinks"))
TIMES = (np.arange(DEFAULT_NUM_FRAMES, dtype=np.float32) + 0.5) / DEFAULT_NUM_FRAMES
JUDGED_CLIPS = 300
JUDGE_SEED = 20261121  # no batch of any step is drawn from it
# How long the videos are on which samplings are compared, from and to, and how many frames from keyframe to keyframe.
EXAMS = {
    "10 to 14 s, a keyframe each second": ((10.0, 14.0), demo.FRAME_RATE),
    "3 to 6 s, a keyframe each second": ((3.0, 6.0), demo.FRAME_RATE),
    "3 to 6 s, one keyframe": ((3.0, 6.0), 250),
}


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


class Vocabulary:
    """A tokenizer for the tokens that captions use, numbered from 0 in CLIP's order: a small table to train."""

    def __init__(self, context_length: int) -> None:
        self.tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
        words = [" ".join(w) for w in (demo.COLOURS, *NOUNS.values(), *ADJECTIVES.values())]
        words += [" ".join(phrases) for verbs in VERBS.values() for phrases in verbs]
        used = {token for text in ["a an the one while and ,", *words] for token in self.tokenizer.encode(text)}
        self.ids = torch.tensor(sorted({0, *used, self.tokenizer.sot_token_id, self.tokenizer.eot_token_id}))

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(N, context length) positions in `ids`."""
        return torch.searchsorted(self.ids, self.tokenizer(list(texts)))


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
            model, vocabulary, EncoderIdentity(TINY, "", "", name, None, DEFAULT_NUM_FRAMES), positions, device
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


LABELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "kind": (demo.KINDS,),
    "colour": (tuple(demo.COLOURS),),
    "size": (("", *demo.SIZES),),
    "colour kind": (tuple(demo.COLOURS), demo.KINDS),
    "colour size": (tuple(demo.COLOURS), ("", *demo.SIZES)),
    "motion": (demo.MOTIONS,),
    "colour motion": (tuple(demo.COLOURS), demo.MOTIONS),
}
"""What the heads name, and the values of each part. Pairs teach which attribute belongs to which shape."""


class Heads(nn.Module):
    """Linear heads that name what a clip shows, and where its shape is in each frame: used in training only.

    Contrast with captions alone finds places, and so directions, very slowly."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.labels = nn.ModuleDict({name: nn.Linear(dim, math.prod(map(len, v))) for name, v in LABELS.items()})
        self.pose = nn.Linear(dim, 6)
        self.scale = math.sqrt(dim)  # features are about unit vectors

    def forward(self, frames: Tensor, scenes: Sequence[Scene], times: NDArray[np.float32]) -> dict[str, Tensor]:
        """The losses of features (B, T, D) of frames at `times`, 0 to 1; of motion only where T shows any."""
        frames = self.scale * F.normalize(frames, dim=-1)
        clips = frames.mean(dim=1)
        is_clip = len(times) > 2
        losses = {
            name: F.cross_entropy(head(clips), label_targets(name, scenes).to(clips))
            for name, head in self.labels.items()
            if is_clip or "motion" not in name
        }
        lone = [n for n, scene in enumerate(scenes) if len(scene.shapes) == 1]
        if lone:
            columns = 6 if is_clip else 3
            poses = np.stack([pose_targets(scenes[n].shapes[0], times) for n in lone])
            guess = self.pose(frames[lone])[..., :columns]
            losses["pose"] = 5 * F.smooth_l1_loss(guess, torch.tensor(poses[..., :columns]).to(guess), beta=0.2)
        return losses


def label_targets(name: str, scenes: Sequence[Scene]) -> Tensor:
    """(B, number of values): 1 for the value of a scene's shape, shared between the values of two."""
    values = LABELS[name]
    targets = torch.zeros(len(scenes), math.prod(map(len, values)))
    for n, scene in enumerate(scenes):
        for shape in scene.shapes:
            index = 0
            for part, choices in zip(name.split(), values, strict=True):
                index = index * len(choices) + choices.index(getattr(shape, part))
            targets[n, index] += 1 / len(scene.shapes)
    return targets


def pose_targets(shape: demo.Shape, times: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 6): x, y and radius at each time, and how they change over the whole clip; all about -1 to 1."""
    x, y, radius, _ = demo.pose(shape, times)
    first, last = (np.stack(demo.pose(shape, np.array([t], np.float32))[:3]) for t in (0, 1))
    change = np.zeros(3) if shape.motion == "bounces" else (last - first)[:, 0] * (1.5, 1.5, 5)
    place = np.stack([2 * x - 1, 2 * y - 1, 8 * (radius - 0.17)], axis=-1)
    return np.concatenate([place, np.broadcast_to(change, place.shape)], axis=-1).astype(np.float32)


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
    table[encoder.tokenizer.ids] = trained  # type: ignore[attr-defined]
    state["token_embedding.weight"] = table
    (folder / "tiny.json").write_text(json.dumps(config, indent=4) + "\n")
    save_file({name: tensor.half().contiguous() for name, tensor in state.items()}, folder / "tiny.safetensors")
    write_adapter(folder / "positions.safetensors", Adapter(encoder.parameters))


@dataclass(frozen=True)
class Marks:
    """How well an encoder finds clips by their captions; all in percent."""

    recall_1: float
    recall_5: float
    recall_1_held_out: float
    """Of the combinations never trained on, among all clips."""
    told_apart: Mapping[tuple[str, str], float]
    """For each pair of opposite motions, how often the true caption is nearer than the same with the other motion."""


def draw_exam(size: int) -> tuple[Clips, list[Scene]]:
    """Distinct scenes, one in five of them held out, drawn straight at the encoder's size: clips (N, T, S, S, 3)."""
    scenes = list(distinct_scenes(Random(JUDGE_SEED), JUDGED_CLIPS))
    return np.stack([draw(scene, DEFAULT_NUM_FRAMES, size, size) for scene in scenes]), scenes


def read_exam(folder: Path, size: int, count: int, seed: int) -> tuple[Clips, list[Scene]]:
    """The same, but through video files written into the folder and read as any video is."""
    paths, scenes = write_exam(folder, count, seed)
    return read_videos(paths, size), scenes


def write_exam(
    folder: Path,
    count: int,
    seed: int,
    seconds: tuple[float, float] = (3.0, 6.0),
    gop: int = 250,
    held_out: bool = True,
) -> tuple[list[Path], list[Scene]]:
    """Video files of distinct scenes, each from the first to the second of `seconds` long, and every `gop`th frame a
    keyframe; one in five is a combination never trained on, with `held_out`."""
    rng = Random(seed)
    paths: list[Path] = []
    scenes: list[Scene] = []
    for number, scene in enumerate(distinct_scenes(rng, count, held_out)):
        path = folder / f"{number}.mp4"
        write_video(path, draw(scene, round(rng.uniform(*seconds) * demo.FRAME_RATE)), demo.FRAME_RATE, gop)
        paths.append(path)
        scenes.append(scene)
    return paths, scenes


def read_videos(paths: Sequence[Path], size: int, sampling: Sampling = "exact") -> Clips:
    """Each video as one segment."""
    clips: list[Clips] = []
    for path in paths:
        whole = [Segment(0, probe(path).duration)]
        clips += [sample.frames for sample in read_clips(path, whole, DEFAULT_NUM_FRAMES, size, sampling)]
    return np.stack(clips)


def draw_captioned(folder: Path, count: int, seed: int, held_out: bool) -> None:
    """Video files as in an exam, with a file of their captions beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, scenes = write_exam(folder, count, seed, held_out=held_out)
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption"])
        writer.writerows(
            [path.name, caption(scene, Random(n))] for n, (path, scene) in enumerate(zip(paths, scenes, strict=True))
        )


def compare_samplings(encoders: Mapping[str, Encoder], count: int, seed: int) -> Iterator[str]:
    """The lines of a Markdown table: how well each encoder does on the frames of each sampling."""
    size = next(iter(encoders.values())).image_size
    yield "| R@1 / R@5, % | " + " | ".join(f"`{name}`" for name in encoders) + " |"
    yield "|---|" + "---|" * len(encoders)
    for kind, (seconds, gop) in EXAMS.items():
        with tempfile.TemporaryDirectory() as folder:
            paths, scenes = write_exam(Path(folder), count, seed, seconds, gop)
            for sampling in get_args(Sampling):
                clips = read_videos(paths, size, sampling)
                marks = [judge(encoder, clips, scenes) for encoder in encoders.values()]
                recalls = " | ".join(f"{one.recall_1:.1f} / {one.recall_5:.1f}" for one in marks)
                yield f"| {kind}: `{sampling}` | {recalls} |"


def judge(encoder: Encoder, clips: Clips, scenes: Sequence[Scene]) -> Marks:
    """Marks on clips (N, T, S, S, 3) of distinct scenes, with a caption for each."""
    captions = [caption(scene, Random(n)) for n, scene in enumerate(scenes)]
    videos = torch.cat([encoder.encode_video(clips[i : i + 50]) for i in range(0, len(clips), 50)])
    similarity = encoder.encode_text(captions) @ videos.T  # (captions, videos)
    rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1)
    held_out = torch.tensor([demo.is_held_out(scene) for scene in scenes])
    return Marks(
        recall_1=percent(rank < 1),
        recall_5=percent(rank < 5),
        recall_1_held_out=percent(rank[held_out] < 1),
        told_apart={pair: tell_apart(encoder, videos, scenes, pair) for pair in OPPOSITES},
    )


def tell_apart(encoder: Encoder, videos: Tensor, scenes: Sequence[Scene], pair: tuple[str, str]) -> float:
    """Of the shapes that move in one of the two ways, the percentage for which the true caption is the nearer one."""
    tests = [
        (n, caption(scene, Random(n)), caption(other, Random(n)))
        for n, scene in enumerate(scenes)
        for other in with_opposite_motion(scene, pair)
    ]
    numbers, true, false = zip(*tests, strict=True)
    chosen = videos[list(numbers)]
    return percent(((encoder.encode_text(true) - encoder.encode_text(false)) * chosen).sum(dim=-1) > 0)


def with_opposite_motion(scene: Scene, pair: tuple[str, str]) -> Iterator[Scene]:
    """For each shape that moves in one of the two ways, the scene in which it moves in the other."""
    for i, shape in enumerate(scene.shapes):
        if shape.motion in pair:
            opposite = replace(shape, motion=demo.REVERSED[shape.motion])
            yield replace(scene, shapes=(*scene.shapes[:i], opposite, *scene.shapes[i + 1 :]))


def percent(right: Tensor) -> float:
    return 100 * right.float().mean().item()


def format_line(marks: Marks) -> str:
    apart = "  ".join(f"{a}/{b} {value:.0f}" for (a, b), value in marks.told_apart.items())
    return f"R@1 {marks.recall_1:.1f}  R@5 {marks.recall_5:.1f}  held out {marks.recall_1_held_out:.1f}  {apart}"


def format_table(marks: Mapping[str, Marks]) -> str:
    """A Markdown table with a column for each encoder."""
    rows = {
        "text-to-video R@1": [m.recall_1 for m in marks.values()],
        "text-to-video R@5": [m.recall_5 for m in marks.values()],
        "R@1 of combinations never trained on": [m.recall_1_held_out for m in marks.values()],
    }
    for pair in OPPOSITES:
        rows[f"{pair[0]} or {pair[1]}"] = [m.told_apart[pair] for m in marks.values()]
    lines = ["| % | " + " | ".join(f"`{name}`" for name in marks) + " |", "|---|" + "---|" * len(marks)]
    lines += [f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |" for name, values in rows.items()]
    return "\n".join(lines)


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
    judging.add_argument("--dtype", default="auto", help="auto, float32 or bfloat16: %(default)s")
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
