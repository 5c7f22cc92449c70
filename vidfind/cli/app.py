"""The commands: parse, call a pipeline, hand the result to display.

Imports nothing heavy at the top, so that `vidfind --help` is instant: each command imports what it needs. A default of
None means that the pipeline's own default holds; the help text names it, and a test keeps the two equal.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vidfind import __version__
from vidfind.cli import diagnose as cli_bench
from vidfind.cli import doctor as cli_upkeep
from vidfind.cli import encoders as cli_encoders
from vidfind.cli import models as cli_adapters
from vidfind.cli import training as cli_learning
from vidfind.cli.index import index_command, run_index
from vidfind.cli.options import IndexName, Verbose
from vidfind.cli.search import open_searcher, search_command
from vidfind.errors import BadInput, VidfindError
from vidfind.system import paths

DEMO_INDEX = "demo"
DEMO_MODEL = "tiny"
DEMO_VIDEOS = 24
DEMO_SEED = 97  # of this seed's 24 videos, two pairs differ in nothing but the direction of the motion
DEMO_QUERIES = (
    "a big blue square moves to the left",
    "a big blue square moves to the right",
    "a blue star grows",
    "a blue star shrinks",
)

app = typer.Typer(
    name="vidfind",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes a quarter of a second to draw a help page
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_adapters.adapters)


def main() -> None:
    """The program. Ends with 0 done, 1 error, 2 usage, 3 done but some videos failed, 130 interrupted."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by the caller
        stream.reconfigure(errors="backslashreplace")  # a terminal that has no "…"
    try:
        app(prog_name="vidfind")
    except (VidfindError, OSError) as error:  # OSError: a full disk, a folder that may not be read
        import logging

        from vidfind.display import console as display

        logging.getLogger(__name__).debug("Where it happened:", exc_info=True)
        if isinstance(error, OSError) and error.filename:
            display.error(f"{error.filename}: {error.strerror}")
        else:
            display.error(error)
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vidfind {__version__}")
        raise typer.Exit


@app.callback()
def vidfind(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Search your own videos in plain words: the file and the moment, on your own machine.

    \b
    Example:
      vidfind index ~/Videos
      vidfind search "dog catching frisbee"
    """


app.command(name="index")(index_command)


app.command(name="search")(search_command)


@app.command()
def status(name: IndexName = paths.DEFAULT_INDEX, verbose: Verbose = False) -> None:
    """Show what an index holds, what it was made with, and which videos could not be read.

    \b
    Example:
      vidfind status
    """
    from vidfind.display import console as display
    from vidfind.media.files import find_present
    from vidfind.store.store import Store

    store = Store.open(paths.index_path(name))
    described = store.status()
    display.show_status(described, store.path, find_present({folder: folder for folder in described.folders}))


@app.command()
def remove(
    path: Annotated[list[Path] | None, typer.Argument(metavar="PATH", help="Videos, or folders of them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete the whole index.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting the index.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    verbose: Verbose = False,
) -> None:
    """Forget videos, or delete a whole index; the video files themselves are never touched.

    \b
    Example:
      vidfind remove ~/Videos/drafts
    """
    if bool(path) == everything:
        raise typer.BadParameter("Give either PATHs to forget, or --all for the whole index.")

    from vidfind.display import console as display
    from vidfind.store.settings import is_index
    from vidfind.store.store import Store, delete_index

    store_path = paths.index_path(name)
    if path:
        from vidfind.store.edit import remove_videos

        removed = remove_videos(path, Store.open(store_path))
        display.message(f"Forgot {display.plural(len(removed), 'video')}. The files are where they were.")
        return
    if is_index(store_path) and not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"Deleting the index {name!r} must be confirmed: add --yes.")
        typer.confirm(f"Delete the index {name!r}? The videos stay where they are", abort=True, err=True)
    delete_index(store_path)
    display.message(f"Deleted the index {name!r}.")


@app.command()
def relink(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The folder, or video, as the index knows it.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Where it is now.")],
    name: IndexName = paths.DEFAULT_INDEX,
    verbose: Verbose = False,
) -> None:
    """Tell an index that a folder has another path now, as after a drive got another letter; nothing is encoded again.

    \b
    Example:
      vidfind relink /media/usb1/films /media/usb2/films
    """
    from vidfind.display import console as display
    from vidfind.media.files import find_present
    from vidfind.store.edit import relink_videos
    from vidfind.store.store import Store

    relinked = relink_videos(old, new, Store.open(paths.index_path(name)))
    display.show_relinked(relinked)
    new = Path(os.path.abspath(new))
    if not find_present({new: new}):
        display.message(f"{new} is not there now: its videos are offline until it is.")


app.command(name="finetune")(cli_learning.finetune_command)
app.command(name="eval")(cli_learning.evaluate_command)
app.command(name="doctor")(cli_upkeep.doctor_command)
app.command(name="bench")(cli_bench.bench_command)
app.command(name="encoders")(cli_encoders.encoders_command)


@app.command()
def models(verbose: Verbose = False) -> None:
    """List the recommended models, their sizes and licences, and which are on this machine.

    \b
    Example:
      vidfind models
    """
    from vidfind.display import console as display
    from vidfind.models.load import list_models

    display.show_models(list_models())


@app.command()
def demo(verbose: Verbose = False) -> None:
    """Show all of vidfind in a minute: draw videos, index them with the built-in model, search them.

    \b
    Example:
      vidfind demo
    """
    from vidfind.demo.world import draw_collection
    from vidfind.display import console as display
    from vidfind.models.load import list_models

    folder = Path(os.path.abspath(paths.home() / "demo-videos"))
    _clear_demo_index(folder)
    with display.Activity(f"Drawing {DEMO_VIDEOS} short videos"):
        captions = dict(draw_collection(folder, DEMO_VIDEOS, DEMO_SEED))
    display.heading(f"Drew {DEMO_VIDEOS} videos of moving shapes; their names say nothing.")
    display.commands(["index", str(folder), "--index", DEMO_INDEX, "--model", DEMO_MODEL])
    run_index([folder], DEMO_INDEX, {"model": DEMO_MODEL, "adapter": None})
    searcher, activity = open_searcher(DEMO_INDEX)
    for query in DEMO_QUERIES:
        display.commands(["search", query, "--index", DEMO_INDEX, "-n", "3"])
        with activity:
            moments = searcher.find(query, limit=3)
        display.show_moments(moments)
        for moment in moments[:1]:
            display.note(f"The first was drawn as: {captions[moment.path]}")
    default = list_models()[0]
    display.heading(
        "This built-in model is tiny, and knows nothing but this small world of drawn shapes. Your own videos need a "
        f"real one: {default.model} ({display.file_size(default.size_bytes)}) is downloaded once, when you first type"
    )
    example = "dog catching frisbee"
    display.commands(["index", "~/Videos"], ["search", example], ["search", example, "--open", "1"])


def _clear_demo_index(folder: Path) -> None:
    """Make room for the demo's index. Raises BadInput when an index of the user's own has its name."""
    from vidfind.store.settings import is_index
    from vidfind.store.store import Store, delete_index

    path = paths.index_path(DEMO_INDEX)
    if not is_index(path):
        return
    others = [other for other in Store.open(path).folders() if other != folder]
    if others:
        raise BadInput(
            f"The demo needs an index called {DEMO_INDEX!r}, but yours of that name holds {others[0]}. "
            f"Delete it first: vidfind remove --all --index {DEMO_INDEX}"
        )
    delete_index(path)
