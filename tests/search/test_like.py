"""Pictures, videos and moments of videos as queries."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.support.clocks import steady, write_clip
from tests.support.rows import make_row
from tests.support.stored import put
from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput
from vidfind.media.read import read_clips
from vidfind.media.sampling import Segment
from vidfind.media.write import write_video
from vidfind.models.load import load_choice
from vidfind.search.like import like_vector
from vidfind.search.question.expression import Example, Expression, parse_like
from vidfind.search.searcher import Searcher
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.system.files import fingerprint


@pytest.mark.parametrize(
    ("time", "seconds"), [("83", 83), ("1:23", 83), ("1:02:03.5", 3723.5), ("0", 0)], ids=["s", "m:s", "h:m:s", "zero"]
)
def test_a_moment_of_a_file_can_be_named(tmp_path: Path, time: str, seconds: float) -> None:
    file = tmp_path / "a@b.mp4"
    file.touch()
    assert parse_like(f"{file}@{time}") == (file, seconds)
    assert parse_like(str(file)) == (file, None)


@pytest.mark.parametrize("text", ["nothing.mp4", "nothing.mp4@3", "@3"])
def test_a_file_that_is_neither_there_nor_indexed_is_no_example(index: IndexPath, text: str) -> None:
    with pytest.raises(BadInput, match="There is no file"):
        Searcher(index, load_choice).find(Expression(like=[text]))


def test_what_is_no_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(BadInput, match="is not a time"):
        parse_like(f"{tmp_path}/a.mp4@noon")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A video of 31 seconds in three colours, one for each segment."""
    colours = np.repeat(np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8), [40, 40, 44], axis=0)
    write_video(tmp_path / "film.mp4", np.broadcast_to(colours[:, None, None], (124, 64, 96, 3)), 4)
    return tmp_path / "film.mp4"


def encode_segment(encoder: Encoder, path: Path, start: float, end: float) -> np.ndarray:
    [(clip, _)] = read_clips(path, [Segment(start, end)], encoder.num_frames, encoder.view)
    return encoder.encode_video(clip[np.newaxis])[0].numpy()


@pytest.mark.parametrize(("time", "start", "end"), [(15, 10, 20), (0, 0, 10), (30.9, 21, 31), (None, 0, 31)], ids=str)
def test_a_moment_of_a_video_is_a_query(
    tiny_encoder: Encoder, film: Path, time: float | None, start: float, end: float
) -> None:
    expected = encode_segment(tiny_encoder, film, start, end)
    assert like_vector(tiny_encoder, film, time) @ expected == pytest.approx(1, abs=1e-4)


def test_a_moment_counts_from_where_players_begin(tiny_encoder: Encoder, tmp_path: Path) -> None:
    late = tmp_path / "late.mkv"
    write_clip(late, steady(20, 15), sound=(0, 35))
    for time, start, end in [(30, 25, 35), (15, 20, 30), (None, 20, 35)]:
        expected = encode_segment(tiny_encoder, late, start, end)
        assert like_vector(tiny_encoder, late, time) @ expected == pytest.approx(1, abs=1e-4)
    with pytest.raises(BadInput, match=r"begins at 20\.0 seconds: there is no moment at 3 seconds"):
        like_vector(tiny_encoder, late, 3)


def test_a_picture_is_a_query_like_a_video_where_nothing_moves(
    tiny_encoder: Encoder, film: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "red.png"
    write_png(picture, (200, 30, 30), 96, 64)
    still = encode_segment(tiny_encoder, film, 0, 9)
    other = encode_segment(tiny_encoder, film, 10, 19)
    vector = like_vector(tiny_encoder, picture)
    assert vector @ still > max(0.98, vector @ other)
    with pytest.raises(BadInput, match="is a picture"):
        like_vector(tiny_encoder, picture, 3)


def test_an_example_that_cannot_be_used_is_named(tiny_encoder: Encoder, film: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"only 31\.0 seconds long"):
        like_vector(tiny_encoder, film, 40)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(BadInput, match=r"text\.mp4 is not a video"):
        like_vector(tiny_encoder, tmp_path / "text.mp4")


def test_what_is_asked_for_is_no_answer(tiny_encoder: Encoder, film: Path, place: IndexPath) -> None:
    """Neither the moment nor the whole video; the file may lie elsewhere than its copy in the index."""
    store = Store.create(place, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    spans = [(0.0, 10.0), (10.0, 20.0), (20.0, 31.0)]
    vectors = np.stack([encode_segment(tiny_encoder, film, *span) for span in spans])
    for name, digest in (("film.mp4", fingerprint(film)), ("other.mp4", "other")):
        row = make_row(f"/v/{name}", 3, fingerprint=digest, duration=31.0)
        put(store, [row], [Embedded(row.content, spans, vectors)])
    searcher = Searcher(store.path, lambda choice: tiny_encoder)
    assert [moment.path.name for moment in searcher.find(Expression(like=[film]))] == ["other.mp4"]
    like_green = searcher.find(Expression(like=[Example(film, 15)]))
    assert [(moment.path.name, moment.start) for moment in like_green if moment.score > 0.999] == [("other.mp4", 10)]
    assert {moment.path.name for moment in like_green} == {"other.mp4", "film.mp4"}


def write_png(path: Path, colour: tuple[int, int, int], width: int, height: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(colour) * width) * height)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
