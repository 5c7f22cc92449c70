"""The help of all commands."""

from __future__ import annotations

import subprocess
import sys

import typer.main

from tests.support.heavy import HEAVY
from tests.support.reference import all_commands
from vidfind.cli.app import app

GROUP = typer.main.get_group(app)
PRINT_HELP = """
import sys
from vidfind.cli.app import main
for command in {commands}:
    sys.argv = [*command.split(), "--help"]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code
    print(f"End of {{command}}, with {{sorted(sys.modules.keys() & {heavy})}}")
"""


def test_the_first_line_of_each_help_fits_the_list_of_commands() -> None:
    lines = {path: command.get_short_help_str(66) for path, command in all_commands(GROUP)}
    assert {path: line for path, line in lines.items() if line.endswith("...")} == {}


def test_each_help_ends_with_an_example_and_imports_nothing_heavy() -> None:
    commands = ["vidfind", *(path for path, _ in all_commands(GROUP))]
    script = PRINT_HELP.format(commands=commands, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    rest = done.stdout
    for command in commands:
        text, end, rest = rest.partition(f"End of {command}, with []\n")
        assert end, f"{command} --help imported {rest[:200]}"
        assert f"  Example:\n    {command}" in text
