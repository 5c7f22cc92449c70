"""Labels of the owner, and marks of saved models, in their tables."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from tests.support.rows import DAY, embed, make_row
from tests.support.stored import begin_again, compact, put
from vidfind.store.edit import purge_videos, remove_videos
from vidfind.store.labelled.labels import Label
from vidfind.store.labelled.marks import Mark
from vidfind.store.store import Store

DOG = Label(0, None, None, "tag", "", "dog", 1, DAY)


def dog(content: int, **changes: object) -> Label:
    return dataclasses.replace(DOG, content=content, **changes)  # type: ignore[arg-type]


def labelled(store: Store, *labels: Label) -> None:
    with store.writing() as writer:
        writer.change_labels(labels)


def test_labels_are_replaced_by_what_says_the_same_and_dropped_in_one_commit(store: Store) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    quoted = dog(row.content, name="it's", added=DAY + timedelta(1))
    labelled(store, dog(row.content), quoted, dog(row.content, start=1.0, end=2.0, added=DAY + timedelta(2)))
    assert [label.name for label in store.labels("tag")] == ["dog", "it's", "dog"]
    [first, second, third] = store.labels()
    assert (first.video, third.start, third.end) == (row.fingerprint, 1.0, 2.0)
    with store.writing() as writer:
        writer.change_labels([dog(row.content, name="DOG", value=-1)], [second, third])
    assert [(label.name, label.value) for label in store.labels()] == [("DOG", -1)]
    assert store.labels("class") == []


def test_copies_that_were_encoded_apart_share_their_labels(store: Store) -> None:
    one, other = make_row("/videos/a.mp4"), make_row("/videos/b.mp4", fingerprint="/videos/a.mp4")
    put(store, [one, other], [embed(one), embed(other)])
    labelled(store, dog(other.content))
    assert [label.content for label in store.labels()] == [min(one.content, other.content)]
    assert sorted(store.contents_of_files()[one.fingerprint]) == sorted([one.content, other.content])


@pytest.mark.parametrize(
    ("later", "also_elsewhere", "is_kept"),
    [({}, False, True), ({"fingerprint": "x"}, False, True), ({"fingerprint": "x"}, True, False)],
    ids=["encoded again", "changed", "changed, and the old file lies elsewhere"],
)
def test_labels_stay_with_a_file(store: Store, later: dict[str, str], also_elsewhere: bool, is_kept: bool) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    labelled(store, dog(row.content))
    if also_elsewhere:
        put(store, [dataclasses.replace(row, path=row.path.with_name("elsewhere.mp4"))])
    again = dataclasses.replace(make_row("/videos/a.mp4"), **later)  # type: ignore[arg-type]
    put(store, [again], [embed(again)])
    videos = {label.video for label in store.labels()}
    assert (again.fingerprint in videos) is is_kept


def test_labels_outlast_a_file_that_cannot_be_read_for_a_while(store: Store) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    labelled(store, dog(row.content))
    put(store, [make_row("/videos/a.mp4", 0, content=0, fingerprint="", failed="is cut short")])
    assert store.labels() == []
    later = make_row("/videos/a.mp4", fingerprint="x")
    put(store, [later], [embed(later)])
    assert [label.content for label in store.labels()] == [later.content]


def test_labels_wait_for_a_removed_video_until_it_is_purged(store: Store) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    labelled(store, dog(row.content))
    with store.writing() as writer:
        writer.set_aside([row])
        writer.remove([row.path])
        writer.compact()
    assert (len(store.labels()), len(store.labels(also_gone=True))) == (0, 1)
    put(store, [row])
    assert len(store.labels()) == 1
    purge_videos([row.path], store)
    assert store.labels(also_gone=True) == []


def test_labels_are_those_of_an_index_however_it_is_encoded(store: Store) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    labelled(store, dog(row.content))
    begun = begin_again(store)
    again = make_row("/videos/a.mp4", fingerprint="changed meanwhile")
    put(begun, [again], [embed(again)])
    with begun.writing() as writer:
        writer.finish()
        writer.compact()
    now = Store.open(store.path)
    assert [(label.content, label.video) for label in now.labels()][-1] == (again.content, again.fingerprint)
    assert now.marks() == []


def test_marks_of_one_kind_are_replaced_and_those_of_the_other_stay(store: Store) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    tags, classes = Mark(row.content, 0.0, 10.0, tags={"it's": 0.75}), Mark(row.content, 0.0, 10.0, classes={"a:b": 1})
    with store.writing() as writer:
        writer.add_marks([tags])
        assert store.marks() == []  # of no model
        writer.replace_marks("class", "classes-1", ["a:b"], [classes])
        writer.replace_marks("tag", "tags-1", ["it's", "cat"], [tags])
        writer.replace_marks(
            "tag", "tags-2", ["it's", "cat"], [tags, Mark(row.content, 10.0, 20.0, suggested={"cat": 0.5})]
        )
        assert (store.run_of("tag"), store.run_of("class")) == ("tags-2", "classes-1")
        writer.add_marks([Mark(row.content, 10.0, 20.0, tags={"cat": 1.0})])
        compact_marks = [*store.marks()]
        writer.compact()
    assert (
        store.marks()
        == compact_marks
        == [
            Mark(row.content, 0.0, 10.0, {"it's": 0.75}, {"a:b": 1.0}),
            Mark(row.content, 10.0, 20.0, {"cat": 1.0}, {}, {"cat": 0.5}),
        ]
    )
    assert [mark.start for mark in store.marks_with("tags", ["CAT"])] == [10.0]
    assert [mark.start for mark in store.marks_with("tags", ["It's", "none"])] == [0.0]
    assert store.marks([row.content + 1]) == store.marks_with("classes", ["b"]) == []


def test_marks_are_renamed_and_joined_and_those_without_a_name_go(store: Store) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    spans = [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0)]
    lists: list[dict[str, Any]] = [
        {"tags": {"cat": 0.5, "kitten": 0.75}},
        {"tags": {"dog": 0.5}},
        {"suggested": {"cat": 0.25}},
    ]
    with store.writing() as writer:
        writer.rename_marks("tag", "none", str)  # where there are no marks
        writer.replace_marks("class", "classes-1", ["cat:dog"], [Mark(row.content, 0.0, 10.0, classes={"cat:dog": 1})])
        names = ["cat", "kitten", "dog"]
        marks = [Mark(row.content, *span, **one) for span, one in zip(spans, lists, strict=True)]
        writer.replace_marks("tag", "tags-1", names, marks)
        new = {"cat": "puss", "kitten": "puss", "dog": None}
        writer.rename_marks("tag", "tags-2", lambda name: new[name])
    assert store.marks() == [
        Mark(row.content, 0.0, 10.0, {"puss": 0.75}, {"cat:dog": 1.0}),
        Mark(row.content, 20.0, 30.0, suggested={"puss": 0.25}),
    ]
    assert (store.mark_names("tags"), store.mark_names("classes")) == ({"puss"}, {"cat:dog"})
    assert (store.run_of("tag"), store.run_of("class")) == ("tags-2", "classes-1")


def test_marks_go_with_their_vectors(store: Store) -> None:
    row, other = make_row("/videos/a.mp4"), make_row("/videos/b.mp4")
    put(store, [row, other], [embed(row), embed(other)])
    with store.writing() as writer:
        marks = [Mark(one.content, 0.0, 10.0, tags={"cat": 1.0}) for one in (row, other)]
        writer.replace_marks("tag", "tags-1", ["cat"], marks)
        writer.remove([row.path])
    compact(store)
    assert [mark.content for mark in store.marks()] == [other.content]
    assert store.run_of("tag") == "tags-1"


def test_an_index_of_many_marks_has_label_lists(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfind.store.labelled.marks.INDEXED_MARKS", 2)
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    with store.writing() as writer:
        writer.replace_marks("tag", "tags-1", ["cat"], [Mark(row.content, 0.0, 10.0, tags={"cat": 1.0})])
        writer.add_marks([Mark(row.content, 10.0, 20.0, tags={"cat": 1.0})])
        writer.compact()
    assert [mark.start for mark in store.marks_with("tags", ["cat"])] == [0.0, 10.0]


def test_purging_one_video_leaves_the_labels_of_others_that_wait_or_are_being_encoded(store: Store) -> None:
    rows = [make_row(f"/videos/{name}.mp4") for name in "abc"]
    put(store, rows, [embed(row) for row in rows])
    labelled(store, *(dog(row.content) for row in rows))
    begin_again(store)
    remove_videos([rows[0].path], store)
    purge_videos([rows[1].path], store)
    assert {label.video for label in store.labels(also_gone=True)} == {rows[0].fingerprint, rows[2].fingerprint}
    purge_videos(None, store)
    assert {label.video for label in store.labels(also_gone=True)} == {rows[2].fingerprint}


def test_an_open_index_sees_the_labels_and_marks_that_others_write(store: Store) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    reader = Store.open(store.path)
    assert not reader.labels() and not reader.run_of("tag")
    for name in ("dog", "cat"):
        labelled(store, dog(row.content, name=name))
        with store.writing() as writer:
            writer.replace_marks("tag", name, [name], [Mark(row.content, 0.0, 10.0, {name: 0.5})])
        assert reader.labels("tag", {row.fingerprint: [row.content]}) == reader.labels("tag") == store.labels("tag")
        assert name in [label.name for label in reader.labels()]
        assert (reader.run_of("tag"), reader.run_of("class"), reader.mark_names("tags")) == (name, "", {name})
        assert [mark.tags for mark in reader.marks([row.content])] == [{name: 0.5}]
