"""What the addresses of `vidfind web` answer, and to whom."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.support.page import (
    ADDRESS,
    TOKEN,
    VIDEOS,
    add_videos,
    first_result,
    make_index,
    opened_page,
    page_of_clips,
)
from tests.support.stored import remove
from vidfind.encoders.encoder import Encoder
from vidfind.store.folder import delete_index
from vidfind.store.places.progress import RUN_FILE, noting_run
from vidfind.store.store import Store
from vidfind.web.files import Unsatisfiable, parse_range
from vidfind.web.guard import host_name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, with `index` and `videos` in it."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder: Path, clips: Path, tiny_encoder: Encoder) -> Iterator[TestClient]:
    """The page of an index of four real clips."""
    with page_of_clips(folder, clips, tiny_encoder) as client:
        yield client


def test_a_search_answers_with_moments(page: TestClient) -> None:
    answer = page.get("api/search", params={"q": "a blue star", "limit": 2}).json()
    assert answer["query"] == "a blue star"
    assert len(answer["results"]) == 2
    assert answer["total"] == 3  # one more than was shown: there are more
    first = answer["results"][0]
    assert first["name"] == "long.mp4"
    assert (first["start"], first["plays"], first["present"]) == (0.0, "direct", True)


def test_pages_of_an_answer_follow_one_another(page: TestClient) -> None:
    asked = {"q": "a blue star", "limit": "2"}
    pages = [page.get("api/search", params={**asked, "offset": str(offset)}).json() for offset in (0, 2, 4)]
    names = [one["name"] for answer in pages for one in answer["results"]]
    assert sorted(names) == sorted(VIDEOS)
    assert [answer["total"] for answer in pages] == [3, 4, 4]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"q": ""}, "The query is empty."),
        ({"q": "a star --nonsense"}, "There is no option --nonsense."),
        ({"q": "a star --not"}, "--not needs words behind it."),
        ({"q": "x" * 3000}, "The query is too long."),
        ({"q": "a star", "since": "soon"}, "'soon' is not a date"),
        ({"q": "a star", "min_match": "high"}, "min_match takes a whole number, not 'high'."),
        ({"q": "a star", "offset": "-1"}, "offset takes a whole number, not '-1'."),
        ({"q": "a star", "in": "/nowhere"}, "No indexed video is under /nowhere."),
        ({"q": "a star", "tag": "cat"}, "No video has the tag 'cat'."),
        ({"q": "a star", "like": "x"}, "'x' is not the id of a moment."),
        ({"q": "--like /etc/passwd"}, "Here, --like and --unlike take videos of the index."),
        ({"q": "a star --unlike /etc/passwd@1"}, "Here, --like and --unlike take videos of the index."),
        ({"q": "--like"}, "--like needs a file behind it."),
        ({"q": "a star --open 1"}, "--open is for the command line, not for a query."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_query_that_makes_no_sense_is_refused_with_a_reason(
    page: TestClient, asked: dict[str, str], says: str
) -> None:
    answer = page.get("api/search", params=asked)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_typed_options_work_as_in_the_terminal(page: TestClient) -> None:
    answer = page.get("api/search", params={"q": 'a blue star --not "a red circle" --in ~/nowhere'})
    assert "No indexed video is under ~/nowhere" in answer.json()["error"]
    steps = page.get("api/search", params={"q": "a blue star --then a blue star"}).json()
    assert [one["name"] for one in steps["results"]] == ["long.mp4"]


def test_what_a_query_is_remarked_with_comes_with_each_answer(page: TestClient) -> None:
    for _ in range(2):
        answer = page.get("api/search", params={"q": "a star without a circle"}).json()
        assert answer["remarks"][0] == "The model does not understand 'without': say it as --not TEXT."


def test_more_like_a_moment_leaves_it_out(page: TestClient) -> None:
    star = first_result(page, "a blue star")
    alike = page.get("api/search", params={"like": star["id"]}).json()["results"]
    assert star["id"] not in [one["id"] for one in alike]
    both = page.get("api/search", params={"like": star["id"], "q": "a red circle"})
    assert both.status_code == 200


def test_a_video_has_all_its_moments(page: TestClient) -> None:
    star = first_result(page, "a blue star")
    answer = page.get("api/moments", params={"video": star["video"], "q": "a blue star"}).json()
    assert answer["name"] == "long.mp4"
    assert {one["video"] for one in answer["moments"]} == {star["video"]}


def test_details_folders_tags_and_status_are_told(page: TestClient) -> None:
    star = first_result(page, "a blue star")
    assert page.get(f"api/videos/{star['video']}").json()["codec"] == "h264"
    assert page.get("api/folders").json()["folders"][0]["videos"] == len(VIDEOS)
    assert page.get("api/tags").json() == {"tags": [], "classes": []}
    assert page.get("api/status").json()["videos"] == len(VIDEOS)


def test_a_picture_of_a_moment_is_upright_and_small(page: TestClient) -> None:
    star = first_result(page, "a blue star")
    answer = page.get(f"picture/{star['video']}", params={"at": star["at"], "size": 100})
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    assert max(Image.open(io.BytesIO(answer.content)).size) <= 160


def test_a_video_is_sent_whole_or_in_part(page: TestClient, clips: Path) -> None:
    circle, whole = first_result(page, "a red circle"), (clips / "h264.mp4").read_bytes()
    address = f"video/{circle['video']}"
    assert page.get(address).content == whole
    part = page.get(address, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert page.get(address, headers={"range": "bytes=-7"}).content == whole[-7:]
    assert page.get(address, headers={"range": f"bytes={len(whole)}-"}).status_code == 416
    head = page.head(address)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(whole)))
    kept = {"range": "bytes=0-9", "if-range": head.headers["etag"]}
    assert page.get(address, headers=kept).status_code == 206
    assert page.get(address, headers={**kept, "if-range": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=5-1", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-", None),
        ("frames=0-1", None),
        ("bytes=" + "9" * 5000, None),
        ("Bytes = 0 - 1", (0, 2)),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_range_is_read_as_the_standard_says(text: str | None, part: tuple[int, int] | None) -> None:
    assert parse_range(text, 100) == part


@pytest.mark.parametrize(("text", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-1", 0)])
def test_a_range_without_bytes_cannot_be_had(text: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(text, size)


# Who gets in ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        (f"/{TOKEN}/", {}, 200),
        (f"/{TOKEN}/", {"host": "localhost:8000"}, 200),
        (f"/{TOKEN}/", {"host": "[::1]"}, 200),
        (f"/{TOKEN}/", {"host": "evil.example:8000"}, 403),
        (f"/{TOKEN}/", {"host": "127.0.0.1.evil.example"}, 403),
        (f"/{TOKEN}/", {"host": "192.168.0.5:8000"}, 403),
        (f"/{TOKEN}/", {"host": ""}, 403),
        (f"/{TOKEN}/", {"origin": ADDRESS}, 200),
        (f"/{TOKEN}/", {"origin": "http://localhost:8000"}, 403),
        (f"/{TOKEN}/", {"origin": "http://127.0.0.1:9"}, 403),
        (f"/{TOKEN}/", {"origin": "null"}, 403),
        (f"/{TOKEN}/", {"sec-fetch-site": "same-origin"}, 200),
        (f"/{TOKEN}/", {"sec-fetch-site": "none"}, 200),
        (f"/{TOKEN}/", {"sec-fetch-site": "cross-site"}, 403),
        (f"/{TOKEN}/", {"sec-fetch-site": "same-site"}, 403),
        (
            f"/{TOKEN}/",
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
            200,
        ),
        (
            f"/{TOKEN}/",
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
            403,
        ),
        (
            f"/{TOKEN}/api/status",
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
            403,
        ),
        (f"/{TOKEN}", {}, 303),
        ("/", {}, 404),
        ("//", {}, 404),
        (f"//{TOKEN}/", {}, 404),
        (f"/{TOKEN}x/", {}, 404),
        (f"/{TOKEN[:-1]}/", {}, 404),
        (f"/{TOKEN.upper()}/", {}, 404),
        ("/%C3%A9%ED%B2%80/", {}, 404),
        ("/api/status", {}, 404),
        (f"/{TOKEN}/static/../../pyproject.toml", {}, 404),
        (f"/{TOKEN}/static/%2e%2e/app.py", {}, 404),
        (f"/{TOKEN}/static/..%2fapp.py", {}, 404),
        (f"/{TOKEN}/static//etc/passwd", {}, 404),
        (f"/{TOKEN}/video/..%2f..%2fetc%2fpasswd", {}, 404),
        (f"/{TOKEN}/video/{'0' * 24}", {}, 404),
        (f"/{TOKEN}/picture/{'0' * 24}?at=nan", {}, 404),
        (f"/{TOKEN}/nothing", {}, 404),
    ],
    ids=lambda value: str(value)[:60],
)
def test_only_the_owners_page_gets_in(page: TestClient, address: str, headers: dict[str, str], status: int) -> None:
    answer = page.get(f"{ADDRESS}{address}", headers=headers)
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers
    if status == 404 and TOKEN not in address:
        assert answer.text == "There is no page here. Open the address that `vidfind web` printed last."


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "POST"])
def test_nothing_is_changed_by_other_methods(page: TestClient, method: str) -> None:
    assert page.request(method, "api/status").status_code == 405


def test_a_ticket_opens_the_page_once(page: TestClient) -> None:
    ticket = page.app.ticket()  # type: ignore[attr-defined]
    first = page.get(f"{ADDRESS}/{ticket}/")
    assert (first.status_code, first.headers["location"]) == (303, f"/{TOKEN}/")
    assert page.get(f"{ADDRESS}/{ticket}/").status_code == 404


@pytest.mark.parametrize(
    ("host", "name"),
    [("LocalHost:80", "localhost"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:b", "a:b"), ("", "")],
)
def test_the_port_of_a_host_does_not_matter(host: str, name: str) -> None:
    assert host_name(host) == name


def test_the_progress_of_a_run_is_told_while_it_lasts(page: TestClient, folder: Path) -> None:
    index = folder / "index"
    with noting_run(index, 7) as note:
        assert page.get("api/status").json()["run"] == {"done": 0, "total": 7, "seconds_left": None, "nodes": 0}
        note(3, 8.0, 0)
        assert page.get("api/status").json()["run"]["total"] == 7
    assert page.get("api/status").json()["run"] is None
    (index / RUN_FILE).write_text('{"done": 3, "total": 7, "process": 999999999}')  # as a killed run leaves it
    assert page.get("api/status").json()["run"] is None
    (index / RUN_FILE).unlink()


def test_a_picture_that_is_kept_is_shown_when_the_video_is_away(
    page: TestClient, folder: Path, clips: Path, tiny_encoder: Encoder
) -> None:
    file = folder / "videos" / "away.mp4"
    file.write_bytes((clips / "hevc.mp4").read_bytes())
    add_videos(Store.open(folder / "index"), tiny_encoder, {file: "a black star spins"})
    moment = first_result(page, "a black star spins")
    address = f"picture/{moment['video']}?at=0.5"
    picture = page.get(address)
    file.unlink()
    assert page.get(address).content == picture.content
    assert first_result(page, "a black star spins")["present"] is False
    lost = page.get(f"picture/{moment['video']}?at=1.5")
    assert (lost.status_code, lost.json()["error"]) == (404, "away.mp4 is not there now.")


# An index that changes ------------------------------------------------------------------------------------------------


def test_videos_that_come_and_go_are_noticed(folder: Path, clips: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    files = [tmp_path / name for name in ("first.mp4", "second.mp4")]
    for file in files:
        shutil.copy(clips / "h264.mp4" if file is files[0] else clips / "hevc.mp4", file)
    store = make_index(tmp_path / "index", tiny_encoder, {files[0]: "a red star"})
    with opened_page(tmp_path / "index", tmp_path / "pictures", tiny_encoder) as client:
        assert client.get("api/status").json()["videos"] == 1
        add_videos(store, tiny_encoder, {files[1]: "a green circle"})  # as a run under way does
        assert first_result(client, "a green circle")["name"] == "second.mp4"
        gone = first_result(client, "a red star")["video"]
        remove(store, [files[0]])
        assert [one["name"] for one in search(client, "a red star")] == ["second.mp4"]
        assert client.get(f"video/{gone}").json()["error"] == "The video is not in the index any more."
        delete_index(tmp_path / "index")
        lost = client.get("api/search", params={"q": "a red star"})
        assert (lost.status_code, client.get("api/status").status_code) == (503, 503)
        assert "There is no index 'index' yet" in lost.json()["error"]
        make_index(tmp_path / "index", tiny_encoder, {files[0]: "a red star"})
        assert [one["name"] for one in search(client, "a red star")] == ["first.mp4"]


def search(client: TestClient, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("api/search", params={"q": query}).json()["results"]
    return found
