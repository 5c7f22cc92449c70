"""Servers of object storage on this machine, and the environment in which vidfind uses each: moto's for S3, Microsoft's
Azurite for Azure, and one of the tests' own for Google."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.waiting import wait_until
from vidfind.store.places.path import RemotePath
from vidfind.system.machine import answers

STORAGES = {"s3": "s3", "azure": "az", "google": "gs"}
"""The kinds of servers, and how the URL of an index begins in each."""
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


def new_place(kind: str = "s3") -> RemotePath:
    """Returns a place in the bucket that holds nothing yet; `kind` is how its URL begins."""
    return RemotePath(f"{kind}://{BUCKET}/index-{next(_numbers)}")


@contextmanager
def serving_azure(folder: Path) -> Iterator[dict[str, str]]:
    """Yields the environment for a server of Azure's kind with one container, which keeps its files in a folder.

    Skips the test where the program is not installed."""
    from pyarrow import fs

    program = shutil.which("azurite-blob")
    if not program:
        pytest.skip("there is no azurite-blob: npm install --global azurite")
    account, key = "devstoreaccount1", base64.b64encode(bytes(64)).decode()
    port = _free_port()
    quiet = ("--silent", "--disableTelemetry", "--skipApiVersionCheck")
    server = subprocess.Popen(
        [program, *quiet, "--location", str(folder), "--blobPort", str(port)],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{account}:{key}"},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: answers("127.0.0.1", port, 1.0))
        server_at: dict[str, Any] = {f"{part}_storage_authority": f"127.0.0.1:{port}" for part in ("blob", "dfs")}
        server_at |= {f"{part}_storage_scheme": "http" for part in ("blob", "dfs")}
        fs.AzureFileSystem(account, account_key=key, **server_at).create_dir(BUCKET)
        yield {
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{account}",
            "AZURE_STORAGE_ACCOUNT_NAME": account,
            "AZURE_STORAGE_ACCOUNT_KEY": key,
        }
    finally:
        server.kill()
        server.wait()


@contextmanager
def serving_google(folder: Path) -> Iterator[dict[str, str]]:
    """Yields the environment for a server of Google's kind with one bucket; a folder gets the key of a user of it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    from tests.support import google_storage

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    user = {"client_email": "tests@vidfind.test", "client_id": "1", "private_key_id": "1", "private_key": key.decode()}
    token = {"type": "service_account", "project_id": "tests", "token_uri": "https://127.0.0.1:1/token"}
    (folder / "key.json").write_text(json.dumps({**user, **token}))
    with google_storage.serving(BUCKET) as url:
        yield {"GOOGLE_STORAGE_ENDPOINT": url, "GOOGLE_APPLICATION_CREDENTIALS": str(folder / "key.json")}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


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
