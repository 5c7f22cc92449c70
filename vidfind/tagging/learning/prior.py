"""Which tags go together: the structured semantic prior of SCPNet (CVPR 2023), as matrices over the tags.

Modifications: similarities are those of centred texts, and the owner's own pairs count too; a neighbour that is not
alike at all is none; a tag without neighbours keeps to itself. Needs numpy alone. C tags, B bags.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vidfind.tagging.learning.vectors import Floats

NEIGHBOURS = 6
"""How many tags a tag is tied to, itself included."""
SHARE = 0.2
"""The part of a row of the graph that neighbours have together."""
TEMPERATURE = 0.2
SEEN_TOGETHER = 2
"""So many videos must have both tags before that counts."""
LIFT = 1.5
"""And so many times as many as chance would give."""


class Relation(NamedTuple):
    """Two matrices (C, C) whose rows add up to 1: `graph` (A_gcn) for convolutions, `soft` (A*) for soft targets."""

    graph: npt.NDArray[np.float64]
    soft: npt.NDArray[np.float64]


def relation(
    similarity: Floats, neighbours: int = NEIGHBOURS, share: float = SHARE, temperature: float = TEMPERATURE
) -> Relation:
    """Returns the relation of tags from their similarities (C, C), as SCPNet makes it from cosines of their texts.

    Row i has weights for the `neighbours` tags most similar to tag i, which is one of them; those not similar at all
    (0 or less) are left out. The neighbours share `share` by their similarity, and the tag keeps the rest."""
    count = len(similarity)
    near = np.zeros((count, count), bool)
    order = np.argsort(-np.asarray(similarity, float), axis=1, kind="stable")[:, : min(neighbours, count)]
    np.put_along_axis(near, order, True, axis=1)
    near &= np.asarray(similarity) > 0
    np.fill_diagonal(near, False)
    weights = np.where(near, similarity, 0.0)
    totals = weights.sum(axis=1, keepdims=True)
    has_neighbours = totals > 0
    graph = share * weights / np.where(has_neighbours, totals, 1)
    np.fill_diagonal(graph, np.where(has_neighbours[:, 0], 1 - share, 1.0))
    np.fill_diagonal(near, True)
    exponents = np.where(near, graph / temperature, -np.inf)
    soft = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    return Relation(graph, soft / soft.sum(axis=1, keepdims=True))


def own_similarity(positive: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Returns how often tags come together (C, C), from the owner's yeses (B, C) of videos with any tag.

    A pair counts if at least two videos have both tags, and half as many again as chance would give."""
    yes = positive.astype(np.float64)
    together, counts = yes.T @ yes, yes.sum(axis=0)
    lift = together * len(yes) / np.maximum(np.outer(counts, counts), 1)
    counts_much = (together >= SEEN_TOGETHER) & (lift > LIFT)
    result: npt.NDArray[np.float64] = np.where(counts_much, together / (counts[:, None] + 3), 0.0)
    np.fill_diagonal(result, 1.0)
    return result


def tag_relation(text: Floats, positive: npt.NDArray[np.bool_]) -> Relation:
    """Returns the relation of tags from their centred texts (C, D) and the owner's yeses (B, C)."""
    similar: npt.NDArray[Any] = np.maximum(text @ text.T, own_similarity(positive))
    np.fill_diagonal(similar, np.maximum(similar.max(initial=1.0), 1.0))  # each tag is one of its own neighbours
    return relation(np.maximum(similar, 0))
