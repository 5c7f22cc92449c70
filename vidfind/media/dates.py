"""Finds out when a video was recorded: from its metadata, else from its name and folders, else from the file's time.

Dates that clocks have which were never set count as none, and so do dates in the future. Dates without a time zone are
in the local one. Opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

# In the order in which they are believed, in lower case. Of each, the tag of the file goes before that of the stream.
DATE_TAGS = (
    "com.apple.quicktime.creationdate",  # iPhones: stays when a video is exported, and has a time zone
    "creation_time",  # MP4 and MOV headers, Matroska's DateUTC, AVI's IDIT
    "date_recorded",  # Matroska
    "creationdate",  # FLV
    "wm/encodingtime",  # ASF
    "date_digitized",  # Matroska
    "date",  # Matroska's DATE, AVI's ICRD, MP4's copyright-sign day
    "modification_date",  # MXF: when the camera closed the file
)
OLDEST_CLOCK = datetime(1990, 1, 2, tzinfo=UTC)
"""Clocks of cameras that show an earlier time were never set: they begin in 1904, 1970 or 1980."""
OLDEST_NAME = datetime(1950, 1, 1, tzinfo=UTC)
"""People give digitised films names with dates as early as this."""
RESET_DAYS = {date(1904, 1, 1), date(1970, 1, 1), date(1980, 1, 1), date(2000, 1, 1)}
"""The days on which the clocks of cameras begin again when their battery was empty."""
FUTURE = timedelta(days=2)
"""A clock may be ahead by so much: it is set to another time zone, or a little wrong."""
NOON = time(12)
"""The time of day where only the day is known: no time zone makes another day of it."""
FOLDERS = 4
"""How many of the folders above a video may tell its date."""
LAST_SECOND = 253402300799  # of the year 9999


@dataclass(frozen=True)
class Recorded:
    """When a video was recorded, in UTC, and what tells so."""

    created: datetime
    created_from: str
    """`metadata`, `name` or `file`; empty where it is not known, in indexes of an older vidfind."""


def when_recorded(path: Path, mtime_ns: int, metadata: Sequence[Mapping[str, str]] = ()) -> Recorded:
    """Returns the date of a video. `metadata` holds its tags: those of the file, then those of the stream.

    `mtime_ns` is when the file was last changed."""
    modified = file_time(mtime_ns)
    if created := _from_metadata(metadata):
        return Recorded(created, "metadata")
    if created := _from_name(path, modified):
        return Recorded(created, "name")
    return Recorded(modified, "file")


def file_time(mtime_ns: int) -> datetime:
    """Returns when a file was last changed; the nearest date that a datetime can hold where a clock was broken."""
    return datetime.fromtimestamp(min(max(mtime_ns // 10**9, 0), LAST_SECOND), UTC)


def _is_plausible(moment: datetime, oldest: datetime) -> bool:
    """Whether a moment, in the time zone in which it is written, can be when a video was recorded."""
    is_new_year = (moment.month, moment.day, moment.time()) == (1, 1, time(0))  # tags that know only the year; resets
    return oldest <= moment <= datetime.now(UTC) + FUTURE and moment.date() not in RESET_DAYS and not is_new_year


# Metadata -------------------------------------------------------------------------------------------------------------


def _from_metadata(metadata: Sequence[Mapping[str, str]]) -> datetime | None:
    levels = [{name.lower(): value for name, value in tags.items()} for tags in metadata]
    for tag in DATE_TAGS:
        for tags in levels:
            moment = parse_date(tags.get(tag, ""))
            if moment and _is_plausible(moment, OLDEST_CLOCK):
                return moment.astimezone(UTC)
    return None


def parse_date(text: str) -> datetime | None:
    """Returns a date as containers write it, with its time zone; None for other text, and where the day is missing.

    >>> parse_date("2019-07-04T18:20:00+0200") == parse_date("Thu Jul 04 16:20:00 2019 GMT")
    True
    """
    text = text.strip().removeprefix("UTC ")
    if re.fullmatch(r"\d{17,19}", text):  # Windows: units of 100 ns since 1601
        return datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(text) // 10)
    text = re.sub(r"^(\d{4})[:/](\d\d)[:/](\d\d)", r"\1-\2-\3", text)
    is_day = len(text) <= len("2019-07-04")
    for read in (datetime.fromisoformat, parsedate_to_datetime):  # the latter reads what C's asctime writes, too
        with suppress(ValueError, OverflowError, OSError):
            moment = read(text)
            return _localised(datetime.combine(moment, NOON) if is_day else moment)
    return None


def _localised(moment: datetime) -> datetime:
    """Returns the same time with the local time zone if it has none. Raises ValueError, OverflowError, OSError."""
    return moment if moment.tzinfo else moment.astimezone()


# Names ----------------------------------------------------------------------------------------------------------------

# 2025-03-01 or 20250301, and 2022_0101_120000 of dashcams.
DATE = (
    r"(?<!\d)(?P<year>\d{4})(?:(?P<sep>[-_. /])(?P<month>\d\d)(?P=sep)(?P<day>\d\d)|_?(?P<month2>\d\d)(?P<day2>\d\d))"
)
# Between date and time: `T`, `_`, ` at `, ` um `, or the rest of a folder's name.
GAP = r"(?:T|(?:.*/)?[\W_]{0,8}(?:[^\W\d_]{1,4}\.?[\W_]{1,8}){0,2})"
# 120000, 12-00-00, 12.00, 120000123 with milliseconds, 10.11.12 PM.
TIME = (
    r"(?P<hour>\d\d)(?:(?P<minute>\d\d)(?P<second>\d\d)|[-_.: h](?P<minute2>\d\d)(?:[-_.: m](?P<second2>\d\d))?)"
    r"(?:\d{3})?(?!\d)(?P<half>\W?[AP]M\b)?(?P<utc>Z\b)?"
)
DATE_IN_NAME = re.compile(rf"{DATE}(?:{GAP}{TIME}|(?!\d))", re.IGNORECASE | re.ASCII)
NAMES_IN_UTC = ("PXL_", "GMT")  # of Pixel phones, and of Zoom


def _from_name(path: Path, modified: datetime) -> datetime | None:
    """Returns the date in the name of a file, or of one of the nearest folders; with the time of day from the name.

    Of a day alone, the time of day is that of `modified`, if that is the same day, else noon. A day of a folder alone
    is not believed where the file is older: the folder may be that of a backup."""
    parts = [*path.parent.parts[-FOLDERS:], path.stem]
    for count in range(1, len(parts) + 1):
        for moment, is_exact in _dates_in("/".join(parts[-count:])):
            if not is_exact and moment.date() == modified.astimezone().date():
                return modified
            if is_exact or count == 1 or modified > moment - FUTURE:
                return moment.astimezone(UTC)
    return None


def _dates_in(text: str) -> Iterator[tuple[datetime, bool]]:
    """Yields the plausible dates in a text, and whether each has a time of day."""
    for match in DATE_IN_NAME.finditer(text):
        found = match.groupdict()
        try:
            day = date(int(found["year"]), int(found["month"] or found["month2"]), int(found["day"] or found["day2"]))
            moment = _localised(datetime.combine(day, NOON))
        except (ValueError, OverflowError, OSError):
            continue
        if not _is_plausible(moment, OLDEST_NAME if found["sep"] else OLDEST_CLOCK):
            continue
        exact = _at_time(day, found, is_utc=bool(found["utc"]) or text.startswith(NAMES_IN_UTC))
        yield (exact, True) if exact else (moment, False)


def _at_time(day: date, found: Mapping[str, str | None], is_utc: bool) -> datetime | None:
    if not found["hour"]:
        return None
    hour, minute = int(found["hour"]), int(found["minute"] or found["minute2"] or 0)
    if found["half"]:
        hour = hour % 12 + (12 if "P" in found["half"].upper() else 0)
    try:
        of_day = time(hour, minute, int(found["second"] or found["second2"] or 0), tzinfo=UTC if is_utc else None)
        return _localised(datetime.combine(day, of_day))
    except (ValueError, OverflowError, OSError):
        return None
