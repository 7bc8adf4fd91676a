"""`windows`: the query that users write; immutable, each method returns a new one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import WindowError, WindowWarning
from lepton_nb.windowing import batch, durations
from lepton_nb.windowing.aggregates import Aggregate, Custom
from lepton_nb.windowing.durations import Duration, Length
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.plan import bind, require
from lepton_nb.windowing.spec import CountingShape, GridShape, Lateness, RollingShape, SessionShape, Shape, Spec
from lepton_nb.windowing.sql import sql as to_sql

if TYPE_CHECKING:
    from distributed import Client

    from lepton_nb.cluster.session import Cluster
    from lepton_nb.windowing.joins import How, JoinQuery
    from lepton_nb.windowing.stream import StreamRun


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

        Months, quarters and years ("1mo", "1q", "1y") are those of the calendar, and begin on their first day.
        Lengths written in weeks ("1w") begin on Monday, as in ISO 8601; "7d" is seven days from the epoch, a
        Thursday, as in Flink and Spark. With `tz`, an IANA zone such as "America/New_York", `size` and `offset` are
        whole days or months and windows follow that zone's civil days, which last 23 or 25 hours where the clocks
        change. Times without a zone are UTC.
        """
        length = durations.length(size, "size")
        return self._shaped(GridShape("tumbling", length, length, durations.length(offset, "offset"), tz or ""))

    def sliding(
        self, size: Duration, every: Duration, offset: Duration | int = 0, tz: str | None = None
    ) -> WindowQuery:
        """Windows of `size` that start every `every`, at the epoch plus `offset` (shorter than `every`).

        `size` need not be a multiple of `every`. Where it is shorter, there are gaps, whose rows are in no window.
        Months, weeks and `tz` as in `tumbling`; size and every are both in months or both not.
        """
        lengths = (durations.length(size, "size"), durations.length(every, "every"))
        return self._shaped(GridShape("sliding", *lengths, durations.length(offset, "offset"), tz or ""))

    def cumulating(
        self, size: Duration, every: Duration, offset: Duration | int = 0, tz: str | None = None
    ) -> WindowQuery:
        """Windows that grow by `every` up to `size` and then begin anew.

        They are [s, s + every), [s, s + 2 * every), ... [s, s + size). The s are those of `tumbling(size, offset)`;
        size is a multiple of every. As Flink's CUMULATE: a window is in the result from the first one on that holds a
        row. Months ("1y" every "1mo"), weeks and `tz` as in `tumbling`.
        """
        lengths = (durations.length(size, "size"), durations.length(every, "every"))
        return self._shaped(GridShape("cumulating", *lengths, durations.length(offset, "offset"), tz or ""))

    def session(self, gap: Duration) -> WindowQuery:
        """Rows of a key that follow each other with no more than `gap` between them.

        A session is [first time, last time + gap). Rows exactly `gap` apart are in one session, as in Flink. A stream
        gives a session when the watermark reaches its last tick; should a row exactly `gap` after the last one come
        then, in time by a tick, the session is taken back and given anew, longer, as the table has it. (Flink divides
        it.)
        """
        return self._shaped(SessionShape(durations.nanoseconds(gap, "gap")))

    def rolling(self, size: Duration | None = None, *, rows: int | None = None) -> WindowQuery:
        """One result a row: over the rows of its key in the time `size` up to it, or over the last `rows` rows.

        With `size`: for a row at time t, the rows in (t - size, t], as Polars' and pandas' rolling. As a half-open
        window that is [t - size + 1 tick, t + 1 tick), a tick being one unit of the time column; rows of equal time
        see each other. With `rows`: the row itself and the rows - 1 before it in the order of time, fewer at the
        beginning; rows of equal time are ordered by their values. `lnb.max(time)` gives the row's own time. In order
        of key, then time.
        """
        if (size is None) == (rows is None):
            raise WindowError(
                "rolling() takes either a length of time or a number of rows: rolling('10m') or rolling(rows=5)"
            )
        if size is None:
            return self._shaped(RollingShape(rows=rows))
        return self._shaped(RollingShape(durations.nanoseconds(size, "size")))

    def counting(self, rows: int, every: int | None = None) -> WindowQuery:
        """Windows of `rows` rows of a key, a new one every `every` rows (`rows` if left out), in the order of time.

        As Flink's count windows: a window is in the result once all its rows are there. Rows of equal time are
        ordered by their values. window_start is the time of its first row, window_end that of its last plus one tick.
        """
        return self._shaped(CountingShape(rows, rows if every is None else every))

    def fixed(self, periods: int, step: Duration) -> WindowQuery:
        """The fixed window W = T * S: `periods` T, each of length `step` S, one window after the other.

        The same as `tumbling(size=T * S)`: half-open, W long.
        """
        size = _times(periods, step)
        return self._shaped(GridShape("tumbling", size, size))

    def sliding_inclusive(self, periods: int, step: Duration) -> WindowQuery:
        """The sliding window W = T * S + 1: it starts every `step` S, and counts both ends of T = `periods` steps.

        A window holds the times s, ..., s + T * S, in all T * S + 1 ticks of the time column: half-open, it is
        [s, s + T * S + 1 tick). A row exactly on a step belongs to T + 1 windows.
        """
        size = _times(periods, step)
        return self._shaped(GridShape("sliding", size, durations.length(step, "step"), inclusive=True))

    def lateness(self, out_of_order: Duration | int = 0, allowed: Duration | int = 0) -> WindowQuery:
        """How much disorder a stream of this query bears. A table's result does not depend on it.

        out_of_order: the watermark stays this much, plus one tick, behind the latest time seen. A window is emitted
        when the watermark has reached its last tick. allowed: for this long after that, a late row makes it come
        again with its new values; later rows are kept in the late table. A row is late only if all its windows are
        past the watermark that the rows before it brought about; so late rows do not depend on where batches end. The
        watermark of sessions stays one tick more behind, for rows exactly a gap after the last.
        """
        lateness = Lateness(
            durations.nanoseconds(out_of_order, "out_of_order"), durations.nanoseconds(allowed, "allowed")
        )
        return replace(self, spec=replace(self.spec, lateness=lateness))

    def agg(self, **aggregates: Aggregate) -> WindowQuery:
        """What to compute: result columns and their aggregates, such as `delay=lnb.mean("dep_delay")`."""
        for name, aggregate in aggregates.items():
            if not isinstance(aggregate, Aggregate):
                raise WindowError(
                    f"agg({name}=...) takes an aggregate such as lnb.count() or lnb.mean('column'), not {aggregate!r}"
                )
        if not aggregates:
            raise WindowError("agg() takes at least one aggregate, for example agg(rows=lnb.count())")
        # Two functions of a user may have the same name; those of a query have not.
        named_own = {n: replace(a, label=n) if isinstance(a, Custom) else a for n, a in aggregates.items()}
        return replace(self, spec=replace(self.spec, aggregates=tuple(named_own.items())))

    def collect(self, cluster: Cluster | Client | None = None) -> pl.DataFrame:
        """Compute the result: key columns, window_start, window_end, then the aggregates.

        One row per key and window that holds rows, sorted by key, then window_start; the bounds have the time
        column's type and zone. With `cluster`, an lnb.Cluster or a distributed.Client, the result is the same (see
        `sum` for the last digits of floats). Files given by path are scanned by the workers, and the partitions of a
        Dask DataFrame stay there; only partial results travel. A frame in memory travels from here to the workers, its
        needed columns only; so does a LazyFrame, which is collected here first: give the path instead.
        An empty table gives an empty result with the right columns.

        Rows with a null time or key are in no window; a WindowWarning says how many, `aside()` returns them; it is a
        WindowError where all rows are such.
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

    def stream(
        self,
        source: Any = None,
        sink: Any = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        cluster: Cluster | Client | None = None,
        batch_rows: int = 1_000_000,
        idle: Duration | None = None,
    ) -> StreamRun:
        """The same query over a live source, in the background: `start()` it, `stop()` it, or `wait()` for its end.

        source: one of `lnb.sources`, any table, files, or an iterable of rows; the query's own data if left out.
        sink: one of `lnb.sinks`, a folder (Parquet), a file that ends in .duckdb, or a function that takes each batch
            of results; without one they are kept beside the checkpoint. `table()` reads them back.
        checkpoint: a folder in which the stream remembers where it stands. Started again with the same query and
            folder, it goes on there, and every result is in the sink once, even if the process was killed. A stream
            whose source ended has given all its windows: it raises WindowError if the source has grown since. Without
            a checkpoint a stream forgets all when its process ends.
        cluster: reads and pre-aggregates on the workers, and keeps the open windows there, divided by key; they must
            see the checkpoint folder under the same path.
        batch_rows: about how many rows make a batch: more for throughput, fewer for memory and latency.
        idle: a channel of the source (a Kafka partition, for example) from which nothing has come for this long no
            longer holds back the watermark.

        A window is emitted when the watermark, which trails the latest time by `lateness(out_of_order=...)`, has
        reached its end; the watermark moves between batches. All keys of a window are emitted in one batch, so that a
        function as sink can compare them. What is still open when the source ends is then emitted.
        Raises WindowError for a source, sink or option that cannot be.
        """
        from lepton_nb.windowing import stream as streams
        from lepton_nb.windowing.programs import QueryProgram

        spec = self.spec
        if spec.shape is None or not spec.aggregates:
            raise WindowError(
                "a stream needs windows and aggregates; call .tumbling(...) or another, and .agg(...) first"
            )
        taken = streams.source_of(self.frame if source is None else source, spec.time)
        return streams.make(QueryProgram(spec), taken, sink, checkpoint, cluster, batch_rows, idle)

    def join(self, other: WindowQuery, how: How = "inner") -> JoinQuery:
        """This query and another with the same windows, joined on key and window, over tables or over two streams.

        how: "inner" keeps windows that both have, "left" all of this one, "full" all of either. Keys pair up in their
        order, and carry this query's names. Raises WindowError where windows or keys do not match.
        """
        from lepton_nb.windowing.joins import JoinQuery, JoinSpec

        return JoinQuery(self, other, JoinSpec(self.spec, other.spec, how))

    def input_schema(self) -> dict[str, pl.DataType]:
        """The columns of its data that the query reads, and their types. Raises WindowError where they do not fit."""
        return bind(self.spec, frames.schema(frames.lazy(self._data()))).input_schema

    def aside(self) -> pl.DataFrame:
        """The rows that are in no window because their time or one of their keys is null, with all their columns."""
        rows = frames.lazy(self._data())
        needed = (self.spec.time, *self.spec.keys)
        require(needed, frames.schema(rows))
        return frames.eager(rows.filter(pl.any_horizontal([named(column).is_null() for column in needed])))

    def sql(self, engine: str, table: str | Sequence[str] = "events") -> str:
        """The query as one SELECT of "duckdb", "spark" or "flink" over `table`, with `collect()`'s result.

        Columns of the query's frame must have the same names there; a query without data is taken to have a timestamp
        and numbers. `lepton_nb.windowing.sql` says what differs between the engines. Raises WindowError for what one
        lacks.
        """
        schema = None if self.frame is None else frames.schema(frames.lazy(self.frame))
        return to_sql(self.spec, engine, table, schema)

    def _shaped(self, shape: Shape) -> WindowQuery:
        return replace(self, spec=replace(self.spec, shape=shape))

    def _data(self) -> frames.Frame:
        if self.frame is None:
            raise WindowError("the query has no data; give the table first: lnb.windows(frame, time=...)")
        return self.frame

    def _needed(self) -> str:
        return "time or key" if self.spec.keys else "time"

    def __repr__(self) -> str:
        kind = "no windows yet" if self.spec.shape is None else self.spec.shape.text
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


def _times(periods: int, step: Duration) -> Length:
    if isinstance(periods, bool) or not isinstance(periods, int) or periods < 1:
        raise WindowError(f"periods={periods!r} must be a whole number of steps, 1 or more")
    length = durations.length(step, "step")
    return Length(length.ns * periods, length.months * periods, length.weeks)
