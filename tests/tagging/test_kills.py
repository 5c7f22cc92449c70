"""`kill -9` while tags are written: the index has the tags of before or those of after."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.rows import embed, make_row
from tests.support.stored import put
from vidfind.store.labelled.marks import Mark
from vidfind.store.mending.health import check_index
from vidfind.store.store import Store

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a killed process keeps its files open there")

VIDEOS = 200
WRITER = """
import sys
from pathlib import Path
from vidfind.store.labelled.marks import Mark
from vidfind.store.store import Store
from vidfind.tagging.edit import add_labels, rows_by_file, tag_label
store = Store.open(Path(sys.argv[1]))
rows = rows_by_file(store).values()
print("ready", flush=True)
for turn in range(10**6):
    name = f"tag {turn}"
    add_labels(store, [tag_label(row, "dog", turn % 2 * 2 - 1) for row in rows])
    with store.writing() as writer:
        writer.replace_marks("tag", name, [name], [Mark(row.content, 0.0, 10.0, {name: 1.0}) for row in rows])
"""


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.soak)], ids=["few", "many"])
def test_a_kill_leaves_the_old_tags_or_the_new_ones(store: Store, kills: int) -> None:
    rows = [make_row(f"/videos/{number}.mp4", 1) for number in range(VIDEOS)]
    put(store, rows, [embed(row) for row in rows])
    with store.writing() as writer:
        writer.replace_marks("tag", "tag", ["tag"], [Mark(row.content, 0.0, 10.0, {"tag": 1.0}) for row in rows])
    chance = random.Random(kills)
    root = Path(__file__).parents[2]
    for _ in range(kills):
        command = [sys.executable, "-c", WRITER, str(store.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(chance.random() / 4)
            process.kill()
        now = Store.open(store.path)
        values = [label.value for label in now.labels("tag")]
        assert len(values) in (0, VIDEOS)
        assert len(set(values)) <= 1
        names = [[*mark.tags] for mark in now.marks()]
        assert names == [[now.run_of("tag")]] * VIDEOS
        assert now.mark_names("tags") == {now.run_of("tag")}
        assert check_index(store.path) == []
