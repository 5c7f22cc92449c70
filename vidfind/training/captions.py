"""Reads a file of captions as people and spreadsheets write it: its encoding, its columns, its quotes, its lines.

Returns records of texts; pairs.py finds the videos and checks the times. Knows no more of videos than their names.
"""

from __future__ import annotations

import csv
import json
import locale
import logging
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfind.errors import BadInput
from vidfind.folders.names import VIDEO_EXTENSIONS

log = logging.getLogger(__name__)

EXAMPLE = "path,caption,start,end"
NEEDED = ("path", "caption")
COLUMNS: Mapping[str, str] = {
    "path": "path file filename filepath video videopath videofile videoname",
    "caption": "caption captions text description sentence",
    "start": "start begin from in starttime begintime startsec startseconds starts begins timein inpoint onset "
    "starttimecode timecodein tcin startat startpos",
    "end": "end to out stop endtime stoptime endsec endseconds ends until finish timeout outpoint offset "
    "endtimecode timecodeout tcout endat endpos",
    "time": "time times timestamp timestamps timerange range moment interval timespan timecode timecodes",
    "length": "length duration",
}
"""Names that each column may have, without case, spaces and signs. `time` holds both ends of a moment: 0:12-0:21;
`length` counts from the start. The first name wins where a file has several."""
DELIMITERS = ",;\t|"  # Excel writes semicolons in countries where numbers have a comma
JSON_LINES = frozenset({".jsonl", ".ndjson"})
SUBTITLES = frozenset({".srt", ".vtt", ".ass", ".ssa", ".sbv", ".ttml", ".lrc"})
QUOTES = "\"'“”„‟«»\u2018\u2019"
CURLY = re.compile("[“”„‟«»]")
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
SAVE_AS = "In Excel, save it as CSV UTF-8."
NOT_TEXT: Mapping[bytes, str] = {
    b"PK\x03\x04": "is a workbook or another archive, not a table of text",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook, not a table of text",
    b"%PDF": "is a PDF, not a table of text",
    b"\x1f\x8b": "is compressed: unpack it first",
}
"""The mistake in files that begin so."""
ODD = re.compile(
    r"[^\W\d_a-zA-Z]{4,}"  # four letters with accents in a row: another alphabet
    r"|(?<=[a-zß-ÿ])[À-ÖØ-ÞŠŒŽŸ]|(?<=[A-Z])[À-ÖØ-ÞŠŒŽŸ](?=[a-z])"  # a capital letter within a word
    r"|(?<=[^\W\d_])[^\w\s\x00-\x7f\u2018\u2019\u2013—…·](?=[^\W\d_])"  # a sign within a word
    r"|(?<=[a-z])\u2013(?=[a-z])|[€†‡\u02c6‰™](?=[a-z])|Ÿ"
)
"""Characters that a text hardly ever holds if it was decoded rightly."""
ODD_SHARE = 0.2  # of the characters that are not ASCII: with more, the encoding is another


@dataclass(frozen=True)
class BadLine:
    """A line of a file of captions that cannot be used."""

    line: int
    """Where it stands in the file, from 1."""
    reason: str
    """The mistake in it, with the name of the video if there is one."""


@dataclass(frozen=True)
class Record:
    """A caption as the file has it, before any check. Times are texts; `time` holds both ends of a moment."""

    line: int
    path: str
    caption: str
    start: str = ""
    end: str = ""
    time: str = ""
    length: str = ""


class _Bad(Exception):
    """The reason why a line cannot be used."""


def read_records(path: Path) -> list[Record | BadLine]:
    """Returns the captions of a file in its order, and its lines that cannot be read.

    Logs a warning about an encoding that had to be guessed, and one about columns that are not used. Raises BadInput if
    the file as a whole cannot be read."""
    text = _read_text(path)
    is_json = path.suffix.lower() in JSON_LINES or text.lstrip().startswith("{")
    unused: dict[str, None] = {}
    records = list(_parse_json_lines(text, unused) if is_json else _parse_csv(path, text, unused))
    if not records:
        raise BadInput(f"{path} holds no captions.")
    if unused:
        log.warning("%s not used: %s", "Columns" if len(unused) > 1 else "Column", ", ".join(unused))
    return records


# Its text -------------------------------------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise BadInput(f"{path} is a folder. Give the file with the captions.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    for start, problem in NOT_TEXT.items():
        if data.startswith(start):
            raise BadInput(f"{path} {problem}. {SAVE_AS} The first line names the columns: {EXAMPLE}")
    text = _decode(path, data).replace("\ufeff", "")  # marks of the byte order, wherever programs have left them
    if not text.strip():
        raise BadInput(f"{path} is empty.")
    beginning = text.lstrip()[:200]
    if path.suffix.lower() in SUBTITLES or beginning.startswith("WEBVTT") or re.match(r"1\s+[\d:,.]+ --> ", beginning):
        raise BadInput(
            f"{path} holds the subtitles of one video, not captions of several. Write a CSV file whose first line is "
            f"{EXAMPLE}, with a line for each moment."
        )
    if beginning.startswith("[") and path.suffix.lower() not in JSON_LINES:
        raise BadInput(
            f"{path} is a list in JSON. Write one object per line: "
            '{"path": "a.mp4", "caption": "a dog", "start": 1, "end": 3}'
        )
    return text


def _decode(path: Path, data: bytes) -> str:
    encoding = _unicode_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise BadInput(f"{path} is not the {encoding.upper()} that it seems to be. {SAVE_AS}") from error
        return _decode_guessing(path, data, error.start)
    if "\0" in text:
        raise BadInput(f"{path} is no text at all, or of an unknown encoding. {SAVE_AS}")
    return text


def _unicode_encoding(data: bytes) -> str:
    """Returns the encoding that the first bytes tell; UTF-8 if they tell none."""
    marks = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    for mark, encoding in marks.items():
        if data.startswith(mark):
            return encoding
    even, odd = data[:16:2], data[1:16:2]  # names of columns are ASCII: every other byte is zero
    if even and not even.strip(b"\0") and b"\0" not in odd:
        return "utf-16-be"
    return "utf-16-le" if odd and not odd.strip(b"\0") and b"\0" not in even else "utf-8"


def _decode_guessing(path: Path, data: bytes, first: int) -> str:
    """The text in the encoding of a single byte per letter that makes most sense; `first` is not UTF-8."""
    line = data.count(b"\n", 0, first) + 1
    own = locale.getpreferredencoding(do_setlocale=False)  # what Excel on Windows writes
    for encoding in dict.fromkeys([own if own.lower().startswith("cp") else "cp1252", "cp1252", "mac_roman"]):
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        letters = sum(not char.isascii() for char in text)
        makes_sense = encoding == own.lower() or len("".join(ODD.findall(text))) <= ODD_SHARE * letters
        if makes_sense and "\0" not in text:
            log.warning(
                "%s is not UTF-8, so it was read as %s: line %d is %r. If letters are wrong, save it as CSV UTF-8.",
                *(path, encoding, line, textwrap.shorten(LINE.findall(text)[line - 1].strip(), 60)),
            )
            return text
    raise BadInput(f"{path} is not UTF-8 (first in line {line}). {SAVE_AS}")


# A table --------------------------------------------------------------------------------------------------------------


def _parse_csv(path: Path, text: str, unused: dict[str, None]) -> Iterator[Record | BadLine]:
    lines = LINE.findall(text)
    first = next(number for number, line in enumerate(lines) if line.strip())
    delimiter = ""
    if sep := re.fullmatch(
        r'"?sep=(\\t|.)"?[ ,;]*', lines[first].strip("\r\n"), re.IGNORECASE
    ):  # Excel's own first line
        delimiter = "\t" if sep[1] == "\\t" else sep[1]
        first += 1
    header_line = next((line for line in lines[first:] if line.strip()), "")
    delimiter = delimiter or max(DELIMITERS, key=header_line.count)  # a comma if the line has none of them
    rows = _csv_rows(lines, first, delimiter)
    header = next(rows, (0, header_line))[1]
    names = [name.strip(QUOTES + " \t\r\n") for name in (header if isinstance(header, list) else [header])]
    places = _columns(path, names)
    for line, row in rows:
        if isinstance(row, str):
            yield BadLine(line, row)
            continue
        fields = {column: row[place].strip() for column, place in places.items() if place < len(row)}
        if any(field.strip() for field in row[len(names) :]):
            straight = "straight double quotes" if CURLY.search("".join(row)) else "double quotes"
            what = f"put {straight} around what has a {'tab' if delimiter == chr(9) else delimiter}"
            yield BadLine(line, f"has {len(row)} fields for {len(names)} columns: {what}")
        elif lacking := [name for name in NEEDED if name not in fields]:
            yield BadLine(line, f"has no {lacking[0]}: only {len(row)} of {len(names)} fields are there")
        else:
            yield Record(line, **{**fields, "caption": _one_line(fields["caption"])})
            others = [place for place in range(len(row)) if place not in places.values()]
            unused |= dict.fromkeys(names[place] or f"number {place + 1}" for place in others if row[place].strip())


def _columns(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Returns the place of each column that the file has. Raises BadInput if they are not what is needed."""
    keys = [_key(name) for name in names]
    if twice := [name for name, key in zip(names, keys, strict=True) if key and keys.count(key) > 1]:
        raise BadInput(f"{path} names the column {twice[0]} twice: leave one of them.")
    found = _known(keys)
    if any(Path(name).suffix.lower() in VIDEO_EXTENSIONS for name in names) and "path" not in found:
        header = ",".join(EXAMPLE.split(",")[: max(2, len(names))])
        begins = textwrap.shorten(", ".join(names), 100, placeholder=" ...")
        raise BadInput(f"{path} has no line that names the columns: it begins with {begins}. Put this first: {header}")
    if missing := [name for name in NEEDED if name not in found]:
        begins = textwrap.shorten(", ".join(names), 100, placeholder=" ...")
        raise BadInput(
            f"{path} has no column {' and no column '.join(missing)}: its first line must name the columns, "
            f"path,caption or {EXAMPLE}. It is: {begins}"
        )
    unknown = [name for name, key in zip(names, keys, strict=True) if re.search("start|begin", key)]
    if unknown and not found.keys() & {"start", "time"}:
        raise BadInput(
            f"{path} has a column {unknown[0]}, which is not known. If it says where moments start, call it start and "
            "write seconds, or times such as 0:12; if not, give it another name."
        )
    if "end" in found and not found.keys() & {"start", "time"}:
        raise BadInput(
            f"{path} has a column {names[found['end']]}, but none that says where a moment starts: {EXAMPLE}. "
            f"It has: {', '.join(names)}"
        )
    return _settled(found)


def _known(keys: Sequence[str]) -> dict[str, int]:
    """Returns the place of each column by its name in `COLUMNS`."""
    found = {}
    for column, aliases in COLUMNS.items():
        if there := [alias for alias in aliases.split() if alias in keys]:
            found[column] = keys.index(there[0])
    return found


def _settled(found: dict[str, int]) -> dict[str, int]:
    """Returns the columns without those that say what others say already."""
    has_end = found.keys() & {"end", "length"}
    if "start" not in found and "time" in found and has_end:
        found["start"] = found["time"]
    if "start" in found:
        found.pop("time", None)
    if "start" not in found or "end" in found:
        found.pop("length", None)  # of the whole video
    return found


def _key(name: str) -> str:
    """Returns the name of a column without case, spaces, signs, and a unit of seconds."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    plain = re.sub(r"[\[(]\s*(s|sec|secs|seconds)\s*[\])]", "", plain)
    return re.sub(r"_s$", "", plain.strip()).translate(str.maketrans("", "", " _-.:#\t"))


def _csv_rows(lines: Sequence[str], first: int, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yields the first line number of each row that is not blank, and the row, or the error in it.

    A quote that is left open costs its own line alone: the row after it begins in the next line."""
    csv.field_size_limit(2**31 - 1)  # with Python's limit a long caption is an error, and all lines after it are lost
    begins_row = re.compile(rf'[^"\r\n{re.escape(delimiter)}]+\.(\w+)\s*{re.escape(delimiter)}')
    at = first
    while at < len(lines):
        number = at + 1
        reader = csv.reader(
            (lines[place] for place in range(at, len(lines))), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        try:
            row = next(reader)
            within = [begins_row.match(line) for line in lines[at + 1 : at + reader.line_num]]
            is_open = any(found and f".{found[1].lower()}" in VIDEO_EXTENSIONS for found in within)
        except csv.Error as error:
            is_open = reader.line_num > 1 or "unexpected end" in str(error)
            if not is_open:
                yield number, 'has a double quote where none can be: write "" for a quote within quotes'
                at += 1
                continue
        if is_open:
            yield number, "a quote is opened and not closed"
            at += 1
            continue
        at += reader.line_num
        if any(field.strip() for field in row):
            yield number, row


# JSON lines -----------------------------------------------------------------------------------------------------------


def _parse_json_lines(text: str, unused: dict[str, None]) -> Iterator[Record | BadLine]:
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON may contain other line ends
        if not line.strip():
            continue
        try:
            yield from _json_records(number, line, unused)
        except _Bad as error:
            yield BadLine(number, str(error))


def _json_records(number: int, line: str, unused: dict[str, None]) -> list[Record]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise _Bad(f"is not JSON of one object per line: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:  # numbers with thousands of digits, thousands of brackets
        raise _Bad(f"is not JSON that can be read: {error}") from error
    if not isinstance(value, dict):
        raise _Bad('is not an object: write {"path": "a.mp4", "caption": "a dog"}')
    keys = [_key(name) for name in value]
    found = _known(keys)
    values = list(value.values())
    fields = {column: values[place] for column, place in found.items()}
    for name in NEEDED:
        if fields.get(name) is None:
            raise _Bad(f"has no {name}")
    if not isinstance(fields["path"], str):
        raise _Bad("has a path that is not a text")
    captions = fields["caption"] if isinstance(fields["caption"], list) else [fields["caption"]]
    if not all(isinstance(caption, str) for caption in captions):
        raise _Bad("has a caption that is not a text")
    if fields.get("end") is not None and not fields.keys() & {"start", "time"}:
        raise _Bad("has an end and no start")
    found = _settled(found)
    unused |= dict.fromkeys(name for place, name in enumerate(value) if place not in found.values())
    times = {name: _json_time(values[place]) for name, place in found.items() if name not in NEEDED}
    return [Record(number, fields["path"].strip(), _one_line(text), **times) for text in captions or [""]]


def _json_time(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:f}"  # never 1e-05
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, list) and len(value) == 2:
        return " - ".join(map(_json_time, value))
    return json.dumps(value)


def _one_line(caption: str) -> str:
    """Returns a caption without line breaks, and without the lone surrogates that JSON may contain."""
    return " ".join(caption.encode("utf-8", "replace").decode().split())
