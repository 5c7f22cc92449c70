"""`vidfind doctor` as a user meets it: what is wrong is named, what can be mended is, and it always gets to the end."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from tests.support import faulty
from tests.support.ran import Ran, Run
from tests.support.rows import embed, make_row
from tests.support.small_adapters import save_adapter
from tests.support.stored import compact, put
from vidfind.doctor import checks as doctor
from vidfind.doctor.findings import Check, Found
from vidfind.doctor.machine import wrong_with_reader
from vidfind.encoders.names import EncoderIdentity
from vidfind.errors import ModelUnavailable, Problem
from vidfind.models.adapter_file import read_info
from vidfind.models.catalog import TINY_WEIGHTS
from vidfind.models.default_adapters import default_adapters, set_default_adapter
from vidfind.models.hub import hub_files, list_models
from vidfind.models.load import joint_digest, weights_digest
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.system.paths import adapter_path, index_path

CHECKS = [
    "vidfind",
    "Packages",
    "Device",
    "Decoders",
    "Hardware",
    "Player",
    "Data",
    "Adapters",
    "Defaults",
    "Pictures",
    "Int8",
    "Models",
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache of the test's own, which is not made yet, and no player but the system's."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("VIDFIND_PLAYER", raising=False)
    return tmp_path / "hub"


@pytest.fixture
def index(run: Run) -> Store:
    """An index of one video, made with the tiny model as it is here."""
    return make_index("default", weights_digest=weights_digest("tiny", TINY_WEIGHTS))


def make_index(name: str, adapter: Path | None = None, **changes: Any) -> Store:
    values = {"model": "tiny", "pretrained": "builtin", "weights_digest": "", "encoder": "tempme", "num_frames": 12}
    settings = IndexSettings(EncoderIdentity(**{**values, "adapter": adapter and adapter.stem, **changes}))
    store = Store.create(index_path(name), settings, 16, adapter)
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    return store


def content_of(folder: Path) -> dict[str, int]:
    """Every file and folder under `folder`, with when it was last changed."""
    return {str(path): path.lstat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def findings(ran: Ran) -> dict[str, dict[str, Any]]:
    """What `--json` says, by the name of the check."""
    *lines, summary = [json.loads(line) for line in ran.out.splitlines()]
    problems = sum(len(line["problems"]) for line in lines)
    assert summary == {"summary": {"problems": problems, "mended": sum(len(line["mended"]) for line in lines)}}
    assert ran.code == (1 if problems else 0)
    return {f"{line['check']} {line['subject']}".strip(): line for line in lines}


def problems(ran: Ran) -> dict[str, list[str]]:
    return {
        check: [problem["text"] for problem in line["problems"]]
        for check, line in findings(ran).items()
        if line["problems"]
    }


def put_in_cache(cache: Path, content: bytes, digest: str = "") -> Path:
    """The default model's weights as a download leaves them there, named by a digest, by default their own."""
    folder = cache / f"models--{hub_files('laion/CLIP-ViT-B-32-laion2B-s34B-b79K')[0].replace('/', '--')}"
    blob = folder / "blobs" / (digest or hashlib.sha256(content).hexdigest())
    link = folder / "snapshots" / ("0" * 40) / "open_clip_model.safetensors"
    for path in (blob, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True)
    blob.write_bytes(content)
    link.symlink_to(os.path.relpath(blob, link.parent))
    (folder / "refs" / "main").write_text("0" * 40)
    return link


def test_all_is_well_and_told_before_anything_is_made_and_nothing_is_changed(run: Run, tmp_path: Path) -> None:
    ran = run("doctor")
    assert (ran.code, ran.err) == (0, "No problem found.\n")
    assert [line.split()[0] for line in ran.out.splitlines()] == CHECKS
    for told in (
        "torch 2.",
        "decord2 3.",
        "lancedb ",
        "PyAV reads, decord reads",
        "CPU cores",
        "GB free",
    ):
        assert told in ran.out
    assert ("ray 2." in ran.out) == (find_spec("ray") is not None)  # of an extra
    assert list(tmp_path.iterdir()) == []


def test_a_healthy_index_and_adapter_are_told_and_nothing_is_changed(run: Run, index: Store, tmp_path: Path) -> None:
    save_adapter(adapter_path("home"))
    digest = joint_digest(weights_digest("tiny", TINY_WEIGHTS), read_info(adapter_path("home")).video_digest)
    make_index("adapted", adapter_path("home"), weights_digest=digest)
    set_default_adapter("home")
    before = content_of(tmp_path)
    found = findings(run("doctor", "--json"))
    assert list(found) == [*CHECKS[:7], "Index adapted", "Index default", *CHECKS[7:], "Model tiny / builtin"]
    assert found["Index default"]["facts"] == "1 video, 2 segments, tiny / builtin, tempme"
    assert found["Index adapted"]["facts"].endswith("adapter home")
    assert (found["Adapters"]["facts"], found["Defaults"]["facts"]) == ("home", "home for tiny / builtin")
    assert content_of(tmp_path) == before


def test_videos_that_could_not_be_read_are_counted_and_no_problem_of_the_index(run: Run, index: Store) -> None:
    put(index, [make_row("/videos/bad.mp4", 0, failed="is empty", content=0)], [])
    ran = run("doctor", "--index", "default", "--json")
    assert findings(ran)["Index default"]["facts"] == "1 video, 2 segments, tiny / builtin, tempme, 1 could not be read"
    assert ran.code == 0


def test_one_index_alone_can_be_looked_at(run: Run, index: Store) -> None:
    make_index("other")
    assert problems(run("doctor", "--json")).keys() == {"Index other"}
    found = findings(run("doctor", "--index", "default", "--json"))
    assert [name for name in found if name.startswith("Index")] == ["Index default"]
    said = problems(run("doctor", "--index", "nothing", "--json"))["Index nothing"]
    assert "There is no index 'nothing' yet (there is: default, other)" in said[0]


def test_a_damaged_index_is_mended(run: Run, index: Store) -> None:
    for file in (index.path / "videos.lance" / "data").iterdir():
        file.unlink()
    ran = run("doctor")
    assert ran.code == 1 and "cannot be read in full" in ran.out and "vidfind doctor --fix" in ran.err
    fixed = findings(run("doctor", "--fix", "--json"))["Index default"]
    assert fixed["problems"] == [] and fixed["mended"] != []
    assert run("doctor").code == 0


def test_an_index_made_with_other_weights_is_told(run: Run, index: Store, tmp_path: Path) -> None:
    weights = Path(shutil.copyfile(TINY_WEIGHTS, tmp_path / "mine.safetensors"))
    own: dict[str, Any] = {
        "model": "ViT-B-32",
        "pretrained": str(weights),
        "weights_digest": weights_digest("ViT-B-32", weights),
    }
    make_index("own", **own)
    assert problems(run("doctor", "--json")) == {}
    weights.write_bytes(save({"weight": torch.zeros(3)}))
    said = "it was made with other weights or another adapter than"
    assert problems(run("doctor", "--json")) == {"Index own": [f"{said} {weights} is now"]}
    os.truncate(weights, 50)
    [said] = problems(run("doctor", "--json"))[f"Model ViT-B-32 / {weights}"]
    assert said.startswith(f"{weights} is cut short or damaged")
    weights.unlink()
    assert problems(run("doctor", "--json")) == {
        f"Model ViT-B-32 / {weights}": [f"There is no checkpoint file {weights}"]
    }


def test_a_folder_that_is_no_index_is_told(run: Run, index: Store) -> None:
    (index_path("odd") / "videos.lance").mkdir(parents=True)
    [said] = problems(run("doctor", "--json", "--fix"))["Index odd"]
    assert said == f"{index_path('odd')} holds no settings.json, so it is no index"


def test_broken_adapters_are_told_and_never_deleted(run: Run) -> None:
    for name in ("good", "short", "zeroed"):
        save_adapter(adapter_path(name))
    os.truncate(adapter_path("short"), 100)
    content = adapter_path("zeroed").read_bytes()
    adapter_path("zeroed").write_bytes(content[:-1000] + bytes(1000))
    for words in (["doctor", "--json"], ["doctor", "--json", "--fix"]):
        short, zeroed = problems(run(*words))["Adapters"]
        assert short.startswith(f"{adapter_path('short')} cannot be read as an adapter: ")
        assert zeroed.startswith(f"{adapter_path('zeroed')} cannot be read as an adapter: its numbers are not those")
        assert "vidfind doctor" not in short + zeroed
    assert [path.stem for path in sorted(adapter_path("x").parent.glob("*"))] == ["good", "short", "zeroed"]


def test_defaults_that_lead_nowhere_are_forgotten_and_others_kept(run: Run) -> None:
    save_adapter(adapter_path("home"))
    set_default_adapter("home")
    defaults = adapter_path("home").with_name("default.json")
    lost = {"tiny / mine": "gone", "ViT-B-32 / openai": "home", "ViT-L-14 / openai": "no name"}
    defaults.write_text(json.dumps({**default_adapters(), **lost}))
    assert len(problems(run("doctor", "--json"))["Defaults"]) == 3
    fixed = findings(run("doctor", "--json", "--fix"))["Defaults"]
    assert (len(fixed["mended"]), fixed["facts"]) == (3, "home for tiny / builtin")
    assert default_adapters() == {"tiny / builtin": "home"}

    adapter_path("home").write_bytes(b"")  # may be brought back
    assert problems(run("doctor", "--json", "--fix")).keys() == {"Adapters"}
    assert default_adapters() == {"tiny / builtin": "home"}
    for content in ("{", "[1]", "[" * 100_000):
        defaults.write_text(content)
        assert "default.json cannot be read" in problems(run("doctor", "--json"))["Defaults"][0]
        assert findings(run("doctor", "--json", "--fix"))["Defaults"]["problems"] == []
        assert not defaults.exists()


def test_a_broken_download_is_removed(run: Run, cache: Path) -> None:
    whole = TINY_WEIGHTS.read_bytes()
    link = put_in_cache(cache, whole)
    assert list_models()[0].path == link
    assert "8 MB" in findings(run("doctor", "--json"))["Model ViT-B-32 / laion2b_s34b_b79k"]["facts"]
    shutil.rmtree(cache)
    put_in_cache(cache, whole[:-4] + b"\xff\xff\xff\xff", hashlib.sha256(whole).hexdigest())
    assert (
        f"{link} is damaged (its SHA-256 is"
        in problems(run("doctor", "--json"))["Model ViT-B-32 / laion2b_s34b_b79k"][0]
    )
    fixed = findings(run("doctor", "--json", "--fix"))["Model ViT-B-32 / laion2b_s34b_b79k"]
    assert fixed["mended"] == [f"Removed {link}."]
    assert [path.name for path in cache.rglob("*") if not path.is_dir()] == ["main"]
    assert run("doctor").code == 0


def test_what_is_left_of_downloads_that_broke_off_is_deleted_and_others_are_not(run: Run, cache: Path) -> None:
    blobs = put_in_cache(cache, TINY_WEIGHTS.read_bytes()).parents[2] / "blobs"
    foreign = cache / "models--somebody--else" / "blobs"
    foreign.mkdir(parents=True)
    stale, going_on, theirs = blobs / "a.1.incomplete", blobs / "a.2.incomplete", foreign / "b.incomplete"
    for file in (stale, going_on, theirs):
        file.write_bytes(bytes(1000))
    for file in (stale, theirs):
        os.utime(file, (time.time() - 4000,) * 2)
    assert problems(run("doctor", "--json")) == {"Models": [f"{stale} is 1 kB of a download that broke off"]}
    assert findings(run("doctor", "--json", "--fix"))["Models"]["mended"] == [f"Deleted {stale}."]
    assert [file.exists() for file in (stale, going_on, theirs)] == [False, True, True]


@pytest.mark.parametrize("content", [b"", b"\xff\0", b"main"])
def test_a_cache_that_lost_its_bearings_is_mended(run: Run, cache: Path, content: bytes) -> None:
    ref = put_in_cache(cache, TINY_WEIGHTS.read_bytes()).parents[2] / "refs" / "main"
    ref.write_bytes(content)
    assert list_models()[0].path is None
    assert problems(run("doctor", "--json"))["Models"] == [f"{ref} does not say which version of the model is there"]
    assert run("doctor", "--fix").code == 0
    assert not ref.exists()


def test_weights_that_are_cut_short_are_not_here(cache: Path) -> None:
    os.truncate(put_in_cache(cache, TINY_WEIGHTS.read_bytes()), 1000)
    assert list_models()[0].path is None


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "emptied": lambda file: os.truncate(file, 0),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "random": lambda file: file.write_bytes(random.Random(0).randbytes(file.stat().st_size)),
    "deleted": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_whatever_file_is_damaged_the_doctor_gets_to_the_end_and_the_index_works_again(
    run: Run, tmp_path: Path, cache: Path, damage: Callable[[Path], object]
) -> None:
    save_adapter(adapter_path("home"))
    digest = joint_digest(weights_digest("tiny", TINY_WEIGHTS), read_info(adapter_path("home")).video_digest)
    make_index("default", adapter_path("home"), weights_digest=digest)
    set_default_adapter("home")
    put_in_cache(cache, TINY_WEIGHTS.read_bytes())
    whole = Path(shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-whole"), symlinks=True))
    files = [file.relative_to(whole) for file in whole.rglob("*") if file.is_file() and not file.is_symlink()]
    mended = 0
    for file in random.Random(0).sample(sorted(files), 6):
        shutil.rmtree(tmp_path)
        shutil.copytree(whole, tmp_path, symlinks=True)
        damage(tmp_path / file)
        quick = [check for check in doctor.all_checks() if check.name not in ("Device", "Decoders", "Hardware")]
        texts = [problem.text for check in quick for problem in doctor.examine(check, fix=True).problems]
        assert not [text for text in texts if "could not be" in text], file
        if not any("settings.json" in text or "made with is not known" in text for text in texts):
            store = Store.open(index_path("default"))
            row = make_row("/videos/new.mp4")
            put(store, [row], [embed(row)])
            compact(store)
            assert row.path in store.videos(), file
            mended += 1
    assert mended > 1


@pytest.mark.parametrize("fault", ["segfault", "abort", "deceive"])
def test_a_decoder_that_crashes_is_told_and_does_not_end_the_doctor(fault: str) -> None:
    trouble = wrong_with_reader(functools.partial(faulty.read_badly, fault), "clip.mp4")
    assert trouble.startswith("cannot read a clip that was just made: ")


def test_a_player_that_is_not_there_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDFIND_PLAYER", "no-such-player {path}")
    assert problems(run("doctor", "--json")) == {"Player": ["there is no program no-such-player"]}
    monkeypatch.setenv("VIDFIND_PLAYER", "'")
    assert "VIDFIND_PLAYER is not a command line" in problems(run("doctor", "--json"))["Player"][0]


def test_a_check_that_fails_is_a_problem_whatever_the_reason() -> None:
    def fail() -> Found:
        raise reasons.pop(0)

    for reason, said in {
        ModelUnavailable("No model."): "No model.",
        PermissionError(13, "Permission denied", "/x"): "/x: Permission denied",
        KeyError("x"): "KeyError: 'x'",
    }.items():
        reasons: list[Exception] = [reason]
        finding = doctor.examine(Check("odd", fail))
        assert [problem.text for problem in finding.problems] == [f"could not be looked at: {said}"]


def test_mending_that_fails_is_a_problem_too() -> None:
    def fail() -> str:
        raise OSError(28, "No space left on device", "/x")

    check = Check("odd", lambda: Found("facts", [Problem("wrong", "it is mended", fail)]))
    texts = [problem.text for problem in doctor.examine(check, fix=True).problems]
    assert texts == ["wrong", "could not be mended: /x: No space left on device"]
    assert len(doctor.examine(check).problems) == 1


def test_files_in_the_place_of_folders_are_told(run: Run, tmp_path: Path) -> None:
    for name in ("indexes", "adapters"):
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / name).write_text("no folder")
    indexes, adapters = problems(run("doctor", "--json", "--fix"))["Data"]
    assert indexes == f"{tmp_path / 'home' / 'indexes'}: Not a directory" and adapters.endswith("Not a directory")


def test_the_users_own_folder_is_not_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save_adapter(adapter_path("x"))
    adapter_path("x").write_bytes(b"")
    out = run("doctor").out
    assert str(tmp_path) not in out
    assert str(Path("~", "home", "adapters", "x.safetensors")) in out
