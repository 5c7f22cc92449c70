"""Broken copies of every clip: none may hang or end a run, each is indexed or failed with a reason."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.index.events import Outcome
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.media import decoding
from vidfind.store.status import index_status

SEED = 20
# Some of the work of a decoder, and so of what it may find wrong, is done only in long files.
LARGEST = 200_000
NO_VIDEOS = {".md", ".py", ".json", ".m4a", ".mp3"}  # a run leaves these out, and says so


def truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def flip(data: bytearray, chance: random.Random) -> None:
    """Single bits, more often at the start, where a file says what it is."""
    for _ in range(chance.choice((1, 4, 16, 64))):
        at = chance.randrange(len(data) if chance.random() < 0.5 else min(len(data), 2000))
        data[at] ^= 1 << chance.randrange(8)


def splice(data: bytearray, chance: random.Random) -> None:
    """A piece of the file, somewhere else in it or in place of another."""
    start, target, length = (chance.randrange(len(data)) for _ in range(3))
    piece = data[start : start + length // 4]
    data[target : target + chance.choice((0, len(piece)))] = piece


def zero(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    length = min(chance.choice((4, 100, 5000)), len(data) - start)
    data[start : start + length] = bytes(length)


KINDS: tuple[Callable[[bytearray, random.Random], None], ...] = (truncate, flip, splice, zero)


def mutate(clips: Path, folder: Path, count: int, seed: int) -> None:
    """Writes `count` broken files, of each kind of clip in turn; their names say what was done to which."""
    chance = random.Random(seed)
    files = [path for path in clips.iterdir() if path.is_file() and path.suffix not in NO_VIDEOS]
    sources = sorted(path for path in files if path.stat().st_size <= LARGEST)
    for number in range(count):
        source, kind = sources[number % len(sources)], KINDS[number % len(KINDS)]
        data = bytearray(source.read_bytes())
        kind(data, chance)
        (folder / f"{number:04}-{kind.__name__}-{source.name}").write_bytes(data)


@pytest.mark.parametrize("mutations", [100, pytest.param(500, marks=pytest.mark.soak)])
def test_no_broken_file_hangs_or_ends_a_run(
    mutations: int, clips: Path, tmp_path: Path, tiny_encoder: Encoder, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    mutate(clips, folder, mutations, SEED)
    others = psutil.Process().children()  # of tests that ran before
    store, load = open_store(tmp_path / "index", lambda choice: tiny_encoder, EncoderChoice())
    outcomes = [event for event in index_videos(list(folder.iterdir()), store, load) if isinstance(event, Outcome)]

    assert {outcome.path for outcome in outcomes} == set(folder.iterdir())
    for outcome in outcomes:
        assert outcome.status in ("new", "failed"), outcome
        assert (outcome.segments > 0) == (outcome.status == "new"), outcome
        if outcome.status == "failed":
            assert outcome.message and not re.search(r"Error:|nothing came of it|GB of memory", outcome.message), (
                outcome
            )
    counts = Counter(outcome.status for outcome in outcomes)
    assert min(counts.values()) > mutations // 10, counts
    assert index_status(store).segments == sum(outcome.segments for outcome in outcomes)
    assert all(row.duration < 3600 for row in store.videos().values())
    assert capfd.readouterr() == ("", "")
    started = set(psutil.Process().children()).difference(others)
    assert len(started) <= decoding.DECODERS + 2  # one that reads lengths, and multiprocessing's own
