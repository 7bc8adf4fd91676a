"""Session tables: one row per (key, run of rows no more than a gap apart), with mergeable partials.

Columns: "key:NAME" for each key, "from" and "to" (Int64, the ticks of its first and last row), then the partials.
Sessions of one key that come within the gap of each other merge, whatever the order in which they are found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from lepton_nb.windowing.assign import Sessions
from lepton_nb.windowing.combine import result_table
from lepton_nb.windowing.partials import ROWS, named
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.ranges import Singles
from lepton_nb.windowing.slices import key_names, keyed, merge_exprs, partial_exprs, seal

FROM = "from"
TO = "to"
TICK = "tick:"
NUMBER = "session:"


def scan(rows: pl.LazyFrame | pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The sessions of `rows`; rows without a time or a key are one row of nulls for each such key."""
    names = key_names(plan)
    needed = rows.lazy().select(
        [named(column) for column in plan.columns] + [*keyed(plan), plan.calendar.units(named(plan.time)).alias(TICK)]
    )
    ordered = needed.sort([*names, TICK]).with_columns(numbered(plan, pl.col(TICK), pl.col(TICK)))
    edges = [pl.col(TICK).min().alias(FROM), pl.col(TICK).max().alias(TO)]
    grouped = ordered.group_by([*names, NUMBER]).agg([*edges, *partial_exprs(plan)]).drop(NUMBER)
    return seal(grouped.collect(engine="streaming"), plan, merged=False)


def merge(tables: Sequence[pl.DataFrame], plan: Plan) -> pl.DataFrame:
    """One session table from several, sorted by key, then time."""
    names = key_names(plan)
    table = pl.concat(tables).sort([*names, FROM, TO])
    joined = table.with_columns(numbered(plan, pl.col(FROM), pl.col(TO)))
    edges = [pl.col(FROM).min(), pl.col(TO).max()]
    grouped = joined.group_by([*names, NUMBER], maintain_order=True).agg([*edges, *merge_exprs(plan)])
    return seal(grouped.drop(NUMBER), plan, merged=True)


def split_aside(table: pl.DataFrame, plan: Plan) -> tuple[pl.DataFrame, int]:
    """The sessions that have a time and a key, and the number of rows that have not."""
    complete = pl.all_horizontal(pl.col([*key_names(plan), FROM]).is_not_null())
    aside = table.filter(~complete)
    return (table.filter(complete), int(aside.get_column(ROWS.name).sum())) if aside.height else (table, 0)


def windows_table(table: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The result of the query: a session lasts from its first row to its last plus the gap."""
    if not table.height:
        return pl.DataFrame(schema=plan.result_schema)
    assert isinstance(plan.layout, Sessions)
    plan.check_range(
        int(table.get_column(FROM).min()),  # type: ignore[arg-type]
        int(table.get_column(TO).max()) + plan.layout.gap,  # type: ignore[arg-type]
        "a session",
    )
    here = np.arange(table.height, dtype=np.int64)
    bounds = [plan.calendar.instants(edge) for edge in bounds_of(table, plan)]
    return result_table(table, Singles(here, here), bounds, plan)


def bounds_of(table: pl.DataFrame, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of every session, in ticks."""
    assert isinstance(plan.layout, Sessions)
    return table.get_column(FROM).to_numpy(), table.get_column(TO).to_numpy() + plan.layout.gap


def numbered(plan: Plan, begin: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Numbers that rise where a session begins, in a table sorted by key and `begin`."""
    assert isinstance(plan.layout, Sessions)
    reached = end.cum_max().shift(1)
    if plan.keys:
        reached = reached.over(key_names(plan))
    return (begin - reached > plan.layout.gap).fill_null(True).cum_sum().alias(NUMBER)
