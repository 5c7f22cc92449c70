"""Checks the machine: system, packages, device, decoders and player."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from vidfind import __version__
from vidfind.doctor.findings import Found, say
from vidfind.errors import Problem
from vidfind.system import player
from vidfind.system.text import file_size

CLIP_FRAMES = 24
CLIP_SIZE = 64
READER_SECONDS = 30.0  # time limit for a clip of one second


# The machine ----------------------------------------------------------------------------------------------------------


def look_at_system() -> Found:
    return Found(f"{__version__}, Python {platform.python_version()}, {platform.platform()}")


def look_at_packages() -> Found:
    """Reports the versions of the libraries that vidfind depends on, and of those of its extras that are installed."""
    wanted = {re.split(r"[^\w.-]", text)[0]: "extra ==" in text for text in metadata.requires("vidfind") or []}
    versions, problems = [], []
    for name, is_extra in sorted(wanted.items()):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            if not is_extra:
                problems.append(Problem(f"the package {name} is missing", "install vidfind again"))
    return Found(", ".join(versions), problems)


def look_at_device(anew: bool = False) -> Found:
    """Reports the device on which models run and its number formats, and checks that it can multiply.

    `anew`: measures the formats again, also where that was done before."""
    import psutil
    import torch

    from vidfind.encoders.encoder import choose_device
    from vidfind.precision.formats import (
        choose_format,
        describe,
        float_type,
        known_speeds,
        measure_again,
        measure_speeds,
    )

    device = choose_device("auto")
    if device == "cpu":
        speeds = measure_again() if anew else known_speeds() or measure_speeds()  # which keeps nothing
        number_format = speeds.fastest
        used = f"cpu, fastest in {number_format} ({describe(speeds)})"
        used += "" if number_format == "float32" else "; small models, such as the built-in one, run in float32"
    else:
        number_format = choose_format("auto", device)
        used = f"{device} in {number_format}"
    memory = psutil.virtual_memory()
    facts = [used, f"{os.cpu_count()} CPU cores"]
    facts.append(f"{file_size(memory.total)} of memory, {file_size(memory.available)} free")
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        facts.append(f"{torch.cuda.get_device_name()} with {file_size(total)}, {file_size(free)} free")
    ones = torch.ones(32, 32, device=device, dtype=float_type(number_format))
    if not bool((ones @ ones == 32).all()):
        return Found(", ".join(facts), [Problem(f"{device} computes wrongly", "use another: --device cpu")])
    return Found(", ".join(facts))


def look_at_decoders() -> Found:
    """Draws a clip that gets brighter, and lets each decoder read it in a separate process."""
    import numpy as np

    from vidfind.media import decoding, sampling
    from vidfind.media import read as video
    from vidfind.media.readers.pyav import read_with_pyav
    from vidfind.media.write import write_video

    with tempfile.TemporaryDirectory(prefix="vidfind-") as folder:
        path = Path(folder) / "clip.mp4"
        frames = (np.full((CLIP_SIZE, CLIP_SIZE, 3), 8 * i, np.uint8) for i in range(CLIP_FRAMES))
        write_video(path, frames, CLIP_FRAMES)
        info = decoding.probe(path)
        wanted = (sampling.split_segments(info.duration, 10.0), CLIP_FRAMES // 2, CLIP_SIZE)
        wrong = {
            "PyAV": wrong_with_reader(read_with_pyav, path, *wanted),
            "decord": wrong_with_reader(video.read_with_decord, path, info, *wanted),
        }
    remedy = "install vidfind again; videos are read with the other decoder as far as it can"
    problems = [Problem(f"{name} {trouble}", remedy) for name, trouble in wrong.items() if trouble]
    return Found(", ".join(f"{name} {'fails' if trouble else 'reads'}" for name, trouble in wrong.items()), problems)


def look_at_video_hardware() -> Found:
    """Reports the devices that may decode videos. None of them is needed."""
    from vidfind.media.hardware import find_devices

    devices = find_devices()
    told = [f"{device.name} ({device.trouble or 'opens'})" for device in devices]
    return Found(f"for decoding videos: {', '.join(told) or 'none that FFmpeg knows on this system'}")


def wrong_with_reader(read: Callable[..., Iterator[Any]], *arguments: object) -> str:
    """Returns what is wrong with a reader of the clip above; empty if nothing is."""
    import numpy as np

    from vidfind.system.worker import borrow_worker

    with borrow_worker() as worker:
        try:
            samples = list(worker.run(read, *arguments, seconds=READER_SECONDS))
        except Exception as error:  # whatever a decoder may raise
            noise = worker.noise()
            return f"cannot read a clip that was just made: {say(error)}{f' ({noise})' if noise else ''}"
    if len(samples) != 1 or not (np.diff(samples[0].frames.mean(axis=(1, 2, 3))) > 0).all():
        return "reads other frames of a clip than were put into it"
    return ""


def look_at_player() -> Found:
    """Reports the player that `vidfind search --open` would start."""
    template = os.environ.get("VIDFIND_PLAYER")
    name, command = player.player_command(Path("clip.mp4"), 0.0, template)
    if template and not shutil.which(command[0]):
        remedy = "install it, or name another in VIDFIND_PLAYER"
        return Found(f"VIDFIND_PLAYER={template}", [Problem(f"there is no program {command[0]}", remedy)])
    return Found(name or "neither mpv, VLC nor IINA: the system's own player starts at the beginning")
