"""`vidfind mcp`: serves assistants through stdin and stdout."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vidfind.cli.shared.options import IndexName, Maps, Quiet, Verbose
from vidfind.cli.shared.prompt import why_nothing
from vidfind.errors import BrokenInstallation
from vidfind.store.places.path import index_path
from vidfind.system import paths

INSTALL = 'Install it, in your clone of vidfind, with: uv tool install ".[mcp]" (or: uv sync --extra mcp).'


def mcp_command(
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips", metavar="FOLDER", help="Let assistants write clips into this folder. [default: none can be made]"
        ),
    ] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Let an assistant search your videos, through MCP.

    MCP is the Model Context Protocol. The assistant starts this command itself, as its settings say. It searches, looks
    at single frames, and reads the details of videos in the index. It changes nothing, and sees no other file.

    \b
    Example:
      vidfind mcp --clips ~/Videos/clips
    """
    from vidfind.display import console

    index = index_path(name)
    if clips is not None:
        clips = Path(os.path.abspath(os.path.expanduser(clips)))
        if os.path.lexists(clips) and not clips.is_dir():
            raise typer.BadParameter(f"--clips takes a folder, and {clips} is none.")
    try:
        from vidfind.assistants.server import serve
        from vidfind.assistants.tools import Tools
    except ImportError as error:
        raise BrokenInstallation(f"Assistants need the Python SDK of MCP, which is not installed. {INSTALL}") from error
    if sys.stdin is not None and sys.stdin.isatty():
        console.message("This waits for an assistant: name the command in its settings. Ctrl-C ends.")
    serve(Tools(index, clips, why_nothing))
