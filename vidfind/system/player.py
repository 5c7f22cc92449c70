"""Starts a video player at a moment. Knows the command lines of players, and nothing of indexes or searches.

The player is the first of: the template in `VIDFIND_PLAYER`; an installed player of `PLAYERS`; the system's own
opener, which starts at the beginning.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vidfind.errors import BadInput

# The name of a player, and the command line that starts its program at a time in seconds.
PLAYERS: dict[str, Callable[[str, Path, float], list[str]]] = {
    "mpv": lambda program, path, start: [program, f"--start={start:.2f}", "--", str(path)],
    "vlc": lambda program, path, start: [program, f"--start-time={start:.2f}", str(path)],
    "iina": lambda program, path, start: [program, "--no-stdin", f"--mpv-start={start:.2f}", str(path)],
}

# Where a player lies if it is not on PATH: the folders that installers of macOS and Windows choose.
USUAL_PLACES: dict[str, Sequence[str]] = {
    "mpv": ["/Applications/mpv.app/Contents/MacOS/mpv", r"C:\Program Files\mpv\mpv.exe"],
    "vlc": [
        "/Applications/VLC.app/Contents/MacOS/VLC",
        r"C:\Program Files\VideoLAN\VLC\vlc.exe",
        r"C:\Program Files (x86)\VideoLAN\VLC\vlc.exe",
    ],
    "iina": ["/Applications/IINA.app/Contents/MacOS/iina-cli"],
}


HAND_OVER = 0.5  # seconds; a player that cannot play has ended by then


def play(path: Path, start: float) -> str | None:
    """Starts a player on `path` at `start` seconds; returns its name, or None if it starts at the beginning instead.

    The player continues when vidfind ends. Raises BadInput if no player can be started.
    """
    if not path.exists():
        raise BadInput(
            f"{path} is not there any more. If it was moved, index the folder it is in now, and search again."
        )
    name, command = player_command(path, start, os.environ.get("VIDFIND_PLAYER"))
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # otherwise Ctrl-C in this terminal would end the player too
        )
        code = process.wait(HAND_OVER)
    except subprocess.TimeoutExpired:
        code = 0  # it plays
    except OSError as error:
        raise _no_player(command[0], f"does not start: {error.strerror or error}") from error
    if code != 0:
        raise _no_player(command[0], f"ended at once, with exit code {code}")
    return name


def player_command(path: Path, start: float, template: str | None = None) -> tuple[str | None, list[str]]:
    """Returns the name of the player, and the command line to run; None as name if it cannot start at a moment."""
    if template:
        command = template_command(template, path, start)
        return command[0], command
    for name, arguments in PLAYERS.items():
        if program := find_program(name):
            return name, arguments(program, path, start)
    return None, system_opener(path)


def template_command(template: str, path: Path, start: float) -> list[str]:
    """Returns the command line of a template: `{start}` is the time in seconds, `{path}` the file (added if missing).

    >>> template_command("mpv --start={start} {path}", Path("a b.mp4"), 83)
    ['mpv', '--start=83.00', 'a b.mp4']
    """
    try:
        words = shlex.split(template, posix=os.name != "nt")  # a backslash is a separator on Windows
    except ValueError as error:
        raise BadInput(f"VIDFIND_PLAYER is not a command line: {error}.") from error
    if not words:
        raise BadInput("VIDFIND_PLAYER is empty. Unset it, or use for instance: mpv --start={start} {path}")
    if "{path}" not in template:
        words.append("{path}")
    # The path is replaced last: a file may be called "{start}.mp4".
    return [word.strip('"').replace("{start}", f"{start:.2f}").replace("{path}", str(path)) for word in words]


def find_program(name: str) -> str | None:
    """Returns the program of a player, on PATH or in one of its usual places; None if it is not installed."""
    return shutil.which(name) or next((place for place in USUAL_PLACES[name] if os.path.isfile(place)), None)


def system_opener(path: Path) -> list[str]:
    if sys.platform == "darwin":
        return ["open", str(path)]
    if sys.platform == "win32":
        return ["rundll32", "url.dll,FileProtocolHandler", str(path)]
    return ["xdg-open", str(path)]


def _no_player(program: str, trouble: str) -> BadInput:
    return BadInput(
        f"The player {program} {trouble}. Install mpv or VLC, or name a player in VIDFIND_PLAYER, "
        "for instance: VIDFIND_PLAYER='mpv --start={start} {path}'"
    )
