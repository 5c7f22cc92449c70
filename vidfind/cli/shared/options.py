"""Options that several commands take: the same flag has the same meaning everywhere.

Their defaults are read from the pipelines. A module whose constants are read here must import nothing heavy.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vidfind.cli.shared import completion
from vidfind.commands import encoders_command
from vidfind.encoders.names import EncoderName
from vidfind.errors import DeviceMissing
from vidfind.media.hardware import Decoder
from vidfind.media.sampling import SEGMENT_LENGTH, Sampling
from vidfind.models.catalog import DEFAULT_ENCODER, DEFAULT_MODEL
from vidfind.search.question.dates import EXAMPLES
from vidfind.search.question.expression import WITHIN


def _show_log(wanted: bool) -> None:
    if wanted:
        from vidfind.display import console

        console.show_log()


def _be_quiet(wanted: bool) -> None:
    if wanted:
        from vidfind.display import console

        console.be_quiet()


def keep_maps(maps: list[str] | None) -> list[str] | None:
    """Keeps the maps that are given from now on, and returns them."""
    if maps:
        from vidfind.store.places.maps import keep_map

        for one in maps:
            keep_map(one)
    return maps


def _lower_priority(wanted: bool) -> None:
    if wanted:
        from vidfind.system.machine import lower_priority

        lower_priority()


def _check_device(device: str) -> str:
    """Raises BadParameter for a device that this machine does not have, before anything is read or fetched."""
    if device not in ("auto", "cpu"):
        from vidfind.display.activity import Activity

        with Activity("Loading PyTorch"):
            from vidfind.encoders.encoder import choose_device

            try:
                choose_device(device)
            except DeviceMissing as error:
                raise typer.BadParameter(str(error)) from error
    return device


def _check_decoder(decoder: Decoder) -> Decoder:
    """Raises BadParameter for `hardware` where no device decodes, before anything is read."""
    if decoder == "hardware":
        from vidfind.display.activity import Activity
        from vidfind.media.hardware import first_device

        with Activity("Opening the video hardware"):
            try:
                first_device()
            except DeviceMissing as error:
                raise typer.BadParameter(str(error)) from error
    return decoder


def _parse_percent(text: str | int) -> int:
    """Returns 50 for `50`, `50%` and `50 %`, and for a default of 50. Raises BadParameter for what is no percentage."""
    number = str(text).strip().removesuffix("%").strip()
    if not number.isdecimal():
        raise typer.BadParameter(f"{text!r} is not a percentage: write 50.")
    return int(number)


# Which index, and how it is reported

IndexName = Annotated[
    str,
    typer.Option(
        "--index",
        metavar="NAME|URL",
        help="The index to use; one in object storage as s3://BUCKET/NAME.",
        autocompletion=completion.index_names,
    ),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OLD=NEW",
        callback=keep_maps,
        is_eager=True,
        help="On this machine, the folder OLD of the index is NEW. Kept for all commands; OLD= forgets it. May be "
        "given again.",
    ),
]
IndexMaps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OLD=NEW",
        help="On this machine, the folder OLD of the index is NEW. Kept for all commands; OLD= forgets it. With "
        "--cluster, for this run alone: OLD on this machine is NEW on nodes that have it there. May be given again.",
    ),
]
MaxSeconds = Annotated[
    float, typer.Option(metavar="SECONDS", min=0.0, help="Train no longer than this, and use what there is then.")
]
Seed = Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Another seed gives other random numbers.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_be_quiet, is_eager=True, help="Write nothing to stderr but errors and questions."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", callback=_show_log, help="Say on stderr what is being done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before something is deleted.")]

# Which moments

Limit = Annotated[int, typer.Option("--limit", "-n", metavar="COUNT", min=1, help="How many moments to show.")]
PerVideo = Annotated[int, typer.Option(metavar="COUNT", min=1, help="At most this many moments of each video.")]
Folders = Annotated[
    list[str] | None,
    typer.Option(
        "--in",
        metavar="FOLDER",
        help="Only videos under this folder, or this video, or a pattern such as 'trips/*'. It counts from the current "
        "folder; '/**/trips' is any folder trips. May be given again.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="No videos under this folder, or with a file or folder of a name like '*.gif'. May be given again.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="DATE", help=f"Only videos filmed on this day or later: {EXAMPLES}. Days are those of local time."
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Only videos filmed up to the end of this day, week, month or year."),
]
Between = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="TIME TIME",
        help="Only moments filmed at this time of day, such as 22:00 05:00, which is over midnight.",
    ),
]
WithTag = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Only moments with this tag. Given again: with all of them."),
]
AnyTag = Annotated[
    list[str] | None, typer.Option("--any-tag", metavar="TAG,TAG", help="Only moments with one of these tags.")
]
NoTag = Annotated[
    list[str] | None, typer.Option("--no-tag", metavar="TAG", help="No moments with this tag. May be given again.")
]
Is = Annotated[
    list[str] | None,
    typer.Option(
        "--is",
        metavar="TASK:CLASS",
        help="Only moments that show a class which you taught, such as pets:rex. Given again: all of them.",
    ),
]
Literally = Annotated[
    bool, typer.Option("--literal", help="Take the names of classes which you taught as words like others.")
]
TagsFrom = Annotated[
    Literal["user", "any"], typer.Option(help="Whose tags count: user (yours alone), or any (also automatic ones).")
]
MinScore = Annotated[
    float, typer.Option(metavar="SCORE", help="Only moments with at least this score.", show_default=False)
]
MinMatch = Annotated[
    int,
    typer.Option(
        metavar="PERCENT",
        parser=_parse_percent,
        help="Only moments that match the words by at least so many percent.",
        show_default=False,
    ),
]
Collapse = Annotated[bool, typer.Option("--collapse", help="Of moments that look alike, show only the best.")]
Online = Annotated[
    bool, typer.Option("--online", help="Only videos whose files are there now, not those on unplugged drives.")
]
USUAL_WITHIN = f"{WITHIN:g}s"
Without = Annotated[
    list[str] | None,
    typer.Option("--not", metavar="WORDS", help="What is not to be seen. Given twice, it counts twice."),
]
Then = Annotated[
    list[str] | None,
    typer.Option(metavar="WORDS", help="What comes next in the same video. May be given again for further steps."),
]
Within = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="How soon each step begins after the one before: 30s, 45, 1:30, 2m. 0: the next segment."
    ),
]
Like = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE[@TIME]",
        help="A picture, a video, or its moment at 1:23, with words or without. May be given again.",
    ),
]
Unlike = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE[@TIME]", help="A picture, a video or a moment that it is not to be like."),
]
Refine = Annotated[
    bool,
    typer.Option(
        "--refine", help="Look at the files again for where each moment begins and ends; takes seconds for each."
    ),
]

# Which encoder


def model_option(default: str = "") -> Any:
    """`default` describes a default that is no value of the option."""
    return typer.Option(
        metavar="NAME",
        help="The CLIP model, by open_clip's name." + (default and f" [default: {default}]"),
        autocompletion=completion.model_names,
    )


def pretrained_option(default: str) -> Any:
    return typer.Option(
        metavar="NAME|FILE",
        help=f"The weights of the model: open_clip's name, or a file. [default: {default}]",
        autocompletion=completion.weight_names,
    )


def adapter_option(use: str, default: str) -> Any:
    """`use` is a sentence about what the command does with the adapter."""
    return typer.Option(
        metavar="NAME", help=f"{use} [default: {default}]", autocompletion=completion.adapter_names_or_none
    )


OWN = "the adapter's or the index's own, or"
Model = Annotated[str | None, model_option(f"{OWN} {DEFAULT_MODEL}")]
Pretrained = Annotated[str | None, pretrained_option(f"{OWN} the recommended ones")]
EncoderOption = Annotated[
    EncoderName | None,
    typer.Option(
        metavar="NAME",
        help=f"How the frames of a segment become one vector; see `{encoders_command()}`. [default: {OWN} "
        f"{DEFAULT_ENCODER}, with models of another kind than CLIP's mean]",
    ),
]
SegmentLength = Annotated[
    float | None,
    typer.Option(
        "--segment",
        metavar="SECONDS",
        min=0.5,
        help=f"Length of a segment. [default: the index's own, or {SEGMENT_LENGTH:g}]",
    ),
]
Overlap = Annotated[
    bool | None,
    typer.Option(
        "--overlap/--no-overlap",
        help="Put one more segment between each two, half in each: twice the encoding, and a few more events are "
        "found. [default: as in the index, or not]",
    ),
]
SamplingChoice = Annotated[
    Sampling,
    typer.Option(
        help="Which frames are looked at: auto (keyframes where one is near, else exact), exact (slower), or keyframes "
        "(fastest, coarse)."
    ),
]
DecoderChoice = Annotated[
    Decoder,
    typer.Option(
        callback=_check_decoder,
        envvar="VIDFIND_DECODER",
        help="What decodes videos: auto (video hardware, if it is faster with the first video), cpu, or hardware (the "
        "processor only where hardware cannot).",
    ),
]

# How the machine is used

Device = Annotated[
    Literal["auto", "cuda", "mps", "cpu"], typer.Option(callback=_check_device, help="The device that runs the model.")
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "int8"],
    typer.Option(
        help="Number format of the model; auto measures once which is fastest on this machine. int8 is for CPUs: it is "
        "tried on your first clips, and kept if their vectors stay as they are."
    ),
]
Nice = Annotated[bool, typer.Option("--nice", callback=_lower_priority, help="Let other programs go first.")]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="COUNT", min=1, max=1024, help="Number of CPU threads for the model. [default: one for each core]"
    ),
]

# Captions

PAIRS = typer.Option(metavar="FILE", help="The captions: a CSV file, path,caption[,start,end], or JSON lines.")
Pairs = Annotated[Path, PAIRS]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Ignore lines that cannot be used.")]
