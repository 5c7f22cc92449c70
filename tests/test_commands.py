"""Every command line that a message names is one that the program takes."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from tests.support.reference import all_commands
from vidfind import commands
from vidfind.cli.app import app

PACKAGE = Path(__file__).parents[1] / "vidfind"
GROUP = typer.main.get_group(app)
EVERY = [GROUP, *(command for _, command in all_commands(GROUP))]
UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # which typer itself does not export
INDEX, OWN_INDEX = Path("/home/me/indexes/default"), Path("/home/me/indexes/films")
FOLDER = Path('/home/me/it\'s "$HOME" & more')
LINES = {
    commands.index_command: [
        commands.index_command(),
        commands.index_command(INDEX, ["~/Videos"]),
        commands.index_command(OWN_INDEX, [FOLDER, Path("/my films")]),
        commands.index_command(
            commands.OTHER_INDEX,
            model="ViT-B-16",
            pretrained="/my weights/vit.pt",
            encoder="mean",
            adapter="home",
            segment_length=2.5,
            overlap=True,
        ),
    ],
    commands.retry_command: [commands.retry_command(), commands.retry_command(OWN_INDEX)],
    commands.list_command: [commands.list_command()],
    commands.adapter_command: [commands.adapter_command(INDEX, "home"), commands.adapter_command(OWN_INDEX, None)],
    commands.weights_command: [commands.weights_command(INDEX), commands.weights_command(OWN_INDEX)],
    commands.search_command: [commands.search_command(), commands.search_command('a "big" dog', OWN_INDEX)],
    commands.moments_command: [commands.moments_command()],
    commands.export_command: [commands.export_command()],
    commands.status_command: [commands.status_command(), commands.status_command(OWN_INDEX)],
    commands.forget_command: [commands.forget_command(OWN_INDEX), commands.forget_command(folder=FOLDER)],
    commands.delete_command: [commands.delete_command(INDEX), commands.delete_command(OWN_INDEX)],
    commands.finetune_command: [
        commands.finetune_command(),
        commands.finetune_command(model="ViT-B-16", pretrained="openai", encoder="tfvl", name="NAME"),
    ],
    commands.finetune_help_command: [commands.finetune_help_command()],
    commands.import_command: [commands.import_command(FOLDER / "home.safetensors")],
    commands.show_command: [commands.show_command("home")],
    commands.default_command: [commands.default_command(), commands.default_command("home")],
    commands.learn_import_command: [commands.learn_import_command(FOLDER / "classes.csv")],
    commands.learn_add_command: [commands.learn_add_command(), commands.learn_add_command(OWN_INDEX)],
    commands.learn_fit_command: [commands.learn_fit_command(), commands.learn_fit_command(OWN_INDEX)],
    commands.learn_list_command: [commands.learn_list_command(), commands.learn_list_command(OWN_INDEX)],
    commands.class_search_command: [commands.class_search_command("my pets:rex", OWN_INDEX)],
    commands.encoders_command: [commands.encoders_command()],
    commands.models_command: [commands.models_command()],
    commands.tag_list_command: [commands.tag_list_command(OWN_INDEX)],
    commands.tag_videos_command: [commands.tag_videos_command("my dog", OWN_INDEX)],
    commands.tag_add_command: [commands.tag_add_command()],
    commands.tag_reject_command: [commands.tag_reject_command(FOLDER / "a.mp4", "it's")],
    commands.tag_remove_command: [commands.tag_remove_command("my dog", OWN_INDEX)],
    commands.tag_review_command: [commands.tag_review_command(OWN_INDEX)],
    commands.tag_import_command: [commands.tag_import_command(FOLDER / "tags.csv")],
    commands.doctor_command: [commands.doctor_command(), commands.doctor_command(OWN_INDEX)],
    commands.mend_command: [commands.mend_command(), commands.mend_command(OWN_INDEX)],
    commands.web_command: [commands.web_command()],
    commands.bench_command: [commands.bench_command()],
}
COMMAND = re.compile(rf"\bvidfind (?:{'|'.join(GROUP.commands)}|-)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
PLAYER_OPTIONS = {"--start", "--start-time", "--no-stdin", "--mpv-start", "--new-window", "--file-forwarding"}
OPTIONS_OF_OTHERS = {*PLAYER_OPTIONS, "--extra", "--head"}
"""Options of the players that vidfind starts, of uv and of ray."""


def parse(line: str) -> None:
    """Has the program read a command line, without doing what it says. Raises a usage error of typer's."""
    words = shlex.split(line)
    assert words.pop(0) == "vidfind"
    command: Any = GROUP
    name: str | None = "vidfind"
    while isinstance(command, typer.core.TyperGroup):
        if not words:
            return
        name, command, words = command.resolve_command(typer.Context(command), words)
    try:
        command.make_context(name, words)
    except typer.Exit as ended:  # --help
        assert ended.exit_code == 0


def constants() -> Iterator[tuple[str, str]]:
    """Each string in the code of the package with its place, without docstrings."""
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
                yield f"{file.relative_to(PACKAGE)}:{node.lineno}", node.value


def help_examples() -> list[str]:
    texts = [inspect.cleandoc(command.help or "") for command in EVERY]
    return [line.strip() for text in texts for line in re.findall(r"^ +vidfind .*", text, re.MULTILINE)]


def test_every_command_line_is_tested() -> None:
    own = {function for _, function in inspect.getmembers(commands, inspect.isfunction)}
    assert {function for function in own if not function.__name__.startswith("_")} == LINES.keys()


@pytest.mark.parametrize("line", [line for lines in LINES.values() for line in lines])
def test_the_program_takes_every_command_line_that_a_message_names(line: str) -> None:
    parse(line)


@pytest.mark.parametrize("line", help_examples())
def test_the_program_takes_the_examples_in_help_texts(line: str) -> None:
    for part in re.sub(r" > \S+$", "", line).split(" | "):
        parse(part)


@pytest.mark.parametrize("line", ["vidfind fly", "vidfind index --colour", "vidfind adapters fly", "vidfind relink a"])
def test_a_command_line_that_the_program_does_not_take_is_found(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line)


def test_paths_stay_one_word_for_a_shell() -> None:
    words = shlex.split(commands.index_command(OWN_INDEX, [FOLDER, "/my films"]))
    assert words == ["vidfind", "index", str(FOLDER), "/my films", "--index", "films"]


def test_no_message_names_a_command_line_by_hand() -> None:
    assert [found for found in constants() if COMMAND.search(found[1]) and not found[0].startswith("commands.py")] == []
    assert {file.name for file in PACKAGE.rglob("*.py") if "shlex" in file.read_text(encoding="utf-8")} == {
        "commands.py",
        "player.py",
    }


def test_every_option_that_a_message_names_is_one_of_some_command() -> None:
    known = {
        name
        for command in EVERY
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help"}
    named = {
        (place, option)
        for place, text in constants()
        if not place.startswith(("demo/tiny/train.py", "export/sheet.py"))  # a program of its own, the style of a page
        for option in OPTION.findall(text)
    }
    assert [found for found in named if found[1] not in known | OPTIONS_OF_OTHERS] == []
