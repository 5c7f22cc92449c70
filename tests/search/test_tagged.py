"""Searches that are limited to tags, and the tags of what they find."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.rows import embed, make_row, unit_vectors
from tests.support.stored import put
from vidfind.errors import BadInput
from vidfind.search.moments import search_moments
from vidfind.search.question.filters import Filters
from vidfind.store.labelled.marks import Mark
from vidfind.store.store import Store
from vidfind.tagging.edit import add_labels, tag_label


@pytest.fixture
def store(store: Store) -> Store:
    """Three videos of two segments: a has dog and in its second half not it's, b has dog in its second half, c not.

    A model gave cat to the first segment of a, of b and of c, and dog to both of c."""
    rows = [make_row(f"/videos/{name}.mp4") for name in "abc"]
    put(store, rows, [embed(row, seed) for seed, row in enumerate(rows)])
    a, b, c = rows
    add_labels(
        store,
        [
            *(tag_label(a, name, 1) for name in ("dog", "it's")),
            tag_label(a, "it's", -1, 10.0, 20.0),
            tag_label(b, "Dog", 1, 12.0, 14.0),
            tag_label(c, "dog", -1),
            tag_label(b, "cat", -1),
        ],
    )
    marks = [Mark(row.content, 0.0, 10.0, tags={"cat": 0.9}) for row in rows]
    with store.writing() as writer:
        writer.replace_marks(
            "tag",
            "run",
            ["cat", "dog"],
            [*marks, *(Mark(c.content, at, at + 10.0, tags={"dog": 0.9}) for at in (0.0, 10.0))],
        )
    return store


def found(store: Store, **filters: Any) -> list[str]:
    """The segments found, as the name of their video and their number."""
    moments = search_moments(store, unit_vectors(1)[0], Filters(per_video=2, **filters))
    return sorted(
        f"{moment.path.stem}{n}" for moment in moments for n in range(2) if moment.start <= 10 * n < moment.end
    )


@pytest.mark.parametrize(
    ("filters", "segments"),
    [
        ({"tags": ["dog"]}, ["a0", "a1", "b1"]),
        ({"tags": "DOG"}, ["a0", "a1", "b1"]),
        ({"tags": ["it's"]}, ["a0"]),
        ({"tags": ["cat"]}, ["a0", "c0"]),
        ({"tags": ["dog", "cat"]}, ["a0"]),
        ({"any_tags": ["it's", "cat"]}, ["a0", "c0"]),
        ({"no_tags": ["dog"]}, ["b0", "c0", "c1"]),
        ({"no_tags": ["dog", "cat", "unknown"]}, ["b0", "c1"]),
        ({"tags": ["dog"], "no_tags": ["it's"]}, ["a1", "b1"]),
        ({"any_tags": ["dog"], "tags": ["cat"], "no_tags": ["it's"]}, []),
        ({"tags": ["it's"], "tags_from": "user"}, ["a0"]),
        ({"no_tags": ["cat"], "tags_from": "user"}, ["a0", "a1", "b0", "b1", "c0", "c1"]),
        ({"tags": ["dog"], "exclude": ["a.mp4"]}, ["b1"]),
    ],
    ids=str,
)  # fmt: skip
def test_only_moments_with_the_tags_asked_for_are_found(
    store: Store, filters: dict[str, Any], segments: list[str]
) -> None:
    assert found(store, **filters) == segments


def test_what_is_found_has_its_tags(store: Store) -> None:
    moments = {moment.path.stem: moment for moment in search_moments(store, unit_vectors(1)[0], Filters(per_video=9))}
    assert set(moments) == {"a", "b", "c"}
    for moment in search_moments(store, unit_vectors(1)[0], Filters(per_video=9)):
        first = moment.start == 0
        expected = {
            "a": (("dog", "it's") if first else ("dog",), ("cat",) if first else ()),
            "b": (("dog",) if moment.end > 10 else (), ()),
            "c": ((), ("cat",) if first else ()),
        }
        assert (moment.tags, moment.tags_auto) == expected[moment.path.stem]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"tags": ["dgo"]}, "Did you mean 'dog'"),
        ({"any_tags": ["dog", "none"]}, "tag 'none'"),
        ({"tags": ["bird"], "tags_from": "user"}, "vidfind tag list"),
        ({"tags": [" "]}, "A tag is empty"),
        ({"tags": ["dog"], "tags_from": "me"}, "not from 'me'"),
    ],
)
def test_a_tag_that_nothing_has_is_refused(store: Store, filters: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        found(store, **filters)


def test_copies_that_were_encoded_apart_are_found_by_the_tag_of_one(store: Store) -> None:
    first, second = make_row("/videos/d.mp4", fingerprint="d"), make_row("/videos/e.mp4", fingerprint="d")
    put(store, [first, second], [embed(first, 7), embed(second, 7)])
    add_labels(store, [tag_label(second, "bird", 1)])
    [moment] = search_moments(store, unit_vectors(1)[0], Filters(tags="bird"))
    assert {moment.path, *moment.copies} == {first.path, second.path}
    assert len(search_moments(store, unit_vectors(1)[0], Filters(tags="bird", copies=True))) == 2


def test_a_tag_to_leave_out_that_nothing_has_is_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    found(store, no_tags=["dog", "unknown"])
    assert [record.getMessage() for record in caplog.records] == [
        "No video has the tag 'unknown', which is to be left out."
    ]
