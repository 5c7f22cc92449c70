"""Players: which command line is run, and that it is."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE, wait_until
from vidfind.errors import BadInput
from vidfind.system.player import PLAYERS, play, player_command, template_command

PATH = Path("/films/a b.mp4")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH: what is put there is what is installed."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("vidfind.system.player.USUAL_PLACES", {name: () for name in PLAYERS})
    monkeypatch.delenv("VIDFIND_PLAYER", raising=False)
    return folder


def install(folder: Path, name: str, script: str = "") -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mpv", ["--start=83.00", "--", str(PATH)]),
        ("vlc", ["--start-time=83.00", str(PATH)]),
        ("iina", ["--no-stdin", "--mpv-start=83.00", str(PATH)]),
        ("celluloid", ["--new-window", "--mpv-start=83.00", str(PATH)]),
    ],
)
def test_each_player_is_told_the_moment_in_its_own_words(programs: Path, name: str, arguments: list[str]) -> None:
    program = install(programs, name)
    assert player_command(PATH, 83) == (name, [str(program), *arguments])


def test_a_player_off_the_path_is_found_where_its_installer_puts_it(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = install(tmp_path, "VLC")
    monkeypatch.setitem(sys.modules["vidfind.system.player"].USUAL_PLACES, "vlc", [str(tmp_path / "no"), str(program)])
    assert player_command(PATH, 83)[1][0] == str(program)


@pytest.mark.usefixtures("programs")
def test_without_a_player_the_system_opens_the_file_from_the_beginning() -> None:
    name, command = player_command(PATH, 83)
    assert name is None
    assert command[-1] == str(PATH)


@pytest.mark.parametrize(
    ("template", "command"),
    [
        ("mpv --start={start} {path}", ["mpv", "--start=83.50", str(PATH)]),
        ("my-player -t {start}", ["my-player", "-t", "83.50", str(PATH)]),
        ("'my player' --at={start}s --file={path}", ["my player", "--at=83.50s", f"--file={PATH}"]),
    ],
)
def test_a_template_names_any_player(template: str, command: list[str]) -> None:
    assert template_command(template, PATH, 83.5) == command


def test_a_file_named_like_a_placeholder_is_left_alone() -> None:
    assert template_command("mpv {path}", Path("{start} {path}.mp4"), 1) == ["mpv", "{start} {path}.mp4"]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("mpv 'unclosed", "is not a command line: No closing quotation. It is now: mpv 'unclosed"),
        ("  ", "is empty"),
        ("mpv {path} {foo} {}", "has {foo}, {}, which vidfind does not know. The fields are {start}, the time"),
    ],
)
def test_a_template_that_is_no_command_is_an_error(template: str, reason: str) -> None:
    with pytest.raises(BadInput, match=re.escape(f"VIDFIND_PLAYER {reason}")):
        player_command(PATH, 1, template)


@pytest.mark.skipif(os.name == "nt", reason="there is no flatpak there")
@pytest.mark.parametrize(
    ("application", "arguments"),
    [
        ("io.mpv.Mpv", ["--start=83.00", "--"]),
        ("org.videolan.VLC", ["--start-time=83.00"]),
        ("io.github.celluloid_player.Celluloid", ["--new-window", "--mpv-start=83.00"]),
        ("org.kde.haruna", []),
    ],
)
def test_a_player_in_a_flatpak_is_told_the_moment_and_sees_the_file(
    programs: Path, application: str, arguments: list[str]
) -> None:
    flatpak = install(programs, "flatpak", f'[ "$1 $2" = "info {application}" ]')
    name, command = player_command(PATH, 83)
    assert command == [str(flatpak), "run", "--file-forwarding", application, *arguments, "@@", str(PATH), "@@"]
    assert name == (None if application == "org.kde.haruna" else application)
    mpv = install(programs, "mpv")
    assert player_command(PATH, 83)[1][0] == str(mpv)


@pytest.mark.skipif(os.name == "nt", reason="there is no flatpak there")
def test_a_flatpak_without_players_leaves_it_to_the_system(programs: Path) -> None:
    install(programs, "flatpak", "exit 1")
    assert player_command(PATH, 83)[0] is None


def test_a_player_that_is_not_there_is_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / "a.mp4"
    video.touch()
    monkeypatch.setenv("VIDFIND_PLAYER", str(tmp_path / "no-such-player"))
    with pytest.raises(BadInput, match=r"does not start.*Install mpv or VLC"):
        play(video, 1)


def test_a_player_that_fails_at_once_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfind.system.player.HAND_OVER", PATIENCE)  # a busy machine may take long to start it
    monkeypatch.setenv("VIDFIND_PLAYER", f"{sys.executable} -c 'print(3); import sys; sys.exit(\"no screen\")'")
    with pytest.raises(BadInput, match=r"exit code 1 and the words: 3 no screen\. Install mpv or VLC"):
        play(tmp_path, 1)


def test_what_a_player_says_that_ends_at_once_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfind.system.player.HAND_OVER", PATIENCE)
    monkeypatch.setenv("VIDFIND_PLAYER", f"{sys.executable} -c 'print({{start}})'")
    assert play(tmp_path, 1) == (True, "1.0")


def test_a_video_that_is_gone_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"not there any more.*index the folder it is in now"):
        play(tmp_path / "a.mp4", 1)


@pytest.mark.skipif(os.name == "nt", reason="a shell script plays the player")
def test_the_player_is_started_with_the_file_and_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video, told = tmp_path / "a b.mp4", tmp_path / "told"
    video.touch()
    script = tmp_path / "player"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{told}.new" && mv "{told}.new" "{told}"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VIDFIND_PLAYER", f"{script} --start={{start}} {{path}}")
    assert play(video, 12.34) == (True, "")
    wait_until(told.exists)
    assert told.read_text().splitlines() == ["--start=12.34", str(video)]
