"""An index of segments that overlap, as the command line makes and searches it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.support.ran import Run
from vidfind.demo.drawing import draw
from vidfind.demo.world import Scene, random_background, random_shape
from vidfind.encoders.encoder import Encoder
from vidfind.media.decoding import read_clips
from vidfind.media.sampling import add_between, split_segments
from vidfind.media.write import write_video
from vidfind.store.store import Store

RATE, SECONDS = 8, 2


def test_segments_overlap_where_asked_and_an_event_is_found_once(
    run: Run, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    rng, film = Random(1), tmp_path / "film.mp4"
    scenes = [("circle", "red", 3), ("star", "blue", 2), ("square", "yellow", 3)]
    frames = [
        draw(Scene((random_shape(rng, kind, colour, "big", "still"),), random_background(rng)), length * RATE, 96, 128)
        for kind, colour, length in scenes
    ]
    write_video(film, np.concatenate(frames), RATE)
    asked = ("index", film, "--model", "tiny", "--device", "cpu", "--segment", SECONDS, "--sampling", "exact", "--json")

    made = json.loads(run(*asked, "--overlap").out.splitlines()[0])
    assert (made["segments"], made["seconds"]) == (7, 8)
    store = Store.open(tmp_path / "home" / "indexes" / "default")
    segments = add_between(split_segments(8, SECONDS))
    for segment, clip in zip(segments, read_clips(film, segments, 12, tiny_encoder.view), strict=True):
        [hit] = store.search(tiny_encoder.encode_video(clip[np.newaxis])[0].numpy(), 1)
        assert (hit.start, hit.end, hit.score) == pytest.approx((segment.start, segment.end, 1), abs=2e-3)

    found = [
        json.loads(line)
        for line in run("search", "a big blue star stays still", "--per-video", 9, "--json").out.splitlines()
    ]
    assert (found[0]["start"], found[0]["end"]) == (3, 5)
    assert not [one for one in found[1:] if one["start"] < 5 and one["end"] > 3]
    like = run("search", "--like", f"{film}@4", "--per-video", 9, "--json").out.splitlines()
    assert like and all(one["end"] <= 4 or one["start"] > 4 for one in map(json.loads, like))

    captions = tmp_path / "captions.csv"
    captions.write_text("path,caption,start,end\nfilm.mp4,a big red circle,0,3\nfilm.mp4,a big blue star,3,5\n")
    for own, count in (([], 7), (["--no-overlap"], 4)):
        judged = json.loads(run("eval", "--pairs", captions, "--json", *own).out)
        assert (judged["segments"], judged["overlap"]) == (count, count == 7)

    assert "12 frames of each 2 s segment, overlapping by half" in run("status").out
    assert json.loads(run("status", "--json").out)["overlap"] is True
    assert json.loads(run(*asked).out.splitlines()[0])["status"] == "unchanged"
    refused = run(*asked, "--no-overlap")
    assert refused.code == 1 and "was made with segments that overlap. To make another beside it" in refused.err
    assert json.loads(run(*asked, "--force").out.splitlines()[0])["segments"] == 7
