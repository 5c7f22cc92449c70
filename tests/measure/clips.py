"""How exact clips are: frames, length and sound of random moments of every kind of video in tests/clips.

    uv run python -m tests.measure.clips [--moments 5]

Each clip is decoded and compared with the truth about its video: first and last frame, and when each frame begins to
be shown. Then sounds that beep at known times, in several containers. Errors are the largest of all, in ms.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from random import Random

from tests.clips.make import HERE
from tests.support.exported import SOUNDS, beeps_of, make_clip, numbers_of, write_beeps
from tests.support.numbered import TRUTH, WHOLE, number_at
from vidfind.export.wanted import EXACT
from vidfind.media.probe import probe

NEAR = 1e-6  # seconds, added where the truth is looked up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=5, help="of each video")
    moments = parser.parse_args().moments
    print("| video | moments | first frame wrong | last frame wrong | length off | frames off |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in WHOLE:
            print(f"| {name} | {' | '.join(measure_frames(name, moments, Path(folder)))} |", flush=True)
        print("\n| sound | moments | beeps | off |\n|---|---|---|---|")
        for name, codec, rate, begin in SOUNDS:
            write_beeps(Path(folder) / name, codec, rate, begin)
            print(f"| {name}, {codec} | {' | '.join(measure_sound(Path(folder) / name, moments))} |", flush=True)


def measure_frames(name: str, moments: int, folder: Path) -> list[str]:
    """Returns the cells of one video, with moments of random starts and ends, to a thousandth as in JSON."""
    random, info = Random(name), probe(HERE / name)
    firsts = lasts = 0
    length_off = frames_off = 0.0
    for _ in range(moments):
        start, end = sorted(round(random.uniform(info.start, info.duration), 3) for _ in range(2))
        end = min(max(end, round(start + 0.01, 3)), info.duration)
        made = make_clip(HERE / name, start, end, folder)
        shown = numbers_of(made)
        numbers = list(shown.values())
        firsts += numbers[0] != number_at(name, start + EXACT)
        lasts += numbers[-1] != number_at(name, end - EXACT)
        length_off = max(length_off, abs(probe(made).duration - (end - start)))
        begins = {number: time for time, number in zip(TRUTH[name]["times"], TRUTH[name]["numbers"], strict=True)}
        for time, number in list(shown.items())[1:]:
            frames_off = max(frames_off, abs(begins[number or 0] - start - time))
    return [str(moments), str(firsts), str(lasts), f"{1000 * length_off:.1f}", f"{1000 * frames_off:.1f}"]


def measure_sound(path: Path, moments: int) -> list[str]:
    """Returns the cells of one file, with random moments of two seconds or more."""
    random, beeps = Random(path.name), beeps_of(path)
    count, off = 0, 0.0
    for _ in range(moments):
        start = round(random.uniform(0, 14), 3)
        end = round(start + random.uniform(2, 3), 3)
        wanted = [beep - start for beep in beeps if start + 0.05 < beep < end - 0.1]
        heard = [beep for beep in beeps_of(make_clip(path, start, end, path.parent)) if 0.05 < beep < end - start - 0.1]
        assert len(heard) == len(wanted), (path.name, start, heard, wanted)
        count += len(wanted)
        off = max([off, *(abs(one - other) for one, other in zip(heard, wanted, strict=True))])
    return [str(moments), str(count), f"{1000 * off:.1f}"]


if __name__ == "__main__":
    main()
