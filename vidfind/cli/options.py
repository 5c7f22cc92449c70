"""Options that several commands take: the same flag has the same meaning everywhere."""

from typing import Annotated, Literal

import typer

from vidfind.media.sampling import Sampling


def _show_log(wanted: bool) -> None:
    if wanted:
        from vidfind.display import console

        console.show_log()


def _lower_priority(wanted: bool) -> None:
    if wanted:
        from vidfind.system.machine import lower_priority

        lower_priority()


Verbose = Annotated[bool, typer.Option("--verbose", "-v", callback=_show_log, help="Say on stderr what is being done.")]
IndexName = Annotated[str, typer.Option("--index", metavar="NAME", help="The index to use.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Device = Annotated[Literal["auto", "cuda", "mps", "cpu"], typer.Option(help="Where the model runs.")]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16"], typer.Option(help="The numbers it computes with; auto knows the machine.")
]
Nice = Annotated[bool, typer.Option("--nice", callback=_lower_priority, help="Let other programs go first.")]
SamplingChoice = Annotated[
    Sampling,
    typer.Option(
        help="Frames at exact times; keyframes where they are near, which is quicker; or nothing but keyframes."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(metavar="COUNT", min=1, help="CPU threads the model computes with. [default: one for each core]"),
]
