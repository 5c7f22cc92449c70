"""The tags of segments: those that the owner gave to their videos, and those that saved models added.

Times in videos are in seconds.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

from vidfind.categories.naming import ClassedSegments
from vidfind.categories.saved import read_classes
from vidfind.commands import tag_list_command
from vidfind.errors import BadInput
from vidfind.search.question.filters import Filters
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow
from vidfind.tagging.labels import Label, Mark, name_key, says, spellings

log = logging.getLogger(__name__)


class TaggedSegments:
    """The segments of an index that have the tags which filters name, or do not have them."""

    def __init__(self, store: Store, filters: Filters) -> None:
        """Raises BadInput if no video has one of the tags that are asked for."""
        self._filters = filters
        keys = {name_key(name) for name in filters.tag_names}
        with_auto = filters.tags_from == "any"
        spelled = store.label_names("tag")
        self._labels = _labels_by_content(store, keys, spelled)
        self._marks: dict[str, set[tuple[int, float]]] = defaultdict(set)
        for mark in store.marks_with("tags", filters.tag_names) if with_auto else ():
            for name in mark.tags:
                self._marks[name_key(name)].add((mark.content, mark.start))
        _require_known(store, (*filters.all_tags, *filters.either_tag), spelled, with_auto)
        for name in filters.excluded_tags:
            if not self._labels[name_key(name)] and not self._marks[name_key(name)]:
                log.warning("No video has the tag %r, which is to be left out.", name)

    def contents(self) -> set[int] | None:
        """The contents that may have segments with the tags asked for; None: all of them."""
        wanted = [self._contents_with(name) for name in self._filters.all_tags]
        if self._filters.either_tag:
            wanted.append(set().union(*(self._contents_with(name) for name in self._filters.either_tag)))
        return set.intersection(*wanted) if wanted else None

    def _contents_with(self, name: str) -> set[int]:
        key = name_key(name)
        labelled = {content for content, labels in self._labels[key].items() if any(label.is_yes for label in labels)}
        return labelled | {content for content, _ in self._marks[key]}

    def allows(self, content: int, start: float, end: float) -> bool:
        """Whether a segment has the tags that the filters ask for, and none that they exclude."""

        def has(name: str) -> bool:
            return self._has(name, content, start, end)

        filters = self._filters
        is_wanted = all(map(has, filters.all_tags)) and (not filters.either_tag or any(map(has, filters.either_tag)))
        return is_wanted and not self.excludes(content, start, end)

    def excludes(self, content: int, start: float, end: float) -> bool:
        """Whether a segment has a tag that the filters exclude."""
        return any(self._has(name, content, start, end) for name in self._filters.excluded_tags)

    def _has(self, name: str, content: int, start: float, end: float) -> bool:
        key = name_key(name)
        said = says(self._labels[key].get(content, ()), start, end)
        return said > 0 or (not said and (content, start) in self._marks[key])


class NamedSegments:
    """The segments that filters name by their tags and classes."""

    def __init__(self, parts: Sequence[TaggedSegments | ClassedSegments]) -> None:
        self._parts = parts

    def contents(self) -> set[int] | None:
        """The contents that may have such segments; None: all of them."""
        wanted = [own for part in self._parts if (own := part.contents()) is not None]
        return set.intersection(*wanted) if wanted else None

    def allows(self, content: int, start: float, end: float) -> bool:
        """Whether a segment has all tags and classes that it needs."""
        return all(part.allows(content, start, end) for part in self._parts)

    def mean(self, store: Store) -> npt.NDArray[np.float32] | None:
        """The mean of the vectors (D,) of these segments; None if there are none."""
        total, count = np.zeros(store.dim), 0
        for contents, spans, vectors in store.segments(self.contents()):
            segments = zip(contents.tolist(), spans.tolist(), strict=True)
            chosen = vectors[[self.allows(content, start, end) for content, (start, end) in segments]]
            total += chosen.sum(axis=0, dtype=np.float64)
            count += len(chosen)
        return (total / count).astype(np.float32) if count else None

    def is_about(self, store: Store, rows: Iterable[VideoRow]) -> Iterator[VideoRow]:
        """Yields the videos that have such a segment, and of excluded tags none anywhere.

        A video without segments has them as a whole."""
        segments: dict[int, list[tuple[float, float]]] = defaultdict(list)
        every = list(rows)
        for contents, spans, _ in store.segments({row.content for row in every}):
            for content, (start, end) in zip(contents.tolist(), spans.tolist(), strict=True):
                segments[content].append((start, end))
        for row in every:
            own = segments[row.content] or [(0.0, row.duration)]
            is_excluded = any(part.excludes(row.content, *span) for part in self._parts for span in own)
            if not is_excluded and any(self.allows(row.content, *span) for span in own):
                yield row


def named_segments(store: Store, filters: Filters) -> NamedSegments | None:
    """The segments that filters name by tags and classes; None if they name none. Raises BadInput."""
    parts: list[TaggedSegments | ClassedSegments] = [TaggedSegments(store, filters)] if filters.tag_names else []
    if filters.class_names:
        parts.append(ClassedSegments(store, read_classes(store), filters.class_names))
    return NamedSegments(parts) if parts else None


def _labels_by_content(
    store: Store, keys: Collection[str], spelled: Sequence[str]
) -> dict[str, dict[int, list[Label]]]:
    """Returns the labels of the tags with these keys, by key and by each content that their video has.

    `spelled` are the names of all tags."""
    found: dict[str, dict[int, list[Label]]] = {key: defaultdict(list) for key in keys}
    labels = store.labels("tag", names=[name for name in spelled if name_key(name) in keys])
    contents = store.contents_of_files() if labels else {}
    for label in labels:
        for content in contents[label.video]:
            found[name_key(label.name)][content].append(label)
    return found


def _require_known(store: Store, names: Sequence[str], spelled: Sequence[str], with_auto: bool) -> None:
    known = {name_key(name) for name in spelled}
    if all(name_key(name) in known for name in names):
        return
    tags = spellings([*spelled, *(store.mark_names("tags") if with_auto else ())])
    for name in names:
        if name_key(name) not in tags:
            near = get_close_matches(name_key(name), list(tags), n=1)
            hint = f" Did you mean {tags[near[0]]!r}?" if near else ""
            raise BadInput(f"No video has the tag {name!r}.{hint} See which there are: {tag_list_command(store.path)}")


class Tags:
    """The tags of some videos: of the owner, of the whole video or a part, and automatic ones of segments."""

    def __init__(self, store: Store, fingerprints: Mapping[int, str]) -> None:
        """`fingerprints` are those of the files of each content."""
        self._labels: dict[str, list[Label]] = defaultdict(list)
        files = {fingerprint: [content] for content, fingerprint in fingerprints.items()}
        for label in store.labels("tag", files) if files else ():
            self._labels[label.video].append(label)
        self._marks: dict[int, list[Mark]] = defaultdict(list)
        for mark in store.marks([*fingerprints]) if fingerprints else ():
            self._marks[mark.content].append(mark)
        self._fingerprints = fingerprints

    def of(self, content: int, start: float, end: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The tags that the owner gave to a moment, and those that were added automatically, each sorted."""
        by_key: dict[str, list[Label]] = defaultdict(list)
        for label in self._labels.get(self._fingerprints[content], ()):
            by_key[name_key(label.name)].append(label)
        yours = [labels[0].name for labels in by_key.values() if says(labels, start, end) > 0]
        marks = [mark for mark in self._marks.get(content, ()) if mark.start < end and mark.end > start]
        added = {
            name
            for mark in marks
            for name in mark.tags
            if not says(by_key.get(name_key(name), ()), mark.start, mark.end) and name not in yours
        }
        return tuple(_sorted(yours)), tuple(_sorted(added))


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=name_key)
