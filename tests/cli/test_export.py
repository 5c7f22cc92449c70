"""`vidfind export`: moments from a pipe or from a query become clips."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ran import Run
from vidfind.media.probe import probe

Pipe = Callable[..., None]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """What is given to it, objects or text, is what comes through the pipe, a line each."""

    def pipe(*moments: object) -> None:
        text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in moments)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))

    return pipe


def test_moments_from_a_pipe_become_clips(run: Run, pipe: Pipe, clips: Path, tmp_path: Path) -> None:
    moments = [
        {"path": str(clips / name), "start": 0.4, "end": 0.8, "rank": 1, "score": 0.5}
        for name in ("h264.mp4", "vp9.webm")
    ]
    pipe(*moments)
    ran = run("export", "--clips", tmp_path / "out", "--pad", "0.2")
    assert (ran.code, ran.err) == (0, "")
    made = [Path(line) for line in ran.out.splitlines()]
    assert [path.name for path in made] == ["01 h264 0.2s-1s.mp4", "02 vp9 0.2s-1s.mp4"]
    assert [probe(path).duration for path in made] == pytest.approx([0.8, 0.8])


def test_a_moment_that_cannot_be_exported_is_named(run: Run, pipe: Pipe, clips: Path, tmp_path: Path) -> None:
    pipe(
        {"path": str(tmp_path / "gone.mp4"), "start": 0, "end": 1},
        {"path": str(clips / "h264.mp4"), "start": 0, "end": 0.1},
    )
    ran = run("export", "--clips", tmp_path / "out", "--json")
    assert (ran.code, ran.err) == (3, f"Error: {tmp_path / 'gone.mp4'} is not there.\n")
    assert json.loads(ran.out) == {
        "clip": str(tmp_path / "out" / "02 h264 0s-0.1s.mp4"),
        "path": str(clips / "h264.mp4"),
        "start": 0.0,
        "end": 0.1,
        "duration": 0.1,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dog", "Line 2 of the input is no JSON."),
        ("[1]", "Line 2 of the input is no object with a path, a start and an end."),
        ('{"start": 1, "end": 2}', "Line 2 of the input has no path of a video."),
        ('{"path": "a", "start": "1", "end": 2}', "Line 2 of the input has no start in seconds."),
        ('{"path": "a", "start": -1, "end": 2}', "Line 2 of the input has no start in seconds."),
        ('{"path": "a", "start": 1, "end": NaN}', "Line 2 of the input has no end in seconds."),
        ('{"path": "a", "start": 2, "end": 2}', "Line 2 of the input ends, at 2 s, before it begins, at 2 s."),
        ("[" * 100_000, "Line 2 of the input is nested too deeply."),
    ],
)
def test_a_line_that_is_no_moment_is_named(line: str, said: str, run: Run, pipe: Pipe, tmp_path: Path) -> None:
    pipe("", line)
    ran = run("export", "--clips", tmp_path / "out")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"Error: {said}")
    assert not (tmp_path / "out").exists()


def test_no_moments_are_no_error(run: Run, pipe: Pipe, tmp_path: Path) -> None:
    pipe("")
    ran = run("export", "--clips", tmp_path / "out")
    assert (ran.code, ran.out, ran.err) == (0, "", "No moments came in, so nothing is exported.\n")


def test_what_to_make_must_be_said(run: Run, pipe: Pipe) -> None:
    pipe("")
    ran = run("export")
    assert (ran.code, ran.out) == (2, "")
    assert "--clips FOLDER" in ran.err


def test_clips_cannot_go_where_a_file_is(run: Run, pipe: Pipe, clips: Path, tmp_path: Path) -> None:
    pipe({"path": str(clips / "h264.mp4"), "start": 0, "end": 0.1})
    (tmp_path / "out").touch()
    ran = run("export", "--clips", tmp_path / "out")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"Error: {tmp_path / 'out'} cannot be written to: ")


def test_moments_from_a_pipe_become_a_timeline(run: Run, pipe: Pipe, clips: Path, tmp_path: Path) -> None:
    moment = {"path": str(clips / "h264.mp4"), "start": 0.4, "end": 0.8}
    pipe({"path": str(tmp_path / "gone.mp4"), "start": 0, "end": 1}, moment)
    ran = run("export", "--timeline", tmp_path / "new" / "a.m3u", "--pad", "0.1")
    assert (ran.code, ran.err) == (3, f"Error: {tmp_path / 'gone.mp4'} is not there.\n")
    assert ran.out.splitlines() == [str(tmp_path / "new" / "a.m3u"), str(tmp_path / "new" / "a.mpv.m3u")]
    assert "#EXTVLCOPT:start-time=0.300" in (tmp_path / "new" / "a.m3u").read_text()


def test_the_name_of_a_timeline_must_say_its_kind(run: Run, pipe: Pipe, tmp_path: Path) -> None:
    pipe("")
    ran = run("export", "--timeline", tmp_path / "a.txt")
    assert (ran.code, ran.out) == (2, "")
    assert "'a.txt' names no kind of timeline. It must end in .otio, .edl, .fcpxml, .m3u, .m3u8, .csv." in ran.err


def test_without_opentimelineio_an_error_says_how_to_install_it(
    run: Run, pipe: Pipe, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentimelineio", None)
    pipe({"path": str(clips / "h264.mp4"), "start": 0, "end": 0.1})
    ran = run("export", "--timeline", tmp_path / "a.otio")
    assert (ran.code, ran.out) == (1, "")
    assert 'uv tool install ".[timeline]"' in ran.err
    assert list(tmp_path.iterdir()) == []
