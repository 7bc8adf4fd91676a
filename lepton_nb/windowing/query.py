"""`windows`: the query that users write; immutable, each method returns a new one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import WindowError, WindowWarning
from lepton_nb.windowing import batch, durations
from lepton_nb.windowing.aggregates import Aggregate, named
from lepton_nb.windowing.durations import Duration
from lepton_nb.windowing.spec import Shape, Spec, require

if TYPE_CHECKING:
    from distributed import Client

    from lepton_nb.cluster.session import Cluster


@dataclass(frozen=True, eq=False)
class WindowQuery:
    """Windows over the event time of a table, by key, with aggregates. Made by `windows`.

    The methods may come in any order; where one is called twice, the last call holds.
    Windows are half-open [start, end) in UTC; times before 1970 work. A window without rows is not in the result.
    """

    spec: Spec
    frame: frames.Frame | None = None

    def tumbling(self, size: Duration, offset: Duration | int = 0, tz: str | None = None) -> WindowQuery:
        """Windows of `size`, one after the other, starting at the epoch plus `offset` (shorter than `size`).

        With `tz`, an IANA zone such as "America/New_York", `size` and `offset` are whole days and windows follow that
        zone's civil days, which last 23 or 25 hours where the clocks change. Times without a zone are UTC.
        """
        size_ns = durations.nanoseconds(size, "size")
        return self._shaped(Shape("tumbling", size_ns, size_ns, durations.nanoseconds(offset, "offset"), tz or ""))

    def sliding(self, size: Duration, every: Duration, offset: Duration | int = 0) -> WindowQuery:
        """Windows of `size` that start every `every`, at the epoch plus `offset` (shorter than `every`).

        `size` need not be a multiple of `every`. Where it is shorter, there are gaps, whose rows are in no window.
        """
        lengths_ns = (durations.nanoseconds(size, "size"), durations.nanoseconds(every, "every"))
        return self._shaped(Shape("sliding", *lengths_ns, durations.nanoseconds(offset, "offset")))

    def agg(self, **aggregates: Aggregate) -> WindowQuery:
        """What to compute: result columns and their aggregates, such as `delay=lnb.mean("dep_delay")`."""
        for name, aggregate in aggregates.items():
            if not isinstance(aggregate, Aggregate):
                raise WindowError(
                    f"agg({name}=...) takes an aggregate such as lnb.count() or lnb.mean('column'), not {aggregate!r}"
                )
        if not aggregates:
            raise WindowError("agg() takes at least one aggregate, for example agg(rows=lnb.count())")
        return replace(self, spec=replace(self.spec, aggregates=tuple(aggregates.items())))

    def collect(self, cluster: Cluster | Client | None = None) -> pl.DataFrame:
        """Compute the result: key columns, window_start, window_end, then the aggregates.

        One row per key and window that holds rows, sorted by key, then window_start; the bounds have the time
        column's type and zone. With `cluster`, an lnb.Cluster or a distributed.Client, the result is the same (see
        `sum` for the last digits of floats). Files given by path are scanned by the workers, and the partitions of a
        Dask DataFrame stay there; only partial results travel. A frame in memory travels from here to the workers, its
        needed columns only; so does a LazyFrame, which is collected here first: give the path instead.
        An empty table gives an empty result with the right columns.

        Rows with a null time or key are in no window; a WindowWarning says how many, `aside()` returns them.
        Raises WindowError (the query does not fit the table), DataError (the table cannot be read), ClusterError.
        """
        result = batch.collect(self._data(), self.spec, cluster)
        if result.aside:
            warnings.warn(
                f"{result.aside} of {result.rows} rows have no {self._needed()} and are in no window; "
                "query.aside() returns them",
                WindowWarning,
                stacklevel=2,
            )
        return result.table

    def aside(self) -> pl.DataFrame:
        """The rows that are in no window because their time or one of their keys is null, with all their columns."""
        rows = frames.lazy(self._data())
        needed = (self.spec.time, *self.spec.keys)
        require(needed, frames.schema(rows))
        return frames.eager(rows.filter(pl.any_horizontal([named(column).is_null() for column in needed])))

    def _shaped(self, shape: Shape) -> WindowQuery:
        return replace(self, spec=replace(self.spec, shape=shape))

    def _data(self) -> frames.Frame:
        if self.frame is None:
            raise WindowError("the query has no data; give the table first: lnb.windows(frame, time=...)")
        return self.frame

    def _needed(self) -> str:
        return "time or key" if self.spec.keys else "time"

    def __repr__(self) -> str:
        shape = self.spec.shape
        kind = "no windows yet" if shape is None else f"{shape.kind} {durations.text(shape.size_ns)}"
        if shape is not None and shape.every_ns != shape.size_ns:
            kind += f" every {durations.text(shape.every_ns)}"
        by = f", by {', '.join(self.spec.keys)}" if self.spec.keys else ""
        names = ", ".join(name for name, _ in self.spec.aggregates) or "no aggregates yet"
        return f"<windows over {self.spec.time}{by}: {kind}; {names}>"


def windows(frame: Any = None, *, time: str, key: str | Sequence[str] | None = None) -> WindowQuery:
    """A window query over `frame`, any table that lepton_nb accepts, or None for a query without data.

    time: the column with the event time, Datetime or Date. key: the column or columns to group by, if any.

        (lnb.windows(flights, time="scheduled_departure", key="carrier")
            .sliding("6h", every="1h").agg(flights=lnb.count(), delay=lnb.mean("dep_delay")).collect())
    """
    keys = () if key is None else (key,) if isinstance(key, str) else tuple(key)
    for name in (time, *keys):
        if not isinstance(name, str):
            raise WindowError(f"time and key are names of columns, not {name!r}")
    return WindowQuery(Spec(time, keys), frame)
