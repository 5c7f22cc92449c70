"""`vidfind eval` as a user meets it: what it prints where, and how it ends."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.small_adapters import save_adapter
from vidfind.demo.collection import draw_collection
from vidfind.system.paths import adapter_path

pytestmark = pytest.mark.usefixtures("measured_once")
ROWS = ["R@1", "R@5", "R@10", "Median rank", "Mean rank"]


@pytest.fixture(scope="session")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of captions beside eight drawn videos; nobody may write to them."""
    folder = tmp_path_factory.mktemp("captioned")
    drawn = draw_collection(folder, 8, seed=3)
    write_captions(folder / "captions.csv", [(path.name, caption) for path, caption in drawn])
    return folder / "captions.csv"


def write_captions(path: Path, rows: Sequence[tuple[str, ...]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "caption", "start", "end")[: max(map(len, rows))], *rows])
    return path


def read_captions(path: Path) -> list[tuple[str, ...]]:
    """Rows without the header, with whole paths."""
    with open(path, newline="", encoding="utf-8") as file:
        return [(str(path.parent / row[0]), *row[1:]) for row in list(csv.reader(file))[1:]]


def shown(text: str) -> dict[str, list[str]]:
    """The numbers of a recall table, by row; a row of the second direction has a `<` before its name."""
    lines = text.splitlines()
    assert [line.strip() for line in (lines[2], lines[8])] == ["Text to video", "Video to text"]
    width = max(map(len, ROWS)) + 2
    names = [*ROWS, *(f"<{row}" for row in ROWS)]
    table = {}
    for name, line in zip(names, [*lines[3:8], *lines[9:14]], strict=True):
        assert line[:width].strip() == name.lstrip("<")
        table[name] = line[width:].split()
    assert lines[14].startswith("R-Sum")
    assert lines[15].strip() == "A clip costs"
    costs = {line.split()[0]: line.split()[1:] for line in lines[17:19]}
    return {"": lines[0].split(), **table, "R-Sum": lines[14].split()[1:], **costs}


def test_encoders_are_compared_side_by_side(run: Run, captioned: Path) -> None:
    ran = run(
        "eval",
        "--pairs",
        captioned,
        "--model",
        "tiny",
        "--compare",
        "tempme, mean,tempme",
        "--device",
        "cpu",
        "--details",
    )
    assert (ran.code, ran.err) == (0, "")
    table = shown(ran.out)
    assert table[""] == ["tempme", "mean"]
    assert all(len(numbers) == 2 for numbers in table.values())
    assert float(table["R@1"][0]) >= 75
    assert table["R@10"] == ["100.0", "100.0"]
    assert ran.out.splitlines()[-2] == "8 captions, to be found among 8 videos."
    assert table["Tokens"][1] == "600"


def test_a_sentence_says_how_many_captions_find_their_video(run: Run, captioned: Path) -> None:
    asked = ("eval", "--pairs", captioned, "--model", "tiny")
    assert re.match(r"Of 8 captions, [678] find their video first, and 8 among the first 5\.\n", run(*asked).out)
    header, _, tempme, mean, measured = run(*asked, "--compare", "tempme,mean").out.splitlines()
    assert " ".join(header.split()) == "Captions that find theirs First Among the first 5 Among the first 10"
    assert [line.split()[0] for line in (tempme, mean)] == ["tempme", "mean"] and tempme.split()[-1] == "8"
    assert measured == "8 captions, to be found among 8 videos."


def test_the_frames_that_are_judged_by_are_chosen_and_told_of(run: Run, captioned: Path) -> None:
    ask = ("eval", "--pairs", captioned, "--model", "tiny", "--json", "--sampling")
    off = {sampling: json.loads(run(*ask, sampling).out)["off"] for sampling in ("exact", "auto", "keyframes")}
    assert 0 == off["exact"] < off["auto"] < off["keyframes"]


def test_each_encoder_is_a_line_of_json(run: Run, captioned: Path) -> None:
    ran = run("eval", "--pairs", captioned, "--model", "tiny", "--json")
    assert (ran.code, ran.err) == (0, "")
    (values,) = map(json.loads, ran.out.splitlines())
    assert values["name"] == "tempme"
    assert set(values["text_to_video"]) == {"r1", "r5", "r10", "median", "mean", "count"}
    assert values["r_sum"] > 400
    assert values["tokens"] < 200 and values["flops"] > 1e8 and values["ms"] > 0
    assert {key: values[key] for key in ("captions", "videos", "moments", "segments", "segment_length")} == {
        **{"captions": 8, "videos": 8, "moments": 0, "segments": 8},
        "segment_length": 10.0,
    }


def test_moments_are_found_among_segments(run: Run, captioned: Path, tmp_path: Path) -> None:
    rows = [(path, caption, "0:00", "0:01.5") for path, caption in read_captions(captioned)]
    file = write_captions(tmp_path / "moments.csv", rows)
    ran = run("eval", "--pairs", file, "--model", "tiny", "--segment", "1.5")
    assert ran.code == 0
    assert re.match(r"Of 8 captions, \d find their moment first, and \d among the first 5\.\n", ran.out)
    assert ran.out.splitlines()[-1].startswith("8 captions of 8 moments, to be found among ")
    assert ran.out.splitlines()[-1].endswith(" segments of 1.5 s in 8 videos.")


def test_an_adapter_is_judged_on_the_model_it_was_trained_on(run: Run, captioned: Path) -> None:
    save_adapter(adapter_path("mine"), kind="text", scale=1.0)
    alone, both = run("eval", "--pairs", captioned, "--adapter", "mine", "--details"), None
    assert (alone.code, alone.err) == (0, "")
    both = run("eval", "--pairs", captioned, "--compare", "tempme,mine", "--details")
    assert shown(both.out)[""] == ["tempme", "mine"]
    assert [numbers[1] for numbers in shown(both.out).values()] == [numbers[0] for numbers in shown(alone.out).values()]
    assert shown(both.out)["R-Sum"][0] != shown(both.out)["R-Sum"][1]


def test_what_is_not_chosen_is_that_of_the_index(run: Run, captioned: Path) -> None:
    options = ["--model", "tiny", "--encoder", "mean", "--segment", "2", "--index", "work"]
    assert run("index", captioned.parent, *options).code == 0
    values = json.loads(run("eval", "--pairs", captioned, "--index", "work", "--json").out)
    assert (values["name"], values["segment_length"]) == ("mean", 2)
    values = json.loads(run("eval", "--pairs", captioned, "--index", "work", "--encoder", "tempme", "--json").out)
    assert (values["name"], values["segment_length"]) == ("tempme", 2)


def test_tfvl_is_compared_with_its_latest_adapter_which_is_told_on_stderr(run: Run, captioned: Path) -> None:
    save_adapter(adapter_path("sentences"), kind="frozen")
    ran = run("eval", "--pairs", captioned, "--model", "tiny", "--compare", "mean,tfvl", "--device", "cpu", "--details")
    assert (ran.code, ran.err) == (0, "tfvl is judged with its latest adapter, 'sentences' of 2026-02-03.\n")
    assert shown(ran.out)[""] == ["mean", "tfvl"]
    assert shown(ran.out)["Tokens"] == ["600", "600"]


# What is wrong


def test_all_bad_lines_are_told_and_end_with_1(run: Run, captioned: Path, tmp_path: Path) -> None:
    file = write_captions(tmp_path / "c.csv", [*read_captions(captioned), ("go\x1bne.mp4", "x"), (str(captioned), "")])
    ran = run("eval", "--pairs", file, "--model", "tiny")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        f"{file} has lines that cannot be used:",
        rf"  line 10: {tmp_path}/go\x1bne.mp4 is not there",
        f"  line 11: {captioned} has an empty caption",
        f"Error: {file} has 2 lines that cannot be used. To go on without: add --skip-bad",
    ]


def test_bad_lines_can_be_skipped(run: Run, captioned: Path, tmp_path: Path) -> None:
    file = write_captions(tmp_path / "c.csv", [*read_captions(captioned), ("gone.mp4", "x")])
    ran = run("eval", "--pairs", file, "--model", "tiny", "--skip-bad")
    assert ran.code == 0
    assert ran.out.startswith("Of 8 captions, ")
    assert ran.err.splitlines()[1] == f"  line 10: {tmp_path}/gone.mp4 is not there"
    assert len(ran.err.splitlines()) == 2


def test_a_damaged_video_is_told_once_and_judged_by_what_can_be_read(
    run: Run, captioned: Path, clips: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / f"damaged {'a ' * 40}.mp4"  # too long for a line: is not to be folded
    shutil.copy(clips / "damaged.mp4", damaged)
    file = write_captions(tmp_path / "c.csv", [*read_captions(captioned)[:2], (str(damaged), "a number")])
    ran = run("eval", "--pairs", file, "--model", "tiny", "--segment", "1")
    assert ran.code == 0
    assert ran.err == f"{damaged} is damaged: 1 of 3 segments could be read\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--pairs", "c.csv", "--compare", ","],
        ["--pairs", "c.csv", "--compare", "mean", "--encoder", "tempme"],
        ["--pairs", "c.csv", "--compare", "mean", "--adapter", "mine"],
        ["--pairs", "c.csv", "--segment", "0"],
        ["--pairs", "c.csv", "--encoder", "best"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_a_hint(run: Run, arguments: list[str]) -> None:
    ran = run("eval", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Error: " in ran.err
    assert "Try 'vidfind eval" in ran.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pairs", "/no/captions.csv"], "There is no file /no/captions.csv"),
        (["--pairs", "/"], "/ is a folder. Give the file with the captions."),
        (["--adapter", "nope"], "There is no adapter 'nope' (there is none yet)."),
        (["--compare", "tempme,nope"], "The encoders are: tempme, "),
        (["--compare", "mean,tfvl", "--model", "tiny"], "To make one: vidfind finetune --pairs FILE --encoder tfvl"),
        (["--index", "nope"], "There is no index 'nope' yet."),
        (["--model", "tiny", "--pairs", "one.csv"], "To judge takes two captions or more, and there is 1."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_with_the_remedy(
    run: Run, captioned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_captions(tmp_path / "one.csv", read_captions(captioned)[:1])
    ran = run("eval", *([] if "--pairs" in options else ["--pairs", captioned]), *options)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Error: ")
    assert ran.err.count("\n") == 1
    assert message in ran.err
