"""Sends the file of a video, or the part of it that a player asks for."""

from __future__ import annotations

import functools
import os
import re
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import anyio
from anyio import CancelScope
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from vidfind.store.files import Opened
from vidfind.web.replies import readable

BLOCK = 256 * 1024  # bytes read at a time
PATIENCE = 120.0  # seconds that a player may leave what it was sent unread; a paused one asks again later
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",  # what browsers play of it has the same form
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".ogv": "video/ogg",
    ".gif": "image/gif",
    ".zip": "application/zip",
}
"""The media type by the ending of a name. Others are sent as bytes, which no browser shows."""


class Unsatisfiable(Exception):
    """A range begins behind the end of a file."""


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Returns the first byte that is asked for, and the one behind the last; None for all of the file.

    What is no range, or several, stands for all, as the standard allows. Raises Unsatisfiable.

    >>> parse_range("bytes=10-19", 100), parse_range("bytes=-5", 100), parse_range("bytes=5-1", 100)
    ((10, 20), (95, 100), None)
    """
    found = RANGE.fullmatch("".join(text.lower().split())) if text else None
    if not found or found[0] == "bytes=-":
        return None
    if not found[1]:
        if not (length := int(found[2])) or not size:
            raise Unsatisfiable
        return max(0, size - length), size
    first, last = int(found[1]), int(found[2]) if found[2] else size - 1
    if last < first and found[2]:
        return None
    if first >= size:
        raise Unsatisfiable
    return first, min(last, size - 1) + 1


class FileReply:
    """The answer that an open file is, or a part of it; closes the file."""

    def __init__(self, opened: Opened, ending: str, download: str = "") -> None:
        """`download` is the name under which a browser is to keep the file; without one, it shows it."""
        self._file, status = opened
        name = urllib.parse.quote(readable(download), safe="")
        self._more = {"content-disposition": f"attachment; filename*=utf-8''{name}"} if download else {}
        self._size = status.st_size
        self._type = TYPES.get(ending.lower(), "application/octet-stream")
        self._tag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            headers = Headers(scope=scope)
            if_range = headers.get("if-range")
            wanted = headers.get("range") if if_range is None or if_range == self._tag else None
            try:
                part = parse_range(wanted, self._size)
            except Unsatisfiable:
                await self._start(send, 416, 0, {"content-range": f"bytes */{self._size}"})
                await send({"type": "http.response.body", "body": b""})
                return
            first, end = part or (0, self._size)
            ranged = {"content-range": f"bytes {first}-{end - 1}/{self._size}"} if part else {}
            await self._start(send, 206 if part else 200, end - first, ranged)
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
            else:
                async with stopping_when_gone(receive):
                    await self._send_part(send, first, end)

    async def _start(self, send: Send, status: int, length: int, more: dict[str, str]) -> None:
        headers = {
            "content-type": self._type,
            "content-length": str(length),
            "accept-ranges": "bytes",
            "cache-control": "private, no-cache",
            "etag": self._tag,
            **self._more,
            **more,
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})

    async def _send_part(self, send: Send, first: int, end: int) -> None:
        while first < end:
            read = functools.partial(read_block, self._file, first, min(BLOCK, end - first))
            block = await anyio.to_thread.run_sync(read)
            if not block:
                return  # the file is shorter now; the server ends the connection, so that the player notices
            first += len(block)
            with anyio.move_on_after(PATIENCE) as waiting:
                await send({"type": "http.response.body", "body": block, "more_body": first < end})
            if waiting.cancelled_caught:
                return
        if not end:
            await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def stopping_when_gone(receive: Receive) -> AsyncIterator[CancelScope]:
    """Ends what is done inside when the client leaves. Yields the scope that ends it."""

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        yield tasks.cancel_scope
        tasks.cancel_scope.cancel()


def open_file(path: Path) -> Opened:
    """Opens a file that the page itself has made."""
    file = open(path, "rb")  # noqa: SIM115, whoever sends it closes it
    return Opened(file, os.fstat(file.fileno()))


def read_block(file: BinaryIO, place: int, length: int) -> bytes:
    """Returns bytes from a place in a file; fewer at its end, or if the disk fails."""
    try:
        file.seek(place)
        return file.read(length)
    except OSError:
        return b""
