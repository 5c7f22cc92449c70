"""An index of a model with an image tower of timm: killed while it is made, the next run finishes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from safetensors.torch import save_file

from tests.support.ran import Run
from vidfind.demo.collection import draw_collection
from vidfind.models.clip import random_clip
from vidfind.store.store import Store

MODEL = "PE-Core-T-16-384"
CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "custom_text": True,
    "vision_cfg": {
        "timm_model_name": "eva02_tiny_patch14_224",
        "timm_pool": "avg",
        "timm_proj": None,
        "image_size": 224,
    },
    "text_cfg": {"context_length": 32, "width": 32, "heads": 2, "layers": 1},
}
PROGRAM = f"""
import open_clip
open_clip.factory._MODEL_CONFIGS[{MODEL!r}] = {CONFIG!r}
from vidfind.cli.app import main
main()
"""


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="processes are killed otherwise there")
def test_an_index_of_a_timm_tower_that_was_killed_is_finished_by_the_next_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, MODEL, CONFIG)
    films, weights = tmp_path / "films", tmp_path / "weights.safetensors"
    list(draw_collection(films, 6))
    save_file(random_clip(MODEL).state_dict(), weights)
    choice = ("--model", MODEL, "--pretrained", weights, "--device", "cpu", "--dtype", "float32")
    command = [sys.executable, "-c", PROGRAM, "index", films, *choice, "--json"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    while '"new"' not in (line := process.stdout.readline()):
        assert line
    process.kill()
    process.communicate()
    assert run("index", films, *choice).code == 0
    assert run("index", films, *choice, "--index", "clean").code == 0
    killed, clean = (vectors(tmp_path / "home" / "indexes" / name) for name in ("default", "clean"))
    assert len(clean) == 6 and killed.keys() == clean.keys()
    for name, vector in clean.items():
        np.testing.assert_allclose(killed[name], vector, atol=2e-3)


def vectors(index: Path) -> dict[str, np.ndarray]:
    """The vector of each video of an index, by its name."""
    store = Store.open(index)
    names = {row.content: path.name for path, row in store.videos().items()}
    return {
        names[content]: row
        for contents, _, rows in store.segments()
        for content, row in zip(contents.tolist(), rows, strict=True)
    }
