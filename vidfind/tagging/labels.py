"""The names of tags and classes, and what the labels of a video say together.

Names are compared without case, and the first spelling stays. Times in videos are in seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from vidfind.errors import BadInput
from vidfind.store.labelled.labels import Label as Label
from vidfind.store.labelled.marks import Mark as Mark

LONGEST_NAME = 64
SEPARATORS = ";,"
"""Characters that no tag has, because they stand between tags."""
SHORT = 1e-3
"""Parts that overlap by less only touch."""


# Names


def clean_name(text: str, what: str = "tag") -> str:
    """Returns the name of a tag without spaces around it, each other space single, in Unicode's composed form.

    Raises BadInput for a text that can be no name."""
    name = unicodedata.normalize("NFC", text).strip(" \t\r\n")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        raise BadInput(f"The {what} {name!r} has a control character or a byte that is no text.")
    name = " ".join(name.split())
    if not name:
        raise BadInput(f"A {what} is empty.")
    if len(name) > LONGEST_NAME:
        raise BadInput(f"The {what} {name[:20]!r}... has {len(name)} characters; at most {LONGEST_NAME} are allowed.")
    if found := next((char for char in SEPARATORS if char in name), None):
        raise BadInput(f"The {what} {name!r} has a {found!r}, which stands between two of them.")
    return name


@functools.cache
def name_key(name: str) -> str:
    """Returns the same text for all spellings of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Returns the first spelling of each name, by its key."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(name_key(name), name)
    return found


# What labels say together


def overlap(label: Label, start: float, end: float) -> float:
    """Returns the number of seconds that a label of a part of a video has in common with another part."""
    assert label.start is not None and label.end is not None
    return min(end, label.end) - max(start, label.start)


def says(labels: Iterable[Label], start: float, end: float) -> int:
    """Returns what the labels of one name say of a segment of their video: 1 for yes, -1 for no, 0 for nothing.

    A part with a yes counts where the segment overlaps it, a part with a no where it holds half of the segment. Else
    labels of the whole video count."""
    parts = [label for label in labels if label.start is not None]
    if any(label.is_yes and overlap(label, start, end) > SHORT for label in parts):
        return 1
    if any(not label.is_yes and overlap(label, start, end) >= (end - start) / 2 for label in parts):
        return -1
    return next((label.value for label in labels if label.start is None), 0)


def says_of_video(labels: Iterable[Label]) -> int:
    """Returns what the labels of one name say of their video: 1 if it has it anywhere, -1 if nowhere, else 0."""
    values = [label.value for label in labels if label.is_yes or label.start is None]
    return max(values, default=0)


def by_name(labels: Iterable[Label]) -> dict[str, list[Label]]:
    """Returns labels by the keys of their names."""
    found: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        found[name_key(label.name)].append(label)
    return found


# Changes


@dataclass
class Changes:
    """The labels to write and to delete, so that new labels hold."""

    put: dict[str, Label] = field(default_factory=dict)
    """By their ids."""
    drop: dict[str, Label] = field(default_factory=dict)
    same: int = 0
    """How many of the new labels were there already."""
    turned: list[Label] = field(default_factory=list)
    """The new labels that say the opposite of an older one, which they replace."""


def changes_for(stored: Iterable[Label], new: Iterable[Label], names: Iterable[str] = ()) -> Changes:
    """Returns the changes that make new labels hold: where an older one says the opposite, the newer wins.

    `stored` are those of the same videos. All need the fingerprints of their videos. `names` are those in use, the
    oldest spelling first, which stays."""
    spelled = spellings(names)
    held: dict[tuple[str, str, str, str], dict[str, Label]] = defaultdict(dict)
    for label in stored:
        held[_subject(label)][label.id] = label
    changes = Changes()
    for asked in new:
        label = dataclasses.replace(asked, name=spelled.setdefault(name_key(asked.name), asked.name))
        there = held[_subject(label)]
        if label.id in there and there[label.id].value == label.value:
            changes.same += 1
            continue
        if clashing := [one for one in there.values() if contradict(one, label)]:
            changes.turned.append(label)
        for one in clashing:
            del there[one.id]
            changes.drop[one.id] = one
            changes.put.pop(one.id, None)
        there[label.id] = changes.put[label.id] = label
        changes.drop.pop(label.id, None)
    return changes


def contradict(one: Label, other: Label) -> bool:
    """Whether two labels of the same name and video cannot both hold.

    A whole video may have a tag, and a part of it not."""
    if one.value == other.value:
        return False
    if one.start is not None and other.start is not None:
        return overlap(one, other.start, other.end or 0.0) > SHORT
    no = other if one.is_yes else one
    return no.start is None


def _subject(label: Label) -> tuple[str, str, str, str]:
    return label.video, label.kind, name_key(label.task), name_key(label.name)
