"""What is typed wrong, in every option and argument of every command: a sentence, and never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.support.ran import Run
from tests.support.reference import all_commands
from vidfind.cli.app import app
from vidfind.system import mistakes
from vidfind.system.mistakes import BUG, UPGRADED

COMMANDS = dict(all_commands(typer.main.get_group(app)))
NUMBERS = ["-1", "9" * 30, "nan", "1e400", "many"]
TEXTS = ["../x", "a\nb\x1b[31m", "\udcff"]
FILES = ["/no/such/file", "FOLDER", "BINARY", "a\nb\udcff"]
WRONG = {"int": NUMBERS, "float": NUMBERS, "str": TEXTS, "path": FILES}
"""Values by the type of what takes them; FOLDER and BINARY stand for an empty folder and a file of bytes."""
NEEDED = {
    "vidfind index": ["FOLDER"],
    "vidfind search": ["dog"],
    "vidfind eval": ["--pairs", "BINARY", "--compare=mean", "--encoder=mean"],
    "vidfind finetune": ["--pairs", "BINARY", "--full", "--text-only"],
    "vidfind bench": ["--only", "nothing"],
    "vidfind encoders": ["--index", "nothing"],
}
"""Words with which a command ends soon, whatever else is given."""


def values_of(parameter: Any) -> list[str]:
    kind = parameter.type_descriptor
    if kind.choices:
        return TEXTS
    return next((values for name, values in WRONG.items() if name in str(kind.annotation).lower()), [])


def wrong_lines(path: str) -> Iterator[list[str]]:
    """Command lines of one command, each with one value that is wrong, or at least odd."""
    words = path.split()[1:]
    for parameter in COMMANDS[path].params:
        for value in values_of(parameter):
            if parameter.param_type_name == "argument":
                yield [*words, "--", value, *(["x"] if parameter.nargs == 1 else [])]
            else:
                yield [*words, *NEEDED.get(path, []), f"{parameter.opts[0]}={value}"]


@pytest.mark.parametrize("path", COMMANDS)
def test_no_value_of_any_option_ends_a_command_in_a_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "BINARY").write_bytes(bytes(range(256)))
    monkeypatch.chdir(tmp_path)
    for line in wrong_lines(path):
        if line[:3] == ["index", "--", "BINARY"]:
            continue  # a file that is named is looked at, by a model
        ran = run(*line)
        assert ran.code in (0, 1, 2), line
        assert BUG not in ran.err and "Traceback" not in ran.err, (line, ran.err)
        if ran.code:
            assert "Error: " in ran.err, line
        else:
            assert line[0] in ("index", "adapters", "models", "status"), line


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["search", "dog", "-n", "0"], "-n must be 1 or more, not '0'."),
        (["search", "dog", "--limit=0"], "--limit must be 1 or more, not '0'."),
        (["search", "dog", "-n", "many"], "-n takes a whole number, not 'many'."),
        (["search", "dog", "--min-score", "x"], "--min-score takes a number, not 'x'."),
        (["search", "dog", "--open"], "--open needs a value."),
        (["search", "dog", "--online=3"], "--online takes no value."),
        (["search", "dog", "--onlin"], "There is no option --onlin. Did you mean --online?"),
        (["search", "dog", "--colour"], "There is no option --colour."),
        (["search", "dog", "--device", "xpu"], "--device takes one of auto, cuda, mps, cpu, not 'xpu'."),
        (["index", ".", "--segment", "0"], "--segment must be 0.5 or more, not '0'."),
        (["index", ".", "--threads", "99999"], "--threads must be 1024 or less, not '99999'."),
        (["index", ".", "--model="], "--model is empty."),
        (["index", ""], "PATH is empty."),
        (["search", "dog", "-n", "9" * 30], "-n must be 1,000,000,000 or less."),
        (["search", "dog", "--min-score", "nan"], "--min-score takes a number, not 'nan'."),
        (["relink", "/old"], "NEW is missing."),
        (["finetune"], "--pairs FILE is missing."),
        (["status", "all", "of it"], "Too many words: all of it"),
        (["serach"], "There is no command 'serach'. Did you mean 'search'?"),
        (["adapters", "fly"], "There is no command 'fly'. The commands are: show, remove, export"),
        (["a blue square", "-n", "3"], "There is no command 'a blue square'. To search for it:\n  vidfind search"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_a_sentence_that_names_it_as_it_was_typed(run: Run, line: list[str], sentence: str) -> None:
    ran = run(*line)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"Error: {sentence}")
    assert "\nTry 'vidfind" in ran.err


DEVICE = [path for path, command in COMMANDS.items() if any("--device" in one.opts for one in command.params)]


@pytest.mark.parametrize("path", DEVICE)
def test_a_device_that_is_not_there_is_refused_at_once(run: Run, path: str) -> None:
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("this machine has that device")
    ran = run(*path.split()[1:], *NEEDED.get(path, []), "--device", "mps")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: This machine has no Apple GPU. Use --device auto or cpu.\n")


def test_what_fails_after_an_upgrade_under_way_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vidfind.store.status", None)
    assert f"{BUG}: ModuleNotFoundError" in run("status").err
    monkeypatch.setattr(mistakes, "STARTED", 0.0)
    ran = run("status")
    assert ran.code == 1 and ran.err == f"Error: {UPGRADED}\n"


def test_an_error_in_a_task_group_is_shown_as_itself() -> None:
    error = OSError("no terminal")
    assert mistakes.cause_of(ExceptionGroup("outer", [ExceptionGroup("inner", [error]), ValueError()])) is error
