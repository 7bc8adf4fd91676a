"""Where a table is cut into parts: shares and moments."""

from __future__ import annotations

from datetime import date, datetime
from typing import TypeAlias

import polars as pl

from lepton_nb.errors import DataError

Part: TypeAlias = float | datetime | date
NAMES = ("training", "validation", "test")


def share(name: str, value: float) -> float:
    """The share that the option `name` gives. Raises DataError for what is not between 0 and 1."""
    if isinstance(value, bool) or not 0 < value < 1:
        raise DataError(f"{name}={value!r} is not a share; give a number between 0 and 1, such as 0.2")
    return float(value)


def random_cuts(rows: int, validation: Part, test: Part) -> tuple[int, int]:
    """How many of `rows` rows are before the validation part, and before the test part."""
    if not isinstance(validation, int | float) or not isinstance(test, int | float):
        raise DataError("a moment splits by time; name the column with time=..., or give shares such as test=0.2")
    tested, validated = share("test", test), share("validation", validation)
    stop = rows - round(rows * tested)
    return stop - round(rows * validated), stop


def check_time(time: str, dtype: pl.DataType) -> None:
    """Raise DataError unless a table can be split by a column of this type."""
    if not (dtype.is_temporal() or dtype.is_numeric()):
        raise DataError(f"the time column {time!r} is {dtype}; give a time, a date or a number", column=time)


def cut(times: pl.Series, part: Part, name: str, total: int) -> int:
    """The index in the sorted `times` at which a part begins: the first row of its first moment.

    part: a share of all `total` rows, or a moment that can be compared with `times`.
    """
    if not isinstance(part, int | float):
        return int(times.search_sorted(part, side="left"))
    wanted = max(0, times.len() - round(total * share(name, part)))
    return int(times.search_sorted(times[wanted], side="left")) if wanted < times.len() else wanted


def moment(time: str, dtype: pl.DataType, part: Part) -> Part:
    """`part` as it can be compared with the column; shares pass through."""
    if isinstance(part, int | float):
        return part
    if not isinstance(part, date):
        raise DataError(f"{part!r} is neither a share nor a moment; give 0.2, or datetime(2020, 1, 5, tzinfo=UTC)")
    if isinstance(dtype, pl.Datetime):
        zoned = isinstance(part, datetime) and part.tzinfo is not None
        if dtype.time_zone is not None and not zoned:
            raise DataError(f"{time!r} is in {dtype.time_zone}, and {part} has no time zone; give it one (tzinfo=...)")
        if dtype.time_zone is None and zoned:
            raise DataError(f"{time!r} has no time zone, and {part} has one; give a moment without")
        return part if isinstance(part, datetime) else datetime(part.year, part.month, part.day)
    if dtype == pl.Date:
        return part.date() if isinstance(part, datetime) else part
    raise DataError(f"{time!r} is {dtype}, and cannot be cut at {part}; give a share such as 0.2")


def check_parts(rows: tuple[int, ...], validation: Part, test: Part) -> None:
    """Raise DataError where one of the three parts has no rows."""
    for name, count in zip(NAMES, rows, strict=True):
        if not count:
            raise DataError(
                f"the {name} part has no rows ({sum(rows):,} rows, validation={validation}, test={test}); "
                "choose other shares or moments"
            )
