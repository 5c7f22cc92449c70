"""All commands count from where players begin, and on where a file was joined."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.clocks import join_clips, steady, write_clip
from tests.support.players import noting_player
from tests.support.ran import Run
from tests.support.waiting import wait_until


@pytest.mark.skipif(os.name == "nt", reason="a shell script plays the player")
def test_results_examples_captions_and_players_have_one_clock(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    late, joined, captions = videos / "late.mkv", videos / "joined.ts", tmp_path / "captions.csv"
    write_clip(late, steady(20, 14), sound=(0, 34))
    join_clips(joined, steady(0, 6), steady(0, 8))
    assert run("index", videos, "--model", "tiny", "--device", "cpu", "--segment", "7").code == 0

    def found(*arguments: object) -> dict[str, list[tuple[float, float]]]:
        moments = [json.loads(line) for line in run("search", *arguments, "--json").out.splitlines()]
        spans = [(Path(one["path"]).name, (one["start"], one["end"])) for one in moments]
        return {name: sorted(span for file, span in spans if file == name) for name, _ in spans}

    assert found("a circle") == {"late.mkv": [(20, 34)], "joined.ts": [(0, 14)]}
    assert found("--like", f"{late}@29")["late.mkv"] == [(20, 27)]  # the moment asked for is left out
    assert found("--like", f"{joined}@9")["joined.ts"] == [(0, 7)]
    assert "begins at 20.0 seconds" in run("search", "--like", f"{late}@3").err

    command, played = noting_player(tmp_path)
    monkeypatch.setenv("VIDFIND_PLAYER", command)
    run("search", "--like", f"{late}@22", "--in", late, "--open", "1")
    wait_until(played.exists)
    assert played.read_text() == f"27.00 {late}\n"

    captions.write_text("path,caption,start,end\nvideos/late.mkv,a square,3,12\n")
    said = " ".join(run("eval", "--pairs", captions, "--index", "default").err.split())
    assert "its picture begins at 20.0 seconds: nothing is shown up to 12" in said
