"""`kill -9` anywhere: the next run finishes, and the index equals one that was never killed.

A few kills by default, and with the marker `soak` as many as VIDFIND_KILLS says. Fixed seed: the same kills each time,
but for what the machine is at. With `-s`, tells where they struck and what was left.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.small_adapters import save_adapter
from tests.support.waiting import PATIENCE
from vidfind.categories.saved import read_classes
from vidfind.demo.collection import draw_collection
from vidfind.models.adapter_file import read_adapter
from vidfind.store.mending.health import check_index
from vidfind.store.settings import is_index
from vidfind.store.store import Store
from vidfind.tagging.saved import read_tagger

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="there is no fork"),
    pytest.mark.timeout(0),  # each child has a limit of its own
]

MANY = int(os.environ.get("VIDFIND_KILLS", "24"))
with_kills = pytest.mark.parametrize("kills", [8, pytest.param(MANY, marks=pytest.mark.soak)], ids=["few", "many"])
SEED = 4
SIDES = ("before", "after")


class Nursery:
    """The process of nursery.py."""

    def __init__(self, *adapters: Path) -> None:
        command = [sys.executable, "-m", "tests.support.nursery", *map(str, adapters)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        self._read()

    def run(self, home: Path, action: str, kill: tuple[int, str, float] | None = None, **arguments: Any) -> Any:
        assert self._process.stdin
        request = {"home": str(home), "action": action, "arguments": arguments, "kill": kill}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


@dataclass
class Scenario:
    """A run to be killed: from which home it starts, what is run, and what it leads to when nobody kills it."""

    name: str
    start: Path
    action: str
    arguments: dict[str, Any]
    goal: Path = Path()
    points: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    save_adapter(folder / "home.safetensors", seed=1)
    return folder


@pytest.fixture(scope="module")
def nursery(adapters: Path) -> Iterator[Nursery]:
    nursery = Nursery(adapters / "home.safetensors")
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def scenarios(nursery: Nursery, adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Scenario]:
    """Videos in two folders are indexed, then much of them changes; each run is killed and must come to the same."""
    base = tmp_path_factory.mktemp("kills")
    one, two = base / "films" / "one", base / "films" / "two"
    for seed, folder in enumerate((one, two)):
        draw_collection(folder, 3, seed)
    folders = [str(one), str(two)]

    empty = base / "empty"
    shutil.copytree(adapters, empty / "adapters")
    first = Scenario("first run", empty, "index", {"folders": folders, "asked": {"model": "tiny", "adapter": "none"}})
    before = base / "before"
    shutil.copytree(empty, before)
    assert nursery.run(before, "index", **first.arguments)["said"] == ""

    draw_collection(base / "new", 4, seed=7)
    (one / "clip-1.mp4").rename(two / "renamed.mp4")
    (one / "clip-2.mp4").unlink()
    shutil.copy(base / "new" / "clip-1.mp4", one / "clip-3.mp4")
    for number in (2, 3, 4):
        shutil.copy(base / "new" / f"clip-{number}.mp4", one / f"new-{number}.mp4")
    shutil.copy(base / "new" / "clip-2.mp4", two / "twin.mp4")
    (two / "broken.mp4").write_bytes(b"no video")

    scenarios = [first]
    scenarios.append(Scenario("changes", before, "index", {"folders": folders, "asked": {}}))
    scenarios.append(Scenario("another adapter", before, "index", {"folders": [], "asked": {"adapter": "home"}}))
    scenarios.append(Scenario("removal", before, "remove", {"paths": folders[:1], "folders": folders[1:]}))
    for number, scenario in enumerate(scenarios):
        scenario.goal = base / f"goal-{number}"
        shutil.copytree(scenario.start, scenario.goal)
        ran = nursery.run(scenario.goal, scenario.action, **scenario.arguments)
        assert ran["said"] == ""
        scenario.points = ran["points"]
    return scenarios


@dataclass(frozen=True)
class Strike:
    """A kill to come: of which run, at which point, and when."""

    scenario: Scenario
    point: int
    when: str
    delay: float = 0.0

    def __str__(self) -> str:
        when = f"{1000 * self.delay:.0f} ms after" if self.when == "within" else self.when
        return f"{self.scenario.name}: {when} {self.scenario.points[self.point]} ({self.point})"

    @property
    def kill(self) -> tuple[int, str, float]:
        return self.point, self.when, self.delay


def strikes(scenarios: list[Scenario]) -> Iterator[Strike]:
    """Without end, by turns: just before or just after a point, each once before any a second time; and at random."""
    rng = random.Random(SEED)
    places = [(one, point, when) for one in scenarios for point in range(1, len(one.points)) for when in SIDES]
    rng.shuffle(places)
    for place, scenario in zip(cycle(places), cycle(scenarios), strict=False):
        yield Strike(*place)
        # Most soon after a point, where the writing is; some anywhere, mostly while videos are decoded.
        span = rng.choice((2.0, 0.03, 0.005))
        point = 0 if span > 1 else rng.randrange(1, len(scenario.points))
        yield Strike(scenario, point, "within", span * rng.random())


def contents(path: Path) -> dict[Path, Any]:
    """Of each video of an index all that does not depend on when it was encoded, and its vectors."""
    store = Store.open(path)
    segments: dict[int, list[tuple[float, float, np.ndarray]]] = {}
    for numbers, spans, vectors in store.segments():
        for number, (start, end), vector in zip(numbers.tolist(), spans.tolist(), vectors, strict=True):
            segments.setdefault(number, []).append((start, end, vector))
    found = {}
    for row in store.videos().values():
        described = {**asdict(row), "content": 0, "indexed_at": None}
        found[row.path] = (described, sorted(segments.get(row.content, []), key=lambda segment: segment[0]))
    return found


def assert_equal(path: Path, goal: Path) -> None:
    ours, theirs = contents(path), contents(goal)
    assert ours.keys() == theirs.keys()
    for video, (described, segments) in ours.items():
        assert described == theirs[video][0]
        assert [segment[:2] for segment in segments] == [segment[:2] for segment in theirs[video][1]]
        for (*_, vector), (*_, expected) in zip(segments, theirs[video][1], strict=True):
            assert vector == pytest.approx(expected, abs=2e-3)
    assert Store.open(path).settings == Store.open(goal).settings


def files_after_compaction(path: Path) -> Counter[str]:
    """How many files of each kind an index has when all that can go has gone."""
    store = Store.open(path)
    with store.writing() as writer:
        writer.compact(timedelta(milliseconds=1))
    folders = (file.parent for file in path.rglob("*") if file.is_file())
    return Counter("index" if folder.parent.name == "_indices" else folder.name for folder in folders)


@with_kills
def test_the_run_after_a_kill_finishes_and_the_index_equals_one_never_killed(
    nursery: Nursery, scenarios: list[Scenario], tmp_path: Path, kills: int
) -> None:
    told: Counter[str] = Counter()
    for scenario in scenarios:
        shutil.copytree(scenario.goal, tmp_path / scenario.name)
    bounds = {one.name: files_after_compaction(tmp_path / one.name / "indexes" / "default") for one in scenarios}
    for number, strike in enumerate(strikes(scenarios)):
        scenario = strike.scenario
        home = tmp_path / f"home-{number}"
        shutil.copytree(scenario.start, home)
        path = home / "indexes" / "default"
        killed = nursery.run(home, scenario.action, strike.kill, **scenario.arguments)
        assert killed["said"] == "", strike
        assert killed["left"] == [], strike
        problems = check_index(path) if is_index(path) else []
        assert all("no video" in one.text or "no use" in one.text for one in problems), (strike, problems)

        again = nursery.run(home, scenario.action, **scenario.arguments)
        assert (again["said"], again["killed"], again["left"]) == ("", False, []), strike
        assert check_index(path) == [], strike
        assert_equal(path, scenario.goal / "indexes" / "default")
        assert files_after_compaction(path) <= bounds[scenario.name], strike
        told["killed" if killed["killed"] else "done before the kill"] += 1
        told["with vectors of no video" if problems else "with nothing to clear"] += 1
        print(strike, "->", len(problems), "problems,", len(again["points"]), "points in the next run")
        shutil.rmtree(home)
        if told["killed"] == kills:
            break
    print(dict(told))


LABELLED = {
    "tags": ("tag", "import", "tags.csv"),
    "automatic tags": ("tag", "fill", "--max-seconds", "0", "--min-confidence", "0.1"),
    "classes": ("learn", "import", "classes.csv"),
    "learned classes": ("learn", "fit", "--mode", "prototype"),
}


def said_and_learned(path: Path) -> tuple[Any, ...]:
    """What the owner says of videos, what models say, and how much of the models can be read."""
    store = Store.open(path)
    labels = sorted((one.id, one.value, one.described) for kind in ("tag", "class") for one in store.labels(kind))
    tagger, classes = read_tagger(store), read_classes(store)
    models = tagger and tagger.names, classes and classes.names
    return labels, store.marks(), store.run_of("tag"), store.run_of("class"), models


@with_kills
def test_what_is_said_and_learned_of_videos_is_all_of_before_or_all_of_after_a_kill(
    nursery: Nursery, scenarios: list[Scenario], tmp_path: Path, kills: int
) -> None:
    videos = sorted(Store.open(scenarios[0].goal / "indexes" / "default").videos())
    lists = {"tags.csv": "path,tag", "classes.csv": "task,class,path"}
    for number, video in enumerate(videos):
        lists["tags.csv"] += f"\n{video},{('dog', 'beach')[number % 2]}"
        lists["classes.csv"] += f"\npets,{('rex', 'mia')[number % 2]},{video}"
    for name, text in lists.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    start = scenarios[0].goal
    for name, words in LABELLED.items():
        goal = tmp_path / name
        shutil.copytree(start, goal)
        arguments: dict[str, Any] = {"arguments": [str(tmp_path / word) if word in lists else word for word in words]}
        ran = nursery.run(goal, "command", **arguments)
        assert ran["said"] == ""
        writing = Scenario(name, start, "command", arguments, goal, ran["points"])
        states = [said_and_learned(home / "indexes" / "default") for home in (start, goal)]
        assert states[0] != states[1]
        for strike in islice(strikes([writing]), max(2, kills // 4)):
            home = tmp_path / "home"
            shutil.copytree(start, home)
            path = home / "indexes" / "default"
            killed = nursery.run(home, "command", strike.kill, **arguments)
            assert (killed["said"], killed["left"]) == ("", []), strike
            assert said_and_learned(path) in states, strike
            assert nursery.run(home, "command", **arguments)["said"] == "", strike
            assert said_and_learned(path) == states[1], strike
            assert check_index(path) == [], strike
            models = (path / "models").glob("*")
            assert sorted(file.stem for file in models) == sorted(run for run in states[1][2:4] if run), strike
            print(strike, "->", "killed" if killed["killed"] else "done before the kill")
            shutil.rmtree(home)
        start = goal


def adapter_files(home: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (home / "adapters").iterdir()}


@with_kills
def test_an_adapter_that_was_being_saved_is_the_old_one_or_the_new(
    nursery: Nursery, adapters: Path, tmp_path: Path, kills: int
) -> None:
    start, goal = tmp_path / "start", tmp_path / "goal"
    shutil.copytree(adapters, start / "adapters")
    shutil.copytree(start, goal)
    save: dict[str, Any] = {"action": "save", "name": "home", "seed": 5}
    saving = Scenario("saving", start, "save", {}, points=nursery.run(goal, **save)["points"])
    old, new = (adapter_files(home)["home.safetensors"] for home in (start, goal))
    assert old != new
    for number, strike in enumerate(islice(strikes([saving]), max(4, kills // 5))):
        home = tmp_path / f"home-{number}"
        shutil.copytree(start, home)
        nursery.run(home, kill=strike.kill, **save)
        assert adapter_files(home)["home.safetensors"] in (old, new), strike
        assert nursery.run(home, **save)["said"] == "", strike
        assert adapter_files(home) == adapter_files(goal), strike
        print(strike)


@with_kills
def test_a_fine_tuning_that_was_killed_leaves_nothing_and_the_next_one_is_the_same(
    nursery: Nursery, tmp_path: Path, kills: int
) -> None:
    drawn = draw_collection(tmp_path / "films", 10, seed=4)
    with open(tmp_path / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "caption"), *drawn])
    options = ["--model", "tiny", "--name", "own", "--epochs", "1", "--force", "--device", "cpu"]
    train: dict[str, Any] = {
        "action": "command",
        "arguments": ["finetune", "--pairs", str(tmp_path / "captions.csv"), *options],
    }
    goal = tmp_path / "goal"
    goal.mkdir()
    began = time.monotonic()
    ran = nursery.run(goal, **train)
    points = ran["points"]
    assert ran["said"] == ""
    took = time.monotonic() - began
    wanted = read_adapter(goal / "adapters" / "own.safetensors").tensors
    saving = len(points) - 1 - points[::-1].index("save_file")
    rng = random.Random(SEED)
    for number in range(max(1, kills // 10)):
        home = tmp_path / f"home-{number}"
        home.mkdir()
        for kill in [(0, "within", took * rng.random()), (saving, "before", 0.0)]:
            killed = nursery.run(home, kill=kill, **train)
            assert killed["left"] == []
        assert not [*(home / "adapters").glob("*")]  # though all but the saving was done
        assert nursery.run(home, **train)["said"] == ""
        assert sorted(file.name for file in home.rglob("*")) == sorted(file.name for file in goal.rglob("*"))
        tensors = read_adapter(home / "adapters" / "own.safetensors").tensors
        assert tensors.keys() == wanted.keys()
        for name, tensor in tensors.items():
            assert tensor.numpy() == pytest.approx(wanted[name].numpy(), abs=1e-4), name
        print("fine-tuning:", killed["points"])
