"""The nodes of a cluster at work for a run: which processes run where, and which have been lost.

A seat is a process on a node with an encoder of its own: one for each GPU, or for some cores. Knows nothing of what the
seats do.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from operator import itemgetter
from typing import Any

from vidfind.cluster.options import CORES, ClusterOptions
from vidfind.system.machine import running_clock

log = logging.getLogger(__name__)

ENDING = 10.0
STARTS = 2
"""How often a process may fail to start on a node before the node is left out."""


@dataclass(frozen=True)
class Shape:
    """The cores and GPUs of one process on a node."""

    cores: int
    gpus: int


@dataclass(eq=False)
class Node:
    """A machine of the cluster."""

    id: str
    name: str
    shapes: list[Shape]
    left_out: str = ""
    """Why nothing is given to it any more."""
    failed_starts: int = 0
    done: int = 0
    """Number of videos that it has encoded."""
    unread: int = 0
    """Number of videos in turn that it could not read, before it has read any."""


@dataclass(eq=False)
class Seat:
    """A process on a node, and the videos it is at."""

    node: Node
    shape: Shape
    actor: Any
    room: int
    """How many videos it has at a time: one more than it decodes, so that it never waits for this machine."""
    heard: float
    """The time at which it last answered."""
    is_ready: bool = False
    is_asked: bool = False
    """Whether it has been asked how far it is, and has not answered."""
    videos: dict[Any, Any] = field(default_factory=dict)


MakeActor = Callable[[str, Shape, int], Any]
"""Starts a process on the node with this id, with a shape, for so many videos at a time."""


class Crew:
    """The nodes of the cluster, and the seats on them."""

    def __init__(self, options: ClusterOptions, make_actor: MakeActor) -> None:
        self.nodes: dict[str, Node] = {}
        """Those that are there, by their ids."""
        self.seats: list[Seat] = []
        self._options, self._make_actor = options, make_actor
        self._demand = 0
        self._threads: list[threading.Thread] = []
        """In which Ray is told something."""

    @property
    def usable(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.shapes and not node.left_out]

    def look(self, described: Sequence[Mapping[str, Any]], wanted: int) -> list[Seat]:
        """Takes the nodes as Ray describes them now, and fills up to `wanted` seats. Returns the seats of nodes that
        are gone."""
        alive = {one["NodeID"]: one for one in described if one["Alive"]}
        for gone in self.nodes.keys() - alive.keys():
            log.warning("The node %s has left the cluster.", self.nodes[gone].name)
            del self.nodes[gone]
        names = Counter(_plain_name(one) for one in alive.values())
        for key, one in alive.items():
            if key not in self.nodes:
                name = _plain_name(one)
                name = f"{name} ({key[:6]})" if names[name] > 1 else name
                self.nodes[key] = Node(key, name, shapes(one["Resources"], self._options))
        lost = [seat for seat in self.seats if seat.node.id not in self.nodes]
        room = [
            (nth, node, shape)
            for node in self.usable
            for here in [Counter(seat.shape for seat in self.seats if seat.node is node)]
            for nth, shape in enumerate((Counter(node.shapes) - here).elements(), here.total())
        ]
        # The first seat of each node before the second of any: few videos are spread over the nodes.
        for _, node, shape in sorted(room, key=itemgetter(0))[: max(0, wanted - len(self.seats) + len(lost))]:
            self._seat(node, shape)
        return lost

    def leave(self, seat: Seat) -> None:
        """Ends the process of a seat, which is lost, or is not needed any more."""
        if seat in self.seats:
            self.seats.remove(seat)
        import ray

        self._in_thread(lambda: ray.kill(seat.actor))

    def leave_out(self, node: Node, reason: str) -> list[Seat]:
        """Gives nothing to a node from now on; returns its seats, whose videos others must take."""
        if not node.left_out:
            log.warning("The node %s is left out of this run: %s", node.name, reason)
        node.left_out = reason
        return [seat for seat in self.seats if seat.node is node]

    def close(self) -> None:
        """Ends all processes. Takes ENDING seconds at most."""
        for seat in list(self.seats):
            self.leave(seat)
        self.ask_for(0)
        end = running_clock().now() + ENDING
        for thread in self._threads:
            thread.join(max(0.0, end - running_clock().now()))

    def ask_for(self, seats: int) -> None:
        """Tells the autoscaler of the cluster, if it has one, for how many seats there is work."""
        if seats == self._demand:
            return
        import ray

        self._demand = seats
        self._in_thread(lambda: ray.remote(num_cpus=0)(_request).remote([_bundle(self._options)] * seats))

    def _in_thread(self, work: Callable[[], object]) -> None:
        """Begins something that may fail: a process is gone already, or there is no autoscaler.

        Where the first machine of the cluster is lost, Ray waits for minutes."""

        def run() -> None:
            with suppress(Exception):
                work()

        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=run, name="tell-ray", daemon=True))
        self._threads[-1].start()

    def _seat(self, node: Node, shape: Shape) -> None:
        room = (self._options.decoders or max(1, shape.cores)) + 1
        actor = self._make_actor(node.id, shape, room)
        self.seats.append(Seat(node, shape, actor, room, running_clock().now()))


def shapes(resources: Mapping[str, float], options: ClusterOptions) -> list[Shape]:
    """Returns the processes for a node with these resources: one for each GPU, or for some cores."""
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if gpus and options.device != "cpu":
        return [Shape(cores // gpus, 1)] * gpus
    if not cores or options.device not in ("auto", "cpu"):
        return []
    count = ceil(cores / (options.cores or CORES))
    return [Shape(cores // count, 0)] * count


def _bundle(options: ClusterOptions) -> dict[str, float]:
    return {"CPU": 1, "GPU": 1} if options.device not in ("auto", "cpu") else {"CPU": options.cores or 1}


def _request(bundles: list[dict[str, float]]) -> None:
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=bundles)


def _plain_name(described: Mapping[str, Any]) -> str:
    """Returns the name that a node was given, or that of its machine."""
    name = str(described.get("NodeName") or "")
    return name if name and name != described.get("NodeManagerAddress") else str(described["NodeManagerHostname"])
