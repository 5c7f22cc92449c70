"""`vidfind demo`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.program import program
from tests.support.ran import Run


def test_the_demo_draws_indexes_and_searches_can_be_run_again_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    """First as a process of which only the first line is read, then all of it, then its index is deleted."""
    with program("demo", home=tmp_path / "home") as demo:
        assert demo.stdout and demo.stderr
        assert demo.stdout.readline() == "Drew 24 videos of moving shapes; their names say nothing.\n"
        demo.stdout.close()
        assert "Traceback" not in demo.stderr.read()
    assert demo.returncode == 0
    assert re.search(r"^Videos +24 *$", run("status", "--index", "demo").out, re.MULTILINE)

    ran = run("demo")
    assert ran.code == 0, ran.err
    assert "\n24 new: " in ran.out
    assert ran.out.count('vidfind search "a ') == 4  # after "$ ", or "$ uv run " where uv runs the tests
    firsts = re.findall(r"^1\t[^\t]+\t(\S+\.mp4)\t", ran.out, flags=re.MULTILINE)
    # Each of two shapes is there twice, moving in opposite ways: which one is found is a matter of time alone.
    assert [Path(path).stem for path in firsts] == ["clip-07", "clip-09", "clip-16", "clip-21"]
    assert "knows nothing but this small world" in ran.out
    assert "ViT-B-32 (605 MB) is downloaded once" in ran.out
    assert 'vidfind search "dog catching frisbee" --open 1\n' in ran.out
    assert ran.out.endswith("vidfind remove --all --index demo\n")
    assert len(list((tmp_path / "home" / "demo-videos").iterdir())) == 24

    ran = run("remove", "--all", "--index", "demo")
    assert (ran.code, ran.err) == (1, "Error: Deleting the index 'demo' must be confirmed: add --yes.\n")
    ran = run("remove", "--all", "--yes", "--index", "demo")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "Deleted the index 'demo'.\nDeleted 24 videos that the demo had drawn.\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "home" / "demo-videos").exists()


def test_what_a_demo_that_was_stopped_has_drawn_is_deleted_and_files_of_others_stay(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "demo-videos"
    folder.mkdir(parents=True)
    for name in ("clip-01.mp4", "clip-25.mp4", "mine.mp4"):
        (folder / name).touch()
    ran = run("remove", "--all", "--index", "demo")
    assert (ran.code, ran.err) == (0, "Deleted 1 video that the demo had drawn.\n")
    assert sorted(path.name for path in folder.iterdir()) == ["clip-25.mp4", "mine.mp4"]


def test_the_demo_leaves_an_index_of_its_name_alone(run: Run, indexed: Path, films: Path) -> None:
    (indexed / "indexes" / "default").rename(indexed / "indexes" / "demo")
    ran = run("demo")
    assert (ran.code, ran.out) == (1, "")
    assert f"yours of that name holds {films}. Delete it first: vidfind remove --all --index demo" in ran.err
