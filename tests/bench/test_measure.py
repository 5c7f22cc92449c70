from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from tests.support.ran import Run
from vidfind.bench import measure as bench
from vidfind.bench import workloads
from vidfind.bench.drawn import FRAME_RATE, KINDS, Kind, draw_footage, lengthen, write_footage
from vidfind.bench.earlier import Change, Earlier, change, check_comparable, read_earlier, row_json
from vidfind.bench.measure import Row, Setup, index_rows
from vidfind.bench.program import Measured, ProgramFailed, run_python
from vidfind.display import diagnose as display_bench
from vidfind.errors import BadInput
from vidfind.models.catalog import TINY_WEIGHTS
from vidfind.precision.formats import measure_speeds

SMALL = Kind("small", "libx264", 128, 96, 10, 200_000, 1.0, {"preset": "ultrafast", "bf": "0", "sc_threshold": "0"})


def keyframes(path: Path) -> tuple[list[float], int]:
    """The times of keyframes, and how many frames there are."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        keyframes = [packet.pts for packet in packets if packet.is_keyframe and packet.pts is not None]
        return [float(pts * stream.time_base) for pts in keyframes if stream.time_base], len(packets)


# Drawn videos


def test_footage_has_the_frames_and_keyframes_of_its_kind(tmp_path: Path) -> None:
    write_footage(tmp_path / "a.mp4", SMALL, seed=0)

    times, count = keyframes(tmp_path / "a.mp4")

    assert count == FRAME_RATE
    assert times == pytest.approx([0, 1 / 3, 2 / 3], abs=1e-3)


def test_footage_is_the_same_for_the_same_seed_and_another_for_another(tmp_path: Path) -> None:
    for name, seed in {"a": 0, "again": 0, "b": 1}.items():
        write_footage(tmp_path / name, SMALL, seed)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "again").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_longer_footage_repeats_what_was_drawn_with_times_that_go_on(tmp_path: Path) -> None:
    write_footage(tmp_path / "a.mp4", SMALL, seed=0)

    lengthen(tmp_path / "a.mp4", tmp_path / "long.mp4", 3)

    times, count = keyframes(tmp_path / "long.mp4")
    assert count == 3 * FRAME_RATE
    assert times == pytest.approx(np.arange(9) / 3, abs=1e-3)
    with av.open(str(tmp_path / "long.mp4")) as container:
        pictures = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert len(pictures) == 3 * FRAME_RATE
    assert np.array_equal(pictures[FRAME_RATE + 5], pictures[5])


def test_footage_that_is_there_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "small", SMALL)
    [path] = draw_footage(tmp_path, "small", 1)
    drawn = path.stat().st_mtime_ns

    first, second = draw_footage(tmp_path, "small", 2)

    assert first == path and path.stat().st_mtime_ns == drawn
    assert second.is_file()


# Programs


def test_a_program_is_measured_with_the_memory_of_its_children() -> None:
    script = (
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; x = bytearray(60_000_000)\\n"
        "while time.process_time() < 0.5: pass\\ntime.sleep(1)']); "
        "child.wait(); print('done')"
    )

    measured = run_python(["-c", script])

    assert measured.output == "done\n"
    assert measured.seconds > 1.5
    assert measured.processor > 0.4
    assert 60e6 < measured.largest < measured.memory


def test_a_program_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(ProgramFailed, match="It could not be measured: ValueError: no such thing"):
        run_python(["-c", "raise ValueError('no such thing')"])


# Parts of vidfind


def test_encoding_is_measured_for_each_encoder_beside_plain_clip() -> None:
    told = {one["key"]: one for one in workloads.encode("tiny", str(TINY_WEIGHTS), "cpu", 1, clips=1, runs=2)}

    assert {"plain", "mean/float32", "tempme/float32"} <= told.keys()
    assert all(len(one["ms"]) == 2 and min(one["ms"]) > 0 for one in told.values())
    assert min(told["tempme/float32"]["products"]) > 0
    assert "cosines" not in told["tempme/float32"]
    assert [key for key in told if key.startswith("mean/")] == [f"mean/{name}" for name in measure_speeds().gflops]
    assert all(min(told[key]["cosines"]) > 0.99 for key in told if key.startswith("mean/") and key != "mean/float32")


@pytest.mark.soak
def test_the_matrix_products_are_a_share_of_what_encoding_takes(tmp_path: Path) -> None:
    setup = Setup(tmp_path, model="tiny", weights=TINY_WEIGHTS, pretrained="builtin", quick=True)
    rows = {row.key: row for row in bench.measure(setup, ["encode"])}

    products = rows["encode/tempme/float32/products"]
    assert products.beside["of it"] == pytest.approx(products.value / rows["encode/tempme/float32"].value)


def test_decoding_is_measured_for_each_sampling(clips: Path) -> None:
    told = list(workloads.decode([str(clips / "short.mp4")], ["exact", "keyframes"], runs=2))

    assert [one["sampling"] for one in told] == ["exact", "keyframes"]
    assert all(len(one["seconds"]) == 2 for one in told)


def test_indexing_is_compared_with_the_recipe_in_pairs_with_and_without_the_start() -> None:
    def run(seconds: float, processor: float) -> Measured:
        return Measured("", seconds, processor, 2_000_000, 1_000_000)

    pairs = [(run(12, 8), run(30, 58)), (run(22, 8), run(50, 58)), (run(12, 8), run(45, 58))]
    rows = {row.key: row for row in index_rows("phone", 60.0, [run(2, 3)], [run(5, 8)], pairs)}
    assert rows["index/phone/60s"].values == pytest.approx([5, 60 / 22, 5])
    assert rows["index/phone/60s"].beside == {"the common recipe": pytest.approx(2.5)}
    assert rows["index/phone/60s/steady"].beside == {"the common recipe": pytest.approx(2.5)}
    assert rows["index/phone/60s/processor/steady"].values == pytest.approx([5, 5, 5])
    assert rows["index/phone/60s/processor/steady"].beside == {"less than the common recipe": pytest.approx(10)}
    alone = list(index_rows("phone", 60.0, [run(2, 3)], [], [(run(12, 8), None)]))
    assert [row.beside for row in alone] == [{}] * 6


# Comparing


def earlier(value: float, low: float, high: float, unit: str = "x real time") -> dict[str, object]:
    return {"value": value, "low": low, "high": high, "unit": unit}


@pytest.mark.parametrize(
    ("row", "before", "ratio", "is_clear"),
    [
        pytest.param(Row("a", "", "x real time", [20, 22]), earlier(10, 9, 11), 2.1, True, id="faster"),
        pytest.param(Row("a", "", "s", [2.0]), earlier(4, 4, 4, "s"), 2.0, True, id="less time"),
        pytest.param(Row("a", "", "MB", [400]), earlier(200, 190, 210, "MB"), 0.5, True, id="more memory"),
        pytest.param(Row("a", "", "s", [2, 5]), earlier(4, 3, 4.5, "s"), 4 / 3.5, False, id="runs that overlap"),
        pytest.param(Row("a", "", "s", [4.1]), earlier(4, 4, 4, "s"), 4 / 4.1, False, id="a few per cent"),
    ],
)
def test_a_change_says_how_many_times_as_good_a_figure_is(
    row: Row, before: dict[str, object], ratio: float, is_clear: bool
) -> None:
    changed = change(row, before)

    assert changed and changed.is_clear == is_clear
    assert math.isclose(changed.ratio, ratio)


def test_figures_of_another_unit_or_without_an_earlier_one_are_not_compared() -> None:
    row = Row("a", "", "s", [2.0])

    assert change(row, None) is None
    assert change(row, earlier(1, 1, 1, "ms")) is None


def test_what_json_prints_can_be_compared_with(tmp_path: Path) -> None:
    row = Row("index/start", "the start", "s", [4.0, 5.0, 4.5])
    lines = [row_json(row), {"bench": {"format": bench.FORMAT, "model": "tiny"}}]
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, lines)))

    before = read_earlier(tmp_path / "a.json")

    assert before.rows["index/start"]["value"] == 4.5
    assert change(row, before.rows["index/start"]) == Change(1.0, False)
    with pytest.raises(BadInput, match="add --model tiny"):
        check_comparable(before, Setup(tmp_path))


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[1, 2]", '{"key": "a"}', '{"value": 1}', '{"bench": {"format": 1}}', '{"bench": 3}'],
)
def test_another_file_cannot_be_compared_with(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)

    with pytest.raises(BadInput, match=r"a\.json is not what `vidfind bench --json` prints"):
        read_earlier(tmp_path / "a.json")


def test_the_table_shows_figures_by_group_beside_earlier_ones() -> None:
    rows = [
        Row("decode/phone/auto", "phone: auto", "x real time", [100, 110, 120], {"exact": 4.2}),
        Row("search/5000/again", "the same words again", "s", [0.5]),
        Row("search/5000/warm", "warm", "ms", [20.0, 21.0]),
    ]
    before = Earlier({"decode/phone/auto": earlier(50, 49, 51), "search/5000/again": earlier(0.5, 0.5, 0.5, "s")}, {})
    console = Console(width=140)

    with console.capture() as shown:
        console.print(display_bench.rows_table(rows, before))

    lines = [" ".join(line.split()) for line in shown.get().splitlines()]
    assert "phone: auto 110 x real time ±9 % 4.20x exact 50.0 2.20x better" in lines
    assert "the same words again 0.50 s 0.50 the same" in lines
    assert "warm 20.5 ms ±2 %" in lines
    assert "Search: among 5,000 segments" in lines


# The command


def test_bench_prints_a_line_for_each_figure_and_one_for_the_machine(run: Run) -> None:
    ran = run("bench", "--quick", "--model", "tiny", "--only", "search", "--segments", "200", "--json")

    assert ran.code == 0, ran.err
    *rows, last = map(json.loads, ran.out.splitlines())
    assert {"search/200/empty", "search/200/first", "search/200/again", "search/200/warm"} <= {r["key"] for r in rows}
    assert all(row["low"] <= row["value"] <= row["high"] and row["runs"] >= 1 for row in rows)
    facts = last["bench"]
    assert (facts["model"], facts["weights"], facts["quick"]) == ("tiny", "builtin", True)
    assert facts["machine"]["cores"] >= 1 and facts["versions"]["vidfind"]


def test_ctrl_c_shows_what_was_measured_by_then(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(setup: Setup) -> Iterator[Row]:
        yield Row("encode/plain", "plain CLIP", "ms a clip", [500.0])
        raise KeyboardInterrupt

    monkeypatch.setitem(bench.MEASUREMENTS, "encode", stopped)

    ran = run("bench", "--only", "encode")

    assert ran.code == 130
    assert "plain CLIP" in ran.out and "500" in ran.out
    assert "Stopped" in ran.err


def test_bench_refuses_what_it_cannot_measure(run: Run, tmp_path: Path) -> None:
    unknown = run("bench", "--only", "decode,sleep")
    kind = run("bench", "--videos", "phone,film")
    missing = run("bench", "--compare", tmp_path / "none.json")
    tiny = run("bench", "--model", "tiny", "--recipe")
    model = run("bench", "--only", "encode", "--quick", "--model", "ViT-B-33")

    assert unknown.code == 2 and "sleep" in unknown.err
    assert kind.code == 2 and "film" in kind.err and "hevc" in kind.err
    assert missing.code == 1 and "none.json" in missing.err
    assert tiny.code == 1 and "tiny" in tiny.err
    assert model.code == 1 and "ViT-B-33" in model.err and "Traceback" not in model.err


def test_a_comparison_says_what_was_not_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"machine": {"cpu": "new"}, "versions": {}, "threads": 2, "weights": "random"}
    earlier = Earlier({"other": {}}, {**facts, "machine": {"cpu": "old"}, "threads": 1})
    display_bench.show_caveats([], earlier, facts)
    said = capsys.readouterr().err
    assert "No figure is in both runs" in said
    assert "Not the same in both runs: machine, threads." in " ".join(said.split())
