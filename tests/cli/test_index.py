"""`vidfind index` as a process that stays: it follows folders, waits for others, is stopped and goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

import vidfind.index.watch
from tests.support.ran import Ran, Run
from tests.support.small_adapters import save_adapter
from tests.support.waiting import wait_until
from vidfind.cli.app import main
from vidfind.demo.collection import draw_collection
from vidfind.media.write import write_video
from vidfind.models import load as registry
from vidfind.store.settings import is_index
from vidfind.store.store import Store
from vidfind.system import machine
from vidfind.system.paths import adapter_path

LONG_AGO = 1_600_000_000
TINY = ("--model", "tiny", "--device", "cpu")
FILMS = ("clip-1.mp4", "clip-2.mp4", "clip-3.mp4")
Step = tuple[Callable[[], object], Callable[[Store], bool]]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of three drawn videos from long ago, one of them in a folder within."""
    folder = tmp_path / "films"
    paths = [path for path, _ in draw_collection(folder, 3)]
    (folder / "inner").mkdir()
    paths.append(paths.pop().rename(folder / "inner" / "clip-3.mp4"))
    for path in paths:
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


@pytest.fixture
def watch(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`vidfind index --watch` inside this process, with a short settling time.

    Takes steps: what is done, and what is true of the index when the next step may come. The last is Ctrl-C, a second
    later: what is told until then is told too often."""
    monkeypatch.setattr(vidfind.index.watch, "watch_videos", partial(vidfind.index.watch.watch_videos, settling=0.4))
    index = tmp_path / "home" / "indexes" / "default"
    has_ended = threading.Event()

    def act(steps: Sequence[Step]) -> None:
        for do, has_come in steps:
            do()
            while not (is_index(index) and has_come(Store.open(index))) and not has_ended.wait(0.05):
                pass
        if not has_ended.wait(1.0):
            signal.raise_signal(signal.SIGINT)

    def watch(*arguments: object, steps: Sequence[Step]) -> Ran:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        thread = threading.Thread(target=act, args=(steps,))
        thread.start()
        try:
            return run("index", "--watch", *arguments)
        finally:
            has_ended.set()
            thread.join()
            signal.signal(signal.SIGINT, before)

    return watch


def nothing() -> None:
    pass


def holds(*names: str) -> Callable[[Store], bool]:
    return lambda store: {path.name for path in store.videos()} == set(names)


def has_told(text: str, times: int = 1) -> Callable[[object], bool]:
    return lambda _: shown(sys.stdout).count(text) >= times


def shown(stream: Any) -> str:
    """What pytest has captured of a stream up to now."""
    text: str = stream.getvalue()
    return text


# watch


def test_a_watched_folder_is_indexed_and_what_changes_is_told(watch: Callable[..., Ran], films: Path) -> None:
    def change() -> None:
        (films / "inner").rename(films / "renamed")
        (films / "clip-1.mp4").unlink()
        (films / "broken.mp4").write_text("no video at all")
        (films / "notes.txt").write_text("no video either")

    steps = [
        (nothing, holds(*FILMS)),
        (change, holds("broken.mp4", "clip-2.mp4", "clip-3.mp4")),
        ((films / "broken.mp4").unlink, has_told('"status": "removed"', 2)),
        (nothing, lambda _: "summary" in shown(sys.stdout).splitlines()[-1]),
    ]
    ran = watch(films, *TINY, "--json", steps=steps)
    lines = [json.loads(line) for line in ran.out.splitlines()]
    told = [(Path(line["path"]).name, line["status"]) if "path" in line else "summary" for line in lines]
    assert ran.code == 130
    assert (told[3], told[-1]) == ("summary", "summary")
    told = [line for line in told if line != "summary"]  # of which a busy machine may make more than three runs
    assert {*told[:3]} == {(name, "new") for name in FILMS}
    assert {*told[3:6]} == {("clip-1.mp4", "removed"), ("clip-3.mp4", "moved"), ("broken.mp4", "failed")}
    assert told[6:] == [("broken.mp4", "removed")]


def test_later_runs_print_one_line_with_the_time(watch: Callable[..., Ran], films: Path) -> None:
    ran = watch(films, *TINY, steps=[(nothing, holds(*FILMS)), ((films / "clip-1.mp4").unlink, has_told("removed"))])
    first, later = ran.out.splitlines()
    assert first.startswith("3 new: ")
    clock, _, text = later.partition("  ")
    assert time.strptime(clock, "%H:%M:%S")
    assert text == "1 removed."
    assert ran.err.splitlines() == ["Watching 1 folder for changes. Ctrl-C ends it.", "Stopped watching."]


def test_folders_that_go_and_come_are_told_and_so_is_what_was_changing_at_first(
    watch: Callable[..., Ran], films: Path
) -> None:
    os.utime(films / "clip-1.mp4", (time.time() + 3600,) * 2)  # changed a moment ago, however long the start takes

    def go_and_come() -> None:
        away = films.rename(films.with_name("away"))
        wait_until(lambda: "is not there now" in shown(sys.stderr))
        away.rename(films)
        wait_until(lambda: "is there again" in shown(sys.stderr))

    ran = watch(films, *TINY, steps=[(nothing, holds(*FILMS)), (go_and_come, holds(*FILMS))])
    first, watching, gone, back, _ = ran.err.splitlines()
    assert first == "1 file just changed: indexed when that is over."
    assert watching.startswith("Watching 1 folder")
    assert gone.partition("  ")[2] == f"{films} is not there now: its videos stay in the index."
    assert back.partition("  ")[2] == f"{films} is there again."


def test_an_index_that_is_busy_is_tried_again(watch: Callable[..., Ran], run: Run, films: Path, tmp_path: Path) -> None:
    assert run("index", films, *TINY).code == 0
    with ExitStack() as busy:
        busy.enter_context(Store.open(tmp_path / "home" / "indexes" / "default").writing())
        (films / "clip-1.mp4").unlink()

        def complaint_then_free() -> None:
            wait_until(lambda: "Trying again" in shown(sys.stderr))
            busy.close()

        steps = [(complaint_then_free, holds("clip-2.mp4", "clip-3.mp4"))]
        ran = watch(films, steps=[*steps, (nothing, lambda _: "Watching" in shown(sys.stderr))])
    assert (ran.code, ran.out) == (130, "2 unchanged, 1 removed.\n")
    complaint, *rest = ran.err.splitlines()
    assert "Another vidfind is writing to the index 'default'" in complaint
    assert complaint.endswith("Trying again until that works.")
    assert rest == ["Watching 1 folder for changes. Ctrl-C ends it.", "Stopped watching."]


def test_the_model_is_not_loaded_while_there_is_nothing_to_encode(
    watch: Callable[..., Ran], run: Run, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("index", films, *TINY).code == 0
    monkeypatch.setattr(registry, "load_choice", lambda *_: pytest.fail("it was loaded"))
    steps = [(nothing, holds(*FILMS)), ((films / "clip-1.mp4").unlink, has_told("1 removed"))]
    assert watch(films, steps=steps).code == 130


def test_an_adapter_asked_for_is_in_use_once_no_video_is_changing(
    watch: Callable[..., Ran], run: Run, films: Path
) -> None:
    assert run("index", films, *TINY).code == 0
    save_adapter(adapter_path("home"))
    os.utime(films / "clip-1.mp4", (time.time() + 3600,) * 2)  # changed a moment ago, however long the start takes
    ran = watch("--adapter", "home", steps=[(nothing, has_told("1 changed"))])
    first, later = ran.out.splitlines()
    assert first.startswith("2 changed: ")
    assert "  1 changed: " in later
    assert "Searches of the index 'default' use the new vectors now, made with the adapter home." in ran.err


@pytest.mark.parametrize("arguments", [["--watch"], ["--watch", "--force", "."], ["--workers", "0", "."]], ids=" ".join)
def test_what_makes_no_sense_is_wrong_usage(run: Run, arguments: list[str]) -> None:
    assert run("index", *arguments).code == 2


# Nothing to do


def test_the_time_that_a_run_says_begins_with_enter(
    run: Run, films: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("status")  # which prepares a home
    monkeypatch.setattr(sys, "argv", ["vidfind", "index", str(films), *TINY, "--json"])
    with pytest.raises(SystemExit):
        main(time.monotonic() - 500)  # so long ago was it started
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    assert 500 < summary["elapsed"] < 600


@pytest.mark.parametrize("words", [["index", "."], ["search", "dog"], ["status"], ["list"], ["demo"], ["remove", "a"]])
def test_a_home_that_is_a_file_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("VIDFIND_HOME", str(file))
    ran = run(*words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"Error: VIDFIND_HOME is {file}, which is a file. Set it to a folder.\n"


def test_a_folder_without_videos_needs_no_model(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = run("index", tmp_path / "empty", "--model", "ViT-B-99")
    assert (ran.code, ran.out, ran.err) == (0, "No videos found.\n", "")
    assert not (tmp_path / "home").exists()


# How much of the machine


def test_files_that_look_unchanged_are_compared_when_asked(run: Run, films: Path) -> None:
    run("index", films, *TINY)
    content = bytearray((films / "clip-2.mp4").read_bytes())
    content[-1] ^= 1
    (films / "clip-2.mp4").write_bytes(content)
    os.utime(films / "clip-2.mp4", (LONG_AGO, LONG_AGO))
    assert run("index", films).out == "3 unchanged.\n"
    assert "1 changed, 2 unchanged" in run("index", films, "--verify").out


def test_a_run_on_battery_waits_for_mains(run: Run, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, False, True, False, False])
    asked = []

    def sensors_battery() -> SimpleNamespace:
        asked.append(next(answers, True))
        return SimpleNamespace(power_plugged=asked[-1])

    monkeypatch.setattr(psutil, "sensors_battery", sensors_battery, raising=False)
    monkeypatch.setattr(machine, "SECONDS_ON_BATTERY", 0.01)
    ran = run("index", films, *TINY, "--battery")
    assert (ran.code, ran.out.split(":")[0]) == (0, "3 new")
    assert asked[:5] == [False, False, True, False, False]
    assert len(asked) > 5  # before each batch


def test_without_battery_asked_for_nobody_asks(run: Run, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: pytest.fail("it was asked"), raising=False)
    assert run("index", films, *TINY).code == 0


def test_the_model_and_the_readers_take_as_much_as_they_may(run: Run, films: Path) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        ran = run("index", films, *TINY, "--threads", before + 1, "--workers", "1")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert (ran.code, ran.out.split(":")[0]) == (0, "3 new")


@pytest.mark.skipif(os.name == "nt", reason="priorities are others there")
def test_a_nice_run_lets_others_go_first() -> None:
    script = (
        "import os, sys\nfrom vidfind.cli.app import main\nsys.argv = ['vidfind', 'index', '--nice']\n"
        "try: main()\nfinally: print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "19\n"


# Ctrl-Z


@pytest.fixture
def long_film(tmp_path: Path) -> Path:
    """A video of 20 minutes, to have time to stop."""
    folder = tmp_path / "long"
    folder.mkdir()
    colours = np.random.default_rng(1).integers(0, 256, (1200, 1, 1, 3), np.uint8)
    write_video(folder / "long.mp4", np.broadcast_to(colours, (1200, 64, 96, 3)), 1)
    return folder


@pytest.mark.skipif(os.name == "nt" or not shutil.which("bash"), reason="needs a shell that stops and wakes its jobs")
def test_ctrl_z_gives_the_terminal_back_and_fg_goes_on(run: Run, long_film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = f"{sys.executable} -m vidfind index {long_film} --model tiny --device cpu --json > {out}"
    script = f"set -m; {command}; echo stopped $?; sleep 1; fg > {os.devnull}; echo ended $?"
    ours, its = os.openpty()
    environment = {**os.environ, "VIDFIND_HOME": str(tmp_path / "home"), "TERM": "xterm", "COLUMNS": "100"}
    terminal: dict[str, Any] = {"stdin": its, "stdout": its, "stderr": its, "preexec_fn": lambda: os.login_tty(its)}
    shell = subprocess.Popen(["bash", "-c", script], env=environment, **terminal)
    os.close(its)
    shown = b""
    is_stopped = False
    with suppress(OSError):  # so a terminal ends when nobody writes to it any more
        while part := os.read(ours, 1000):
            shown += part
            if b"real time" in shown and not is_stopped:
                is_stopped = os.write(ours, b"\x1a") == 1
    os.close(ours)
    assert shell.wait() == 0
    before, after = shown.split(b"stopped 148\r\n")
    assert before.rfind(b"\x1b[?25h") > before.rfind(b"\x1b[?25l")  # the cursor is back
    assert before.split(b"[1]+  Stopped")[0].strip().endswith(b"\x1b[2K")  # and nothing is left of the progress
    assert b"real time" in after  # and drawn again
    assert after.endswith(b"ended 0\r\n")
    assert json.loads(out.read_text().splitlines()[-1])["summary"]["new"] == 1
    (row,) = Store.open(tmp_path / "home" / "indexes" / "default").videos().values()
    assert (row.segments, row.damage) == (120, "")


# Which frames


@pytest.mark.parametrize(("sampling", "off"), [("exact", 0), ("auto", 0.333), ("keyframes", 7.667)])
def test_how_far_frames_lie_from_the_times_wanted_is_told_of_each_video(
    run: Run, clips: Path, sampling: str, off: float
) -> None:
    """The clip has one keyframe, at its start; its 8 s are looked at in 12 parts."""
    ran = run("index", clips / "h264_long_gop.mp4", *TINY, "--sampling", sampling, "--json", "-v")
    assert json.loads(ran.out.splitlines()[0])["off"] == off
    assert (f"frames lie up to {off:.2f} seconds from the times wanted" in ran.err) == (off > 0)


def test_each_run_may_look_at_other_frames(run: Run, films: Path) -> None:
    first = films / "clip-1.mp4"
    assert "1 new" in run("index", first, *TINY, "--sampling", "keyframes").out
    assert "2 new" in run("index", films, *TINY, "--sampling", "exact").out
    assert run("search", "a square", "--json").out.count("\n") == 3
