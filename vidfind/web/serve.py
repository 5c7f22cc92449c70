"""Listens on an address of this machine and serves the page until it is stopped."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vidfind.errors import BadInput
from vidfind.web.guard import Guard

ENDING = 1  # seconds that answers get to end when the server stops
REQUEST_SECONDS = 15.0  # in which the head of a request must have come
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""For each address that stands for all of this machine, the one that this machine itself uses."""
DOCUMENTATION: Mapping[int, str] = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses outside that belong to nobody (RFC 5737 and 3849)."""
MOST_CONNECTIONS = 256
"""A browser opens six; each takes a file descriptor, of which a process has 1,024 on many systems."""


class Protocol(H11Protocol):
    """A connection that must send a whole request in time, however slowly it sends, and is one of not too many."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._is_idle:
            self._stop_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if self._is_idle:
            self.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens at an address; port 0 is a free one. Raises BadInput if that cannot be."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno and not isinstance(error, socket.gaierror):
            reason = os.strerror(error.errno)  # create_server adds the address
        raise BadInput(f"Nothing can listen at {host}, port {port}: {reason}. Give another --port.") from error


def address_of(listening: socket.socket, secret: str, elsewhere: bool = False) -> str:
    """Returns the address of the page in a browser; `secret` is the token, or a ticket.

    Where the server listens at every address of this machine, the browser is on this machine, unless `elsewhere`."""
    host, port = listening.getsockname()[:2]
    if host in ANY_ADDRESS:
        host = _own_address(listening.family) if elsewhere else ANY_ADDRESS[host]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{secret}/"


def _own_address(family: int) -> str:
    """Returns the address at which other machines reach this one: that of the way out, or else its name."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way_out:
        way_out.connect((DOCUMENTATION[family], 9))  # sends nothing
        return str(way_out.getsockname()[0])
    return socket.gethostname()


def serve(app: Guard, listening: socket.socket, started: Callable[[Callable[[], None]], None]) -> None:
    """Answers requests until Ctrl-C, which raises KeyboardInterrupt.

    `started` is called once it does, with a function that ends it from another thread."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=ENDING,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started(lambda: setattr(self, "should_exit", True))

    with listening:
        Server(config).run([listening])
