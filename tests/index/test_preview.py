"""What a run would do: the same as the run then does, and nothing is written meanwhile."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.ran import Ran
from vidfind.encoders.names import EncoderIdentity
from vidfind.errors import BadInput
from vidfind.index import preview
from vidfind.index.options import IndexOptions
from vidfind.index.preview import preview_index
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store

Run = Callable[..., Ran]


@pytest.fixture
def films(clips: Path, tmp_path: Path) -> Path:
    """A folder of three videos."""
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("h264.mp4", "vp9.webm", "short.mp4"):
        shutil.copy(clips / name, folder)
    return folder


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_a_preview_of_a_new_index_counts_all_videos_and_makes_no_index(films: Path, tmp_path: Path) -> None:
    shown = preview_index([films], tmp_path / "indexes" / "default")
    assert shown.counts == {"new": 3, "unchanged": 0}
    assert (shown.encoded, shown.elapsed) == (3, None)
    assert 1 < shown.footage < 60
    assert not (tmp_path / "indexes").exists()


def test_a_preview_says_what_the_run_then_does(run: Run, films: Path, tmp_path: Path) -> None:
    assert run("index", films, "--model", "tiny").code == 0
    os.utime(films / "h264.mp4", (1, 1))  # changed
    with open(films / "h264.mp4", "ab") as file:
        file.write(b"more")
    (films / "vp9.webm").rename(films / "renamed.webm")
    (films / "short.mp4").unlink()
    home = tmp_path / "home"
    before = contents(home)
    ran = run("index", films, "--dry-run", "--json")
    assert ran.code == 0
    assert contents(home) == before
    *videos, summary = map(json.loads, ran.out.splitlines())
    shown = {Path(video["path"]).name: video["status"] for video in videos}
    assert shown == {"h264.mp4": "changed", "renamed.webm": "moved", "short.mp4": "removed"}
    done = json.loads(run("index", films, "--json").out.splitlines()[-1])["summary"]
    assert {key: summary["summary"][key] for key in shown.values()} == {key: done[key] for key in shown.values()}
    assert summary["summary"]["encode"] == 1 and summary["summary"]["elapsed"] > 0


def test_a_preview_is_shown_in_words(run: Run, films: Path) -> None:
    ran = run("index", films, "--dry-run")
    first, *_, counts, time = ran.out.splitlines()
    assert first.split() == ["new", str(films / "h264.mp4")]
    assert counts == "Would be: 3 new."
    assert time.startswith("To encode: 3 videos, 0:") and time.endswith("in a time that no run has measured yet.")
    assert run("index", films, "--model", "tiny").code == 0
    assert run("index", films, "--dry-run").out == "Would be: 3 unchanged.\n"
    assert run("index", films, "--dry-run", "--force").out.splitlines()[-1].split(" in ")[1].startswith("about 0:")


def test_another_index_of_the_same_model_knows_the_speed(run: Run, films: Path) -> None:
    assert run("index", films, "--model", "tiny", "--index", "other").code == 0
    assert "in about 0:" in run("index", films, "--dry-run", "--model", "tiny").out
    assert "no run has measured" in run("index", films, "--dry-run", "--model", "ViT-B-16").out


def test_an_estimate_for_more_segments_is_longer(run: Run, films: Path, tmp_path: Path) -> None:
    assert run("index", films, "--model", "tiny", "--index", "other").code == 0

    def estimate(**segments: Any) -> float:
        return preview_index([films], tmp_path / "home" / "indexes" / "new", model="tiny", **segments).elapsed or 0

    usual = estimate()
    assert estimate(overlap=True) == pytest.approx(2 * usual)
    assert estimate(segment_length=2.5) == pytest.approx(4 * usual)
    assert estimate(segment_length=60) == pytest.approx(usual)  # decoding takes its time all the same
    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12), 10.0, overlap=True)
    with Store.create(tmp_path / "home" / "indexes" / "twice", settings, dim=4).writing() as writer:
        writer.note_speed(footage=1000, elapsed=1)
    assert (estimate(), estimate(overlap=True) < usual) == (usual, True)


def test_the_length_of_many_videos_is_estimated_from_some(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        shutil.copy(films / "h264.mp4", films / f"again-{number}.mp4")
    options = IndexOptions(force=True)  # so that the copies are to be encoded too
    exact = preview_index([films / "h264.mp4", *films.glob("again-*")], films.parent / "none", options).footage
    monkeypatch.setattr(preview, "PROBED", 2)
    some = preview_index([films / "h264.mp4", *films.glob("again-*")], films.parent / "none", options).footage
    assert some == pytest.approx(exact)


def test_a_folder_that_never_was_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no folder or video"):
        preview_index([tmp_path / "none"], tmp_path / "indexes" / "default")


@pytest.mark.parametrize("other", [["--watch"], ["--adapter", "none"]], ids=" ".join)
def test_a_preview_goes_with_no_option_that_it_cannot_preview(run: Run, films: Path, other: list[str]) -> None:
    ran = run("index", films, "--dry-run", *other)
    assert ran.code == 2
    assert "Give either --dry-run or" in " ".join(ran.err.split())
