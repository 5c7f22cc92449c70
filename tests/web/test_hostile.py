"""The page among hostile clients and files: nothing but videos of the index gets out, and nothing breaks or leaks."""

from __future__ import annotations

import os
import random
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.testclient import TestClient

from tests.support.page import TOKEN, add_videos, first_result, page_of_clips
from tests.support.waiting import wait_until
from vidfind.cli.web import read_query
from vidfind.encoders.encoder import Encoder
from vidfind.pictures.cache import PictureCache
from vidfind.search.searcher import Searcher
from vidfind.store.store import Store
from vidfind.web import serve as serving
from vidfind.web.app import opened_app
from vidfind.web.serve import listen, serve

SECRET = b"a secret that lies beside the videos"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, with `index` and `videos` in it."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder: Path, clips: Path, tiny_encoder: Encoder) -> Iterator[TestClient]:
    """The page of an index of real clips."""
    with page_of_clips(folder, clips, tiny_encoder) as client:
        yield client


# Files ----------------------------------------------------------------------------------------------------------------


def link(file: Path, secret: Path) -> None:
    file.symlink_to(secret)


def link_folder(file: Path, secret: Path) -> None:
    """The folder of the video becomes a link to another, in which a file has the name of the video."""
    other = secret.parent / "other"
    other.mkdir(exist_ok=True)
    shutil.copy(secret, other / file.name)
    shutil.rmtree(file.parent)
    file.parent.symlink_to(other)


def pad(file: Path, secret: Path) -> None:
    """Another file of the same size and time."""
    file.write_bytes(secret.read_bytes())


def fifo(file: Path, secret: Path) -> None:
    os.mkfifo(file)


REPLACED: dict[str, Callable[[Path, Path], object]] = {
    "gone": lambda file, secret: None,
    "link": link,
    "linked folder": link_folder,
    "same size": pad,
    "pipe": fifo,
    "folder": lambda file, secret: file.mkdir(),
    "device": lambda file, secret: file.symlink_to("/dev/zero"),
    "itself": lambda file, secret: file.symlink_to(file),
}


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there")
@pytest.mark.parametrize("how", REPLACED)
def test_what_took_the_place_of_a_video_is_not_shown(
    how: str, page: TestClient, folder: Path, clips: Path, tiny_encoder: Encoder
) -> None:
    file = folder / "videos" / how / "here.mp4"
    file.parent.mkdir()
    file.write_bytes((clips / "hevc.mp4").read_bytes() + how.encode())
    secret, status = folder / f"{how}.secret", file.stat()
    add_videos(Store.open(folder / "index"), tiny_encoder, {file: f"a purple triangle {how}"})
    secret.write_bytes((SECRET * 10_000)[: status.st_size])
    moment = next(one for one in find(page, f"a purple triangle {how}") if one["path"] == str(file))
    assert page.get(f"video/{moment['video']}").status_code == 200
    file.unlink()
    REPLACED[how](file, secret)
    if how == "same size":
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    for address in (f"video/{moment['video']}", f"play/{moment['video']}", f"picture/{moment['video']}?at=0.5"):
        answer = page.get(address)
        assert answer.status_code == 404
        assert SECRET not in answer.content
        assert "here.mp4" in answer.json()["error"]
    assert page.post("api/open", json={"moment": moment["id"]}).status_code == 404
    assert page.post("api/export", json={"moments": [moment["id"]], "form": "clips"}).status_code == 404


def find(page: TestClient, query: str) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = page.get("api/search", params={"q": query, "limit": 50}).json()["results"]
    return results


ODD_NAMES = [
    b"a\nb.mp4",
    b"\"quoted\" 'twice'.mp4",
    b"<script>alert(1)</script>.mp4".replace(b"/", b"\\"),
    "\u202egnp.mp4".encode(),
    b"caf\xe9.mp4",
    b"%2e%2e%2f.mp4",
    b"-rf.mp4",
    b"a;b&c=d#e?f.mp4",
    "\U0001f415 \u6c49\u5b57.mp4".encode(),
    b"x" * 250 + b".mp4",
    b" .mp4",
    b"C:\\CON.mp4",
    b"$(id)`id`.mp4",
]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow these names")
def test_names_with_every_odd_character_are_searched_played_and_exported(
    page: TestClient, folder: Path, clips: Path, tiny_encoder: Encoder
) -> None:
    files = [Path(os.fsdecode(os.fsencode(folder / "videos") + b"/" + name)) for name in ODD_NAMES]
    for number, file in enumerate(files):
        shutil.copy(clips / "short.mp4", file)
        with open(file, "ab") as end:
            end.write(b"\0" * number)  # so that none is a copy of another
    add_videos(Store.open(folder / "index"), tiny_encoder, {file: "a small odd thing" for file in files})
    odd = Path(os.fsdecode(os.fsencode(folder / "videos") + b"/f\xe9\xff*"))
    odd.mkdir()
    shutil.copy(clips / "one_frame.mp4", odd)
    add_videos(Store.open(folder / "index"), tiny_encoder, {odd / "one_frame.mp4": "a small odd thing"})
    offered = [one["path"] for one in page.get("api/folders").json()["folders"]]
    assert clean(str(odd)) in offered
    inside = page.get("api/search", params={"q": "a small odd thing", "in": clean(str(odd))}).json()["results"]
    assert [one["name"] for one in inside] == ["one_frame.mp4"]
    shown = {one["name"]: one for one in find(page, "a small odd thing")}
    for file in files:
        moment = shown[clean(file.name)]
        video = page.get(f"video/{moment['video']}")
        assert video.content == file.read_bytes()
        assert page.get(f"picture/{moment['video']}?at=0").status_code == 200
        made = page.post("api/export", json={"moments": [moment["id"]], "form": "csv"}).json()["export"]
        wait_until(lambda made=made: page.get(f"api/export/{made}").json()["state"] != "running")  # type: ignore[misc]
        assert page.get(f"export/{made}").status_code == 200


def clean(name: str) -> str:
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in name)


# Requests -------------------------------------------------------------------------------------------------------------

ADDRESSES = [
    "",
    "static/main.js",
    "static/{junk}",
    "api/search?q={words}&offset={number}&limit={number}",
    "api/search?q={junk}&since={junk}&until={number}&min_match={number}",
    "api/search?q={words}&in={junk}&tag={junk}&is={junk}",
    "api/search?like={moment}&picture={junk}",
    "api/search?like={junk}&q={words}",
    "api/moments?video={video}&q={words}",
    "api/moments?video={junk}",
    "api/videos/{video}",
    "api/videos/{junk}",
    "api/folders",
    "api/tags",
    "api/status",
    "picture/{video}?at={number}&size={number}",
    "picture/{junk}?at={junk}&size={junk}",
    "video/{video}",
    "video/{junk}",
    "play/{video}?start={number}&end={number}",
    "play/{video}?start={junk}",
    "api/export/{junk}",
    "export/{junk}",
    "{junk}/{junk}",
]
JUNK = [
    *("", ".", "..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "%ff%fe", "\u0661", "nan", "inf", "-1"),
    *(
        "1e400",
        "9" * 400,
        "0x10",
        "a" * 3000,
        "'; DROP TABLE videos; --",
        "<script>",
        "\U0001f4a5",
        "--then",
        "--not x",
        '"',
    ),
    *("**/**/**/**/**/**/x", "[", "[!", "~root", "~", "C:\\", "\\\\server\\share", "con", "/dev/zero", "--", "--like"),
]
RANGES = ["bytes=0-", "bytes=5-1", "bytes=-1", f"bytes={'9' * 20}-", "bytes=0-0,1-1", "bytes=--", "x", "bytes=0-\u0661"]


def random_request(rng: random.Random, moment: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a request that may make sense or not."""

    def fill(template: str) -> str:
        values = {
            "{junk}": JUNK,
            "{words}": ["a red circle", "a blue star --then yellow", "--tag x", *JUNK],
            "{number}": ["0", "1", "0.5", "60", "10000", "1e9", *JUNK],
            "{video}": [moment["video"]],
            "{moment}": [moment["id"]],
        }
        for name, choices in values.items():
            while name in template:
                template = template.replace(name, rng.choice(choices), 1)
        return template

    request: dict[str, Any] = {"method": "GET", "url": fill(rng.choice(ADDRESSES))}
    if rng.random() < 0.3:
        request["headers"] = {"range": rng.choice(RANGES).encode("utf-8").decode("latin-1")}
    if rng.random() < 0.1:
        request["method"] = rng.choice(["HEAD", "POST", "PUT", "OPTIONS", "get", "X" * 50])
    if rng.random() < 0.1:
        body = rng.choice([b"", b"{}", b"[]", rng.randbytes(500), b'{"moments": [{}], "form": {}}'])
        request |= {"method": "POST", "content": body, "url": rng.choice(["api/export", "api/open", "api/picture"])}
    if rng.random() < 0.1:
        name = rng.choice(["host", "origin", "sec-fetch-site", "if-range", "content-length", "x"])
        request["headers"] = {name: rng.choice(["", "evil", "null", "-1", "9" * 30, "x" * 5000])}
    return request


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.soak)])
def test_random_requests_are_answered_without_a_mistake(count: int, page: TestClient) -> None:
    rng, moment = random.Random(count), first_result(page, "a red circle")
    process = psutil.Process()
    for number in range(count):
        if number == 10:  # what is opened once is open
            files = process.num_fds() if sys.platform != "win32" else 0
        request = random_request(rng, moment)
        with suppress(UnicodeEncodeError, ValueError):  # the client refuses to send it
            answer = page.request(**request)
            assert answer.status_code in (200, 206, 303, 400, 403, 404, 405, 416, 503), request
            assert b"root:" not in answer.content, request
    if sys.platform != "win32":
        assert process.num_fds() <= files + 8


# Connections ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port(folder: Path, page: TestClient, tiny_encoder: Encoder) -> Iterator[int]:
    """The port of a real server of the same index, in a thread of this process."""
    searcher = Searcher(folder / "index", lambda choice: tiny_encoder)
    listening, ready, ends = listen("127.0.0.1", 0), threading.Event(), list[Callable[[], None]]()

    def started(end: Callable[[], None]) -> None:
        ends.append(end)
        ready.set()

    with opened_app(searcher, read_query, TOKEN, pictures=PictureCache(folder / "pictures")) as app:
        thread = threading.Thread(target=serve, args=[app, listening, started])
        thread.start()
        assert ready.wait(60)
        yield listening.getsockname()[1]
        ends[0]()
        thread.join(60)
        assert not thread.is_alive()


def connect(port: int, request: str = "") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(request.encode())
    return connection


def get(path: str) -> str:
    return f"GET /{TOKEN}/{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"


def answer_of(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    parts = []
    with connection, suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_a_hundred_clients_are_answered_at_a_time(port: int, page: TestClient) -> None:
    video = first_result(page, "a red circle")["video"]
    paths = [f"picture/{video}?at=0.5", f"video/{video}", "api/status", *["api/tags"] * 6, "api/search?q=yellow"]
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(port, get(paths[number % 10]))) for number in range(100)]
        answers = [answer_of(client) for client in clients]
    assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 100


def test_what_a_client_leaves_behind_is_given_back(port: int, page: TestClient) -> None:
    long, other = (first_result(page, words)["video"] for words in ("a blue star", "yellow"))
    answer_of(connect(port, get(f"play/{other}")))
    process = psutil.Process()
    before = process.num_fds() if sys.platform != "win32" else 0
    for path in (f"video/{long}", f"play/{long}", f"play/{other}", f"picture/{long}?at=3", "api/search?q=yellow"):
        for _ in range(4):  # more films than are made at a time
            client = connect(port, get(path))
            client.recv(10)
            client.close()
    if sys.platform != "win32":
        wait_until(lambda: process.num_fds() <= before + 2)
    assert answer_of(connect(port, get("api/status"))).startswith(b"HTTP/1.1 200")


def test_a_request_that_does_not_end_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUEST_SECONDS", 0.2)
    slow = connect(port, "GET /")
    with suppress(OSError):
        for letter in "slow " * 100:
            slow.sendall(letter.encode())
            time.sleep(0.02)
    assert answer_of(slow) == b""
    kept = connect(port, get("api/status").replace("connection: close\r\n", ""))
    assert kept.recv(8) == b"HTTP/1.1"
    kept.sendall(b"GET /")
    answer_of(kept)  # ends


@pytest.mark.parametrize(
    "request_text",
    [
        "\x00\x01\x02\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        f"GET http://evil/{TOKEN}/ HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
        f"GET /{TOKEN}/ HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil\r\nconnection: close\r\n\r\n",
        f"GET /{TOKEN}/ HTTP/1.0\r\n\r\n",
        f"GET /{TOKEN}/../{TOKEN}/ HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
        f"GET /x/../{TOKEN}/ HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
        f"POST /{TOKEN}/api/picture HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
        f"POST /{TOKEN}/api/picture HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {'9' * 18}\r\n"
        "connection: close\r\n\r\n",
        f"GET /{TOKEN}/ HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {'y' * 3_000_000}\r\n\r\n",
        f"GET /{TOKEN}/ HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
    ids=range(12),
)
def test_a_broken_request_gets_nothing_and_breaks_nothing(port: int, request_text: str) -> None:
    client = connect(port, request_text)
    if "websocket" in request_text:
        assert b"101" not in client.recv(20)
        client.close()
    else:
        assert b"200 OK" not in answer_of(client).split(b"\r\n")[0]
    assert answer_of(connect(port, get("api/status"))).startswith(b"HTTP/1.1 200")


def test_more_connections_than_a_process_can_have_are_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 20)
    with ExitStack() as opened:
        for _ in range(30):
            opened.enter_context(connect(port))
        with suppress(OSError):
            assert answer_of(connect(port, get("api/status"))) == b""
    wait_until(lambda: answered(port))


def answered(port: int) -> bool:
    with suppress(OSError):
        return answer_of(connect(port, get("api/status"))).startswith(b"HTTP/1.1 200")
    return False
