"""`WindowState`: the core of a stream, without clock or thread: rows and watermarks in, results out."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import WindowError
from lepton_nb.windowing import arrivals, batch, blobs, kinds
from lepton_nb.windowing.clocks import RowClock
from lepton_nb.windowing.plan import Plan, bind
from lepton_nb.windowing.spec import Spec
from lepton_nb.windowing.stores import store_for
from lepton_nb.windowing.stores.base import ENDLESS, Emitted, TableStore

if TYPE_CHECKING:
    from lepton_nb.windowing.query import WindowQuery


class WindowState:
    """The open windows of a query.

    `ingest` takes rows, `advance` the watermark; both give result rows: key columns, window_start, window_end
    (half-open, in the time column's type), then the aggregates, sorted by key, then window_start. A window is given
    when the watermark reaches its last tick (window_end - 1 tick), and again, whole, for every batch with a late row
    within the allowed lateness. The result does not depend on how rows are divided into batches or ordered, as long
    as none is late.

    query: a query with windows and aggregates; its data, if it has any, is not looked at. The first batch fixes the
    types.
    """

    def __init__(self, query: WindowQuery) -> None:
        if not isinstance(getattr(query, "spec", None), Spec):
            raise WindowError(f"WindowState takes a query such as lnb.windows(time=...).tumbling(...), not {query!r}")
        self._query = query
        self._plan: Plan | None = None
        self._store: TableStore | None = None
        self._late: list[pl.DataFrame] = []
        self._aside: list[pl.DataFrame] = []
        self._retracted: pl.DataFrame | None = None

    def ingest(self, frame: frames.Frame) -> pl.DataFrame:
        """Take in rows; gives the windows that they change after these were given. Does not move the watermark.

        Rows that come too late for all their windows go to `late`, rows with a null time or key to `aside`.
        Raises WindowError where the query does not fit the frame, DataError where the types change.
        """
        table = frames.eager(frame)
        plan, store = self._bound(table.schema)
        batch.check_types(table.schema, plan)
        arrived = arrivals.sort_out(table, plan, RowClock(store.watermark))
        self._keep(self._late, arrived.late)
        self._keep(self._aside, arrived.aside)
        scanned = batch.ours(lambda: kinds.of(plan).scan(arrived.on_time, plan))
        kept, _ = kinds.of(plan).split_aside(scanned, plan)
        emitted = store.absorb([kept])
        if emitted.late is not None:
            self._keep(self._late, arrivals.late_in(arrived.on_time, emitted.late, plan))
        return self._given(emitted)

    def advance(self, watermark: int | datetime | date) -> pl.DataFrame:
        """Say that all rows up to `watermark` have come; gives the windows that this closes.

        A datetime (UTC if it has no zone), or whole milliseconds since the epoch, which stand for all of that
        millisecond. A watermark never goes back: an earlier one changes nothing.
        """
        plan, store = self._require("advance")
        return self._given(store.advance(arrivals.to_tick(watermark, plan)))

    def finish(self) -> pl.DataFrame:
        """Say that no row will come any more; gives all windows that are still open."""
        return self._given(self._require("finish")[1].advance(ENDLESS))

    def early(self) -> pl.DataFrame:
        """The windows that are still open, as they stand now; nothing changes."""
        return self._require("early")[1].early()

    @property
    def late(self) -> pl.DataFrame:
        """All input rows so far that came too late for every one of their windows, with all their columns."""
        return self._collected(self._late)

    @property
    def aside(self) -> pl.DataFrame:
        """All input rows so far whose time or one of whose keys is null."""
        return self._collected(self._aside)

    @property
    def retracted(self) -> pl.DataFrame:
        """Windows that the last call took back, such as sessions that a late row has changed.

        Columns: the keys, window_start, window_end.
        """
        if self._retracted is None:
            return self._require("retracted")[1].no_windows()
        return self._retracted

    def snapshot(self) -> bytes:
        """All of the state; `restore` goes on from it. Tables in Arrow's format: loading it runs no code."""
        plan, store = self._require("snapshot")
        tables = {f"store:{name}": table for name, table in store.dump().items()}
        tables |= {"late": self.late, "aside": self.aside, "schema": self.late.clear()}
        header = {"query": blobs.fingerprint(plan.spec), "watermark": store.watermark}
        return blobs.packed(header, tables)

    @classmethod
    def restore(cls, query: WindowQuery, blob: bytes) -> Self:
        """The state that `snapshot` gave, for the same query.

        Raises WindowError for another query or a damaged blob.
        """
        header, tables = blobs.unpacked(blob)
        blobs.check_query(header.get("query"), blobs.fingerprint(query.spec))
        state = cls(query)
        _, store = state._bound(tables["schema"].schema)
        prefix = "store:"
        stored = {name.removeprefix(prefix): table for name, table in tables.items() if name.startswith(prefix)}
        store.load(stored, header["watermark"])
        state._keep(state._late, tables["late"])
        state._keep(state._aside, tables["aside"])
        return state

    def _bound(self, schema: pl.Schema) -> tuple[Plan, TableStore]:
        if self._plan is None or self._store is None:
            self._plan = bind(self._query.spec, schema)
            self._store = store_for(self._plan)
            self._empty = pl.DataFrame(schema=schema)
        return self._plan, self._store

    def _require(self, call: str) -> tuple[Plan, TableStore]:
        if self._plan is None or self._store is None:
            data: Any = self._query.frame
            if data is None:
                raise WindowError(
                    f"{call} needs the types of the rows; call ingest(frame) first, an empty frame will do"
                )
            self._bound(frames.schema(frames.lazy(data)))
        assert self._plan is not None
        assert self._store is not None
        return self._plan, self._store

    def _given(self, emitted: Emitted) -> pl.DataFrame:
        self._retracted = emitted.retracted
        return emitted.rows

    def _collected(self, tables: list[pl.DataFrame]) -> pl.DataFrame:
        self._require("late")
        # Columns that the query does not read may come and go.
        return pl.concat(tables, how="diagonal_relaxed") if tables else self._empty

    @staticmethod
    def _keep(tables: list[pl.DataFrame], table: pl.DataFrame) -> None:
        if table.height:
            tables.append(table)
