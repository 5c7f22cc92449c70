"""A Ray cluster on this machine whose nodes can be lost, paused and replaced."""

from __future__ import annotations

import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from vidfind.cluster.connect import import_ray

OBJECTS = 80 * 2**20
"""Bytes of each node's object store."""
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


SETTINGS = {"VIDFIND_HOME": "", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
"""Of its environment: no tokens, and as much of a busy machine as the tests themselves have."""


class Nodes:
    """A running cluster. Nodes are called by the names they were started with; the first one cannot be lost."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._nodes: dict[str, Any] = {}
        self.address: str = cluster.address

    def add(self, *names: str, cores: int = 1, environment: Mapping[str, str] | None = None) -> None:
        """Adds nodes; `environment` are variables of theirs alone."""
        others = {"env_vars": {**environment}} if environment else {}
        for name in names:
            self._nodes[name] = _start(self._cluster.add_node, wait=False, node_name=name, num_cpus=cores, **others)
        self._cluster.wait_for_nodes()

    @property
    def names(self) -> list[str]:
        return list(self._nodes)

    def processes(self, name: str) -> list[psutil.Process]:
        """The processes of a node: its raylet, and all that it has started."""
        raylets = [info.process.pid for info in self._nodes[name].all_processes["raylet"]]
        found = []
        for pid in raylets:
            with suppress(psutil.NoSuchProcess):
                raylet = psutil.Process(pid)
                found += [raylet, *raylet.children(recursive=True)]
        return found

    def workers(self, name: str) -> list[psutil.Process]:
        """The processes of a node that encode."""
        found = []
        for process in self.processes(name):
            with suppress(psutil.Error):
                if "NodeProcess" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def kill_node(self, name: str) -> None:
        """Kills a node at once, as a power cut does."""
        for process in self.processes(name):
            with suppress(psutil.Error):
                process.kill()
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)

    def kill_first(self) -> None:
        """Kills what only the first machine runs: the process that knows the nodes. No run can join afterwards."""
        for info in self._cluster.head_node.all_processes["gcs_server"]:
            psutil.Process(info.process.pid).kill()

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """A node whose processes are all stopped, as when its machine hangs or its cable is out."""
        stopped = self.processes(name)
        for process in stopped:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)


def _start(add_node: Callable[..., Any], **settings: Any) -> Any:
    """Starts a node. On a busy machine Ray loses patience after 30 seconds: it is tried again."""
    for _ in range(4):
        with suppress(Exception):
            return add_node(**settings, **_small())
    return add_node(**settings, **_small())


def _small() -> dict[str, Any]:
    """What all nodes have in common: as few processes and as little memory as there can be. Ray ends a node whose
    helpers do not say within 15 seconds which ports they took, so they are given theirs."""
    ports: dict[str, int] = {}
    with ExitStack() as stack:
        for name in PORTS:
            one = stack.enter_context(socket.socket())
            one.bind(("", 0))
            ports[name] = one.getsockname()[1]
    return {"object_store_memory": OBJECTS, "include_dashboard": False, "include_log_monitor": False, **ports}


@contextmanager
def starting(names: Sequence[str], home: Path) -> Iterator[Nodes]:
    """Starts a cluster with these nodes of one core, which keep what they cache in `home`, and ends it."""
    ray = import_ray()
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ |= SETTINGS | {"VIDFIND_HOME": str(home)}
    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        _start(cluster.add_node, num_cpus=0, node_name="head")
        try:
            nodes = Nodes(cluster)
            nodes.add(*names)
            yield nodes
        finally:
            ray.shutdown()
            cluster.shutdown()  # type: ignore[no-untyped-call]
            signal.signal(signal.SIGTERM, handler)
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
