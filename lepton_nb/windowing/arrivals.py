"""What comes in with a batch, told apart: on time, late, contested, and without a time or a key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import slices
from lepton_nb.windowing.assign import Grid, Sessions, Steps
from lepton_nb.windowing.calendars import tick_ns
from lepton_nb.windowing.clocks import RowClock
from lepton_nb.windowing.durations import DAY_NS
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.plan import Plan, slice_of
from lepton_nb.windowing.sessions import FROM, TO
from lepton_nb.windowing.stores.slices import expired

_MS_NS = 1_000_000
_US_NS = 1_000

Mask = npt.NDArray[np.bool_]


# Columns of contested rows: the watermark that each met, and whether it may be late.
MET = "watermark:"
SUSPECT = "suspect:"


@dataclass(frozen=True)
class Arrivals:
    """Rows of a batch, told apart.

    on_time: rows for all of whose windows it is early enough, whatever comes between. late: rows too late for all.
    aside: rows without a time or a key. contested: rows for which the order of arrival matters: with MET and SUSPECT,
    in that order. earliest, latest: ticks over all rows.
    """

    on_time: pl.DataFrame
    late: pl.DataFrame
    aside: pl.DataFrame
    contested: pl.DataFrame
    earliest: int | None
    latest: int | None


def sort_out(frame: pl.DataFrame, plan: Plan, clock: RowClock) -> Arrivals:
    """Tell the rows of `frame`, which are in the order of their arrival, apart.

    A row meets the watermark that the rows before it have brought about. Where it is late for some of its windows but
    not for others, or, with sessions, where it may be late, it is contested: it counts after the windows that were
    closed by then. Where the clock stands still, the state is at its watermark, and decides itself.
    """
    aside = frame.clear()
    if any(frame.get_column(name).has_nulls() for name in (plan.time, *plan.keys)):
        incomplete = pl.any_horizontal([named(name).is_null() for name in (plan.time, *plan.keys)])
        aside, frame = frame.filter(incomplete), frame.filter(~incomplete)
    ticks = frame.get_column(plan.time).to_physical().cast(pl.Int64)
    times = ticks.to_numpy()
    earliest, latest = (int(times.min()), int(times.max())) if len(times) else (None, None)
    none = frame.clear().with_columns(pl.lit(0, dtype=pl.Int64).alias(MET), pl.lit(False).alias(SUSPECT))
    if not may_be_late(earliest, plan, clock.at_end(latest)):
        return Arrivals(frame, frame.clear(), aside, none, earliest, latest)
    if earliest is not None and clock.none_behind(times, earliest, reach(plan)):
        return Arrivals(frame, frame.clear(), aside, none, earliest, latest)
    met = clock.at_rows(ticks)
    suspect = (ticks + reach(plan) <= met).fill_null(False).to_numpy()
    if not suspect.any():
        return Arrivals(frame, frame.clear(), aside, none, earliest, latest)
    if isinstance(plan.layout, Sessions):
        late = np.zeros(len(suspect), dtype=bool)
        contested = _of_same_keys(frame, suspect, plan) if clock.moving else late
    else:
        late, contested = _told_apart(frame, met, suspect, plan, clock)
    marked = frame.with_columns(met.alias(MET), pl.Series(SUSPECT, suspect)).filter(pl.Series(contested))
    on_time = frame if not (late.any() or contested.any()) else frame.filter(pl.Series(~late & ~contested))
    return Arrivals(on_time, frame.filter(pl.Series(late)), aside, marked, earliest, latest)


def reach(plan: Plan) -> int:
    """What becomes of a row at time t depends on the order only where the watermark has reached t plus this many ticks.

    With sessions a row that is not late itself may still come after the end of one that it would have joined.
    """
    return plan.allowed - isinstance(plan.layout, Sessions)


def may_be_late(earliest: int | None, plan: Plan, watermark: int | None) -> bool:
    """Whether any of some rows can be late, by the earliest of them and the watermark after the last."""
    return earliest is not None and watermark is not None and earliest + reach(plan) <= watermark


def _of_same_keys(frame: pl.DataFrame, suspect: Mask, plan: Plan) -> Mask:
    """All rows of the keys of suspects: their sessions depend on the order."""
    if not suspect.any() or not plan.keys:
        return np.full(len(suspect), bool(suspect.any()))
    keys = [named(key) for key in plan.keys]
    theirs = frame.filter(pl.Series(suspect)).select(keys).unique().with_columns(pl.lit(True).alias(SUSPECT))
    found = frame.select(keys).join(theirs, on=list(plan.keys), how="left", maintain_order="left")
    return np.asarray(found.get_column(SUSPECT).is_not_null().to_numpy())


def _told_apart(frame: pl.DataFrame, met: pl.Series, suspect: Mask, plan: Plan, clock: RowClock) -> tuple[Mask, Mask]:
    """Which suspects are late for all their windows, and which only for some."""
    late, contested = np.zeros(len(suspect), dtype=bool), np.zeros(len(suspect), dtype=bool)
    if not isinstance(plan.layout, Grid | Steps):
        # A row whose result is its own is late once that is given.
        return suspect, contested
    place = np.flatnonzero(suspect)
    rows, watermarks = frame[place], met.to_numpy()[place]
    slice_ = rows.select(slice_of(plan)).to_series().to_numpy()
    different, which = np.unique(watermarks, return_inverse=True)
    gone = np.array([expired(plan, int(watermark)) for watermark in different], dtype=np.int64)[which]
    # Time between windows belongs to none, before the watermark and after.
    held = slice_ % 2 == 0 if plan.layout.gaps else np.ones(len(place), dtype=bool)
    all_gone = plan.layout.high(slice_) <= gone
    late[place] = held & all_gone
    moved = np.ones(len(place), dtype=bool) if clock.before is None else watermarks > clock.before
    contested[place] = held & ~all_gone & (plan.layout.low(slice_) <= gone) & moved
    return late, contested


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
