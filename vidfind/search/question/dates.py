"""Reads days, months, years and times of day as people write them. Uses only the standard library.

Days are those of local time, and a week begins on Monday. A date that could mean two days is refused.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import date, time, timedelta
from typing import NamedTuple

from vidfind.errors import BadInput

EXAMPLES = "2024, 2024-05, 2024-05-17, yesterday, 7d, 2 weeks, or last month"
"""Dates that can be read, for help texts and messages."""
# fmt: off
MONTHS = ["_", "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december"]
# fmt: on
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
UNITS = {"d": "day", "day": "day", "days": "day", "w": "week", "week": "week", "weeks": "week"}
UNITS |= {"mo": "month", "month": "month", "months": "month", "y": "year", "year": "year", "years": "year"}


class Period(NamedTuple):
    """A day, week, month or year by its first and last day."""

    first: date
    last: date


def parse_period(text: str, today: date | None = None) -> Period:
    """The period that `text` names, seen from `today`. Raises BadInput for what is no date or could be two.

    >>> parse_period("2024-02").last, parse_period("2 weeks ago", date(2024, 5, 17)).first
    (datetime.date(2024, 2, 29), datetime.date(2024, 5, 3))
    """
    words = " ".join(re.sub(r"(?<=[a-z])[-_]|[-_](?=[a-z])", " ", text.lower()).split())
    today = today or date.today()
    try:
        for pattern, read in FORMS.items():
            if found := re.fullmatch(pattern, words, re.ASCII):
                return read(found, today)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{text!r} is no day of the calendar: write {EXAMPLES}.") from error
    raise BadInput(f"{text!r} is not a date: write {EXAMPLES}.")


def parse_time_of_day(text: str) -> time:
    """`22:00`, `22:00:30`, `22`, or `10 pm` as a time; 24:00 is midnight. Raises BadInput."""
    found = re.fullmatch(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))? ?([ap]m)?", text.strip().lower(), re.ASCII)
    try:
        if not found:
            raise ValueError
        hour, minute, second = (int(group or 0) for group in found.groups()[:3])
        if found[4]:
            if not 1 <= hour <= 12:
                raise ValueError
            hour = hour % 12 + (12 if found[4] == "pm" else 0)
        if (hour, minute, second) == (24, 0, 0):
            hour = 0
        return time(hour, minute, second)
    except ValueError as error:
        raise BadInput(f"{text!r} is not a time of day: write 22:00, or 10pm.") from error


def _calendar(found: re.Match[str], today: date) -> Period:
    """The year, month or day whose numbers or names were found."""
    parts = found.groupdict()
    year = int(parts["year"])
    if not parts.get("month"):
        return Period(date(year, 1, 1), date(year, 12, 31))
    month = _month_number(parts["month"])
    if not parts.get("day"):
        return _whole("month", date(year, month, 1))
    return _day(date(year, month, int(parts["day"])))


def _month_number(text: str) -> int:
    """A month by its number, its English name, or the beginning of that."""
    if text.isdecimal():
        return int(text)
    return next(number for number, name in enumerate(MONTHS) if name.startswith(text))


def _either_order(found: re.Match[str], today: date) -> Period:
    """The day of two numbers of which either may be the day. Raises BadInput if both can be."""
    one, other, year = int(found["one"]), int(found["other"]), int(found["year"])
    days = {date(year, month, day) for month, day in ((one, other), (other, one)) if month <= 12}
    if len(days) > 1:
        earlier, later = sorted(days)
        raise BadInput(f"{found[0]!r} may be {earlier} or {later}: write it in this way, with the year first.")
    return _day(days.pop() if days else date(year, one, other))  # the latter is no day, and says so


def _before(found: re.Match[str], today: date) -> Period:
    return _day(_ago(today, int(found["count"]), UNITS[found["unit"]]))


def _latest(found: re.Match[str], today: date) -> Period:
    """This or the last week, month or year."""
    count = 1 if found["which"] == "last" else 0
    return _whole(found["unit"], _ago(today, count, found["unit"]))


def _weekday(found: re.Match[str], today: date) -> Period:
    """The latest day with this name; before today if it is called the last one."""
    number = next(number for number, name in enumerate(WEEKDAYS) if name.startswith(found["name"]))
    return _day(today - timedelta(days=(today.weekday() - number) % 7 or (7 if found["last"] else 0)))


def _whole(unit: str, day: date) -> Period:
    """The week, month or year that `day` lies in."""
    if unit == "week":
        monday = day - timedelta(days=day.weekday())
        return Period(monday, monday + timedelta(days=6))
    if unit == "month":
        return Period(day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1]))
    return Period(day.replace(month=1, day=1), day.replace(month=12, day=31))


def _ago(today: date, count: int, unit: str) -> date:
    """The day `count` units before today; the last day of a month that is too short."""
    if unit in ("day", "week"):
        return today - timedelta(days=count * (7 if unit == "week" else 1))
    year, month = divmod(today.year * 12 + today.month - 1 - count * (12 if unit == "year" else 1), 12)
    return date(year, month + 1, min(today.day, calendar.monthrange(year, month + 1)[1]))


def _day(day: date) -> Period:
    return Period(day, day)


def _refuse_short_year(found: re.Match[str], today: date) -> Period:
    raise BadInput(f"{found[0]!r} has a year of two digits: write all four, with the year first, as in 2024-05-17.")


def _refuse_minutes(found: re.Match[str], today: date) -> Period:
    raise BadInput(f"{found[0]!r} may be minutes or months: for months, write {found['count']}months.")


def _refuse_time(found: re.Match[str], today: date) -> Period:
    raise BadInput(f"{found[0]!r} is finer than a day. Give days here; for a time of day, add --between 22:00 05:00.")


YEAR, NUMBER = r"(?P<year>\d{4})", r"\d{1,2}"
MONTH, DAY = rf"(?P<month>{NUMBER})", rf"(?P<day>{NUMBER})"
NAME = "(?P<month>" + "|".join([*MONTHS[1:], *(name[:3] for name in MONTHS[1:]), "sept"]) + r")\.?"
FORMS: dict[str, Callable[[re.Match[str], date], Period]] = {
    YEAR: _calendar,
    rf"{YEAR}[-/.]{MONTH}": _calendar,
    rf"{MONTH}[-/.]{YEAR}": _calendar,
    rf"{YEAR}(?P<mark>[-/.]){MONTH}(?P=mark){DAY}": _calendar,
    rf"{YEAR}(?P<month>\d\d)(?P<day>\d\d)": _calendar,
    rf"{DAY}\. ?{MONTH}\. ?{YEAR}": _calendar,  # with points, the day comes first wherever people write so
    rf"{NAME} {YEAR}": _calendar,
    rf"{DAY}\.? {NAME},? {YEAR}": _calendar,
    rf"{NAME} {DAY},? {YEAR}": _calendar,
    rf"(?P<one>{NUMBER})(?P<mark>[-/])(?P<other>{NUMBER})(?P=mark){YEAR}": _either_order,
    rf"{NUMBER}(?P<mark>[-/.]){NUMBER}(?P=mark){NUMBER}": _refuse_short_year,
    r"today|now": lambda found, today: _day(today),
    r"yesterday": lambda found, today: _day(_ago(today, 1, "day")),
    rf"(?P<count>\d+) ?(?P<unit>{'|'.join(UNITS)})( ago)?": _before,
    r"(?P<which>this|last) (?P<unit>week|month|year)": _latest,
    rf"(?P<last>last )?(?P<name>{'|'.join([*WEEKDAYS, *(name[:3] for name in WEEKDAYS)])})": _weekday,
    r"(?P<count>\d+) ?m": _refuse_minutes,
    r"[\d./-]{8,10}[t ]\d{1,2}:\d\d.*|\d+ ?(h|hours?|min|minutes?)( ago)?|\d{1,2}:\d\d(:\d\d)?": _refuse_time,
}
"""How each way of writing a date is read, by its pattern: lower case, with a space between words."""
