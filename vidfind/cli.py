"""The commands: parse, call a pipeline, hand the result to display.

Imports nothing heavy at the top, so that `vidfind --help` is instant: each command imports what it needs. A default of
None means that the pipeline's own default holds; the help text names it, and a test keeps the two equal.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidfind import __version__, cli_adapters, cli_learning, cli_upkeep, paths
from vidfind.cli_index import index_command, loader_of, open_filled, run_index
from vidfind.errors import BadInput, VidfindError
from vidfind.options import Device, Dtype, IndexName, Json, Verbose

if TYPE_CHECKING:
    from vidfind.encoder import Encoder
    from vidfind.search import Moment
    from vidfind.store import Store

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

        from vidfind import display

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


@app.command()
def search(
    query: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="What to look for, in plain words.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="COUNT", min=1, help="How many moments to show. [default: 10]"),
    ] = None,
    per_video: Annotated[
        int | None, typer.Option(metavar="COUNT", min=1, help="At most this many moments of a video. [default: 1]")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--in", metavar="FOLDER", help="Only videos under this folder, or this video.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only videos of this day or later: 2024, 2024-05, 2024-05-17.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only videos of this day, month or year, or earlier.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Only moments that score at least this.")
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Only videos whose files are there now.")] = False,
    like: Annotated[
        str | None,
        typer.Option(metavar="FILE[@TIME]", help="Look for what is like a picture, a video, or its moment at 1:23."),
    ] = None,
    as_json: Json = False,
    as_paths: Annotated[bool, typer.Option("--paths", help="Print the path of each video found, and no more.")] = False,
    play: Annotated[
        int | None, typer.Option("--open", metavar="RANK", min=1, help="Play the moment of this rank.")
    ] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    verbose: Verbose = False,
) -> None:
    """Find the moments that a query describes, best first.

    \b
    Example:
      vidfind search "dog catching frisbee" --in ~/Videos/2024 --open 1
    """
    text = " ".join(query or []).strip()
    if bool(text) == bool(like):
        raise typer.BadParameter("Give either words to look for, or --like FILE.")
    if as_json and as_paths:
        raise typer.BadParameter("Give either --json or --paths.")

    from vidfind import display
    from vidfind import search as pipeline

    given = {"limit": limit, "per_video": per_video, "folder": folder, "min_score": min_score, "online": online or None}
    filters: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    try:
        if since is not None:
            filters["since"] = pipeline.parse_period(since)[0]
        if until is not None:
            filters["until"] = pipeline.parse_period(until)[1]
            if filters.get("since", filters["until"]) > filters["until"]:
                raise BadInput(
                    f"Nothing was filmed from {since} on and up to {until}: --until must not be the earlier one."
                )
    except BadInput as error:
        raise typer.BadParameter(str(error)) from error
    moments = _search(name, text, like, filters, device, dtype)
    if as_json:
        for moment in moments:
            display.json_line(vars(moment))
    elif as_paths:
        for path in dict.fromkeys(moment.path for moment in moments):
            display.path_line(path)
    elif moments:
        display.show_moments(moments)
    else:
        display.message(
            "Nothing found. " + ("Loosen the filters?" if filters else "See what is indexed: vidfind status")
        )
    if play is not None:
        _play(moments, play)


def _search(
    name: str, text: str, like: str | None, filters: Mapping[str, Any], device: str = "auto", dtype: str = "auto"
) -> "list[Moment]":
    from vidfind import search as pipeline

    example = pipeline.parse_like(like) if like else None
    store, encoder = _open_for_search(name, device, dtype)
    if example:
        vector = pipeline.like_vector(encoder, *example, store.settings.segment_length)
    else:
        vector = pipeline.query_vector(encoder, text)
    return pipeline.search_moments(store, vector, **filters)


def _open_for_search(name: str, device: str = "auto", dtype: str = "auto") -> "tuple[Store, Encoder]":
    """An index that holds videos, and the encoder it was made with."""
    from vidfind import display
    from vidfind.search import load_query_encoder

    store = open_filled(name)
    with display.Activity("Starting") as activity:
        return store, load_query_encoder(store, loader_of(activity, device, dtype))


def _play(moments: "list[Moment]", rank: int) -> None:
    from vidfind import display, player
    from vidfind.times import clock

    if rank > len(moments):
        raise BadInput(f"There is no result {rank} to open: {display.plural(len(moments), 'moment')} found.")
    moment = moments[rank - 1]
    if player.play(moment.path, moment.start) is None:
        display.message(
            f"The system's own player starts at the beginning: go to {clock(moment.start)}. "
            "With mpv or VLC installed, it would start there."
        )


@app.command()
def status(name: IndexName = paths.DEFAULT_INDEX, verbose: Verbose = False) -> None:
    """Show what an index holds, what it was made with, and which videos could not be read.

    \b
    Example:
      vidfind status
    """
    from vidfind import display
    from vidfind.files import find_present
    from vidfind.store import Store

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

    from vidfind import display
    from vidfind.settings import is_index
    from vidfind.store import Store, delete_index

    store_path = paths.index_path(name)
    if path:
        from vidfind.upkeep import remove_videos

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
    from vidfind import display
    from vidfind.files import find_present
    from vidfind.store import Store
    from vidfind.upkeep import relink_videos

    relinked = relink_videos(old, new, Store.open(paths.index_path(name)))
    display.show_relinked(relinked)
    new = Path(os.path.abspath(new))
    if not find_present({new: new}):
        display.message(f"{new} is not there now: its videos are offline until it is.")


app.command(name="finetune")(cli_learning.finetune_command)
app.command(name="eval")(cli_learning.evaluate_command)
app.command(name="doctor")(cli_upkeep.doctor_command)


@app.command()
def models(verbose: Verbose = False) -> None:
    """List the recommended models, their sizes and licences, and which are on this machine.

    \b
    Example:
      vidfind models
    """
    from vidfind import display
    from vidfind.registry import list_models

    display.show_models(list_models())


@app.command()
def demo(verbose: Verbose = False) -> None:
    """Show all of vidfind in a minute: draw videos, index them with the built-in model, search them.

    \b
    Example:
      vidfind demo
    """
    from vidfind import display
    from vidfind import search as pipeline
    from vidfind.demo import draw_collection
    from vidfind.registry import list_models

    folder = Path(os.path.abspath(paths.home() / "demo-videos"))
    _clear_demo_index(folder)
    with display.Activity(f"Drawing {DEMO_VIDEOS} short videos"):
        captions = dict(draw_collection(folder, DEMO_VIDEOS, DEMO_SEED))
    display.heading(f"Drew {DEMO_VIDEOS} videos of moving shapes; their names say nothing.")
    display.commands(["index", str(folder), "--index", DEMO_INDEX, "--model", DEMO_MODEL])
    run_index([folder], DEMO_INDEX, {"model": DEMO_MODEL, "adapter": None})
    store, encoder = _open_for_search(DEMO_INDEX)
    for query in DEMO_QUERIES:
        display.commands(["search", query, "--index", DEMO_INDEX, "-n", "3"])
        moments = pipeline.search_moments(store, pipeline.query_vector(encoder, query), limit=3)
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
    from vidfind.settings import is_index
    from vidfind.store import Store, delete_index

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
