"""Flink: window table-valued functions and OVER aggregates, which run over streams, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import polars as pl

from lepton_nb.windowing.assign import Grid, LastRows
from lepton_nb.windowing.durations import DAY_NS, Length, text
from lepton_nb.windowing.spec import END, START
from lepton_nb.windowing.sql.dialect import Dialect
from lepton_nb.windowing.sql.lines import indented, select, span

TICK_NS = 1_000_000
# The first number of Flink's intervals has three digits at most.
MOST_DAYS = 999
BATCH = "-- For Flink's batch mode: "
STREAMING = "-- For Flink's streaming mode: "


class Flink(Dialect):
    """Moments are timestamps of milliseconds; Flink itself cuts time into windows."""

    name: ClassVar[str] = "Flink"
    mark: ClassVar[str] = "`"
    assumed_unit: ClassVar[Literal["ms", "us"]] = "ms"
    folds_case: ClassVar[bool] = False
    # A stream has no end at which it could be sorted.
    sorts: ClassVar[bool] = False

    def text(self) -> str:
        calendar = self.plan.calendar
        if calendar.dtype == pl.Date:
            self.lacks(
                f"windows over {self.plan.time!r}, which is Date",
                "its windows need timestamps",
                f"cast the column: frame.with_columns(pl.col({self.plan.time!r}).cast(pl.Datetime('ms')))",
            )
        if calendar.months:
            self.lacks(
                "windows of months",
                "its windows have a fixed length",
                "use days, for example '30d', or compute it here with collect() or stream()",
            )
        if calendar.zone:
            self.lacks(
                f"tz={calendar.zone!r}",
                "it takes the zone from the session, not from the query",
                "leave tz out for days in UTC, or compute it here with collect() or stream()",
            )
        return super().text()

    def grid(self) -> list[str]:
        layout = self.plan.layout
        assert isinstance(layout, Grid)
        size, every, offset = self.lengths()
        if layout.size == layout.every:
            return self._windows("TUMBLE", [size], offset)
        lines = self._windows("HOP", [every, size], offset)
        if layout.size % layout.every:
            lines.insert(0, BATCH + "streams need a size that is a multiple of the step")
        return lines

    def cumulating(self) -> list[str]:
        size, every, offset = self.lengths()
        return self._windows("CUMULATE", [every, size], offset)

    def session(self, gap: int) -> list[str]:
        self._check_ticks()
        by = f" PARTITION BY ({', '.join(self.keys)})" if self.keys else ""
        lines = self._windows("SESSION", [Length(ns=gap * self.tick_ns)], Length(), by)
        return [STREAMING + "batch mode has no sessions", *lines]

    def rolling(self, size: int) -> list[str]:
        return [STREAMING + "batch mode has no ranges of time", *super().rolling(size)]

    def last_rows(self, rows: int) -> list[str]:
        return [BATCH + "streams do not order rows of equal time", *super().last_rows(rows)]

    def counting(self, rows: int, every: int) -> list[str]:
        return [BATCH + "streams do not order rows of equal time", *super().counting(rows, every)]

    def moment(self) -> str:
        self._check_ticks()
        return self.time

    def bound(self, moment: str, ticks: int = 0) -> str:
        if not ticks:
            return f"CAST({moment} AS TIMESTAMP(3))"
        sign = "+" if ticks > 0 else "-"
        return f"CAST({moment} AS TIMESTAMP(3)) {sign} {self.length(Length(ns=abs(ticks) * self.tick_ns))}"

    def preceding(self, ticks: int) -> str:
        return self.length(Length(ns=ticks * self.tick_ns))

    def length(self, length: Length) -> str:
        """An INTERVAL that says how many digits its first number has, where they are more than two."""
        milliseconds, rest = divmod(length.ns, TICK_NS)
        if rest or length.ns > MOST_DAYS * DAY_NS:
            self.lacks(
                f"windows of {text(length.ns)}",
                f"its windows are whole milliseconds, up to {MOST_DAYS} days",
                "use such a length, or compute it here with collect() or stream()",
            )
        found = span(length)
        assert found is not None
        number, unit = found
        if unit != "millisecond" and number <= MOST_DAYS:
            digits = f"({len(str(number))})" if number > 99 else ""
            return f"INTERVAL '{number}' {unit.upper()}{digits}"
        days, milliseconds = divmod(milliseconds, 86_400_000)
        minutes, milliseconds = divmod(milliseconds, 60_000)
        clock = f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1_000:02}.{milliseconds % 1_000:03}"
        return f"INTERVAL '{days} {clock}' DAY({len(str(days))}) TO SECOND(3)"

    def times(self, number: int) -> str:
        rows = ", ".join(f"({i})" for i in range(number))
        return f"(VALUES {rows}) AS {self.internal('times')}({self.index})"

    def quotient(self, number: str, divisor: int) -> str:
        return f"{number} / {divisor}"

    def unit(self) -> str:
        raise AssertionError("Flink cuts time itself")

    def floor(self, unit: str, every: Length, offset: Length) -> str:
        raise AssertionError("Flink cuts time itself")

    def instant(self, unit: str) -> str:
        raise AssertionError("Flink cuts time itself")

    def sum(self, column: str, dtype: pl.DataType | None) -> str:
        """Flink adds in the column's own type, which may be narrow."""
        assert dtype is not None
        if dtype.is_float():
            return f"coalesce({self.call('sum', self.double(column))}, 0e0)"
        narrow = f"CAST({column} AS INTEGER)" if dtype == pl.Boolean else column
        return f"coalesce({self.call('sum', f'CAST({narrow} AS BIGINT)')}, CAST(0 AS BIGINT))"

    def quantile(self, column: str, q: float) -> str:
        return self.call("percentile", f"{column}, {q!r}")

    def distinct(self, column: str) -> str:
        if isinstance(self.plan.layout, LastRows):
            self.no_aggregate("distinct over the last rows", "its batch mode has no DISTINCT there", "rolling(size)")
        return super().distinct(column)

    def edge(self, name: str, column: str, floats: bool) -> str:
        """Values in the order of rows: only where those are ordered."""
        if isinstance(self.plan.layout, LastRows):
            return self.call(f"{name}_value", column)
        self.no_aggregate(
            name, "its first_value and last_value go by the arrival of rows, not by their time", "min or max"
        )

    def largest(self, column: str, k: int) -> str:
        self.no_aggregate("top_k", "no aggregate of its windows gives several values", "max")

    def most_frequent(self, column: str, k: int) -> str:
        self.no_aggregate(
            "top_k", "no aggregate of its windows gives several values", "count with that column as a key"
        )

    def approximate_quantile(self, column: str, q: float, error: float) -> str:
        self.no_aggregate("quantile(..., error=...)", "it has no approximate quantile", "the exact one, without error")

    def approximate_distinct(self, column: str, error: float) -> str:
        self.no_aggregate(
            "distinct(..., error=...)", "its windows have no approximate count", "the exact one, without error"
        )

    def may_be_nan(self, dtype: pl.DataType | None) -> bool:
        """There is no test for it."""
        return False

    def quote(self, name: str) -> str:
        if "\n" in name or "\r" in name:
            self.lacks(f"a query with the name {name!r}", "its names cannot hold line breaks", "rename it")
        return super().quote(name)

    def _windows(self, function: str, lengths: Sequence[Length], offset: Length, by: str = "") -> list[str]:
        """Groups of the rows that a window function gives."""
        added = {START, END, "window_time"}
        for column in self.plan.columns:
            if column in added:
                self.lacks(
                    f"a query that reads a column named {column!r}",
                    "its windows add a column of that name",
                    "rename it",
                )
        rows = self.internal("rows")
        arguments = [f"TABLE {rows}{by}", f"DESCRIPTOR({self.time})", *(self.length(length) for length in lengths)]
        if offset != Length():
            arguments.append(self.length(offset))
        source = f"TABLE({function}({', '.join(arguments)}))"
        selected = select(
            [*self.keys, self.start, self.end, *self.values()], [source], group=[*self.keys, self.start, self.end]
        )
        return [f"WITH {rows} AS (", *indented(self.rows(self.columns)), ")", *selected]

    def _check_ticks(self) -> None:
        """Where single ticks matter, the column's must be Flink's."""
        if self.column_unit != "ms":
            self.lacks(
                f"such windows over {self.plan.time!r}, which is {self.plan.time_dtype}",
                "its event times are milliseconds",
                f"cast the column: frame.with_columns(pl.col({self.plan.time!r}).dt.cast_time_unit('ms'))",
            )
