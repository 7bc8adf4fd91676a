"""What comes in with a batch, told apart: rows on time, late rows, and rows without a time or a key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import slices
from lepton_nb.windowing.assign import Grid, Rolling, Sessions, Steps
from lepton_nb.windowing.calendars import tick_ns
from lepton_nb.windowing.durations import DAY_NS
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.sessions import FROM, TO
from lepton_nb.windowing.stores.base import ENDLESS
from lepton_nb.windowing.stores.slices import expired

_MS_NS = 1_000_000
_US_NS = 1_000


@dataclass(frozen=True)
class Arrivals:
    """Rows of a batch. Late sessions are found only by merging (`late_in`), so with these `late` is empty."""

    on_time: pl.DataFrame
    late: pl.DataFrame
    aside: pl.DataFrame
    latest: int | None


def sort_out(frame: pl.DataFrame, plan: Plan, watermark: int | None) -> Arrivals:
    """Tell the rows of `frame` apart; `latest` is the tick of the latest time in it."""
    empty = frame.clear()
    times = frame.get_column(plan.time)
    aside = empty
    if any(frame.get_column(name).has_nulls() for name in (plan.time, *plan.keys)):
        incomplete = pl.any_horizontal([named(name).is_null() for name in (plan.time, *plan.keys)])
        aside, frame = frame.filter(incomplete), frame.filter(~incomplete)
    latest: Any = times.to_physical().max()
    late = empty
    test = late_test(plan, watermark)
    if test is not None and frame.height:
        # The earliest row tells in most batches that none is late; but not if it may lie between windows.
        gaps = isinstance(plan.layout, Grid) and plan.layout.gaps
        looked_at = frame if gaps else frame.select(named(plan.time).min())
        if looked_at.select(test.any()).item():
            late, frame = frame.filter(test), frame.filter(~test)
    return Arrivals(frame, late, aside, None if latest is None else int(latest))


def late_test(plan: Plan, watermark: int | None) -> pl.Expr | None:
    """True for the rows that come too late for all their windows; None where no row can be, or merging decides.

    A row whose result is its own (rolling windows, windows of rows) is late once that is given.
    """
    if watermark is None or isinstance(plan.layout, Sessions):
        return None
    if watermark >= ENDLESS:
        return pl.lit(True)
    if isinstance(plan.layout, Grid | Steps):
        window: pl.Expr = plan.layout.high(slices.slice_of(plan))
        if plan.layout.gaps:
            # Time between windows belongs to none, before the watermark and after.
            return (window <= expired(plan, watermark)) & (slices.slice_of(plan) % 2 == 0)
        return window <= expired(plan, watermark)
    allowed = plan.allowed if isinstance(plan.layout, Rolling) else 0
    return plan.calendar.units(named(plan.time)) <= watermark - allowed


def late_in(frame: pl.DataFrame, late: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The rows of `frame` in late sessions: keys, from and to (ticks)."""
    tick = plan.calendar.units(named(plan.time)).alias("tick:")
    rows = frame.with_columns(*slices.keyed(plan), tick).with_row_index("row:").sort("tick:")
    spans = late.sort(FROM)
    by = slices.key_names(plan)
    found = rows.join_asof(
        spans, left_on="tick:", right_on=FROM, by=by or None, strategy="backward", check_sortedness=False
    )
    inside = found.filter(pl.col("tick:") <= pl.col(TO)).sort("row:")
    return inside.select([named(column) for column in frame.columns])


def to_tick(watermark: int | datetime | date, plan: Plan) -> int:
    """The watermark in ticks of the time column: a time, or whole milliseconds since the epoch.

    It stands for all of its own unit: where the column has finer ticks, the last one of that millisecond (or, for a
    datetime, microsecond).
    """
    if isinstance(watermark, bool) or not isinstance(watermark, int | date):
        raise WindowError(
            f"a watermark is a datetime or a whole number of milliseconds since the epoch, not {watermark!r}"
        )
    if isinstance(watermark, int):
        value, unit_ns = watermark, _MS_NS
    elif isinstance(watermark, datetime):
        moment = watermark.replace(tzinfo=UTC) if watermark.tzinfo is None else watermark
        value, unit_ns = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1), _US_NS
    else:
        value, unit_ns = (watermark - date(1970, 1, 1)).days, DAY_NS
        if plan.time_dtype != pl.Date:
            return value * (DAY_NS // tick_ns(plan.time_dtype))
    tick = tick_ns(plan.time_dtype)
    return (value + 1) * (unit_ns // tick) - 1 if unit_ns >= tick else value // (tick // unit_ns)
