"""Joins a Ray cluster. Ray is imported here and in the other functions of this package when they run, never before."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from vidfind.cluster.options import AUTO
from vidfind.errors import BadInput, BrokenInstallation, ClusterError
from vidfind.system.machine import answers

log = logging.getLogger(__name__)

CLIENT = "ray://"
INSTALL = 'Install it, in your clone of vidfind, with: uv tool install ".[cluster]" (or: uv sync --extra cluster).'
SECONDS_TO_ANSWER = 10.0
SECONDS_TO_LEAVE = 30.0
WATCH_EVERY, MISSED = 1.0, 2
"""Seconds between two looks at whether the first machine answers, and how many in turn it misses before a warning."""
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a cluster that is started here reports to nobody
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else a program started by `uv run` would be copied to all nodes
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",  # a network that is cut for a minute ends no run
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def import_ray() -> Any:
    """Returns the module `ray`. Raises BrokenInstallation if it cannot be imported."""
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    if has_token():  # as `ray start` does; Ray itself does not where it is given an address
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise BrokenInstallation(f"--cluster needs Ray, which is not installed here ({error}). {INSTALL}") from error
    return ray


def has_token() -> bool:
    """Whether this machine has a token for Ray's clusters, in one of the places where Ray looks."""
    named = any(map(os.environ.get, ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")))
    return named or os.path.isfile(os.path.join(os.path.expanduser("~"), ".ray", "auth_token"))


def check_address(address: str) -> tuple[str, int] | None:
    """Returns the host and port of the address of a cluster; None for `auto`. Raises BadInput for what is none."""
    if address == AUTO:
        return None
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16 or "/" in host:
        raise BadInput(f"{address!r} is no address of a cluster: give auto, ray://HOST:PORT or HOST:PORT.")
    return host.strip("[]"), int(port)


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Joins the cluster at an address, and leaves it at the end; one that this process has joined before is kept.

    Raises BadInput for what is no address, BrokenInstallation without Ray, and ClusterError where no cluster can be
    joined."""
    ray = import_ray()
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS") or AUTO
    place = check_address(address)
    if ray.is_initialized():
        yield
        return
    if place:
        _require_answer(address, *place)
    with _quiet():
        try:
            with _own_signals():
                _join(ray, address)
            with watching(*(place or _first_machine(ray))):
                yield
        finally:
            with _own_signals():
                _leave(ray)


def _leave(ray: Any) -> None:
    """Leaves a cluster, in a thread: where its first machine is lost, Ray would wait for minutes, now and at the end of
    the process."""
    leaving = threading.Thread(target=ray.shutdown, name="leave-cluster", daemon=True)
    leaving.start()
    leaving.join(SECONDS_TO_LEAVE)
    if leaving.is_alive():
        atexit.unregister(ray.shutdown)


def _first_machine(ray: Any) -> tuple[str, int]:
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host.strip("[]"), int(port)


@contextmanager
def watching(host: str, port: int) -> Iterator[None]:
    """Warns once when the first machine of the cluster does not answer: Ray may then end the process silently."""
    ended = threading.Event()

    def watch() -> None:
        missed = 0
        while missed < MISSED and not ended.wait(WATCH_EVERY):
            missed = 0 if answers(host, port, SECONDS_TO_ANSWER) else missed + 1
        if missed == MISSED:
            log.warning(
                "The first machine of the cluster does not answer at %s:%d. If it does not come back, this run cannot "
                "be finished: end it with Ctrl-C. What is encoded is kept, and the same command goes on from there.",
                host,
                port,
            )

    threading.Thread(target=watch, name="watch-cluster", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _join(ray: Any, address: str) -> None:
    settings = {"log_to_driver": False, "configure_logging": False}
    try:
        if address != AUTO:
            ray.init(address, **settings)
            return
        # Without an address Ray joins a cluster that `ray start` has begun. By "auto" it would also join one that
        # another run has started for itself, and that ends with that run.
        begun = _begun_cluster()
        if begun and not answers(*begun, SECONDS_TO_ANSWER):  # it does not run any more: Ray would try for minutes
            log.info("no cluster runs on this machine: starting one")
            ray.init("local", include_dashboard=False, **settings)
        else:
            ray.init(include_dashboard=False, **settings)
    except Exception as error:  # RuntimeError, ConnectionError, ValueError and those of Ray and gRPC
        raise ClusterError(_join_problem(address, error)) from error


def _begun_cluster() -> tuple[str, int] | None:
    """Returns the host and port of the cluster that `ray start` began last on this machine; None if there is none."""
    with suppress(Exception):  # nothing public tells it
        from ray._private.services import find_bootstrap_address

        return check_address(find_bootstrap_address(None) or AUTO)
    return None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps the handlers of signals, of which Ray replaces some: ours end a run properly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Ray says about itself off the screen: what concerns a run is said by vidfind."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _require_answer(address: str, host: str, port: int) -> None:
    """Raises ClusterError where nothing listens: Ray itself would try for a minute."""
    try:
        socket.create_connection((host, port), SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise ClusterError(
            f"Nothing answers at {address} ({error.strerror or error}). Is the cluster running? On its first machine: "
            f"ray start --head. A machine outside the cluster joins it by ray://HOST:10001."
        ) from error


def _join_problem(address: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    if "ersion" in said and "ismatch" in said:
        return (
            f"The cluster at {address} has another version of Ray or Python than this machine: {said[:400]}. "
            "Install the same versions on all machines."
        )
    if "authentication" in said.lower() or "token" in said.lower():
        return (
            f"The cluster at {address} wants a token, which this machine does not have, or another one. Copy "
            "~/.ray/auth_token of its first machine to here, and set RAY_AUTH_MODE=token."
        )
    if address != AUTO and not address.startswith(CLIENT):
        return (
            f"The cluster at {address} cannot be joined: {said[:400]}. HOST:PORT works on machines of the cluster "
            "alone; from others, give ray://HOST:10001. If the cluster wants a token, set RAY_AUTH_MODE=token."
        )
    return f"The cluster at {address} cannot be joined: {said[:400]}"
