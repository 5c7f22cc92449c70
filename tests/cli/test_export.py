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
        "missing": 0.0,
        "early": 0.0,
        "late": 0.0,
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
        ("[" * 100_000, "Line 2 of the input is no JSON."),
        ('{"path": "a", "start": 1, "end": 1' + "0" * 400 + "}", "Line 2 of the input has no end in seconds."),
        ('{"path": "a", "start": 1, "end": 1' + "0" * 5000 + "}", "Line 2 of the input is no JSON."),
        (r'{"path": "a\ud800", "start": 1, "end": 2}', "Line 2 of the input has no path of a video."),
        (r'{"path": "a\u0000", "start": 1, "end": 2}', "Line 2 of the input has no path of a video."),
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


def test_a_copy_says_how_far_off_it_is(run: Run, pipe: Pipe, clips: Path, tmp_path: Path) -> None:
    pipe({"path": str(clips / "h264.mp4"), "start": 1.2, "end": 1.6})
    ran = run("export", "--clips", tmp_path, "--copy")
    made = tmp_path / "01 h264 1.2s-1.6s.mp4"
    assert (ran.code, ran.out) == (0, f"{made}\n")
    assert ran.err == f"{made.name} begins 0.20 s before the moment and ends 0.40 s after it.\n"


@pytest.mark.parametrize(("place", "name"), [("out", "a _dog_.mp4"), ("my.mp4", "my.mp4")])
def test_a_film_is_named_after_the_query_or_as_asked(
    place: str, name: str, run: Run, pipe: Pipe, clips: Path, tmp_path: Path
) -> None:
    moment = {"path": str(clips / "h264.mp4"), "start": 0, "end": 0.2, "query": "a <dog>"}
    pipe(moment, {"path": str(tmp_path / "gone.mp4"), "start": 0, "end": 1, "query": "a <dog>"}, moment)
    ran = run("export", "--clips", tmp_path / place, "--join")
    assert (ran.code, ran.err) == (3, f"Error: {tmp_path / 'gone.mp4'} is not there.\n")
    assert Path(ran.out.strip()).name == name
    assert probe(Path(ran.out.strip())).duration == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--copy", "--timeline", "a.csv"], "--copy needs --clips FOLDER"),
        (["--join", "--timeline", "a.csv"], "--join needs --clips FOLDER"),
        (["--join", "--copy", "--clips", "out"], "Give either --copy or --join"),
        (["--clips", "out", "--pad", "-1"], "--pad"),
        (["--clips", "out", "--pad", "nan"], "--pad"),
        (["--clips", "out", "--since", "2024"], "--since needs a query. Give it to the search that finds the moments."),
        (["", "--clips", "out"], "QUERY is empty"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(options: list[str], said: str, run: Run, pipe: Pipe) -> None:
    pipe("")
    ran = run("export", *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_ctrl_c_leaves_no_half_file(
    run: Run, pipe: Pipe, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidfind.display import export

    def interrupt(event: object, activity: object) -> None:
        if len(list(tmp_path.iterdir())) == 2:  # the first is whole, and the second is at work
            raise KeyboardInterrupt

    monkeypatch.setattr(export, "_show_progress", interrupt)
    pipe(*[{"path": str(clips / "h264.mp4"), "start": 0, "end": 0.2}] * 3)
    ran = run("export", "--clips", tmp_path)
    assert ran.code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["01 h264 0s-0.2s.mp4"]


def test_a_number_of_moments_is_also_that_of_a_pipe(run: Run, pipe: Pipe, clips: Path, tmp_path: Path) -> None:
    pipe(*[{"path": str(clips / "h264.mp4"), "start": time, "end": time + 0.1} for time in (0, 1, 2)])
    assert len(run("export", "--clips", tmp_path, "-n", "2").out.splitlines()) == 2


def test_a_path_that_is_too_long_fails_alone(run: Run, pipe: Pipe, clips: Path, tmp_path: Path) -> None:
    pipe({"path": "/a" * 5000, "start": 0, "end": 1}, {"path": str(clips / "h264.mp4"), "start": 0, "end": 0.1})
    ran = run("export", "--clips", tmp_path)
    assert (ran.code, len(ran.out.splitlines())) == (3, 1)
