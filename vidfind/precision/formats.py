"""Number formats of a model: which this machine has, how fast each is, and the one to use.

No flag of a CPU decides: there are CPUs that announce bfloat16 and multiply it at half the speed of float32. A small
product is timed in each format, once on each machine and for each version of torch, and the result is kept.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from vidfind.errors import BadInput, StorageError
from vidfind.precision.integers import Product, largest_weight, quantise, round_weights
from vidfind.system.machine import cpu_features, cpu_name, one_thread
from vidfind.system.paths import home
from vidfind.system.storage import write_text

log = logging.getLogger(__name__)

FORMATS = ("float32", "bfloat16", "int8")
"""By the names that users type. int8 is for the image tower alone; the rest of the model is in float32 then."""
VERSION = 1
"""Of the int8 products: what was measured with others does not count."""
NARROW = 512
"""In image towers narrower than this, products take so little of the time that other formats gain nothing."""
GAIN = 1.5
"""How many times faster than the other formats products in int8 must be: it is the least precise."""
ROWS, WIDTH, HIDDEN = 288, 768, 3072
"""The product that is timed: that of ViT-B, with the tokens of a few frames."""
ROUNDS = 6
FEW_ROWS, SLOW = 8, 5.0
"""A format that takes so many times longer than float32 for a few rows is not tried with more: it has no kernels of its
own here, and could take minutes."""
KEPT = 20
"""How many results are kept, of machines that share the folder and of versions of torch."""


@dataclass(frozen=True)
class Speeds:
    """The measured speed of products on one CPU core, by number format; missing ones are not available."""

    gflops: Mapping[str, float]
    """Thousand million operations a second, two for each multiply-add; int8 with the rounding of its inputs."""
    largest_weight: int
    """See `integers.largest_weight`."""

    @property
    def fastest_float(self) -> str:
        return max((name for name in self.gflops if name != "int8"), key=self.gflops.__getitem__)

    @property
    def fastest(self) -> str:
        int8, best = self.gflops.get("int8", 0.0), self.fastest_float
        return "int8" if int8 >= GAIN * self.gflops[best] else best


def choose_format(asked: str, device: str, width: int = NARROW) -> str:
    """The number format of a model on a device: one of FORMATS, as asked, or with "auto" the fastest.

    `width` is that of the image tower. Raises BadInput for int8 where there is none."""
    if asked == "int8" and (problem := int8_problem(device)):
        raise BadInput(f"--dtype int8 cannot be used: {problem}. Leave it out, or use --dtype float32.")
    if asked != "auto":
        return asked
    if device == "cpu" and width >= NARROW and measured_speeds().fastest == "int8":
        return "int8"
    return fastest_float(device, width)


def fastest_float(device: str, width: int = NARROW) -> str:
    """The fastest of the formats that can also be trained. Float16 is slow on CPUs, and is never chosen."""
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return measured_speeds().fastest_float if device == "cpu" and width >= NARROW else "float32"


def float_type(number_format: str) -> torch.dtype:
    """The type of the tensors of a model in a number format; with int8 those of all but the image tower."""
    return torch.bfloat16 if number_format == "bfloat16" else torch.float32


def int8_problem(device: str) -> str:
    """Why a device has no products in int8, in words; empty if it has."""
    if device != "cpu":
        return f"it is for CPUs, and the model runs on {device} (--device cpu would change that)"
    return "" if largest_weight() else "this CPU, or its PyTorch, has no exact products of 8-bit integers"


# Measuring ------------------------------------------------------------------------------------------------------------


@functools.cache
def measured_speeds() -> Speeds:
    """Returns the speeds that were measured on this machine before; measures and keeps them if there are none."""
    if speeds := known_speeds():
        log.info("number formats as measured before: %s", describe(speeds))
        return speeds
    return measure_again()


def known_speeds() -> Speeds | None:
    """Returns the speeds that were measured on this machine before; None if there are none."""
    found = _read().get(_key())
    return _parse(found) if found else None


def measure_again() -> Speeds:
    """Measures the speed of each format on this machine and keeps it."""
    speeds = measure_speeds()
    log.info("number formats: %s", describe(speeds))
    others = {key: value for key, value in _read().items() if key != _key()}
    latest = dict(list(others.items())[1 - KEPT :])
    try:
        home().mkdir(parents=True, exist_ok=True)
        write_text(_file(), json.dumps({**latest, _key(): {"gflops": dict(speeds.gflops)}}, indent=2) + "\n")
    except (OSError, StorageError) as error:  # the next run measures again
        log.info("the speeds are not kept: %s", error)
    return speeds


def measure_speeds() -> Speeds:
    """Times a product in each format on one core, in turn. Takes about half a second."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(ROWS, WIDTH, generator=generator)
    weight, bias = torch.randn(HIDDEN, WIDTH, generator=generator) * 0.02, torch.zeros(HIDDEN)
    coarse = inputs.bfloat16(), weight.bfloat16(), bias.bfloat16()
    works: dict[str, Callable[[int], Any]] = {
        "float32": lambda rows: F.linear(inputs[:rows], weight, bias),
        "bfloat16": lambda rows: F.linear(coarse[0][:rows], *coarse[1:]),
    }
    if largest := largest_weight():
        product = Product(round_weights(weight, bias, largest))
        works["int8"] = lambda rows: product(*quantise(inputs[:rows]))
    # The time of the thread itself, which other programs do not lengthen. On Windows it only counts whole ticks.
    clock = time.perf_counter if sys.platform == "win32" else time.thread_time
    seconds: dict[str, float] = {}

    def run(name: str, rows: int) -> None:
        began = clock()
        works[name](rows)
        a_row = max(clock() - began, 1e-6) / rows
        seconds[name] = min(a_row, seconds.get(name, a_row))

    with one_thread(), torch.inference_mode():
        for _ in range(2):  # the first run of each costs more
            for name in works:
                run(name, FEW_ROWS)
        quick = [name for name in works if seconds[name] < SLOW * seconds["float32"]]
        for name in quick:
            del seconds[name]
        for number in range(ROUNDS):
            for name in quick:
                if not number or seconds[name] < 2 * min(seconds.values()):
                    run(name, ROWS)
    return Speeds({name: 2 * WIDTH * HIDDEN / a_row / 1e9 for name, a_row in seconds.items()}, largest)


def describe(speeds: Speeds) -> str:
    """The speeds in words."""
    told = ", ".join(f"{name} {speeds.gflops[name]:.0f}" for name in FORMATS if name in speeds.gflops)
    missing = "" if "int8" in speeds.gflops else "; no exact products in int8"
    bits = (
        "; int8 with weights of 7 bits, as this CPU multiplies those exactly, and of 8 bits it does not"
        if speeds.largest_weight == 64
        else ""
    )
    return f"{told} GFLOP/s on a core{bits}{missing}"


def _file() -> Path:
    return home() / "machine.json"


def _key() -> str:
    """Everything that the speeds depend on."""
    limits = [f"{name}={os.environ[name]}" for name in ("ONEDNN_MAX_CPU_ISA", "MKL_CBWR") if name in os.environ]
    kernels = torch.backends.cpu.get_cpu_capability()
    parts = (cpu_name(), cpu_features(), kernels, f"torch {torch.__version__}", f"weights to {largest_weight()}")
    return "; ".join([*parts, *limits, f"version {VERSION}"])


def _read() -> dict[str, Any]:
    """The kept results by machine; none if the file is missing or damaged."""
    try:
        values = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _parse(value: Any) -> Speeds | None:
    """The speeds as they were kept; None if they are not whole."""
    try:
        gflops = {name: float(value["gflops"][name]) for name in FORMATS if name in value["gflops"]}
    except (TypeError, KeyError, ValueError):
        return None
    is_whole = {"float32", "bfloat16"} <= gflops.keys() and ("int8" in gflops) == bool(largest_weight())
    return Speeds(gflops, largest_weight()) if is_whole and min(gflops.values()) > 0 else None
