"""A searcher while its index changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.texts import add_video, refuse
from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput, IndexNotFound
from vidfind.search.moments import Moment, search_moments
from vidfind.search.question.expression import Example, Expression
from vidfind.search.searcher import Searcher
from vidfind.store.folder import delete_index
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store


def test_a_searcher_sees_what_another_process_adds(index: IndexPath, tiny_encoder: Encoder) -> None:
    searcher = Searcher(index, refuse)
    assert [moment.path.name for moment in searcher.find("a red circle")] == ["a.mp4"]
    add_video(Store.open(index), "/v/b.mp4", tiny_encoder)
    assert {moment.path.name for moment in searcher.find("a red circle")} == {"a.mp4", "b.mp4"}


def test_a_searcher_sees_that_an_index_was_deleted_and_made_anew(index: IndexPath, tiny_encoder: Encoder) -> None:
    searcher = Searcher(index, refuse)
    searcher.prepare()
    delete_index(index)
    with pytest.raises(IndexNotFound):
        searcher.find("a red circle")
    add_video(Store.create(index, IndexSettings(tiny_encoder.identity), tiny_encoder.dim), "/v/new.mp4", tiny_encoder)
    assert [moment.path.name for moment in searcher.find("a red circle")] == ["new.mp4"]


def test_an_index_without_videos_says_what_to_type(place: IndexPath, tiny_encoder: Encoder) -> None:
    Store.create(place, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    with pytest.raises(BadInput, match=r"holds no videos yet\. Add some: vidfind index FOLDER"):
        Searcher(place, refuse).find("a red circle")


@pytest.fixture
def things(index: IndexPath, tiny_encoder: Encoder) -> Searcher:
    """A searcher of videos that show what they are named by; the index knows their vectors alone."""
    for name in ("a red star", "a red square", "a blue circle", "a star"):
        add_video(Store.open(index), f"/v/{name}", tiny_encoder)
    return Searcher(index, refuse)


def names(moments: list[Moment]) -> list[str]:
    return [moment.path.name for moment in moments]


def test_an_expression_of_words_alone_finds_what_the_words_find(things: Searcher) -> None:
    assert things.find(Expression("a red star")) == things.find("a red star")


def test_words_alone_find_what_their_vector_finds_to_the_last_bit(things: Searcher, tiny_encoder: Encoder) -> None:
    vector = things.encoder.vector("a red star")
    assert vector == pytest.approx(tiny_encoder.encode_text(["a red star"])[0].numpy(), abs=1e-6)
    paths = {row.content: row.path for row in things.store.videos().values()}
    hits = [(paths[hit.content], hit.score, hit.start, hit.end) for hit in things.store.search(vector, 10)]
    assert len(hits) == 5
    assert [(one.path, one.score, one.start, one.end) for one in things.find("a red star")] == hits


def test_an_example_is_found_through_a_link_though_its_file_is_gone(
    index: IndexPath, things: Searcher, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    file = tmp_path / "films" / "a blue star"
    file.parent.mkdir()
    file.touch()
    (tmp_path / "link").symlink_to(file.parent, target_is_directory=True)
    add_video(Store.open(index), str(file), tiny_encoder)
    file.unlink()
    alike = things.find(Expression(like=[f"{tmp_path}/link/a blue star@3"]))
    assert alike and "a blue star" not in names(alike)
    assert alike == things.find(Expression(like=[f"{file}@3"]))


def test_what_is_left_out_comes_later_and_is_still_found(things: Searcher) -> None:
    plain, without = names(things.find("a red shape")), names(things.find(Expression("a red shape", ["a star"])))
    assert sorted(plain) == sorted(without)
    assert without.index("a red star") > plain.index("a red star")
    twice = names(things.find(Expression("a red shape", ["a star", "a star"])))
    assert twice.index("a red star") >= without.index("a red star")


def test_a_moment_in_the_index_is_an_example_without_its_file(things: Searcher) -> None:
    [star, *_] = things.find("a red star")
    [(_, _, [vector])] = [batch for batch in things.store.segments([video(things, star)])]
    alike = things.find(Expression(like=[Example(star.path, 3)]))
    assert names(alike)[0] != "a red star" and "a red star" not in names(alike)
    by_vector = search_moments(things.store, vector, limit=10)
    assert [moment.score for moment in alike] == pytest.approx([moment.score for moment in by_vector[1:]], abs=1e-6)
    assert things.find(Expression(like=[star.example])) == alike


def video(searcher: Searcher, moment: Moment) -> int:
    return searcher.store.videos()[moment.path].content


def test_a_picture_of_the_index_and_words_count_alike(things: Searcher) -> None:
    both = things.find(Expression("a square", like=[Example(Path("/v/a red star"), 3)]))
    assert names(both)[0] == "a red square"
    assert names(things.find("a red shape"))[0] == "a red star"
    assert names(things.find(Expression("a red shape", unlike=["/v/a red star@3"])))[0] != "a red star"


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("/v/a red star@11", r"/v/a red star is only 10\.0 seconds long: there is no moment at 11 seconds"),
        ("/v/a red star@9:07.5", r"only 10\.0 seconds long: there is no moment at 9:07\.5\."),
        ("/v/a red star@1:02:03", r"there is no moment at 1:02:03\."),
        ("/v/none@3", "There is no file /v/none, and no such video in the index"),
        ("/v/a red star", "There is no file /v/a red star"),
        ("/v@3", "There is no"),
    ],
)
def test_an_example_that_is_nowhere_is_named(things: Searcher, like: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        things.find(Expression(like=[like]))
