"""The mistake in a command line that the program does not take, in a sentence for its user."""

import math
import os
import re
import sys
from contextlib import suppress
from difflib import get_close_matches
from itertools import takewhile
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from vidfind.commands import search_command

SHORTEST_TYPO = 4
"""A longer option may be one that is mistyped; `--no` may be a word."""
SYNONYMS = {"without": "--not"}
SAME_COMMAND = {
    **dict.fromkeys(("delete", "rm", "forget", "remove"), ("remove", "forget")),
    **dict.fromkeys(("train", "learn"), ("fit", "fill", "finetune")),
    **dict.fromkeys(("show", "ls", "print"), ("show", "list")),
}
"""The commands that may be meant by words that name none."""
ALWAYS = ["Arguments", "Options"]
MANY_OPTIONS = 12
SECTIONS = {
    "How videos are read": {
        *(
            "--segment",
            "--overlap",
            "--sampling",
            "--decoder",
            "--workers",
            "--verify",
            "--nice",
            "--battery",
            "--skip-bad",
        ),
    },
    "Model": {"--model", "--pretrained", "--encoder", "--adapter", "--device", "--dtype", "--threads"},
    "Output": {"--json", "--paths", "--print0", "--quiet", "--verbose", "--help"},
}
"""Headings in the help of a command with many options; those in no section come first."""
LARGEST = 10**9  # of a whole number: what libraries compute with it stays within 64 bits


class Command(TyperCommand):
    """A command that refuses values which no option takes: empty ones, as of variables that a script has not set,
    numbers that are none, and numbers beyond all reason."""

    def parse_args(self, context: Any, words: list[str]) -> list[str]:
        if not context.resilient_parsing:  # as completion asks for
            try:
                values, _, given = self.make_parser(context).parse_args(args=list(words))
            except typer.TyperException as error:
                mistake: Any = error
                mistake.ctx = context  # names the command whose help may be read
                raise
            parameter: Any
            for parameter in given:
                value = values[parameter.name]
                for one in value if isinstance(value, list | tuple) else [value]:
                    if problem := _never_right(one, str(parameter.type_descriptor.annotation)):
                        raise typer.BadParameter(f"{_name(parameter)} {problem}.", context)
        return super().parse_args(context, words)

    def format_options(self, context: Any, formatter: Any) -> None:
        """Writes the options under headings, where there are many."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            if record := parameter.get_help_record(context):
                section = _section(parameter, len(self.params) > MANY_OPTIONS)
                sections.setdefault(section, []).append(_plain(parameter, *record))
        for title in sorted(sections, key=[*ALWAYS, *SECTIONS].index):
            with formatter.section(title):
                formatter.write_dl(sections[title])

    def collect_usage_pieces(self, context: Any) -> list[str]:
        return [piece.translate({ord("{"): None, ord("}"): None}) for piece in super().collect_usage_pieces(context)]


def _section(parameter: Any, are_many: bool) -> str:
    if parameter.param_type_name == "argument":
        return ALWAYS[0]
    own = (title for title, names in SECTIONS.items() if are_many and set(parameter.opts) & names)
    return next(own, ALWAYS[1])


def _plain(parameter: Any, name: str, text: str) -> tuple[str, str]:
    """Returns the name of a parameter and its help without types of Python."""
    if parameter.param_type_name == "argument":
        name = f"{parameter.metavar}..." if parameter.nargs != 1 else parameter.metavar
    text = re.sub(r"\bx>=([\d.]+)", r"at least \1", text)
    return name.replace("<", "").replace(">", ""), re.sub(r"\b([\d.]+)<=x<=([\d.]+)", r"\1 to \2", text)


def _never_right(value: Any, kind: str) -> str:
    """Returns what is wrong with a value of an option, whatever the option is; empty if nothing is."""
    if value == "":
        return "is empty"
    with suppress(TypeError, ValueError):
        if "float" in kind and not math.isfinite(float(value)):
            return f"takes a number, not {value!r}"
        if "int" in kind and abs(int(value)) > LARGEST:
            return f"must be {LARGEST:,} or less"
    return ""


class Group(TyperGroup):
    """A group of commands. For a word that names none of them, it says what may have been meant."""

    def resolve_command(self, context: Any, words: list[str]) -> tuple[str | None, Any, list[str]]:
        word = words[0]
        if word == "help" and len(words) == 1:
            typer.echo(context.get_help())
            context.exit()
        if word == "help":
            words = [*words[1:], "--help"]
            word = words[0]
        if self.get_command(context, word) is None and not word.startswith("-"):
            raise typer.BadParameter(self._unknown(word, words), context)
        return super().resolve_command(context, words)

    def _unknown(self, word: str, words: list[str]) -> str:
        same = [name for name in SAME_COMMAND.get(word, ()) if name in self.commands]
        if near := same or get_close_matches(word, self.commands):
            return f"There is no command {word!r}. Did you mean {near[0]!r}?"
        if "search" not in self.commands:
            return f"There is no command {word!r}. The commands are: {', '.join(self.commands)}."
        query = " ".join(takewhile(lambda word: not word.startswith("-"), words))
        return f"There is no command {word!r}. To search for it:\n  {search_command(query)}"


def usage_sentence(error: Any) -> str:
    """Returns what is wrong with the command line; `error` is one of typer's. Options are named as they are typed."""
    parameter = getattr(error, "param", None)
    if option := getattr(error, "option_name", None):
        return _option_sentence(option, error)
    if parameter is None:
        extra = re.fullmatch(r"Got unexpected extra argument\S* \((.*)\)", error.message, re.DOTALL)
        return f"Too many words: {extra[1]}" if extra else error.message
    name = _name(parameter)
    if not error.message:
        value = "" if parameter.param_type_name == "argument" else f" {parameter.metavar}"
        return f"{name}{value} is missing."
    if not hasattr(error.__cause__, "errors"):  # a sentence of vidfind's own
        return str(error.message)
    [problem, *_] = error.__cause__.errors()
    return f"{name} {_demand(parameter, problem['type'])}, not {str(problem['input'])!r}."


def _option_sentence(option: str, error: Any) -> str:
    if "requires" in error.message:
        return f"{option} needs a value."
    if "take" in error.message:
        return f"{option} takes no value."
    is_search = any(parameter.name == "query" for parameter in error.ctx.command.params)
    is_letter = re.compile(rf"-\w*{re.escape(option[1:])}\w*").fullmatch
    if is_search and len(option) == 2 and (word := next((w for w in sys.argv if len(w) > 2 and is_letter(w)), "")):
        return f"No such option: {option}. To leave something out: --not {word[1:]}"
    sentence = f"There is no option {option}."
    possible = [SYNONYMS[option[2:]]] if option[2:] in SYNONYMS else getattr(error, "possibilities", None)
    if possible and len(option) > SHORTEST_TYPO:
        sentence += f" Did you mean {possible[0]}?"
    return f"{sentence} To look for these very words, put -- before them." if is_search else sentence


def _demand(parameter: Any, problem: str) -> str:
    """The values that a parameter takes; `problem` is one of pydantic's."""
    kind = parameter.type_descriptor
    if kind.choices:
        return f"takes one of {', '.join(map(str, kind.choices))}"
    if problem.startswith("greater"):
        return f"must be {parameter.min:g} or more"
    if problem.startswith("less"):
        return f"must be {parameter.max:g} or less"
    return "takes a whole number" if problem.startswith("int") else "takes a number"


def _name(parameter: Any) -> str:
    """Returns the name of an option as it was typed, or of the variable that sets it, or of an argument."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    typed = (name for name in parameter.opts if any(_is(word, name) for word in sys.argv))
    variable = parameter.envvar if os.environ.get(str(parameter.envvar)) else None
    return str(next(typed, variable or parameter.opts[0]))


def _is(word: str, name: str) -> bool:
    return word.partition("=")[0] == name if name.startswith("--") else word.startswith(name)
