"""DuckDB: `time_bucket`, window functions, ordered aggregates."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from lepton_nb.windowing.durations import Length, text
from lepton_nb.windowing.sql.dialect import Dialect
from lepton_nb.windowing.sql.lines import in_words, span

EPOCH = "TIMESTAMP '1970-01-01'"


class DuckDB(Dialect):
    """Moments are ticks from the epoch; units are timestamps without a zone, in UTC or the query's zone."""

    name: ClassVar[str] = "DuckDB"
    mark: ClassVar[str] = '"'

    def moment(self) -> str:
        if self.plan.time_dtype == pl.Date:
            return f"({self.time} - DATE '1970-01-01')"
        return f"epoch_{self.column_unit}({self.time})"

    def bound(self, moment: str, ticks: int = 0) -> str:
        if ticks:
            moment = f"{moment} {'+' if ticks > 0 else '-'} {abs(ticks)}"
        if self.plan.time_dtype == pl.Date:
            return f"DATE '1970-01-01' + CAST({moment} AS INTEGER)"
        made = {"ms": f"make_timestamp(({moment}) * 1000)", "us": f"make_timestamp({moment})"}
        made["ns"] = f"make_timestamp_ns({moment})"
        return made[self.column_unit] + (" AT TIME ZONE 'UTC'" if self.zoned else "")

    def unit(self) -> str:
        unit = self._utc()
        if self.plan.calendar.zone:
            self.check_zone()
            unit = f"{unit} AT TIME ZONE 'UTC' AT TIME ZONE {self.zone}"
        return f"({unit} - {self._shift})" if self.plan.calendar.shift else unit

    def floor(self, unit: str, every: Length, offset: Length) -> str:
        origin = EPOCH
        if offset != Length():
            origin = f"{EPOCH} + {self.length(offset)}"
        return f"time_bucket({self.length(every)}, {unit}, {origin})"

    def length(self, length: Length) -> str:
        if span(length) is None:
            self.lacks(
                f"windows of {text(length.ns)}",
                "its intervals are whole microseconds",
                "use such a length, or compute it here with collect()",
            )
        return f"INTERVAL '{in_words(length)}'"

    def instant(self, unit: str) -> str:
        if self.plan.calendar.shift:
            unit = f"{unit} + {self._shift}"
        if self.plan.calendar.zone:
            unit = f"({unit}) AT TIME ZONE {self.zone}" + ("" if self.zoned else " AT TIME ZONE 'UTC'")
        elif self.zoned:
            unit = f"({unit}) AT TIME ZONE 'UTC'"
        if self.plan.time_dtype == pl.Date:
            return f"CAST({unit} AS DATE)"
        if self.column_unit == "ns" and not self.zoned:
            return f"CAST({unit} AS TIMESTAMP_NS)"
        return unit

    def times(self, number: int) -> str:
        return f"range({number}) AS {self.internal('times')}({self.index})"

    def quotient(self, number: str, divisor: int) -> str:
        return f"{number} // {divisor}"

    def integer(self, dtype: pl.DataType) -> str:
        return "UBIGINT" if dtype == pl.UInt64 else "BIGINT"

    def quantile(self, column: str, q: float) -> str:
        return self.call("quantile_cont", f"{column}, {q!r}")

    def edge(self, name: str, column: str, floats: bool) -> str:
        if self.number:
            order = self.number
        else:
            # NaN is the largest of all; as the last of several at one time it gives way to numbers.
            number_first = f"NOT isnan({column}), " if floats and name == "last" else ""
            order = f"row({self.time}, {number_first}{column})"
        function = "arg_min" if name == "first" else "arg_max"
        return self.call(function, f"{column}, {order}", where=f"{column} IS NOT NULL")

    def largest(self, column: str, k: int) -> str:
        return f"coalesce({self.call('max', f'{column}, {k}')}, [])"

    def most_frequent(self, column: str, k: int) -> str:
        counted = f"map_entries({self.call('histogram', column)})"
        ordered = f"list_sort(list_transform({counted}, lambda e: {{'n': -CAST(e.value AS BIGINT), 'v': e.key}}))"
        return f"coalesce(list_transform({ordered}[:{k}], lambda e: {{'value': e.v, 'count': -e.n}}), [])"

    def approximate_quantile(self, column: str, q: float, error: float) -> str:
        self.no_aggregate(
            "quantile(..., error=...)", "its approx_quantile states no error", "the exact one, without error"
        )

    def approximate_distinct(self, column: str, error: float) -> str:
        self.no_aggregate(
            "distinct(..., error=...)", "its approx_count_distinct takes no error", "the exact one, without error"
        )

    @property
    def _shift(self) -> str:
        """What a month begins after its first midnight."""
        return self.length(Length(ns=self.plan.calendar.shift * self.tick_ns))

    def _utc(self) -> str:
        """The row's time in UTC, without a zone, in microseconds, rounded down."""
        if self.plan.time_dtype == pl.Date or not self.typed:
            return f"CAST({self.time} AS TIMESTAMP)"
        if self.column_unit == "ns":
            ticks = f"epoch_ns({self.time})"
            return f"make_timestamp(({ticks} - (({ticks} % 1000) + 1000) % 1000) // 1000)"
        return f"{self.time} AT TIME ZONE 'UTC'" if self.zoned else self.time
