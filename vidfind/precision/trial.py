"""Whether 8-bit integers are precise enough for a model: tried on the first clips that this machine encodes with it.

The first clips are encoded in float32 too, and get those vectors. If the others are close enough to them, the rest is
encoded in int8; else with a tower whose first and last block stay in float32, after the same trial; else in float32.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from vidfind.errors import StorageError
from vidfind.precision.formats import VERSION
from vidfind.precision.integers import largest_weight
from vidfind.system.paths import home
from vidfind.system.storage import write_text

log = logging.getLogger(__name__)

INT8, CAREFUL, FLOAT32 = "int8", "int8 but for the first and last block", "float32"
STAGES = (INT8, CAREFUL, FLOAT32)
"""In the order in which they are tried; the last needs no trial."""
CLIPS = 8
MEDIAN, LEAST = 0.998, 0.97
"""Cosines to the vectors in float32 that the median and each clip must reach. Text scores move by a tenth of the usual
spread between videos at 0.998. bfloat16 falls to 0.995 for single clips, in which other tokens are merged."""
KEPT = 200
"""How many models are remembered."""


def is_precise(cosines: Sequence[float]) -> bool | None:
    """Whether vectors with these cosines to those in float32 are close enough; None if that is still open."""
    if cosines and min(cosines) < LEAST:
        return False
    return median(cosines) >= MEDIAN if len(cosines) >= CLIPS else None


class Trial:
    """The trial of a model with one encoder; may be used by several threads. What was found is kept on the machine."""

    def __init__(self, model: str) -> None:
        """`model`: everything that vectors depend on but the number format: weights, encoder and frames."""
        self._key = f"{model}, weights to {largest_weight()}, version {VERSION}"
        self._lock = threading.Lock()
        self._cosines = _parse(_read().get(self._key))
        if self.is_over:
            log.info("number format of the image tower: %s", self.describe())

    @property
    def stage(self) -> str:
        """The format that is tried, or that was found to be precise enough."""
        return next((stage for stage in STAGES if is_precise(self._cosines.get(stage, [])) is not False), FLOAT32)

    @property
    def is_over(self) -> bool:
        return self.stage == FLOAT32 or bool(is_precise(self.cosines))

    @property
    def cosines(self) -> list[float]:
        """Those of the stage so far; of the last one that failed, if all have."""
        return self._cosines.get(self.stage if self.stage != FLOAT32 else CAREFUL, [])

    def add(self, stage: str, cosine: float) -> None:
        """Counts the cosine between the vectors of a clip in a stage and in float32."""
        with self._lock:
            if stage != self.stage or self.is_over:  # another thread has ended it
                return
            self._cosines.setdefault(stage, []).append(round(cosine, 6))
            if self.is_over or self.stage != stage:
                level = logging.INFO if self.stage == stage else logging.WARNING
                log.log(level, "number format of the image tower: %s", self.describe())
            self._keep()

    def describe(self) -> str:
        """The state in words."""
        return describe(self.stage, self.cosines, self.is_over)

    def _keep(self) -> None:
        others = {key: value for key, value in _read().items() if key != self._key}
        latest = dict(list(others.items())[1 - KEPT :])
        try:
            home().mkdir(parents=True, exist_ok=True)
            write_text(_file(), json.dumps({**latest, self._key: self._cosines}, indent=2) + "\n")
        except (OSError, StorageError) as error:  # the next run tries again
            log.info("the trial of the number format is not kept: %s", error)


def describe(stage: str, cosines: Sequence[float], is_over: bool) -> str:
    """The state of a trial in words.

    >>> describe("int8", [0.9994, 0.9996, 0.9995], is_over=True)
    'int8 (cosine to float32 of 3 clips: median 0.9995, least 0.9994)'
    """
    if not cosines:
        return f"float32 for {CLIPS} clips, to try {stage}" if stage != FLOAT32 else stage
    found = f"cosine to float32 of {len(cosines)} clip{'s' * (len(cosines) > 1)}: "
    found += f"median {median(cosines):.4f}, least {min(cosines):.4f}"
    if stage == FLOAT32:
        return f"float32, since int8 is not precise enough for this model ({found})"
    return f"{stage} ({found})" if is_over else f"float32 for {CLIPS} clips, to try {stage} ({found} so far)"


def _file() -> Path:
    return home() / "precision.json"


def _read() -> dict[str, Any]:
    """The kept trials; none if the file is missing or damaged."""
    try:
        values = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _parse(value: Any) -> dict[str, list[float]]:
    """The cosines of each stage as they were kept; none if they are not whole."""
    if not isinstance(value, Mapping):
        return {}
    try:
        return {stage: [float(one) for one in value[stage]] for stage in (INT8, CAREFUL) if stage in value}
    except (TypeError, ValueError):
        return {}
