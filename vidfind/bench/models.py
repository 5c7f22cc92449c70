"""Measures how fast the recommended models encode on this machine, beside the default one.

Random weights serve, as they are as fast as real ones: nothing is fetched. Knows nothing of how figures are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidfind.bench.encoders import random_encoder
from vidfind.encoders.costs import clips_to_time, encode_in_lanes, time_interleaved
from vidfind.models.catalog import DEFAULT_MODEL, ModelEntry, default_encoder

RUNS = 2
SLOW = 10.0
"""Seconds; a model whose first run takes longer is not run again: what only a first run costs is little beside it."""


@dataclass(frozen=True)
class Speed:
    """The speed of a model with its default encoder."""

    seconds: float
    """Time of a clip."""
    ratio: float
    """Clips a second, divided by those of the default model that was measured in turn with it."""


def measure_models(
    models: Sequence[ModelEntry], device: str = "auto", dtype: str = "auto", say: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[ModelEntry, Speed]]:
    """Yields each model with its speed. Raises ModelUnavailable and DeviceMissing.

    One model is in memory at a time, beside the default. The best of the runs counts, after one that is not timed."""
    say(f"Making {DEFAULT_MODEL} with random weights")
    base = _Timed(DEFAULT_MODEL, device, dtype)
    for entry in models:
        say(f"Measuring {entry.model}")
        own = _Timed(entry.model, device, dtype)
        first = time_interleaved({"own": own.run, "base": base.run}, 1)
        times = first if first["own"][0] > SLOW else time_interleaved({"own": own.run, "base": base.run}, RUNS)
        of_own, of_base = (min(times[key]) / len(one.clips) for key, one in (("own", own), ("base", base)))
        yield entry, Speed(of_own, of_base / of_own)


class _Timed:
    """A model with random weights and its default encoder, and clips for it that keep the device busy."""

    def __init__(self, model: str, device: str, dtype: str) -> None:
        self.encoder = encoder = random_encoder(model, device, dtype).with_encoder(default_encoder(model))
        shape = (clips_to_time(encoder), encoder.num_frames, encoder.image_size, encoder.image_size, 3)
        self.clips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def run(self) -> None:
        encode_in_lanes(self.encoder, self.clips)
