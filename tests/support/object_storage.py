"""A server of object storage on this machine, as moto makes it, and the environment in which vidfind uses it."""

from __future__ import annotations

import itertools
import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from vidfind.store.places.path import RemotePath

BUCKET = "media"
REGION = "us-east-1"
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
