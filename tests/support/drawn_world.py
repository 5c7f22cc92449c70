"""Scenes of the drawn world with the vectors that the tiny model gives to their clips, for tests of what is found.

To encode them takes ten seconds, so `python -m tests.measure.match --save FILE` keeps them.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np

from tests.measure.match import World, unit
from vidfind.demo.collection import distinct_scenes

FILE = Path(__file__).parents[1] / "golden" / "drawn_world.npz"


def kept_world() -> World:
    """The scenes, and their vectors (N, D) of unit length."""
    with np.load(FILE) as kept:
        vectors = unit(kept["vectors"].astype(np.float32))
        return World(list(distinct_scenes(Random(int(kept["seed"])), len(vectors))), vectors)
