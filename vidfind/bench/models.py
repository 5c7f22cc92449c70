"""Measures how fast the recommended models encode on this machine, beside the default one.

Random weights serve, as they are as fast as real ones: nothing is fetched. Knows nothing of how figures are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vidfind.bench.encoders import random_encoder
from vidfind.encoders.costs import clips_to_time, encode_in_lanes, time_interleaved
from vidfind.encoders.encoder import Encoder
from vidfind.models.catalog import DEFAULT_MODEL, ModelEntry

RUNS = 2


@dataclass(frozen=True)
class Speed:
    """The speed of a model with the encoder `mean`."""

    seconds: float
    """Time of a clip."""
    ratio: float
    """Clips a second, divided by those of the default model that was measured in turn with it."""


def measure_models(
    models: Sequence[ModelEntry], device: str = "auto", dtype: str = "auto", say: Callable[[str], None] = lambda _: None
) -> dict[str, Speed]:
    """Returns the speed of each model, by its name. Raises ModelUnavailable and DeviceMissing.

    One model is in memory at a time, beside the default. The best of the runs counts, after one that is not timed."""
    base = _Timed(random_encoder(DEFAULT_MODEL, device, dtype))
    speeds = {}
    for entry in models:
        say(f"Measuring {entry.model}")
        own = _Timed(random_encoder(entry.model, device, dtype))
        own.run()
        times = time_interleaved({"base": base.run, "own": own.run}, RUNS)
        of_base, of_own = (min(times[key]) / len(one.clips) for key, one in (("base", base), ("own", own)))
        speeds[entry.model] = Speed(of_own, of_base / of_own)
    return speeds


class _Timed:
    """An encoder, and clips for it that keep the device busy."""

    def __init__(self, encoder: Encoder) -> None:
        shape = (clips_to_time(encoder), encoder.num_frames, encoder.image_size, encoder.image_size, 3)
        self.encoder, self.clips = encoder, np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def run(self) -> None:
        encode_in_lanes(self.encoder, self.clips)
