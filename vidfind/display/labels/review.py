"""Asks about suggestions at a terminal: shows one at a time, with a picture where the terminal can, and reads a key."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from vidfind.display.console import error, message, messages, new_table, result_path, say, show_list
from vidfind.display.text import near_path, plural, printable, span
from vidfind.errors import Terminated, VidfindError

if TYPE_CHECKING:
    from vidfind.tagging.edit import Suggested
    from vidfind.tagging.review import Review

KEYS = {"y": "yes", "n": "no", "s": "skip", "p": "play", "u": "undo", "q": "quit"}
PICTURE_WIDTH = 36  # cells


def suggestion_json(one: "Suggested", path: Path) -> dict[str, Any]:
    """Returns a line of `vidfind tag review --json`."""
    times = {"start": round(one.start, 3), "end": round(one.end, 3)}
    return {"path": path, **times, "tag": one.name, "confidence": round(one.confidence, 3)}


def show_suggestions(suggested: Sequence["Suggested"], paths: Mapping[str, Path]) -> None:
    """Shows suggestions as a table; `paths` are those of videos by their fingerprints."""
    table = new_table()
    for title in ("File", "Moment", "Tag", "Confidence"):
        table.add_column(title, overflow="fold", justify="right" if title in ("Moment", "Confidence") else "left")
    for one in suggested:
        file, moment = result_path(paths[one.video]), span(one.start, one.end)
        table.add_row(Text(file), moment, Text(printable(one.name)), f"{one.confidence:.2f}")
    show_list(table)


def review_at_terminal(
    review: "Review", path_of: Callable[["Suggested"], Path], play: Callable[[Path, float], None]
) -> None:
    """Asks about one suggestion after the other until nothing is left, or the user quits.

    `path_of` returns the file of a suggestion, and `play` plays one from a time in seconds."""
    shown: Suggested | None = None
    while not review.is_done:
        one = review.upcoming()[0]
        if one is not shown:
            _show(one, path_of(one), len(review.upcoming()))
            shown = one
        try:
            key = _ask_key()
            if key == "q":
                break
            if key == "p":
                play(path_of(one), one.start)
            elif key == "s":
                review.skip()
            elif key == "u":
                if review.undo() is None:
                    message("Nothing is decided yet.")
            else:
                review.decide(key == "y")
        except Terminated:
            raise
        except VidfindError as problem:  # another program writes, or there is no player: the question stays
            error(problem)
    _show_end(review)


def _show(one: "Suggested", path: Path, left: int) -> None:
    _show_picture(one, path)
    name = Text(f"{printable(one.name)}?", style="bold")
    place = f"  {near_path(path)}  {span(one.start, one.end)}  confidence {one.confidence:.2f}, {left:,} to go"
    say(messages, Text.assemble(name, place))


def _show_end(review: "Review") -> None:
    yes = sum(one.is_yes for one in review.decisions)
    more = f" {plural(review.count_left, 'suggestion')} left." if review.count_left else ""
    message(f"Decided {len(review.decisions):,}: {yes:,} yes, {len(review.decisions) - yes:,} no.{more}")


def _ask_key() -> str:
    """Returns a key of KEYS as soon as it is pressed; Ctrl-C, Ctrl-D and Escape quit."""
    from prompt_toolkit.application import Application
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.layout import Layout, Window
    from prompt_toolkit.layout.controls import FormattedTextControl
    from prompt_toolkit.output import create_output

    bindings = KeyBindings()
    for key in KEYS:
        for typed in (key, key.upper()):
            bindings.add(typed)(lambda event, key=key: event.app.exit(result=key))
    for typed in ("c-c", "c-d", "escape"):
        bindings.add(typed, eager=True)(lambda event: event.app.exit(result="q"))
    text = "  ".join(f"{key} {word}" for key, word in KEYS.items())
    stream = sys.stderr if sys.stderr and sys.stderr.isatty() else None
    application: Application[str] = Application(
        layout=Layout(Window(FormattedTextControl(text), height=1)),
        key_bindings=bindings,
        erase_when_done=True,
        output=create_output(stream, always_prefer_tty=True),
    )
    return application.run()


def _show_picture(one: "Suggested", path: Path) -> None:
    """Shows a picture of a moment, where the terminal can and the file is there."""
    from vidfind.display.pictures import picture_of, why_no_pictures
    from vidfind.pictures.cache import PictureCache
    from vidfind.pictures.thumbnail import shot_of

    if why_no_pictures():
        return
    shot = shot_of(path, one.video, one.start, one.end, (one.start + one.end) / 2, path.is_file())
    [picture] = PictureCache().pictures([shot])
    messages.print(picture_of(picture, PICTURE_WIDTH))
