"""How long `vidfind search` takes from the start of the process to the table, and how long one query more.

    python -m tests.measure.search HOME [--index NAME] [--runs 7]

HOME is a VIDFIND_HOME with an index (tests/measure/large.py makes large ones). Its kept queries are added to.
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
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

NOUNS = (Path(__file__).parents[2] / "vidfind" / "words" / "nouns.txt").read_text(encoding="utf-8").split()


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def new_query() -> str:
    """Words that nobody can have asked before."""
    return f"a dog catches frisbee {secrets.randbelow(10**6)}"


def new_words() -> str:
    """Three words that nobody can have asked for together before: most of them share no beginning."""
    return " ".join(secrets.choice(NOUNS) for _ in range(3))


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


def warm_times(home: Path, index: str, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and processor seconds of each query in a program that has the index and the model in memory; in turn.

    Typed words are read while they are typed, a letter each tenth of a second; the time counts from Enter."""
    from vidfind.system.imports import import_numpy

    import_numpy()  # as the command does
    from vidfind.search.question.filters import NO_FILTERS, Filters
    from vidfind.search.searcher import Searcher

    searcher = Searcher(home / "indexes" / index)
    searcher.prepare()
    asked = new_words()
    searcher.find(asked)

    def typed() -> str:
        words = new_words()
        for end in range(1, len(words) + 1):
            searcher.read_ahead(words[:end])
            time.sleep(0.1)
        return words

    ways: dict[str, tuple[Callable[[], str], Filters]] = {
        "new words": (new_words, NO_FILTERS),
        "new words, typed": (typed, NO_FILTERS),
        "new words, --in": (new_words, Filters(folder=home.resolve() / "videos")),
        "new words, --since": (new_words, Filters(since=date(2014, 5, 1))),
        "new words, --online": (new_words, Filters(online=True)),
        "asked before": (lambda: asked, NO_FILTERS),
    }
    times: dict[str, list[tuple[float, float]]] = {f"search, warm, {name}": [] for name in ways}
    for _, (name, (words, filters)) in itertools.product(range(runs), ways.items()):
        query = words()
        began, spent = time.perf_counter(), time.process_time()
        searcher.find(query, filters)
        times[f"search, warm, {name}"].append((time.perf_counter() - began, time.process_time() - spent))
    return times


def line(name: str, times: Sequence[float]) -> str:
    middle, least, most = (1000 * of(times) for of in (statistics.median, min, max))
    return f"{name:32} {middle:6.0f} ms, {least:.0f} to {most:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--index", default="default")
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    for name, times in cold_times(arguments.home, arguments.index, arguments.runs).items():
        print(line(name, times))
    for name, both in warm_times(arguments.home, arguments.index, 2 * arguments.runs).items():
        wall, spent = zip(*both, strict=True)
        print(f"{line(name, wall)}; of the processor {1000 * statistics.median(spent):.0f}", flush=True)


if __name__ == "__main__":
    main()
