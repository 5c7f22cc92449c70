"""The commands of `vidfind learn`, and searches for what was learned, on videos whose vectors are made up."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.ran import Run
from tests.support.rows import make_row
from tests.support.stored import begin_again, on_disk, put
from vidfind.categories.fitting import Fitted
from vidfind.categories.labels import labels_of
from vidfind.categories.saved import read_classes
from vidfind.display.labels.categories import show_fitted
from vidfind.encoders.encoder import Encoder
from vidfind.index.writer import make_marker
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.store.writer import StoreWriter
from vidfind.tagging.learning.vectors import NEUTRAL, unit

PETS = ("rex", "mia")
EXAMPLES = 4


class Videos:
    """The default index of a home, of the built-in model: videos of two segments that look like rex, mia or nothing."""

    def __init__(self, home: Path, folder: Path, encoder: Encoder) -> None:
        self.folder = folder
        folder.mkdir()
        self.store = Store.create(home / "indexes" / "default", IndexSettings(encoder.identity), dim=encoder.dim)
        rng = np.random.default_rng(1)
        self.looks = unit(rng.standard_normal((2, encoder.dim)))
        rows, parts = [], []
        for number in range(30):
            look = self.looks[number % 3] * 2 if number % 3 < 2 else np.zeros(encoder.dim)
            noise = rng.standard_normal((2, encoder.dim)) / np.sqrt(encoder.dim)
            row = make_row(str(folder / f"v{number:02}.mp4"), fingerprint=f"print {number}", folder=folder)
            rows.append(row)
            parts.append(Embedded(row.content, [(0.0, 10.0), (10.0, 20.0)], unit(look + noise)))
        put(self.store, rows, parts)
        self.rows = rows

    def list_of(self, each: int = EXAMPLES) -> str:
        """A list with some examples of each class."""
        lines = [f"pets,{name},v{3 * i + n:02}.mp4," for n, name in enumerate(PETS) for i in range(each)]
        return "\n".join(["task,class,path,describe", *lines, ""])


@pytest.fixture
def videos(tmp_path: Path, run: Run, tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Videos:
    made = Videos(tmp_path / "home", tmp_path / "films", tiny_encoder)
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr("vidfind.tagging.learning.vectors.NEUTRAL", NEUTRAL[:2])  # a hundred take a second
    return made


def imported(videos: Videos, run: Run, text: str, *options: str, name: str = "list.csv") -> object:
    (videos.folder / name).write_text(text, errors="surrogateescape")
    return run("learn", "import", name, *options)


def names_in(text: str) -> set[str]:
    return {Path(json.loads(line)["path"]).stem for line in text.splitlines()}


@pytest.fixture
def fitted(videos: Videos, run: Run) -> Videos:
    assert imported(videos, run, videos.list_of()).code == 0  # type: ignore[attr-defined]
    assert run("learn", "fit", "--mode", "linear").code == 0
    return videos


def test_classes_are_learned_and_found(fitted: Videos, run: Run) -> None:
    rexes = {f"v{number:02}" for number in range(0, 30, 3)}
    found = names_in(run("search", "anything", "--is", "pets:rex", "-n", "30", "--json").out)
    assert len(found & rexes) >= 7
    assert len(found - rexes) <= 1
    assert {f"v{3 * i:02}" for i in range(EXAMPLES)} <= found
    assert run("search", "anything", "--is", "pets:rex", "--is", "PETS:mia", "--json").out == ""
    assert "Did you mean pets:rex?" in run("search", "x", "--is", "pets:rexx").err
    assert "'rex' is no class. Did you mean pets:rex?" in run("search", "x", "--is", "rex").err
    assert "Did you mean pets:mia or pets:rex?" in run("search", "x", "--is", "pets").err
    assert "Did you mean 'pets'?" in run("learn", "fit", "--task", "pet").err
    assert "Examples that were right when left out: 100.0 %, by" in run("learn", "show", "pets").err
    learned = read_classes(fitted.store)
    assert learned is not None
    assert learned.names == ["pets:mia", "pets:rex"]
    [mia, rex] = map(json.loads, run("learn", "list", "--json").out.splitlines())
    assert (rex["class"], rex["examples"], rex["learned"], mia["validated"]) == ("rex", EXAMPLES, True, True)
    assert rex["found"] >= 3
    shown = run("learn", "show", "pets")
    assert ("pets:rex" in shown.out, "v03.mp4" in shown.out) == (True, True)

    # What the owner says counts more than what was learned.
    other = next(iter(found - {f"v{3 * i:02}" for i in range(EXAMPLES)}))
    assert run("learn", "add", "pets", "none", f"{other}.mp4").code == 0
    assert other not in names_in(run("search", "anything", "--is", "pets:rex", "-n", "30", "--json").out)

    # The same examples and seed give the same model, and applying it changes nothing.
    before, marks = fitted.store.run_of("class"), fitted.store.marks()
    assert run("learn", "apply").code == 0
    assert (fitted.store.run_of("class"), fitted.store.marks()) == (before, marks)
    files = [*fitted.store.path.glob("models/*")]
    assert [file.stem for file in files] == [before]

    # A name in a query is what it looks like, unless it is to be a word.
    ran = run("search", "rex on a sofa", "-n", "5", "--json")
    assert ("pets:rex" in ran.err, len(names_in(ran.out) & rexes)) == (True, 5)
    literal = run("search", "rex on a sofa", "--literal", "-n", "5", "--json")
    assert ("pets:rex" in literal.err, literal.out == ran.out) == (False, False)
    assert "pets:rex" not in run("search", "rexes on a sofa", "--json").err

    # Forgetting a class forgets what was learned of it.
    assert run("learn", "forget", "pets/rex").code == 0
    assert "There is no class pets:rex" in run("search", "x", "--is", "pets:rex").err
    assert run("search", "x", "--is", "pets:mia", "--json").out
    assert run("learn", "forget", "pets").code == 0
    assert (fitted.store.marks(), fitted.store.labels("class")) == ([], [])


@pytest.mark.parametrize("step", ["replace_marks", "change_labels"])
def test_what_is_stopped_before_its_commit_changes_nothing(
    step: str, fitted: Videos, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fitted.store.run_of("class"), fitted.store.marks(), fitted.store.labels("class")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(StoreWriter, step, stop)
        if step == "replace_marks":
            run_stopped(run, "learn", "fit", "--mode", "prototype", "--seed", "3")
        else:
            run_stopped(run, "learn", "add", "pets", "rex", "v15.mp4")
    assert (fitted.store.run_of("class"), fitted.store.marks(), fitted.store.labels("class")) == before
    assert run("search", "x", "--is", "pets:rex", "--json").out


@pytest.mark.parametrize("step", ["rename_marks", "change_labels"])
def test_what_is_half_forgotten_is_never_seen_and_can_be_forgotten_again(
    step: str, fitted: Videos, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, labels = fitted.store.marks(), fitted.store.labels("class")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(StoreWriter, step, stop)
        run_stopped(run, "learn", "forget", "pets/rex")
    marked = {name for mark in fitted.store.marks() for name in mark.classes}
    assert (fitted.store.labels("class"), "pets:mia" in marked) == (labels, True)
    assert fitted.store.marks() == before or marked == {"pets:mia"}
    assert "rex" in run("learn", "list").out
    assert run("learn", "forget", "pets/rex").code == 0
    assert {name for mark in fitted.store.marks() for name in mark.classes} == {"pets:mia"}
    assert {label.name for label in fitted.store.labels("class")} == {"mia"}


def run_stopped(run: Run, *words: str) -> None:
    assert run(*words).code == 130


def test_a_dry_run_changes_nothing_and_fitting_twice_is_fitting_once(fitted: Videos, run: Run) -> None:
    before, marks = fitted.store.run_of("class"), fitted.store.marks()
    ran = run("learn", "fit", "--mode", "prototype", "--dry-run", "--json")
    assert (ran.code, json.loads(ran.out.splitlines()[-1])["mode"] in ("prototype", "zero-shot")) == (0, True)
    assert (fitted.store.run_of("class"), fitted.store.marks()) == (before, marks)
    assert run("learn", "fit", "--mode", "linear").code == 0
    assert (fitted.store.run_of("class"), fitted.store.marks()) == (before, marks)
    text = fitted.list_of().replace("pets,", "rooms,").replace("rex", "hall").replace("mia", "attic")
    assert imported(fitted, run, text).code == 0  # type: ignore[attr-defined]
    assert run("learn", "fit", "--task", "rooms", "--mode", "prototype").code == 0
    learned = read_classes(fitted.store)
    assert learned is not None
    assert learned.names == ["pets:mia", "pets:rex", "rooms:attic", "rooms:hall"]
    assert run("search", "x", "--is", "pets:rex", "--is", "rooms:hall", "--json").out


def test_new_videos_get_classes_as_they_are_indexed(fitted: Videos) -> None:
    vectors = np.concatenate([fitted.looks, -fitted.looks])
    spans = [(10.0 * i, 10.0 * i + 10) for i in range(4)]
    marks = make_marker(fitted.store)([Embedded(7, spans, vectors), Embedded(8, [], vectors[:0])])
    found = [(mark.content, mark.start, *mark.classes) for mark in marks]
    assert found == [(7, 0.0, "pets:rex"), (7, 10.0, "pets:mia")]


def test_lists_and_exports_take_classes_too(fitted: Videos, run: Run) -> None:
    found = names_in(run("search", "anything", "--is", "pets:rex", "-n", "30", "--json").out)
    assert {Path(line).stem for line in run("list", "--is", "pets:rex", "--paths").out.splitlines()} == found
    assert run("list", "--is", "pets:rex", "--is", "pets:mia", "--paths").out == ""
    assert "Did you mean pets:rex?" in run("list", "--is", "pets:rx").err
    ran = run("export", "x", "--is", "pets:rx", "--timeline", "a.csv")
    assert "Did you mean pets:rex?" in ran.err


def test_a_query_that_names_a_class_warns_once_of_words_that_the_model_does_not_know(fitted: Videos, run: Run) -> None:
    assert "pets," not in run("search", "a rex in red", "--json").err  # which stands in place of the name
    ran = run("search", "rex beside a zorp", "--json")
    assert "does not know: beside, zorp" in ran.err or "does not know: zorp" in ran.err
    assert (ran.err.count("does not know"), "zorp" in ran.err) == (1, True)


def test_what_was_learned_of_vectors_that_are_gone_is_learned_again(fitted: Videos, run: Run) -> None:
    stored = [(row, next(iter(fitted.store.segments([row.content])))) for row in fitted.rows]
    begun = begin_again(fitted.store)
    parts = [
        Embedded(row.content, [(start, end) for start, end in spans.tolist()], -vectors)
        for row, (_, spans, vectors) in stored
    ]
    put(begun, fitted.rows, parts)
    with begun.writing() as writer:
        writer.finish()
        writer.compact()
    ran = run("learn", "apply")
    assert (ran.code, "Learn them again from the same examples: vidfind learn fit" in ran.err) == (1, True), ran.err
    assert "Not learned yet: pets:mia, pets:rex" in run("learn", "list").err
    assert run("learn", "fit", "--mode", "linear").code == 0
    assert run("learn", "apply").code == 0
    assert {name for mark in Store.open(fitted.store.path).marks() for name in mark.classes} == {"pets:mia", "pets:rex"}


# Examples


def said(videos: Videos) -> list[str]:
    return sorted(
        f"{label.task}:{label.name} {label.video.removeprefix('print ')}"
        + (f" {label.start:g}-{label.end:g}" if label.start is not None else "")
        + (f" ({label.described})" if label.described else "")
        for label in videos.store.labels("class")
    )


def test_examples_are_added_one_by_one(videos: Videos, run: Run) -> None:
    assert run("learn", "add", "pets", "Rex", "v00.mp4", "v03.mp4", "--describe", "a brown dog").code == 0
    assert run("learn", "add", "PETS", "rex", "v06.mp4", "--from", "0:02", "--to", "12").code == 0
    assert said(videos) == ["pets:Rex 0 (a brown dog)", "pets:Rex 3 (a brown dog)", "pets:Rex 6 2-12"]
    assert "known already" in run("learn", "add", "pets", "rex", "v00.mp4").err
    assert said(videos)[0] == "pets:Rex 0 (a brown dog)"
    assert [label.name for label in labels_of(videos.store, "Pets", "REX")] == ["Rex"] * 3


def test_examples_are_read_from_folders_and_lists(videos: Videos, run: Run) -> None:
    for number, name in enumerate(("Rex", "Mia", "Mia")):
        file = videos.folder / "all" / "pets" / name / f"v{number:02}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert run("learn", "import", "all").code == 0
    assert said(videos) == ["pets:Mia 1", "pets:Mia 2", "pets:Rex 0"]
    (videos.folder / "empty").mkdir()
    assert "holds no files like TASK/CLASS/VIDEO" in run("learn", "import", "empty").err
    text = "task;class;path;start;end\npets;rex;v09.mp4;1;5\npets;rex;v09.mp4;1;5\npets;rex;nope.mp4;;\n"
    ran = imported(videos, run, text, "--json", "--strict")
    result = json.loads(ran.out)  # type: ignore[attr-defined]
    assert (ran.code, result["added"], result["duplicates"]) == (1, 1, 1)  # type: ignore[attr-defined]
    assert "names no video" in result["skipped"][0]["reason"]
    assert said(videos)[-1] == "pets:Rex 9 1-5"
    assert imported(videos, run, "task,class,path\npets,none,v11.mp4\n", "--dry-run").code == 0  # type: ignore[attr-defined]
    assert len(said(videos)) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task,path\npets,v00.mp4\n", "has no column 'class'"),
        ("", "list.csv is empty."),
        ("task,class,path\n", "has no rows below its header"),
        ("task,class,path\npets,rex,nope.mp4\n", "None of the 1 rows"),
        ("task,class,path\npets,,v00.mp4\n", "None of the 1 rows"),
        ("task,class,path\npets,a:b,v00.mp4\n", "None of the 1 rows"),
        ("task,class,path,start,end\npets,rex,v00.mp4,9,3\n", "None of the 1 rows"),
        (
            "task,class,path\npets,rex,v00.mp4\npets,mia,v00.mp4\n",
            "list.csv: line 2 and line 3 say that v00.mp4 shows pets:rex and pets:mia.",
        ),
        ("task,class,path,start,end\npets,a,v00.mp4,1,5\npets,b,v00.mp4,1,5\n", "from 0:01 to 0:05 shows pets:a and"),
        ("task,class,path\npets,rex,\0\n", "NUL at byte"),
        ("task,class,path\npets,r\udcffx,v00.mp4\n", "is not UTF-8 at byte 22"),
        ("task,class,path,start\npets,rex,v00.mp4,9:59\n", "None of the 1 rows"),
        ("task,class,path\n" + "pets,rex,v00.mp4\n" * 5, "more than 4 rows"),
    ],
)
def test_lists_of_which_nothing_can_be_used_change_nothing(
    text: str, message: str, videos: Videos, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidfind.tagging.lists.MOST_ROWS", 4)
    ran = imported(videos, run, text)
    assert (ran.code, message in ran.err) == (2, True), ran.err  # type: ignore[attr-defined]
    assert videos.store.labels("class") == []


def test_a_part_that_ends_after_its_video_is_cut(videos: Videos, run: Run) -> None:
    text = "task,class,path,start,end\npets,rex,v00.mp4,5,99999\n"
    ran = imported(videos, run, text)
    end = videos.rows[0].duration
    assert (ran.code, f"is cut to the {end:.1f} seconds" in ran.err) == (0, True)  # type: ignore[attr-defined]
    assert [(label.start, label.end) for label in videos.store.labels("class")] == [(5.0, end)]


def test_an_empty_index_is_told_how_to_be_filled(tmp_path: Path, run: Run, tiny_encoder: Encoder) -> None:
    Store.create(tmp_path / "home" / "indexes" / "default", IndexSettings(tiny_encoder.identity), dim=tiny_encoder.dim)
    (tmp_path / "list.csv").write_text("task,class,path\npets,rex,a.mp4\n")
    for words in (["add", "pets", "rex", "a.mp4"], ["import", str(tmp_path / "list.csv")]):
        ran = run("learn", *words)
        assert (ran.code, "vidfind index" in ran.err) == (2, True), ran.err
    ran = run("learn", "fit")
    assert (ran.code, "There are no classes to learn yet" in ran.err) == (2, True)


def test_training_that_has_no_time_or_fails_falls_back(
    videos: Videos, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(videos, run, videos.list_of())
    ran = run("learn", "fit", "--mode", "vector", "--max-seconds", "0", "--json")
    assert (ran.code, json.loads(ran.out.splitlines()[-1])["steps"]) == (0, 0)
    monkeypatch.setattr("vidfind.categories.shared_network.RATE", np.inf)  # so that the loss is not finite
    ran = run("learn", "fit", "--mode", "vector", "--json")
    result = json.loads(ran.out.splitlines()[-1])
    assert (ran.code, result["scores"]["vector"]) == (0, result["scores"]["prototype"])
    learned = read_classes(videos.store)
    assert learned is not None
    assert np.isfinite(learned.heads.centred).all()
    cut = dataclasses.replace(learned, mode="vector", steps=3, most_steps=200)
    show_fitted(Fitted(cut, {}, 60, 0, 1.0), False, videos.store.path)
    assert "The time was over after 3 of 200 steps. More: --max-seconds" in capsys.readouterr().err


def test_people_can_share_a_video(videos: Videos, run: Run) -> None:
    for words in (["people", "ann"], ["people", "bob"], ["pets", "rex"], ["pets", "mia", "--multi", "Pets"]):
        assert run("learn", "add", *words, "v00.mp4").code == 0
    assert run("learn", "add", "pets", "zoe", "v00.mp4").code == 0  # that pets can share one has been said before
    assert said(videos) == ["people:ann 0", "people:bob 0", "pets:mia 0", "pets:rex 0", "pets:zoe 0"]
    text = "task,class,path\npets,a,v01.mp4\npets,b,v01.mp4\nrooms,a,v01.mp4\nrooms,b,v01.mp4\n"
    ran = imported(videos, run, text)
    assert (ran.code, "add --multi rooms." in ran.err) == (2, True)  # type: ignore[attr-defined]
    assert imported(videos, run, text, "--multi", "rooms").code == 0  # type: ignore[attr-defined]
    assert len(said(videos)) == 9


def test_of_two_classes_that_one_moment_is_given_the_newer_holds(videos: Videos, run: Run) -> None:
    run("learn", "add", "pets", "rex", "v00.mp4", "v01.mp4")
    run("learn", "add", "pets", "mia", "v00.mp4", "--from", "1", "--to", "2")  # a part may show another
    ran = run("learn", "add", "pets", "mia", "v00.mp4", "v02.mp4")
    assert "1 example of another class before, which this replaces: pets:rex." in ran.err
    assert said(videos) == ["pets:mia 0", "pets:mia 0 1-2", "pets:mia 2", "pets:rex 1"]
    assert imported(videos, run, "task,class,path\npets,none,v01.mp4\n").code == 0  # type: ignore[attr-defined]
    assert said(videos)[2:] == ["pets:mia 2", "pets:none 1"]


def test_repeated_examples_count_once(videos: Videos, run: Run) -> None:
    ran = run("learn", "add", "pets", "rex", "v00.mp4", "v00.mp4", "./v00.mp4", "v01.mp4")
    assert "pets:rex: 2 new examples." in ran.err
    ran = run("learn", "add", "pets", "rex", "v00.mp4", "v02.mp4")
    assert "1 example known already" in ran.err and "1 new example." in ran.err
    ran = run("learn", "add", "pets", "rex", "v00.mp4", "--describe", "a brown dog")
    assert ran.err == "pets:rex: 1 example described anew.\n"
    assert run("learn", "add", "pets", "rex", "v00.mp4").err == "That was known already of pets:rex.\n"
    [rex] = map(json.loads, run("learn", "list", "--json").out.splitlines())
    assert rex["examples"] == 3


def test_a_class_is_named_in_two_ways_in_any_case(fitted: Videos, run: Run) -> None:
    found = run("search", "anything", "--is", "pets:rex", "--json").out
    for name in ("pets/rex", "PETS/Rex", "Pets: REX", " pets : rex "):
        assert run("search", "anything", "--is", name, "--json").out == found
    assert run("list", "--is", "Pets/Rex", "--paths").out
    assert run("learn", "add", "PETS/Rex", "v09.mp4", "v12.mp4").err.startswith("pets:rex: ")
    assert "no class" not in run("learn", "add", "pets:rex", "v15.mp4").err
    assert (run("learn", "add", "pets", "rex").code, run("learn", "add", "pets:rex", "nope.mp4").code) == (2, 2)
    for name in ("pets:rex", "Pets/REX"):
        shown = run("learn", "show", name).out
        assert ("pets:rex" in shown, "pets:mia" in shown) == (True, False)
    assert run("learn", "forget", "PETS:Rex").err.startswith("Forgot pets:rex: ")
    assert {label.name for label in fitted.store.labels("class")} == {"mia"}


def test_examples_are_forgotten_after_a_question(videos: Videos, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("learn", "add", "pets", "rex", ".")
    ran = run("learn", "forget", "pets")
    assert (ran.code, "Forgetting 30 examples must be confirmed: add --yes. Nothing" in ran.err) == (1, True)
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, **_: asked.append(question))
    run("learn", "forget", "pets/rex")
    assert asked == ["Forget pets:rex, of 30 examples?"]
    assert said(videos) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit"], "There are no classes to learn yet"),
        (["apply"], "No classes have been learned yet"),
        (["show", "pets"], "There are no classes yet"),
        (["forget", "pets/rex"], "There are no classes yet"),
        (["add", "pets", "rex", "nope.mp4"], "names no video of the index"),
        (["add", "pets", " ", "v00.mp4"], "A class is empty"),
        (["add", "pets", "x" * 65, "v00.mp4"], "has 65 characters"),
        (["add", "pets", "rex", "v00.mp4", "--from", "5", "--to", "3"], "not before its end"),
        (["add", "pets", "rex", "v00.mp4", "v01.mp4", "--from", "5"], "need a single video"),
        (["add", "pets", "rex"], "VIDEO is missing"),
        (["import", "nope.csv"], "cannot be read"),
        (["fit", "--mode", "magic"], "takes one of"),
        (["fit", "--mode", "vector", "--reference"], "leave --mode out"),
        (["list", "--index", "nope"], "There is no index 'nope'"),
    ],
)
def test_what_makes_no_sense_is_said(words: list[str], message: str, videos: Videos, run: Run) -> None:
    ran = run("learn", *words)
    assert (ran.code, message in ran.err) == (2, True), ran.err


def test_a_class_needs_a_usable_example(videos: Videos, run: Run) -> None:
    row = make_row(str(videos.folder / "bad.mp4"), 1, fingerprint="bad", folder=videos.folder)
    put(videos.store, [row], [Embedded(row.content, [(0.0, 10.0)], np.zeros((1, 128)))])
    imported(videos, run, videos.list_of() + "pets,zed,bad.mp4,\n")
    ran = run("learn", "fit", "--mode", "prototype")
    assert (ran.code, "No example of pets:zed" in ran.err) == (2, True), ran.err
    ran = run("learn", "fit", "--mode", "prototype", "--allow-zero-shot")
    assert (ran.code, "1 segment without a usable vector" in ran.err, "pets:zed" in ran.err) == (0, True, True)


def test_a_class_of_one_video_is_not_validated(videos: Videos, run: Run) -> None:
    imported(videos, run, videos.list_of(1))
    ran = run("learn", "fit", "--mode", "token")
    assert (ran.code, "Nothing was judged" in ran.err, "three videos of a class" in ran.err) == (0, True, True)
    assert videos.store.marks() == []


@pytest.mark.parametrize(("each", "is_shuffled"), [(2, False), (4, True)], ids=["too few examples", "no better"])
def test_what_may_be_chance_is_given_to_nothing(each: int, is_shuffled: bool, videos: Videos, run: Run) -> None:
    text = videos.list_of(each)
    if is_shuffled:  # each class has half of its examples of the other's look
        lines = [f"pets,{PETS[i % 2]},v{3 * i + n:02}.mp4," for n in range(2) for i in range(each)]
        text = "\n".join(["task,class,path,describe", *lines, ""])
    imported(videos, run, text)
    ran = run("learn", "fit", "--mode", "linear")
    assert (ran.code, "Not validated, so given to nothing by themselves: pets:mia, pets:rex" in ran.err) == (0, True)
    assert videos.store.marks() == []
    assert [json.loads(line)["validated"] for line in run("learn", "list", "--json").out.splitlines()] == [False] * 2


def test_a_name_that_is_too_long_for_the_model_is_refused(videos: Videos, run: Run) -> None:
    run("learn", "add", "pets", "rex", "v00.mp4", "--describe", "brown " * 80)
    ran = run("learn", "fit")
    assert (ran.code, "reads 77 tokens" in ran.err) == (2, True)


def test_classes_of_other_vectors_are_learned_again(fitted: Videos, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfind.tagging.saved.described", lambda identity: {"model": "another"})
    ran = run("learn", "apply")
    assert (ran.code, "vidfind learn fit" in ran.err) == (1, True)


@pytest.fixture
def damaged(fitted: Videos) -> Iterator[Path]:
    [file] = on_disk(fitted.store).glob("models/classes-*.npz")
    file.write_bytes(file.read_bytes()[:1000])
    yield file


def test_a_damaged_model_is_as_if_nothing_had_been_learned(damaged: Path, fitted: Videos, run: Run) -> None:
    assert run("search", "rex", "--json").code == 0
    assert run("learn", "apply").code == 1
    assert run("learn", "fit", "--mode", "linear").code == 0
    assert read_classes(fitted.store) is not None
