"""`vidfind adapters` and `vidfind index --adapter` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.small_adapters import save_adapter
from vidfind.demo.collection import draw_collection
from vidfind.models.default_adapters import set_default_adapter
from vidfind.system.paths import adapter_path

METRICS = {
    when: {
        direction: {"r1": r1, "r5": 70.0, "r10": 90.0, "median": 2.0, "mean": 4.5, "count": 20} for direction in names
    }
    for when, r1, names in [
        ("before", 20.0, ("text_to_video", "video_to_text")),
        ("after", 45.0, ("text_to_video", "video_to_text")),
    ]
} | {"pairs": 20}


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two drawn videos, which nobody may change."""
    folder = tmp_path_factory.mktemp("films")
    list(draw_collection(folder, 2))
    return folder


@pytest.fixture
def saved(run: Run) -> None:
    """Two adapters: `home`, trained on 200 captions, and `words`, of queries alone."""
    save_adapter(adapter_path("home"), num_pairs=200, metrics=METRICS)
    save_adapter(adapter_path("words"), "text")


def test_without_adapters_the_list_says_how_they_are_made(run: Run) -> None:
    ran = run("adapters")
    assert (ran.code, ran.out) == (0, "")
    assert "vidfind finetune" in ran.err


def test_the_list_tells_what_each_adapter_is(run: Run, saved: None) -> None:
    set_default_adapter("home")
    adapter_path("broken").write_bytes(b"broken")
    ran = run("adapters")
    assert ran.code == 0
    header, broken, home, words = ran.out.splitlines()
    assert header.split("\t") == [
        "Adapter",
        "Model",
        "Encoder",
        "Changes",
        "First hit right",
        "Made",
        "Size",
        "New indexes",
    ]
    assert broken.startswith("broken\tcannot be read")
    assert home.split()[:7] == ["home", "tiny", "/", "builtin", "tempme", "words,", "pictures"]
    assert home.split()[7:14] == ["20", "%", "→", "45", "%", "(of", "20)"]
    assert (home.split()[14], home.split()[-2:]) == ("2026-02-03", ["use", "it"])
    assert words.split()[5] == "words"
    assert str(adapter_path("broken")) in ran.err
    listed = [json.loads(line) for line in run("adapters", "--json").out.splitlines()]
    assert [(adapter["name"], adapter["default"], bool(adapter["problem"])) for adapter in listed] == [
        ("broken", False, True),
        ("home", True, False),
        ("words", False, False),
    ]


def test_show_tells_all_of_an_adapter_and_which_indexes_use_it(run: Run, saved: None, films: Path) -> None:
    run("index", films, "--adapter", "home", "--index", "rex")
    ran = run("adapters", "show", "home")
    assert (ran.code, ran.err) == (0, "")
    facts = {line[:10].strip(): line[10:].strip() for line in ran.out.splitlines()}
    assert facts["Model"] == "tiny / builtin"
    assert facts["Captions"] == "200 pairs"
    assert facts["Trained"] == "LoRA on video and text, rank 4"
    assert facts["Indexes"] == "rex"
    assert [line.split()[-5:] for line in ran.out.splitlines() if line.startswith("Text to video")] == [
        ["20.0", "70.0", "90.0", "2.0", "4.5"],
        ["45.0", "70.0", "90.0", "2.0", "4.5"],
    ]
    [shown] = [json.loads(line) for line in run("adapters", "show", "home", "--json").out.splitlines()]
    assert (shown["indexes"], shown["metrics"], shown["rank"]) == (["rex"], METRICS, 4)


@pytest.mark.parametrize("command", ["show", "remove", "export"])
def test_a_name_that_is_not_there_is_an_error_with_those_that_are(
    run: Run, saved: None, command: str, tmp_path: Path
) -> None:
    ran = run("adapters", command, "hme", *([tmp_path] if command == "export" else []))
    assert (ran.code, ran.out, ran.err) == (1, "", "Error: There is no adapter 'hme' (there is: home, words).\n")


@pytest.mark.parametrize("spoil", [b"", b"<html>", None], ids=["empty", "web page", "zeroed numbers"])
def test_a_broken_adapter_is_one_line_in_every_command(
    run: Run, saved: None, films: Path, clips: Path, tmp_path: Path, spoil: bytes | None
) -> None:
    assert run("index", films, "--model", "tiny", "--adapter", "home").code == 0
    (own,) = (tmp_path / "home" / "indexes" / "default").glob("adapter-*.safetensors")
    for path in (adapter_path("home"), own):
        content = path.read_bytes()
        path.write_bytes(content[:-1000] + bytes(1000) if spoil is None else spoil)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "path,caption\n" + "".join(f"{path},words {i}\n" for path in clips.glob("h264*.mp4") for i in (1, 2))
    )
    learn = ("finetune", "--pairs", pairs, "--adapter", "home", "--name", "more", "--no-use")
    for words, code in {
        ("search", "a circle"): 1,
        ("index", films, "--adapter", "home", "--force"): 1,
        ("index", films, "--model", "tiny", "--adapter", "home", "--index", "second"): 1,
        ("eval", "--pairs", pairs): 1,
        ("eval", "--pairs", pairs, "--adapter", "home"): 1,
        learn: 1,
        ("adapters",): 0,
        ("adapters", "--json"): 0,
        ("adapters", "show", "home"): 0,
        ("status",): 0,
    }.items():
        ran = run(*words)
        assert ran.code == code, (words, ran)
        assert code == 0 or "cannot be read as an adapter" in ran.err.splitlines()[-1], (words, ran)
    assert run("search", "a circle").err.count("\n") == 1


def test_adapters_are_removed_only_when_confirmed(run: Run, saved: None, films: Path) -> None:
    run("index", films, "--adapter", "words")
    ran = run("adapters", "remove", "home", "words")
    assert ran.code == 1
    assert "add --yes" in ran.err
    ran = run("adapters", "remove", "home", "words", "--yes")
    assert ran.code == 0
    assert ran.err.splitlines() == [
        "Deleted the adapter 'home'.",
        "Deleted the adapter 'words'. A copy stays in what was made with it: index default.",
    ]
    assert run("search", "circle", "--paths").code == 0


def test_the_default_adapter_is_set_and_cleared_without_training(run: Run, saved: None) -> None:
    ran = run("adapters", "default", "words")
    assert ran.code == 0 and "New indexes of tiny / builtin use words." in ran.err
    assert run("adapters", "default").out == "New indexes of tiny / builtin use words.\n"
    assert run("adapters", "default", "none").out == run("adapters", "default").out == "New indexes use no adapter.\n"
    assert "There is no adapter 'wrds' (there is: home, words)" in run("adapters", "default", "wrds").err


def test_a_folder_to_export_to_is_made(run: Run, saved: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for target in ("exp/", "deep/er/", "plain", "own/mine.safetensors"):
        assert run("adapters", "export", "words", target).code == 0
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.safetensors")}
    copies = {"exp/words.safetensors", "deep/er/words.safetensors", "plain/words.safetensors", "own/mine.safetensors"}
    assert {Path(name).as_posix() for name in made} >= copies
    assert "is there already. To replace it, add --force" in run("adapters", "export", "words", "exp").err
    (tmp_path / "file").touch()
    ran = run("adapters", "export", "words", "file/words.safetensors")
    assert ran.code == 1 and "file is a file, not a folder." in ran.err
    ran = run("adapters", "export", "words", f"{'long' * 99}.safetensors")
    assert ran.code == 1 and "File name too long" in ran.err


def test_what_is_no_adapter_is_not_called_a_checkpoint(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pic.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    ran = run("adapters", "import", tmp_path / "pic.png")
    assert ran.code == 1
    assert "pic.png is not an exported adapter, nor a checkpoint of the public TempMe code." in ran.err


def test_an_adapter_travels_in_a_file(run: Run, saved: None, tmp_path: Path) -> None:
    ran = run("adapters", "export", "home", tmp_path)
    assert (ran.code, ran.err) == (0, f"Wrote {tmp_path / 'home.safetensors'}\n")
    ran = run("adapters", "import", tmp_path / "home.safetensors")
    assert ran.code == 1
    assert "already is an adapter 'home'" in ran.err
    ran = run("adapters", "import", tmp_path / "home.safetensors", "--name", "garden")
    assert (ran.code, ran.out) == (0, "")
    assert "vidfind index FOLDER --adapter garden" in ran.err
    assert run("adapters", "show", "garden").code == 0


# index --adapter


def test_an_index_is_encoded_again_after_its_cost_is_told(run: Run, saved: None, films: Path) -> None:
    run("index", films, "--model", "tiny")
    ran = run("index", films, "--adapter", "home")
    assert ran.code == 0
    assert ran.out.startswith("2 changed: ")
    cost, switched = ran.err.splitlines()
    assert cost.startswith("Encoding 2 videos (")
    assert cost.endswith(" here) again with the adapter home; the old vectors answer until it is done.")
    assert switched == "Searches of the index 'default' use the new vectors now, made with the adapter home."
    assert "tempme, adapter home, 12 frames" in run("status").out
    ran = run("index", "--adapter", "home")
    assert (ran.code, ran.out, ran.err) == (0, "", "Nothing has to be encoded again.\n")


def test_an_index_that_cannot_be_completed_is_told_in_full_and_ends_with_3(
    run: Run, saved: None, films: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "drive"
    list(draw_collection(folder, 1, 5))
    run("index", films, folder, "--model", "tiny", "--index", "rex")
    folder.rename(tmp_path / "unplugged")
    ran = run("index", "--adapter", "home", "--index", "rex")
    assert ran.code == 3
    assert ran.err.splitlines()[1:] == [
        f"{folder} is not there now: its 1 video could not be encoded again.",
        "So searches go on with the old vectors. Connect what is missing, or forget it with `vidfind remove FOLDER`, "
        "then: vidfind index --adapter home --index rex",
    ]
    shown = run("status", "--index", "rex").out
    assert "2 videos encoded again with the adapter home; to go on: vidfind index --adapter home --index rex" in shown
    assert run("search", "circle", "--index", "rex", "--paths").out.count("\n") == 3


def test_a_new_index_with_an_adapter_takes_its_model(run: Run, saved: None, films: Path) -> None:
    run("index", films, "--adapter", "home")
    assert "Model     tiny / builtin" in run("status").out


def test_the_default_adapter_is_used_and_told(run: Run, saved: None, films: Path) -> None:
    set_default_adapter("home")
    ran = run("index", films, "--model", "tiny")
    assert ran.err == "Using the adapter home, the default for this model; --adapter none does without.\n"
    ran = run("index", films, "--model", "tiny", "--adapter", "none", "--index", "plain")
    assert ran.err == ""
    assert "tempme, 12 frames" in run("status", "--index", "plain").out


def test_without_folders_there_must_be_an_index_and_an_adapter(run: Run, saved: None) -> None:
    assert run("index").code == 2
    ran = run("index", "--adapter", "home")
    assert (ran.code, ran.out) == (1, "")
    assert "There is no index 'default' yet" in ran.err
    ran = run("index", "/", "--adapter", "../x")
    assert (ran.code, "cannot name an adapter" in ran.err) == (1, True)
