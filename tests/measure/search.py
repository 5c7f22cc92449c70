"""How long `vidfind search` takes from the start of the process to the table, and how long one query more.

    python -m tests.measure.search HOME [--index NAME] [--runs 7]

HOME is a VIDFIND_HOME with an index (tests/measure/scale.py makes large ones). Its kept queries are added to.
"""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def new_query() -> str:
    """Words that nobody can have asked before."""
    return f"a dog catches frisbee {secrets.randbelow(10**6)}"


def start_python() -> None:
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def start_search(home: Path, index: str, query: str) -> None:
    """The whole program, once; its table is thrown away."""
    command = [sys.executable, "-m", "vidfind", "search", query, "--index", index]
    environment = {**os.environ, "VIDFIND_HOME": str(home), "COLUMNS": "100"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def cold_times(home: Path, index: str, runs: int) -> dict[str, list[float]]:
    """Seconds of each run: of an empty Python, of a search for new words, and of one asked before; in turn."""
    asked = new_query()
    start_search(home, index, asked)
    ways: dict[str, Callable[[], object]] = {
        "empty Python": start_python,
        "search, cold, new words": lambda: start_search(home, index, new_query()),
        "search, cold, asked before": lambda: start_search(home, index, asked),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _, (name, run) in itertools.product(range(runs), ways.items()):
        times[name].append(seconds(run))
    return times


def warm_times(home: Path, index: str, runs: int) -> dict[str, list[float]]:
    """Seconds of each query in a program that has the index and the model in memory."""
    from vidfind.system.imports import import_numpy

    import_numpy()  # as the command does
    from vidfind.search.searcher import Searcher

    searcher = Searcher(home / "indexes" / index)
    searcher.prepare()
    asked = new_query()
    searcher.find(asked)
    return {
        "search, warm, new words": [seconds(lambda: searcher.find(new_query())) for _ in range(runs)],
        "search, warm, asked before": [seconds(lambda: searcher.find(asked)) for _ in range(runs)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--index", default="default")
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    measured = cold_times(arguments.home, arguments.index, arguments.runs)
    measured |= warm_times(arguments.home, arguments.index, 4 * arguments.runs)
    for name, times in measured.items():
        print(
            f"{name:28} {1000 * statistics.median(times):6.0f} ms   {1000 * min(times):.0f} to {1000 * max(times):.0f}"
        )


if __name__ == "__main__":
    main()
