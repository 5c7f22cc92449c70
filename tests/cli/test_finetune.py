"""`vidfind finetune` as a user meets it: what it refuses, what it saves, and how it can be stopped."""

from __future__ import annotations

import csv
import logging
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.support.program import run_here
from tests.support.ran import Run
from vidfind.demo.collection import draw_collection


@pytest.fixture(scope="session")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of captions beside twelve drawn videos; nobody may write to them."""
    folder = tmp_path_factory.mktemp("captions")
    rows = [(path.name, caption) for path, caption in draw_collection(folder, 12, seed=4)]
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "caption"), *rows])
    return folder / "captions.csv"


@pytest.fixture(scope="module")
def made_home(captions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose index holds the captioned videos, to be copied."""
    home = tmp_path_factory.mktemp("made")
    run_here(home, "index", captions.parent, "--model", "tiny")
    return home


@pytest.fixture
def indexed(made_home: Path, tmp_path: Path) -> None:
    """The captioned videos are in the program's index."""
    shutil.copytree(made_home, tmp_path / "home")


@pytest.mark.usefixtures("indexed")
def test_text_only_teaches_an_index_at_once(run: Run, captions: Path) -> None:
    ran = run("finetune", "--pairs", captions, "--text-only", "--name", "names", "--epochs", 3)
    assert ran.code == 0, ran.err
    said = " ".join(ran.out.split())
    assert said.startswith("4 captions were held out from training. How many find their video first among 12: Captions")
    assert re.search(r" all 4 \d \d \d+ to \d+ % ", said)
    assert "4 captions are too few to tell progress from chance: write more, or hold out 20 or more with --val" in said
    assert "New indexes do not use it by themselves. To change that: vidfind adapters default names" in ran.err
    assert run("adapters", "default").out == "New indexes use no adapter.\n"
    assert "adapter" not in run("status").out  # four captions prove nothing: it is not used unasked
    again = ("--name", "others", "--epochs", 1, "--use", "--default")
    ran = run("finetune", "--pairs", captions, "--text-only", *again)
    assert "The index 'default' uses the adapter others from now on; no video had to be read again." in ran.err
    assert "Nothing has to be encoded again" not in ran.err
    assert "adapter others" in run("status").out
    assert run("adapters", "default").out == "New indexes of tiny / builtin use others.\n"
    assert run("search", "a circle").code == 0


@pytest.mark.usefixtures("indexed")
def test_an_index_is_encoded_again_only_if_that_is_wanted(run: Run, captions: Path) -> None:
    ran = run("finetune", "--pairs", captions, "--epochs", 1, "--lr", 1e-6)
    assert ran.code == 0, ran.err
    assert "To use it in the index 'default': vidfind index --adapter home" in ran.err
    assert "adapter" not in run("status").out
    ran = run("finetune", "--pairs", captions, "--epochs", 1, "--lr", 1e-6, "--force", "--use")
    assert ran.code == 0, ran.err
    assert "12 changed" in ran.out and "adapter home" in run("status").out


def test_without_an_index_it_says_what_comes_next(run: Run, captions: Path) -> None:
    ran = run(
        "finetune", "--pairs", captions, "--model", "tiny", "--epochs", 1, "--frames", 8, "--rank", 2, "--default"
    )
    assert ran.code == 0, ran.err
    assert "To use it: vidfind index FOLDER --adapter home" in ran.err
    shown = run("adapters", "show", "home").out
    assert "8" in shown and "tiny" in shown
    assert run("index", captions.parent, "--model", "tiny").code == 0  # with the default adapter, and its frames
    assert "adapter home, 8 frames" in run("status").out


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--full", "--text-only"], 2, "either --full or --text-only"),
        (["--name", "../up"], 1, "cannot name an adapter"),
        (["--adapter", "nobody"], 1, "There is no adapter 'nobody'"),
        (["--model", "tiny", "--frames", "10"], 1, "TempMe cannot join 10 frames"),
        (["--model", "tiny", "--val", "2"], 1, "between 0 and 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused(run: Run, captions: Path, options: list[str], code: int, says: str) -> None:
    ran = run("finetune", "--pairs", captions, *options)
    assert (ran.code, ran.out) == (code, "")
    assert says in " ".join(ran.err.split())


def test_a_name_that_is_taken_and_too_few_pairs_are_refused_before_anything_is_loaded(
    run: Run, captions: Path, tmp_path: Path
) -> None:
    taken = tmp_path / "home" / "adapters" / "home.safetensors"
    taken.parent.mkdir(parents=True)
    taken.touch()
    ran = run("finetune", "--pairs", captions)
    assert ran.code == 1 and "already is an adapter 'home'" in ran.err and "--force" in ran.err
    few = captions.with_name("few.csv")
    few.write_text("\n".join(captions.read_text().splitlines()[:6]))
    ran = run("finetune", "--pairs", few, "--name", "other")
    assert ran.code == 1 and "Too few pairs to learn from: 5." in ran.err


class StopAfterSteps(logging.Handler):
    """Presses Ctrl-C soon after the held-out pairs were judged for the second time."""

    def emit(self, record: logging.LogRecord) -> None:
        if re.match(r"step [1-9]\d*: ", record.getMessage()):
            logging.getLogger("vidfind").removeHandler(self)
            Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()  # wherever the training is by then


@pytest.fixture
def stopping() -> Iterator[None]:
    handler, before = StopAfterSteps(), signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger("vidfind").addHandler(handler)
    yield
    logging.getLogger("vidfind").removeHandler(handler)
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise there")
@pytest.mark.usefixtures("stopping")
def test_ctrl_c_keeps_the_best_state_so_far(captions: Path, run: Run) -> None:
    ran = run("finetune", "-v", "--pairs", captions, "--model", "tiny", "--epochs", 300, "--text-only")
    assert ran.code == 130
    assert "Traceback" not in ran.err and "held out from training" in ran.out
    assert run("adapters", "show", "home").code == 0
