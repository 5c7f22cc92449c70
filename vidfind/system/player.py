"""Starts a video player at a moment. Knows the command lines of players, and nothing of indexes or searches.

The player is the first of: the template in `VIDFIND_PLAYER`; an installed program of `PLAYERS`; one of `FLATPAKS`; the
system's own opener, which starts at the beginning.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vidfind.errors import BadInput

# What follows the program of each player, to play a file (one word, or more in a sandbox) from a time in seconds.
PLAYERS: dict[str, Callable[[Sequence[str], float], list[str]]] = {
    "mpv": lambda file, start: [f"--start={start:.2f}", "--", *file],
    "vlc": lambda file, start: [f"--start-time={start:.2f}", *file],
    "iina": lambda file, start: ["--no-stdin", f"--mpv-start={start:.2f}", *file],
    "celluloid": lambda file, start: ["--new-window", f"--mpv-start={start:.2f}", *file],
}

# The players of Flathub by their identifiers. Haruna takes no start.
FLATPAKS: dict[str, Callable[[Sequence[str], float], list[str]]] = {
    "io.mpv.Mpv": PLAYERS["mpv"],
    "org.videolan.VLC": PLAYERS["vlc"],
    "io.github.celluloid_player.Celluloid": PLAYERS["celluloid"],
    "org.kde.haruna": lambda file, start: [*file],
}
WITHOUT_START = frozenset({"org.kde.haruna"})

# Where a player lies if it is not on PATH: the folders that installers of macOS and Windows choose.
SNAPS = ("/snap/bin", "/var/lib/snapd/snap/bin")
USUAL_PLACES: dict[str, Sequence[str]] = {
    "mpv": [
        *(f"{folder}/mpv" for folder in SNAPS),
        "/Applications/mpv.app/Contents/MacOS/mpv",
        r"C:\Program Files\mpv\mpv.exe",
    ],
    "vlc": [
        *(f"{folder}/vlc" for folder in SNAPS),
        "/Applications/VLC.app/Contents/MacOS/VLC",
        r"C:\Program Files\VideoLAN\VLC\vlc.exe",
        r"C:\Program Files (x86)\VideoLAN\VLC\vlc.exe",
    ],
    "iina": ["/Applications/IINA.app/Contents/MacOS/iina-cli"],
    "celluloid": [f"{folder}/celluloid" for folder in SNAPS],
}

HAND_OVER = 0.5  # seconds; a player that cannot play has ended by then
LONGEST_ANSWER = 5.0  # seconds to wait for flatpak
LONGEST_SAID = 300  # characters; the last ones say what went wrong
FIELDS = ("{start}", "{path}")
"""The fields of a template in `VIDFIND_PLAYER`."""


class Played(NamedTuple):
    """The outcome of a player: whether it began at the moment, and what it printed if it has ended already."""

    at_moment: bool
    said: str = ""


def play(path: Path, start: float) -> Played:
    """Starts a player on `path` at `start` seconds.

    The player continues when vidfind ends. Raises BadInput if no player can be started, or it fails at once.
    """
    if not path.exists():
        raise BadInput(
            f"{path} is not there any more. If it was moved, index the folder it is in now, and search again."
        )
    name, command = player_command(path, start, os.environ.get("VIDFIND_PLAYER"))
    # A file, not a pipe, which would break when vidfind ends and the player still plays.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # otherwise Ctrl-C in this terminal would end the player too
            )
            code = process.wait(HAND_OVER)
        except subprocess.TimeoutExpired:
            return Played(name is not None)  # it plays
        except OSError as error:
            raise _no_player(command[0], f"does not start: {error.strerror or error}") from error
        output.seek(0)
        said = " ".join(output.read().decode(errors="replace").split())[-LONGEST_SAID:]
    if code != 0:
        words = f" and the words: {said}" if said else ""
        raise _no_player(command[0], f"ended at once, with exit code {code}{words}")
    return Played(name is not None, said)


def player_command(path: Path, start: float, template: str | None = None) -> tuple[str | None, list[str]]:
    """Returns the name of the player, and the command line to run; None as name if it cannot start at a moment."""
    if template:
        command = template_command(template, path, start)
        return command[0], command
    for name, arguments in PLAYERS.items():
        if program := find_program(name):
            return name, [program, *arguments([str(path)], start)]
    if flatpak := shutil.which("flatpak"):
        for name, arguments in FLATPAKS.items():
            if _is_installed(flatpak, name):
                # Between the marks, flatpak lets the player see a file that its sandbox would hide.
                file = ["@@", str(path), "@@"]
                command = [flatpak, "run", "--file-forwarding", name, *arguments(file, start)]
                return None if name in WITHOUT_START else name, command
    return None, system_opener(path)


def _is_installed(flatpak: str, name: str) -> bool:
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run([flatpak, "info", name], capture_output=True, timeout=LONGEST_ANSWER).returncode == 0
    return False


def template_command(template: str, path: Path, start: float) -> list[str]:
    """Returns the command line of a template: `{start}` is the time in seconds, `{path}` the file (added if missing).

    Raises BadInput for a template that is no command line, or has other fields.

    >>> template_command("mpv --start={start} {path}", Path("a b.mp4"), 83)
    ['mpv', '--start=83.00', 'a b.mp4']
    """
    try:
        words = shlex.split(template, posix=os.name != "nt")  # a backslash is a separator on Windows
    except ValueError as error:
        raise BadInput(f"VIDFIND_PLAYER is not a command line: {error}. It is now: {template}") from error
    if not words:
        raise BadInput("VIDFIND_PLAYER is empty. Unset it, or use for instance: mpv --start={start} {path}")
    if unknown := [field for field in re.findall(r"\{\w*\}", template) if field not in FIELDS]:
        raise BadInput(
            f"VIDFIND_PLAYER has {', '.join(unknown)}, which vidfind does not know. The fields are {{start}}, the time "
            f"in seconds, and {{path}}, the file. It is now: {template}"
        )
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
