"""Slice tables: one row per (key, slice) with mergeable partials, made from rows and merged with each other.

Columns: "key:NAME" for each key, "slice" (Int64, numbered by the layout; for rolling windows the tick itself), then the
partials. Rows without a time, or without a key, keep a null there, so that they stay counted until they are set aside.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lepton_nb.windowing import dense
from lepton_nb.windowing.assign import Grid
from lepton_nb.windowing.partials import ROWS, named
from lepton_nb.windowing.plan import Plan, slice_of

SLICE = "slice"
# Rows that are counted at a time, and how many times as many rows of slice tables wait to be merged.
CHUNK_ROWS = 500_000
MOST_PARTS = 8


def key_names(plan: Plan) -> list[str]:
    """The key columns of a slice table."""
    return [f"key:{key}" for key in plan.keys]


def keyed(plan: Plan) -> list[pl.Expr]:
    """The keys of rows, named as in a slice table."""
    return [named(key).alias(f"key:{key}") for key in plan.keys]


def partial_exprs(plan: Plan) -> list[pl.Expr]:
    """What a slice keeps, from its rows."""
    types = plan.input_schema
    return [e for partial in plan.partials for e in partial.first(types.get(partial.column), plan.time)]


def merge_exprs(plan: Plan) -> list[pl.Expr]:
    """What a slice keeps, from its parts."""
    return [expression for partial in plan.partials for expression in partial.merge()]


def seal(table: pl.DataFrame, plan: Plan, *, merged: bool) -> pl.DataFrame:
    """The table after what Polars cannot do itself."""
    for partial in plan.partials:
        table = partial.seal_merged(table) if merged else partial.seal_rows(table)
    return table


def scan(rows: pl.LazyFrame | pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The slice table of `rows`, in no particular order."""
    found = counted(rows, plan)
    return found.table() if isinstance(found, dense.Cells) else found


def counted(rows: pl.LazyFrame | pl.DataFrame, plan: Plan) -> dense.Cells | pl.DataFrame:
    """The slices of `rows`, in cells or as a table in no particular order.

    Where the cells of keys and slices are few, by counting (`dense`), in chunks as they are read; else by one hash
    aggregation on Polars' streaming engine: for rows in memory, too, it took a quarter of the in-memory engine's time.
    """
    if not plan.calendar.plain:
        _check_times(rows.lazy(), plan)
    if dense.serves(plan):
        if isinstance(rows, pl.DataFrame):
            cells = dense.Cells(plan)
            return cells if rows.height and cells.add_rows(rows) == rows.height else _hashed(rows.lazy(), plan)
        return _in_chunks(rows, plan)
    return _hashed(rows.lazy(), plan)


def _check_times(rows: pl.LazyFrame, plan: Plan) -> None:
    """A calendar has no months and no wall clock for times far beyond its years: they must not pass for nulls."""
    ticks = named(plan.time).to_physical().cast(pl.Int64)
    low, high = rows.select(ticks.min().alias("low"), ticks.max().alias("high")).collect(engine="streaming").row(0)
    if low is not None:
        plan.check_range(low, high, "a time")


def _hashed(rows: pl.LazyFrame, plan: Plan) -> pl.DataFrame:
    grouped = rows.group_by(*keyed(plan), slice_of(plan).alias(SLICE)).agg(partial_exprs(plan))
    return seal(grouped.collect(engine="streaming"), plan, merged=False)


def _in_chunks(rows: pl.LazyFrame, plan: Plan) -> dense.Cells | pl.DataFrame:
    """Chunks as they are read, counted; the whole is hashed where the first does not go into cells."""
    tables: list[pl.DataFrame] = []
    cells = dense.Cells(plan)
    needed = rows.select([named(column) for column in plan.columns])
    for chunk in needed.collect_batches(chunk_size=CHUNK_ROWS, engine="streaming"):
        counted = cells.add_rows(chunk)
        if counted == chunk.height:
            continue
        if cells.empty and not tables:
            return _hashed(rows, plan)
        tables += [*([] if cells.empty else [cells.table()]), _hashed(chunk[counted:].lazy(), plan)]
        cells = dense.Cells(plan)
        if sum(table.height for table in tables) > MOST_PARTS * CHUNK_ROWS:
            tables = [merge(tables, plan)]
    if not tables and not cells.empty:
        return cells
    if not cells.empty:
        tables.append(cells.table())
    return merge(tables, plan) if tables else _hashed(rows, plan)


def merge(tables: Sequence[pl.DataFrame], plan: Plan) -> pl.DataFrame:
    """One slice table from several, merged in their order and sorted by key, then slice."""
    by = [*key_names(plan), SLICE]
    if len(tables) == 1:
        return tables[0] if _is_sorted(tables[0], by) else tables[0].sort(by)
    if dense.serves(plan):
        cells = dense.Cells(plan)
        if all(cells.add_table(table) for table in tables if table.height) and not cells.empty:
            return cells.table()
    # Rows of a group keep their order, so that what is merged does not depend on how the groups are found.
    grouped = pl.concat(tables).group_by(by).agg(merge_exprs(plan))
    return seal(grouped.sort(by), plan, merged=True)


def _is_sorted(table: pl.DataFrame, by: Sequence[str]) -> bool:
    """Whether a table lies in the order of its columns `by` already; not looked for but with one key."""
    if len(by) > 2 or table.height < 2 or any(table.get_column(name).has_nulls() for name in by):
        return False
    rising = pl.col(by[-1]) > pl.col(by[-1]).shift(1)
    if len(by) == 2:
        key = pl.col(by[0])
        rising = (key > key.shift(1)) | ((key == key.shift(1)) & rising)
    return bool(table.select(rising.fill_null(True).all()).item())


def split_aside(table: pl.DataFrame, plan: Plan) -> tuple[pl.DataFrame, int]:
    """The slices that have a time and a key, without those in gaps, and the number of rows that have not."""
    if any(table.get_column(name).null_count() for name in [*key_names(plan), SLICE]):
        complete = pl.all_horizontal(pl.col([*key_names(plan), SLICE]).is_not_null())
        aside = int(table.filter(~complete).get_column(ROWS.name).sum())
        table = table.filter(complete)
    else:
        aside = 0
    if isinstance(plan.layout, Grid) and plan.layout.gaps:
        table = table.filter(pl.col(SLICE) % 2 == 0)
    return table, aside
