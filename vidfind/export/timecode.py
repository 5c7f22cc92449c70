"""Frame rates as editors know them, and time code: hours, minutes, seconds and frames (SMPTE ST 12-1).

At 29.97 and 59.94 frames a second, drop-frame time code leaves out the numbers of the first two (or four) frames of
each minute but every tenth, so that it keeps step with the clock. No frame is left out.
"""

from __future__ import annotations

import re
from fractions import Fraction

NTSC = Fraction(1000, 1001)
RATES = sorted(
    [*(Fraction(rate) for rate in (24, 25, 30, 48, 50, 60, 100, 120)), *(NTSC * n for n in (24, 30, 48, 60, 120))]
)
"""Frames a second that editors know."""
CLOSE = 3e-4  # a part of a rate; 23.976 and 24 differ by 1e-3
TIME_CODE = re.compile(r"(\d\d?):(\d\d):(\d\d)([:;.,])(\d\d\d?)")


def known_rate(rate: Fraction) -> Fraction:
    """Returns the rate that editors know for that of a file, which may be a little off; else the rate itself.

    >>> known_rate(Fraction(2997, 100)), known_rate(Fraction(5))
    (Fraction(30000, 1001), Fraction(5, 1))
    """
    nearest = min(RATES, key=lambda one: abs(one - rate))
    if abs(nearest - rate) <= CLOSE * nearest:
        return nearest
    return rate if rate.denominator == 1 else nearest


def editing_rate(rate: Fraction) -> Fraction:
    """Returns the lowest rate that editors know of which `rate` is a whole part; else the nearest.

    >>> editing_rate(Fraction(5)), editing_rate(Fraction(15))
    (Fraction(25, 1), Fraction(30, 1))
    """
    if rate in RATES:
        return rate
    multiples = [one for one in RATES if (one / rate).denominator == 1]
    return multiples[0] if multiples else min(RATES, key=lambda one: abs(one - rate))


def can_drop(rate: Fraction) -> bool:
    """Whether there is drop-frame time code for a rate."""
    return rate in (NTSC * 30, NTSC * 60)


def to_timecode(frame: int, rate: Fraction, is_drop: bool = False) -> str:
    """Returns the time code of a frame, from 0 on; it begins again after a day. Drop-frame has a semicolon.

    >>> to_timecode(1800, Fraction(30000, 1001), is_drop=True), to_timecode(1799, Fraction(30000, 1001), is_drop=True)
    ('00:01:00;02', '00:00:59;29')
    """
    base = round(rate)
    if is_drop:
        dropped = base // 15
        ten_minutes = base * 600 - dropped * 9
        tens, rest = divmod(frame, ten_minutes)
        minutes = max(0, (rest - dropped) // (base * 60 - dropped))
        frame += dropped * (9 * tens + minutes)
    seconds, frames = divmod(frame, base)
    digits = len(str(base - 1))
    hour, minute, second = seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    return f"{hour:02}:{minute:02}:{second:02}{';' if is_drop else ':'}{frames:0{digits}}"


def from_timecode(text: str, rate: Fraction) -> tuple[int, bool] | None:
    """Returns the number of the frame with a time code, and whether that is drop-frame; None for other text.

    >>> from_timecode("00:01:00;02", Fraction(30000, 1001))
    (1800, True)
    """
    found = TIME_CODE.fullmatch(text.strip())
    if not found:
        return None
    hour, minute, second, frame = (int(found[number]) for number in (1, 2, 3, 5))
    base, is_drop = round(rate), found[4] != ":" and can_drop(rate)
    if minute > 59 or second > 59 or frame >= base:
        return None
    minutes = 60 * hour + minute
    number = (60 * minutes + second) * base + frame
    return number - (base // 15 * (minutes - minutes // 10) if is_drop else 0), is_drop
