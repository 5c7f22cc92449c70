"""Measures what a large collection costs: memory as it grows, and the time of a run in which nothing has changed.

    uv run python -m tests.measure.scale [VIDEOS]

Makes so many distinct videos of a second (10,000 by default: some minutes), indexes them with the tiny model, runs the
same again twice, and prints time and memory: of this process, and of the largest process that decodes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

CLIP = Path(__file__).parent.parent / "clips" / "short.mp4"
MEGABYTE = 2**20


def main(videos: int) -> None:
    from vidfind.encoders.names import EncoderChoice
    from vidfind.index.events import Outcome
    from vidfind.index.prepare import open_store
    from vidfind.index.run import index_videos
    from vidfind.models.load import load_choice

    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "videos"
        folder.mkdir()
        make_videos(folder, videos)
        for run in ("first", "second", "third"):
            began = time.monotonic()
            store, encoder = open_store(Path(base) / "index", load_choice, EncoderChoice("tiny"))
            counts: dict[str, int] = {}
            with closing(index_videos([folder], store, encoder)) as events:
                for event in events:
                    if isinstance(event, Outcome):
                        counts[event.status] = counts.get(event.status, 0) + 1
                        if event.status == "new" and sum(counts.values()) % (videos // 10) == 0:
                            print(f"after {sum(counts.values())} videos: {memory()}", flush=True)
            print(f"{run} run: {counts} in {time.monotonic() - began:.1f} s; {memory()}", flush=True)


def make_videos(folder: Path, count: int) -> None:
    """Copies of a clip, each with a few random bytes of its own in an atom that players skip."""
    data = CLIP.read_bytes()
    for number in range(count):
        (folder / f"{number:05}.mp4").write_bytes(data + (24).to_bytes(4, "big") + b"free" + os.urandom(16))


def memory() -> str:
    process = psutil.Process()
    decoding = [child.memory_info().rss for child in process.children(recursive=True)]
    return (
        f"{process.memory_info().rss / MEGABYTE:.0f} MB here, {max(decoding, default=0) / MEGABYTE:.0f} MB in the "
        f"largest of {len(decoding)} others"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
