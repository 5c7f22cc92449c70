"""Measures what encoding a clip costs: tokens, floating-point operations and time, all measured on real runs.

Knows nothing of files, or of how figures are shown. Letters as in towers/tokens.py: B clips, T frames a clip, S pixels.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from vidfind.system.machine import parallel_map

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from vidfind.encoders.encoder import Encoder
    from vidfind.towers.tokens import Tokens

log = logging.getLogger(__name__)
K = TypeVar("K")

RUNS = 5
ENOUGH = 10.0
"""Seconds; once the runs of an encoder took this long together, it is not run again."""


@dataclass(frozen=True)
class ClipCost:
    """The cost of encoding one clip."""

    tokens: int
    """Tokens left after the last block, class tokens included; 0 for an image tower that runs whole."""
    flops: int
    """Operations of matrix products, convolutions and attention: two for each multiply-add."""
    seconds: float
    """Time as in a long run, in which a CPU has a clip on each core and a GPU is full: total time / number of clips."""

    def as_dict(self) -> dict[str, float]:
        """Returns the cost as in the JSON output."""
        return {"tokens": self.tokens, "flops": self.flops, "ms": 1000 * self.seconds}


def clip_costs(
    encoders: Mapping[K, tuple[Encoder, npt.NDArray[np.uint8]]], say: Callable[[K], None] = lambda name: None
) -> dict[K, ClipCost]:
    """Returns the cost of each encoder, by name, on clips (B, T, S, S, 3) with B = `clips_to_time(encoder)`.

    Times are medians of interleaved runs. `say` is called with the name of the encoder that runs next. Raises
    ModelUnavailable, as `encode_video` does."""
    counted = {}
    for name, (encoder, clips) in encoders.items():  # the first run is slow: it is not timed
        say(name)
        counted[name] = count(encoder, clips[:1])
    works = {name: partial(encode_in_lanes, encoder, clips) for name, (encoder, clips) in encoders.items()}
    costs = {}
    for name, times in time_interleaved(works, RUNS, say).items():
        encoder, clips = encoders[name]
        seconds = [one / len(clips) for one in times]
        costs[name] = ClipCost(*counted[name], median(seconds))
        log.info("%s took %s ms a clip", encoder.identity.encoder, ", ".join(f"{1000 * one:.1f}" for one in seconds))
    return costs


def count(encoder: Encoder, clips: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Returns tokens after the last block and floating-point operations, of all clips together."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    tokens: dict[int, int] = {}
    reduction = encoder.reduction

    def before_mlp(i: int, entering: Tokens, keys: torch.Tensor) -> Tokens:
        left = reduction.before_mlp(i, entering, keys)
        tokens[i] = left.x.shape[:-1].numel()
        return left

    watched = encoder.with_encoder(encoder.identity.encoder)
    watched.reduction = replace(reduction, before_mlp=before_mlp)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        watched.video_features(torch.as_tensor(clips).to(encoder.device))  # in floats: it sees nothing of int8
    return tokens.get(
        encoder.tower.depth - 1, 0
    ), counter.get_total_flops()  # nothing later changes the number of tokens


def clips_to_time(encoder: Encoder) -> int:
    """Returns how many clips keep the device as busy as indexing does.

    On a CPU a clip takes as long alone as in a batch; a GPU needs many at a time."""
    return encoder.lanes * (1 if encoder.device.type == "cpu" else encoder.batch_size)


def encode_in_lanes(encoder: Encoder, clips: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Encodes clips (B, T, S, S, 3) as indexing does, in parallel, some on each core or stream: (B, D)."""
    import numpy as np
    import torch

    batches = np.array_split(clips, min(encoder.lanes, len(clips)))
    with closing(parallel_map(encoder.encode_video, batches, encoder.lanes)) as encoded:
        return torch.cat([vectors for _, vectors in encoded])


def time_interleaved(
    works: Mapping[K, Callable[[], object]],
    runs: int,
    say: Callable[[K], None] = lambda key: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[K, list[float]]:
    """Runs all works in turn, `runs` times, and returns their times in seconds.

    Interleaved, so that a machine that slows down slows all of them."""
    times: dict[K, list[float]] = {key: [] for key in works}
    for _ in range(runs):
        for key, run in works.items():
            if not times[key] or sum(times[key]) < ENOUGH:
                say(key)
                began = clock()
                run()
                times[key].append(clock() - began)
    return times
