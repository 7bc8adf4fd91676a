"""Result rows as JSON and back, without loss.

Times are ISO 8601 with all digits of their unit, in UTC with a Z where the column has a zone and without where it has
none; durations are counts of their unit; decimals are text; bytes are base64. A float that JSON lacks is the text
"NaN", "Infinity" or "-Infinity"; null is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from lepton_nb.errors import WindowError

TIME_FORMATS = {"ms": "%Y-%m-%dT%H:%M:%S%.3f", "us": "%Y-%m-%dT%H:%M:%S%.6f", "ns": "%Y-%m-%dT%H:%M:%S%.9f"}
ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
BEYOND = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def check(schema: Mapping[str, pl.DataType]) -> None:
    """WindowError where a column's type cannot be written."""
    for name, dtype in schema.items():
        try:
            _plain_type(dtype)
        except TypeError:
            raise WindowError(f"column {name!r} is {dtype}, which JSON cannot hold; cast it, or leave it out") from None


def objects(rows: pl.DataFrame) -> list[bytes]:
    """Each row as a JSON object."""
    names = rows.columns
    return [_dumps(dict(zip(names, row, strict=True))) for row in _values(rows)]


def lists(rows: pl.DataFrame) -> list[bytes]:
    """Each row as a JSON list of its values."""
    return [_dumps(row) for row in _values(rows)]


def names(value: bytes) -> list[str]:
    """The columns of a row that `objects` made; ValueError where it is none."""
    row = json.loads(value)
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return list(row)


def frame(values: Sequence[bytes], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The rows that `objects` made; a column that an object lacks is null. Raises ValueError for what is none."""
    rows = [json.loads(value) for value in values]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("not a JSON object")
    columns = []
    for name, dtype in schema.items():
        plain = pl.Series(name, [_finite(row.get(name), dtype) for row in rows], dtype=_plain_type(dtype))
        columns.append(plain.to_frame().select(_back(pl.col(name), dtype).alias(name)).to_series())
    return pl.DataFrame(columns)


def _values(rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    plain = rows.select(_plain(pl.col(name), dtype).alias(name) for name, dtype in rows.schema.items())
    columns = []
    for column, dtype in zip(plain.get_columns(), rows.dtypes, strict=True):
        values = column.to_list()
        columns.append([_named(value) for value in values] if _has_floats(dtype) else values)
    return list(zip(*columns, strict=True))


def _dumps(value: Any) -> bytes:
    return ENCODER.encode(value).encode()


def _named(value: Any) -> Any:
    """`value` with words for the floats that JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_named(item) for item in value]
    if isinstance(value, dict):
        return {name: _named(item) for name, item in value.items()}
    return value


def _finite(value: Any, dtype: pl.DataType) -> Any:
    """The opposite of `_named`."""
    if dtype.is_float():
        return BEYOND[value] if isinstance(value, str) else value
    if isinstance(value, list) and isinstance(dtype, pl.List):
        inner = _instance(dtype.inner)
        return [_finite(item, inner) for item in value]
    if isinstance(value, dict) and isinstance(dtype, pl.Struct):
        return {field.name: _finite(value.get(field.name), _instance(field.dtype)) for field in dtype.fields}
    return value


def _has_floats(dtype: pl.DataType) -> bool:
    return dtype.is_float() or dtype.is_nested()


def _plain_type(dtype: pl.DataType) -> pl.DataType:
    """The type that JSON holds in place of `dtype`."""
    if dtype.is_integer() or dtype.is_float() or dtype in (pl.String, pl.Boolean, pl.Null):
        return dtype
    if isinstance(dtype, pl.Duration):
        return pl.Int64()
    if dtype.is_temporal() or isinstance(dtype, pl.Decimal | pl.Categorical | pl.Enum) or dtype == pl.Binary:
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(_plain_type(_instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _plain_type(_instance(field.dtype)) for field in dtype.fields})
    raise TypeError(dtype)


def _plain(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        text = TIME_FORMATS[dtype.time_unit]
        if dtype.time_zone is None:
            return column.dt.strftime(text)
        return column.dt.convert_time_zone("UTC").dt.strftime(text + "Z")
    if isinstance(dtype, pl.Duration):
        return column.cast(pl.Int64)
    if dtype == pl.Binary:
        return column.bin.encode("base64")
    if isinstance(dtype, pl.List):
        return column.list.eval(_plain(pl.element(), _instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        fields = [
            _plain(column.struct.field(field.name), _instance(field.dtype)).alias(field.name) for field in dtype.fields
        ]
        return pl.when(column.is_not_null()).then(pl.struct(fields))
    return column.cast(_plain_type(dtype))


def _back(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        text = "%Y-%m-%dT%H:%M:%S%.f"
        if dtype.time_zone is None:
            return column.str.to_datetime(text, time_unit=dtype.time_unit)
        utc = column.str.to_datetime(text + "Z", time_unit=dtype.time_unit)
        return utc.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    if dtype == pl.Date:
        return column.str.to_date("%Y-%m-%d")
    if dtype == pl.Time:
        return column.str.to_time("%H:%M:%S%.f")
    if dtype == pl.Binary:
        return column.str.decode("base64")
    if isinstance(dtype, pl.List):
        return column.list.eval(_back(pl.element(), _instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        fields = [
            _back(column.struct.field(field.name), _instance(field.dtype)).alias(field.name) for field in dtype.fields
        ]
        return pl.when(column.is_not_null()).then(pl.struct(fields))
    return column.cast(dtype)


def _instance(dtype: Any) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[no-any-return]
