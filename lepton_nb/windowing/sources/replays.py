"""A table played against the clock: rows come when their time says, faster or slower than they once did."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.sources.base import Planned, Position
from lepton_nb.windowing.sources.tables import TableSource, start_of

UNITS_PER_S = {"ms": 10**3, "us": 10**6, "ns": 10**9}


class ReplaySource(TableSource):
    """See `lepton_nb.windowing.sources.replay`. A position is a row number, so the clock decides nothing but when."""

    name = "replay"

    def __init__(
        self,
        frame: Any,
        time_column: str,
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not speed > 0:
            raise WindowError(f"speed is how many seconds of the table pass in one, above 0 or math.inf, not {speed!r}")
        super().__init__(frame)
        self._time, self._speed = time_column, float(speed)
        self._clock, self._sleep = clock, sleep
        # Seconds since the first time of the table at which each row is due.
        self._due_s = pl.Series(dtype=pl.Float64)
        self._started_s: float | None = None

    def open(self, columns: Sequence[str], parallel: int) -> None:
        super().open(list(dict.fromkeys([*columns, self._time])), parallel)
        dtype = self.table.schema[self._time]
        if dtype == pl.Date:
            moments, unit = self.table.get_column(self._time).cast(pl.Datetime("us")), "us"
        elif isinstance(dtype, pl.Datetime):
            moments, unit = self.table.get_column(self._time), dtype.time_unit
        else:
            raise DataError(
                f"a replay follows a column of times, Datetime or Date, and {self._time!r} is {dtype}; "
                f"parse it: frame.with_columns(pl.col({self._time!r}).str.to_datetime(time_zone='UTC'))",
                column=self._time,
            )
        order = moments.arg_sort(nulls_last=False)
        ticks = moments.gather(order).cast(pl.Int64)
        first = ticks.min()
        since = ticks - (first if isinstance(first, int) else 0)
        self._due_s = (since.cast(pl.Float64) / UNITS_PER_S[unit]).fill_null(0.0)
        self._frame = self.table[order].select(map(named, columns))
        self._started_s = None

    def plan(self, before: Position, rows: int, wait_s: float) -> Planned:
        total = self.table.height
        start = start_of(before, total, self.name)
        if self._started_s is None:
            # A replay that is started again goes on with the row it stood at.
            self._started_s = self._clock() - (self._seconds(start) if start < total else 0.0)
        until = self._clock() + wait_s
        due = self._due(start)
        while due == start < total:
            left_s = min(until - self._clock(), self._started_s + self._seconds(start) - self._clock())
            if until <= self._clock():
                break
            self._sleep(max(0.0, left_s))
            due = self._due(start)
        after = min(due, start + max(1, rows))
        return Planned(after, over=after == total, lag=due - after)

    def _seconds(self, row: int) -> float:
        """Seconds after the first row, by the clock, at which a row is due."""
        return 0.0 if math.isinf(self._speed) else float(self._due_s[row]) / self._speed

    def _due(self, start: int) -> int:
        """How many rows are due now, at least `start`."""
        if math.isinf(self._speed):
            return self.table.height
        assert self._started_s is not None
        # A touch more, so that rounding does not make a row late that is due this very moment.
        passed_s = (self._clock() - self._started_s + 1e-6) * self._speed
        return max(start, int(self._due_s.search_sorted(passed_s, side="right")))
