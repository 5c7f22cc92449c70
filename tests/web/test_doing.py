"""What the page does beside showing: films made on the way, pictures as queries, the player, exports."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.support.exported import beeps_of, numbers_of, write_beeps
from tests.support.page import first_result, page_of_clips
from tests.support.players import noting_player
from tests.support.waiting import wait_until
from vidfind.encoders.encoder import Encoder
from vidfind.export.live import stream_moment


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, clips: Path, tiny_encoder: Encoder) -> Iterator[TestClient]:
    """The page of an index of four real clips."""
    with page_of_clips(tmp_path_factory.mktemp("page"), clips, tiny_encoder) as client:
        yield client


def export(page: TestClient, **order: Any) -> dict[str, Any]:
    """What becomes of an export that is ordered, once it is over."""
    made = page.post("api/export", json=order)
    assert made.status_code == 200, made.text
    job = made.json()["export"]
    wait_until(lambda: page.get(f"api/export/{job}").json()["state"] != "running")
    return {**page.get(f"api/export/{job}").json(), "job": job}


# Films ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hevc.mp4", "prores.mov", "mpeg4.avi", "long.wmv", "rotated90.mp4", "hevc_pq.mp4"])
def test_a_film_shows_the_frames_of_its_moment_upright(name: str, clips: Path, tmp_path: Path) -> None:
    truth = json.loads((clips / "truth.json").read_text())[name]
    numbers = dict(zip(truth["times"], truth["numbers"], strict=True))
    start, end = truth["times"][len(truth["times"]) // 3], truth["times"][-1]
    film = tmp_path / "film.mp4"
    film.write_bytes(b"".join(stream_moment(clips / name, start, end)))
    shown = numbers_of(film)
    expected = [number for time, number in numbers.items() if start <= time < end]
    assert [number for number in shown.values() if number is not None] == expected
    assert next(iter(shown)) == 0.0


def test_a_film_has_the_sound_of_its_moment(clips: Path, tmp_path: Path) -> None:
    source, film = tmp_path / "beeps.mkv", tmp_path / "film.mp4"
    write_beeps(source, "libopus")
    film.write_bytes(b"".join(stream_moment(source, 2.0, 4.0)))
    assert beeps_of(film) == pytest.approx([0.5, 1.2], abs=0.03)


def test_a_film_is_sent_as_browsers_play_it(page: TestClient) -> None:
    video = first_result(page, "yellow")
    assert video["plays"] == "converted"
    answer = page.get(f"play/{video['video']}", params={"start": 0.5, "end": 1.5})
    assert answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content), "r") as film:
        assert film.streams.video[0].codec_context.name == "h264"
        assert len(list(film.decode(video=0))) == 25
    assert page.head(f"play/{video['video']}").content == b""


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"start": "nan"}, 400),
        ({"start": "1", "end": "0.5"}, 400),
        ({"start": "1e99", "end": "1e99"}, 404),
        ({"start": "-5", "end": "0.1"}, 200),
        ({"end": "inf"}, 400),
        ({"start": "\u0661"}, 200),
    ],
    ids=str,
)
def test_times_of_a_film_that_make_no_sense_are_refused(page: TestClient, asked: dict[str, str], status: int) -> None:
    video = first_result(page, "yellow")["video"]
    assert page.get(f"play/{video}", params=asked).status_code == status


# Pictures as queries --------------------------------------------------------------------------------------------------


def test_a_dropped_picture_is_looked_for(page: TestClient, clips: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    given = page.post("api/picture", content=picture.getvalue())
    assert given.status_code == 200, given.text
    answer = page.get("api/search", params={"picture": given.json()["picture"], "limit": 4}).json()
    assert len(answer["results"]) == 4
    clip = page.post("api/picture", content=(clips / "h264.mp4").read_bytes()).json()["picture"]
    alike = page.get("api/search", params={"picture": clip}).json()["results"]
    assert "h264.mp4" not in [one["name"] for one in alike]  # it is the very video


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "Nothing was sent."),
        (b"this is no picture", "This is no picture or video that can be read."),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "This is no picture or video that can be read."),
        (b"#EXTM3U\n/etc/passwd\n", "This is no picture or video that can be read."),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "This is no picture or video that can be read."),
        (bytes(64 * 2**20 + 1), "That is too large."),
    ],
    ids=["nothing", "text", "png", "playlist", "concat", "large"],
)
def test_what_is_no_picture_is_refused(page: TestClient, content: bytes, says: str) -> None:
    answer = page.post("api/picture", content=content)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_a_picture_that_is_not_kept_any_more_is_told(page: TestClient) -> None:
    answer = page.get("api/search", params={"picture": "0123456789abcdef"})
    assert (answer.status_code, answer.json()["remedy"]) == (404, "Drop it on the page again.")


# The player, and exports ----------------------------------------------------------------------------------------------


def test_a_moment_opens_in_the_owners_player(page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, notes = noting_player(tmp_path)
    monkeypatch.setenv("VIDFIND_PLAYER", program)
    video = first_result(page, "a blue star")
    answer = page.post("api/open", json={"moment": video["id"]})
    assert answer.json()["name"] == "long.mp4"
    assert notes.read_text().startswith("0.00 /")
    monkeypatch.setenv("VIDFIND_PLAYER", str(tmp_path / "nothing"))
    failed = page.post("api/open", json={"moment": video["id"]})
    assert failed.status_code == 400
    assert "Install mpv or VLC" in failed.json()["remedy"]


@pytest.mark.parametrize(
    ("form", "endings"),
    [
        ("clips", [".mp4", ".mp4"]),
        ("join", None),
        ("otio", None),
        ("edl", None),
        ("fcpxml", None),
        ("csv", None),
        ("m3u", [".m3u", ".m3u"]),
    ],
)
def test_chosen_moments_are_exported_for_download(page: TestClient, form: str, endings: list[str] | None) -> None:
    moments = [first_result(page, words)["id"] for words in ("a red circle", "yellow")]
    done = export(page, moments=moments, form=form, pad=0.5)
    assert (done["state"], done["error"], done["remarks"]) == ("done", "", [])
    file = page.get(f"export/{done['job']}")
    assert file.headers["content-disposition"] == f"attachment; filename*=utf-8''{done['name']}"
    assert done["name"] == ("moments.zip" if endings else "film.mp4" if form == "join" else f"moments.{form}")
    if endings:
        packed = zipfile.ZipFile(io.BytesIO(file.content)).namelist()
        assert [Path(name).suffix for name in packed] == endings
    else:
        assert file.content


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"moments": []},
        {"moments": "x", "form": "clips"},
        {"moments": [1], "form": "clips"},
        {"moments": ["x"], "form": "clips"},
        {"moments": ["x"] * 501, "form": "clips"},
        {"moments": ["x"], "form": "mov"},
        {"moments": ["x"], "form": ["clips"]},
        {"moments": ["x"], "form": "clips", "pad": -1},
        {"moments": ["x"], "form": "clips", "pad": True},
        {"moments": ["x"], "form": "clips", "pad": "1"},
    ],
    ids=lambda order: str(order)[:50],
)
def test_an_order_that_makes_no_sense_is_refused(page: TestClient, order: dict[str, Any]) -> None:
    answer = page.post("api/export", json=order)
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"moment": NaN}'], ids=str)
def test_what_is_no_json_is_refused(page: TestClient, body: bytes) -> None:
    assert page.post("api/export", content=body).status_code == 400
    assert page.post("api/open", content=body).status_code == 400
