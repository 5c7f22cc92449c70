"""Runs the tests as other machines would: with other instruction sets, with other threads, and under load.

    uv run python tests/measure/everywhere.py [--only NAME,NAME] [PYTEST ARGUMENTS...]

Each line shows one variation: how many tests passed and failed, the time, and the names of the failed tests. The exit
code is 1 if anything failed. All other arguments go to pytest: they select tests, for example.

An instruction set can only be taken away: to see what AVX-512 rounds otherwise, run this on a machine that has it.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

CORES = os.cpu_count() or 1
PRETENCE = Path(__file__).with_name("bfloat16")
# Computes until it is killed, or until the program that started it is gone and its end of the pipe is closed.
BUSY_LOOP = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""


@dataclass(frozen=True)
class Variation:
    about: str
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    busy_loops: int = 0


VARIATIONS = {
    "plain": Variation("this machine as it is"),
    "aten-default": Variation("torch without vector instructions", {"ATEN_CPU_CAPABILITY": "default"}),
    "aten-avx2": Variation("torch with AVX2 at most", {"ATEN_CPU_CAPABILITY": "avx2"}),
    "onednn-avx2": Variation("oneDNN with AVX2 at most", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "mkl-sse2": Variation("matrix products with SSE2", {"MKL_CBWR": "COMPATIBLE"}),
    "bfloat16": Variation("models in bfloat16, as on a CPU that multiplies it", {"PYTHONPATH": str(PRETENCE)}),
    "rounded": Variation("torch rounds otherwise", arguments=("-p", "tests.measure.rounded")),
    "threads": Variation("two threads for each model", {"OMP_NUM_THREADS": "2"}),
    "busy": Variation("beside busy loops", busy_loops=max(2, CORES)),
    "four": Variation("four tests at a time", arguments=("-n", "4")),
}


@dataclass(frozen=True)
class Result:
    """What pytest reported. `failed` maps the name of each failed test to the first line of its message."""

    passed: int
    failed: dict[str, str]
    code: int
    seconds: float


def main() -> int:
    listed = "\n".join(f"  {name:13} {one.about}" for name, one in VARIATIONS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\nVariations:\n{listed}",
        usage="everywhere.py [--only NAME,NAME] [PYTEST ARGUMENTS...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--only", metavar="NAME,NAME", default=",".join(VARIATIONS), help="run these variations only")
    asked, arguments = parser.parse_known_args()
    names = asked.only.split(",")
    if unknown := set(names) - VARIATIONS.keys():
        parser.error(f"no such variation: {', '.join(sorted(unknown))}. There are: {', '.join(VARIATIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the busy loops end then too

    instructions = torch.backends.cpu.get_cpu_capability()
    print(f"{processor()}, {CORES} cores, {instructions}, torch {torch.__version__}", flush=True)
    results = []
    for name in names:
        results.append(run(VARIATIONS[name], arguments))
        print(line(name, results[-1]), flush=True)
    return int(any(result.failed or result.code for result in results))


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def run(variation: Variation, arguments: list[str]) -> Result:
    """Runs the tests once, in this variation. What pytest prints is shown only where it reports no tests at all."""
    with tempfile.TemporaryDirectory() as folder, busy_loops(variation.busy_loops):
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "--no-cov", f"--junitxml={report}", *arguments, *variation.arguments]
        environment = {**os.environ, **variation.environment}
        began = time.monotonic()
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        seconds = time.monotonic() - began
        passed, failed = read_report(report) if report.exists() else (0, {})
    if done.returncode and not failed:
        print(done.stdout)
    return Result(passed, failed, done.returncode, seconds)


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Meanwhile, so many processes compute without a pause."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP], stdin=subprocess.PIPE) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.communicate()


def read_report(path: Path) -> tuple[int, dict[str, str]]:
    """How many tests passed, and the failed ones with the first lines of their messages."""
    passed, failed = 0, {}
    for case in ET.parse(path).iter("testcase"):
        problems = [*case.iter("failure"), *case.iter("error")]
        if problems:
            first, *_ = (problems[0].get("message") or problems[0].text or "").strip().splitlines() or [""]
            failed[f"{case.get('classname')}::{case.get('name')}"] = first
        elif case.find("skipped") is None:
            passed += 1
    return passed, failed


def line(name: str, result: Result) -> str:
    """The line of a variation; below it, one for each failed test."""
    counts = f"{result.passed:5} passed  {len(result.failed):3} failed  {result.seconds:6.0f} s"
    stopped = f"  (pytest ended with code {result.code})" if result.code not in (0, 1) else ""
    failed = [f"    {test}: {message}" for test, message in result.failed.items()]
    return "\n".join([f"{name:13}{counts}{stopped}", *failed])


if __name__ == "__main__":
    sys.exit(main())
