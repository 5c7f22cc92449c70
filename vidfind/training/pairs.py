"""Reads a file of captions for videos, finds all its errors, and splits the pairs into training and held-out ones.

Knows nothing of models. Times are in seconds.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from vidfind.errors import BadInput, BadPairs, UnreadableVideo
from vidfind.media.decoding import DECODERS, probe
from vidfind.media.sampling import Segment
from vidfind.system.times import parse_time
from vidfind.training.recipe import FEWEST_HELD_OUT

NEEDED = ("path", "caption")
COLUMNS = (*NEEDED, "start", "end")
DELIMITERS = ",;\t"  # Excel writes semicolons in countries where numbers have a comma
JSON_LINES = frozenset({".jsonl", ".ndjson"})
# People write 0:05 for the end of a video of 4.8 seconds.
END_MARGIN = 0.5


@dataclass(frozen=True)
class Pair:
    """A caption and the part of a video that it describes: a moment, or the whole video.

    Several pairs may have the same video, and several the same caption."""

    path: Path
    caption: str
    start: float
    """Where the moment begins, in seconds; 0 for a whole video."""
    end: float
    """Where the moment ends, in seconds; the duration for a whole video."""
    has_moment: bool
    """Whether the caption describes a moment; False: the whole video."""
    line: int
    """Where the caption stands in its file, from 1."""

    @property
    def segment(self) -> Segment:
        return Segment(self.start, self.end)


@dataclass(frozen=True)
class BadLine:
    """A line of a file of captions that cannot be used."""

    line: int
    """Where it stands in the file, from 1."""
    reason: str
    """What is wrong with it, with the name of the video if there is one."""


@dataclass(frozen=True)
class _Record:
    """A caption as the file has it, before any check."""

    line: int
    path: str
    caption: str
    start: str = ""
    end: str = ""


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
    Identical lines give one pair. Raises BadInput if the file as a whole cannot be read."""
    path = Path(os.path.expanduser(path))
    text = _read_text(path)
    parse = _parse_json_lines if path.suffix.lower() in JSON_LINES else _parse_csv
    entries = list(parse(path, text))
    if not entries:
        raise BadInput(f"{path} holds no captions.")
    bad = [entry for entry in entries if isinstance(entry, BadLine)]
    records = [entry for entry in entries if isinstance(entry, _Record)]
    folder = Path(os.path.abspath(path)).parent
    durations = _probe_all({_resolve(folder, record) for record in records if record.path and record.caption})
    pairs: dict[Any, Pair] = {}
    for record in records:
        try:
            pair = _check(record, _resolve(folder, record), durations)
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


def pairs_digest(pairs: Iterable[Pair]) -> str:
    """Returns 32 hexadecimal digits for the content of the pairs, independent of their order and of folders."""
    lines = sorted(
        json.dumps([pair.caption, round(pair.start, 3), round(pair.end, 3), pair.path.name, pair.path.stat().st_size])
        for pair in pairs
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


# The file ---------------------------------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise BadInput(f"{path} is a folder. Give the file with the captions.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise BadInput(f"{path} is UTF-16, or no text at all. In Excel, save it as CSV UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path} is not UTF-8 (first in line {line}). In Excel, save it as CSV UTF-8.") from error
    if not text.strip():
        raise BadInput(f"{path} is empty.")
    return text


def _parse_csv(path: Path, text: str) -> Iterator[_Record | BadLine]:
    header_line = next(line for line in text.splitlines() if line.strip())
    delimiter = max(DELIMITERS, key=header_line.count)  # a comma if the line has none of them
    csv.field_size_limit(2**31 - 1)  # with Python's limit a long caption is an error, and all lines after it are lost
    # Strict: otherwise a quote that is never closed silently swallows lines.
    rows = _csv_rows(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True))
    header = next(rows)[1]
    names = [name.strip().lower() for name in header] if isinstance(header, list) else [header_line]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        found = textwrap.shorten(", ".join(names), 100, placeholder=" ...")
        raise BadInput(
            f"{path} has no column {' and no column '.join(missing)}: its first line must name the columns, "
            f"path,caption or path,caption,start,end. It is: {found}"
        )
    for line, row in rows:
        if isinstance(row, str):
            yield BadLine(line, row)
            continue
        fields = {name: row[i].strip() for i, name in reversed(list(enumerate(names))) if i < len(row)}
        if any(field.strip() for field in row[len(names) :]):
            yield BadLine(
                line, f"has {len(row)} fields for {len(names)} columns: put double quotes around what has a {delimiter}"
            )
        elif lacking := [name for name in NEEDED if name not in fields]:
            yield BadLine(line, f"has no {lacking[0]}: only {len(row)} of {len(names)} fields are there")
        else:
            known = {name: fields.get(name, "") for name in COLUMNS}
            yield _Record(line, **{**known, "caption": _one_line(known["caption"])})


def _csv_rows(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    """Yields the first line number of each row that is not blank, and the row, or the error in it."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                yield line, "opens a double quote that is never closed"
                return
            yield line, 'has a double quote where none can be: write "" for a quote within quotes'
            continue
        if any(field.strip() for field in row):
            yield line, row


def _parse_json_lines(path: Path, text: str) -> Iterator[_Record | BadLine]:
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON may contain other line ends
        if not line.strip():
            continue
        try:
            yield from _json_records(number, line)
        except _Bad as error:
            yield BadLine(number, str(error))


def _json_records(number: int, line: str) -> list[_Record]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise _Bad(f"is not JSON: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:  # numbers with thousands of digits, thousands of brackets
        raise _Bad(f"is not JSON that can be read: {error}") from error
    if not isinstance(value, dict):
        raise _Bad('is not an object: write {"path": "a.mp4", "caption": "a dog"}')
    fields = {key.strip().lower(): field for key, field in value.items()}
    for name in NEEDED:
        if fields.get(name) is None:
            raise _Bad(f"has no {name}")
    if not isinstance(fields["path"], str):
        raise _Bad("has a path that is not a text")
    captions = fields["caption"] if isinstance(fields["caption"], list) else [fields["caption"]]
    if not all(isinstance(caption, str) for caption in captions):
        raise _Bad("has a caption that is not a text")
    start, end = _json_time(fields, "start"), _json_time(fields, "end")
    return [_Record(number, fields["path"].strip(), _one_line(text), start, end) for text in captions or [""]]


def _json_time(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, float):
        return f"{value:f}"  # never 1e-05
    if value is None or isinstance(value, str):
        return (value or "").strip()
    return json.dumps(value)


def _one_line(caption: str) -> str:
    """Returns a caption without line breaks, and without the lone surrogates that JSON may contain."""
    return " ".join(caption.encode("utf-8", "replace").decode().split())


# Its lines --------------------------------------------------------------------------------------------------------


def _resolve(folder: Path, record: _Record) -> Path:
    return Path(os.path.abspath(folder / os.path.expanduser(record.path)))


def _probe_all(paths: Iterable[Path]) -> dict[Path, float | str]:
    """Returns the duration of each video in seconds, or the reason why it cannot be read."""

    def duration(path: Path) -> float | str:
        try:
            return probe(path).duration
        except UnreadableVideo as error:
            return str(error)
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        except ValueError:  # a character that file names cannot have
            return "cannot be the name of a file"

    ordered = sorted(paths)
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="probe") as pool:
        return dict(zip(ordered, pool.map(duration, ordered), strict=True))


def _check(record: _Record, path: Path, durations: dict[Path, float | str]) -> Pair:
    if not record.path:
        raise _Bad("names no video")
    if not record.caption:
        raise _Bad(f"{path} has an empty caption")
    duration = durations[path]
    if isinstance(duration, str):
        raise _Bad(f"{path} {duration}")
    start = _time(path, "start", record.start, 0.0)
    end = _time(path, "end", record.end, duration)
    if record.end and end <= start:
        raise _Bad(f"{path}: the moment must end after its start, {start:g}, and not at {end:g}")
    if start >= duration:
        raise _Bad(f"{path} is only {duration:.1f} seconds long: nothing starts at {start:g}")
    if end > duration + END_MARGIN:
        raise _Bad(f"{path} is only {duration:.1f} seconds long: nothing ends at {end:g}")
    end = min(end, duration)
    return Pair(path, record.caption, start, end, (start, end) != (0.0, duration), record.line)


def _time(path: Path, name: str, text: str, default: float) -> float:
    if not text:
        return default
    try:
        return parse_time(text)
    except ValueError as error:
        raise _Bad(f"{path}: the {name} {text!r} is not a time: write 83, 83.5, 1:23.5 or 1:02:03") from error


FEWEST_PAIRS = 8


def split_pairs(pairs: Sequence[Pair], val: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Returns the pairs to train on, and the held-out pairs: random whole videos, a share `val` of all pairs.

    At least FEWEST_HELD_OUT are held out. Raises BadInput if too few are left to learn from or to judge by."""
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
