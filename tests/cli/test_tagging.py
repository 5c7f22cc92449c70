"""The commands of `vidfind tag`."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.rows import embed
from tests.support.stored import on_disk, put
from tests.support.tagged import Library, make_library
from vidfind.store.labelled.marks import Mark
from vidfind.system.storage import lock


@pytest.fixture
def library(tmp_path: Path, run: Run) -> Library:
    """Videos a.mp4, b.mp4 and sub/c.mp4, of 20 seconds each."""
    return make_library(tmp_path, run, "a.mp4", "b.mp4", "sub/c.mp4")


# One by one


def test_a_video_is_tagged_and_tags_are_taken_back(library: Library, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(library.folder)
    assert run("tag", "add", "a.mp4", "Dog", "  my   beach ").code == 0
    assert run("tag", "add", "sub/c.mp4", "dog", "--from", "0:05", "--to", "12.5").code == 0
    ran = run("tag", "add", "b.mp4", "dog", "--not", "--json")
    expected = {"path": str(library.folder / "b.mp4"), "tag": "dog", "value": "no", "start": None, "end": None}
    assert json.loads(ran.out) == expected
    assert library.said() == ["a.mp4 Dog", "a.mp4 my beach", "b.mp4 -Dog", "c.mp4 Dog 5-12.5"]
    assert "known already" in run("tag", "add", "a.mp4", "DOG").err

    ran = run("tag", "remove", "a.mp4", "dog")
    assert (ran.code, ran.err) == (0, "Took Dog from 1 video.\n")
    assert "tag reject" in run("tag", "remove", "a.mp4", "dog").err
    ran = run("tag", "remove", "dog")
    assert (ran.code, "vidfind tag remove --all dog" in ran.err) == (2, True)
    assert run("tag", "remove", "--all", "dog").code == 0
    assert library.said() == ["a.mp4 my beach"]


def test_the_newer_of_two_opposites_holds(library: Library, run: Run) -> None:
    video = library.folder / "a.mp4"
    run("tag", "add", video, "dog", "--from", "0", "--to", "10")
    run("tag", "add", video, "dog", "--not", "--from", "10", "--to", "15")
    assert library.said() == ["a.mp4 -dog 10-15", "a.mp4 dog 0-10"]
    ran = run("tag", "add", video, "dog", "--not")
    assert "said the opposite before" in ran.err
    assert library.said() == ["a.mp4 -dog", "a.mp4 -dog 10-15"]
    run("tag", "add", video, "dog", "--from", "12")
    assert library.said() == ["a.mp4 dog 12-20"]
    assert run("tag", "add", video, "dog").code == 0  # the whole video has it, of which a part is known
    run("tag", "add", video, "dog", "--not", "--from", "1", "--to", "2")
    assert library.said() == ["a.mp4 -dog 1-2", "a.mp4 dog", "a.mp4 dog 12-20"]


def test_all_videos_of_a_folder_are_tagged_at_once(library: Library, run: Run) -> None:
    ran = run("tag", "add", library.folder, "film")
    assert (ran.code, ran.err) == (0, "3 videos: film.\n")
    assert library.said() == ["a.mp4 film", "b.mp4 film", "c.mp4 film"]
    assert run("tag", "add", library.folder, "film", "--from", "1").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["a.mp4", "b.mp4", "Dog", "beach"],
        ["a.mp4", "b.mp4", "--", "Dog", "beach"],
        ["--", "a.mp4", "b.mp4", "Dog", "beach"],
        ["[ab].mp4", "Dog", "beach"],
        ["*.mp4", "Dog", "beach"],
        ["../films/a.mp4", "a.mp4", "./[b]*", "Dog", "beach", "beach"],
    ],
)
def test_many_videos_are_tagged_at_once(
    library: Library, run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(library.folder)
    for command, said in (("add", ""), ("reject", "-")):
        assert run("tag", command, *words).code == 0
        assert library.said() == [f"{video} {said}{tag}" for video in ("a.mp4", "b.mp4") for tag in ("Dog", "beach")]
    ran = run("tag", "remove", *words)
    assert (ran.code, ran.err) == (0, "Took Dog, beach from 2 videos.\n")
    assert library.said() == []


def test_folders_are_tagged_at_once_and_what_is_not_indexed_is_left_out(
    library: Library, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library.folder)
    Path("new.mp4").touch()
    ran = run("tag", "add", "a.mp4", "sub/", "new.mp4", "nope.mkv", "film")
    assert ran.code == 0
    assert "Left out: new.mp4 is not indexed. Index it first: vidfind index" in ran.err
    assert "Left out: nope.mkv names no video of the index" in ran.err
    assert run("tag", "add", "a.mp4", "sub", "--", "-x", "sub").code == 0
    assert library.said() == [f"{name} {tag}" for name in ("a.mp4", "c.mp4") for tag in ("-x", "film", "sub")]
    assert run("tag", "add", "new.mp4", "nope.mkv", "film").code == 2
    assert run("tag", "add", "a.mp4", "sub", "--").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dog", "a.mp4"], "Name the videos first, and then their tags"),
        (["a.mp4", "b.mp4"], "Name the videos first, and then their tags"),
        (["nothing.mp4", "dog"], "nothing.mp4 names no video of the index"),
        (["A.mp4", "dog"], "did you mean a.mp4?"),
        (["", "dog"], "is empty"),
        (["a.mp4"], "TAG is missing"),
        (["a.mp4", " "], "A tag is empty"),
        (["a.mp4", "x" * 65], "has 65 characters"),
        (["a.mp4", "dog,cat"], "has a ','"),
        (["a.mp4", "dog;cat"], "has a ';'"),
        (["a.mp4", "do\x07g"], "control character"),
        (["a.mp4", "d\udcffg"], "no text"),
        (["a.mp4", "dog", "--from", "soon"], "no time as its start: 'soon'"),
        (["a.mp4", "dog", "--from", "0:10", "--to", "0:05"], "not before its end"),
        (["a.mp4", "dog", "--from", "0:30"], "only 20.0 seconds long"),
        (["a.mp4", "here.txt"], "is a file, and no tag"),
    ],
)
def test_what_is_no_video_tag_or_part_is_refused(
    library: Library, run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(library.folder)
    Path("here.txt").touch()
    ran = run("tag", "add", *words)
    assert ran.code == 2
    assert said in ran.err
    assert library.said() == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("clip-1", "clip-01.mp4"),
        ("clip-01", "clip-01.mp4"),
        ("Clip01.mov", "clip-01.mp4"),
        ("clip-99.mp4", ""),
        ("clip-21.mp4", ""),
        ("holliday.mp4", "holiday.mkv"),
        ("nothing.mp4", ""),
        ("x.mp4", ""),
    ],
)
def test_only_a_name_that_may_be_meant_is_proposed(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, typed: str, meant: str
) -> None:
    library = make_library(tmp_path, run, "clip-01.mp4", "clip-02.mp4", "holiday.mkv", "morning.mp4")
    monkeypatch.chdir(library.folder)
    ran = run("tag", "add", typed, "dog")
    assert ran.code == 2
    assert ran.err.rstrip().partition("; did you mean ")[2].rstrip("?") == meant


def test_words_of_other_programs_propose_the_command(library: Library, run: Run) -> None:
    for group, word, meant in (("tag", "delete", "remove"), ("tag", "show", "list"), ("learn", "remove", "forget")):
        assert f"Did you mean {meant!r}?" in run(group, word, "x").err
    assert "Did you mean 'fit'?" in run("learn", "train").err
    run("tag", "add", library.folder / "a.mp4", "Dog")
    ran = run("tag", "list", "dog")
    assert (ran.code, ran.err) == (2, "Error: Dog is a tag, and no video. The videos with it: vidfind list --tag Dog\n")


def test_a_part_that_ends_after_the_video_is_cut(library: Library, run: Run) -> None:
    assert (
        "cut to the 20.0 seconds"
        in run("tag", "add", library.folder / "a.mp4", "dog", "--from", "5", "--to", "1:00").err
    )
    assert library.said() == ["a.mp4 dog 5-20"]


def test_tags_are_renamed_and_joined(library: Library, run: Run) -> None:
    a, b = library.folder / "a.mp4", library.folder / "b.mp4"
    for words in ([a, "doggo", "cat"], [b, "dog", "--not"], [b, "doggo"], [a, "it's"]):
        run("tag", "add", *words)
    ran = run("tag", "rename", "DOGGO", "Dog")
    assert (ran.code, ran.err) == (
        0,
        "Renamed doggo to Dog, in 3 places.\nDog was a tag already: the two are one now.\n",
    )
    assert library.said() == ["a.mp4 Dog", "a.mp4 cat", "a.mp4 it's", "b.mp4 Dog"]
    run("tag", "rename", "it's", 'a "quoted" name')
    assert json.loads(run("tag", "rename", "cat", "Cat", "--json").out) == {"old": "cat", "new": "Cat", "changed": 1}
    assert library.said() == ["a.mp4 Cat", "a.mp4 Dog", 'a.mp4 a "quoted" name', "b.mp4 Dog"]
    ran = run("tag", "rename", "dgo", "x")
    assert (ran.code, "Did you mean 'Dog'?" in ran.err) == (2, True)
    assert run("tag", "rename", "dog", "a,b").code == 2


def test_taking_a_tag_from_many_videos_needs_a_confirmation(tmp_path: Path, run: Run) -> None:
    library = make_library(tmp_path, run, *(f"{number}.mp4" for number in range(21)))
    run("tag", "add", library.folder, "film")
    ran = run("tag", "remove", "--all", "film")
    assert (ran.code, "add --yes" in ran.err) == (1, True)
    assert run("tag", "remove", "--all", "film", "--yes").code == 0
    assert library.said() == []


# Automatic tags and suggestions


@pytest.fixture
def filled(library: Library) -> Library:
    """Of a.mp4, cat was added; it is asked about in b.mp4, and about dog in c.mp4."""
    a, b, c = (row.content for row in library.rows.values())
    marks = [
        Mark(a, 0.0, 10.0, tags={"cat": 0.9}),
        Mark(a, 10.0, 20.0, tags={"cat": 0.85}),
        Mark(b, 0.0, 10.0, suggested={"cat": 0.6}),
        Mark(c, 10.0, 20.0, suggested={"dog": 0.5}),
    ]
    with library.store.writing() as writer:
        writer.replace_marks("tag", "run-1", ["cat", "dog"], marks)
    return library


def counts(run: Run) -> dict[str, tuple[int, ...]]:
    lines = map(json.loads, run("tag", "list", "--json").out.splitlines())
    return {line["tag"]: (line["yours"], line["no"], line["added"], line["to_review"]) for line in lines}


def test_suggestions_are_accepted_and_rejected(filled: Library, run: Run) -> None:
    a, b, c = (row.path for row in filled.rows.values())
    run("tag", "add", a, "cat", "--not", "--from", "0", "--to", "10")
    assert counts(run) == {"cat": (0, 0, 1, 1), "dog": (0, 0, 0, 1)}
    assert json.loads(run("tag", "list", a, "--json").out)["added"] == [{"tag": "cat", "confidence": 0.85}]
    assert run("tag", "accept", b, "Cat").code == 0
    assert run("tag", "reject", a, "cat").code == 0
    assert run("tag", "reject", c, "dog").code == 0
    assert counts(run) == {"cat": (1, 1, 0, 0), "dog": (0, 1, 0, 0)}
    assert run("tag", "accept", b, "horse").code == 2


def test_automatic_tags_follow_a_new_name_and_go_with_their_tag(filled: Library, run: Run) -> None:
    run("tag", "rename", "cat", "kitty")
    assert counts(run) == {"dog": (0, 0, 0, 1), "kitty": (0, 0, 1, 1)}
    run("tag", "rename", "dog", "kitty")
    assert counts(run) == {"kitty": (0, 0, 1, 2)}
    run("tag", "remove", "--all", "kitty")
    assert counts(run) == {}
    assert filled.store.run_of("tag") == "run-1"


def test_all_tags_of_a_video_are_shown(filled: Library, run: Run) -> None:
    a = filled.rows["a.mp4"].path
    run("tag", "add", a, "dog", "--from", "1", "--to", "3")
    shown = [line.split() for line in run("tag", "list", a).out.splitlines()[1:]]
    assert shown == [["Yours", "dog", "0:01-0:03"], ["Added", "cat", "(0.90)"]]
    assert run("tag", "list").out.splitlines()[1].split("\t") == ["cat", "0", "0", "1", "1"]


# Lists


def test_an_exported_list_is_imported_to_the_same_state(library: Library, run: Run, tmp_path: Path) -> None:
    a, b, c = (row.path for row in library.rows.values())
    for words in (
        [a, "dog", 'a "big" day'],
        [b, "dog", "--not"],
        [c, "été", "--from", "1:00.25", "--to", "0:20"],
        [c, "x", "--from", "0.125"],
    ):
        run("tag", "add", *words)
    before = library.said()
    assert run("tag", "export", "-").out == run("tag", "export").out
    for file in (tmp_path / "tags.csv", tmp_path / "tags.jsonl"):
        assert run("tag", "export", file).code == 0
        run("tag", "remove", "--all", "dog", "x", 'a "big" day')
        assert run("tag", "import", file).code == 0
        assert library.said() == before
    assert run("tag", "export", file).code == 2  # it is there already
    assert run("tag", "export", file, "--force").code == 0
    assert "x,yes,0.125,20.0" in run("tag", "export").out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tags.csv", "path,tag\na.mp4,dog\nsub/c.mp4, Dog \n"),
        ("tags.csv", '\ufeffPath;Tags\r\na.mp4;dog\r\n\r\nsub/c.mp4;"dog;dog;"\r\n'),
        ("tags.tsv", "tag\tpath\tvalue\ndog\ta.mp4\t1\ndog\tsub\\c.mp4\ttrue\n"),
        ("tags.csv", 'file,tags,camera\n"a.mp4",dog,x\nc.mp4,dog,"y\nz"\n'),
        ("tags.jsonl", '{"path": "a.mp4", "tag": "dog"}\n\n{"path": "sub/c.mp4", "tags": ["dog"], "value": true}\n'),
    ],
    ids=["comma", "semicolons and BOM", "tabs", "more columns", "JSON lines"],
)
def test_lists_are_read_as_other_programs_write_them(library: Library, name: str, text: str) -> None:
    ran = library.imports(text, name=name)
    assert (ran.code, library.said()) == (0, ["a.mp4 dog", "c.mp4 dog"])


def test_a_list_comes_in_from_a_pipe(library: Library, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(library.folder)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"path,tag,start,end\na.mp4,dog,0:01,5\n")))
    assert run("tag", "import", "-").code == 0
    assert library.said() == ["a.mp4 dog 1-5"]


def test_videos_are_found_by_paths_as_they_are_written(tmp_path: Path, run: Run) -> None:
    composed = unicodedata.normalize("NFC", "été.mp4")
    library = make_library(tmp_path, run, unicodedata.normalize("NFD", composed), "x/one.mp4", "y/one.mp4", "z/two.mp4")
    for name in ("other", "films/deep"):
        (tmp_path / name).mkdir()
    lines = ["path,tag", f"{composed},a", "x/one.mp4,b", "/elsewhere/y/one.mp4,c", "/elsewhere/two.mp4,d"]
    lines.append(f"{library.rows['z/two.mp4'].path.as_uri()},e")
    lines.append(r"C:\Users\Anna\Videos\z\two.mp4,f")
    ran = library.imports("\n".join(lines), name="deep/tags.csv")  # relative to the list there is none of these
    assert ran.code == 0
    found = [line.split(" ", 1)[1] for line in library.said()]
    assert sorted(found) == ["a", "b", "c", "d", "e", "f"]
    assert "3 videos found by the names of their files alone, such as /elsewhere/y/one.mp4: " in ran.err
    assert "by its name" not in ran.err
    ran = library.imports("path,tag\n/elsewhere/two.mp4,d\n", "--json")
    assert json.loads(ran.out)["found_by_name"] == {"/elsewhere/two.mp4": str(library.rows["z/two.mp4"].path)}
    assert "/a/two.mp4 was found by its name" in run("tag", "add", "/a/two.mp4", "g").err


ROWS = [
    ("nothing.mp4,dog", "nothing.mp4 names no video of the index"),
    ("bb.mp4,dog", "did you mean b.mp4?"),
    ("new.mp4,dog", "new.mp4 is not indexed. Index it first: vidfind index"),
    ("same.mp4,dog", "may be any of several videos:"),
    ("broken.mp4,dog", "could not be read when it was indexed: is cut short"),
    (",dog", "has no path"),
    ("a.mp4,", "A tag is empty."),
    (f"a.mp4,{'x' * 65}", "has 65 characters"),
    ("a.mp4,do\x07g", "control character"),
    ("a.mp4,dog,maybe", "has the value 'maybe', and not yes or no"),
    ("a.mp4,dog,,soon", "has no time as its start: 'soon'"),
    ("a.mp4,dog,,0:75", "has no time as its start: '0:75'"),
    ("a.mp4,dog,,10,5", "has a start, 10, that is not before its end, 5"),
    ("a.mp4,dog,,5,5", "not before its end"),
    ("a.mp4,dog,,1:00,2:00", "starts at 1:00, and the video is only 20.0 seconds long"),
    ("a.mp4,dog,,1,2,3", "has more values than the header"),
]


def test_rows_that_cannot_be_used_are_left_out_and_listed(library: Library, run: Run) -> None:
    more = [library.row("x/same.mp4"), library.row("y/same.mp4")]
    put(library.store, more, [embed(row) for row in more])
    put(library.store, [library.row("broken.mp4", failed="is cut short", content=0, segments=0)])
    (library.folder / "new.mp4").touch()
    good = "sub/c.mp4,good\nsub/c.mp4,part,,15,25\n"
    ran = library.imports("path,tag,value,start,end\n" + good + "\n".join(row for row, _ in ROWS), "--json")
    assert ran.code == 0
    answer = json.loads(ran.out)
    assert [one["line"] for one in answer["skipped"]] == [*range(4, 4 + len(ROWS))]
    for one, (row, said) in zip(answer["skipped"], ROWS, strict=True):
        assert said in one["reason"], row
    assert [one["line"] for one in answer["notes"]] == [3]
    assert library.said() == ["c.mp4 good", "c.mp4 part 15-20"]

    ran = run("tag", "import", library.folder / "tags.csv", "--strict")
    assert ran.code == 1
    assert f"{len(ROWS)} rows could not be used:" in ran.err
    assert f"and {len(ROWS) - 10} more" in ran.err
    assert "cut to the 20.0 seconds" in ran.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "tags.csv is empty. Its first line must name the columns, like 'path,tag'."),
        (" \n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        ("a.mp4,dog\n", "must be like 'path,tag', and is 'a.mp4,dog'"),
        ("path,name\na.mp4,dog\n", "no column 'tag' or 'tags'"),
        ("path,tag,tag\na.mp4,dog,cat\n", "two columns 'tag'"),
        ("path,tag\n", "has no rows below its header"),
        ("path,tag\nx.mp4,dog\n", "None of the 1 rows"),
        (b"path,tag\na.mp4,d\xffg\n", "not UTF-8 at byte 16"),
        (b"\xef\xbb\xbfpath,tag\n\xe4.mp4,dog\n", "not UTF-8 at byte 12"),
        ("path,tag\na.mp4,dog\n".encode("utf-16"), "not UTF-8 at byte 0"),
        (b"path,tag\na.mp4,d\0g\n", "a NUL at byte 16"),
        ("path,tag,value\na.mp4,dog,yes\nb.mp4,dog,no\n./a.mp4,DOG,no\n", "lines 2 and 4 say yes and no to 'DOG'"),
        ("path,tag,value,start,end\na.mp4,dog,,0,5\na.mp4,dog,no,4,6\n", "lines 2 and 3 say yes and no"),
        ('path,tag\na.mp4,"dog\n', "line 2: unexpected end of data"),
    ],
)  # fmt: skip
def test_a_list_of_which_nothing_can_be_used_is_refused(library: Library, text: str | bytes, said: str) -> None:
    ran = library.imports(text)
    assert ran.code == 2
    assert said in ran.err
    assert library.said() == []


def test_a_list_of_too_many_rows_is_refused(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfind.tagging.lists.MOST_ROWS", 2)
    ran = library.imports("path,tag\n" + "a.mp4,dog\n" * 3)
    assert (ran.code, "more than 2 rows, which is the limit" in ran.err) == (2, True)
    monkeypatch.setattr("vidfind.tagging.lists.MOST_BYTES", 20)
    assert "at most 20 are read" in library.imports("path,tag\n" + "a.mp4,dog\n" * 2).err


def test_what_is_said_twice_counts_once_and_what_is_stored_gives_way(library: Library, run: Run) -> None:
    run("tag", "add", library.folder / "a.mp4", "dog", "--not")
    text = "path,tag\na.mp4,dog\na.mp4,DOG\nb.mp4,dog\n"
    ran = library.imports(text, "--dry-run")
    assert ran.err.endswith("Would add 2 tags, of 2 videos listed.\n")
    assert library.said() == ["a.mp4 -dog"]
    ran = library.imports(text)
    assert "1 row said the same as one before" in ran.err
    assert "said the opposite before, which this replaces: dog" in ran.err
    assert library.said() == ["a.mp4 dog", "b.mp4 dog"]
    ran = library.imports(text)
    assert "Added 0 tags, of 2 videos listed. 2 were there already." in ran.err


def test_a_list_that_cannot_be_opened_is_refused(library: Library, run: Run) -> None:
    for file, said in ((library.folder / "none.csv", "cannot be read"), (library.folder, "holds no .xmp files")):
        ran = run("tag", "import", file)
        assert (ran.code, said in ran.err) == (2, True)


# Indexes


@pytest.mark.parametrize(
    "words",
    [["add", "a.mp4", "x"], ["list"], ["import", "x.csv"], ["export"], ["accept", "a.mp4", "x"], ["rename", "x", "y"]],
    ids=lambda words: words[0],
)
def test_a_command_on_no_index_says_how_to_make_one(run: Run, words: list[str]) -> None:
    ran = run("tag", *words)
    assert ran.code == 2
    assert "There is no index 'default' yet. Make it: vidfind index FOLDER" in ran.err


def test_a_command_on_an_empty_index_says_how_to_add_videos(tmp_path: Path, run: Run) -> None:
    make_library(tmp_path, run)
    for words in (["add", "a.mp4", "x"], ["import", "x.csv"], ["list", "a.mp4"], ["reject", "a.mp4", "x"]):
        ran = run("tag", *words)
        assert (ran.code, "holds no videos yet. Add some: vidfind index FOLDER" in ran.err) == (2, True)
    assert run("tag", "list").code == 0


def test_tags_wait_while_another_program_writes(library: Library, run: Run) -> None:
    with open(on_disk(library.store) / "writing.lock", "ab") as file:
        lock(file.fileno())
        ran = run("tag", "add", library.folder / "a.mp4", "dog")
    assert (ran.code, "Another vidfind is writing" in ran.err) == (1, True)
