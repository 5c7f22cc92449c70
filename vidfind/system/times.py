"""Reads and writes times as people do. Uses only the standard library."""

import math
import re
from contextlib import suppress
from datetime import datetime, time, timedelta

command_began: float | None = None
"""When the command was typed, by `time.monotonic()`; None where vidfind is used as a library."""

# Half of Europe, and every subtitle file, writes 83,5 for 83.5.
TIME = re.compile(r"((\d{1,6}:)?\d{1,6}:)?\d+([.,]\d*)?", re.ASCII)


def parse_time(text: str) -> float:
    """Returns `83`, `83.5`, `1:23.5` or `1:02:03` in seconds; after a colon only 0 to 59. Raises ValueError.

    >>> parse_time("1:23.5"), parse_time("1:02:03")
    (83.5, 3723.0)
    """
    text = text.strip()
    if not TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a time")
    first, *rest = (float(part) for part in text.replace(",", ".").split(":"))
    seconds = first
    for part in rest:
        if part >= 60:
            raise ValueError(f"{text!r} is not a time")
        seconds = seconds * 60 + part
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is not a time")
    return seconds


def clock(seconds: float) -> str:
    """Returns whole seconds as `1:23` or `1:02:03`.

    >>> clock(83.9), clock(3723)
    ('1:23', '1:02:03')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def local_time(moment: datetime) -> datetime:
    """Returns a time with a zone as the clocks here show it, summer time included: the one rule for all local days.

    Near the ends of the calendar, where local time may leave it, the time stays as it is."""
    with suppress(OverflowError, OSError, ValueError):
        moment = moment.astimezone()
    return moment.replace(tzinfo=None)


def touches_time_of_day(moment: datetime, begin: float, end: float, opens: time, closes: time) -> bool:
    """Whether what lies from `begin` to `end` seconds after a moment is partly between two local times of day.

    From a later time to an earlier one means over midnight; equal ones mean the whole day."""
    day = 24 * 3600.0
    with suppress(OverflowError):  # beyond the calendar
        moment += timedelta(seconds=begin)
    first, start, stop = (
        timedelta(hours=one.hour, minutes=one.minute, seconds=one.second, microseconds=one.microsecond).total_seconds()
        for one in (local_time(moment), opens, closes)
    )
    last = first + end - begin
    stop += day if stop <= start else 0
    return end - begin >= day or any(first < stop + shift and last > start + shift for shift in (-day, 0, day))
