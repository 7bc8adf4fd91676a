"""What a notebook promises: `lnb.record("auc", 0.74)`, metrics and tables, read back by the report's runner."""

from __future__ import annotations

import json
import os
import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

from lepton_nb.errors import DataError, ReportError
from lepton_nb.reports.values import jsonable, plain

RECORD_VARIABLE = "LEPTON_NB_RECORD"
# A list is for a curve or the folds of a validation; more than that is a table.
MOST_VALUES = 10_000
# A table within both stands in the manifest, a larger one in a Parquet file beside it.
INLINE_CELLS, INLINE_BYTES = 2_000, 64_000
MOST_TABLE_BYTES = 256 * 2**20
# So many rows of a large table stand in the manifest too.
HEAD_ROWS = 20
# Of these types JSON keeps every value, or its one way of being written.
_INLINE = ("Int", "UInt", "Float", "String", "Boolean", "Date", "Datetime", "Null")

T = TypeVar("T")


def record(name: str, value: T, *, unit: str = "") -> T:
    """Keep `value` under `name` in the report that is being made, and return it.

    A metric is a bool, int, float (NaN and infinities too) or str, a NumPy or Torch scalar of these, a date, a
    datetime or a timedelta, or a list of up to 10,000 of the first four (NumPy arrays and Series of one dimension
    too). `unit` is that of a metric, such as "s". A table is a Polars, pandas or Dask DataFrame or a pyarrow Table of
    up to 256 MiB in memory. The last value of a name counts, as a metric or as a table. Outside of a report nothing
    is kept.

    In the manifest, `metrics` maps the name to the value itself, or, for what JSON has no type for and for what has
    a unit, to {"type": "bool" | "int" | "float" | "str" | "date" | "datetime" | "duration" | "list", "value": ...,
    "unit": ...}: dates in ISO 8601, durations in seconds. `tables` maps it to {"columns": [{"name", "type"}], "rows":
    N, "values": [[...]]} with Polars' names of types; of more than 2,000 cells or 64,000 bytes, or with types that
    JSON cannot keep, there are "head", the first 20 rows, and "file", "sha256" and "bytes" of a Parquet file.

    Raises ReportError for any other value, and for a table or a list that is too large.
    """
    if not isinstance(name, str) or not name.strip():
        raise ReportError(f"a metric needs a name, such as record('auc', 0.74); got {name!r}", name=name)
    if not isinstance(unit, str):
        raise ReportError(f"the unit of {name!r} must be text such as 's', not {unit!r}", name=name)
    line = _metric(name, value)
    if line is None:
        if unit:
            raise ReportError(f"{name!r} is a table, which has no unit; name it in the columns", name=name)
        line = _table(name, value)
    path = os.environ.get(RECORD_VARIABLE)
    if path:
        if "table" in line:
            line["table"] = _written(line["table"], Path(path))
        # One write of one line to a file opened for appending: ranks and workers may record at the same time.
        with open(path, "ab", buffering=0) as file:
            file.write((json.dumps({"name": name, **line, **({"unit": unit} if unit else {})}) + "\n").encode())
    return value


def read_lines(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """The last line of each name in the file at `path`; none when there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return {}
    return {line["name"]: line for line in lines}


def _metric(name: str, value: Any) -> dict[str, Any] | None:
    """The line of a metric, None for what is none."""
    if isinstance(value, date):
        # datetime is a date too, and pandas' own a datetime.
        return {"type": "datetime" if hasattr(value, "hour") else "date", "value": value.isoformat()}
    if isinstance(value, timedelta):
        return {"type": "duration", "value": value.total_seconds()}
    found = plain(value)
    if isinstance(found, (bool, int, float, str)):
        return {"value": found}
    if len(getattr(value, "shape", ())) == 1:
        found = plain(value.tolist() if hasattr(value, "tolist") else value.to_list())
    if not isinstance(found, list):
        return None
    if len(found) > MOST_VALUES:
        raise ReportError(
            f"{name!r} has {len(found):,} values; record at most {MOST_VALUES:,} in a list, or a table of them",
            name=name,
        )
    wrong = next((one for one in found if not isinstance(one, (bool, int, float, str))), None)
    if wrong is not None or None in found:
        raise ReportError(
            f"the list {name!r} holds {type(wrong).__name__}; record a list of bool, int, float or str, or a table",
            name=name,
        )
    return {"type": "list", "value": found}


def _table(name: str, value: Any) -> dict[str, Any]:
    """The line of a table, with the frame itself."""
    from lepton_nb.data.frames import eager

    try:
        if isinstance(value, os.PathLike):
            raise DataError("a path")
        frame = eager(value)
    except DataError:
        raise ReportError(
            f"metric {name!r} is of type {type(value).__name__}; record a bool, int, float or str, for example "
            f"float(value), a date or a timedelta, a list of numbers, or a table: a Polars, pandas or Dask DataFrame "
            f"or a pyarrow Table",
            name=name,
        ) from None
    if frame.estimated_size() > MOST_TABLE_BYTES:
        raise ReportError(
            f"the table {name!r} has {frame.estimated_size():,} bytes; record at most {MOST_TABLE_BYTES:,}, "
            f"such as its first rows or a summary",
            name=name,
        )
    if any(str(dtype).startswith("Object") for dtype in frame.dtypes):
        raise ReportError(f"the table {name!r} has a column of Python objects; cast it to a type of Polars", name=name)
    return {"table": frame}


def _written(frame: Any, records: Path) -> dict[str, Any]:
    """The facts of a table; one that is too large for the manifest is written beside `records`."""
    facts: dict[str, Any] = {
        "columns": [{"name": name, "type": str(dtype)} for name, dtype in frame.schema.items()],
        "rows": frame.height,
    }
    kept = all(str(dtype).partition("(")[0].rstrip("0123456789") in _INLINE for dtype in frame.dtypes)
    if kept and frame.width * frame.height <= INLINE_CELLS and frame.estimated_size() <= INLINE_BYTES:
        return facts | {"values": _cells(frame)}
    part = records.with_name(f"{records.name}-{uuid.uuid4().hex}.parquet")
    frame.write_parquet(part)
    return facts | {"head": _cells(frame.head(HEAD_ROWS)), "part": part.name}


def _cells(frame: Any) -> list[list[Any]]:
    return [[_cell(value) for value in row] for row in frame.rows()]


def _cell(value: Any) -> Any:
    known = value is None or isinstance(value, (bool, int, float, str, date, timedelta))
    return jsonable(value) if known else str(value)
