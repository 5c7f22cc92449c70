"""A process that has everything imported and the tiny model loaded, and forks a child for each thing to be killed.

Starting Python with torch takes seconds, a fork milliseconds. Run by test_kills.py, POSIX only. Reads a request a line
on stdin, answers with a line of JSON on stdout:

    {"home": "...", "action": "index", "arguments": {...}, "kill": null | [point, when, delay]}
    {"points": ["add", ...], "killed": true, "said": "", "left": []}

Points are the start, number 0, and where something is written for good. A child is killed just `before` or `after` one,
or `within` it, `delay` seconds after it began. `said` is what went wrong; `left` are processes that outlived the child.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from vidfind.encoders.names import EncoderChoice

PATIENCE = 150  # seconds for a child
PATIENCE_AT_END = 15.0  # for what it has started
VIDEOS_A_COMMIT = 2  # so that a handful of videos makes several commits
LARGE = 2  # segments: so that they get an approximate index too

loaded: dict[bytes | None, Any] = {}


def main() -> None:
    import lancedb  # noqa: F401, seconds that no child has to spend
    import torch

    import vidfind.categories.fitting
    import vidfind.cli.app
    import vidfind.tagging.fill
    import vidfind.training.finetune  # noqa: F401
    from tests.support import small_adapters

    warnings.filterwarnings("ignore", "lancedb fork support")  # it may hang what forks in the middle of its work
    torch.set_num_threads(1)
    small_adapters.untrained()
    for adapter in [None, *map(Path, sys.argv[1:])]:
        load(EncoderChoice("tiny", adapter=adapter))
    answer({"ready": True})
    for line in sys.stdin:
        answer(try_in_child(**json.loads(line)))


def answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


def load(choice: EncoderChoice) -> Any:
    from vidfind.models.load import load_encoder

    adapter = choice.wanted_adapter
    content = Path(adapter).read_bytes() if adapter else None
    if content not in loaded:
        loaded[content] = load_encoder("tiny", adapter=adapter, device="cpu")
    return loaded[content]


def try_in_child(home: str, action: str, arguments: dict[str, Any], kill: list[Any] | None) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        run_child(Path(home), action, arguments, kill, writing)
    os.close(writing)
    points, said = [], ""
    with open(reading, encoding="utf-8") as lines:
        for line in lines:
            kind, _, text = line.rstrip("\n").partition(" ")
            if kind == "said":
                said = text
                continue
            points.append(text)
            if kill and kill[1] == "within" and len(points) == kill[0] + 1:
                time.sleep(kill[2])
                os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if ended_by == signal.SIGALRM:
        said = "it hung"
    return {"points": points, "killed": ended_by == signal.SIGKILL, "said": said, "left": processes_left(child)}


def processes_left(session: int) -> list[str]:
    """What of a child's session is alive after PATIENCE_AT_END."""
    import psutil

    def alive() -> Iterator[str]:
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                    yield " ".join(process.cmdline())

    ends = time.monotonic() + PATIENCE_AT_END
    while (left := list(alive())) and time.monotonic() < ends:
        time.sleep(0.05)
    return left


# In the child


def run_child(home: Path, action: str, arguments: dict[str, Any], kill: list[Any] | None, writing: int) -> NoReturn:
    os.setsid()  # what it starts is known by its session
    signal.alarm(PATIENCE)
    os.environ["VIDFIND_HOME"] = str(home)
    os.environ["TMPDIR"] = str(home)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        watch_points(kill, writing)
        ACTIONS[action](home, **arguments)
    except BaseException as error:
        if not isinstance(error, SystemExit) or error.code:
            os.write(writing, f"said {type(error).__name__}: {error}\n".replace("\n", " ").encode() + b"\n")
    os._exit(0)


def watch_points(kill: list[Any] | None, writing: int) -> None:
    """Tells of each point, and ends this process at that where it is to be killed."""
    import shutil

    import lancedb.db
    import lancedb.merge
    import lancedb.table
    import safetensors.torch

    numbers = count(1)
    os.write(writing, b"point start\n")

    def watch(owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def watched(*arguments: Any, **options: Any) -> Any:
            number = next(numbers)
            os.write(writing, f"point {name}\n".encode())
            if kill and kill[:2] == [number, "before"]:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*arguments, **options)
            if kill and kill[:2] == [number, "after"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, watched)

    for name in ("add", "delete", "optimize", "add_columns", "create_index", "drop_index"):
        watch(lancedb.table.LanceTable, name)
    watch(lancedb.merge.LanceMergeInsertBuilder, "execute")
    watch(lancedb.db.LanceDBConnection, "create_table")
    for name in ("replace", "unlink", "write_text"):
        watch(Path, name)
    watch(shutil, "rmtree")
    watch(shutil, "copyfile")
    watch(safetensors.torch, "save_file")


def index(home: Path, folders: list[str], asked: dict[str, Any]) -> None:
    """`vidfind index`, with an encoder that is loaded already."""
    from vidfind.index import run as pipeline
    from vidfind.index import writer
    from vidfind.index.options import IndexOptions
    from vidfind.index.prepare import open_store
    from vidfind.store import nearest

    writer.VIDEOS_A_COMMIT = VIDEOS_A_COMMIT
    nearest.INDEXED_ROWS = LARGE
    store, encoder = open_store(home / "indexes" / "default", load, EncoderChoice(**asked))
    running = pipeline.index_videos([Path(folder) for folder in folders], store, encoder, IndexOptions(workers=1))
    with closing(running) as events:
        for _ in events:
            pass


def remove(home: Path, paths: list[str], folders: list[str]) -> None:
    """`vidfind remove`, then `vidfind index` of what stays."""
    from vidfind.errors import BadInput
    from vidfind.store.edit import remove_videos
    from vidfind.store.store import Store

    with suppress(BadInput):  # they are forgotten already
        remove_videos([Path(path) for path in paths], Store.open(home / "indexes" / "default"))
    index(home, folders, {})


def save(home: Path, name: str, seed: int) -> None:
    """What `vidfind finetune` does when it has trained."""
    from tests.support.small_adapters import save_adapter
    from vidfind.models.default_adapters import set_default_adapter

    save_adapter(home / "adapters" / f"{name}.safetensors", seed=seed)
    set_default_adapter(name)


def command(home: Path, arguments: list[str]) -> None:
    """The program itself."""
    from vidfind.cli.app import main

    sys.argv = ["vidfind", *arguments]
    main()


ACTIONS: dict[str, Callable[..., None]] = {"index": index, "remove": remove, "save": save, "command": command}


if __name__ == "__main__":
    main()
