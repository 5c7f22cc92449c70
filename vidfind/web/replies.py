"""Answers in JSON, errors included."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from starlette.responses import Response

from vidfind.errors import BadInput, VidfindError

MARK = "\ufffd"
"""Stands for a byte of a name that is no text."""


class NotHere(VidfindError):
    """There is no such thing in the index, or its file is not there now."""


class Busy(VidfindError):
    """Too much of the same is done already."""


def json_reply(value: Any, status: int = 200) -> Response:
    """Returns an answer in JSON, which is ASCII, so that names that are no valid Unicode cannot break it."""
    return Response(
        json.dumps(value, default=_to_json, allow_nan=False).encode(), status, media_type="application/json"
    )


def error_reply(error: VidfindError) -> Response:
    """Returns the answer for an error: what is wrong, and what helps."""
    status = 404 if isinstance(error, NotHere) else 400 if isinstance(error, BadInput) else 503
    problem, remedy = split_remedy(error)
    return json_reply({"error": problem, "remedy": remedy}, status)


def split_remedy(error: VidfindError) -> tuple[str, str]:
    """Returns what is wrong, and the rest of the message, which says what to do.

    >>> split_remedy(BadInput("There is no tag 'cat'. The tags are: dog"))
    ("There is no tag 'cat'.", 'The tags are: dog')
    """
    problem, _, remedy = str(error).partition(". ")
    return (f"{problem}." if remedy else problem), remedy


def readable(text: object) -> str:
    """Returns text in which bytes of a name that is not UTF-8 are replaced by a mark.

    >>> readable("caf\\udce9")
    'caf\ufffd'
    """
    return "".join(MARK if "\ud800" <= char <= "\udfff" else char for char in str(text))


def _to_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else readable(value)
