"""What vidfind takes of the machine, asked of the system itself; only a battery has to be made up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.support.after_torch import RunAfterTorch
from vidfind.system.machine import RunningClock, answers, on_battery

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and priorities are others there")


def printed_by(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


@POSIX
def test_a_lower_priority_holds_for_threads_and_processes_started_later() -> None:
    script = (
        "import os, subprocess, sys, threading\nfrom vidfind.system.machine import lower_priority\nlower_priority()\n"
        "ask = 'import os; print(os.getpriority(os.PRIO_PROCESS, 0), end=\" \")'\n"
        "exec(ask)\n"
        "thread = threading.Thread(target=exec, args=(ask,)); thread.start(); thread.join()\n"
        "sys.stdout.flush(); subprocess.run([sys.executable, '-c', ask])"
    )
    assert printed_by(script) == "19 19 19"


@pytest.mark.skipif(sys.platform != "linux", reason="priorities at the disk are Linux's")
def test_a_lower_priority_holds_at_the_disk_too() -> None:
    script = """import psutil
from vidfind.system.machine import lower_priority
lower_priority()
print(psutil.Process().ionice())"""
    assert "IOPRIO_CLASS_IDLE" in printed_by(script)


def test_the_model_computes_with_the_threads_asked_for(after_torch: RunAfterTorch) -> None:
    script = """import torch
from vidfind.system.machine import use_threads
use_threads(3)
print(torch.get_num_threads())"""
    assert after_torch(script) == "3"


@pytest.mark.parametrize(
    ("battery", "expected"),
    [
        pytest.param(None, False, id="no-battery"),
        pytest.param(SimpleNamespace(power_plugged=True), False, id="mains"),
        pytest.param(SimpleNamespace(power_plugged=False), True, id="battery"),
        pytest.param(SimpleNamespace(power_plugged=None), False, id="unknown"),
    ],
)
def test_a_machine_is_on_battery_only_if_the_system_says_so(
    battery: Any, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert on_battery() is expected


def test_a_system_that_knows_nothing_of_batteries_has_mains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    assert not on_battery()


def test_the_clock_runs_with_the_process() -> None:
    before = time.monotonic()
    clock = RunningClock()
    time.sleep(0.2)
    assert 0.2 <= clock.now() <= time.monotonic() - before


def test_the_clock_does_not_count_pauses() -> None:
    clock = RunningClock()
    with clock.paused():
        before = clock.now()
        time.sleep(0.3)
        within = clock.now()
    assert within == before
    time.sleep(0.1)
    assert clock.now() >= within + 0.1


@POSIX
def test_the_clock_does_not_count_the_time_that_the_process_was_stopped() -> None:
    script = (
        "import time\nfrom vidfind.system.machine import RunningClock\n"
        "clock, before = RunningClock(tick=0.1, longest=1.0), time.monotonic()\n"
        "print('running', flush=True)\ninput()\nprint(time.monotonic() - before - clock.now())"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate("\n")
    assert float(out) > 1.5


def test_a_server_that_takes_connections_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert answers("127.0.0.1", port, 60.0)
    assert not answers("127.0.0.1", port, 60.0)  # refused at once
    assert not answers("no.such.machine.invalid", 80, 0.05)
