"""Completes the tags of all videos: learns them from what the owner says, and marks the segments that have them.

Reads and writes an index; gets a function that encodes texts, and never prints. Times in videos are in seconds.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidfind.commands import index_command, tag_add_command
from vidfind.errors import BadInput, Unusable
from vidfind.store.labelled.labels import Label
from vidfind.store.labelled.marks import Mark
from vidfind.store.store import Store
from vidfind.tagging.labels import SHORT, clean_name, name_key, spellings
from vidfind.tagging.learning.examples import LEFT_OUT, UNKNOWN, Examples, Graph, Recipe
from vidfind.tagging.learning.guard import (
    FEWEST_YES,
    MIN_CONFIDENCE,
    Choice,
    HeldOut,
    choose,
    confidences,
    is_on_nearly_all,
    threshold,
)
from vidfind.tagging.learning.vectors import Flags, Numbers, centred, pooled, segment_shift, text_shift, text_vectors
from vidfind.tagging.saved import Tagger, delete_others, read_tagger, usable, write_tagger

log = logging.getLogger(__name__)
Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Makes unit vectors (T, D) of T texts."""
ASKED_OF_FEW = 10
"""Videos to review of a tag with too few examples to be given automatically."""
MOST_ASKED = 50
"""Videos to review of any other tag."""
LEAST_ASKED = 0.5
"""Confidence from which on a tag is worth a question."""
SECONDS = 60.0
ROWS_AT_ONCE = 65536


@dataclass(frozen=True)
class FillOptions:
    """The options of `tag fill`."""

    only: tuple[str, ...] = ()
    """Only these tags are given; empty: all."""
    vocabulary: tuple[str, ...] = ()
    """More tags, of which the owner has said nothing yet."""
    zero_shot: bool = False
    """Whether tags without an example are suggested by their name alone."""
    min_confidence: float = MIN_CONFIDENCE
    seconds: float = SECONDS
    graph: Graph = "none"
    seed: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class FilledTag:
    """The result for one tag: numbers of videos."""

    name: str
    yours: int
    added: int
    to_review: int
    needs_no: bool = False
    """Whether nearly all labelled videos have it, so that it cannot be told from others."""


@dataclass(frozen=True)
class Filled:
    """The result of `tag fill`: the way that was chosen, and the numbers of each tag."""

    tags: list[FilledTag]
    choice: Choice
    segments: int
    unusable: int
    """How many segments have no usable vector."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Library:
    """The usable segments of an index, by video and time. N segments, V contents."""

    contents: Numbers
    """(V,), in order."""
    starts: Numbers
    """(V + 1,): the rows of each content."""
    spans: npt.NDArray[np.float64]
    """(N, 2)"""
    vectors: npt.NDArray[np.float32]
    """(N, D), centred."""
    shift: npt.NDArray[np.float32]
    unusable: int


def fill_tags(store: Store, encode: Encode, asked: FillOptions = FillOptions()) -> Filled:
    """Learns the tags of an index, and gives them to the videos that have them, in one commit.

    Replaces all automatic tags and suggestions of before, and changes nothing that the owner said. Raises Unusable
    where there is nothing to learn from."""
    began = time.monotonic()
    labels = store.labels("tag")
    names = _names(store, labels, asked)
    library = read_library(store)
    texts = text_vectors([names[key] for key in names], encode)
    neutral = text_shift(encode)
    files = store.contents_of_files()
    examples = make_examples(library, labels, [*names], files, centred(texts, neutral))
    choice = choose(examples, _recipe(asked, began), asked.seed)
    tagger, marks, tags = decide(library, examples, choice, names, asked, _given(store, names, asked))
    if not asked.dry_run:
        with store.writing() as writer:
            run = write_tagger(store, tagger, neutral, asked.seed)
            kept = _kept(store, names, asked)
            writer.replace_marks("tag", run, {*tagger.names}, [*marks, *kept])
            delete_others(store, "tag", run)
    return Filled(tags, choice, len(library.vectors), library.unusable, time.monotonic() - began)


def read_vocabulary(file: Path) -> tuple[tuple[str, ...], list[str]]:
    """Returns the tags of a text file, one a line, and what is wrong with lines that hold none. Raises Unusable."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Unusable(f"{file} is not UTF-8: byte {error.start} is no text.") from error
    names, bad = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            names += [clean_name(line)] if line.strip() else []
        except BadInput as error:
            bad.append(f"line {number}: {error}")
    if not names:
        raise Unusable(f"{file} has no tags: write one a line.")
    return tuple(spellings(names).values()), bad


def _names(store: Store, labels: Sequence[Label], asked: FillOptions) -> dict[str, str]:
    """Returns the tags that are learnt, by their keys, in the order of these. Raises Unusable."""
    names = spellings([label.name for label in labels])
    with_yes = {name_key(label.name) for label in labels if label.is_yes}
    vocabulary = spellings(asked.vocabulary)
    missing = [name for name in asked.only if name_key(name) not in {*names, *vocabulary}]
    if missing:
        raise Unusable(f"There is no tag {missing[0]!r} to fill. Tag some videos: {tag_add_command(store.path)}")
    if not store.count_videos():
        raise Unusable(f"The index {store.path.name!r} holds no videos yet. Add some: {index_command(store.path)}")
    if not with_yes and not vocabulary:
        raise Unusable(f"No video has a tag yet. Tag a few, three or more of each: {tag_add_command(store.path)}")
    if not with_yes and not asked.zero_shot:
        raise Unusable("No video has a tag yet, so tags can be suggested by their names alone: add --zero-shot.")
    kept = {key: name for key, name in {**vocabulary, **names}.items() if key in with_yes or key in vocabulary}
    return dict(sorted(kept.items()))


def _recipe(asked: FillOptions, began: float) -> Recipe | None:
    left = asked.seconds - (time.monotonic() - began)
    return Recipe(graph=asked.graph, seed=asked.seed, seconds=left) if left > 0 else None


def _given(store: Store, names: Mapping[str, str], asked: FillOptions) -> set[str]:
    """Returns the keys of the tags that videos may be given from now on, also videos that come later."""
    if not asked.only:
        return {*names}
    old = read_tagger(store)
    return {name_key(name) for name in (*asked.only, *(old.names if old else ()))}


def _kept(store: Store, names: Mapping[str, str], asked: FillOptions) -> list[Mark]:
    """Returns what was marked before with tags that are not asked for."""
    if not asked.only:
        return []
    replaced = {name_key(name) for name in asked.only}

    def others(tags: Mapping[str, float]) -> dict[str, float]:
        return {name: sure for name, sure in tags.items() if name_key(name) not in replaced and name_key(name) in names}

    return [
        replace(mark, classes={}, tags=others(mark.tags), suggested=others(mark.suggested)) for mark in store.marks()
    ]


def read_library(store: Store) -> Library:
    """Returns the usable segments of the videos of an index. Raises Unusable if there are none."""
    known = np.array(sorted({one for contents in store.contents_of_files().values() for one in contents}), np.int64)
    parts: list[tuple[Numbers, npt.NDArray[np.float64], npt.NDArray[np.float32]]] = []
    dropped = 0
    for contents, spans, vectors in store.segments():
        there, good = np.isin(contents, known), usable(vectors)
        dropped += int((there & ~good).sum())
        parts.append((contents[there & good], spans[there & good], vectors[there & good]))
    if not sum(len(one[0]) for one in parts):
        raise Unusable(
            f"No video of the index {store.path.name!r} has a usable vector. Index some: {index_command(store.path)}"
        )
    contents, spans, vectors = (np.concatenate(one) for one in zip(*parts, strict=True))
    del parts
    order = np.lexsort((spans[:, 0], contents))
    contents, spans, vectors = contents[order], spans[order], vectors[order]
    shift = segment_shift(vectors.sum(axis=0, dtype=np.float64), len(vectors))
    for begin in range(0, len(vectors), ROWS_AT_ONCE):  # in place: there is no room for all of them twice
        vectors[begin : begin + ROWS_AT_ONCE] = centred(vectors[begin : begin + ROWS_AT_ONCE], shift)
    used, starts = np.unique(contents, return_index=True)
    return Library(used, np.append(starts, len(vectors)), spans, vectors, shift, dropped)


def make_examples(
    library: Library,
    labels: Sequence[Label],
    keys: Sequence[str],
    files: Mapping[str, Sequence[int]],
    text: npt.NDArray[np.float32],
) -> Examples:
    """Returns what the owner says as examples: first a bag of each video, then one of each part with labels.

    A tag that a part of a video has is left out of the bag of the whole video. `keys` are those of the tags (C,)."""
    column, row = {key: number for number, key in enumerate(keys)}, {int(c): n for n, c in enumerate(library.contents)}
    file_of = {content: number for number, contents in enumerate(files.values()) for content in contents}
    states = np.zeros((len(library.contents), len(keys)), np.int8)
    parts: dict[tuple[int, float, float], dict[int, int]] = defaultdict(dict)
    for label in sorted(labels, key=lambda one: one.start is None):  # those of whole videos last: they hold
        tag = column.get(name_key(label.name))
        for bag in [row[content] for content in files.get(label.video, ()) if content in row]:
            if tag is None:
                continue
            if label.start is None:
                states[bag, tag] = label.value
            else:
                assert label.end is not None
                parts[bag, label.start, label.end][tag] = label.value
                states[bag, tag] = LEFT_OUT if label.is_yes else states[bag, tag]
    groups = np.array([file_of[int(content)] for content in library.contents], np.int64)
    vectors, starts = [library.vectors], [*library.starts.tolist()]
    more_groups, more_states = [], []
    for (bag, begin, end), values in parts.items():
        rows = np.arange(library.starts[bag], library.starts[bag + 1])
        common = np.minimum(library.spans[rows, 1], end) - np.maximum(library.spans[rows, 0], begin)
        rows = rows[common > SHORT]
        if len(rows):
            vectors.append(library.vectors[rows])
            starts.append(starts[-1] + len(rows))
            more_groups.append(groups[bag])
            state = np.full(len(keys), LEFT_OUT, np.int8)
            state[[*values]] = [*values.values()]
            more_states.append(state)
    return Examples(
        np.concatenate(vectors) if len(vectors) > 1 else library.vectors,
        np.array(starts, np.int64),
        np.concatenate([groups, np.array(more_groups, np.int64)]),
        np.concatenate([states, np.array(more_states, np.int8).reshape(-1, len(keys))]),
        text,
    )


def decide(
    library: Library,
    examples: Examples,
    choice: Choice,
    names: Mapping[str, str],
    asked: FillOptions,
    given: Collection[str],
) -> tuple[Tagger, list[Mark], list[FilledTag]]:
    """Returns what tags later videos, the marks of the videos there are, and what became of each tag.

    A video with labels is judged by what was learnt without them. Tags whose keys are not `given` are left alone."""
    keys, videos = [*names], len(library.contents)
    held_out = choice.held_out
    thresholds = np.array(
        [threshold(held_out, tag, asked.min_confidence) if key in given else np.inf for tag, key in enumerate(keys)]
    )
    thresholds[examples.counts < FEWEST_YES] = np.inf
    tagger = Tagger(
        tuple(names.values()), choice.weights, library.shift, thresholds, held_out, choice.way, choice.precisions
    )
    logits = choice.weights.logits(library.vectors)
    scores = pooled(logits, library.starts)
    judged = held_out.bags < videos
    labelled = examples.touched[held_out.bags] & judged
    scores[held_out.bags[labelled]] = held_out.scores[labelled]
    states = examples.states[:videos]
    wanted = np.array([not asked.only or key in {name_key(one) for one in asked.only} for key in keys])
    accepted = (scores >= thresholds) & (states == UNKNOWN) & wanted
    asks = _to_review(examples, held_out, scores, accepted, asked) & wanted
    tags: dict[int, dict[str, float]] = tagger.given(logits, library.starts, accepted, scores)
    suggested = replace(tagger, thresholds=np.full(len(keys), np.inf)).given(logits, library.starts, asks, scores)
    marks = [
        Mark(content, start, end, tags=tags.get(row, {}), suggested=suggested.get(row, {}))
        for row in sorted({*tags, *suggested})
        for content in [int(library.contents[np.searchsorted(library.starts, row, side="right") - 1])]
        for start, end in [library.spans[row].tolist()]
    ]
    files = examples.groups[:videos]
    filled = [
        FilledTag(
            names[key],
            int(examples.counts[tag]),
            len(np.unique(files[accepted[:, tag]])),
            len(np.unique(files[asks[:, tag]])),
            is_on_nearly_all(held_out, tag),
        )
        for tag, key in enumerate(keys)
        if wanted[tag]
    ]
    return tagger, marks, filled


def _to_review(
    examples: Examples, held_out: HeldOut, scores: npt.NDArray[np.float32], accepted: Flags, asked: FillOptions
) -> Flags:
    """Returns which tags (V, C) the owner is asked about: the surest that are not given automatically."""
    asks = np.zeros(accepted.shape, bool)
    for tag, count in enumerate(examples.counts.tolist()):
        if not count and not asked.zero_shot:
            continue
        open_ = (examples.states[: len(scores), tag] == UNKNOWN) & ~accepted[:, tag] & np.isfinite(scores[:, tag])
        videos = np.flatnonzero(open_)
        videos = videos[np.argsort(-scores[videos, tag], kind="stable")]
        if count >= FEWEST_YES:
            videos = videos[confidences(scores[videos, tag], held_out, tag) >= LEAST_ASKED]
        asks[videos[: MOST_ASKED if count >= FEWEST_YES else ASKED_OF_FEW], tag] = True
    return asks
