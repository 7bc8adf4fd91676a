"""How a table is cut into parts that workers read by themselves."""

from __future__ import annotations

import itertools
import re
from typing import Any

import polars as pl

from lepton_nb.data import frames
from lepton_nb.training import partition_tasks

# Parts are cut finer than there are threads, so that an uneven one does not leave the others idle.
PARTS_PER_THREAD = 4

# Lines of a plan, and functions in it, that give the same rows in the same order each time, one row from one row.
_STEPS = re.compile(r"(Parquet SCAN |PROJECT |ESTIMATED ROWS|SELECT \[|WITH_COLUMNS:$|FILTER |FROM$|\[.*\]$)")
_FUNCTION = re.compile(r"\.([a-z_0-9.]+)\(")
_FUNCTIONS = frozenset({
    "abs", "alias", "cast", "strict_cast", "ceil", "floor", "round", "sqrt", "exp", "log", "log1p", "clip", "sin",
    "cos", "tan", "sign", "fill_null", "fill_nan", "is_null", "is_not_null", "is_nan", "is_not_nan", "is_finite",
    "is_infinite", "is_in", "is_between", "not", "when", "then", "otherwise", "dt.year", "dt.month", "dt.day",
    "dt.hour", "dt.minute", "dt.second", "dt.weekday", "dt.week", "dt.ordinal_day", "dt.truncate", "str.contains",
    "str.starts_with", "str.ends_with", "str.to_lowercase", "str.to_uppercase", "str.len_chars", "str.len_bytes",
})  # fmt: skip


def scans(data: Any, threads: int, client: Any) -> tuple[list[pl.LazyFrame], pl.Schema]:
    """`data`, which is no Dask DataFrame, as parts that workers read by themselves, and its columns.

    Counting the rows of a LazyFrame is a worker's task too.
    """
    count = threads * PARTS_PER_THREAD
    if not isinstance(data, pl.LazyFrame):
        parts = frames.partitions(data, count)
        return parts, frames.schema(parts[0])
    schema = frames.schema(data)
    if not row_by_row(data):
        return [data], schema
    # Behind a filter, a part is found by reading all before it.
    count = threads if "FILTER " in data.explain(optimized=False) else count
    rows = client.submit(partition_tasks.height, data, pure=False).result()
    count = max(1, min(count, rows))
    bounds = [rows * number // count for number in range(count + 1)]
    return [data.slice(a, b - a) for a, b in itertools.pairwise(bounds)], schema


def row_by_row(frame: pl.LazyFrame) -> bool:
    """True if slices of `frame`, computed apart, surely are the slices of one table, and cheap to get.

    That is: it scans Parquet files, and selects, filters and computes row by row. Sorting, grouping, joining or drawing
    rows may give them in another order each time.
    """
    plan = frame.explain(optimized=False)
    lines = [line.strip() for line in plan.splitlines() if line.strip()]
    scans = sum(line.startswith("Parquet SCAN ") for line in lines)
    return scans == 1 and all(_STEPS.match(line) for line in lines) and set(_FUNCTION.findall(plan)) <= _FUNCTIONS
