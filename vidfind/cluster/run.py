"""A run over videos on the nodes of a cluster: who has which, and what is left.

This process hands out one video at a time, and takes each result once: a video whose node or process is lost is handed
out again, alone, and fails after TRIES. Times are in seconds.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vidfind.cluster.connect import INSTALL, import_ray
from vidfind.cluster.crew import STARTS, Crew, MakeActor, Node, Seat
from vidfind.cluster.options import ClusterOptions
from vidfind.encoders.stream import EncodedVideo, FailedVideo, Progress, Totals
from vidfind.errors import ClusterError, VidfindError
from vidfind.store.places.maps import stored_path
from vidfind.system.machine import running_clock

log = logging.getLogger(__name__)
R = TypeVar("R", EncodedVideo, FailedVideo)

TICK = 0.2
LOOK_EVERY = 2.0
"""Between two looks at which nodes there are, and two questions to each process how far it is."""
SILENCE = 90.0
"""A process that does not answer for so long is given up: its node is paused, or the network to it is cut."""
START_SILENCE = 600.0
"""The same while it starts: weights and libraries may come from a slow disk."""
STUCK, STUCK_A_BYTE = 300.0, 1e-6
"""A video of which nothing more is encoded for so long is given up. Its node's own patience with a decoder, which knows
more, ends well before."""
GIVEN_UP = 540.0
"""A first machine that does not answer for so long is lost. A minute later Ray would end this process."""
KEPT_BY_NEXT_RUN = "What is encoded is in the index; the same command goes on from there."
TRIES = 3
"""How often a video is handed out whose processes are lost, and on how many nodes one is tried that cannot be read."""


@dataclass(eq=False)
class _Task:
    """A video to encode."""

    path: Path
    size: int
    losses: list[str] = field(default_factory=list)
    """How each process was lost that had it."""
    crashes: int = 0
    """How many of them ended by themselves, on a node that lived on, and had nothing else: then it is at fault."""
    unread: dict[str, FailedVideo] = field(default_factory=dict)
    """Why it could not be read, by the name of the node."""

    @property
    def patience(self) -> float:
        return STUCK + self.size * STUCK_A_BYTE


@dataclass
class _AtWork:
    """A video on a seat: how far it is, and since when."""

    done: float
    since: float


class Run:
    """A run over videos: who has which, and what is left."""

    def __init__(
        self, sizes: Mapping[Path, int], options: ClusterOptions, make_actor: MakeActor, weights: Path | None
    ) -> None:
        self._ray = import_ray()
        self._crew = Crew(options, make_actor)
        self._weights_file, self._weights = weights, None
        # The largest first: one of them begun last would keep a single node at work.
        self._waiting = deque(_Task(path, sizes[path]) for path in sorted(sizes, key=sizes.__getitem__, reverse=True))
        self._again: list[_Task] = []
        """Those that were handed out before, which go first."""
        self._left = len(sizes)
        self._totals = Totals(dict(sizes))
        self._lengths: dict[Path, float] = {}
        self._answers: queue.SimpleQueue[tuple[Callable[[Any, Exception | None], Iterator[Any]], Future[Any]]]
        self._answers = queue.SimpleQueue()
        self._looked = -LOOK_EVERY
        self._asks_for_nodes, self._knew_nodes_at = False, running_clock().now()
        """Whether Ray is asked which nodes there are, and when it last said so."""
        self._usable_at = running_clock().now()
        self._is_told = False
        self._last: Path | None = None

    def events(self) -> Generator[EncodedVideo | FailedVideo | Progress]:
        """Yields the videos as they are done, and Progress."""
        try:
            while self._left:
                now = running_clock().now()
                if now - self._looked >= LOOK_EVERY:
                    self._looked = now
                    self._ask_for_nodes(now)
                    yield from self._look(now)
                    if self._last:
                        yield self._progress(self._last)
                yield from self._hand_out()
                yield from self._settle()
        finally:
            self._crew.close()

    # Nodes

    def _ask_for_nodes(self, now: float) -> None:
        """Asks which nodes there are, in a thread: where the first machine is lost, Ray waits for minutes."""
        if self._asks_for_nodes:
            if now - self._knew_nodes_at > GIVEN_UP:
                raise ClusterError(f"The first machine of the cluster does not answer any more. {KEPT_BY_NEXT_RUN}")
            return
        self._asks_for_nodes = True
        answer: Future[Any] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._ray.nodes())
            except Exception as error:  # of many kinds; raised in the thread of the run
                answer.set_exception(error)
            self._answers.put((self._take_nodes, answer))

        threading.Thread(target=ask, name="ask-for-nodes", daemon=True).start()

    def _take_nodes(self, nodes: Sequence[Mapping[str, Any]], error: Exception | None) -> Iterator[FailedVideo]:
        if error:
            raise error
        self._asks_for_nodes, self._knew_nodes_at = False, running_clock().now()
        for seat in self._crew.look(nodes, self._left + self._useless_seats()):
            yield from self._lose(seat, f"the node {seat.node.name} left the cluster")
        seats = len(self._crew.seats)
        self._crew.ask_for(2 * seats + 1 if self._left > seats else 0)
        yield from self._look(self._knew_nodes_at)
        if self._crew.usable:
            self._usable_at = self._knew_nodes_at
            return
        is_left_out = any(node.left_out for node in self._crew.nodes.values())
        if is_left_out or self._knew_nodes_at - self._usable_at > START_SILENCE:
            raise ClusterError(_no_node(list(self._crew.nodes.values())))
        if not self._is_told:
            self._is_told = True
            log.warning("No node of the cluster has a core or GPU to give now: waiting for one.")

    def _look(self, now: float) -> Iterator[FailedVideo]:
        """Asks each process how far it is, and gives up those that have not answered for too long."""
        for seat in list(self._crew.seats):
            if not seat.is_asked:
                self._ask(seat)
            limit = SILENCE if seat.is_ready else START_SILENCE
            if now - seat.heard > limit and not seat.is_ready:
                self._crew.leave(seat)
                seat.node.failed_starts += 1
                if seat.node.failed_starts >= STARTS:
                    yield from self._leave_out(seat.node, "nothing starts there. Are its cores in use?")
            elif now - seat.heard > limit:
                yield from self._lose(seat, f"the node {seat.node.name} did not answer for {limit:.0f} seconds")
            elif stuck := next((t for t, one in seat.videos.items() if now - one.since > t.patience), None):
                yield from self._lose(seat, f"nothing came of it on {seat.node.name} for {stuck.patience:.0f} seconds")

    def _useless_seats(self) -> int:
        """Returns how many seats are on nodes that could read none of the videos that wait."""
        if self._waiting or not self._again:
            return 0
        unread = set.intersection(*(set(task.unread) for task in self._again))
        return sum(seat.node.name in unread for seat in self._crew.seats)

    def _ask(self, seat: Seat) -> None:
        """Starts the process of a seat, or asks it how far it is."""
        seat.is_asked = True
        if seat.is_ready:
            self._call(seat.actor.progress.remote(), partial(self._heard, seat))
        else:
            self._call(seat.actor.start.remote(), partial(self._started, seat))

    def _call(self, reference: Any, then: Callable[[Any, Exception | None], Iterator[Any]]) -> None:
        """Calls `then` in this thread with the result, or the error, when there is one."""
        reference.future().add_done_callback(lambda future: self._answers.put((then, future)))

    def _started(self, seat: Seat, result: str | None, error: Exception | None) -> Iterator[FailedVideo]:
        if seat not in self._crew.seats:
            return
        if error:
            seat.node.failed_starts += 1
            self._crew.leave(seat)
            if isinstance(_cause(error), VidfindError) or seat.node.failed_starts >= STARTS:
                yield from self._leave_out(seat.node, _start_problem(error))
        elif result is None:
            self._call(seat.actor.start.remote(self._bring_weights()), partial(self._started, seat))
        else:
            seat.is_ready, seat.is_asked, seat.heard = True, False, running_clock().now()

    def _bring_weights(self) -> Any:
        """Puts the weights into the object store, from where each node takes them once."""
        if self._weights is None:
            assert self._weights_file
            self._weights = self._ray.put(np.fromfile(self._weights_file, np.uint8))
        return self._weights

    def _heard(
        self, seat: Seat, result: dict[str, tuple[float, float]], error: Exception | None
    ) -> Iterator[FailedVideo]:
        seat.is_asked = False
        if seat not in self._crew.seats:
            return
        if error:
            if not _is_passing(error):
                yield from self._lose(seat, f"its process on {seat.node.name} was lost", _ended_itself(error))
            return
        seat.heard = now = running_clock().now()
        for task, one in seat.videos.items():
            done, length = result.get(str(task.path), (0.0, 0.0))
            self._opened(task.path, length)
            if done > one.done:
                self._totals.done_seconds += done - one.done
                one.done, one.since = done, now

    # Videos

    def _hand_out(self) -> Iterator[FailedVideo]:
        ready = [seat for seat in self._crew.seats if seat.is_ready]
        draining: list[Seat] = []
        for task in list(self._again):
            if self._is_unreadable(task):
                self._again.remove(task)
                yield self._failed(task)
                continue
            free = [seat for seat in ready if seat.node.name not in task.unread and seat not in draining]
            if not free:
                continue
            seat = min(free, key=lambda seat: len(seat.videos))
            if task.losses and seat.videos:
                draining.append(seat)  # it gets nothing until it is free: then it is clear who is at fault
            elif len(seat.videos) < seat.room:
                self._again.remove(task)
                self._give(seat, task)
                draining += [seat] if task.losses else []
        for seat in ready:
            if seat in draining or any(task.losses for task in seat.videos):
                continue
            while self._waiting and len(seat.videos) < seat.room:
                self._give(seat, self._waiting.popleft())

    def _give(self, seat: Seat, task: _Task) -> None:
        seat.videos[task] = _AtWork(0.0, running_clock().now())
        answer = seat.actor.encode.remote(str(task.path), stored_path(task.path))
        self._call(answer, partial(self._encoded, seat, task))

    def _settle(self) -> Iterator[EncodedVideo | FailedVideo]:
        """Waits a moment for an answer, and takes all there are."""
        with suppress(queue.Empty):
            then, future = self._answers.get(timeout=TICK)
            while True:
                error = future.exception()
                yield from then(None if error else future.result(), error if isinstance(error, Exception) else None)
                then, future = self._answers.get_nowait()

    def _encoded(
        self, seat: Seat, task: _Task, result: EncodedVideo | FailedVideo | None, error: Exception | None
    ) -> Iterator[EncodedVideo | FailedVideo]:
        if task not in seat.videos:  # the seat was given up meanwhile, and the video handed out again
            return
        if error:
            cause = _cause(error)
            if isinstance(cause, VidfindError):  # of the encoder, or the video hardware of the node
                yield from self._leave_out(seat.node, reason_of(error))
                return
            if isinstance(error, self._ray.exceptions.RayTaskError):
                seat.videos.pop(task)
                task.losses.append(f"{reason_of(error)}, on {seat.node.name}")
                task.crashes += 1
                yield from self._again_or_failed(task)
            elif seat in self._crew.seats:
                yield from self._lose(seat, f"its process on {seat.node.name} was lost", _ended_itself(error))
            return
        assert result
        one, node = seat.videos.pop(task), seat.node
        result = replace(result, path=task.path)
        if isinstance(result, FailedVideo) and result.try_again:
            task.unread[node.name] = result
            self._totals.done_seconds -= one.done
            node.unread += 1
            yield from self._again_or_failed(task)
            if node.unread >= TRIES and not node.done and len(self._crew.usable) > 1:
                yield from self._leave_out(node, f"{task.path} {result.reason} there")
            return
        node.done, node.unread = node.done + 1, 0
        if isinstance(result, EncodedVideo):
            self._opened(task.path, result.info.duration)
            self._totals.done_seconds += result.segments[-1].end - result.segments[0].start - one.done
            yield self._ended(task, result.info.duration - (result.segments[-1].end - result.segments[0].start), result)
        else:
            yield self._ended(task, self._lengths.get(task.path, 0.0) - one.done, result)

    def _lose(self, seat: Seat, how: str, is_crash: bool = False) -> Iterator[FailedVideo]:
        """Gives up the process of a seat; its videos are handed out again."""
        self._crew.leave(seat)
        videos, seat.videos = seat.videos, {}
        for task, one in videos.items():
            self._totals.done_seconds -= one.done
            task.losses.append(how)
            task.crashes += is_crash and len(videos) == 1
            yield from self._again_or_failed(task)

    def _leave_out(self, node: Node, reason: str) -> Iterator[FailedVideo]:
        """Gives nothing to a node from now on; its videos are handed out again."""
        for seat in self._crew.leave_out(node, reason):
            yield from self._lose(seat, f"the node {node.name} was left out")

    def _again_or_failed(self, task: _Task) -> Iterator[FailedVideo]:
        if len(task.losses) >= TRIES or self._is_unreadable(task):
            yield self._failed(task)
        else:
            self._again.append(task)

    def _is_unreadable(self, task: _Task) -> bool:
        """Whether a video was tried on enough nodes, or on all there are, whether they have a process now or not."""
        names = {node.name for node in self._crew.usable}
        return len(task.unread) >= TRIES or (bool(task.unread) and names <= task.unread.keys())

    def _failed(self, task: _Task) -> FailedVideo:
        if task.losses:
            reason = f"cannot be encoded: {task.losses[-1]}, and {len(task.losses)} tries in all"
            failed = FailedVideo(task.path, reason, try_again=not task.crashes)
            return self._ended(task, self._lengths.get(task.path, 0.0), failed)
        last = list(task.unread.values())[-1]
        reason = f"{last.reason} (on {' and '.join(task.unread)})"
        return self._ended(task, self._lengths.get(task.path, 0.0), replace(last, reason=reason))

    # Progress

    def _opened(self, path: Path, length: float) -> None:
        if length and path not in self._lengths:
            self._lengths[path] = length
            self._totals.opened(path, length)

    def _ended(self, task: _Task, seconds_left: float, result: R) -> R:
        self._totals.ended(task.path, seconds_left)
        self._lengths.pop(task.path, None)
        self._left -= 1
        self._last = task.path
        return result

    def _progress(self, path: Path) -> Progress:
        nodes = {seat.node.id for seat in self._crew.seats if seat.is_ready}
        return replace(self._totals.progress(path), nodes=len(nodes))


def _cause(error: Exception) -> BaseException:
    """Returns the error that a process on a node has raised, without what Ray has put around it."""
    return getattr(error, "cause", None) or error


def reason_of(error: Exception) -> str:
    """Returns in one line why Ray, or a process on a node, has raised an error."""
    cause = _cause(error)
    if isinstance(cause, VidfindError):
        return str(cause)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    missing = next((line.partition(": ")[2] for line in reversed(lines) if line.startswith("ModuleNotFound")), None)
    if missing:
        return f"{missing}. {INSTALL}"
    return f"{type(cause).__name__}: {lines[-1] if lines else ''}"


def _start_problem(error: Exception) -> str:
    """Returns why a process does not start on a node."""
    reason = reason_of(error)
    if isinstance(_cause(error), VidfindError) or INSTALL in reason:
        return reason
    return f"{reason}. Are its versions of vidfind, Ray and Python those of the machine that indexes?"


def _ended_itself(error: Exception) -> bool:
    """Whether a process was lost, and not its node, or the network to it."""
    return not _is_passing(error) and "node has died" not in str(error)


def _is_passing(error: Exception) -> bool:
    return type(error).__name__ == "ActorUnavailableError"


def _no_node(nodes: list[Node]) -> str:
    left_out = [f"{node.name}: {node.left_out}" for node in nodes if node.left_out]
    if left_out:
        return f"No node of the cluster can encode. {' '.join(left_out)}"
    return "No node of the cluster has a core or GPU to give: see `ray status`."
