"""`vidfind demo`: draws a small collection, indexes it with the built-in model and searches it."""

import os
from pathlib import Path

from vidfind.cli.index import run_index
from vidfind.cli.shared.options import Quiet, Verbose
from vidfind.cli.shared.prompt import open_searcher
from vidfind.commands import delete_command
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput
from vidfind.store.places.path import index_path
from vidfind.system import paths

DEMO_INDEX = "demo"
DEMO_MODEL = "tiny"
DEMO_VIDEOS = 24
DEMO_SEED = 97  # with this seed, two pairs of the 24 videos differ only in the direction of the motion
DEMO_QUERIES = (
    "a big blue square moves to the left",
    "a big blue square moves to the right",
    "a blue star grows",
    "a blue star shrinks",
)


def demo_folder() -> Path:
    """Returns the folder of the demo's videos."""
    return Path(os.path.abspath(paths.home() / "demo-videos"))


def demo_command(quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show vidfind in a minute, with videos that it draws.

    It draws 24 short videos of moving shapes, indexes them with the built-in model, and searches them.

    \b
    Example:
      vidfind demo
    """
    from vidfind.demo.collection import draw_collection
    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.search import show_moments
    from vidfind.display.text import file_size
    from vidfind.models.hub import list_models

    folder = demo_folder()
    _clear_demo_index(folder)
    with Activity(f"Drawing {DEMO_VIDEOS} short videos"):
        captions = dict(draw_collection(folder, DEMO_VIDEOS, DEMO_SEED))
    console.heading(f"Drew {DEMO_VIDEOS} videos of moving shapes; their names say nothing.", is_first=True)
    console.commands(["index", str(folder), "--index", DEMO_INDEX, "--model", DEMO_MODEL])
    run_index([folder], DEMO_INDEX, EncoderChoice(DEMO_MODEL, adapter=paths.NO_ADAPTER))
    searcher, activity = open_searcher(DEMO_INDEX)
    for query in DEMO_QUERIES:
        console.commands(["search", query, "--index", DEMO_INDEX, "-n", "3"])
        with activity:
            moments = searcher.find(query, limit=3)
        show_moments(moments)
        for moment in moments[:1]:
            console.note(f"The first was drawn as: {captions[moment.path]}")
    default = list_models()[0]
    console.heading(
        "This built-in model is tiny, and knows nothing but this small world of drawn shapes. Your own videos need a "
        f"real one: {default.model} ({file_size(default.size_bytes)}) is downloaded once, when you first type"
    )
    example = "dog catching frisbee"
    console.commands(["index", "~/Videos"], ["search", example], ["search", example, "--open", "1"])
    console.heading("This deletes all that the demo has made:")
    console.commands(["remove", "--all", "--index", DEMO_INDEX])


def _clear_demo_index(folder: Path) -> None:
    """Deletes an earlier index of the demo. Raises BadInput if the user has an own index of that name."""
    from vidfind.store.folder import delete_index
    from vidfind.store.settings import is_index
    from vidfind.store.store import Store

    path = index_path(DEMO_INDEX)
    if not is_index(path):
        return
    others = [other for other in Store.open(path).folders() if other != folder]
    if others:
        raise BadInput(
            f"The demo needs an index called {DEMO_INDEX!r}, but yours of that name holds {others[0]}. "
            f"Delete it first: {delete_command(path)}"
        )
    delete_index(path)
