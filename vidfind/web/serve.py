"""Listens on an address of this machine and serves the page until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from vidfind.errors import BadInput
from vidfind.web.guard import Guard

ENDING = 1  # seconds that answers get to end when the server stops


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens at an address; port 0 is a free one. Raises BadInput if that cannot be."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"Nothing can listen at {host}, port {port}: {reason}. Give another --port.") from error


def address_of(listening: socket.socket, secret: str) -> str:
    """Returns the address of the page in a browser; `secret` is the token, or a ticket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{secret}/"


def serve(app: Guard, listening: socket.socket, started: Callable[[], None]) -> None:
    """Answers requests until Ctrl-C, which raises KeyboardInterrupt; `started` is called once it does."""
    config = uvicorn.Config(
        app,
        http="h11",
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
            started()

    with listening:
        Server(config).run([listening])
