"""A server of object storage on this machine, as moto makes it, and the environment in which vidfind uses it."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from vidfind.store.places.path import RemotePath

BUCKET = "media"
REGION = "us-east-1"
PIECE = 4096
_numbers = itertools.count()


@contextmanager
def serving() -> Iterator[str]:
    """Yields the URL of a server with one bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT")).close()
        yield url
    finally:
        server.stop()


def environment(url: str) -> dict[str, str]:
    """Returns the variables that lead to a server, with credentials that it takes."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "AKIATESTKEY",
        "AWS_SECRET_ACCESS_KEY": "the-secret-of-the-test",
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/none",
        "AWS_SHARED_CREDENTIALS_FILE": "/none",
    }


def new_place() -> RemotePath:
    """Returns a place in the bucket that holds nothing yet."""
    return RemotePath(f"s3://{BUCKET}/index-{next(_numbers)}")


class Wire:
    """A connection to a server that can be cut: nothing comes through then, and nobody is told. Its end is `url`.

    It takes `pause` seconds before each PIECE bytes of an answer."""

    def __init__(self, server: str) -> None:
        self._server = (urlsplit(server).hostname, urlsplit(server).port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._is_whole = threading.Event()
        self._is_whole.set()
        self._ends: list[socket.socket] = []
        self.pause = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.close()
        self.mend()

    def cut(self) -> None:
        self._is_whole.clear()

    def mend(self) -> None:
        """Lets through what comes now; the connections from before are lost."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()
        self._is_whole.set()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._server)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other, one is far), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := one.recv(PIECE if is_answer else 65536):
                self._is_whole.wait()
                if is_answer and self.pause:
                    time.sleep(self.pause)
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
