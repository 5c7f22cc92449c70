"""`vidfind web`: serves a page to search in the browser."""

import functools
import ipaddress
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind.cli.search import read_line
from vidfind.cli.shared.options import Device, Dtype, IndexName, Maps, Quiet, Verbose
from vidfind.cli.shared.prompt import Answers, open_searcher
from vidfind.search.question.expression import Example, Expression
from vidfind.search.question.filters import Filters
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.search.searcher import Searcher
    from vidfind.web.guard import Guard

LOCAL = "127.0.0.1"


def web_command(
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Listen at this address of the machine: then others can reach it."),
    ] = LOCAL,
    port: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, max=65535, help="Listen at this port; 0 is a free one.")
    ] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open no browser.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Search, watch and collect moments on a page in your browser.

    The page is served on this machine alone, at an address with a secret in it. Nobody else can open it, and your
    video files are never changed. Ctrl-C ends.

    \b
    Example:
      vidfind web
    """
    from vidfind.system.imports import import_numpy

    import_numpy()
    from vidfind.display import console
    from vidfind.web.app import opened_app
    from vidfind.web.guard import new_token
    from vidfind.web.serve import address_of, listen, serve

    searcher, _ = open_searcher(name, device, dtype, quiet=True, repeats_remarks=True)
    token = new_token()
    listening = listen(host, port)
    is_local = _is_local(host)
    if not is_local:
        console.message(
            "Warning: other machines can reach this page. Whoever has its address sees your videos and can start your "
            "player, and what is sent is not encrypted."
        )

    def started(app: "Guard", end: object) -> None:
        console.message("Open this address in a browser; keep it to yourself. Ctrl-C ends.")
        console.result_line(address_of(listening, token, elsewhere=not is_local))
        if not no_browser and _has_screen():
            address = address_of(listening, app.ticket())
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        threading.Thread(target=_prepare, args=[searcher], daemon=True).start()

    with opened_app(searcher, read_query, token, hosts=_names(host), any_address=not is_local) as app:
        try:
            serve(app, listening, functools.partial(started, app))
        except KeyboardInterrupt:
            console.message("The page is closed.")
            raise


def read_query(line: str, filters: Filters, likes: Sequence[Example]) -> tuple[Expression | None, Filters]:
    """Returns what a line looks for, together with examples, and the filters: those given, but for the options in it.

    None: the moments that the tags and classes in the line name. Raises BadInput for a line that makes no sense."""
    expression, answers = read_line(line, Answers(filters=filters), likes=likes)
    return expression, answers.filters


def _has_screen() -> bool:
    """Whether a browser has a window to show: without one, Python would start a browser in the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


def _is_local(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(host: str) -> set[str]:
    """Returns the names that a browser may use for the server."""
    from vidfind.web.guard import LOCAL_NAMES

    name = f"[{host}]" if ":" in host else host
    own = socket.gethostname().lower()
    return {*LOCAL_NAMES, name} | (set() if _is_local(host) else {own, f"{own}.local"})


def _prepare(searcher: "Searcher") -> None:
    """Loads what the first query needs, while somebody looks at the page."""
    with suppress(Exception):  # the first query raises it again
        searcher.prepare()
