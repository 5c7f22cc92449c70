"""Names and texts as nobody would choose them: shown harmless everywhere, stored, and found again."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.support.ran import Run
from tests.support.stored import put
from vidfind.cli.app import main
from vidfind.display.console import json_line
from vidfind.display.search import result_table
from vidfind.display.text import printable, short_paths
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput
from vidfind.folders.walk import find_videos
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.search.moments import Moment
from vidfind.search.query import encode_query
from vidfind.search.question.dates import parse_period
from vidfind.store.edit import relink_videos, remove_videos
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow, new_content, path_from_text, path_to_text
from vidfind.system import paths
from vidfind.training.pairs import normal_caption, read_pairs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
# The same examples on every run and machine, and no limit of time for any of them.
bounded = settings(derandomize=True, deadline=None, max_examples=60, database=None)

FOLDER = b'it\'s "100%" [red]\n\x1b[31m\xff \xe2\x80\xae \xf0\x9f\x90\xb6'
NAMES = [
    b"-rf.mp4",
    b"--help.mp4",
    b"new\nline.mp4",
    b"q'uo\"te`s.mp4",
    b"100%s%n{path}.mp4",
    b"[red]bold[link=x].mp4",
    b"\x1b]0;title\x07\x1b[2J\x1b[31m.mp4",
    b"\xff\xfe\x80.mp4",
    b"\xc2\x9b31mC1.mp4",
    b"x" * 251 + b".mp4",
    "שלום \u202efdp.mp4".encode(),
    "🐶🥏 家族 👨\u200d👩\u200d👧 e\u0301.mp4".encode(),
    b" a\tb\rc .mp4",
    b"a\\n@0:01.mp4",
    b"$(touch x);`y`&.mp4",
]
BAD = b"bad\x1b[31m\n\xff[red].mp4"

# Bytes as a file system takes them, more often text, and what others use to break out of a text.
names = st.one_of(
    st.binary(min_size=1, max_size=120),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).map(str.encode),
    st.sampled_from([name[:-4] for name in NAMES]),
).filter(lambda name: not {0, ord("/")} & set(name) and name not in (b".", b".."))
# All that Python holds, with halves of characters as they stand for bytes that are no text.
texts = st.text(st.characters() | st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF), max_size=80)


def is_harmless(text: str) -> bool:
    """Whether a terminal shows each character of a text of several lines, and obeys none."""
    marks = "\n\u200c\u200d"  # the two joiners are needed to write Persian, and emoji of several people
    return not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in set(text) - set(marks))


def path_of(*parts: bytes) -> Path:
    return Path(os.fsdecode(b"/".join(parts)))


# The commands


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """A folder with a hostile name, full of copies of one video with hostile names, and one that is no video."""
    folder = path_of(os.fsencode(tmp_path_factory.mktemp("hostile")), FOLDER)
    try:
        folder.mkdir()
        for name in NAMES:
            path_of(os.fsencode(folder), name).write_bytes((clips / "short.mp4").read_bytes())
        path_of(os.fsencode(folder), BAD).write_text("no video at all, only words\n" * 20)
    except OSError:
        pytest.skip("this file system takes only names that are text")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, films: Path, tiny_encoder: Encoder) -> Path:
    """A home whose index holds the films; made once."""
    home = tmp_path_factory.mktemp("home")
    store, load = open_store(home / "indexes" / "default", lambda choice: tiny_encoder, EncoderChoice())
    for _ in index_videos([films], store, load):
        pass
    return home


@pytest.fixture
def indexed(run: Run, made: Path, tmp_path: Path) -> Path:
    """The program's home, with the films indexed."""
    return Path(shutil.copytree(made, tmp_path / "home"))


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_indexing_tells_hostile_names_harmless_on_a_line_each(run: Run, films: Path) -> None:
    ran = run("index", films, "--model", "tiny", "--device", "cpu", "-v")
    assert (ran.code, ran.out.split(":")[0]) == (3, f"{len(NAMES)} new ({len(NAMES) - 1} as copies), 1 failed")
    assert is_harmless(ran.out + ran.err)
    heading, failure = ran.err.splitlines()[-2:]
    assert heading == "1 video could not be read:"
    assert failure.startswith(f"  {printable(films)}/bad\\x1b[31m\\n\\xff[red].mp4 ")
    *videos, last = objects(run("index", films, "--json").out)
    assert {Path(video["path"]) for video in videos} == set(films.iterdir())
    assert last["summary"]["unchanged"] == len(NAMES)


def test_search_finds_hostile_names_and_shows_them_harmless(run: Run, indexed: Path, films: Path) -> None:
    ran = run("search", "a red circle", "--copies", "-n", 100)
    assert is_harmless(ran.out.replace("\t", " "))
    assert {line.count("\t") for line in ran.out.splitlines()} == {6}
    for name in NAMES:
        assert f"{printable(films)}/{printable(os.fsdecode(name))}\t" in ran.out
    moments = objects(run("search", "a red circle", "--json", "--copies", "-n", 100).out)
    assert {os.fsencode(moment["path"]) for moment in moments} == {os.fsencode(films) + b"/" + name for name in NAMES}
    assert all(moment["online"] for moment in moments)
    assert len(objects(run("search", "circle", "--in", films, "--json", "--copies", "-n", 100).out)) == len(NAMES)


def test_paths_for_pipes_are_byte_for_byte(
    made: Path, films: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(made))
    monkeypatch.setattr(sys, "argv", ["vidfind", "search", "circle", "--paths", "--copies", "-n", "100"])
    with pytest.raises(SystemExit):
        main()
    found = capsysbinary.readouterr().out
    lines = [os.fsencode(films) + b"/" + name + b"\n" for name in NAMES]
    assert all(line in found for line in lines)
    assert len(found) == sum(map(len, lines))


def test_an_example_with_a_hostile_name_is_a_query(run: Run, indexed: Path, films: Path) -> None:
    for name in (b"a\\n@0:01.mp4", NAMES[6], NAMES[7]):
        assert run("search", "--like", path_of(os.fsencode(films), name), "--json").code == 0
    ran = run("search", "--like", f"{films}/no\x1b[31m.mp4")
    assert (ran.code, is_harmless(ran.err), ran.err.count("\n")) == (1, True, 1)


def test_status_tells_of_hostile_names_harmless(run: Run, indexed: Path, films: Path) -> None:
    ran = run("status")
    assert is_harmless(ran.out + ran.err)
    assert printable(films) in ran.out
    assert f"{printable(films)}/{printable(os.fsdecode(BAD))} " in ran.out


def test_hostile_names_are_relinked_and_forgotten(run: Run, indexed: Path, films: Path) -> None:
    ran = run("relink", "--yes", films, f"{films}\n\x1b[31m/new")
    assert (ran.code, is_harmless(ran.err)) == (0, True)
    assert f"{printable(films)}\\n\\x1b[31m/new is not there now" in ran.err
    assert run("relink", f"{films}\n\x1b[31m/new", films).code == 0
    assert run("index", films).out == f"{len(NAMES)} unchanged, 1 failed.\n"
    assert run("remove", path_of(os.fsencode(films), NAMES[0]), path_of(os.fsencode(films), NAMES[3])).code == 0
    assert len(objects(run("search", "circle", "--json", "--copies", "-n", 100).out)) == len(NAMES) - 2
    ran = run("remove", path_of(os.fsencode(films), NAMES[3]))
    assert (ran.code, ran.err.count("\n"), is_harmless(ran.err)) == (1, 1, True)


@pytest.mark.parametrize("command", [["finetune", "--text-only"], ["eval"]], ids=["finetune", "eval"])
def test_lines_of_captions_with_hostile_names_are_told_harmless(
    run: Run, indexed: Path, films: Path, tmp_path: Path, command: list[str]
) -> None:
    captions = path_of(os.fsencode(tmp_path), b"cap\x1b[31m\ntions\xff.csv")
    with captions.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "caption"])
        for name in ("\x1b[31mno[red].mp4", "li\nne\u202e.mp4", "nu\x01l.mp4"):
            lines.writerow([name, "a \x1b[2J [bold]dog\u202e"])
    ran = run(*command, "--pairs", captions)
    assert (ran.code, ran.out, is_harmless(ran.err)) == (1, "", True)
    assert r"\x1b[31mno[red].mp4" in ran.err
    assert r"cap\x1b[31m\ntions\xff.csv has 3 lines that cannot be used" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["adapters", "show", "\x1b[31m"],
        ["adapters", "import", "\x1b[31m\n.safetensors"],
        ["adapters", "remove", "../\x1b[31m", "--yes"],
        ["index", ".", "--adapter", "\x1b[31m\udcff"],
        ["index", ".", "--model", "\x1b[31m\udcff", "--index", "b"],
        ["index", "/no/\x1b[31m\n\udcff"],
        ["index", ".", "--pretrained", "/no/\x1b[31m\n\udcff", "--index", "b"],
        ["search", "dog", "--in", "/no/\x1b[31m'\n\udcff"],
        ["search", "dog", "--index", "\x1b[31m"],
        ["search", "dog", "--since", "\x1b[31m\udcff"],
        ["search", "dog", "-n", "\x1b[31m"],
        ["search", "dog", "--\x1b[31m"],
        ["\x1b[31m\n\udcff"],
    ],
    ids=printable,
)
def test_what_is_typed_wrong_is_told_harmless(run: Run, indexed: Path, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code in (1, 2)
    assert ran.out == ""
    assert is_harmless(ran.err)
    assert "Error: " in ran.err


# What is shown


@bounded
@given(texts)
def test_any_text_is_shown_on_one_line_and_harmless(text: str) -> None:
    shown = printable(text)
    assert is_harmless(shown)
    assert "\n" not in shown
    assert shown == text or not is_harmless(text) or "\n" in text


@bounded
@given(st.lists(names, min_size=1, max_size=4, unique=True), st.integers(40, 120))
def test_a_result_table_of_any_names_has_links_that_lead_to_them_and_nothing_else_for_the_terminal(
    found: list[bytes], width: int
) -> None:
    files = [path_of(b"/films", name) for name in found]
    moments = [Moment(1, 0.5, path, 1, 2, 3, datetime(2024, 5, 17, tzinfo=UTC)) for path in files]
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor", record=True)
    console.print(result_table(moments, width))
    drawn = [segment for segment in console._record_buffer if not segment.control]
    assert is_harmless("".join(segment.text for segment in drawn))
    links = {segment.style.link for segment in drawn if segment.style and segment.style.link}
    assert all(link.isascii() and link.isprintable() and " " not in link for link in links)
    assert {path_from_text(urlsplit(link).path) for link in links} == set(files)


@bounded
@given(st.lists(st.tuples(names, names), min_size=1, max_size=6, unique=True), st.integers(10, 100))
def test_any_paths_are_shortened_to_harmless_texts(found: list[tuple[bytes, bytes]], width: int) -> None:
    files = [path_of(b"/films", *parts) for parts in found]
    assert is_harmless("".join(short_paths(files, width).values()))


@bounded
@given(texts)
def test_any_text_comes_back_from_json(text: str) -> None:
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        json_line({"path": Path(text), "message": text})
    assert written.getvalue().isascii()
    assert written.getvalue().count("\n") == 1
    assert json.loads(written.getvalue()) == {"path": str(Path(text)), "message": text}


# What is stored


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An index that all examples use, because making one takes longer than they do."""
    from vidfind.encoders.names import EncoderIdentity
    from vidfind.store.settings import IndexSettings

    made = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    yield Store.create(tmp_path_factory.mktemp("shared") / "default", made, dim=16)


@bounded
@given(names)
def test_any_path_comes_back_from_the_text_it_is_stored_as(name: bytes) -> None:
    path = path_of(b"/films", name)
    text = path_to_text(path)
    assert text.isascii() and not set(text) & set("'\"\\ \n")
    assert path_from_text(text) == path


@settings(bounded, max_examples=15)
@given(st.lists(names, min_size=2, max_size=4, unique=True), names)
@example([b"' OR '1'='1", b"a'); DROP TABLE videos; --", b"%", b"_"], b"'")
def test_videos_of_any_name_are_stored_moved_and_forgotten_one_by_one(
    shared: Store, found: list[bytes], folder: bytes
) -> None:
    day = datetime(2024, 5, 17, tzinfo=UTC)
    root = path_of(b"/films", folder)
    rows = {}
    for name in found:
        row = VideoRow(root / os.fsdecode(name), root, 1, 5, "f", day, day, new_content(), 1, 10.0, damage=str(name))
        rows[row.path] = row
    put(shared, list(rows.values()), [Embedded(row.content, [(0, 10)], np.ones((1, 16))) for row in rows.values()])
    assert shared.videos() == rows
    relink_videos(root, Path("/new"), shared)
    assert set(shared.videos()) == {Path("/new", path.name) for path in rows}
    first, *others = shared.videos()
    assert [row.path for row in remove_videos([first], shared)] == [first]
    assert set(shared.videos()) == set(others)
    remove_videos([Path("/new")], shared)
    assert shared.videos() == {}


@settings(bounded, max_examples=30)
@given(st.lists(names, min_size=1, max_size=4, unique=True), st.lists(texts, max_size=3))
@example([b"a"], ["[", "[!", "[z-a]", "[]", "**", "*" * 60 + "b", "\\", "", "/", "{a,b}"])
def test_any_names_are_found_and_any_pattern_leaves_out_only_some(
    tmp_path_factory: pytest.TempPathFactory, found: list[bytes], patterns: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    files = [path_of(os.fsencode(folder), name + b".mp4") for name in found if not name.startswith(b".")]
    for file in files:
        try:
            file.touch()
        except OSError:
            assume(False)  # a file system that takes only text
    everything = [file.path for file in find_videos([folder])]
    assert set(everything) == set(files)
    assert {file.path for file in find_videos([folder], patterns)} <= set(everything)


@bounded
@given(texts)
@example("../../etc")
@example("a\n")
@example("a/b")
@example("\0")
@example("x" * 65)
def test_any_name_of_an_index_or_adapter_is_a_plain_file_or_refused(name: str) -> None:
    for place, folder in ((paths.index_path, "indexes"), (paths.adapter_path, "adapters")):
        try:
            path = place(name)
        except BadInput:
            continue
        assert path.parent == paths.home() / folder
        assert is_harmless(path.name) and "\n" not in path.name


# What is typed


@settings(bounded, max_examples=20)
@given(texts)
@example("red " * 2500)
@example("a" * 10_000)
@example("🐶" * 10_000)
@example("كلب يلعب")
@example("\0\ud800\udcff")
@example("<end_of_text> &lt;b&gt;")
def test_any_query_has_an_answer_or_is_refused(tiny_encoder: Encoder, text: str) -> None:
    try:
        vector, _ = encode_query(tiny_encoder, text)
    except BadInput as error:
        assert "empty" in str(error)
        assert not any(char.isalnum() for char in text)
    else:
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["\0", "\ud800", "\udcff \udcfe", "\u200b", "\x1b"], ids=ascii)
def test_a_query_of_nothing_to_be_seen_is_empty(tiny_encoder: Encoder, text: str) -> None:
    with pytest.raises(BadInput, match="The query is empty"):
        encode_query(tiny_encoder, text)


def test_a_query_longer_than_the_model_reads_is_answered_with_a_warning(run: Run, indexed: Path) -> None:
    ran = run("search", "red " * 2500, "--json")
    assert (ran.code, bool(ran.out)) == (0, True)
    assert ran.err == "The query is longer than the model can read: only its beginning counts.\n"
    assert run("search", "red " * 20, "--json").err == ""


@bounded
@given(texts)
@example("0000")
@example("2024-5-1")
@example("٢٠٢٤")
def test_any_text_is_a_period_or_refused(text: str) -> None:
    try:
        first, last = parse_period(text)
    except BadInput:
        return
    assert first <= last


# Files of captions


@settings(bounded, max_examples=40)
@given(st.lists(texts, min_size=1, max_size=5), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(",;\t"))
def test_any_captions_come_back_from_a_csv_file_or_are_named(
    films: Path, captions: list[str], line_end: str, delimiter: str
) -> None:
    wanted = [caption.encode("utf-8", "ignore").decode() for caption in captions]
    written = io.StringIO()
    lines = csv.writer(written, quoting=csv.QUOTE_ALL, delimiter=delimiter, lineterminator=line_end)
    lines.writerows([["path", "caption"], *[[os.fsdecode(NAMES[0]), caption] for caption in wanted]])
    file = films.parent / "captions.csv"
    (films.parent / os.fsdecode(NAMES[0])).write_bytes((films / os.fsdecode(NAMES[0])).read_bytes())
    file.write_bytes(written.getvalue().encode())
    if any("\0" in caption for caption in wanted):
        with pytest.raises(BadInput, match="no text at all"):
            read_pairs(file)
        return
    pairs, bad = read_pairs(file)
    expected = {normal_caption(caption) for caption in wanted if caption.split()}
    assert {normal_caption(pair.caption) for pair in pairs} == expected
    assert len(bad) == sum(not caption.split() for caption in wanted)
    assert is_harmless(printable("".join(one.reason for one in bad)))


def test_line_ends_of_all_kinds_in_one_file_are_read(films: Path) -> None:
    file = films / "mixed.csv"
    try:
        file.write_bytes(b"path,caption\r\n-rf.mp4,one\r-rf.mp4,two\n\n\r\n-rf.mp4,three\r\n")
        pairs, bad = read_pairs(file)
    finally:
        file.unlink()
    assert ([pair.caption for pair in pairs], bad) == (["one", "two", "three"], [])


def test_a_caption_as_long_as_a_book_loses_no_line_after_it(films: Path) -> None:
    file = films / "long.csv"
    try:
        file.write_text('path,caption\n-rf.mp4,"' + "dog " * 100_000 + '"\n-rf.mp4,cat\n', encoding="utf-8")
        pairs, bad = read_pairs(file)
    finally:
        file.unlink()
    assert ([len(pair.caption) for pair in pairs], bad) == ([399_999, 3], [])
