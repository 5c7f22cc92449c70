"""A Ray cluster on this machine whose nodes can be lost, paused and replaced."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from vidfind.cluster.connect import import_ray

OBJECTS = 80 * 2**20
"""Bytes of each node's object store."""


class Nodes:
    """A running cluster. Nodes are called by the names they were started with; the first one cannot be lost."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._nodes: dict[str, Any] = {}
        self.address: str = cluster.address

    def add(self, *names: str) -> None:
        for name in names:
            self._nodes[name] = self._cluster.add_node(
                wait=False, num_cpus=1, object_store_memory=OBJECTS, node_name=name, include_dashboard=False
            )
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


@contextmanager
def starting(names: Sequence[str], home: Path) -> Iterator[Nodes]:
    """Starts a cluster with these nodes of one core, which keep what they cache in `home`, and ends it."""
    ray = import_ray()
    before = {name: os.environ.get(name) for name in ("VIDFIND_HOME", "RAY_AUTH_MODE")}
    os.environ |= {"VIDFIND_HOME": str(home), "RAY_AUTH_MODE": "disabled"}
    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": OBJECTS, "include_dashboard": False, "node_name": "head"}
        cluster = Cluster(initialize_head=True, head_node_args=head)
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
