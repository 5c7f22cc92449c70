"""Pairs of a video and a caption: finds the videos of a file of captions, checks it, and splits the pairs into training
and held-out ones.

Knows nothing of models. Times are in seconds.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from random import Random
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidfind.errors import BadInput, BadPairs, UnreadableVideo
from vidfind.media.decoding import DECODERS, probe
from vidfind.media.probe import VideoInfo
from vidfind.media.sampling import Segment
from vidfind.system.times import parse_time
from vidfind.text.padded import PaddedTokenizer
from vidfind.training.captions import QUOTES, BadLine, Record, read_records
from vidfind.training.recipe import FEWEST_HELD_OUT
from vidfind.words.naming import has_word

log = logging.getLogger(__name__)

# People write 0:05 for the end of a video of 4.8 seconds.
END_MARGIN = 0.5
WHOLE_MINUTES = re.compile(r"\d+:\d\d:00")
WORDS_A_TOKEN = 0.75  # in English
RANGE = re.compile(r"\s*(?:-->|->|→|[-\u2013—\u2012\u2212~/]|\.{2,3}|\bto\b|\buntil\b|\btill?\b)\s*", re.IGNORECASE)
"""Between the two times of a moment."""
UNITS = re.compile(
    r"(?:(\d+)\s*h(?:ours?|rs?)?)?\s*(?:(\d+)\s*m(?:in(?:utes?|s)?)?)?\s*(?:(\d+(?:[.,]\d*)?)\s*s(?:ec(?:onds?|s)?)?)?",
    re.IGNORECASE | re.ASCII,
)
"""Times with units: 12s, 1m23s, 1 h 2 min 3 s."""

WINDOWS_DRIVES = "/mnt"
"""The folder in which Windows' own Linux mounts the drives of Windows."""


@dataclass(frozen=True)
class Pair:
    """A caption and the part of a video that it describes: a moment, or the whole video.

    Several pairs may have the same video, and several the same caption."""

    path: Path
    caption: str
    start: float
    """Where the moment begins, in seconds; for a whole video where its picture begins."""
    end: float
    """Where the moment ends, in seconds; the duration for a whole video."""
    has_moment: bool
    """Whether the caption describes a moment; False: the whole video."""
    line: int
    """Where the caption stands in its file, from 1."""

    @property
    def segment(self) -> Segment:
        return Segment(self.start, self.end)


class _Bad(Exception):
    """The reason why a line cannot be used."""


def read_pairs(path: str | Path) -> tuple[list[Pair], list[BadLine]]:
    """Returns all pairs of a file of captions, in its order, and all lines that cannot be used.

    >>> from vidfind import read_pairs
    >>> pairs, bad_lines = read_pairs("captions.csv")
    >>> pairs[0].path.name, pairs[0].start, len(bad_lines)
    ('clip-01.mp4', 0.0, 0)

    The file is a CSV with the columns `path,caption` and optionally `start,end`, or JSON lines (.jsonl) with these
    fields, where `caption` may be a list. Paths are relative to the folder of the file. Every video is opened once.
    Identical lines give one pair. Logs a warning about paths that are spelled otherwise than their files, and the
    warnings of `read_records`. Raises BadInput if the file as a whole cannot be read."""
    path = Path(os.path.expanduser(path))
    entries = read_records(path)
    bad = [entry for entry in entries if isinstance(entry, BadLine)]
    records = [entry for entry in entries if isinstance(entry, Record)]
    folder = Path(os.path.abspath(path)).parent
    places = _find_all(folder, {record.path for record in records if record.path})
    infos = _probe_all({places[record.path] for record in records if record.path and record.caption})
    pairs: dict[Any, Pair] = {}
    for record in records:
        try:
            pair = _check(record, folder, places.get(record.path, folder), infos)
            pairs.setdefault((pair.path, normal_caption(pair.caption), pair.start, pair.end), pair)
        except _Bad as error:
            bad.append(BadLine(record.line, str(error)))
    return list(pairs.values()), sorted(bad, key=lambda one: one.line)


def require_good(path: Path, bad: Sequence[BadLine]) -> None:
    """Raises BadPairs, with all bad lines, if there are any."""
    if bad:
        lines = len({one.line for one in bad})
        what = "1 line that" if lines == 1 else f"{lines:,} lines that"
        raise BadPairs(f"{path} has {what} cannot be used. To go on without: add --skip-bad", bad)


def normal_caption(text: str) -> str:
    """Returns a caption without differences of case and spaces: equal ones are right for each other's videos."""
    return " ".join(text.casefold().split())


def warn_of_long(captions: Iterable[str], tokenizer: PaddedTokenizer, length: int | None = None) -> None:
    """Logs a warning with the number of captions that have more than `length` tokens, of which the rest is not read.

    None: as many as the model reads."""
    length = length or tokenizer.context_length
    if count := sum(tokenizer.is_cut(caption, length) for caption in dict.fromkeys(captions)):
        who = "1 caption is" if count == 1 else f"{count:,} captions are"
        log.warning(
            "%s longer than %d tokens, about %d words: what comes after that does not count.",
            *(who, length, round(length * WORDS_A_TOKEN)),
        )


def pairs_digest(pairs: Iterable[Pair]) -> str:
    """Returns 32 hexadecimal digits for the content of the pairs, independent of their order and of folders."""
    lines = sorted(
        json.dumps([pair.caption, round(pair.start, 3), round(pair.end, 3), pair.path.name, pair.path.stat().st_size])
        for pair in pairs
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


# Its lines --------------------------------------------------------------------------------------------------------


def _find_all(folder: Path, texts: Iterable[str]) -> dict[str, Path]:
    """Returns the file that each path stands for; those that no file fits as they are written."""
    alike = functools.cache(_names_alike)
    places, others = {}, []
    for text in sorted(texts):
        written = Path(os.path.abspath(folder / os.path.expanduser(text)))
        found = written if _exists(written) else _spelled_otherwise(folder, text, alike)
        if found and found != written:
            others.append((text, found))
        places[text] = found or written
    if others:
        text, found = others[0]
        count = "1 path is" if len(others) == 1 else f"{len(others):,} paths are"
        log.warning("%s not spelled like the file, such as %s for %s", count, text, found)
    return places


def _spelled_otherwise(folder: Path, text: str, alike: Callable[[Path], Mapping[str, list[str]]]) -> Path | None:
    """The file that a path means, if that is beyond doubt: other accents, case, slashes or quotes, or a URL."""
    for spelling in _spellings(text):
        written = Path(os.path.abspath(folder / os.path.expanduser(spelling)))
        found: Path | None = Path(written.anchor)
        for part in written.parts[1:]:
            assert found
            named = [part] if _exists(found / part) else alike(found).get(_plain(part), [])
            found = found / named[0] if len(named) == 1 else None
            if found is None:
                break
        if found:
            return found
    return None


def _spellings(text: str) -> Iterator[str]:
    """Yields a path as it may have been meant, likeliest first."""
    bare = text.strip(QUOTES + " ")
    if bare.lower().startswith("file:"):
        bare = re.sub(r"^file:(//(localhost)?(?=/))?", "", unquote(bare), flags=re.IGNORECASE)
        bare = re.sub(r"^/(?=[A-Za-z]:)", "", bare)  # file:///C:/a.mp4
    for spelling in dict.fromkeys([bare, unquote(bare)]):
        yield spelling
        yield spelling.replace("\\", "/")
        if drive := PureWindowsPath(spelling).drive[:1]:  # as Windows' own Linux mounts it
            yield "/".join([WINDOWS_DRIVES, drive.lower(), *PureWindowsPath(spelling).parts[1:]])


def _names_alike(folder: Path) -> dict[str, list[str]]:
    """The names in a folder, by how they look without case and ways to write accents."""
    names = defaultdict(list)
    with suppress(OSError):
        for name in os.listdir(folder):
            names[_plain(name)].append(name)
    return names


def _plain(name: str) -> str:
    """Returns a name without what differs between systems: case, composed accents, kinds of spaces and apostrophes."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold().replace("\u2019", "'"))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or a character that names cannot have
        return False


def _hint(folder: Path, text: str) -> str:
    """Where a file that is not there may be: under the folder of the captions, by the last names of its path."""
    for spelling in _spellings(text):
        parts = [part for part in re.split(r"[/\\]", spelling) if part not in ("", ".", "..")]
        for first in range(1, len(parts)):
            if _exists(folder.joinpath(*parts[first:])):
                tail = "/".join(parts[first:])
                return f": there is {tail} in the folder of the captions, and paths count from there"
    return ""


def _probe_all(paths: Iterable[Path]) -> dict[Path, VideoInfo | str]:
    """Returns the properties of each video, or the reason why it cannot be read."""

    def examine(path: Path) -> VideoInfo | str:
        try:
            return probe(path)
        except UnreadableVideo as error:
            return str(error)
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        except ValueError:  # a character that file names cannot have
            return "cannot be the name of a file"

    ordered = sorted(paths)
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="probe") as pool:
        return dict(zip(ordered, pool.map(examine, ordered), strict=True))


def _check(record: Record, folder: Path, path: Path, infos: dict[Path, VideoInfo | str]) -> Pair:
    if not record.path:
        raise _Bad("names no video")
    if not record.caption:
        raise _Bad(f"{path} has an empty caption")
    info = infos[path]
    if isinstance(info, str):
        raise _Bad(f"{path} {info}{'' if _exists(path) else _hint(folder, record.path)}")
    duration = info.duration
    start, end = _moment(record, path, duration)
    if end < duration and end <= start:
        raise _Bad(f"{path}: the moment must end after its start, {start:g}, and not at {end:g}")
    if start >= duration or end > duration + END_MARGIN:
        where = f"starts at {start:g}" if start >= duration else f"ends at {end:g}"
        is_minutes = (
            WHOLE_MINUTES.fullmatch(record.end or record.start) and max(start, end) / 60 <= duration + END_MARGIN
        )
        hint = ". Has a spreadsheet made 0:12:00 of 0:12?" if is_minutes else ""
        raise _Bad(f"{path} is only {duration:.1f} seconds long: nothing {where}{hint}")
    if end <= info.start:
        raise _Bad(f"{path}: its picture begins at {info.start:.1f} seconds: nothing is shown up to {end:g}")
    start, end = max(start, info.start), min(end, duration)
    return Pair(path, record.caption, start, end, (start, end) != (info.start, duration), record.line)


def _moment(record: Record, path: Path, duration: float) -> tuple[float, float]:
    """Returns start and end; those of the whole video where a line gives none. Raises _Bad."""
    both = _ends_of(record.time or record.start)
    if both and not record.end:
        return _time(path, "start", both[0]), _time(path, "end", both[1])
    if record.time:
        raise _Bad(f"{path}: the time {record.time!r} has no end: write 0:12-0:21")
    start = _time(path, "start", record.start) if record.start else 0.0
    if record.end:
        return start, _time(path, "end", record.end)
    return start, start + _time(path, "length", record.length) if record.length else duration


def _ends_of(text: str) -> tuple[str, str] | None:
    """Returns the two times in `0:12-0:21`, `0:12 to 0:21` and the like; None for one time."""
    parts = RANGE.split(text.strip("[]() "))
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None


def _time(path: Path, name: str, text: str) -> float:
    if re.fullmatch(r"\d+:\d+:\d+[:;]\d+", text):
        raise _Bad(f"{path}: the {name} {text!r} counts frames after the seconds: write parts of a second, 0:00:12.5")
    units = UNITS.fullmatch(text)
    try:
        if units and text:
            hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in units.groups())
            return hours * 3600 + minutes * 60 + seconds
        return parse_time(text)
    except ValueError as error:
        raise _Bad(f"{path}: the {name} {text!r} is not a time: write 83, 83.5, 1:23.5 or 1:02:03") from error


FEWEST_PAIRS = 8
HELD_OUT_OF_WORD = 0.25  # share of the captions of a new word, to tell whether it was learned


def split_pairs(
    pairs: Sequence[Pair], val: float, seed: int, words: Sequence[str] = ()
) -> tuple[list[Pair], list[Pair]]:
    """Returns the pairs to train on, and the held-out pairs: random whole videos, a share `val` of all pairs.

    At least FEWEST_HELD_OUT are held out, and of the pairs with each of `words` a quarter. Raises BadInput if
    too few are left to learn from or to judge by."""
    if len(pairs) < FEWEST_PAIRS:
        raise BadInput(
            f"Too few pairs to learn from: {len(pairs)}. At least {FEWEST_PAIRS} are needed, and 40 are better. "
            "Caption more videos, or more moments of them (columns start and end)."
        )
    if not 0 < val < 1:
        raise BadInput(f"The share held out must lie between 0 and 1, not be {val:g}.")
    wanted = max(FEWEST_HELD_OUT, round(val * len(pairs)))
    paths = sorted({pair.path for pair in pairs})
    Random(seed).shuffle(paths)
    chosen: set[Path] = set()
    count = 0
    for path in paths:
        if count >= wanted:
            break
        chosen.add(path)
        count += sum(pair.path == path for pair in pairs)
    for word in words:
        having = [pair.path for pair in pairs if has_word(pair.caption, word)]
        short = int(HELD_OUT_OF_WORD * len(having)) - sum(path in chosen for path in having)
        chosen.update([path for path in paths if path in having and path not in chosen][: max(0, short)])
    training = [pair for pair in pairs if pair.path not in chosen]
    if len({pair.path for pair in training}) < 2 or len(training) < FEWEST_PAIRS - FEWEST_HELD_OUT:
        videos = "1 video" if len(paths) == 1 else f"{len(paths)} videos"
        raise BadInput(f"All pairs are of {videos}: too few to hold some out and learn from the others. Caption more.")
    if len({normal_caption(pair.caption) for pair in training}) < 2:
        raise BadInput("All videos have the same caption: there is nothing to learn it from. Caption other videos too.")
    return training, [pair for pair in pairs if pair.path in chosen]


def false_negative_mask(pairs: Sequence[Pair]) -> Tensor:
    """Returns the false-negative mask (B, B) bool: pairs of the same video, or with the same caption."""
    captions = [normal_caption(pair.caption) for pair in pairs]
    same = [[a.path == b.path or captions[i] == captions[j] for j, b in enumerate(pairs)] for i, a in enumerate(pairs)]
    return torch.tensor(same)


def right_clips(pairs: Sequence[Pair], own: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Returns which clips are right for the caption of each pair (B, N), from the number of each pair's own clip."""
    mask = false_negative_mask(pairs).numpy()
    right = np.zeros((len(pairs), max(own) + 1), bool)
    for column, number in enumerate(own):
        right[:, number] |= mask[:, column]
    return right
