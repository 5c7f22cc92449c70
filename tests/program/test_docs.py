"""The pages for users are true: their commands, options and examples exist, and the reference misses none."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from tests.support.reference import FILE, all_commands, reference
from vidfind.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "vidfind").rglob("README.md"))]
OPTION = re.compile(r"(?<![\w-])--?[a-z0-9][a-z0-9-]*")
GROUP = typer.main.get_group(app)
COMMANDS = {path.removeprefix("vidfind "): command for path, command in all_commands(GROUP)}
EVERYWHERE = {"-q", "--quiet", "-v", "--verbose", "-h", "--help"}
OWN = {"--version", "--help", "--install-completion", "--show-completion"}
"""What the program takes without a command."""


def options_of(command: str) -> set[str]:
    """What the program takes, but for what every command takes."""
    names = {name for parameter in COMMANDS[command].params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("-")} - EVERYWHERE


def examples() -> list[list[str]]:
    """Every command line of vidfind in the README and the pages beside the code, without the program's name."""
    lines = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = "".join(re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
        lines += re.findall(r"^(?:\$ )?(?:uv run )?vidfind (.*)$", blocks, flags=re.MULTILINE)
        lines += re.findall(r"(?<!## )`(?:uv run )?vidfind ([^`]+)`", text)
    parts = [part for line in lines for part in line.split(" | vidfind ")]
    return [shlex.split(part, comments=True) for part in dict.fromkeys(parts)]


def test_the_reference_is_what_the_commands_say() -> None:
    """After a change of commands or help texts: `uv run python -m tests.support.reference`."""
    assert FILE.read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_every_command_and_option(command: str) -> None:
    (section,) = re.findall(
        rf"^## `vidfind {command}(?: [A-Z]+)*`$(.*?)(?=^## |\Z)", reference(), re.MULTILINE | re.DOTALL
    )
    named = {option for cell in re.findall(r"^\| `(-[^`]+)`", section, re.MULTILINE) for option in OPTION.findall(cell)}
    assert named == options_of(command)


def test_every_command_takes_what_the_reference_says_it_takes() -> None:
    for command in COMMANDS.values():
        names = {name for parameter in command.params for name in parameter.opts}
        assert {"-q", "--quiet", "-v", "--verbose"} <= names
        assert command.context_settings.get("help_option_names", ["-h", "--help"]) == ["-h", "--help"]
    assert {name for parameter in typer.main.get_command(app).params for name in parameter.opts} >= OWN - {"--help"}


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_every_example_in_the_pages_is_a_command_with_options_it_has(words: list[str]) -> None:
    if words[0].startswith("-"):
        assert len(words) == 1 and words[0] in OWN
        return
    two = " ".join(words[:2])
    known = options_of(two if two in COMMANDS else words[0]) | EVERYWHERE
    before_dashes = words[: words.index("--")] if "--" in words else words
    assert {word for word in before_dashes if word.startswith("-")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pictures_and_files_that_a_page_links_to_are_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, heading = link.partition("#")
        assert (page.parent / file).exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", (page.parent / file).read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}, link


def test_the_readme_has_links() -> None:
    """So that the test above has something to look at."""
    assert "](" in PAGES[0].read_text(encoding="utf-8")
