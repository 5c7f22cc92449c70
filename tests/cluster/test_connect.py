"""What users are told where no cluster can be joined, and that nothing of Ray is loaded unless it is asked for."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.waiting import wait_until
from vidfind.cluster import connect
from vidfind.cluster.crew import Shape, shapes
from vidfind.cluster.options import ClusterOptions


def test_without_cluster_nothing_of_ray_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; import vidfind.index.run, vidfind.cli.index, vidfind.cluster.encode; "
        "sys.exit('ray' in sys.modules or 'grpc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


def test_without_ray_the_extra_is_named(run: Run, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = run("index", made, "--model", "tiny", "--cluster", "auto")
    assert ran.code == 1
    assert 'uv tool install ".[cluster]"' in " ".join(ran.err.split())


@pytest.mark.parametrize("address", ["head", "ray://head", "http://head:10001", "head:70000", "ray://:10001"])
def test_what_is_no_address_is_refused(run: Run, made: Path, address: str) -> None:
    ran = run("index", made, "--cluster", address)
    assert ran.code != 0
    assert "is no address of a cluster: give auto, ray://HOST:PORT or HOST:PORT" in ran.err


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_at_which_nothing_answers_is_named(run: Run, made: Path, scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
    ran = run("index", made, "--model", "tiny", "--cluster", address)
    assert ran.code == 1
    assert f"Nothing answers at {address}" in ran.err and "ray start --head" in ran.err


def test_a_first_machine_that_is_lost_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connect, "WATCH_EVERY", 0.01)
    first = socket.create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    with connect.watching("127.0.0.1", port):
        first.accept()[0].close()  # it is asked, and answers
        assert not caplog.messages
        first.close()
        wait_until(lambda: bool(caplog.messages))
    (said,) = dict.fromkeys(caplog.messages)
    assert f"does not answer at 127.0.0.1:{port}. If it does not come back, this run cannot be finished" in said


def test_a_dry_run_refuses_what_is_no_address(run: Run, made: Path) -> None:
    ran = run("index", made, "--cluster", "head", "--dry-run")
    assert (ran.code != 0, "is no address of a cluster" in ran.err) == (True, True)


def test_auto_is_the_address_in_the_environment_of_ray(run: Run, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    ran = run("index", made, "--model", "tiny", "--cluster", "auto")
    assert ran.code == 1
    assert f"Nothing answers at {address}" in ran.err


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="where Ray notes the cluster that was begun last")
def test_auto_starts_a_cluster_where_the_one_that_was_begun_last_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "from vidfind.cluster.connect import import_ray, joined; ray = import_ray()\n"
        "with joined('auto'): print(len(ray.nodes()))"
    )
    # A short path: the names of Ray's sockets are in it.
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        noted = Path(folder, "ray", "ray_current_cluster")
        noted.parent.mkdir()
        noted.write_text(f"127.0.0.1:{free.getsockname()[1]}")
        monkeypatch.setenv("RAY_TMPDIR", folder)
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (ran.returncode, ran.stdout.strip()) == (0, "1"), ran.stderr


@pytest.mark.parametrize("other", ["--watch", "--battery"])
def test_options_of_this_machine_do_not_go_with_a_cluster(run: Run, made: Path, other: str) -> None:
    ran = run("index", made, "--cluster", "auto", other)
    assert ran.code == 2
    assert f"Give either --cluster or {other}." in ran.err


@pytest.mark.parametrize(
    ("cores", "gpus", "options", "expected"),
    [
        (16, 2, {}, [Shape(8, 1)] * 2),
        (16, 2, {"device": "cpu"}, [Shape(4, 0)] * 4),
        (6, 0, {}, [Shape(3, 0)] * 2),
        (1, 0, {}, [Shape(1, 0)]),
        (8, 0, {"cores": 8}, [Shape(8, 0)]),
        (8, 0, {"device": "cuda"}, []),
        (0, 0, {}, []),
        (0, 1, {}, [Shape(0, 1)]),
    ],
)
def test_a_node_has_a_process_for_each_gpu_or_for_some_cores(
    cores: int, gpus: int, options: dict[str, object], expected: list[Shape]
) -> None:
    assert shapes({"CPU": cores, "GPU": gpus}, ClusterOptions(**options)) == expected  # type: ignore[arg-type]
