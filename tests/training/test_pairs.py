"""Files of captions as people and Excel write them, and every way a line can be wrong."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.clocks import steady, write_clip
from vidfind.errors import BadInput, BadPairs
from vidfind.media.probe import probe
from vidfind.media.sampling import Segment
from vidfind.media.write import write_video
from vidfind.text.padded import clip_tokenizer
from vidfind.training.captions import BadLine
from vidfind.training.pairs import Pair, normal_caption, pairs_digest, read_pairs, require_good, warn_of_long

SECONDS = 4.0


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two videos of four seconds, one of them in a folder within; nobody may write to it."""
    folder = tmp_path_factory.mktemp("footage")
    (folder / "inner").mkdir()
    for name in ("a.mp4", "inner/b ö.mp4"):
        write_video(folder / name, np.zeros((16, 32, 48, 3), np.uint8), 4)
    assert probe(folder / "a.mp4").duration == SECONDS
    return folder


@pytest.fixture
def read(footage: Path, tmp_path: Path) -> Callable[..., tuple[list[Pair], list[BadLine]]]:
    """Reads a file of captions with this text, which lies beside the videos."""
    shutil.copytree(footage, tmp_path, dirs_exist_ok=True)

    def read(text: str | bytes, name: str = "captions.csv") -> tuple[list[Pair], list[BadLine]]:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return read_pairs(tmp_path / name)

    return read


@pytest.fixture
def remarks(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What was said beside the pairs, so far."""
    logger = logging.getLogger("vidfind.training")
    logger.addHandler(caplog.handler)
    yield lambda: list(dict.fromkeys(caplog.messages))
    logger.removeHandler(caplog.handler)


Remarks = Callable[[], list[str]]
Read = Callable[..., tuple[list[Pair], list[BadLine]]]


def good(read: tuple[list[Pair], list[BadLine]]) -> list[tuple[str, str, int]]:
    """File, caption and line of pairs that are all good."""
    pairs, bad = read
    assert bad == []
    return [(pair.path.name, pair.caption, pair.line) for pair in pairs]


def reason(read: tuple[list[Pair], list[BadLine]], line: int = 2) -> str:
    """Why the only bad line cannot be used."""
    _, bad = read
    assert [one.line for one in bad] == [line]
    return bad[0].reason


# What is understood


def test_a_caption_without_times_tells_of_the_whole_video(read: Read, tmp_path: Path) -> None:
    pairs, bad = read("path,caption\na.mp4,a dog\n")
    assert bad == []
    assert pairs == [Pair(tmp_path / "a.mp4", "a dog", 0.0, SECONDS, False, 2)]
    assert pairs[0].segment == Segment(0.0, SECONDS)


@pytest.mark.parametrize(
    ("times", "moment"),
    [
        ("1,3", (1, 3, True)),
        ("0:01.5,0:03", (1.5, 3, True)),
        ("1,", (1, 4, True)),
        (",3", (0, 3, True)),
        (",", (0, 4, False)),
        ("", (0, 4, False)),
        ("0,4", (0, 4, False)),
        ("1,4.5", (1, 4, True)),
        (" 1 , 3 ", (1, 3, True)),
    ],
    ids=["both", "minutes", "start", "end", "neither", "short-row", "all-of-it", "a-little-late", "spaces"],
)
def test_times_make_a_moment(read: Read, times: str, moment: tuple[float, float, bool]) -> None:
    pairs, bad = read(f"path,caption,start,end\na.mp4,a dog{',' * bool(times)}{times}\n")
    assert bad == []
    assert [(pair.start, pair.end, pair.has_moment) for pair in pairs] == [moment]


@pytest.mark.parametrize(
    "text",
    [
        "path,caption\na.mp4,a dog\n",
        "caption,path\na dog,a.mp4\n",
        "Path, CAPTION \n a.mp4 , a dog \n",
        "path;caption\na.mp4;a dog\n",
        "path\tcaption\na.mp4\ta dog\n",
        "path,id,caption,note\na.mp4,7,a dog,good\n",
        "path,caption,,\na.mp4,a dog,,\n",
        'path,caption\n"a.mp4", "a dog"\n',
        "path,caption\r\na.mp4,a dog\r\n",
        "path,caption\ra.mp4,a dog\r",
        "path,caption\na.mp4,a dog",
        "\ufeffpath,caption\na.mp4,a dog\n",
        "path,caption\ninner/../a.mp4,a dog\n",
    ],
    ids=[
        *["plain", "order", "case-and-spaces", "semicolon", "tab", "more-columns", "empty-columns", "quoted"],
        *["windows", "old-mac", "no-last-newline", "bom", "dots"],
    ],
)
def test_a_csv_file_may_be_written_in_many_ways(read: Read, text: str) -> None:
    assert good(read(text)) == [("a.mp4", "a dog", 2)]


def test_excel_in_europe_writes_semicolons_and_decimal_commas(read: Read) -> None:
    pairs, bad = read("path;caption;start;end\r\na.mp4;a dog, running;1,5;3,0\r\n")
    assert bad == []
    assert [(pair.caption, pair.start, pair.end) for pair in pairs] == [("a dog, running", 1.5, 3)]


def test_lines_are_counted_where_records_begin(read: Read) -> None:
    text = '\npath,caption\n\na.mp4,"a dog\nthat runs, ""fast"""\n,\na.mp4,a cat\n\nx.mp4,none\n'
    pairs, bad = read(text)
    assert [(pair.caption, pair.line) for pair in pairs] == [('a dog that runs, "fast"', 4), ("a cat", 7)]
    assert [one.line for one in bad] == [9]


def test_moments_of_a_picture_that_begins_late_count_from_where_players_begin(read: Read, tmp_path: Path) -> None:
    write_clip(tmp_path / "late.mkv", steady(3, 2), sound=(0, 5))
    good, bad = read("path,caption,start,end\nlate.mkv,a,,\nlate.mkv,b,1,4\nlate.mkv,c,4,5\nlate.mkv,d,1,2\n")
    assert [(pair.start, pair.end, pair.has_moment) for pair in good] == [(3, 5, False), (3, 4, True), (4, 5, True)]
    [line] = bad
    assert line.line == 5 and "its picture begins at 3.0 seconds" in line.reason


def test_paths_count_from_the_folder_of_the_file_or_are_whole(
    read: Read, footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(footage)
    monkeypatch.setenv("HOME", str(footage))
    monkeypatch.setenv("USERPROFILE", str(footage))
    pairs, bad = read(f"path,caption\ninner/b ö.mp4,one\n{footage}/a.mp4,two\n~/a.mp4,three\n")
    assert bad == []
    assert [pair.path for pair in pairs] == [tmp_path / "inner" / "b ö.mp4", footage / "a.mp4", footage / "a.mp4"]


def test_a_file_named_from_where_one_stands_is_read(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "captions").write_text(f"path,caption\n{footage}/a.mp4,a dog\n")
    monkeypatch.chdir(tmp_path)
    assert good(read_pairs(Path("captions"))) == [("a.mp4", "a dog", 2)]


def test_a_video_may_have_several_captions_and_identical_lines_are_one(read: Read) -> None:
    rows = ["a.mp4,a dog,1,3", "a.mp4,a cat,1,3", "a.mp4,a dog,1,3", "a.mp4,A  Dog,1.0,0:03", "a.mp4,a dog,1,2"]
    pairs = good(read("\n".join(["path,caption,start,end", *rows])))
    assert pairs == [("a.mp4", "a dog", 2), ("a.mp4", "a cat", 3), ("a.mp4", "a dog", 6)]


def test_json_lines_hold_the_same_fields(read: Read) -> None:
    lines = [
        {"path": "a.mp4", "caption": "a dog", "start": 1, "end": 2.5, "id": 7},
        {"Path": "a.mp4", "caption": ["a cat", " a \n bird "], "start": "0:01", "end": None},
        {"path": "a.mp4", "caption": "two\u2028lines"},
    ]
    text = "\ufeff" + "\r\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    pairs, bad = read(text, "captions.JSONL")
    assert bad == []
    assert [(pair.caption, pair.start, pair.end, pair.line) for pair in pairs] == [
        ("a dog", 1, 2.5, 1),
        ("a cat", 1, 4, 3),
        ("a bird", 1, 4, 3),
        ("two lines", 0, 4, 5),
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("caption", ["a dög", "собака", "犬"])
def test_unicode_is_read_whatever_its_encoding(read: Read, encoding: str, caption: str) -> None:
    assert good(read(f"path,caption\na.mp4,{caption}\n".encode(encoding))) == [("a.mp4", caption, 2)]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac_roman"])
@pytest.mark.parametrize("caption", ["two Bären", "l'été à Ostende", "niño en la montaña", "Straße", "Äpfel über Öl"])
def test_western_text_of_a_byte_per_letter_is_read_with_one_remark(
    read: Read, remarks: Remarks, encoding: str, caption: str
) -> None:
    assert good(read(f"path,caption\na.mp4,a cat\na.mp4,{caption}\n".encode(encoding)))[1] == ("a.mp4", caption, 3)
    [remark] = remarks()
    assert f"line 3 is 'a.mp4,{caption}'" in remark.replace('"', "'") and "save it as CSV UTF-8" in remark


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\npath;caption\na.mp4;a, dog\n",
        "\ufeffSEP=;\r\npath;caption\r\na.mp4;a, dog\r\n",
        "sep=\t\npath\tcaption\na.mp4\ta, dog\n",
        "sep=\\t\npath\tcaption\na.mp4\ta, dog\n",
        '"sep=,"\npath,caption\na.mp4,"a, dog"\n',
        "\npath|caption\na.mp4|a, dog\n",
        "\n“path”;“caption”\n“a.mp4”;a, dog\n",
        "\n\u200b\ufeffpath;\ufeffcaption\na.mp4;a, dog\n".replace("\u200b", ""),
        "\nVideo Path;Description\na.mp4;a, dog\n",
    ],
)
def test_excel_and_others_may_say_what_parts_the_columns(read: Read, text: str) -> None:
    assert good(read(text)) == [("a.mp4", "a, dog", 3)]


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("begin,end", "0:01,0:03"),
        ("from,to", "1,3"),
        ("Start Time,End Time", "00:00:01.000,00:00:03.000"),
        ("start_time,end_time", "1s,3 s"),
        ("in,out", "0:01,0m3s"),
        ("start (s),end [sec]", "1.0,3.0"),
        ("start,duration", "1,2"),
        ("Start Timecode,End Timecode", "0:01,0:03"),
        ("time,end", "1,3"),
        ("time,duration", "1,2"),
        ("time", "0:01-0:03"),
        ("timestamp", "0:01 \u2013 0:03"),
        ("Time range", "0:01 to 0:03"),
        ("moment", "1s..3s"),
        ("timestamps", "00:00:01.000 --> 00:00:03.000"),
        ("time", "[1 sec - 3 sec]"),
        ("start,end", "0:01-0:03,"),
        ("start,begin,end,duration", "1,2,3,4"),
    ],
)
def test_a_moment_may_be_written_in_many_ways(read: Read, header: str, cells: str) -> None:
    pairs, bad = read(f"path,caption,{header}\na.mp4,a dog,{cells}\n")
    assert (bad, [(pair.start, pair.end) for pair in pairs]) == ([], [(1, 3)])


def test_columns_that_are_not_used_are_named_once(read: Read, remarks: Remarks) -> None:
    read("path,caption,start,begin,mood,empty\na.mp4,a dog,1,2,good,\na.mp4,a cat,1,2,bad,\n")
    read('{"path": "a.mp4", "caption": "a dog", "mood": 1}\n{"path": "a.mp4", "caption": "x", "mood": 1}', "c.jsonl")
    assert remarks() == ["Columns not used: begin, mood", "Column not used: mood"]


@pytest.mark.parametrize(
    "written",
    [
        "inner/b o\u0308.mp4",
        "Inner/B Ö.MP4",
        r"inner\b ö.mp4",
        r".\inner\B ö.mp4",
        "'inner/b ö.mp4'",
        "“inner/b ö.mp4”",
        "inner/b%20%C3%B6.mp4",
        "file://{folder}/inner/b%20%C3%B6.mp4",
        "inner/b\u00a0ö.mp4",
    ],
)
def test_a_path_may_be_spelled_otherwise_than_its_file(
    read: Read, tmp_path: Path, remarks: Remarks, written: str
) -> None:
    pairs, bad = read(f"path,caption\n{written.replace('{folder}', str(tmp_path))},a dog\n")
    assert (bad, [pair.path for pair in pairs]) == ([], [tmp_path / "inner" / "b ö.mp4"])
    [remark] = remarks()
    assert remark.startswith("1 path is not spelled like the file, such as ")


def test_a_name_that_two_files_fit_is_not_guessed(read: Read, tmp_path: Path) -> None:
    shutil.copyfile(tmp_path / "a.mp4", tmp_path / "twin.mp4")
    shutil.copyfile(tmp_path / "a.mp4", tmp_path / "Twin.mp4")
    if len(list(tmp_path.glob("*win.mp4"))) == 2:  # not so where case makes no difference
        assert "/TWIN.mp4 is not there" in reason(read("path,caption\nTWIN.mp4,a dog\n"))


@pytest.mark.parametrize(
    "written", [r"C:\Users\me\inner\b ö.mp4", "/Volumes/X/inner/b ö.mp4", "file:///D:/x/inner/b%20ö.mp4"]
)
def test_a_path_of_another_machine_is_answered_with_the_file_beside_the_captions(read: Read, written: str) -> None:
    assert "there is inner/b ö.mp4 in the folder of the captions" in reason(read(f"path,caption\n{written},a dog\n"))


def test_a_quote_left_open_is_told_where_it_is_and_costs_its_own_line(read: Read) -> None:
    rows = ['a.mp4,"one', 'a.mp4,"two"', 'a.mp4,"three', 'a.mp4,four "', 'a.mp4,"five\nlines"', 'a.mp4,"six']
    pairs, bad = read("\n".join(["path,caption", *rows]))
    assert [pair.caption for pair in pairs] == ["two", 'four "', "five lines"]
    assert [(one.line, one.reason) for one in bad] == [(line, "a quote is opened and not closed") for line in (2, 4, 8)]


# What is wrong with a line


def test_every_bad_line_is_told_and_the_good_ones_are_read(read: Read) -> None:
    rows = ["gone.mp4,x", "a.mp4,", "a.mp4,a dog", ",a cat", "a.mp4", "inner,x", "a.mp4,a cat"]
    pairs, bad = read("\n".join(["path,caption", *rows]))
    assert [pair.line for pair in pairs] == [4, 8]
    assert [one.line for one in bad] == [2, 3, 5, 6, 7]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("gone.mp4,x", "/gone.mp4 is not there"),
        ("inner,x", "/inner is a folder"),
        ("captions.csv,x", "/captions.csv is not a video"),
        ("a.mp4,", "/a.mp4 has an empty caption"),
        (",a dog", "names no video"),
        ("a.mp4", "has no caption: only 1 of 4 fields"),
        ("a.mp4,a dog,1,2,3", "has 5 fields for 4 columns: put double quotes around what has a ,"),
        ("a.mp4,a dog, running", "the start 'running' is not a time: write 83, 83.5, 1:23.5 or 1:02:03"),
        ("a.mp4,a dog,1,-2", "the end '-2' is not a time"),
        ("a.mp4,a dog,0:00:01:12,", "the start '0:00:01:12' counts frames after the seconds"),
        ("a.mp4,“a dog, big”,1,2", "put straight double quotes around what has a ,"),
        ("a.mp4,a dog,1:75,", "the start '1:75' is not a time"),
        ("a.mp4,a dog,3,1", "the moment must end after its start, 3, and not at 1"),
        ("a.mp4,a dog,3,3", "the moment must end after its start"),
        ("a.mp4,a dog,4,", "is only 4.0 seconds long: nothing starts at 4"),
        ("a.mp4,a dog,9,12", "is only 4.0 seconds long: nothing starts at 9"),
        ("a.mp4,a dog,0:01:00,0:03:00", "nothing starts at 60. Has a spreadsheet made 0:12:00 of 0:12?"),
        ("a.mp4,a dog,1,4.6", "is only 4.0 seconds long: nothing ends at 4.6"),
        ('a.mp4,"a dog', "a quote is opened and not closed"),
        ('a.mp4,"a" dog,1,2', 'write "" for a quote within quotes'),
    ],
)
def test_a_bad_line_says_what_is_wrong(read: Read, row: str, why: str) -> None:
    assert why in reason(read(f"path,caption,start,end\n{row}\n"))


def test_an_unclosed_quote_does_not_swallow_the_lines_after_it(read: Read) -> None:
    pairs, bad = read('path,caption\na.mp4,"a dog\na.mp4,"a cat"\na.mp4,a bird\n')
    assert [one.line for one in bad] == [2]
    assert [pair.caption for pair in pairs] == ["a cat", "a bird"]


def test_a_quote_left_open_in_a_long_file_is_one_bad_line(read: Read) -> None:
    pairs, bad = read('path,caption\na.mp4,a dog\na.mp4,"a cat\n' + "a.mp4,a bird\n" * 20_000)
    assert [pair.caption for pair in pairs] == ["a dog", "a bird"]
    assert [one.line for one in bad] == [3]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever runs this may read everything")
def test_a_video_that_may_not_be_read_is_a_bad_line(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").chmod(0)
    assert "/a.mp4 may not be read: no permission" in reason(read("path,caption\na.mp4,a dog\n"))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            '{"path": "a.mp4", "caption": "a dog"',
            "is not JSON of one object per line: Expecting ',' delimiter at character",
        ),
        ('["a.mp4", "a dog"]', "is not an object"),
        ('{"caption": "a dog"}', "has no path"),
        ('{"path": "a.mp4"}', "has no caption"),
        ('{"path": 3, "caption": "a dog"}', "has a path that is not a text"),
        ('{"path": "a.mp4", "caption": 3}', "has a caption that is not a text"),
        ('{"path": "a.mp4", "caption": ["a dog", null]}', "has a caption that is not a text"),
        ('{"path": "a.mp4", "caption": []}', "has an empty caption"),
        ('{"path": "a.mp4", "caption": "a dog", "start": -1}', "the start '-1' is not a time"),
        ('{"path": "a.mp4", "caption": "a dog", "end": 1}', "has an end and no start"),
        ('{"path": "a.mp4", "caption": "a dog", "start": NaN}', "the start 'nan' is not a time"),
        ('{"path": "a.mp4", "caption": "a dog", "start": 1, "end": true}', "the end 'true' is not a time"),
        ('{"path": "a.mp4", "caption": "a dog", "end": ' + "9" * 5000 + "}", "is not JSON that can be read"),
        ('{"path": "a\\u0000.mp4", "caption": "a dog"}', "cannot be the name of a file"),
        ('{"path": "\\ud800.mp4", "caption": "a dog"}', "cannot be the name of a file"),
    ],
)
def test_a_bad_line_of_json_says_what_is_wrong(read: Read, line: str, why: str) -> None:
    assert why in reason(read(line, "captions.jsonl"), line=1)


def test_half_a_character_is_no_part_of_a_caption(read: Read) -> None:
    pairs, _ = read('{"path": "a.mp4", "caption": "a dog \\ud83d"}', "captions.jsonl")
    assert pairs[0].caption == "a dog ?"


# What is wrong with the file


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n \r\n", "is empty"),
        (b"path,caption\r\n\r\n", "holds no captions"),
        (
            b"path,caption\na.mp4,a\0dog\n",
            "is no text at all, or of an unknown encoding. In Excel, save it as CSV UTF-8",
        ),
        ("path,caption\na.mp4,a dog\n".encode("utf-16")[:-1], "is not the UTF-16 that it seems to be"),
        ("path,caption\na.mp4,собака бежит\n".encode("cp1251"), "is not UTF-8 (first in line 2). In Excel, save it as"),
        (b"path,words\na.mp4,a dog\n", "has no column caption: its first line must name the columns"),
        (b"a.mp4,a dog\n", "names the columns: it begins with a.mp4, a dog. Put this first: path,caption"),
        (b"a.mp4,a dog,1,2\n", "Put this first: path,caption,start,end"),
        (b"path,caption,Caption\na.mp4,a dog,x\n", "names the column caption twice"),
        (b"path,caption,end\na.mp4,a dog,1\n", "has a column end, but none that says where a moment starts"),
        (b"path,caption,start_ms,end_ms\na.mp4,a dog,1,2\n", "has a column start_ms, which is not known. If it says"),
        (b"PK\x03\x04" + bytes(9), "is a workbook or another archive"),
        (b"\xd0\xcf\x11\xe0" + bytes(9), "is an old Excel workbook"),
        (b'[{"path": "a.mp4", "caption": "a dog"}]', "is a list in JSON. Write one object per line"),
        (b"WEBVTT\n\n0:01 --> 0:02\na dog\n", "holds the subtitles of one video"),
        (b"1\r\n00:00:01,000 --> 00:00:02,000\r\na dog\r\n", "Write a CSV file whose first line is path,caption"),
        (b'path,"caption\n', "has no column path and no column caption"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_remedy(
    read: Read, tmp_path: Path, data: bytes, why: str
) -> None:
    with pytest.raises(BadInput) as refused:
        read(data)
    assert str(refused.value).startswith(str(tmp_path / "captions.csv"))
    assert why in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"There is no file .*captions\.csv"):
        read_pairs(tmp_path / "captions.csv")
    with pytest.raises(BadInput, match="is a folder"):
        read_pairs(tmp_path)


def test_bad_lines_are_refused_together(tmp_path: Path) -> None:
    bad = [BadLine(2, "x"), BadLine(3, "y"), BadLine(3, "z")]
    require_good(tmp_path, [])
    with pytest.raises(
        BadPairs, match=r"has 2 lines that cannot be used\. To go on without: add --skip-bad"
    ) as refused:
        require_good(tmp_path, bad)
    assert refused.value.bad == bad


# Sameness


def test_case_and_spaces_make_no_other_caption() -> None:
    assert normal_caption(" A  Dog\nruns ") == normal_caption("a dog runs") != normal_caption("a dog ran")


def test_the_digest_is_of_what_the_pairs_say(footage: Path, tmp_path: Path) -> None:
    shutil.copytree(footage, tmp_path / "moved")
    first = Pair(footage / "a.mp4", "a dog", 0, 4, False, 2)
    second = Pair(footage / "a.mp4", "a cat", 1, 2, True, 3)
    digest = pairs_digest([first, second])
    assert len(digest) == 32
    assert int(digest, 16)
    moved = [dataclasses.replace(pair, path=tmp_path / "moved" / "a.mp4", line=9) for pair in (second, first)]
    assert pairs_digest(moved) == digest
    changes: list[dict[str, Any]] = [
        {"caption": "a cow"},
        {"start": 0.5},
        {"end": 3},
        {"path": footage / "inner" / "b ö.mp4"},
    ]
    assert len({digest, *(pairs_digest([dataclasses.replace(first, **change), second]) for change in changes)}) == 5
    assert pairs_digest([first]) != digest


@pytest.mark.parametrize(("words", "length", "told"), [(30, 32, 0), (31, 32, 1), (75, None, 0), (76, None, 1)])
def test_captions_that_a_model_does_not_read_to_their_end_are_counted(
    remarks: Remarks, words: int, length: int | None, told: int
) -> None:
    tokenizer = clip_tokenizer()  # adds one token before a text, and one after it
    warn_of_long(["a dog", "dog " * words, "dog " * words], tokenizer, length)
    assert len(remarks()) == told
    assert all(f"1 caption is longer than {length or 77} tokens" in remark for remark in remarks())


@pytest.mark.parametrize("text", ["C:\\clips\\a.mp4", "c:/clips/a.mp4", "file:///C:/clips/a.mp4"])
def test_a_path_of_windows_is_found_where_its_linux_mounts_the_drive(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Callable[[], list[str]], text: str
) -> None:
    monkeypatch.setattr("vidfind.training.pairs.WINDOWS_DRIVES", str(tmp_path / "mnt"))
    file = tmp_path / "mnt" / "c" / "clips" / "a.mp4"
    file.parent.mkdir(parents=True)
    shutil.copyfile(footage / "a.mp4", file)
    captions = tmp_path / "captions.csv"
    captions.write_text(f"path,caption\n{text},a dog\n")
    pairs, bad = read_pairs(captions)
    assert ([pair.path for pair in pairs], bad) == ([file], [])
    assert any(f"such as {text} for {file}" in line for line in remarks())
