"""What shows an index in object storage for longer than a command: the page, an assistant's tools, and exports."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.support.page import first_result, make_index, opened_page
from tests.support.ran import Run
from tests.support.waiting import wait_until
from vidfind.assistants.server import make_server
from vidfind.assistants.tools import Tools
from vidfind.cli.shared.prompt import why_nothing
from vidfind.encoders.encoder import Encoder
from vidfind.media.probe import probe
from vidfind.store.places.path import RemotePath

pytestmark = pytest.mark.soak


@pytest.fixture
def index(remote: RemotePath, clips: Path, tiny_encoder: Encoder) -> RemotePath:
    make_index(remote, tiny_encoder, {clips / "long.mp4": "a blue star", clips / "h264.mp4": "a red circle"})
    return remote


def test_the_page_searches_shows_pictures_and_exports(
    index: RemotePath, clips: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    with opened_page(index, tmp_path / "pictures", tiny_encoder) as page:
        first = first_result(page, "a blue star")
        assert first["name"] == "long.mp4"
        assert page.get(f"picture/{first['video']}").headers["content-type"] == "image/jpeg"
        order = {"moments": [first["id"]], "form": "clips", "pad": 0}
        job = page.post("api/export", json=order).json()["export"]
        wait_until(lambda: page.get(f"api/export/{job}").json()["state"] != "running")
        assert page.get(f"api/export/{job}").json()["state"] == "done"


def test_the_tools_of_an_assistant_answer(index: RemotePath, clips: Path, tmp_path: Path) -> None:
    video = str(clips / "long.mp4")

    calls: dict[str, dict[str, Any]] = {
        "search": {"query": "a blue star"},
        "moment_picture": {"video": video, "time": 1},
        "video_details": {"video": video},
        "index_status": {},
    }

    async def talk() -> list[Any]:
        async with Client(make_server(Tools(index, tmp_path / "made", why_nothing))) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls.items()]

    answers = asyncio.run(asyncio.wait_for(talk(), 300))
    assert [answer.is_error for answer in answers] == [False] * 4, [answer.content for answer in answers]
    assert "long.mp4" in json.dumps(answers[0].structured_content)
    assert index.name in json.dumps(answers[3].structured_content)


def test_what_is_found_is_exported(index: RemotePath, run: Run, tmp_path: Path) -> None:
    searched = ("a red circle", "--limit", "1", "--index", index.name)
    ran = run("export", *searched, "--clips", tmp_path / "out")
    assert ran.code == 0, ran.err
    [clip] = (tmp_path / "out").iterdir()
    assert probe(clip).duration > 0
    ran = run("export", *searched, "--timeline", tmp_path / "cut.edl")
    assert ran.code == 0, ran.err
    assert "h264" in (tmp_path / "cut.edl").read_text()
