"""The pictures and short clips that somebody drops on the page, to look for the like of: few, and not for long."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from pathlib import Path

import anyio
from starlette.requests import Request

from vidfind.errors import BadInput
from vidfind.search.question.expression import Example
from vidfind.system.text import file_size
from vidfind.web.replies import NotHere

MOST_BYTES = 64 * 2**20
MOST_GIVEN = 8
LONGEST_SENDING = 60.0  # seconds


class Given:
    """The pictures that were given last, in files of a folder that goes when the page is closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._examples: OrderedDict[str, Example] = OrderedDict()

    def example(self, handle: str) -> Example:
        """Returns the picture with a handle. Raises NotHere if there is none any more."""
        example = self._examples.get(handle)
        if example is None:
            raise NotHere("This picture is not here any more. Drop it on the page again.")
        self._examples.move_to_end(handle)
        return example

    def keep(self, data: bytes) -> str:
        """Keeps the contents of a file, and returns its handle; the oldest go."""
        handle = secrets.token_hex(8)
        file = self._folder / handle
        file.write_bytes(data)
        self._examples[handle] = Example(file)
        while len(self._examples) > MOST_GIVEN:
            self.drop(next(iter(self._examples)))
        return handle

    def drop(self, handle: str) -> None:
        """Forgets a picture."""
        if example := self._examples.pop(handle, None):
            example.file.unlink(missing_ok=True)


async def read_body(request: Request, most: int = MOST_BYTES) -> bytes:
    """Returns what a request sends. Raises BadInput if that is nothing, or more than `most` bytes."""
    too_much = BadInput(f"That is too large. At most {file_size(most)} can be sent.")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise too_much
    parts, size = [], 0
    with anyio.move_on_after(LONGEST_SENDING) as sending:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_much
            parts.append(part)
    if sending.cancelled_caught:
        raise BadInput("It takes too long to be sent. Try again.")
    if not size:
        raise BadInput("Nothing was sent.")
    return b"".join(parts)
