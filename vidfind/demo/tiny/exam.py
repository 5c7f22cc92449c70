"""Judges the built-in model on video files that are drawn anew, and draws captioned videos."""

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidfind.demo import world as demo
from vidfind.demo.captions import caption
from vidfind.demo.collection import distinct_scenes
from vidfind.demo.drawing import draw
from vidfind.demo.world import Scene
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import DEFAULT_NUM_FRAMES
from vidfind.media.probe import probe
from vidfind.media.read import read_clips
from vidfind.media.sampling import Sampling, Segment
from vidfind.media.write import write_video

Clips = NDArray[np.uint8]
OPPOSITES = (("left", "right"), ("up", "down"), ("grows", "shrinks"))
JUDGED_CLIPS = 300
JUDGE_SEED = 20261121  # no batch of any step is drawn from it
# How long the videos are on which samplings are compared, from and to, and how many frames from keyframe to keyframe.
EXAMS = {
    "10 to 14 s, a keyframe each second": ((10.0, 14.0), demo.FRAME_RATE),
    "3 to 6 s, a keyframe each second": ((3.0, 6.0), demo.FRAME_RATE),
    "3 to 6 s, one keyframe": ((3.0, 6.0), 250),
}


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
