"""Spark: `window`, `session_window`, window functions, integer arithmetic for the rest."""

from __future__ import annotations

import math
from typing import ClassVar

import polars as pl

from lepton_nb.windowing.assign import Grid, Sessions
from lepton_nb.windowing.durations import DAY_NS, Length, text
from lepton_nb.windowing.sql.dialect import Dialect
from lepton_nb.windowing.sql.lines import in_words, nested, span

# Months from the year 0 to January 1970, plus one.
FIRST_MONTH = 1970 * 12 + 1
# The largest error that Spark's sketch takes.
MOST_ERROR = 0.39


class Spark(Dialect):
    """Moments are ticks from the epoch; units are microseconds, days or months from it."""

    name: ClassVar[str] = "Spark"
    mark: ClassVar[str] = "`"

    def moment(self) -> str:
        if self.column_unit == "ns":
            self.lacks(
                "such windows over a column of nanoseconds",
                "its timestamps are microseconds",
                f"cast the column: frame.with_columns(pl.col({self.plan.time!r}).dt.cast_time_unit('us'))",
            )
        function = {"ms": "unix_millis", "us": "unix_micros", "": "unix_date"}[self.column_unit]
        return f"{function}({self.time})"

    def bound(self, moment: str, ticks: int = 0) -> str:
        if ticks:
            moment = f"{moment} {'+' if ticks > 0 else '-'} {abs(ticks)}"
        if self.plan.time_dtype == pl.Date:
            return f"date_from_unix_date(CAST({moment} AS INT))"
        return f"timestamp_{'millis' if self.column_unit == 'ms' else 'micros'}({moment})"

    def unit(self) -> str:
        wall = self.time
        if self.plan.calendar.zone:
            self.check_zone()
            wall = f"from_utc_timestamp({wall}, {self.zone})"
        if self.plan.calendar.months:
            if self.plan.calendar.shift:
                wall = f"({wall} - {self._shift})"
            return f"(year({wall}) * 12 + month({wall}) - {FIRST_MONTH})"
        return f"unix_date(CAST({wall} AS DATE))" if self._days else f"unix_micros({wall})"

    def floor(self, unit: str, every: Length, offset: Length) -> str:
        since = unit if offset == Length() else f"{unit} - {self.length(offset)}"
        return f"{unit} - pmod({since}, {self.length(every)})"

    def length(self, length: Length) -> str:
        if length.months:
            return str(length.months)
        self._check(length)
        return str(length.ns // DAY_NS if self._days else length.ns // 1_000)

    def instant(self, unit: str) -> str:
        if self.plan.calendar.months:
            day = f"add_months(DATE'1970-01-01', CAST({unit} AS INT))"
        elif self._days:
            day = f"date_from_unix_date(CAST({unit} AS INT))"
        else:
            return f"timestamp_micros({unit})"
        if self.plan.time_dtype == pl.Date:
            return f"{day} + {self._shift}" if self.plan.calendar.shift else day
        wall = f"CAST({day} AS TIMESTAMP)" + (f" + {self._shift}" if self.plan.calendar.shift else "")
        return f"to_utc_timestamp({wall}, {self.zone})" if self.zone else wall

    def times(self, number: int) -> str:
        return f"range({number}) AS {self.internal('times')}({self.index})"

    def quotient(self, number: str, divisor: int) -> str:
        return f"{number} div {divisor}"

    def grid(self) -> list[str]:
        """By `window`, which knows neither gaps nor months nor civil days."""
        layout = self.plan.layout
        assert isinstance(layout, Grid)
        if layout.gaps or self._days or self.plan.calendar.months:
            return super().grid()
        lengths = self.lengths()
        for length in lengths:
            self._check(length)
        size, every, offset = (in_words(length) for length in lengths)
        arguments = [self.time, f"'{size}'"]
        if layout.size != layout.every or layout.offset:
            arguments.append(f"'{every}'")
        if layout.offset:
            arguments.append(f"'{offset}'")
        window = self.internal("window")
        rows = self.rows([*self.columns, f"window({', '.join(arguments)}) AS {window}"])
        return self.grouped(f"{window}.start", f"{window}.end", nested(rows, self.internal("rows")), by=[window])

    def session(self, gap: int) -> list[str]:
        """By `session_window`, of columns of time; a column of dates has gaps of whole days."""
        if self.column_unit not in ("ms", "us"):
            return super().session(gap)
        length = in_words(Length(ns=gap * self.tick_ns))
        window = f"session_window({self.time}, '{length}')"
        rows = self.rows(self.columns)
        return self.grouped(f"{window}.start", f"{window}.end", nested(rows, self.internal("rows")), by=[window])

    def quantile(self, column: str, q: float) -> str:
        return self.call("percentile", f"{column}, {q!r}D")

    def approximate_quantile(self, column: str, q: float, error: float) -> str:
        return self.call("percentile_approx", f"nullif({column}, {self.nan}), {q!r}D, {math.ceil(1 / error)}")

    def approximate_distinct(self, column: str, error: float) -> str:
        return self.call("approx_count_distinct", f"{column}, {min(error, MOST_ERROR)!r}D")

    def distinct(self, column: str) -> str:
        # DISTINCT is not there over frames, and two of them over sessions count a value twice (seen in Spark 4.3).
        if not self.over and not isinstance(self.plan.layout, Sessions):
            return super().distinct(column)
        return f"CAST(size({self.call('collect_set', column)}) AS BIGINT)"

    def edge(self, name: str, column: str, floats: bool) -> str:
        # NaN is the largest of all; as the last of several at one time it gives way to numbers.
        number_first = f"NOT isnan({column}), " if floats and name == "last" else ""
        order = self.number or f"struct({self.time}, {number_first}{column})"
        function = "min_by" if name == "first" else "max_by"
        return self.call(function, f"{column}, CASE WHEN {column} IS NOT NULL THEN {order} END")

    def largest(self, column: str, k: int) -> str:
        return f"slice(sort_array({self.call('collect_list', column)}, false), 1, {k})"

    def most_frequent(self, column: str, k: int) -> str:
        values = self.call("collect_list", column)
        times = f"size(filter({values}, y -> y <=> x))"
        counted = f"transform(array_distinct({values}), x -> struct(-{times} AS n, x AS v))"
        best = f"slice(array_sort({counted}), 1, {k})"
        return f"transform({best}, e -> struct(e.v AS value, CAST(-e.n AS BIGINT) AS count))"

    def quote(self, name: str) -> str:
        if "${" in name:
            self.lacks(f"a query with the name {name!r}", "it replaces ${...} wherever it stands in SQL", "rename it")
        return super().quote(name)

    @property
    def _days(self) -> bool:
        return self.plan.time_dtype == pl.Date or bool(self.plan.calendar.zone)

    @property
    def _shift(self) -> str:
        """What a month begins after its first midnight."""
        shift = Length(ns=self.plan.calendar.shift * self.tick_ns)
        self._check(shift)
        found = span(shift)
        assert found is not None
        number, unit = found
        if unit in ("millisecond", "microsecond"):
            return f"INTERVAL '{shift.ns // 1_000 / 1e6:.6f}' SECOND"
        return f"INTERVAL '{number}' {unit.upper()}"

    def _check(self, length: Length) -> None:
        if length.ns % 1_000:
            self.lacks(
                f"windows of {text(length.ns)}",
                "its timestamps are microseconds",
                "use such a length, or compute it here with collect()",
            )
