"""Dates that are put right are seen, and nothing is encoded for that."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.corners import set_matrix
from tests.support.indexing import Index, never
from vidfind.index.events import Outcome
from vidfind.index.run import index_videos
from vidfind.media.write import write_video
from vidfind.store.store import Store
from vidfind.system.files import fingerprint

DAY = datetime(2012, 5, 1, 12, tzinfo=UTC)


def touch(path: Path, day: datetime = DAY) -> Path:
    os.utime(path, (day.timestamp(), day.timestamp()))
    return path


@pytest.fixture
def film(tmp_path: Path, index: Index) -> Path:
    """An indexed video without a date in its metadata or name."""
    path = tmp_path / "films" / "a.mp4"
    path.parent.mkdir()
    write_video(path, np.zeros((8, 64, 96, 3), np.uint8), 4)
    index(path.parent)
    return path


def index_again(store: Store, folder: Path) -> dict[str, tuple[datetime, str]]:
    """Indexes without an encoder; returns the date of each video by its name, and what tells it."""
    for event in index_videos([folder], store, never):
        assert not isinstance(event, Outcome) or event.status != "failed"
    return {path.name: (row.created, row.created_from) for path, row in store.videos().items()}


def test_the_time_of_a_file_that_is_put_right_is_its_date(film: Path, film_store: Store) -> None:
    assert film_store.videos()[film].created_from == "file"
    touch(film)
    assert index_again(film_store, film.parent) == {"a.mp4": (DAY, "file")}
    later = DAY.replace(year=2013)
    touch(film, later)
    assert index_again(film_store, film.parent) == {"a.mp4": (later, "file")}


def test_a_name_that_is_put_right_tells_the_date(film: Path, film_store: Store) -> None:
    film.rename(film.with_name("20120501_120000.mp4"))
    [(created, created_from)] = index_again(film_store, film.parent).values()
    assert (created.astimezone().strftime("%Y%m%d_%H%M%S"), created_from) == ("20120501_120000", "name")


def test_a_copy_made_later_keeps_the_date_that_is_known(film: Path, film_store: Store) -> None:
    touch(film)
    index_again(film_store, film.parent)
    copy = film.with_name("b.mp4")
    shutil.copyfile(film, copy)
    assert index_again(film_store, film.parent)["b.mp4"] == (DAY, "file")
    touch(film.rename(film.with_name("c.mp4")), DAY.replace(year=2011))
    assert index_again(film_store, film.parent)["c.mp4"] == (DAY.replace(year=2011), "file")


def test_a_date_put_right_within_a_large_file_is_seen(film: Path, film_store: Store, index: Index, clips: Path) -> None:
    """A fingerprint covers a few blocks of a large file: its metadata may lie between them."""
    path = film.with_name("large.mp4")
    data = (clips / "rotated90.mp4").read_bytes()
    at = data.index(b"moov") - 4
    padding = 3 * 2**20
    box = padding.to_bytes(4, "big") + b"free" + bytes(padding - 8)
    path.write_bytes(data[:at] + box + data[at:] + box)
    index(film.parent)
    assert film_store.videos()[path].created == datetime(2021, 7, 8, 9, 10, 11, tzinfo=UTC)
    changed = bytearray(path.read_bytes())
    place = changed.index(b"mvhd") + 8
    seconds = int.from_bytes(changed[place : place + 4], "big") - 365 * 86400
    changed[place : place + 4] = seconds.to_bytes(4, "big")
    path.write_bytes(changed)
    created = datetime(2020, 7, 8, 9, 10, 11, tzinfo=UTC)
    assert index_again(film_store, film.parent)["large.mp4"] == (created, "metadata")


@pytest.mark.parametrize("name", ["h264.mp4", "vfr.mkv"])
def test_other_metadata_in_a_file_is_seen_and_nothing_encoded(
    film: Path, film_store: Store, index: Index, clips: Path, name: str
) -> None:
    path = film.with_name(name)
    shutil.copy(clips / name, path)
    index(film.parent)
    before = film_store.videos()[path]
    with av.open(str(clips / name)) as given, av.open(str(path), "w") as container:
        container.metadata.update({"creation_time": "2012-05-01T12:00:00Z", "comment": "x" * 999})
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    assert index_again(film_store, film.parent)[name] == (DAY, "metadata")
    after = film_store.videos()[path]
    assert (after.content, after.size) == (before.content, path.stat().st_size)
    assert after.fingerprint == fingerprint(path) != before.fingerprint


def test_a_picture_that_is_turned_by_other_metadata_is_encoded_again(
    film: Path, film_store: Store, index: Index
) -> None:
    before = film_store.videos()[film].content
    set_matrix(film, (-1, 0, 0, 1))
    assert index(film.parent)["a.mp4"].status == "changed"
    assert film_store.videos()[film].content != before
