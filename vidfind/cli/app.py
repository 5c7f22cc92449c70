"""The program, and the table of its commands.

Imports nothing heavy, so that `vidfind --help` is instant: each command imports what it needs.
"""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from vidfind import __version__
from vidfind.cli import demo, diagnose, index, library, models, search, training
from vidfind.cli.options import Quiet, Verbose
from vidfind.errors import ExitCode, VidfindError
from vidfind.system.streams import prepare_streams

app = typer.Typer(
    name="vidfind",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich takes a quarter of a second to draw a help page
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Runs the program, and ends it with a code of ExitCode."""
    prepare_streams()
    try:
        app(prog_name="vidfind")
    except (VidfindError, OSError) as error:  # OSError: a full disk, a folder that may not be read
        import logging

        from vidfind.display import console

        logging.getLogger(__name__).debug("Where it happened:", exc_info=True)
        if isinstance(error, OSError) and error.filename:
            console.error(f"{error.filename}: {error.strerror}")
        else:
            console.error(error)
        sys.exit(ExitCode.ERROR)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vidfind {__version__}")
        raise typer.Exit


@app.callback()
def vidfind(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
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
    "status": library.status_command,
    "remove": library.remove_command,
    "relink": library.relink_command,
    "finetune": training.finetune_command,
    "eval": training.evaluate_command,
    "encoders": models.encoders_command,
    "models": models.models_command,
    "doctor": diagnose.doctor_command,
    "bench": diagnose.bench_command,
    "demo": demo.demo_command,
}
for name, command in COMMANDS.items():
    app.command(name=name)(command)
app.add_typer(models.adapters)
