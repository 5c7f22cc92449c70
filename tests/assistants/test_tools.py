"""The tools that an assistant calls, through the SDK's own client, in this process and as a program."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import PIL.Image
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, ImageContent, TextContent

from tests.clips.make import read_number
from tests.support.clocks import number_at, shown_by_players
from tests.support.described import SHOWN, describe
from tests.support.program import program
from tests.support.ran import Run
from tests.support.rows import make_row
from tests.support.stored import put
from vidfind.assistants.server import make_server
from vidfind.assistants.tools import Tools
from vidfind.cli.shared.prompt import why_nothing
from vidfind.encoders.encoder import Encoder
from vidfind.media.probe import probe
from vidfind.store.places.progress import noting_run
from vidfind.store.store import Embedded
from vidfind.system.files import fingerprint
from vidfind.tagging.edit import add_labels, tag_label
from vidfind.words.levels import update_levels

READING = ["search", "moment_picture", "video_details", "index_status"]
T = TypeVar("T")
Call = Callable[..., CallToolResult]


@pytest.fixture(scope="module")
def home(tiny_encoder: Encoder, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an index of 27 descriptions without files, and of two real clips: one name is no valid Unicode."""
    home = tmp_path_factory.mktemp("home")
    store = describe(home / "indexes" / "default", tiny_encoder)
    vectors = tiny_encoder.encode_text(["a green ring shrinks", "two yellow lines"]).numpy()
    rows = []
    for name in ("h264_sound.mp4", os.fsdecode(b"vfr\xff.mp4")):
        file = Path(shutil.copy(clips / name.replace(os.fsdecode(b"\xff"), ""), home / name))
        info = probe(file)
        rows.append(
            make_row(
                str(file),
                1,
                folder=home,
                size=file.stat().st_size,
                fingerprint=fingerprint(file),
                duration=info.duration,
                codec="h264",
            )
        )
    put(store, rows, [Embedded(row.content, [(0.0, 1.0)], vectors[i : i + 1]) for i, row in enumerate(rows)])
    update_levels(store)
    add_labels(store, [tag_label(rows[0], name, 1) for name in ("dog", "beach")])
    return home


@pytest.fixture
def tools(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))  # for the cache of pictures
    return Tools(home / "indexes" / "default", tmp_path / "made", why_nothing)


@pytest.fixture
def call(tools: Tools) -> Call:
    """Calls a tool as the SDK's client does, in this process."""

    def call(name: str, **arguments: Any) -> CallToolResult:
        async def talk() -> CallToolResult:
            async with Client(make_server(tools)) as client:
                return await client.call_tool(name, arguments)

        return run_soon(talk())

    return call


def run_soon(talk: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(talk, 300))


def said(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def values(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, said(result)
    assert result.structured_content is not None
    assert json.loads(said(result)) == result.structured_content  # for clients that know no structured answers
    return cast("dict[str, Any]", result.structured_content)


# Searches


def test_a_search_finds_moments_with_all_that_the_other_tools_need(call: Call) -> None:
    found = values(call("search", query=SHOWN[0], limit=2))
    assert found["remarks"] == []
    first, second = found["moments"]
    assert (first["rank"], first["video"], first["present"]) == (1, f"/home/{SHOWN[0]}.mp4", False)
    assert (first["start"], first["end"], first["best"], first["match"] > 90) == (0.0, 10.0, 5.0, True)
    assert second["score"] < first["score"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"query": SHOWN[0], "folders": ["/trips"], "limit": 1}, "/trips/"),
        ({"query": SHOWN[0], "exclude": ["/home"], "limit": 1}, "/trips/"),
        ({"like": f"/home/{SHOWN[0]}.mp4@5", "limit": 1}, ".mp4"),
        ({"query": SHOWN[0], "like": f"/home/{SHOWN[0]}.mp4@0:05", "without": [SHOWN[4]], "limit": 1}, ".mp4"),
        ({"query": SHOWN[0], "then": [SHOWN[7]], "within": 0, "limit": 1}, SHOWN[0]),
        ({"query": SHOWN[0], "since": "2024-05-17", "until": "2024", "limit": 1}, SHOWN[0]),
        ({"query": SHOWN[0], "tags": ["Dog"]}, "h264_sound"),
        ({"query": SHOWN[0], "tags": ["dog"], "no_tags": ["cat"]}, "h264_sound"),
        ({"query": SHOWN[0], "min_match": 90, "limit": 1}, SHOWN[0]),
        ({"query": SHOWN[0], "folders": '["/trips"]', "limit": 1}, "/trips/"),  # as some assistants write a list
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_search_takes_filters_and_examples(arguments: dict[str, Any], expected: str, call: Call) -> None:
    [moment] = values(call("search", **arguments))["moments"]
    assert expected in moment["video"]
    assert len(moment["steps"]) == (2 if "then" in arguments else 0)


def test_a_search_says_why_it_finds_nothing_and_what_fits_badly(call: Call) -> None:
    assert values(call("search", query=SHOWN[0], since="2025"))["remarks"][0].startswith("Nothing passes --since.")
    remarks = values(call("search", query="a quarrelsome zeppelin", limit=1))["remarks"]
    assert any("does not know" in one for one in remarks)


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("search", {}, "The query is empty."),
        ("search", {"query": "a", "limit": 0}, "limit"),
        ("search", {"query": "a", "limit": 101}, "limit"),
        ("search", {"query": "a", "since": "someday"}, "'someday' is not a date"),
        ("search", {"query": "a", "since": "2025", "until": "2024"}, "is later than the last day"),
        ("search", {"query": "a", "within": 5}, "it needs --then"),
        ("search", {"query": "a", "tags": ["dig"]}, "No video has the tag 'dig'. Did you mean 'dog'?"),
        ("search", {"query": "a", "classes": ["pets:rex"]}, "pets:rex"),
        ("search", {"query": "a", "folders": ["/elsewhere"]}, "/elsewhere"),
        ("search", {"query": "a", "folders": [""]}, "The name of a folder is empty."),
        ("search", {"like": "/etc/passwd@1"}, "The index holds no video '/etc/passwd'."),
        ("search", {"like": f"/home/{SHOWN[0]}.mp4"}, "write PATH@SECONDS"),
        ("search", {"like": f"/home/{SHOWN[0]}.mp4@soon"}, "write PATH@SECONDS"),
        ("search", {"like": f"/home/{SHOWN[0]}.mp4@99"}, "is only 20.0 seconds long"),
        ("video_details", {"video": "/etc/passwd"}, "The index holds no video '/etc/passwd'."),
        ("video_details", {"video": "a\0b"}, "The index holds no video"),
        ("video_details", {"video": "x" * 10_000}, "The index holds no video"),
        ("video_details", {}, "video"),
        ("moment_picture", {"video": "/etc/passwd", "time": 1}, "The index holds no video '/etc/passwd'."),
        ("moment_picture", {"video": f"/home/{SHOWN[0]}.mp4", "time": 99}, "is 20 seconds long"),
        ("moment_picture", {"video": f"/home/{SHOWN[0]}.mp4", "time": 9}, "is not there now"),
        ("moment_picture", {"video": f"/home/{SHOWN[0]}.mp4", "time": 9, "size": 10**6}, "size"),
        ("export_clip", {"video": "/etc/passwd", "start": 0, "end": 1}, "The index holds no video '/etc/passwd'."),
        ("export_clip", {"video": f"/home/{SHOWN[0]}.mp4", "start": 0, "end": 1}, "is not there now"),
        ("export_clip", {"video": f"/home/{SHOWN[0]}.mp4", "start": 2, "end": 1}, "before it begins, at 2 s"),
        ("export_clip", {"video": f"/home/{SHOWN[0]}.mp4", "start": 0, "end": 601}, "at most 600 seconds"),
        ("remove", {}, "Unknown tool"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_an_error_with_its_reason(
    tool: str, arguments: dict[str, Any], reason: str, call: Call, tmp_path: Path
) -> None:
    result = call(tool, **arguments)
    assert result.is_error
    assert reason in said(result)
    assert not (tmp_path / "made").exists()


# Videos


def test_details_of_a_video(call: Call, home: Path) -> None:
    video = values(call("video_details", video=str(home / "h264_sound.mp4")))
    assert (video["video"], video["present"], video["codec"]) == (str(home / "h264_sound.mp4"), True, "h264")
    assert (video["tags"], video["automatic_tags"], video["copies"]) == (["beach", "dog"], [], [])
    assert video["filmed"] == "2024-05-17T12:30:00Z"


def test_a_name_that_is_no_valid_unicode_works_in_all_tools(call: Call, home: Path) -> None:
    [moment] = values(call("search", query="two yellow lines", limit=1))["moments"]
    assert moment["video"] == str(home / "vfr\\xff.mp4")
    assert values(call("video_details", video=moment["video"]))["present"]
    assert values(call("export_clip", video=moment["video"], start=0, end=0.5))["seconds"] == pytest.approx(0.5)


@pytest.mark.parametrize("time", [0.0, 1.1, 1.9])
def test_the_picture_of_a_moment_is_the_frame_shown_then(time: float, call: Call, home: Path) -> None:
    [content] = call("moment_picture", video=str(home / "h264_sound.mp4"), time=time).content
    assert isinstance(content, ImageContent)
    assert content.mime_type == "image/jpeg"
    picture = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(content.data))))
    left = (picture.shape[1] - picture.shape[0]) // 2
    shown = number_at(shown_by_players(home / "h264_sound.mp4"), time)
    assert read_number(picture[:, left : left + picture.shape[0]]) == shown


def test_a_kept_picture_is_shown_though_its_video_is_away(call: Call, home: Path, tmp_path: Path) -> None:
    file = home / "h264_sound.mp4"
    shown = call("moment_picture", video=str(file), time=1).content
    kept = file.rename(tmp_path / "kept.mp4")
    try:
        again, other = (call("moment_picture", video=str(file), time=time) for time in (1, 1.5))
    finally:
        kept.replace(file)
    assert again.content == shown
    assert "is not there now" in said(other)


def test_a_path_may_lead_through_a_link(call: Call, home: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home)
    assert values(call("video_details", video=str(tmp_path / "link" / "h264_sound.mp4")))["present"]


@pytest.mark.parametrize("put_there", [lambda other, file: file.symlink_to(other), shutil.copy], ids=["link", "copy"])
def test_what_has_taken_the_place_of_a_video_is_never_read(
    put_there: Callable[[Path, Path], None], call: Call, home: Path, clips: Path, tmp_path: Path
) -> None:
    file = home / "h264_sound.mp4"
    kept = file.rename(tmp_path / "kept.mp4")
    try:
        put_there(clips / "h264.mp4", file)
        results = [
            call("export_clip", video=str(file), start=0, end=1),
            call("moment_picture", video=str(file), time=0),
        ]
    finally:
        file.unlink()
        kept.replace(file)
    for result in results:
        assert "is not what was indexed. Somebody must index it again: vidfind index" in said(result)
    assert not (tmp_path / "made").exists()


def test_the_status_names_folders_and_what_could_not_be_read(call: Call, home: Path) -> None:
    status = values(call("index_status"))
    assert (status["index"], status["videos"], status["segments"], status["model"]) == ("default", 29, 56, "tiny")
    assert {"path": str(home), "present": True} in status["folders"]
    assert (status["tags"], status["classes"], status["run"]) == (["beach", "dog"], [], None)
    with noting_run(home / "indexes" / "default", total=3):
        assert values(call("index_status"))["run"] == {"done": 0, "total": 3, "seconds_left": None}


def test_without_an_index_each_tool_says_how_to_make_one(tmp_path: Path) -> None:
    async def talk() -> list[str]:
        async with Client(make_server(Tools(tmp_path / "default", None, why_nothing))) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == READING
            return [said(await client.call_tool(name, {"query": "a"})) for name in ("search", "index_status")]

    assert all("vidfind index FOLDER" in text for text in run_soon(talk()))


# Clips


def test_a_clip_is_written_into_the_folder_and_overwrites_none(call: Call, home: Path, tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        made = values(call("export_clip", video=str(home / "h264_sound.mp4"), start=0.4, end=1, pad=0.2))
        assert probe(Path(made["clip"])).duration == pytest.approx(made["seconds"]) == pytest.approx(1.0)
        names.append(Path(made["clip"]).name)
    assert names == ["01 h264_sound 0.2s-1.2s.mp4", "01 h264_sound 0.2s-1.2s (2).mp4"]


@pytest.mark.parametrize("by", ["assistant", "owner"])
def test_a_clip_that_is_stopped_leaves_no_part_of_a_file(by: str, tools: Tools, home: Path, tmp_path: Path) -> None:
    async def talk() -> None:
        async with Client(make_server(tools)) as client:

            async def stop(progress: float, total: float | None, message: str | None) -> None:
                assert len(list((tmp_path / "made").iterdir())) == 1
                if by == "assistant":
                    calling.cancel()
                else:
                    tools.stop(seconds=0)

            arguments = {"video": str(home / "h264_sound.mp4"), "start": 0, "end": 2}
            calling = asyncio.create_task(client.call_tool("export_clip", arguments, progress_callback=stop))
            [result] = await asyncio.gather(calling, return_exceptions=True)
            if by == "owner":
                assert isinstance(result, CallToolResult)
                assert "was stopped" in said(result)
            else:
                assert isinstance(result, asyncio.CancelledError)

    run_soon(talk())
    tools.stop()
    assert list((tmp_path / "made").iterdir()) == []


# The program


def test_an_assistant_talks_to_the_program(home: Path, tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "vidfind", "mcp", "--clips", str(tmp_path / "made")],
        env={"VIDFIND_HOME": str(home)},
    )

    async def talk() -> None:
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            assert [tool.name for tool in tools] == [*READING, "export_clip"]
            assert all(tool.description and tool.annotations for tool in tools)
            assert [tool.name for tool in tools if not tool.output_schema] == ["moment_picture"]
            assert [tool.name for tool in tools if tool.annotations and tool.annotations.read_only_hint] == READING
            assert all(tool in (client.instructions or "") for tool in ("search", "moment_picture"))
            video = str(home / "h264_sound.mp4")
            found = values(await client.call_tool("search", {"query": "a green ring shrinks", "limit": 1}))
            assert [moment["video"] for moment in found["moments"]] == [video]
            made = values(await client.call_tool("export_clip", {"video": video, "start": 0, "end": 0.4}))
            assert Path(made["clip"]).parent == tmp_path / "made"
            assert (await client.call_tool("video_details", {"video": "/etc/passwd"})).is_error

    run_soon(talk())


def test_the_program_says_nothing_but_the_protocol_and_ctrl_c_ends_it(home: Path) -> None:
    process = program("mcp", home=home, stdin=-1)
    assert process.stdin and process.stdout
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    for line in (
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        "no protocol",
        json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping"}),
    ):
        print(line, file=process.stdin, flush=True)
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert sorted(answer["id"] for answer in answers) == [1, 2]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_without_the_sdk_an_error_says_how_to_install_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vidfind.assistants.server", "mcp.server.mcpserver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    ran = run("mcp")
    assert (ran.code, ran.out) == (1, "")
    assert 'uv tool install ".[mcp]"' in ran.err


def test_clips_need_a_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("mcp", "--clips", tmp_path / "file")
    assert (ran.code, ran.out) == (2, "")
    assert "--clips takes a folder" in ran.err
