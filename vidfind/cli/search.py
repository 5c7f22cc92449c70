"""`vidfind search`: its options, which are those of each line that is typed or piped too, and the answer to one query.

Without a query, prompt.py takes over.
"""

import atexit
import dataclasses
import functools
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidfind.cli.shared.options import (
    USUAL_WITHIN,
    AnyTag,
    Between,
    Collapse,
    Device,
    Dtype,
    Exclude,
    Folders,
    IndexName,
    Is,
    Json,
    Like,
    Limit,
    Literally,
    Maps,
    MinMatch,
    MinScore,
    NoTag,
    Online,
    PerVideo,
    Quiet,
    Refine,
    Since,
    TagsFrom,
    Then,
    Unlike,
    Until,
    Verbose,
    Within,
    Without,
    WithTag,
)
from vidfind.cli.shared.pictures import can_show_pictures
from vidfind.cli.shared.prompt import (
    LONGEST_RANK,
    Answers,
    Find,
    Form,
    answer_all,
    moment_of_rank,
    open_searcher,
    play_moment,
)
from vidfind.cli.shared.usage import Command, usage_sentence
from vidfind.errors import BadInput
from vidfind.export.sheet import check_sheet
from vidfind.search.question.dates import parse_period, parse_time_of_day
from vidfind.search.question.expression import (
    NO_WORDS,
    Example,
    Expression,
    join_texts,
    line_tokens,
    parse_like,
    parse_within,
    shell_tokens,
)
from vidfind.search.question.filters import LIMIT, NO_FILTERS
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.search.moments import Moment


def whole_tags(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the tags that a moment needs. Raises BadInput for one with a comma."""
    if listed := next((name for name in names if "," in name), None):
        raise BadInput(f"A tag has no comma. For one of them: --any-tag {listed}. For both: --tag twice.")
    return tuple(names)


def split_tags(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the tags of lists with commas."""
    return tuple(name for listed in names for name in listed.split(","))


FILTERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "per_video": ("per_video", int),
    "folders": ("folder", tuple),
    "exclude": ("exclude", tuple),
    "since": ("since", lambda text: parse_period(text).first),
    "until": ("until", lambda text: parse_period(text).last),
    "between": ("between", lambda times: tuple(map(parse_time_of_day, times))),
    "tag": ("tags", whole_tags),
    "any_tag": ("any_tags", split_tags),
    "no_tag": ("no_tags", split_tags),
    "tags_from": ("tags_from", str),
    "classes": ("classes", tuple),
    "min_score": ("min_score", float),
    "min_match": ("min_match", int),
    "online": ("online", bool),
    "collapse": ("collapse", bool),
    "copies": ("copies", bool),
}
"""The filter of each option that has one, and what makes its value of the option's."""
PARTS = ("query", "without", "then", "within", "like", "unlike")
"""The options that are parts of an expression."""
OTHERS = ("limit", "refine", "literal", "pictures", "sheet")
"""The options that are fields of `Answers`."""
FILES = ("--like", "--unlike")


class QueryCommand(Command):
    """A command that takes a query, whose options `--not` and `--then` take all words up to the next option."""

    def parse_args(self, context: Any, words: list[str]) -> list[str]:
        try:
            tokens = join_texts(shell_tokens(words))
        except BadInput as error:
            raise typer.BadParameter(str(error), context) from error
        return super().parse_args(context, [token.text for token in tokens])


def search_command(
    context: typer.Context,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY", help="What to look for, in plain words. [default: ask for one after the other]"
        ),
    ] = None,
    limit: Limit = LIMIT,
    per_video: PerVideo = NO_FILTERS.per_video,
    without: Without = None,
    then: Then = None,
    within: Within = USUAL_WITHIN,
    like: Like = None,
    unlike: Unlike = None,
    folders: Folders = None,
    exclude: Exclude = None,
    since: Since = None,
    until: Until = None,
    between: Between = None,
    tag: WithTag = None,
    any_tag: AnyTag = None,
    no_tag: NoTag = None,
    tags_from: TagsFrom = NO_FILTERS.tags_from,
    classes: Is = None,
    literal: Literally = False,
    min_score: MinScore = NO_FILTERS.min_score,
    min_match: MinMatch = NO_FILTERS.min_match,
    online: Online = False,
    collapse: Collapse = False,
    refine: Refine = False,
    copies: Annotated[bool, typer.Option("--copies", help="Show each copy of a video as a result of its own.")] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Show a picture of each moment, in a terminal that can.")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a contact sheet of the moments: a page (.html) or a picture (.jpg, .png).",
        ),
    ] = None,
    as_json: Json = False,
    as_paths: Annotated[bool, typer.Option("--paths", help="Print only the path of each video found.")] = False,
    print0: Annotated[
        bool, typer.Option("--print0", "-0", help="Like --paths, with a NUL character after each path, for `xargs -0`.")
    ] = False,
    play: Annotated[
        int | None, typer.Option("--open", metavar="RANK", min=1, help="Play the moment of this rank.")
    ] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find the moments that a query describes, best first.

    Without a query, vidfind asks for one after the other until Ctrl-D or an empty line; type a number to play the
    result of that rank. From a pipe, each line is a query. With --tag or --is, no query is needed: the moments with
    these tags and classes are found, the most typical first.

    \b
    Example:
      vidfind search "dog catching frisbee" --in ~/Videos/2024 --open 1
    """
    from vidfind.system.imports import import_numpy

    if as_json and (as_paths or print0):
        raise typer.BadParameter(f"Give either --json or {'--print0' if print0 else '--paths'}.")
    if pictures and (as_json or as_paths or print0):
        raise typer.BadParameter("--pictures shows results to you; --json, --paths and -0 are for other programs.")
    form: Form = "json" if as_json else "print0" if print0 else "paths" if as_paths else "table"
    expression, answers = read_options(context, Answers(form=form))
    is_named = answers.filters.names_moments
    if play is not None and expression is None and not is_named:
        raise typer.BadParameter("--open needs a query. When vidfind asks for queries, type the rank to play it.")
    if answers.pictures:
        answers = dataclasses.replace(answers, pictures=can_show_pictures())
    import_numpy()  # before anything else does
    atexit.register(_end_at_once)
    is_piped = sys.stdin is not None and not sys.stdin.isatty()
    if expression is None and not (is_named and (play is not None or not is_piped)):
        answer_all(name, answers, read_line)
        return
    moments, find = find_moments(expression, answers, name, device, dtype)
    answers.show(moments, find, expression)
    if play is not None:
        play_moment(moments, play)


def find_moments(
    expression: Expression | None, answers: Answers, name: str, device: str, dtype: str
) -> "tuple[Sequence[Moment], Find]":
    """Returns the moments for an expression, and the way to search that found them.

    None: those that tags and classes name."""
    likes = expression.likes if expression is not None else ()
    searcher, activity = open_searcher(name, device, dtype)
    with activity:
        if likes:
            from vidfind.media.read import is_picture  # only here: PyAV takes time

            if any(is_picture(example.file) for example in likes):
                activity.announce("A picture shows no motion: videos in which something moves may rank low.")
        find = functools.partial(searcher.find, expression)
        return answers.find(find), find


def read_options(context: Any, answers: Answers) -> tuple[Expression | None, Answers]:
    """Returns what a command line looks for, None if nothing, and the answers it wants.

    Raises BadParameter for what makes no sense."""
    given = _given(context)
    try:
        if "query" in given and not " ".join(given["query"]).strip():
            raise BadInput("QUERY is empty.")
        is_asking = any(part in given for part in PARTS)
        wanted = _answers(given, answers)
        expression = _expression(given, literal=wanted.literal) if is_asking else None
        _check_match(expression, wanted)
        return expression, wanted
    except BadInput as error:
        raise typer.BadParameter(str(error)) from error


def read_line(
    line: str, answers: Answers, shown: "Sequence[Moment]" = (), likes: Sequence[Example] = ()
) -> tuple[Expression | None, Answers]:
    """Returns what a line looks for, and the answers it wants: those of the run, but for the options in the line.

    None: the moments that the tags and classes in the line name. `shown` are the results that `--like RANK` counts, and
    `likes` examples besides those in the line. Raises BadInput for a line that makes no sense."""
    command = _command()
    parameters = command.get_params(typer.Context(command))
    options = {name: parameter for parameter in parameters for name in parameter.opts}
    words: list[str] = []
    arguments: list[str] = []
    tokens = join_texts(line_tokens(line))
    while tokens:
        text, is_option = tokens.pop(0)
        if not is_option:
            words.append(text)
            continue
        if text == "--":
            continue
        name, equals, _ = text.partition("=")
        parameter = options.get(name)
        if parameter is not None and parameter.name not in (*PARTS, *FILTERS, *OTHERS):
            raise BadInput(f"{name} is for the command line, not for a query.")
        count = 0 if parameter is None or parameter.is_flag or equals else parameter.nargs
        values = [token.text for token in tokens[:count] if not token.is_option]
        if len(values) < count:
            raise BadInput(f"{name} needs {'a file' if name in FILES else 'a value'} behind it.")
        del tokens[:count]
        arguments += [f"{text}={values[0]}"] if count == 1 else [text, *values]
    try:
        given = _given(command.make_context("search", [*arguments, "--", *words]))
    except typer.TyperException as error:
        raise BadInput(usage_sentence(error)) from error
    wanted = _answers(given, answers)
    if wanted.filters.names_moments and not likes and not any(part in given for part in PARTS):
        return None, wanted
    expression = _expression(given, shown, wanted.literal, likes)
    _check_match(expression, wanted)
    return expression, wanted


@functools.cache
def _command() -> Any:
    """Returns the command that reads the options of a line, where none has a name of one letter."""
    program = typer.Typer(add_completion=False)
    program.command(cls=Command)(search_command)
    command: Any = typer.main.get_command(program)
    for parameter in command.params:
        if parameter.param_type_name == "option":
            parameter.opts = [name for name in parameter.opts if name.startswith("--")]
    return command


def narrowing_options(context: Any) -> list[str]:
    """Returns the options of a search that were typed, by their names."""
    given = _given(context)
    return [one.opts[0] for one in context.command.params if one.name in given and one.name in (*FILTERS, *OTHERS)]


def _given(context: Any) -> dict[str, Any]:
    """Returns the values of the options that were typed."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name: context.params[name] for name, source in sources.items() if source.name == "COMMANDLINE"}


def _answers(given: Mapping[str, Any], answers: Answers) -> Answers:
    """Returns the answers with the filters and numbers that were given. Raises BadInput for impossible ones."""
    filters = {FILTERS[name][0]: FILTERS[name][1](value) for name, value in given.items() if name in FILTERS}
    others = {name: value for name, value in given.items() if name in OTHERS}
    if sheet := others.get("sheet"):
        check_sheet(sheet)
        others["sheet"] = Path(os.path.expanduser(sheet))  # no shell does that in a line
    return dataclasses.replace(answers.filtered(**filters), **others)


def _check_match(expression: Expression | None, answers: Answers) -> None:
    """Raises BadInput if a match is wanted of what is no words."""
    if expression is not None and expression.like and answers.filters.min_match:
        raise BadInput(NO_WORDS)


def _expression(
    given: Mapping[str, Any],
    shown: "Sequence[Moment]" = (),
    literal: bool = False,
    likes: Sequence[Example] = (),
) -> Expression:
    """Returns what is looked for. Raises BadInput for what makes no sense."""
    within = given.get("within")
    return Expression(
        " ".join(given.get("query", ())),
        given.get("without", ()),
        given.get("then", ()),
        [*likes, *(_example(text, shown) for text in given.get("like", ()))],
        [_example(text, shown) for text in given.get("unlike", ())],
        parse_within(within) if within is not None else None,
        literal,
    )


def _example(text: str, shown: "Sequence[Moment]") -> Example:
    """Returns the result that a number names, if any are shown, or else a file."""
    if not (shown and text.isdecimal() and len(text) <= LONGEST_RANK):
        return parse_like(text)
    return moment_of_rank(shown, int(text)).example


def try_match(present: Path, absent: Path, name: str, as_json: bool) -> None:
    """Shows how well the match tells what is in an index from what is not, by a file of descriptions of each."""
    from vidfind.display import console
    from vidfind.display.training import show_trial
    from vidfind.search.trial import read_descriptions, try_match

    texts = [read_descriptions(file) for file in (present, absent)]
    searcher, activity = open_searcher(name)
    with activity:
        trial = try_match(searcher, *texts)
    if as_json:
        for one in trial.tried:
            console.json_line({**vars(one), "score": round(one.score, 4)})
    else:
        show_trial(trial)


def _end_at_once() -> None:
    """Ends the process without Python's search for cycles in all imported modules, which takes 200 ms."""
    if "torch" not in sys.modules:
        gc.freeze()
