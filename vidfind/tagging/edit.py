"""Reads and changes the tags that the owner gives: single ones, lists of them, new names.

Each function that writes makes one commit, under the lock of the index. Times in videos are in seconds.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from vidfind.commands import tag_list_command
from vidfind.errors import BadInput, Unusable
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow, path_to_text
from vidfind.store.writer import StoreWriter
from vidfind.tagging.labels import (
    Changes,
    Label,
    Mark,
    changes_for,
    clean_name,
    contradict,
    name_key,
    says,
    says_of_video,
    spellings,
)
from vidfind.tagging.lists import FILE_URI, Skipped, VideoFinder, read_list, read_part, read_value
from vidfind.tagging.saved import delete_others, rename_in_tagger

COLUMNS = ("path", "tag", "value", "start", "end")


def tag_label(row: VideoRow, name: str, value: int, start: float | None = None, end: float | None = None) -> Label:
    """Returns the label that says yes (1) or no (-1) to a tag of a video, or of a part of it."""
    return Label(row.content, start, end, "tag", "", name, value, video=row.fingerprint)


# Changing


def add_labels(store: Store, labels: Iterable[Label]) -> Changes:
    """Writes labels, and returns what that changed. Raises IndexBusy."""
    new = list(labels)
    with store.writing() as writer:
        changes = planned(store, new)
        writer.change_labels(changes.put.values(), changes.drop.values())
    return changes


def planned(store: Store, labels: Sequence[Label]) -> Changes:
    """Returns what it would change to write labels."""
    videos = {label.video for label in labels}
    return changes_for(store.labels(videos=videos, also_gone=True), labels, store.label_names("tag"))


def drop_tags(store: Store, names: Sequence[str], rows: Sequence[VideoRow] | None = None) -> list[Label]:
    """Deletes what the owner said of tags, of these videos or of all; returns it.

    Of all videos, automatic tags of these names go too. Raises Unusable for a name that nothing has."""
    keys = {name_key(known_tag(store, name)) for name in names}
    videos = None if rows is None else {row.fingerprint for row in rows}
    with store.writing() as writer:
        dropped = labels_named(store, keys, videos)
        if rows is None:  # first: automatic tags must not outlive what they were learned from
            _change_marks(store, writer, lambda name: None if name_key(name) in keys else name)
        writer.change_labels([], dropped)
    return dropped


def labels_named(store: Store, keys: Collection[str], videos: Collection[str] | None = None) -> list[Label]:
    """Returns what the owner said of tags with these keys, also of videos that are not in the index now."""
    names = [name for name in store.label_names("tag") if name_key(name) in keys]
    return store.labels("tag", videos, names, also_gone=True)


def rename_tag(store: Store, old: str, new: str) -> int:
    """Gives a tag another name, which another tag may have: then they are one. Returns the number of labels changed.

    Where one says yes and the other no to the same, the newer wins. Raises Unusable if there is no such tag."""
    known, name = known_tag(store, old), clean_name(new)
    keys = {name_key(known), name_key(name)}
    with store.writing() as writer:
        before = labels_named(store, keys)
        after = changes_for([], [dataclasses.replace(label, name=name) for label in before], [name])
        writer.change_labels(after.put.values(), before)
        _change_marks(store, writer, lambda one: name if name_key(one) in keys else one)
    return sum(label.name != name for label in before)


def _change_marks(store: Store, writer: StoreWriter, renamed: Callable[[str], str | None]) -> None:
    """Renames the automatic tags of the index, and deletes those whose new name is None."""
    if any(renamed(name) != name for name in store.mark_names("tags")):
        run = rename_in_tagger(store, renamed)
        writer.rename_marks("tag", run, renamed)
        delete_others(store, "tag", run)


def _spelled(store: Store) -> dict[str, str]:
    return spellings([*store.label_names("tag"), *sorted(store.mark_names("tags"))])


def spelled_tag(store: Store, name: str) -> str:
    """Returns a tag as it is spelled in the index; empty if nothing has it."""
    return _spelled(store).get(name_key(" ".join(name.split())), "")


def known_tag(store: Store, name: str) -> str:
    """Returns a tag as it is spelled in the index. Raises Unusable if nothing has it."""
    if found := spelled_tag(store, name):
        return found
    known = _spelled(store)
    near = get_close_matches(name_key(name), list(known), n=1)
    hint = f" Did you mean {known[near[0]]!r}?" if near else ""
    raise Unusable(f"There is no tag {name!r}.{hint} See which there are: {tag_list_command(store.path)}")


# Lists


@dataclass
class Import:
    """The labels of a list, the rows that cannot be used, and remarks about others."""

    labels: list[Label] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[Skipped] = field(default_factory=list)
    by_name: dict[str, Path] = field(default_factory=dict)
    """The videos that only the names of their files told, by the texts that named them."""
    duplicates: int = 0
    ignored: list[str] = field(default_factory=list)
    """The columns that nothing is read from."""


def read_tags(data: bytes, name: str, finder: VideoFinder) -> Import:
    """Returns the tags of a list; `name` is that of its file.

    Raises Unusable for a list of which nothing can be used, or that says yes and no to the same."""
    listed = read_list(data, name, [("path", "file", "video"), ("tag", "tags")], ("value", "start", "end"))
    found = Import(skipped=listed.skipped, ignored=listed.ignored)
    seen: dict[tuple[str, str], dict[str, tuple[Label, int]]] = defaultdict(dict)
    for record in listed.records:
        path = record.text("path") or record.text("file") or record.text("video")
        try:
            video = finder.find(path)
            value = read_value(record.text("value"))
            part = read_part(record.text("start"), record.text("end"), video.row.duration)
            names = [record.text("tag")] if record.text("tag") else record.text("tags").split(";")
            for one in names if len(names) == 1 else filter(str.strip, names):
                label = tag_label(video.row, clean_name(one), value, part.start, part.end)
                _take(found, seen[label.video, name_key(label.name)], label, record.line, f"{name}, {path}")
            found.notes += [Skipped(record.line, f"{path} {part.note}")] if part.note else []
            found.by_name |= {path: video.row.path} if video.by_name else {}
        except Unusable:
            raise
        except BadInput as error:
            shown = str(error) if str(error).startswith(("The tag", "A tag")) else f"{path or 'the row'} {error}"
            found.skipped.append(Skipped(record.line, shown))
    found.skipped.sort(key=lambda one: one.line)
    return found


def _take(found: Import, before: dict[str, tuple[Label, int]], label: Label, line: int, where: str) -> None:
    """Adds a label of a list to those found; `before` are those of the same tag and video with their lines."""
    for other, first in before.values():
        if contradict(other, label):
            raise Unusable(f"{where}: lines {first} and {line} say yes and no to {label.name!r}. Nothing was changed.")
    if label.id in before:
        found.duplicates += 1
        return
    before[label.id] = label, line
    found.labels.append(label)


def tag_rows(store: Store, rows: Mapping[str, VideoRow]) -> Iterator[dict[str, object]]:
    """Yields what the owner said of videos as `read_tags` reads it; `rows` are these by their fingerprints."""
    for label in store.labels("tag", also_gone=True):
        if row := rows.get(label.video):
            yield {
                "path": path_cell(row.path),
                "tag": label.name,
                "value": "yes" if label.is_yes else "no",
                "start": label.start,
                "end": label.end,
            }


def path_cell(path: Path) -> str:
    """Returns a path as a list has it."""
    text = str(path)
    is_text = text == text.encode(errors="replace").decode()
    return text if is_text else FILE_URI + path_to_text(path)


def list_text(rows: Iterable[Mapping[str, object]], columns: Sequence[str] = COLUMNS, as_json: bool = False) -> str:
    """Returns the text of a list of tags or classes: a CSV file with these columns, or JSON lines."""
    if as_json:
        return "".join(json.dumps(row) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return text.getvalue()


def rows_by_file(store: Store) -> dict[str, VideoRow]:
    """Returns a video of each fingerprint, the first by its path; none that failed."""
    rows: dict[str, VideoRow] = {}
    for row in sorted(store.videos().values(), key=lambda row: row.path):
        if not row.failed:
            rows.setdefault(row.fingerprint, row)
    return rows


def read_file(file: Path) -> bytes:
    """Raises Unusable for a file that cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror or error}") from error


# Overviews


@dataclass(frozen=True)
class TagCount:
    """How many videos have a tag: by the owner's word, without it, and how many the owner is asked about."""

    name: str
    yours: int
    no: int
    added: int
    to_review: int


def count_tags(store: Store) -> list[TagCount]:
    """Returns the tags of an index, by name."""
    every = store.labels("tag", also_gone=True)
    labels: dict[tuple[str, str], list[Label]] = defaultdict(list)
    for label in every:
        if label.content:
            labels[name_key(label.name), label.video].append(label)
    yours: Counter[str] = Counter()
    no: Counter[str] = Counter()
    for (key, _), said in labels.items():
        value = says_of_video(said)
        yours[key] += value > 0
        no[key] += value < 0
    marks, files = store.marks(), files_of_contents(store)
    added = Counter(key for key, _ in _surest(marks, files, labels, lambda mark: mark.tags))
    asked = Counter(key for key, _ in _surest(marks, files, labels, lambda mark: mark.suggested))
    marked = (name for mark in marks for name in (*mark.tags, *mark.suggested))
    names = spellings((*(label.name for label in every), *marked))
    keys = [key for key in names if yours[key] or no[key] or added[key] or asked[key]]
    counts = [TagCount(names[key], yours[key], no[key], added[key], asked[key]) for key in keys]
    return sorted(counts, key=lambda one: name_key(one.name))


@dataclass(frozen=True)
class Suggested:
    """A tag that a saved model gives to a video, or asks about: its surest segment, and how sure it is."""

    video: str
    """The fingerprint of the file."""
    content: int
    start: float
    end: float
    name: str
    confidence: float


Said = Mapping[tuple[str, str], Sequence[Label]]
"""The labels of the owner, by the key of their name and their video."""


def said_by_owner(store: Store) -> dict[tuple[str, str], list[Label]]:
    said: dict[tuple[str, str], list[Label]] = defaultdict(list)
    for label in store.labels("tag"):
        said[name_key(label.name), label.video].append(label)
    return said


def suggestions(store: Store, said: Said) -> dict[tuple[str, str], Suggested]:
    """Returns the tags that the owner is asked about, by key and video."""
    return _surest(store.marks(), files_of_contents(store), said, lambda mark: mark.suggested)


def files_of_contents(store: Store) -> dict[int, str]:
    """Returns the fingerprint of the file of each content."""
    return {content: video for video, contents in store.contents_of_files().items() for content in contents}


def _surest(
    marks: Iterable[Mark], files: Mapping[int, str], said: Said, tags_of: Callable[[Mark], Mapping[str, float]]
) -> dict[tuple[str, str], Suggested]:
    """Returns the surest segment of each tag and video, of which the owner has not said anything about the tag."""
    found: dict[tuple[str, str], Suggested] = {}
    for mark in marks:
        video = files.get(mark.content)
        for name, confidence in tags_of(mark).items() if video is not None else ():
            assert video is not None
            key = (name_key(name), video)
            labels = said.get(key)
            if labels and (says(labels, mark.start, mark.end) or says_of_video(labels)):
                continue
            if key not in found or confidence > found[key].confidence:
                found[key] = Suggested(video, mark.content, mark.start, mark.end, name, confidence)
    return found


@dataclass(frozen=True)
class TagsOf:
    """The tags of a video: what the owner said, and what saved models say."""

    labels: list[Label]
    added: list[Suggested]
    to_review: list[Suggested]


def tags_of(store: Store, row: VideoRow) -> TagsOf:
    """Returns the tags of a video."""
    labels = store.labels("tag", {row.fingerprint})
    said: dict[tuple[str, str], list[Label]] = defaultdict(list)
    for label in labels:
        said[name_key(label.name), label.video].append(label)
    files = dict.fromkeys(store.contents_of_files()[row.fingerprint], row.fingerprint)
    marks = store.marks([*files])
    added, asked = (
        sorted(_surest(marks, files, said, tags).values(), key=lambda one: one.name)
        for tags in (lambda mark: mark.tags, lambda mark: mark.suggested)
    )
    return TagsOf(labels, added, asked)
