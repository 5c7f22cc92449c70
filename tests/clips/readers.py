"""Measures both readers on every clip and writes the table of README.md.

    uv run python -m tests.clips.readers

Each frame of a clip is asked for: once all in a row, and once every 13th, which makes a reader jump. decord runs in a
process of its own, since it hangs on some files.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.clips.make import CLIPS, read_number
from vidfind.errors import ReaderFailed, VidfindError
from vidfind.media import read as video
from vidfind.media.probe import examine_once
from vidfind.media.readers.pyav import read_with_pyav
from vidfind.media.sampling import Sample, Segment

HERE = Path(__file__).parent
SIZE = 112
PATIENCE = 30  # seconds
MARKS = ("<!-- readers -->\n", "<!-- end -->\n")

Read = Callable[[Sequence[Segment]], Iterator[Sample]]


def measure(name: str, read: Read) -> str:
    """How far from the truth the frames are that `read` delivers, in words."""
    truth = json.loads((HERE / "truth.json").read_text())[name]
    numbers = truth["numbers"]
    segments = [Segment(time, time + 0.02) for time in truth["times"]]
    worst, unreadable, missing = 0, 0, 0
    for step in (1, 13):
        pictures = [sample.frames[0] for sample in read(segments[::step])]
        wanted = range(0, len(segments), step)
        missing = max(missing, len(wanted) - len(pictures))
        for want, picture in zip(wanted, pictures, strict=False):
            number = read_number(picture)
            if number not in numbers:
                unreadable += 1
            else:
                worst = max(worst, abs(numbers.index(number) - want))
    words = [f"{worst} frame{'s' * (worst > 1)} off"] if worst > 1 else []
    words += [f"{unreadable} unreadable"] if unreadable else []
    words += [f"{missing} of {len(segments)} not given"] if missing else []
    return ", ".join(words) or "right"


def measure_decord(name: str) -> str:
    info, _ = examine_once(HERE / name)
    try:
        return measure(name, lambda segments: video.read_with_decord(HERE / name, info, segments, 1, SIZE))
    except ReaderFailed as error:
        return "no times" if "times" in str(error) else "exception"


def measure_decord_apart(name: str) -> str:
    try:
        command = [sys.executable, "-m", "tests.clips.readers", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "hangs"
    return done.stdout.strip() if done.returncode == 0 else "crash"


def measure_pyav(name: str) -> str:
    try:
        return measure(name, lambda segments: read_with_pyav(HERE / name, segments, 1, SIZE))
    except VidfindError:
        return "exception"


def reader_and_reason(name: str) -> str:
    _, traits = examine_once(HERE / name)
    reasons = [reason for reason, is_wrong in video.NOT_FOR_DECORD.items() if is_wrong(traits)]
    return f"PyAV ({', '.join(reasons)})" if reasons else "decord"


def table() -> str:
    lines = ["| clip | decord | PyAV, careful | reader chosen |", "|---|---|---|---|"]
    for name in CLIPS:
        lines.append(f"| {name} | {measure_decord_apart(name)} | {measure_pyav(name)} | {reader_and_reason(name)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) == 2:
        print(measure_decord(sys.argv[1]))
        return
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    readme.write_text(before + MARKS[0] + table() + MARKS[1] + after)


if __name__ == "__main__":
    main()
