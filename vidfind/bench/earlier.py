"""An earlier run of `vidfind bench`: its figures, as it printed them, and how they have changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfind.bench.measure import FORMAT, Row, Setup
from vidfind.commands import bench_command
from vidfind.errors import BadInput

LESS_IS_BETTER = {"s", "ms", "ms a clip", "MB"}
NOISE = 0.05
"""Medians of a few runs may differ by this factor from hour to hour, even if the runs of each agree."""


def row_json(row: Row, earlier: Earlier | None = None) -> dict[str, Any]:
    """Returns a line of `--json`; with the ratio to the earlier figure, if there is one."""
    values = {
        "key": row.key,
        "what": row.what.strip(),
        "value": row.value,
        "unit": row.unit,
        "low": min(row.values),
        "high": max(row.values),
        "runs": len(row.values),
        "beside": dict(row.beside),
    }
    if earlier and (changed := change(row, earlier.rows.get(row.key))):
        values["change"] = {"ratio": changed.ratio, "is_clear": changed.is_clear}
    return values


@dataclass(frozen=True)
class Earlier:
    """The output of an earlier `vidfind bench --json`: its rows by key, as `row_json` makes them, and its facts."""

    rows: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Any]


def read_earlier(path: Path) -> Earlier:
    """Raises BadInput for a file that is not the output of `vidfind bench --json`."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        facts: dict[str, Any] = next(
            (line["bench"] for line in lines if "bench" in line), {}
        )  # no facts: it was stopped
        rows = {line["key"]: line for line in lines if "bench" not in line}
        if not rows or not all({"value", "low", "high", "unit"} <= row.keys() for row in rows.values()):
            raise ValueError("it has no figures")
        if facts and facts["format"] != FORMAT:
            raise ValueError(f"it is of format {facts['format']}")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is not what `{bench_command()}` prints.") from error
    except ValueError as error:
        raise BadInput(f"{path} is not what `{bench_command()}` prints: {error}.") from error
    return Earlier(rows, facts)


def check_comparable(earlier: Earlier, setup: Setup) -> None:
    """Raises BadInput if figures of an earlier run have another meaning."""
    from vidfind.bench.drawn import VERSION

    if (model := earlier.facts.get("model", setup.model)) != setup.model:
        raise BadInput(f"The earlier run was with the model {model}: add --model {model}")
    if (version := earlier.facts.get("footage", VERSION)) != VERSION:
        raise BadInput(
            f"The earlier run was with other drawn videos (version {version}, here {VERSION}): measure anew."
        )


@dataclass(frozen=True)
class Change:
    """Returns how many times better a figure is than before, and whether that is more than noise."""

    ratio: float
    is_clear: bool


def change(row: Row, earlier: Mapping[str, Any] | None) -> Change | None:
    """None where there was no such figure."""
    if not earlier or earlier["unit"] != row.unit or not earlier["value"] or not row.value:
        return None
    ratio = row.value / earlier["value"]
    if row.unit in LESS_IS_BETTER:
        ratio = 1 / ratio
    is_apart = min(row.values) > earlier["high"] or max(row.values) < earlier["low"]
    return Change(ratio, is_apart and abs(ratio - 1) > NOISE)
