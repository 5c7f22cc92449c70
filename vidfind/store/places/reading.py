"""Reads tables through the compiled half of LanceDB alone, which is imported in a fraction of the time of the package.

That half is private to LanceDB. So whatever fails is read once more through the package, which is also what writes.
Knows nothing of what the tables hold.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfind.store.places.bucket import READING, is_silence, patience
from vidfind.store.places.database import storage_options
from vidfind.store.places.path import IndexPath
from vidfind.system.imports import import_lancedb_half

if TYPE_CHECKING:
    from lancedb.table import Table

log = logging.getLogger(__name__)
T = TypeVar("T")
Step = tuple[str, Any]
"""The name of a method of a query, and its argument; None where it takes none."""
IN_HALF = {"select": "select_columns"}
"""Methods that have another name in the compiled half."""


class TableReader:
    """A table that sees at once what other processes commit. `whole` is the same table of the package."""

    def __init__(
        self, path: IndexPath, name: str, open_whole: Callable[[], Table], follow: Callable[[], None] = lambda: None
    ) -> None:
        """Opens the table `name` of the database at `path`; `follow` is called before each reading.

        Raises the errors of `open_whole`."""
        self._open_whole, self._follow = open_whole, follow
        self._half: Any = None
        try:
            connect, self._run = import_lancedb_half()
            self._half = self._run(_open(connect, path, name))
        except Exception as error:  # a missing or damaged table, or another version of LanceDB
            self._give_up(error)
            assert self.whole

    @cached_property
    def whole(self) -> Table:
        """The table of the package, which can be written to, and reports what is wrong with the table."""
        return self._open_whole()

    @property
    def schema(self) -> pa.Schema:
        schema: pa.Schema = self._read(lambda half: half.schema(), lambda whole: whole.schema)
        return schema

    @property
    def version(self) -> int:
        version: int = self._read(lambda half: half.version(), lambda whole: whole.version)
        return version

    def count_rows(self, where: str | None = None) -> int:
        count: int = self._read(lambda half: half.count_rows(where), lambda whole: whole.count_rows(where))
        return count

    def to_arrow(self) -> pa.Table:
        """Returns all rows."""
        return self.search().to_arrow()

    def search(self, vector: npt.NDArray[np.floating] | None = None) -> Query:
        """Returns the query for all rows, or for those nearest to a vector (D,)."""
        return Query(self, () if vector is None else (("nearest_to", vector),))

    def take_offsets(self, offsets: Sequence[int]) -> Query:
        """Returns the query for the rows at these places in the table."""
        return Query(self, (("take_offsets", offsets),))

    def rows(self, steps: Sequence[Step]) -> pa.Table:
        """Returns the rows that a query finds."""

        async def rows(half: Any) -> pa.Table:
            stream = await _in_half(half, steps).execute(max_batch_length=None, timeout=None)
            return pa.Table.from_batches([batch async for batch in stream], stream.schema)

        found: pa.Table = self._read(rows, lambda whole: _in_whole(whole, steps).to_arrow())
        return found

    def batches(self, steps: Sequence[Step], length: int) -> Iterator[pa.RecordBatch]:
        """Yields the rows that a query finds, at most `length` at a time."""

        async def following(half: Any) -> Callable[[], pa.RecordBatch | None]:
            stream = await _in_half(half, steps).execute(max_batch_length=length, timeout=None)

            async def following() -> pa.RecordBatch | None:
                return await anext(stream, None)

            return lambda: self._run(following())

        def following_in_whole(whole: Table) -> Callable[[], pa.RecordBatch | None]:
            batches = iter(_in_whole(whole, steps).to_batches(length))
            return lambda: next(batches, None)

        yield from iter(self._read(following, following_in_whole), None)

    def __getattr__(self, name: str) -> Any:
        """Everything else that a table can do, as that of the package does it."""
        if name == "whole" or name.startswith("_"):  # which failed to open
            raise AttributeError(name)
        return getattr(self.whole, name)

    def _read(self, in_half: Callable[[Any], Awaitable[T]], in_whole: Callable[[Table], T]) -> T:
        """Returns what the compiled half reads, or where that fails, the package."""
        self._follow()
        half = self._half

        async def read() -> T:
            return await in_half(half)  # called only here, since its loop has to be running

        if half is not None:
            try:
                result: T = self._run(read())
                return result
            except Exception as error:  # whatever another version trips over, or a table that is damaged
                self._give_up(error)
        return in_whole(self.whole)

    def _give_up(self, error: Exception) -> None:
        """Reads with the package from now on. Raises the error if that would only wait once more for the same server:
        a reader is not as patient as a writer, for whom the package opens the table again."""
        if is_silence(error) and patience() == READING:
            raise error
        log.info("the whole of lancedb reads: %s: %s", type(error).__name__, error)
        self._half = None


@dataclass(frozen=True)
class Query:
    """A query of a table, as LanceDB's own: each method returns a query that does more."""

    _table: TableReader
    _steps: tuple[Step, ...] = ()

    def where(self, predicate: str) -> Query:
        """Finds only rows for which a predicate in SQL is true; of a vector, the nearest of these."""
        return self._with("where", predicate)

    def select(self, columns: Sequence[str]) -> Query:
        return self._with("select", list(columns))

    def limit(self, count: int) -> Query:
        return self._with("limit", count)

    def distance_type(self, name: str) -> Query:
        return self._with("distance_type", name)

    def nprobes(self, count: int) -> Query:
        return self._with("nprobes", count)

    def refine_factor(self, factor: int) -> Query:
        return self._with("refine_factor", factor)

    def bypass_vector_index(self) -> Query:
        return self._with("bypass_vector_index")

    def to_arrow(self) -> pa.Table:
        """Returns the rows."""
        return self._table.rows(self._steps)

    def to_batches(self, length: int) -> Iterator[pa.RecordBatch]:
        """Yields the rows, at most `length` at a time."""
        return self._table.batches(self._steps, length)

    def _with(self, method: str, argument: object = None) -> Query:
        return replace(self, _steps=(*self._steps, (method, argument)))


class RowsInMemory:
    """All rows of a table as they were read, found by the whole numbers in one of their columns."""

    def __init__(self, rows: pa.Table, column: str) -> None:
        numbers = rows[column].to_numpy()
        self._rows, self._order = rows, np.argsort(numbers, kind="stable")
        self._sorted = numbers[self._order]

    def where_in(self, numbers: Collection[int]) -> pa.Table:
        """Returns the rows that have one of these numbers, in the order of the table."""
        wanted = np.unique(np.fromiter(numbers, np.int64))
        edges = zip(*(np.searchsorted(self._sorted, wanted, side) for side in ("left", "right")), strict=True)
        places = sorted(place for first, end in edges for place in self._order[first:end].tolist())
        rows = [self._rows.slice(0, 0), *(self._rows.slice(place, 1) for place in places)]
        return pa.concat_tables(rows).combine_chunks()


async def _open(connect: Callable[..., Any], path: IndexPath, name: str) -> Any:
    """Returns a table of the compiled half."""
    at_once = 0.0  # seconds after which the commits of other processes are looked for
    half = await connect(
        str(path.absolute() if isinstance(path, Path) else path),
        read_consistency_interval=at_once,
        storage_options=storage_options(path),
    )
    return await half.open_table(name)


def _in_half(table: Any, steps: Sequence[Step]) -> Any:
    """Returns a query of the compiled half."""
    query = None
    for method, argument in steps:
        if method == "take_offsets":
            query = table.take_offsets(argument)
        elif method == "nearest_to":  # numbers as the package hands them over
            query = table.query().nearest_to(pa.array(np.asarray(argument, np.float32).tolist()))
        else:
            query = table.query() if query is None else query
            call = getattr(query, IN_HALF.get(method, method))
            call() if argument is None else call(argument)
    return table.query() if query is None else query


def _in_whole(table: Table, steps: Sequence[Step]) -> Any:
    """Returns a query of the package."""
    query: Any = None
    for method, argument in steps:
        if method == "take_offsets":
            query = table.take_offsets(argument)
        elif method == "nearest_to":
            query = table.search(np.asarray(argument, np.float32))
        else:
            query = table.search() if query is None else query
            call = getattr(query, method)
            query = call() if argument is None else call(argument)
    return table.search() if query is None else query
