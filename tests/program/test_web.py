"""`vidfind web` as a program: it prints an address, answers there, and ends with Ctrl-C."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.program import program
from tests.support.ran import Run
from vidfind.encoders.names import EncoderIdentity
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.web.serve import address_of, listen


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an empty index."""
    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    Store.create(tmp_path / "home" / "indexes" / "default", settings, dim=16)
    return tmp_path / "home"


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another there")
def test_the_page_is_served_until_ctrl_c(home: Path) -> None:
    with program("web", "--no-browser", home=home) as running:
        assert running.stdout and running.stderr
        address = urlsplit(running.stdout.readline().strip())
        connection = http.client.HTTPConnection(address.netloc)
        for path, status, words in (
            (address.path, 200, b"<title>"),
            (f"{address.path}api/status", 200, b'"next": "vidfind index FOLDER"'),
            ("/", 404, b"There is no page here"),
        ):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, words in answer.read()) == (status, True)
        running.send_signal(signal.SIGINT)  # while the connection is open
        assert running.wait(60) == 130
        assert running.stderr.read().splitlines()[-1] == "The page is closed."
        connection.close()
    assert address.hostname == "127.0.0.1"


def test_an_address_that_cannot_be_had_is_told(run: Run, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = run("web", "--no-browser", "--port", taken.getsockname()[1])
    assert said.code == 1
    assert said.err.count("127.0.0.1") == 1  # Python's own words would name it again
    assert "Nothing can listen at nowhere.invalid" in run("web", "--no-browser", "--host", "nowhere.invalid").err
    assert run("web", "--no-browser", "--index", "missing").code == 1
    assert run("web", "--port", "70000").code == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_address_is_one_that_other_machines_reach_where_they_may(host: str) -> None:
    listening = listen(host, 0)
    with listening:
        port = listening.getsockname()[1]
        assert address_of(listening, "token") == f"http://127.0.0.1:{port}/token/"
        elsewhere = urlsplit(address_of(listening, "token", elsewhere=True))
    assert elsewhere.port == port
    assert (elsewhere.hostname == "127.0.0.1") == (host == "127.0.0.1") or socket.gethostname() == "localhost"
