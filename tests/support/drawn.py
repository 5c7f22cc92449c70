"""What a terminal shows of a renderable."""

import io

from rich.console import Console, RenderableType


def drawn(renderable: RenderableType, width: int) -> list[str]:
    """The lines that a terminal of a width shows, without colours and without spaces at their ends."""
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(renderable)
    return [line.rstrip() for line in text.getvalue().splitlines()]
