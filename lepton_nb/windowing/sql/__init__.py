"""A window query as SQL of another engine: one SELECT to paste there, with the result that `collect()` has here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing.plan import bind
from lepton_nb.windowing.spec import Spec
from lepton_nb.windowing.sql.dialect import Dialect
from lepton_nb.windowing.sql.duckdb import DuckDB
from lepton_nb.windowing.sql.flink import Flink
from lepton_nb.windowing.sql.spark import Spark

__all__ = ["ENGINES", "sql"]

ENGINES: dict[str, type[Dialect]] = {"duckdb": DuckDB, "flink": Flink, "spark": Spark}


def sql(spec: Spec, engine: str, table: str | Sequence[str] = "events", schema: pl.Schema | None = None) -> str:
    """The query as one SELECT of `engine`: "duckdb" (2 or newer), "spark" (4 or newer) or "flink" (2 or newer).

    table: the name of the table there, or for one in a schema its parts, as in ("catalog", "database", "events").
    All names are quoted. schema: columns and types of the table. Without it the time column is taken to be a timestamp
    (of microseconds; of milliseconds in Flink) and values to be numbers; in Flink their sums are then DOUBLE.

    Columns and rows are those of `collect()`: rows without a time or a key are in no window, nulls and NaN count as
    the aggregates say, and the last digits of floats depend on the order of addition. What differs:

    - The session's time zone must be UTC: TimeZone in DuckDB, spark.sql.session.timeZone, table.local-time-zone in
      Flink.
    - Bounds are timestamps of the engine's own precision: microseconds in DuckDB (nanoseconds for such a column) and
      Spark, milliseconds in Flink.
    - DuckDB and Spark raise where a sum of integers leaves 64 bits; here it wraps around.
    - Approximate aggregates are Spark's own, percentile_approx and approx_count_distinct, with the same error.
    - Flink has no test for NaN, so that a minimum or maximum of NaN is undefined there, and no exact variance: it
      subtracts squares, which costs digits where values are far from zero.
    - Flink runs sessions and rolling windows of time in streaming mode only; windows of rows, and sliding ones whose
      size is no multiple of `every`, in batch mode only. A comment in the SQL says so. Its rows come in no order. Its
      rolling windows of time leave out rows before 1970. Its streams fail on a row without a time, and end a session
      as soon as the watermark has passed it, even if a row exactly the gap later is still to come.

    Raises WindowError for what the engine lacks: the message says why, and what to use instead.
    """
    if engine not in ENGINES:
        raise WindowError.unknown("SQL engine", engine, ENGINES)
    kind = ENGINES[engine]
    plan = bind(spec, _assumed(spec, kind.assumed_unit) if schema is None else schema)
    parts = (table,) if isinstance(table, str) else tuple(table)
    return kind(plan, parts, typed=schema is not None).text()


def _assumed(spec: Spec, unit: Literal["ms", "us"]) -> pl.Schema:
    """Types that let a query without data be bound."""
    values = {column: pl.Float64() for _, aggregate in spec.aggregates for column in aggregate.columns}
    keys = {key: pl.String() for key in spec.keys}
    return pl.Schema({**keys, **values, spec.time: pl.Datetime(unit)})
