"""What a person reads: texts, paths and tables, on terminals of several widths."""

import io
import os
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.drawn import drawn
from vidfind.display import console
from vidfind.display.activity import Activity, progress_lines
from vidfind.display.search import result_table, show_moments
from vidfind.display.text import home_path, near_path, printable, short_paths, span
from vidfind.encoders.stream import Progress
from vidfind.search.moments import Moment
from vidfind.system.times import clock

EVIL = "a\x1b[31m\r\n\u202egpj.mp4"


def moment(path: str, rank: int = 1, online: bool = True, damage: str = "") -> Moment:
    return Moment(rank, 0.3123, Path(path), 83, 93, 760, datetime(2019, 7, 1, tzinfo=UTC), online, damage)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain name [bold].mp4", "plain name [bold].mp4", id="markup-is-only-text"),
        pytest.param(EVIL, r"a\x1b[31m\r\n\u202egpj.mp4", id="controls-and-turned-text"),
        pytest.param("b\udcff.mp4", r"b\xff.mp4", id="bytes-that-are-no-text"),
        pytest.param("家族 👨\u200d👩\u200d👧 é.mp4", "家族 👨\u200d👩\u200d👧 é.mp4", id="other-scripts-and-emoji"),
    ],
)
def test_a_name_cannot_command_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (83, 93, "1:23-1:33"),
        (3723, 3733.4, "1:02:03-1:02:13"),
        (0, 0.2, "0:00-0:01"),
        (50, 56.0166, "0:50-0:56"),
        (59.9, 69.9, "0:59-1:10"),
    ],
)
def test_a_moment_reads_as_minutes_and_seconds(start: float, end: float, shown: str) -> None:
    assert span(start, end) == shown


def test_a_length_over_an_hour_shows_hours() -> None:
    assert (clock(59), clock(600), clock(36_000)) == ("0:59", "10:00", "10:00:00")


def test_a_path_is_cut_from_the_left_between_folders() -> None:
    path = Path("/films/holiday/summer/a.mp4")
    assert short_paths([path], 27)[path] == str(path)
    assert short_paths([path], 26)[path] == "…/holiday/summer/a.mp4"
    assert short_paths([path], 16)[path] == "…/summer/a.mp4"
    assert short_paths([path], 5)[path] == "…/a.mp4"


def test_two_paths_are_never_cut_to_the_same_text() -> None:
    paths = [Path("/a/long/way/down/clip.mp4"), Path("/b/long/way/down/clip.mp4"), Path("/b/long/way/up/clip.mp4")]
    shown = short_paths(paths, 10)
    assert len(set(shown.values())) == 3
    assert shown[paths[2]] == "…/up/clip.mp4"


def test_paths_in_the_home_folder_begin_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("USERPROFILE", "/home/ann")
    assert home_path(Path("/home/ann/films/a.mp4")) == "~/films/a.mp4"
    assert home_path(Path("/home/anna/a.mp4")) == "/home/anna/a.mp4"


def test_paths_in_the_current_folder_begin_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "films").mkdir()
    monkeypatch.chdir(tmp_path / "films")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    inside, beside = tmp_path / "films" / "bulk" / "a.mp4", tmp_path / "a.mp4"
    assert short_paths([inside, beside], 80) == {inside: "bulk/a.mp4", beside: "~/a.mp4"}
    assert short_paths([inside, tmp_path / "films" / "cam" / "a.mp4"], 5)[inside] == "bulk/a.mp4"
    monkeypatch.chdir(tmp_path.parent)
    assert near_path(beside) == "~/a.mp4"  # which is shorter than from here


@pytest.mark.parametrize("width", [60, 70, 80])
def test_the_folder_of_a_video_is_shown_rather_than_its_length_and_date(width: int) -> None:
    path = "/films/of/a/long/summer/by/the/sea/first camera/clip-29.mp4"
    *_, row = drawn(result_table([moment(path)], width), width)
    assert "…/first camera/clip-29.mp4" in row or "/sea/first camera/clip-29.mp4" in row


def test_the_result_table_shows_rank_score_file_moment_length_and_date() -> None:
    header, _, row = drawn(result_table([moment("/films/a.mp4")], 80), 80)
    assert header.split() == ["#", "Score", "File", "Moment", "Length", "Date"]
    assert row.split() == ["1", "0.312", "/films/a.mp4", "1:23-1:33", "12:40", "2019-07-01"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_result_table_fits_the_terminal_and_shows_whole_names(width: int) -> None:
    name = "a long name of a file that was never cut.mp4"
    lines = drawn(result_table([moment(f"/films/{name}"), moment("/films/b.mp4", 2)], width), width)
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if line[:1].isdigit()]
    assert [("1:23-1:33" in row, "0.312" in row) for row in rows] == [(True, True)] * 2  # neither is folded
    assert set(f"{name} /films/b.mp4".split()) <= set(" ".join(lines).replace("/a long", " a long").split())


@pytest.mark.parametrize("width", range(60, 100, 3))
def test_a_path_is_shortened_rather_than_folded(width: int) -> None:
    table = result_table([moment("/films/of/a/long/summer/by/the/sea/and/the/lake/clip.mp4")], width)
    _, _, *rows = drawn(table, width)
    assert len(rows) == 1
    assert "/lake/clip.mp4 " in rows[0]


@pytest.mark.parametrize("width", range(60, 100, 3))
def test_the_result_table_marks_what_is_not_there_or_not_whole(width: int) -> None:
    moments = [
        moment("/films/of/a/long/summer/a.mp4"),
        moment("/films/of/a/long/summer/b.mp4", 2, online=False),
        moment("/films/of/a/long/summer/c.mp4", 3, damage="ends early"),
        moment("/films/of/a/long/summer/d.mp4", 4, online=False, damage="ends early"),
    ]
    rows = drawn(result_table(moments, width), width)[2:]
    names = ["a.mp4 ", "b.mp4 offline ", "c.mp4 incomplete ", "d.mp4 offline incomplete "]
    assert [name in row for name, row in zip(names, rows, strict=True)] == [True] * 4
    assert "/summer/" in rows[0]
    assert ("offline" in rows[0], "incomplete" in rows[0]) == (False, False)


def test_the_result_table_escapes_hostile_names() -> None:
    table = "\n".join(drawn(result_table([moment(f"/films/[red]{EVIL}")], 120), 120))
    assert "[red]a\\x1b[31m" in table
    assert "\x1b[31m" not in table
    assert "\u202e" not in table


@pytest.mark.parametrize("is_coloured", [False, True])
def test_a_pipe_gets_a_tab_between_columns_and_nothing_cut_or_padded(
    is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where FORCE_COLOR or TTY_COMPATIBLE ask for colours, which narrow terminals must not cut then."""
    written = io.StringIO()
    forced = Console(
        file=written, width=20, force_terminal=is_coloured, color_system="standard" if is_coloured else None
    )
    monkeypatch.setattr(console, "results", forced)
    monkeypatch.setattr("vidfind.display.search.results", forced)
    long = moment("/films/of/a/very long summer/by the sea/" + "clip " * 20 + ".mp4", online=False)
    show_moments([long, moment("/films/b.mp4", 2)])
    lines = re.sub(r"\x1b\[[\d;]*m", "", written.getvalue()).splitlines()
    assert (re.search(r"\x1b\[", written.getvalue()) is not None, "link" in written.getvalue()) == (is_coloured, False)
    assert lines[0].split("\t") == ["#", "Score", "File", "Moment", "Length", "Date", "Note"]
    assert lines[1].split("\t") == ["1", "0.312", str(long.path), "1:23-1:33", "12:40", "2019-07-01", "offline"]
    assert lines[2].split("\t")[2] == "/films/b.mp4"


def test_a_terminal_that_is_called_dumb_keeps_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda stream: os.terminal_size((60, 20)))
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console.size_if_dumb("xterm") == {}
    assert Console(force_terminal=True, **console.size_if_dumb("dumb")).width == 60
    monkeypatch.setenv("COLUMNS", "50")
    assert Console(force_terminal=True, **console.size_if_dumb("dumb")).width == 50


@pytest.mark.parametrize("width", [50, 80, 120])
def test_progress_shows_footage_files_speed_time_left_and_the_file_at_work(width: int) -> None:
    progress = Progress(Path("/films/[red]\x1bmovie.mp4"), 600, 3600, 3, 12)
    lines = drawn(progress_lines(progress, elapsed=60, width=width), width)
    text = " ".join(lines)
    assert "10:00 of 1:00:00  3/12 videos  10x real time" in text
    assert width == 50 or "5:00 left" in text
    assert lines[-1] == r"/films/[red]\x1bmovie.mp4"
    assert max(map(len, lines)) <= width


# Activity


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to a terminal of 80 cells."""
    written = Screen()
    terminal = Console(file=written, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    monkeypatch.setattr(console, "messages", terminal)
    return written


def test_a_pause_says_why_and_does_not_count(screen: io.StringIO) -> None:
    with Activity("Starting") as activity:
        began, before = time.monotonic(), activity.elapsed
        with activity.paused("Paused: on battery"):
            paused = time.monotonic()
            time.sleep(0.5)
            paused = time.monotonic() - paused
        counted = activity.elapsed - before
        assert counted <= time.monotonic() - began - paused + 0.01
    assert "Paused: on battery" in screen.getvalue()


def test_a_line_that_stays_is_not_wiped_away_by_what_follows(screen: io.StringIO) -> None:
    with Activity("Starting") as activity:
        activity.advance(Progress(Path("/films/a.mp4"), 600, 3600, 3, 12))
        activity.announce("This stays.")
        activity.say("Going on")
    after = screen.getvalue().split("This stays.\n")[1]
    assert "\x1b[1A" not in after.split("Going on")[0]


def test_what_is_said_after_a_bar_takes_its_place(screen: io.StringIO) -> None:
    with Activity("Starting") as activity:
        activity.advance(Progress(Path("/films/a.mp4"), 600, 3600, 3, 12))
    with activity:
        activity.say("Starting again")
    assert "Starting again" in screen.getvalue()


def test_without_a_terminal_the_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    plain = Console(file=written, width=80, force_terminal=False)
    monkeypatch.setattr(console, "messages", plain)
    progress = Progress(Path("/films/a.mp4"), 600, 3600, 3, 12)
    with Activity("Starting", log_interval=0) as often:
        often.advance(progress)
        often.draw("a bar", "Epoch 1 of 2")
    with Activity("Starting") as seldom:
        seldom.advance(progress)
    first, second = written.getvalue().splitlines()
    assert first.startswith("10:00 of 1:00:00  3/12 videos  ") and first.endswith(" left")
    assert second == "Epoch 1 of 2"


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal there")
def test_an_activity_takes_ctrl_z_only_while_it_lasts(screen: io.StringIO) -> None:
    before = signal.getsignal(signal.SIGTSTP)
    with Activity("Starting"):
        assert signal.getsignal(signal.SIGTSTP) != before
    assert signal.getsignal(signal.SIGTSTP) == before


def test_messages_wrap_at_spaces_and_cut_no_path_and_no_command(screen: io.StringIO) -> None:
    path = "/films/" + "x" * 90
    console.message(f"{path} could not be read, and these are more words than fit. Try:\n  vidfind index '{path} of'")
    assert screen.getvalue().splitlines() == [
        path,
        "could not be read, and these are more words than fit. Try:",
        f"  vidfind index '{path} of'",
    ]


def test_a_path_of_several_lines_is_one_line_of_a_message(screen: io.StringIO) -> None:
    console.message("a\nb\n  vidfind")
    assert screen.getvalue() == "a\\nb\\n  vidfind\n"


def test_a_command_that_ends_a_sentence_has_a_line_of_its_own_on_a_terminal(screen: io.StringIO) -> None:
    console.message("It is of mean. To make another: vidfind index /a --index b   To replace it: vidfind remove --all")
    console.message("Check: vidfind doctor (which takes a while)")
    assert screen.getvalue().splitlines() == [
        "It is of mean. To make another:",
        "  vidfind index /a --index b",
        "To replace it:",
        "  vidfind remove --all",
        "Check: vidfind doctor (which takes a while)",
    ]
