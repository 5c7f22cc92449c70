"""Indexing into an index by its name: the public way to index from Python.

Opens the index and its encoder for each run of the pipelines in run.py and watch.py; adds nothing else.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.encoders.names import EncoderChoice
from vidfind.folders.walk import survey_folders
from vidfind.index import run, watch
from vidfind.index.events import Event
from vidfind.index.options import DEFAULT_OPTIONS, IndexOptions
from vidfind.index.prepare import open_to_index
from vidfind.models.load import load_choice
from vidfind.store.places.path import IndexPath, index_path
from vidfind.system.paths import DEFAULT_INDEX

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
    from vidfind.store.store import Store

ANY_ENCODER = EncoderChoice()
"""The encoder of the index; for a new index, the default one."""


def index_videos(
    paths: str | Path | Iterable[str | Path],
    index: str | IndexPath = DEFAULT_INDEX,
    encoder: EncoderChoice = ANY_ENCODER,
    options: IndexOptions = DEFAULT_OPTIONS,
    *,
    segment_length: float | None = None,
    overlap: bool | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> Generator[Event]:
    """Makes the videos of folders searchable, or brings their index up to date; yields what happens.

    >>> from vidfind import Outcome, index_videos
    >>> for event in index_videos("~/Videos"):
    ...     if isinstance(event, Outcome) and event.status == "failed":
    ...         print(event.path, event.message)

    The work is done while you iterate. Events are an Outcome for each video, Progress after every batch, and rarer ones
    that `vidfind.index.events` describes. Everything yielded is stored, also if you stop early, and the next run
    continues from there. Decoding starts processes that import your program again: call this under
    `if __name__ == "__main__":`.

    Arguments:
        paths: folders and single videos, or one of them. `~` stands for your home folder.
        index: the name of the index, or its folder as a Path. It is created if it is not there.
        encoder: the encoder for a new index. An index with videos keeps its own, but may get another adapter.
        options: what to leave out, what to encode again, and how to decode.
        segment_length: in seconds; None: that of the index, or 10 for a new one.
        overlap: whether there is one more segment between each two; None: as in the index, or not for a new one.
        device: "cpu", "cuda", "mps", or "auto" for the best there is.
        dtype: "float32", "bfloat16", "int8" on a CPU, or "auto" for the fastest on the device.

    Raises:
        BadInput: there is no folder or video of that name, and never was one in the index.
        IndexMismatch: the index was made with another encoder or other segments than asked for.
        IndexBusy: another process is writing to the index.
        ModelUnavailable: the model is not on this machine and cannot be downloaded.
        StorageError: the disk is full, or the folder of the index may not be written."""
    folders = _folders(paths)
    load = functools.partial(load_choice, device=device, dtype=dtype)
    opened = open_to_index(folders, _path(index), load, encoder, segment_length, options, overlap=overlap)
    if opened:
        yield from run.index_videos(folders, *opened, options)
    elif (survey := survey_folders(folders, options.exclude, options.all_files)).has_remarks:
        yield survey


def watch_videos(
    paths: str | Path | Iterable[str | Path],
    index: str | IndexPath = DEFAULT_INDEX,
    encoder: EncoderChoice = ANY_ENCODER,
    options: IndexOptions = DEFAULT_OPTIONS,
    *,
    segment_length: float | None = None,
    overlap: bool | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> Generator[watch.WatchEvent]:
    """Does what `index_videos` does, and again whenever something in the folders changes; never ends by itself.

    >>> from vidfind import Watching, watch_videos
    >>> for event in watch_videos("~/Videos"):
    ...     if isinstance(event, Watching):  # the index is up to date
    ...         break  # without this, it goes on until Ctrl-C

    The first run yields all events, later runs only news. The model is loaded once. A file that is still being written
    is left alone until it has not changed for 5 seconds. Arguments and errors are those of `index_videos`; after the
    first run an error becomes an event, and the next run tries again."""
    load = functools.lru_cache(maxsize=1)(functools.partial(load_choice, device=device, dtype=dtype))

    def open_index(folders: Sequence[Path], asked: EncoderChoice) -> tuple[Store, Callable[[], Encoder]] | None:
        return open_to_index(folders, path, load, asked, segment_length, options, overlap=overlap)

    path = _path(index)
    yield from watch.watch_videos(_folders(paths), open_index, encoder, options)


def _folders(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    several = [paths] if isinstance(paths, str | Path) else paths
    return [Path(os.path.expanduser(path)) for path in several]


def _path(index: str | IndexPath) -> IndexPath:
    return index_path(index) if isinstance(index, str) else index
