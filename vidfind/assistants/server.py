"""Serves the tools over the Model Context Protocol, through stdin and stdout."""

from __future__ import annotations

import os
import signal

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from vidfind import __version__
from vidfind.assistants.tools import INSTRUCTIONS, Tools
from vidfind.errors import ExitCode, Terminated

READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)


def serve(tools: Tools) -> None:
    """Answers an assistant until it closes stdin, or until Ctrl-C, which ends the process at once."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)  # asyncio's own handler would wait for a line on stdin
    try:
        make_server(tools).run("stdio")
    except Terminated:
        raise
    except KeyboardInterrupt:
        tools.stop()
        os._exit(ExitCode.INTERRUPTED)  # Python itself would wait for the thread that reads stdin
    finally:
        tools.stop()
        signal.signal(signal.SIGINT, before)


def make_server(tools: Tools) -> MCPServer:
    """Returns a server that offers the tools."""
    server: MCPServer = MCPServer(
        "vidfind", title="vidfind", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING"
    )
    server.add_tool(tools.search, title="Search videos", annotations=READS)
    server.add_tool(tools.moment_picture, title="Picture of a moment", annotations=READS)
    server.add_tool(tools.video_details, title="Details of a video", annotations=READS)
    server.add_tool(tools.index_status, title="Status of the index", annotations=READS)
    if tools.can_export:
        server.add_tool(tools.export_clip, title="Export a clip", annotations=WRITES)
    return server
