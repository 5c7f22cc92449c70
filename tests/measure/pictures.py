"""How fast small pictures are made and found again: one, and a grid of 24.

    uv run python -m tests.measure.pictures [phone] [long] [hevc]

Draws a minute of each kind of video first, which takes a minute or two. Each picture is of another time. `CPU` is the
time of all threads, which a busy machine changes little; the other times are by the clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from vidfind.bench.drawn import KINDS, lengthen, write_footage
from vidfind.pictures.cache import MAKERS, PictureCache
from vidfind.pictures.thumbnail import SIZE, Shot, thumbnail
from vidfind.system.files import fingerprint

GRID = 24
SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=[*KINDS], help=f"of videos: {', '.join(KINDS)}")
    kinds = parser.parse_args().kinds
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {MAKERS} threads, {SIZE} pixels")
    print("| video | one, ms | one, CPU ms | longest, CPU ms | grid of 24, s | CPU s | again, ms | KB each |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="vidfind-") as folder:
        for kind in kinds:
            drawn, film = Path(folder, f"{kind}-drawn.mp4"), Path(folder, f"{kind}.mp4")
            write_footage(drawn, KINDS[kind], seed=1)
            lengthen(drawn, film, SECONDS)
            print(f"| {KINDS[kind].title} | {' | '.join(measure(film, Path(folder, 'pictures', kind)))} |", flush=True)


def measure(film: Path, folder: Path) -> list[str]:
    random = Random(1)
    times = [random.uniform(0, SECONDS) for _ in range(GRID)]
    ones = [timed(lambda at=at: thumbnail(film, at)) for at in times]  # type: ignore[misc]
    shots = [Shot(film, fingerprint(film), at) for at in times]
    grid, grid_cpu = timed(lambda: [*PictureCache(folder).pictures(shots)])
    again, _ = timed(lambda: [*PictureCache(folder).pictures(shots)])
    number, size = PictureCache(folder).count()
    return [
        f"{1000 * statistics.median(wall for wall, _ in ones):.0f}",
        f"{1000 * statistics.median(cpu for _, cpu in ones):.0f}",
        f"{1000 * max(cpu for _, cpu in ones):.0f}",
        f"{grid:.2f}",
        f"{grid_cpu:.2f}",
        f"{1000 * again:.0f}",
        f"{size / number / 1000:.1f}",
    ]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Returns how long work takes by the clock, and on all cores together, in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
