"""Faults of decoders in the whole pipeline: what becomes of the run, compared with one without them."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support import faulty
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.index.events import Outcome
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.media import decoding, messages
from vidfind.media.probe import probe
from vidfind.store.status import index_status
from vidfind.store.store import Store
from vidfind.system import worker

GOOD = ("a.mp4", "b.mp4", "long.mp4")
REASONS = {
    "segfault": "crash (SIGSEGV)",
    "abort": "crash (SIGABRT); it said: [h264 @ 0x55] corrupted size vs. prev_size",
    "leave": "crash (exit code 7)",
    "hang": "nothing came of it",
    "stop": "nothing came of it",
    "eat": "GB of memory",
    "deceive": "cannot be decoded: IndexError: list index out of range",
}


def run(folder: Path, index: Path, encoder: Encoder) -> tuple[Store, dict[str, Outcome]]:
    store, load = open_store(index, lambda choice: encoder, EncoderChoice())
    events = list(index_videos([folder], store, load))
    return store, {event.path.name: event for event in events if isinstance(event, Outcome)}


def vectors(store: Store, encoder: Encoder) -> dict[str, list[tuple[float, float, float]]]:
    """For each video its segments, and how alike each is to some direction."""
    direction = np.random.default_rng(0).standard_normal(encoder.dim)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for path, row in store.videos().items():
        hits = store.search(direction, 1000, [row.content]) if row.content else []
        found[path.name] = sorted((hit.start, hit.end, round(hit.score, 2)) for hit in hits)
    return found


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("when", ["", "late-"], ids=["at once", "after a clip"])
def test_each_fault_costs_its_file_alone(
    made: Path,
    tmp_path: Path,
    tiny_encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    when: str,
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "films"))
    (folder / "inner" / "long.mp4").rename(folder / "long.mp4")
    clean, outcomes = run(folder, tmp_path / "clean", tiny_encoder)
    assert {name: outcome.status for name, outcome in outcomes.items()} == dict.fromkeys(GOOD, "new")

    for number, fault in enumerate(REASONS):
        content = (made / "inner" / "long.mp4").read_bytes()
        (folder / f"{when}{fault}.mp4").write_bytes(content + bytes(number + 1))
    monkeypatch.setattr(decoding, "read_video", faulty.read_video)
    monkeypatch.setattr(decoding, "PATIENCE", 5.0)  # on a busy machine, importing a decoder takes a while
    monkeypatch.setattr(decoding, "PATIENCE_A_SECOND", 0.2)
    monkeypatch.setattr(worker, "MAX_MEMORY", 2**29)
    for pooled in worker._idle:
        pooled.end()  # what other tests have decoded may have made it larger than that
    store, outcomes = run(folder, tmp_path / "faulty", tiny_encoder)

    assert {name: outcomes[name].status for name in GOOD} == dict.fromkeys(GOOD, "new")
    for fault, reason in REASONS.items():
        outcome = outcomes[f"{when}{fault}.mp4"]
        assert outcome.status == "failed"
        assert reason in outcome.message
    failed = {row.path.stem.removeprefix("late-"): row.failed for row in index_status(store).failed}
    assert failed.keys() == REASONS.keys()
    expected, found = vectors(clean, tiny_encoder), vectors(store, tiny_encoder)
    assert {name: found[name] for name in GOOD} == expected
    assert not any(segments for name, segments in found.items() if name not in GOOD)
    assert capfd.readouterr() == ("", "")

    pids = {child.pid for child in psutil.Process().children()}
    again = {
        event.status for event in index_videos([folder], store, lambda: tiny_encoder) if isinstance(event, Outcome)
    }
    assert again == {"unchanged", "failed"}
    assert {child.pid for child in psutil.Process().children()} == pids


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_a_run_that_is_stopped_does_not_wait_for_a_decoder_that_hangs(
    made: Path,
    tmp_path: Path,
    tiny_encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(made / "a.mp4", tmp_path / "a.mp4")
    shutil.copy(made / "b.mp4", tmp_path / "hang.mp4")
    monkeypatch.setattr(decoding, "read_video", faulty.read_video)
    store, load = open_store(tmp_path / "index", lambda choice: tiny_encoder, EncoderChoice())
    with closing(
        index_videos([tmp_path / "a.mp4", tmp_path / "hang.mp4"], store, load, IndexOptions(workers=2))
    ) as events:
        assert next(event for event in events if isinstance(event, Outcome)).path.name == "a.mp4"
        threads = {thread for thread in threading.enumerate() if thread.name == "decode"}
        assert threads
    assert not any(thread.is_alive() for thread in threads)
    assert [path.name for path in store.videos()] == ["a.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_what_is_finished_is_handed_on_while_a_decoder_hangs(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Path(shutil.copy(made / "b.mp4", tmp_path / "hang.mp4"))
    monkeypatch.setattr(decoding, "read_video", faulty.read_video)
    monkeypatch.setattr(decoding, "PATIENCE", 5.0)
    with closing(decoding.decode_ahead([hanging], 10.0, 4, 32)) as batches:
        assert next(batches) == []  # so that whoever takes them can look for what else is done


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_the_lengths_of_videos_that_wait_are_known_before_they_are_decoded(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "read_video", faulty.read_video)
    monkeypatch.setattr(decoding, "HEADER_DELAY", 0.0)
    hanging = Path(shutil.copy(made / "b.mp4", tmp_path / "hang.mp4"))
    (tmp_path / "no.mp4").write_text("no video")
    waiting = [tmp_path / "no.mp4", made / "a.mp4", made / "inner" / "long.mp4"]
    found: dict[Path, float] = {}
    with closing(decoding.decode_ahead([hanging, *waiting], 10.0, 4, 32, workers=1)) as batches:
        while waiting[-1] not in found:
            found |= {one.path: one.seconds for one in next(batches) if isinstance(one, messages.Queued)}
    assert found == {path: pytest.approx(probe(path).duration) for path in waiting[1:]}
    assert not any(thread.name == "headers" for thread in threading.enumerate())


def test_a_video_that_the_disk_refused_is_tried_again_and_so_is_its_copy(
    made: Path,
    tmp_path: Path,
    tiny_encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in ("io_error.mp4", "same.mp4"):
        shutil.copy(made / "a.mp4", films / name)
    with monkeypatch.context() as faults:
        faults.setattr(decoding, "read_video", faulty.read_video)
        _, outcomes = run(films, tmp_path / "index", tiny_encoder)
    assert {name: outcome.status for name, outcome in outcomes.items()} == dict.fromkeys(outcomes, "failed")
    assert outcomes["same.mp4"].same_as == films / "io_error.mp4"
    _, outcomes = run(films, tmp_path / "index", tiny_encoder)
    assert {name: outcome.status for name, outcome in outcomes.items()} == dict.fromkeys(outcomes, "changed")
