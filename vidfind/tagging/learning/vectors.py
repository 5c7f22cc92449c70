"""Plain functions on vectors that tags and categories share: centring, prompts, prototypes, pooling, folds, precision.

Knows nothing of files, indexes or models; needs numpy alone. Letters of shapes: N segments, B bags, C tags or classes,
D numbers a vector. A *bag* is what a label speaks of: the segments of a whole video, or those that a range of time
overlaps. The segments of bag b are the rows `starts[b]` to `starts[b + 1]` of a matrix (N, D); `starts` is (B + 1,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]

TEMPLATES = ("a video of {}.", "a photo of {}.", "{}.")
"""The prompts of a name; its text is the mean of their embeddings."""
NEUTRAL = (
    *("something", "a thing", "an object", "a scene", "a moment", "a place", "a person", "people", "an animal"),
    *("a plant", "a building", "a room", "a street", "a landscape", "water", "the sky", "food", "a vehicle"),
    *("a machine", "a tool", "clothes", "a colour", "a shape", "light", "the night", "the day", "indoors", "outdoors"),
    *("movement", "work", "play", "home", "the city", "nature"),
)
"""Names of what can be in any video. The mean of their texts is what all texts have in common."""
SHRINKAGE = 100
"""As many segments as are needed for half of their mean to count as what all segments have in common."""
SHARPNESS = 10.0
"""Of the softmax over the segments of an example: how much more those that fit the text count."""
MOST_POOLED = 4
"""The score of a bag is the mean of at most so many of its segments."""
DUPLICATE = 0.98
"""Cosine from which on the mean vectors of two videos count as those of one."""
FLATTENING = 3.0
"""How little whitening does: so many times their mean is added to the variances of all directions."""
ALIKE_ROUNDS, MOST_STARTS = 4, 64
"""Of the search for segments that are alike: rounds from each start, and starts."""
ROWS_AT_ONCE = 4096
"""Rows of a matrix of all pairs that are in memory together."""


def unit(rows: Floats) -> npt.NDArray[np.float32]:
    """Returns rows (..., D) divided by their lengths; a row of zeros stays as it is."""
    single = np.asarray(rows, np.float32)
    lengths = np.linalg.norm(single, axis=-1, keepdims=True)
    return (single / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)


def centred(rows: Floats, shift: Floats) -> npt.NDArray[np.float32]:
    """Returns unit vectors (N, D) without their common part, a `shift` (D,), again of unit length."""
    return unit(np.asarray(rows, np.float32) - np.asarray(shift, np.float32))


def segment_shift(total: Floats, count: int) -> npt.NDArray[np.float32]:
    """Returns the common part (D,) of `count` segments whose sum is `total` (D,); of few segments only a part of their
    mean, because that says as much of these segments as of all."""
    return (np.asarray(total, np.float64) / max(count + SHRINKAGE, 1)).astype(np.float32)


def prompts(name: str, description: str = "") -> list[str]:
    """Returns the texts that stand for a name. A description takes the place of the name."""
    return [template.format(description or name) for template in TEMPLATES]


def text_vectors(names: Sequence[str], encode: Callable[[Sequence[str]], Floats]) -> npt.NDArray[np.float32]:
    """Returns the mean text embedding (C, D) of each name; `encode` makes vectors (T, D) of T texts."""
    if not names:
        return np.zeros((0, len(encode(["a"])[0])), np.float32)
    vectors = np.asarray(encode([text for name in names for text in prompts(name)]), np.float32)
    result: npt.NDArray[np.float32] = vectors.reshape(len(names), len(TEMPLATES), -1).mean(axis=1)
    return result


def text_shift(encode: Callable[[Sequence[str]], Floats]) -> npt.NDArray[np.float32]:
    """Returns the common part (D,) of all texts: the mean embedding of the neutral prompts."""
    result: npt.NDArray[np.float32] = text_vectors(NEUTRAL, encode).mean(axis=0)
    return result


# Bags


def bag_rows(starts: Numbers, bags: Numbers) -> Numbers:
    """Returns the numbers of the segments of these bags, one bag after the other."""
    sizes = (starts[1:] - starts[:-1])[bags]
    begins = np.repeat(starts[:-1][bags] - np.concatenate([[0], sizes.cumsum()[:-1]]), sizes)
    result: Numbers = begins + np.arange(sizes.sum())
    return result


def prototypes(vectors: Floats, starts: Numbers, positive: Flags, text: Floats) -> npt.NDArray[np.float32]:
    """Returns the mean look (C, D) of each tag's examples, of unit length; zeros for a tag without one.

    In each example (B, C) the segments (N, D) that fit the text (C, D) count more. All vectors are centred."""
    result = np.zeros((len(text), vectors.shape[1]), np.float32)
    for tag in np.flatnonzero(positive.any(axis=0)):
        bags = np.flatnonzero(positive[:, tag] & (starts[1:] > starts[:-1]))
        if not len(bags):
            continue
        examples = vectors[bag_rows(starts, bags)]
        sizes = (starts[1:] - starts[:-1])[bags]
        begins = np.concatenate([[0], sizes.cumsum()[:-1]])
        weights = np.exp(SHARPNESS * (examples @ text[tag]))
        weights /= np.repeat(np.add.reduceat(weights, begins), sizes)
        result[tag] = weights @ examples
    return unit(result)


def whitening(vectors: Floats) -> npt.NDArray[np.float32]:
    """Returns a matrix (D, D) that makes directions count less in which segments (N, D) differ much anyway."""
    if len(vectors) < 2:
        return np.eye(vectors.shape[1], dtype=np.float32)
    known = vectors - vectors.mean(axis=0)
    covariance = (known.T @ known).astype(np.float64) / len(known)
    added = FLATTENING * np.trace(covariance) / len(covariance)
    if not added > 0:
        return np.eye(len(covariance), dtype=np.float32)
    # Times what was added, so that nothing changes where segments do not differ.
    return np.asarray(added * np.linalg.inv(covariance + added * np.eye(len(covariance))), np.float32)


def most_alike(vectors: Floats, starts: Numbers, metric: Floats) -> Numbers:
    """Returns a segment of each bag (B,), so that those chosen of the segments (N, D) are most alike.

    `metric` (D, D) weighs directions. No bag may be empty. The search begins at several segments, and chooses of each
    bag the one that is most like those chosen before."""
    products = (vectors @ metric) @ vectors.T  # (N, N)
    sizes = starts[1:] - starts[:-1]
    places = np.arange(sizes.max())
    rows = np.where(places < sizes[:, None], starts[:-1, None] + places, -1)  # (B, width)
    begins = np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), MOST_STARTS)).astype(int))
    scores = products[:, begins]
    for _ in range(ALIKE_ROUNDS):
        found = np.where(rows[..., None] >= 0, scores[rows], -np.inf)  # (B, width, starts)
        chosen = np.take_along_axis(rows, found.argmax(axis=1), axis=1)  # (B, starts)
        scores = products[:, chosen].sum(axis=1)
    pairs = [products[np.ix_(one, one)].sum() - products[one, one].sum() for one in chosen.T]
    result: Numbers = chosen[:, int(np.argmax(pairs))]
    return result


def blend(text: Floats, looks: Floats, counts: Numbers, beta: float = 1.0) -> npt.NDArray[np.float32]:
    """Returns text vectors (C, D) mixed with prototypes (C, D), which count more the more examples (C,) they are of."""
    shares = beta * counts / (counts + 2)
    return unit(text + shares[:, None] * looks)


@dataclass(frozen=True)
class SameSize:
    """Bags whose scores are pooled together: the mean of the `best` highest of each."""

    bags: Numbers
    """Numbers of the bags (n,)."""
    rows: Numbers
    """Their segments (n, width); -1 where a bag has fewer than others here."""
    best: int


def by_size(starts: Numbers) -> list[SameSize]:
    """Returns the bags that have segments, together with others of about their size."""
    sizes = starts[1:] - starts[:-1]
    best = np.clip(-(-sizes // 2), 1, MOST_POOLED)
    widths = np.where(sizes > 2 * MOST_POOLED, 2 ** np.ceil(np.log2(np.maximum(sizes, 1))).astype(int), sizes)
    groups = []
    for width in np.unique(widths[sizes > 0]):
        bags = np.flatnonzero(widths == width)
        places = np.arange(width)[None]
        rows = np.where(places < sizes[bags, None], starts[bags, None] + places, -1)
        groups.append(SameSize(bags, rows, int(best[bags[0]])))
    return groups


def pooled(logits: Floats, starts: Numbers) -> npt.NDArray[np.float32]:
    """Returns scores (B, C) of bags: the mean of the best of their segments' (N, C); -inf for a bag without segments.

    The best are half of the segments, at most four."""
    padded = np.concatenate([np.asarray(logits, np.float32), np.full((1, logits.shape[1]), -np.inf, np.float32)])
    result = np.full((len(starts) - 1, logits.shape[1]), -np.inf, np.float32)
    for group in by_size(starts):
        best = [np.full((len(group.bags), logits.shape[1]), -np.inf, np.float32) for _ in range(group.best)]
        for rows in group.rows.T:  # a place in each bag; comparing whole matrices is faster than sorting each bag
            scores = padded[rows]  # (n, C); the row -1 is the last
            for number, higher in enumerate(best):
                best[number], scores = np.maximum(higher, scores), np.minimum(higher, scores)
        result[group.bags] = np.mean(best, axis=0)
    return result


def mean_vectors(vectors: Floats, starts: Numbers) -> npt.NDArray[np.float32]:
    """Returns the mean (B, D) of the segments (N, D) of each bag, of unit length; zeros for a bag without segments."""
    sizes = starts[1:] - starts[:-1]
    result = np.zeros((len(sizes), vectors.shape[1]), np.float32)
    if (sizes > 0).any():
        result[sizes > 0] = np.add.reduceat(vectors, starts[:-1][sizes > 0], axis=0)
    return unit(result)


# Evaluation


def near_duplicates(vectors: Floats, groups: Numbers, limit: float = DUPLICATE) -> Numbers:
    """Returns the groups (B,) of bags, joined where mean vectors (B, D) of two are nearly the same: none is evidence of
    the other."""
    joined = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    for first, second in _alike(vectors, limit):
        one, other = joined[first], joined[second]
        if one != other:
            joined[joined == max(one, other)] = min(one, other)
    return joined


def _alike(vectors: Floats, limit: float) -> Iterator[tuple[int, int]]:
    """Yields the pairs of rows (B, D) with a cosine above the limit."""
    for begin in range(0, len(vectors), ROWS_AT_ONCE):
        rows, columns = np.nonzero(vectors[begin : begin + ROWS_AT_ONCE] @ vectors.T > limit)
        earlier = rows + begin < columns
        yield from zip((rows[earlier] + begin).tolist(), columns[earlier].tolist(), strict=True)


def grouped_folds(groups: Numbers, most: int = 5, seed: int = 0) -> Numbers:
    """Returns the fold (B,) of each bag: at most `most` folds of about equal size, each group in one of them."""
    _, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    folds = min(most, len(sizes))
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]  # the largest first: the small ones even out the rest
    filled, fold_of = np.zeros(max(folds, 1), np.int64), np.zeros(len(sizes), np.int64)
    for group in order:
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    result: Numbers = fold_of[members]
    return result


def average_precisions(scores: Floats, targets: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns the mean of the precision at each positive (C,), for scores and targets (B, C); 0 for no positives.

    Of equal scores those of negatives come first, so that the order of the rows does not matter."""
    positive = np.asarray(targets) > 0
    result = np.zeros(positive.shape[1])
    for tag in np.flatnonzero(positive.any(axis=0)):
        order = np.lexsort((positive[:, tag], -scores[:, tag]))
        hits = positive[order, tag]
        result[tag] = (hits.cumsum()[hits] / (np.flatnonzero(hits) + 1)).mean()
    return result
