"""Finds the segments nearest to a vector: exactly in a small table, with an approximate index in a large one.

Decides when LanceDB's index pays, and how it is made, updated and searched. Knows nothing of videos.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vidfind.store.tables import content_in, vectors_of

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.index import IvfSq
    from lancedb.table import Table

    from vidfind.store.places.reading import TableReader

# From this number of segments on the index pays: comparing all their vectors takes 50 ms.
INDEXED_ROWS = 30_000
# When a table has grown by this factor, its index is trained again.
GROWTH = 3
# Few large parts: the index is made many times faster than with LanceDB's default.
ROWS_A_PART = 16384
# So many are looked through, the nearest first: all of them up to half a million rows. Far fewer would not do: the
# vectors of words lie apart from those of pictures, so that no part is near to them.
PARTS_SEARCHED = 32
TRAINING_ROUNDS = 10
# The index holds 8 bits of each number. So many times more candidates than asked for are compared as they are stored.
CANDIDATES = 3
# With a larger limit the approximate answer is less reliable, and hardly faster.
APPROXIMATE_LIMIT = 2000
TRAINED = re.compile(r"vector_(\d+)")
"""Returns the name of the approximate index, which contains the number of rows it was trained on."""


@dataclass(frozen=True)
class Hit:
    """A segment found; `score` is its cosine similarity to the query."""

    content: int
    start: float
    end: float
    score: float


def nearest(
    table: TableReader | Table, vector: npt.NDArray[np.floating], limit: int, contents: Collection[int] | None = None
) -> pa.Table:
    """Returns the `limit` rows of a table of segments nearest to `vector` (D,), as an Arrow table without the vectors.

    Fewer rows only if there are no more. Exact among the rows of `contents`, if given, and in small tables."""
    query = _by_cosine(table, vector).limit(limit).select(["content", "start", "end", "_distance"])
    if contents is not None:
        query = query.where(content_in(contents))
    elif limit <= APPROXIMATE_LIMIT:
        # As an index, if any, is to be asked.
        found: pa.Table = query.nprobes(PARTS_SEARCHED).refine_factor(CANDIDATES).to_arrow()
        if found.num_rows == limit:
            return found
    found = query.bypass_vector_index().to_arrow()
    return found


def spread(table: TableReader, count: int) -> npt.NDArray[np.float32]:
    """Returns the vectors (N, D) of at most `count` rows of a table of segments, spread evenly over it."""
    rows = table.count_rows()
    offsets = np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(int)).tolist()
    if not offsets:
        return np.empty((0, int(table.schema.field("vector").type.list_size)), np.float32)
    return vectors_of(table.take_offsets(offsets).select(["vector"]).to_arrow().drop_null())


def is_worthwhile(table: TableReader | Table) -> bool:
    """Whether a table of segments lacks its indexes, or has those of a much smaller table."""
    rows: int = table.count_rows()
    trained = _trained(table)
    return len(trained) > 1 or (rows >= INDEXED_ROWS and rows > GROWTH * max(trained.values(), default=0))


def make_indexes(table: Table) -> None:
    """Makes the indexes of a table of segments, or makes them again; `optimize` adds later rows to them."""
    from lancedb.index import BTree

    rows, old = table.count_rows(), _trained(table)
    table.create_index("content", config=BTree(), replace=True)
    table.create_index("vector", config=approximate(rows), replace=True, name=f"vector_{rows}")
    for name in old.keys() - {f"vector_{rows}"}:  # last: searches always find one
        table.drop_index(name)


def try_indexes(table: Table) -> None:
    """Reads everything in the indexes of a table of segments. Raises errors of LanceDB if they are damaged."""
    vector = np.ones(table.schema.field("vector").type.list_size, np.float32)
    query = _by_cosine(table, vector).nprobes(table.count_rows() + 1).limit(1)
    found = query.select(["content", "_distance"]).to_arrow()
    nearest(table, vector, 1, found["content"].to_numpy().tolist())


def _by_cosine(table: Any, vector: npt.NDArray[np.floating]) -> Any:
    return table.search(np.asarray(vector, np.float32)).distance_type("cosine")


def approximate(rows: int) -> IvfSq:
    """Returns LanceDB's configuration of the approximate index for this number of rows."""
    from lancedb.index import IvfSq

    parts = max(1, rows // ROWS_A_PART)
    return IvfSq(distance_type="cosine", num_partitions=parts, max_iterations=TRAINING_ROUNDS)


def _trained(table: TableReader | Table) -> dict[str, int]:
    """Returns the approximate indexes of a table, and the rows each was trained on: one, or two after a kill."""
    names = (re.fullmatch(TRAINED, index.name) for index in table.list_indices())
    return {found[0]: int(found[1]) for found in names if found}
