"""Measures indexing on a cluster: whether it equals indexing here, what faults cost, and how far it grows.

    uv run python -m tests.measure.cluster equal [--videos 300]
    uv run python -m tests.measure.cluster faults [--runs 30] [--videos 16]
    uv run python -m tests.measure.cluster scale [--videos 4000] [--files 300000]
    uv run python -m tests.measure.cluster plan [--files 300000 | --folder DIR] [--known]

`equal` indexes tests/clips and drawn videos on three nodes and here, and compares rows, spans and vectors. `faults`
does so once and again, and in each run kills a node, a process or the driver at a random time, or pauses a node for 20
seconds. `scale` prints how many videos an hour 1 and 2 nodes of one core encode, how many a second the driver hands to
processes that sleep in place of encoding, how many the writer takes, and what planning --files costs. `plan` does the
last alone, for files that are new, or that the index has all. All nodes are processes on this machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("equal", "faults", "scale", "plan"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--videos", type=int)
    parser.add_argument("--known", action="store_true")
    parser.add_argument("--files", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vidfind-") as folder:
        base = Path(folder)
        os.environ["VIDFIND_HOME"] = folder
        if asked.what == "equal":
            from tests.measure.cluster.equal import equal

            equal(base, asked.videos or 300)
        elif asked.what == "faults":
            from tests.measure.cluster.faults import faults

            faults(base, asked.runs, asked.videos or 16, asked.seed)
        elif asked.what == "plan":
            from tests.measure.cluster.scale import make_files, plan

            plan(base, asked.folder or make_files(base / "files", asked.files), asked.known)
        else:
            from tests.measure.cluster.scale import scale

            scale(base, asked.videos or 4000, asked.files)


if __name__ == "__main__":
    main()
