"""Reads lists of videos with tags or classes: a CSV, TSV or JSON lines file, and finds the videos that it names.

Times in videos are in seconds.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from vidfind.commands import index_command
from vidfind.errors import BadInput, Unusable
from vidfind.folders.names import VIDEO_EXTENSIONS
from vidfind.store.select import MAGIC, select_videos
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow, path_from_text
from vidfind.system.times import parse_time

MOST_ROWS = 1_000_000
MOST_BYTES = 1_000_000_000
DELIMITERS = ",;\t"
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
YES = {"yes", "y", "1", "+1", "+", "true", ""}
NO = {"no", "n", "0", "-1", "-", "\N{MINUS SIGN}", "false"}
FILE_URI = "file://"


@dataclass(frozen=True)
class Record:
    """A row of a list: the line that it begins at, from 1, and its texts by the names of their columns."""

    line: int
    values: Mapping[str, str]

    def text(self, column: str) -> str:
        """The text in a column, without spaces around it; empty if there is none."""
        return self.values.get(column, "").strip()


@dataclass(frozen=True)
class Skipped:
    """A row that cannot be used, and why."""

    line: int
    reason: str


@dataclass
class Listed:
    """The rows of a list, and those that cannot be used; `ignored` are columns that nothing is read from."""

    records: list[Record] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def read_list(data: bytes, name: str, needed: Sequence[Sequence[str]], others: Sequence[str] = ()) -> Listed:
    """Returns the rows of a list; `name` is that of its file.

    `needed` are columns, of each some that do as well, and `others` those that need not be there. Raises Unusable for
    a file that is no text, has too many rows, or lacks a column."""
    text = _decoded(data, name)
    if not text.strip():
        expected = ",".join(columns[0] for columns in needed)
        raise Unusable(f"{name} is empty. Its first line must name the columns, like {expected!r}.")
    known = [column for columns in needed for column in columns] + [*others]
    if name.lower().endswith(JSON_ENDINGS) or text.lstrip().startswith("{"):
        listed = _json_rows(text, known)
        found = {column for record in listed.records for column in record.values}
        if listed.records or not listed.skipped:
            _require_columns(found, needed, name, ", ".join(sorted(found)) or "nothing")
        return listed
    return _csv_rows(text, name, needed, known)


def _decoded(data: bytes, name: str) -> str:
    if len(data) > MOST_BYTES:
        raise Unusable(f"{name} has {len(data):,} bytes; at most {MOST_BYTES:,} are read.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        raise Unusable(f"{name} is not UTF-8 at byte {at}. Save it as UTF-8 (in Excel: CSV UTF-8).") from error
    if (at := data.find(b"\0")) >= 0:
        raise Unusable(f"{name} has a NUL at byte {at}: it is no list, or damaged.")
    return text


def _csv_rows(text: str, name: str, needed: Sequence[Sequence[str]], known: Sequence[str]) -> Listed:
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=lambda one: (sum(part in known for part in _header(first, one)), first.count(one)))
    listed = Listed()
    header: list[str] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            begin, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip().casefold() for cell in cells]
                _require_columns(set(header), needed, name, first.strip()[:200])
                if twice := next((one for one in header if one and header.count(one) > 1), None):
                    raise Unusable(f"{name} has two columns {twice!r}.")
                listed.ignored = [column for column in header if column and column not in known]
            elif len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                listed.skipped.append(Skipped(begin, "has more values than the header; quote those with a delimiter"))
            else:
                listed.records.append(Record(begin, dict(zip(header, cells, strict=False))))
                _check_count(len(listed.records), name)
    except csv.Error as error:
        raise Unusable(f"{name}, line {reader.line_num}: {error}.") from error
    if not header:
        _require_columns(set(), needed, name, "nothing")
    return listed


def _header(line: str, delimiter: str) -> list[str]:
    return [part.strip().strip('"').casefold() for part in line.split(delimiter)]


def _require_columns(found: set[str], needed: Sequence[Sequence[str]], name: str, shown: str) -> None:
    missing = [columns for columns in needed if not found & set(columns)]
    if missing:
        lacking = " and ".join(" or ".join(map(repr, columns)) for columns in missing)
        expected = ",".join(columns[0] for columns in needed)
        raise Unusable(f"{name} has no column {lacking}. Its first line must be like {expected!r}, and is {shown!r}.")


def _check_count(count: int, name: str) -> None:
    if count > MOST_ROWS:
        raise Unusable(f"{name} has more than {MOST_ROWS:,} rows, which is the limit. Split it.")


def _json_rows(text: str, known: Sequence[str]) -> Listed:
    listed = Listed()
    ignored: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError("is no object")
        except ValueError as error:
            reason = "is no object" if str(error) == "is no object" else "is no JSON"
            listed.skipped.append(Skipped(number, reason))
            continue
        row = {str(name).casefold(): _json_text(value) for name, value in values.items()}
        ignored |= dict.fromkeys(name for name in row if name not in known)
        listed.records.append(Record(number, row))
        _check_count(len(listed.records), "The file")
    listed.ignored = [*ignored]
    return listed


def _json_text(value: object) -> str:
    if isinstance(value, list):
        return ";".join(map(_json_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


# What a row says


def read_value(text: str) -> int:
    """Returns 1 for yes, -1 for no. Raises BadInput."""
    if text.casefold() in YES:
        return 1
    if text.casefold() in NO:
        return -1
    raise BadInput(f"has the value {text!r}, and not yes or no")


class Part(NamedTuple):
    """A part of a video, or all of it, and a remark about what was changed of what was asked for."""

    start: float | None
    end: float | None
    note: str = ""


def read_part(start: str, end: str, duration: float) -> Part:
    """Returns the part of a video between two times, one of which may be empty; both empty mean all of it.

    A time after the end of the video stands for its end. Raises BadInput for times that are none."""
    if not start and not end:
        return Part(None, None)
    begin = _time(start, "start") if start else 0.0
    stop = _time(end, "end") if end else duration
    if start and begin >= duration:
        raise BadInput(f"starts at {start}, and the video is only {duration:.1f} seconds long")
    if begin >= stop:
        raise BadInput(f"has a start, {start or 0}, that is not before its end, {end}")
    if stop > duration:
        return Part(begin, duration, f"ends at {end}, which is cut to the {duration:.1f} seconds of the video")
    return Part(begin, stop)


def _time(text: str, what: str) -> float:
    try:
        return parse_time(text)
    except ValueError as error:
        raise BadInput(f"has no time as its {what}: {text!r}; write 83, 1:23 or 1:02:03") from error


# Which video a row names


class Named(NamedTuple):
    """A video of the index that a text names, and whether only the name of the file told which."""

    row: VideoRow
    by_name: bool = False


class VideoFinder:
    """Finds the videos of an index by their paths, as people and other programs write them."""

    def __init__(self, store: Store, base: Path) -> None:
        """`base` is the folder that paths are relative to, such as that of the list."""
        self._store, self._rows = store, store.videos()
        self._folders = [Path(os.path.abspath(base)), *store.folders()]
        self._links = store.links()
        self._composed: dict[str, list[VideoRow]] = defaultdict(list)
        self._by_name: dict[str, list[VideoRow]] = defaultdict(list)
        for row in self._rows.values():
            self._composed[_composed(row.path)].append(row)
            self._by_name[_composed(row.path.name)].append(row)
        self._found: dict[str, Named | BadInput] = {}

    @property
    def is_empty(self) -> bool:
        return not any(not row.failed for row in self._rows.values())

    def find(self, text: str) -> Named:
        """Returns the video that a text names. Raises BadInput, with the reason as it follows the text."""
        if text not in self._found:
            try:
                self._found[text] = self._named(text)
            except BadInput as error:
                self._found[text] = error
        found = self._found[text]
        if isinstance(found, BadInput):
            raise found
        return found

    def find_all(self, text: str) -> list[Named]:
        """Returns the videos that a text names.

        A text names a video, the videos in a folder, or those that a pattern such as `trips/*` fits. Raises BadInput,
        with the reason as it follows the text."""
        try:
            return [self.find(text)]
        except BadInput:
            if rows := self._within(text):
                return [*map(Named, rows)]
            raise

    def endings(self) -> list[str]:
        """Returns the endings of the names of all videos, such as `.mp4`."""
        return sorted({row.path.suffix for row in self._rows.values()})

    def names_any(self, text: str) -> bool:
        """Whether a text names a video, or several."""
        with suppress(BadInput):
            return bool(self.find_all(text))
        return False

    def _within(self, text: str) -> list[VideoRow]:
        """Returns the videos in a folder, or those that a pattern fits, by their paths; none that failed."""
        good = [row for row in self._rows.values() if not row.failed]
        for folder in self._candidates(text):
            if inside := [row for row in good if row.path.is_relative_to(folder)]:
                return sorted(inside, key=lambda row: row.path)
        if not is_pattern(text):
            return []
        with suppress(BadInput):  # it fits nothing
            chosen = {*select_videos(self._store, [text]).paths()}
            return sorted((row for row in good if row.path in chosen), key=lambda row: row.path)
        return []

    def _named(self, text: str) -> Named:
        if not text:
            raise BadInput("has no path")
        for path in self._candidates(text):
            if row := self._rows.get(path):
                return Named(_readable(row))
        for path in self._candidates(text):
            if rows := self._composed.get(_composed(path)):
                return Named(_one_of(rows))
        path = next(iter(self._candidates(text)))
        for written in (path, Path(text.replace("\\", "/"))):
            if rows := self._by_name.get(_composed(written.name)):
                # Of several, those in folders of the same names.
                row = _one_of(max(_by_common_end(rows, written).items())[1])
                return Named(_readable(row), by_name=True)
        raise BadInput(self._unknown(path))

    def _candidates(self, text: str) -> Iterator[Path]:
        """Yields the paths that a text may stand for, the likeliest first."""
        if text.startswith(FILE_URI):
            yield path_from_text(text.removeprefix(FILE_URI))
            return
        for typed in dict.fromkeys([text, text.replace("\\", "/")]):
            for folder in self._folders:
                path = Path(os.path.abspath(folder / os.path.expanduser(typed)))
                yield path
                yield from (
                    target / path.relative_to(link) for link, target in self._links.items() if path.is_relative_to(link)
                )
        yield Path(os.path.realpath(self._folders[0] / os.path.expanduser(text)))

    def _unknown(self, path: Path) -> str:
        there = next((one for one in self._candidates(str(path)) if one.exists()), None)
        if there:
            return f"is not indexed. Index it first: {index_command(folders=[there])}"
        near = nearest_name(path.name, (row.path.name for row in self._rows.values()))
        return f"names no video of the index{f'; did you mean {near}?' if near else ''}"


def nearest_name(wanted: str, names: Iterable[str]) -> str:
    """Returns the name of a file that was most likely meant; empty if none is near.

    Endings do not make names alike, and names with other numbers are those of other files: `clip-1` may mean `clip-01`,
    and not `clip-21`."""
    stem = _stem(wanted)
    stems = {_stem(name): name for name in names}
    same_numbers = {one for one in stems if _numbers(one) == _numbers(stem)}
    near = get_close_matches(stem, sorted(same_numbers), n=1)
    return stems[near[0]] if near else ""


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def _numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"[0-9]+", text)]


def is_pattern(text: str) -> bool:
    """Whether a text has a character that stands for others."""
    return not MAGIC.isdisjoint(text)


def names_video(text: str) -> bool:
    """Whether a text that a user types can only mean a video, or several, and no tag."""
    is_video = os.path.splitext(text)[1].lower() in VIDEO_EXTENSIONS or os.path.isfile(os.path.expanduser(text))
    return is_video or text.startswith(FILE_URI) or text.endswith(("/", os.sep))


def _composed(path: Path | str) -> str:
    text = unicodedata.normalize("NFC", str(path))
    return text.casefold() if os.name == "nt" else text


def _readable(row: VideoRow) -> VideoRow:
    if row.failed:
        raise BadInput(f"could not be read when it was indexed: {row.failed}")
    return row


def _by_common_end(rows: Iterable[VideoRow], path: Path) -> dict[int, list[VideoRow]]:
    """Returns the rows by how many of the last parts of their paths are those of `path`."""
    found: dict[int, list[VideoRow]] = defaultdict(list)
    for row in rows:
        pairs = zip(reversed(row.path.parts), reversed(path.parts), strict=False)
        common = [_composed(one) == _composed(other) for one, other in pairs]
        found[(*common, False).index(False)].append(row)
    return found


def _one_of(rows: Sequence[VideoRow]) -> VideoRow:
    """Returns the one video that these are copies of. Raises BadInput if they are several."""
    good = sorted((row for row in rows if not row.failed), key=lambda row: row.path)
    if not good:
        return _readable(rows[0])
    if len({row.fingerprint for row in good}) > 1:
        names = ", ".join(str(row.path) for row in good[:5]) + (f" and {len(good) - 5} more" if len(good) > 5 else "")
        raise BadInput(f"may be any of several videos: {names}")
    return good[0]
