"""The README is true: its commands, options and examples exist, and nothing that exists is missing from it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from vidfind.cli.app import app

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
REFERENCE = README.split("### All commands and options")[1].split("\n##")[0]
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
GROUP = typer.main.get_group(app)
COMMANDS = {
    " ".join([name, *inner]): command
    for name, group in GROUP.commands.items()
    for inner, command in [([], group), *(([sub], cmd) for sub, cmd in getattr(group, "commands", {}).items())]
}
EVERYWHERE = {"-v", "--verbose", "-h", "--help"}


def options_of(command: str) -> set[str]:
    """What the program takes, but for what every command takes."""
    names = {name for parameter in COMMANDS[command].params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("-")} - EVERYWHERE


def described() -> dict[str, str]:
    """Each command of the reference, and what is written from there to the next."""
    parts = re.split(r"^`vidfind ([a-z]+(?: [a-z]+)*)[^`]*`", REFERENCE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def examples() -> list[list[str]]:
    """Every command line of vidfind in the README, without the program's name."""
    blocks = re.findall(r"^(?:\$ )?(?:uv run )?vidfind (.*)$", README, flags=re.MULTILINE)
    spans = re.findall(r"`(?:uv run )?vidfind ([^`]+)`", README)
    return [shlex.split(line, comments=True) for line in [*blocks, *spans]]


def test_the_readme_describes_every_command() -> None:
    assert set(described()) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_describes_every_option(command: str) -> None:
    spans = re.findall(r"`([^`]+)`", described()[command])
    named = {option for span in spans if span.startswith("-") for option in OPTION.findall(span)}
    assert named == options_of(command)


def test_every_command_takes_what_the_readme_says_it_takes() -> None:
    for command in COMMANDS.values():
        names = {name for parameter in command.params for name in parameter.opts}
        assert {"-v", "--verbose"} <= names
        assert command.context_settings.get("help_option_names", ["-h", "--help"]) == ["-h", "--help"]
    assert "--version" in {name for parameter in GROUP.params for name in parameter.opts}


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_every_example_in_the_readme_is_a_command_with_options_it_has(words: list[str]) -> None:
    if words[0].startswith("-"):
        assert words in (["--version"], ["--help"])
        return
    two = " ".join(words[:2])
    known = options_of(two if two in COMMANDS else words[0]) | EVERYWHERE
    before_dashes = words[: words.index("--")] if "--" in words else words
    assert {word for word in before_dashes if word.startswith("-")} <= known


def test_the_pictures_and_files_that_the_readme_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).parents[2] / link).exists(), link
