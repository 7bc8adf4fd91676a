"""Slice tables: one row per (key, slice) with mergeable partials, made from rows and merged with each other.

Columns: "key:NAME" for each key, "slice" (Int64, numbered by `Grid.slice_of`), then the partials.
Rows without a time, or without a key, keep a null there, so that they stay counted until they are set aside.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lepton_nb.windowing.aggregates import ROWS, named
from lepton_nb.windowing.spec import Plan

SLICE = "slice"


def key_names(plan: Plan) -> list[str]:
    """The key columns of a slice table."""
    return [f"key:{key}" for key in plan.keys]


def scan(rows: pl.LazyFrame, plan: Plan) -> pl.DataFrame:
    """The slice table of `rows`: one hash aggregation, in no particular order.

    On Polars' streaming engine: for rows in memory, too, it took a quarter of the in-memory engine's time.
    """
    keys = [named(key).alias(f"key:{key}") for key in plan.keys]
    values = [partial.first(plan.value_dtype(partial.column)) for partial in plan.partials]
    return rows.group_by(*keys, _slice(plan).alias(SLICE)).agg(values).collect(engine="streaming")


def merge(tables: Sequence[pl.DataFrame], plan: Plan) -> pl.DataFrame:
    """One slice table from several, merged in their order and sorted by key, then slice."""
    by = [*key_names(plan), SLICE]
    if len(tables) == 1:
        return tables[0].sort(by)
    table = pl.concat(tables).sort(by, maintain_order=True)
    return table.group_by(by, maintain_order=True).agg([partial.merge() for partial in plan.partials])


def split_aside(table: pl.DataFrame, plan: Plan) -> tuple[pl.DataFrame, int]:
    """The slices that have a time and a key, without those in gaps, and the number of rows that have not."""
    complete = pl.all_horizontal(pl.col([*key_names(plan), SLICE]).is_not_null())
    aside = table.filter(~complete).get_column(ROWS.name).sum() if _has_nulls(table, plan) else 0
    kept = table.filter(complete) if aside else table
    if plan.grid.gaps:
        kept = kept.filter(pl.col(SLICE) % 2 == 0)
    return kept, int(aside)


def _has_nulls(table: pl.DataFrame, plan: Plan) -> bool:
    return any(table.get_column(name).null_count() for name in [*key_names(plan), SLICE])


def _slice(plan: Plan) -> pl.Expr:
    """`Grid.slice_of` as an expression, in wall-clock ticks where the plan has a zone."""
    time = named(plan.time)
    if plan.zone:
        if getattr(plan.time_dtype, "time_zone", None) is None:
            time = time.dt.replace_time_zone("UTC")
        time = time.dt.convert_time_zone(plan.zone).dt.replace_time_zone(None)
    grid = plan.grid
    ticks = time.to_physical().cast(pl.Int64)
    if grid.offset:
        ticks = ticks - grid.offset
    step = ticks // grid.every
    if grid.slices_per_step == 1:
        return step
    return 2 * step + (ticks % grid.every >= grid.size % grid.every).cast(pl.Int64)
