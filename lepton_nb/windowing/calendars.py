"""Between instants and the units in which windows are counted: ticks, wall-clock ticks of a zone, or civil months."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.windowing.assign import Sliced
from lepton_nb.windowing.durations import DAY_NS
from lepton_nb.windowing.zones import instants

TICK_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000}


def tick_ns(dtype: pl.DataType) -> int:
    """Nanoseconds of one tick of a time column: Datetime or Date."""
    return TICK_NS[dtype.time_unit] if isinstance(dtype, pl.Datetime) else DAY_NS


@dataclass(frozen=True, slots=True)
class Calendar:
    """How a time column is counted.

    zone: IANA zone whose wall clock is read, "" for UTC. months: count civil months since January 1970 instead of
    ticks.
    shift: ticks after a month's first midnight at which it begins here.
    """

    dtype: pl.DataType
    zone: str = ""
    months: bool = False
    shift: int = 0

    @property
    def plain(self) -> bool:
        """True where a unit is a tick."""
        return not self.zone and not self.months

    def units(self, time: pl.Expr) -> pl.Expr:
        """Int64: the units of a time column, rounded down."""
        wall = self._wall(time) if self.zone else time
        if not self.months:
            return wall.to_physical().cast(pl.Int64)
        if isinstance(self.dtype, pl.Datetime) and self.dtype.time_zone and not self.zone:
            wall = wall.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        if self.shift:
            naive = pl.Datetime(self.dtype.time_unit) if isinstance(self.dtype, pl.Datetime) else self.dtype
            physical = pl.Int64 if isinstance(self.dtype, pl.Datetime) else pl.Int32
            wall = (wall.to_physical().cast(pl.Int64) - self.shift).cast(physical).cast(naive)
        return (wall.dt.year().cast(pl.Int64) - 1970) * 12 + wall.dt.month().cast(pl.Int64) - 1

    def instants(self, units: npt.NDArray[np.int64]) -> pl.Series:
        """The first instant of each unit, as values of the time column."""
        ticks = self._first_ticks(units) if self.months else units
        series = pl.Series(ticks, dtype=pl.Int64)
        if self.dtype == pl.Date:
            return series.cast(pl.Int32).cast(pl.Date)
        assert isinstance(self.dtype, pl.Datetime)
        return instants(series, self.dtype, self.zone) if self.zone else series.cast(self.dtype)

    def tick(self, unit: int) -> int:
        """The first tick of a unit, from the epoch."""
        return unit if self.plain else int(self.instants(np.array([unit])).to_physical().item())

    def ended(self, layout: Sliced, tick: int) -> int:
        """Number of the last window whose end, less one tick, is at most `tick`."""
        if self.plain:
            return layout.ended(tick)
        time = pl.Series("t", [tick], dtype=pl.Int64)
        time = time.cast(pl.Int32).cast(pl.Date) if self.dtype == pl.Date else time.cast(self.dtype)
        unit = time.to_frame().select(self.units(pl.col("t"))).item()
        window = layout.ended(unit) + 1
        # The clock may stand still or jump at this moment: the two neighbours decide.
        while self.tick(layout.end(window)) - 1 > tick:
            window -= 1
        while self.tick(layout.end(window + 1)) - 1 <= tick:
            window += 1
        return window

    def _wall(self, time: pl.Expr) -> pl.Expr:
        """What clocks show, as a time without a zone; never before a midnight that they have passed already.

        Clocks that are set back over midnight show the end of a day again, which is over by then.
        """
        if getattr(self.dtype, "time_zone", None) is None:
            time = time.dt.replace_time_zone("UTC")
        local = time.dt.convert_time_zone(self.zone)
        wall = local.dt.replace_time_zone(None)
        midnight = wall.dt.truncate("1d").dt.offset_by("1d")
        passed = midnight.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null") <= local
        return pl.when((wall.dt.hour() >= 20) & passed).then(midnight).otherwise(wall)

    def _first_ticks(self, months: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        return np.asarray(days * (DAY_NS // tick_ns(self.dtype)) + self.shift)
