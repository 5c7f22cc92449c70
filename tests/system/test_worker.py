from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import faulty
from tests.support.waiting import wait_until
from vidfind.errors import DecoderLost, UnreadableVideo
from vidfind.system import worker
from vidfind.system.worker import Worker, borrow_worker

# Far longer than anything here takes, on however busy a machine.
LONG = 60.0
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")


@pytest.fixture
def one() -> Iterator[Worker]:
    """A worker of the pool, as the pipelines use it: the tests share its process as long as it lasts."""
    with borrow_worker() as borrowed:
        yield borrowed


def test_what_is_yielded_arrives_in_order_and_the_process_is_used_again(one: Worker) -> None:
    first, second = (list(one.run(faulty.count, 5, seconds=LONG)) for _ in range(2))
    assert [number for _, number in first] == list(range(5))
    assert first == second
    assert {pid for pid, _ in first} == {one.pid} != {os.getpid()}


def test_relative_paths_begin_where_the_parent_is_now(
    one: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "here" not in list(one.run(os.listdir, ".", seconds=LONG))
    (tmp_path / "here").touch()
    monkeypatch.chdir(tmp_path)
    assert list(one.run(os.listdir, ".", seconds=LONG)) == ["here"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("unreadable", UnreadableVideo("is damaged")), ("forbidden", PermissionError(13, "Permission denied", "a.mp4"))],
)
def test_what_is_raised_is_raised_here_and_the_process_lives_on(one: Worker, kind: str, error: Exception) -> None:
    results = one.run(faulty.refuse, kind, seconds=LONG)
    assert next(results) == 1
    pid = one.pid
    with pytest.raises(type(error)) as raised:
        next(results)
    assert (raised.value.args, one.pid) == (error.args, pid)


def test_an_error_that_cannot_be_sent_is_told_by_its_name(one: Worker) -> None:
    with pytest.raises(RuntimeError, match="Unpicklable: 1 and 2"):
        list(one.run(faulty.refuse, "other", seconds=LONG))


@posix
@pytest.mark.parametrize(("fault", "reason"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("leave", "exit code 7")])
def test_a_crash_is_told_by_its_kind_and_the_process_replaced(one: Worker, fault: str, reason: str) -> None:
    results = one.run(faulty.fail, fault, seconds=LONG)
    assert next(results) == 1
    before = one.pid
    with pytest.raises(DecoderLost, match=reason):
        next(results)
    assert {pid for pid, _ in one.run(faulty.count, 1, seconds=LONG)} != {before}


@posix
@pytest.mark.parametrize("fault", ["hang", "spin", "stop"])
def test_a_process_that_hangs_is_ended_and_replaced(one: Worker, fault: str) -> None:
    list(one.run(faulty.count, 1, seconds=LONG))
    process = psutil.Process(one.pid)
    with pytest.raises(DecoderLost, match="nothing came of it in 1 seconds"):
        list(one.run(faulty.fail, fault, seconds=1.0))
    process.wait(LONG)
    assert len(list(one.run(faulty.count, 2, seconds=LONG))) == 2


def test_a_process_that_eats_memory_is_ended_and_replaced(one: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_MEMORY", 2**29)
    with pytest.raises(DecoderLost, match="more than 0 GB of memory"):
        list(one.run(faulty.fail, "eat", seconds=LONG))
    assert len(list(one.run(faulty.count, 2, seconds=LONG))) == 2


def test_a_process_that_has_grown_is_replaced_before_its_next_work(
    one: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MAX_IDLE_MEMORY", 2**29)
    [small] = one.run(faulty.grow, 2**10, seconds=LONG)
    [grown] = one.run(faulty.grow, 2**30, seconds=LONG)
    [replaced] = one.run(faulty.grow, 2**10, seconds=LONG)
    assert small == grown != replaced


def test_what_libraries_print_is_kept_and_not_shown(one: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    list(one.run(faulty.print_much, seconds=LONG))
    assert one.noise().endswith("last\x1b[31m words")
    assert len(one.noise()) <= worker.NOISE
    list(one.run(faulty.count, 1, seconds=LONG))
    assert one.noise() == ""
    assert capfd.readouterr() == ("", "")


def test_what_modules_log_is_logged_here(one: Worker, tmp_path: Path) -> None:
    from vidfind.media.decoding import probe

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("vidfind")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    (tmp_path / "noise.ts").write_bytes(b"\x47" + bytes(187) * 50)
    try:
        with pytest.raises(UnreadableVideo):
            probe(tmp_path / "noise.ts")
        list(one.run(_log, "a word", seconds=LONG))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert "a word" in said


def _log(text: str) -> Iterator[int]:
    logging.getLogger("vidfind.media.read").debug("%s", text)
    yield 1


def test_leaving_early_ends_what_is_at_work(one: Worker) -> None:
    results = one.run(faulty.fail, "hang", seconds=LONG)
    next(results)
    process = psutil.Process(one.pid)
    results.close()
    process.wait(LONG)
    assert one.pid is None


@posix
def test_ctrl_c_is_for_the_parent_alone(one: Worker) -> None:
    [(pid, _)] = one.run(faulty.count, 1, seconds=LONG)
    os.kill(pid, signal.SIGINT)
    assert list(one.run(faulty.count, 1, seconds=LONG)) == [(pid, 0)]


PARENT = """
import sys
sys.path.insert(0, {root!r})
from tests.support import faulty
from vidfind.system.worker import Worker
one = Worker()
list(one.run(faulty.count, 1, seconds=60.0))
print(one.pid, flush=True)
print(*one.run(faulty.{call}, seconds={seconds}))
"""


def parent(call: str, seconds: float) -> subprocess.Popen[str]:
    script = PARENT.format(root=str(Path(__file__).parents[2]), call=call, seconds=seconds)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)


@posix
def test_time_in_which_all_was_stopped_does_not_count(tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    with parent(f"work, {str(begun)!r}, {str(go)!r}", seconds=3.0) as process:
        assert process.stdout
        wait_until(begun.exists)
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(4)
        go.touch()
        os.killpg(process.pid, signal.SIGCONT)
        process.stdout.readline()
        assert process.stdout.read() == "done\n"
    assert process.returncode == 0


def test_a_worker_that_is_started_ahead_is_the_one_that_is_borrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_idle", [])
    worker.start_ahead(1, "colorsys")
    [ahead] = worker._idle
    worker.start_ahead(1, "no_such_module")
    assert worker._idle == [ahead]
    with borrow_worker() as borrowed:
        borrowed.start()  # waits for the thread that starts it
        process = borrowed.pid
        assert borrowed is ahead and process
        assert list(borrowed.run(_is_imported, "colorsys", seconds=LONG)) == [True]
        assert borrowed.pid == process
        borrowed.end()


def _is_imported(name: str) -> Iterator[bool]:
    yield name in sys.modules


@posix
def test_a_worker_ends_when_its_parent_is_killed() -> None:
    with parent("fail, 'spin'", seconds=LONG) as process:
        assert process.stdout
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        child.wait(LONG)


def test_a_program_that_is_imported_again_by_its_workers_is_told_what_it_lacks(clips: Path, tmp_path: Path) -> None:
    script = f"""from pathlib import Path
from vidfind.media.decoding import probe
probe(Path({str(clips / "h264.mp4")!r}))
"""
    (tmp_path / "unguarded.py").write_text(script)
    done = subprocess.run([sys.executable, tmp_path / "unguarded.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "must do so under `if __name__ == '__main__':`" in done.stderr
