"""The program, and the table of its commands.

Imports nothing heavy, so that `vidfind --help` is instant: each command imports what it needs.
"""

import functools
import sys
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
import typer.main

from vidfind import __version__
from vidfind.cli import (
    assistants,
    demo,
    diagnose,
    evaluate,
    export,
    index,
    library,
    models,
    search,
    training,
    web,
)
from vidfind.cli.labels.classes import classes
from vidfind.cli.labels.tags import tags
from vidfind.cli.shared.options import Quiet, Verbose
from vidfind.cli.shared.usage import Command, Group, usage_sentence
from vidfind.errors import ExitCode, Unusable, VidfindError
from vidfind.system import times
from vidfind.system.mistakes import UPGRADED, cause_of, mistake_sentence
from vidfind.system.paths import has_current_folder
from vidfind.system.streams import prepare_streams


def main(began: float | None = None) -> None:
    """Runs the program, and ends it with a code of ExitCode.

    `began` is when it was started, by `time.monotonic()`; None: now. The time of a command counts from then."""
    times.command_began = time.monotonic() if began is None else began
    prepare_streams()
    code: int = ExitCode.ERROR
    try:
        code = _run()
        sys.stdout.flush()  # here, since a full disk is an error like others
    except Exception as error:
        _show_error(error)
        code = ExitCode.USAGE if isinstance(error, Unusable) else code
    sys.exit(code)


def _run() -> int:
    """Runs the command that is typed, and returns the exit code. Raises what the command raises."""
    try:
        program = _program("".join(sys.argv[1:2]))
        return program(prog_name="vidfind", standalone_mode=False) or ExitCode.DONE
    except typer.Abort as error:  # a question that was answered with no, or with Ctrl-C
        from vidfind.display import console

        console.message("Stopped.")
        return ExitCode.INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else ExitCode.ERROR
    except typer.TyperException as error:
        return _show_usage_error(error)


@functools.cache
def _program(typed: str) -> Any:
    """Returns the program with the command of this name alone, or with all if none has it: to make them takes 50 ms."""
    return typer.main.get_command(_make_app({typed: COMMANDS[typed]}) if typed in COMMANDS else app)


def _show_usage_error(error: typer.TyperException) -> int:
    """Shows why the command line makes no sense, or the help where nothing was asked; returns the exit code."""
    context = getattr(error, "ctx", None)
    if context and not sys.argv[1:]:
        typer.echo(context.get_help(), err=True)
        return ExitCode.USAGE
    from vidfind.display import console

    console.error(usage_sentence(error))
    name = " ".join(["vidfind", *(word for word in sys.argv[1:2] if word in COMMANDS)])
    console.hint(f"Try '{context.command_path if context else name} -h' for help.")
    return ExitCode.USAGE


def _show_error(error: Exception) -> None:
    """Shows an error on stderr as a sentence; `-v` shows where it happened."""
    import logging

    from vidfind.display import console

    logging.getLogger(__name__).debug("Where it happened:", exc_info=error)
    error = cause_of(error)
    if isinstance(error, VidfindError):
        console.error(error)
    elif not has_current_folder():
        console.error("The current folder is not there any more. Change to another, for instance with: cd")
    elif isinstance(error, OSError):  # a full disk, a folder that may not be read
        console.error(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error)
    else:
        sentence = mistake_sentence(error)
        console.error(sentence if sentence == UPGRADED else f"{sentence} -v shows where it happened; please report it.")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vidfind {__version__}")
        raise typer.Exit


def vidfind(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Search your own videos in plain words: the file and the moment, on your own machine.

    \b
    Example:
      vidfind index ~/Videos
      vidfind search "dog catching frisbee"
    """


COMMANDS: dict[str, Callable[..., None]] = {
    "index": index.index_command,
    "search": search.search_command,
    "export": export.export_command,
    "web": web.web_command,
    "mcp": assistants.mcp_command,
    "status": library.status_command,
    "list": library.list_command,
    "remove": library.remove_command,
    "relink": library.relink_command,
    "finetune": training.finetune_command,
    "eval": evaluate.evaluate_command,
    "encoders": models.encoders_command,
    "models": models.models_command,
    "doctor": diagnose.doctor_command,
    "bench": diagnose.bench_command,
    "demo": demo.demo_command,
}


def _make_app(commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    made = typer.Typer(
        name="vidfind",
        cls=Group,
        no_args_is_help=True,
        rich_markup_mode=None,  # rich takes a quarter of a second to draw a help page
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(vidfind)
    for name, command in commands.items():
        made.command(name=name, cls=search.QueryCommand if name in ("search", "export") else Command)(command)
    return made


app = _make_app(COMMANDS)
"""The program with all its commands."""
app.add_typer(models.adapters)
app.add_typer(tags)
app.add_typer(classes)
