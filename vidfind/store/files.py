"""The files of indexed videos: which they are, whether they are there now, and whether they hold what was indexed."""

from __future__ import annotations

import functools
import itertools
import os
import stat
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from vidfind.store.places.maps import read_maps
from vidfind.store.tables import (
    REPEATED,
    TRY_AGAIN,
    VideoRow,
    path_from_text,
    rows_of,
    videos_to_table,
)
from vidfind.system.files import VideoFile, find_present, fingerprint
from vidfind.system.mounts import Place

MOST_STATES = 10_000
"""States of files whose contents are known."""
VALUES_AT_A_TIME = 2**16
"""Values of a column that Arrow makes objects of at a time: of all together, the texts alone would take much memory."""
OPENING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""How a file is opened: a pipe that took its place must not make the server wait."""


class StoredVideos(Mapping[Path, VideoRow]):
    """The videos of an index by path. Their columns are in memory, and the row of a video is made when it is asked for:
    those of a million would take minutes.

    Each video has a number, from 0 on, by which its values are found in the lists `sizes`, `failed` and so on."""

    def __init__(self, videos: pa.Table) -> None:
        """Takes all rows of the table of videos. Raises ValueError if values are missing, which only damage makes."""
        if holed := [name for name in videos.schema.names if videos[name].null_count]:
            raise ValueError(f"videos without {', '.join(holed)}")
        for name in {"folder", *REPEATED}.intersection(videos.schema.names):  # each text once in memory
            number = videos.schema.get_field_index(name)
            videos = videos.set_column(number, name, videos[name].dictionary_encode())
        self._videos = videos
        is_plain = not read_maps()
        paths = (text if is_plain and "%" not in text else path_from_text(text) for text in self._values("path"))
        self._numbers = {_key(path): number for number, path in enumerate(paths)}
        if len(self._numbers) < videos.num_rows:  # two paths that a map makes the same: the last counts
            self._videos = videos.take(pa.array(self._numbers.values(), pa.int64()))
            self._numbers = {key: number for number, key in enumerate(self._numbers)}

    @classmethod
    def of(cls, rows: Iterable[VideoRow]) -> StoredVideos:
        return cls(videos_to_table(rows))

    def number(self, path: Path) -> int | None:
        """The number of the video with this path; None if there is none."""
        return self._numbers.get(_key(path))

    def rows(self, numbers: Collection[int]) -> Iterator[VideoRow]:
        """The rows of some videos, in the order of their numbers here."""
        return rows_of(self._videos.take(pa.array(numbers, pa.int64()))) if numbers else iter(())

    def looks_like(self, number: int, file: VideoFile) -> bool:
        """Whether a file has the size and the time of a stored video that need not be tried again."""
        time = self.times[number]
        return time == file.mtime_ns and time != TRY_AGAIN and self.sizes[number] == file.size

    def numbers(self, paths: Iterable[Path]) -> list[int]:
        """The numbers of the videos with these paths, without those that there are none with."""
        return [number for path in paths if (number := self.number(path)) is not None]

    def under(self, folders: Iterable[Path], among: Iterable[int] | None = None) -> list[int]:
        """The numbers of the videos that are one of `folders` or lie below one: of all, or `among` some."""
        places = {_key(folder) for folder in folders}

        @functools.cache
        def is_under(folder: str) -> bool:
            above = os.path.dirname(folder)
            return folder in places or (above != folder and is_under(above))

        numbers = range(len(self)) if among is None else among
        return [one for one in numbers if (path := self._keys[one]) in places or is_under(os.path.dirname(path))]

    def folders(self) -> list[Path]:
        """The folders that the videos were indexed under, each once."""
        return [path_from_text(text) for text in dict.fromkeys(self._values("folder"))]

    def folder_of(self, path: Path) -> Path:
        """The folder that the video with this path was indexed under."""
        return path_from_text(self._value("folder", self._numbers[_key(path)]))

    def fingerprint(self, number: int) -> str:
        return self._value("fingerprint", number)

    @functools.cached_property
    def sizes(self) -> array[int]:
        return array("q", self._values("size"))

    @functools.cached_property
    def times(self) -> array[int]:
        """When each file was changed last, as `VideoRow.mtime_ns`."""
        return array("q", self._values("mtime_ns"))

    @functools.cached_property
    def contents(self) -> array[int]:
        return array("q", self._values("content"))

    @functools.cached_property
    def segments(self) -> array[int]:
        """How many segments each video has."""
        return array("q", self._values("segments"))

    @functools.cached_property
    def durations(self) -> array[float]:
        """The length of each video in seconds."""
        return array("d", self._values("duration"))

    @functools.cached_property
    def failed(self) -> list[str]:
        """Why each video failed; empty for those that did not."""
        return list(self._values("failed"))

    @functools.cached_property
    def drives(self) -> list[Place]:
        """The drive that each video was on when it was last seen: its place without `file_id`."""
        drive = functools.cache(lambda mount, volume: Place(path_from_text(mount) if mount else None, volume))
        return [
            drive(mount, volume) for mount, volume in zip(self._values("mount"), self._values("volume"), strict=True)
        ]

    @functools.cached_property
    def _keys(self) -> list[str]:
        return list(self._numbers)

    def _values(self, name: str) -> Iterator[Any]:
        """Yields the values of a column; empty texts for one that an older vidfind does not have."""
        if name not in self._videos.schema.names:
            yield from itertools.repeat("", self._videos.num_rows)
            return
        for start in range(0, self._videos.num_rows, VALUES_AT_A_TIME):
            yield from self._videos[name].slice(start, VALUES_AT_A_TIME).to_pylist()

    def _value(self, name: str, number: int) -> str:
        return str(self._videos[name][number].as_py())

    def __getitem__(self, path: Path) -> VideoRow:
        return next(self.rows([self._numbers[_key(path)]]))

    def __contains__(self, path: object) -> bool:
        return isinstance(path, Path) and _key(path) in self._numbers

    def __iter__(self) -> Iterator[Path]:
        return map(path_from_text, self._values("path"))

    def __len__(self) -> int:
        return len(self._numbers)


def _key(path: Path | str) -> str:
    """The text that the paths of one file have in common."""
    return os.path.normcase(path)


class Opened(NamedTuple):
    """An open file, and what the disk says of it."""

    file: BinaryIO
    status: os.stat_result


class IndexedFiles:
    """Opens the files of videos, and remembers which of them hold what was indexed. Safe for many threads."""

    def __init__(self) -> None:
        self._same: dict[tuple[str, int, int, int], bool] = {}

    def open(self, row: VideoRow) -> Opened | None:
        """Returns the file of a video, open; None if it is no file any more, or has other contents. Raises OSError."""
        file = os.fdopen(os.open(row.path, OPENING), "rb")
        try:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and self._is_same(row, file, status):
                return Opened(file, status)
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    def _is_same(self, row: VideoRow, file: BinaryIO, status: os.stat_result) -> bool:
        """Whether an open file has the contents that were indexed; these are compared once for each state of it."""
        state = (row.fingerprint, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)  # nobody can set the last
        if status.st_size != row.size:
            return False
        if state not in self._same:
            self._same[state] = fingerprint(os.dup(file.fileno())) == row.fingerprint
            while len(self._same) > MOST_STATES:
                self._same.pop(next(iter(self._same)), None)
        return self._same[state]


def find_present_files(rows: Collection[VideoRow]) -> set[Path]:
    """Returns the paths of the videos whose files are there now; a share that does not answer at once is not there."""
    return find_present({row.path: row.path.parent if row.folder == row.path else row.folder for row in rows})


def outer_folders(folders: Iterable[Path]) -> list[Path]:
    """The folders, sorted, without those inside another of them."""
    outer: list[Path] = []
    for folder in sorted(set(folders)):  # what lies inside a folder comes next after it
        if not outer or not folder.is_relative_to(outer[-1]):
            outer.append(folder)
    return outer
