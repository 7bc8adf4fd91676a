"""Raw values to typed columns: what does not fit its column becomes a dead letter with the reason, and stops nothing.

Datetime columns take ISO text ("2013-01-31T10:00:00.5Z", "2013-01-31 10:00", "2013-01-31"), integers, as numbers or as
text, as milliseconds since the epoch, and Python datetimes. A time without a zone is UTC; one with a zone is turned
into the column's. Finer digits than the column's unit are cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing.sources.base import DEAD_SCHEMA, Rows, no_dead

# Ways to write a time; %.f also takes no fraction, and %#z also takes Z, +01 and +0100.
ZONED = tuple(f"%Y-%m-%d{t}%H:%M{s}%#z" for t in "T " for s in (":%S%.f", ""))
PLAIN = (*(f"%Y-%m-%d{t}%H:%M{s}" for t in "T " for s in (":%S%.f", "")), "%Y-%m-%d")

# The years 1 to 9999.
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999
UNITS_PER_S = {"ms": 10**3, "us": 10**6, "ns": 10**9}
SHOWN_CHARACTERS = 80

PLAIN_KINDS = {bool, int, float, str, bytes, date, datetime, list, dict}


def typed(
    raw: Sequence[Mapping[str, Any] | None],
    texts: Sequence[str],
    offsets: Sequence[str],
    channel: str,
    schema: Mapping[str, pl.DataType],
    required: Sequence[str] = (),
    what: str = "a JSON object",
) -> Rows:
    """Rows of the types of `schema` from parsed objects; the three sequences go side by side.

    A dead letter is: a row that is no mapping ("not a JSON object", or `what` instead of it), one with a value that is
    not of its column's type ("column 'v' is Float64, not 'abc'"), and one whose value in a `required` column is missing
    or null ("no 'ts'"). Otherwise a missing value is null; values of other columns are left out. Integers are taken for
    floats and whole floats for integers; nothing else changes its kind.
    """
    objects = [row if isinstance(row, Mapping) else {} for row in raw]
    faults = {i: f"not {what}" for i, row in enumerate(raw) if not isinstance(row, Mapping)}
    columns = []
    for name, dtype in schema.items():
        values = [row.get(name) for row in objects]
        column, bad = _column(values, dtype)
        columns.append(column.alias(name))
        for i in bad:
            faults.setdefault(i, fault(name, dtype, values[i]))
    frame = pl.DataFrame(columns)
    for name in required:
        for i in frame.get_column(name).is_null().arg_true():
            faults.setdefault(i, f"no {name!r}")
    return set_aside(frame, faults, channel, lambda i: offsets[i], lambda i: texts[i])


def column_type(name: str, dtype: Any) -> pl.DataType:
    """A type of a user's `schema`, as an instance; WindowError where it is none."""
    made = dtype() if isinstance(dtype, type) and issubclass(dtype, pl.DataType) else dtype
    if not isinstance(made, pl.DataType):
        raise WindowError(f"schema says what column {name!r} is: a Polars type such as pl.Float64, not {dtype!r}")
    return made


def set_aside(
    frame: pl.DataFrame,
    faults: Mapping[int, str],
    channel: str,
    offset: Callable[[int], str],
    text: Callable[[int], str],
) -> Rows:
    """`frame` without the rows in `faults` (row number -> reason), which become dead letters, in their order."""
    if not faults:
        return Rows(frame)
    rows = sorted(faults)
    return Rows(
        without(frame, rows),
        dead([channel] * len(rows), [offset(i) for i in rows], [faults[i] for i in rows], [text(i) for i in rows]),
    )


def without(frame: pl.DataFrame, rows: Iterable[int]) -> pl.DataFrame:
    """`frame` without the rows of these numbers."""
    gone = list(rows)
    return frame.filter(~pl.Series(range(frame.height), dtype=pl.UInt32).is_in(gone)) if gone else frame


def dead(channels: Sequence[str], offsets: Sequence[str], reasons: Sequence[str], texts: Sequence[str]) -> pl.DataFrame:
    """A dead-letter table from its columns."""
    if not reasons:
        return no_dead()
    return pl.DataFrame(
        dict(zip(DEAD_SCHEMA, (list(channels), list(offsets), list(reasons), list(texts)), strict=True)),
        schema=DEAD_SCHEMA,
    )


def fault(name: str, dtype: pl.DataType, value: Any) -> str:
    """Why `value` cannot be in the column `name`."""
    shown = repr(value)
    if len(shown) > SHOWN_CHARACTERS:
        shown = shown[: SHOWN_CHARACTERS - 3] + "..."
    return f"column {name!r} is {dtype}, not {shown}"


def from_text(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cells of a CSV file as `dtype`; null where a cell is not of that type."""
    if dtype == pl.String:
        return text
    if isinstance(dtype, pl.Datetime):
        milliseconds = from_milliseconds(text.cast(pl.Int64, strict=False), dtype)
        return _first_of(milliseconds, times(text, dtype)) if milliseconds.null_count() else milliseconds
    if dtype == pl.Date:
        return text.str.to_date("%Y-%m-%d", strict=False)
    if dtype == pl.Time:
        return text.str.to_time("%H:%M:%S%.f", strict=False)
    if dtype == pl.Boolean:
        return text.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None, return_dtype=dtype)
    return text.cast(dtype, strict=False)


def times(text: pl.Series, dtype: pl.Datetime) -> pl.Series:
    """ISO texts as times of `dtype`; null where a text is none."""
    result = pl.Series(text.name, [None] * text.len(), dtype=dtype) if text.is_empty() else None
    sample = text.drop_nulls().head(1)
    # Most columns are written one way throughout: the way of the first value is tried first.
    for way in sorted((*ZONED, *PLAIN), key=lambda way: _parse(sample, way, dtype).null_count()):
        parsed = _parse(text if result is None else text.set(result.is_not_null(), None), way, dtype)
        result = parsed if result is None else _first_of(result, parsed)
        if result.null_count() == text.null_count():
            break
    assert result is not None
    return result


def from_milliseconds(milliseconds: pl.Series, dtype: pl.Datetime) -> pl.Series:
    """Milliseconds since the epoch as times of `dtype`; null where that type cannot hold them."""
    per_ms = UNITS_PER_S[dtype.time_unit] // 1000
    furthest = (2**63 - 1) // per_ms
    kept = milliseconds.set(~milliseconds.is_between(max(FIRST_MS, -furthest), min(LAST_MS, furthest)), None)
    return (kept * per_ms).cast(dtype)


def _parse(text: pl.Series, way: str, dtype: pl.Datetime) -> pl.Series:
    found = _parse_in(text, way, dtype.time_unit)
    if dtype.time_unit == "ns":
        # Nanoseconds reach from 1677 to 2262; Polars wraps what lies beyond.
        found = found.set((found // 1000).ne_missing(_parse_in(text, way, "us")), None)
    return found.cast(dtype)


def _parse_in(text: pl.Series, way: str, unit: Literal["ms", "us", "ns"]) -> pl.Series:
    """Counts of `unit` since the epoch."""
    if way == "%Y-%m-%d":
        return text.str.to_date(way, strict=False).cast(pl.Datetime(unit), strict=False).cast(pl.Int64)
    zone = "UTC" if way.endswith("z") else None
    return text.str.to_datetime(way, time_unit=unit, time_zone=zone, strict=False).cast(pl.Int64)


def _first_of(one: pl.Series, other: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(one, other)).to_series().alias(one.name)


def _column(values: list[Any], dtype: pl.DataType) -> tuple[pl.Series, list[int]]:
    """The values as a column, null where one does not fit, and the places of these."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds - PLAIN_KINDS:
        values = [plain(value) for value in values]
        kinds = set(map(type, values)) - {type(None)}
    if isinstance(dtype, pl.Datetime):
        return _datetimes(values, kinds, dtype)
    if dtype == pl.Date and str in kinds:
        texts = pl.Series([value if type(value) is str else None for value in values], dtype=pl.String)
        parsed = from_text(texts, dtype).to_list()
        values = [
            day if type(value) is str and day is not None else value for value, day in zip(values, parsed, strict=True)
        ]
        kinds = set(map(type, values)) - {type(None)}
    if kinds <= _kinds(dtype):
        try:
            return pl.Series(values, dtype=dtype, strict=True), []
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            pass  # One of them does not fit: the slower way below finds out which.
    kept, bad = [], []
    for i, value in enumerate(values):
        try:
            kept.append(None if value is None else _one(value, dtype))
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            kept.append(None)
            bad.append(i)
    return pl.Series(kept, dtype=dtype, strict=True), bad


def plain(value: Any) -> Any:
    """A scalar of NumPy or pandas as Python's own; anything else as it is."""
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return value.item()
    if isinstance(value, datetime) and type(value) is not datetime:
        return datetime.combine(value.date(), value.time(), value.tzinfo)
    return value


def _kinds(dtype: pl.DataType) -> set[type]:
    """The kinds of Python value that a column takes as they are."""
    if dtype.is_integer():
        return {int}
    if dtype.is_float():
        return {int, float}
    if dtype == pl.String or isinstance(dtype, pl.Enum | pl.Categorical):
        return {str}
    if dtype == pl.Boolean:
        return {bool}
    if dtype == pl.Date:
        return {date}
    if dtype == pl.Binary:
        return {bytes}
    if isinstance(dtype, pl.List | pl.Array):
        return {list}
    if isinstance(dtype, pl.Struct):
        return {dict}
    return set()


def _one(value: Any, dtype: pl.DataType) -> Any:
    kinds = _kinds(dtype)
    if dtype.is_integer() and type(value) is float and value.is_integer():
        value = int(value)
    elif kinds and type(value) not in kinds:
        raise TypeError
    elif dtype.is_float():
        return float(value)
    return pl.Series([value], dtype=dtype, strict=True)[0]


def _datetimes(values: list[Any], kinds: set[type], dtype: pl.Datetime) -> tuple[pl.Series, list[int]]:
    found = pl.Series([None] * len(values), dtype=dtype)
    if str in kinds:
        texts = values if kinds == {str} else [value if type(value) is str else None for value in values]
        found = from_text(pl.Series(texts, dtype=pl.String), dtype)
    if int in kinds:
        whole = [value if type(value) is int and abs(value) < 2**63 else None for value in values]
        found = _first_of(found, from_milliseconds(pl.Series(whole, dtype=pl.Int64), dtype))
    if datetime in kinds:
        moments = [_utc(value) if type(value) is datetime else None for value in values]
        utc = pl.Series(moments, dtype=pl.Datetime("us", "UTC")).cast(pl.Datetime(dtype.time_unit, "UTC"), strict=False)
        found = _first_of(found, utc.cast(pl.Int64).cast(dtype))
    missing = found.is_null()
    bad = [i for i in missing.arg_true() if values[i] is not None] if missing.any() else []
    return found, bad


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
