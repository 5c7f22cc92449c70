"""Sends a moment as a film that is made on the way, and stops making it when nobody watches any more."""

from __future__ import annotations

import functools
import logging
from collections.abc import Generator
from contextlib import closing

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio import CancelScope, CapacityLimiter
from anyio.streams.memory import MemoryObjectSendStream
from starlette.types import Receive, Scope, Send

from vidfind.errors import VidfindError
from vidfind.web.files import PATIENCE, stopping_when_gone
from vidfind.web.replies import NotHere, error_reply

log = logging.getLogger(__name__)
MOST = 3
"""So many films are made at a time. Of more, the oldest ends: a person watches the newest."""
AHEAD = 128
"""Parts that are made before they are sent: some 50 seconds, and 40 MB of a film with much in it."""
HEADERS = [(b"content-type", b"video/mp4"), (b"accept-ranges", b"none"), (b"cache-control", b"no-store")]


class Films:
    """The films that are made now."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(MOST)
        self._running: list[CancelScope] = []

    async def send(self, parts: Generator[bytes], scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with the parts of a film, while the client wants them. Raises what the first part raises."""
        with closing(parts), CancelScope() as being_sent:
            while len(self._running) >= MOST:
                self._running.pop(0).cancel()
            self._running.append(being_sent)
            try:
                async with self._limiter:
                    await _send_film(parts, scope, receive, send)
            finally:
                if being_sent in self._running:
                    self._running.remove(being_sent)


async def _send_film(parts: Generator[bytes], scope: Scope, receive: Receive, send: Send) -> None:
    first = await anyio.to_thread.run_sync(functools.partial(next, parts, b""), limiter=CapacityLimiter(1))
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    into, made = anyio.create_memory_object_stream[bytes](AHEAD)
    async with stopping_when_gone(receive) as being_sent, anyio.create_task_group() as tasks:
        tasks.start_soon(_make, parts, into, being_sent)
        with made:
            await _send_part(send, first, being_sent)
            async for part in made:
                await _send_part(send, part, being_sent)
        await send({"type": "http.response.body", "body": b""})


async def _make(parts: Generator[bytes], into: MemoryObjectSendStream[bytes], being_sent: CancelScope) -> None:
    """Makes the parts in a thread, until there are no more or nobody takes them."""

    def work() -> None:
        for part in parts:
            anyio.from_thread.run(into.send, part)

    with into:
        try:
            await anyio.to_thread.run_sync(work, limiter=CapacityLimiter(1))
        except (anyio.BrokenResourceError, VidfindError) as error:
            log.debug("A film ended early: %s", error)
            being_sent.cancel()


async def _send_part(send: Send, part: bytes, being_sent: CancelScope) -> None:
    with anyio.move_on_after(PATIENCE) as waiting:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    if waiting.cancelled_caught:
        being_sent.cancel()


class FilmReply:
    """The answer that a film is, or the reason why there is none."""

    def __init__(self, films: Films, parts: Generator[bytes]) -> None:
        self._films, self._parts = films, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._films.send(self._parts, scope, receive, send)
        except VidfindError as error:  # before anything was sent
            await error_reply(NotHere(f"This moment cannot be played: the video {error}."))(scope, receive, send)
