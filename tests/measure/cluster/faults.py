"""Kills nodes, processes and drivers at random times, pauses nodes, and compares what is indexed then."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.measure.cluster.runs import CLIPS, draw, index
from tests.support.equal import differences
from tests.support.nodes import Nodes, starting
from vidfind.store.settings import is_index
from vidfind.store.store import Store

PAUSE = 20.0


def kill_node(nodes: Nodes, rng: random.Random) -> str:
    name = rng.choice(nodes.names)
    nodes.kill_node(name)
    return name


def kill_process(nodes: Nodes, rng: random.Random) -> str:
    found = [(name, process) for name in nodes.names for process in nodes.workers(name)]
    if not found:
        return "none was there yet"
    name, process = rng.choice(found)
    process.kill()
    return name


def pause_node(nodes: Nodes, rng: random.Random) -> str:
    name = rng.choice(nodes.names)
    with nodes.paused(name):
        time.sleep(PAUSE)
    return name


FAULTS: dict[str, Callable[[Nodes, random.Random], str]] = {
    "node killed": kill_node,
    "process killed": kill_process,
    "node paused": pause_node,
}
DRIVER_FAULTS = {"driver killed": signal.SIGKILL, "driver interrupted": signal.SIGINT}


KINDS = [*FAULTS, *DRIVER_FAULTS]


def faults(base: Path, runs: int, videos: int, seed: int) -> None:
    folder, clean = make_clean(base, videos)
    rng = random.Random(seed)
    with starting(["a", "b", "c"], base) as nodes:
        first = base / "indexes" / "first"
        length = index(folder, first, nodes.address).elapsed
        print(f"without a fault: {length:.0f} s, differences: {differences(clean, Store.open(first))}", flush=True)
        for run in range(runs):
            kind, delay = KINDS[run % len(KINDS)], rng.uniform(0.0, length)
            what, after, again = survive(base, folder, clean, nodes, kind, delay, rng)
            text = f"{len(after)} missing at first; {again or 'equal'} after one more run" if after else "equal at once"
            print(f"{run + 1:3}  {kind:18} at {delay:5.1f} s  {what:40} {text}", flush=True)


def make_clean(base: Path, videos: int) -> tuple[Path, Store]:
    """Returns a folder of drawn videos and odd ones, and an index of it that is made here."""
    folder, path = draw(base / "drawn", videos), base / "indexes" / "clean"
    for name in ("damaged.mp4", "sound.mp4", "vfr.mp4"):
        shutil.copy(CLIPS / name, folder)
    index(folder, path)
    return folder, Store.open(path)


def survive(
    base: Path, folder: Path, clean: Store, nodes: Nodes, kind: str, delay: float, rng: random.Random
) -> tuple[str, list[str], list[str]]:
    """Indexes on the cluster with a fault after `delay` seconds, and once more if something is missing then.

    Returns what happened, and how the index differs from the clean one after the first run, and after the second."""
    path = base / "indexes" / "tried"
    if kind in FAULTS:
        what = with_fault(folder, path, nodes, FAULTS[kind], delay, rng)
    else:
        what = with_driver_fault(base, folder, path, nodes, DRIVER_FAULTS[kind], delay)
    after = differences(clean, Store.open(path)) if is_index(path) else ["no index yet"]
    again: list[str] = []
    if after:
        index(folder, path, nodes.address)
        again = differences(clean, Store.open(path))
    shutil.rmtree(path, ignore_errors=True)
    return what, after, again


def with_fault(
    folder: Path,
    path: Path,
    nodes: Nodes,
    fault: Callable[[Nodes, random.Random], str],
    delay: float,
    rng: random.Random,
) -> str:
    said: list[str] = []
    names = nodes.names
    timer = threading.Timer(delay, lambda: said.append(fault(nodes, rng)))
    timer.start()
    summary = index(folder, path, nodes.address)
    timer.join()
    nodes.add(*(f"{name}+" for name in names if name not in nodes.names))  # Ray starts nodes in the main thread alone
    return f"{said[0] if said else '?'}: {summary.elapsed:.0f} s, {dict(summary.counts)}"


def with_driver_fault(base: Path, folder: Path, path: Path, nodes: Nodes, sent: int, delay: float) -> str:
    asked = f"--cluster {nodes.address} --model tiny --dtype float32 --index {path.name}"
    program = subprocess.Popen(
        [sys.executable, "-m", "vidfind", "index", str(folder), *asked.split()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "VIDFIND_HOME": str(base)},
    )
    with_start = delay + 5.0  # its own imports
    try:
        code: int | str = program.wait(with_start)
    except subprocess.TimeoutExpired:
        program.send_signal(sent)
        code = program.wait()
    return f"exit code {code}"
