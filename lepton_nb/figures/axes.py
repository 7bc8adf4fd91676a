"""What figures over event time share: times as Plotly reads them, a style for each key, text that is no markup."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.figures.drawing import short as short
from lepton_nb.figures.drawing import style as style
from lepton_nb.figures.drawing import text as text
from lepton_nb.windowing.calendars import TICK_NS

# By the length of a tick in nanoseconds: the type, and the format of what is less than a second.
TIMES = {1: (pl.Datetime("ns"), "%.9f"), 1_000: (pl.Datetime("us"), "%.6f"), 1_000_000: (pl.Datetime("ms"), "%.3f")}


def key_label(values: tuple[Any, ...]) -> str:
    """The values of a key as a reader sees them, cut off where they are long; not escaped."""
    return short(" ".join("null" if value is None else str(value) for value in values))


def check_numbers(table: pl.DataFrame, column: str) -> None:
    """Raises WindowError unless `column` can be drawn as a height."""
    dtype = table.schema[column]
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        raise WindowError(f"column {column!r} is {dtype}; a line needs numbers", column=column, dtype=str(dtype))


def check_times(table: pl.DataFrame, column: str, advice: str) -> None:
    """Raises WindowError unless `column` is all times; `advice` says what to give instead."""
    if not isinstance(table.schema[column], pl.Datetime | pl.Date):
        raise WindowError(f"column {column!r} is {table.schema[column]}, not a time; {advice}")
    if table.get_column(column).has_nulls():
        raise WindowError(f"column {column!r} has nulls; leave those rows out: table.drop_nulls({column!r})")


def tick_ns(dtype: pl.DataType) -> int:
    """Nanoseconds of one of the ticks that `ticks` gives."""
    return TICK_NS[dtype.time_unit if isinstance(dtype, pl.Datetime) else "ms"]


def ticks(times: pl.Series) -> pl.Series:
    """Times in ticks of their own unit, which are exact; milliseconds for dates."""
    return (times.cast(pl.Datetime("ms")) if times.dtype == pl.Date else times).to_physical()


def tick(time: date, dtype: pl.DataType) -> int:
    """A time in the ticks that `ticks` gives for a column of this type."""
    since_epoch = datetime.fromisoformat(moment(time)) - datetime(1970, 1, 1)
    return since_epoch // timedelta(microseconds=1) * 1_000 // tick_ns(dtype)


def moment(time: date) -> str:
    """A time as Plotly's date axis reads it, in UTC; times without a zone are UTC."""
    if isinstance(time, datetime):
        naive = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
        return naive.isoformat()
    return f"{time.isoformat()}T00:00:00"


def moments(ticks: npt.NDArray[np.int64], tick_ns: int) -> list[str]:
    """As Plotly's date axis reads them, in UTC; shortened where all are whole seconds."""
    dtype, fraction = TIMES[tick_ns]
    form = "%Y-%m-%dT%H:%M:%S" + (fraction if (ticks % (1_000_000_000 // tick_ns)).any() else "")
    return pl.Series(ticks).cast(dtype).dt.strftime(form).to_list()
