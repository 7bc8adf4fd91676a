"""Windows of rows: they depend on the order of all rows of a key, so the rows themselves are kept and travel.

Tables hold the needed columns as they are, and "key:NAME" for each key. Rows of equal time are ordered by their
values, so that the result does not depend on the order in which they come.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from lepton_nb.windowing.assign import LastRows, RowBlocks
from lepton_nb.windowing.combine import group_numbers, result_table
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.ranges import Doubling, Index
from lepton_nb.windowing.slices import key_names, keyed, seal

TICK = "tick:"


def scan(rows: pl.LazyFrame | pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The needed columns of `rows`."""
    tick = plan.calendar.units(named(plan.time)).alias(TICK)
    return (
        rows.lazy()
        .select([*keyed(plan), tick, *[named(column) for column in plan.columns]])
        .collect(engine="streaming")
    )


def merge(tables: Sequence[pl.DataFrame], plan: Plan) -> pl.DataFrame:
    """All rows, sorted by key, time and values."""
    return pl.concat(tables).sort([*key_names(plan), TICK, *_sortable(tables[0], plan)], maintain_order=True)


def split_aside(table: pl.DataFrame, plan: Plan) -> tuple[pl.DataFrame, int]:
    """The rows that have a time and a key, and the number of rows that have not."""
    complete = pl.all_horizontal(pl.col([*key_names(plan), TICK]).is_not_null())
    kept = table.filter(complete)
    return kept, table.height - kept.height


def windows_table(
    table: pl.DataFrame, plan: Plan, begin: Index | None = None, end: Index | None = None
) -> pl.DataFrame:
    """The result of the query over rows in order.

    begin: for each key, in order, how many rows of it came before those in `table`. end: for each key, the number,
    counted in the same way, from which on rows are there only as the past of others. Both are a stream's.
    """
    first, last = runs_of(table, plan, begin, end)
    if not len(first):
        return pl.DataFrame(schema=plan.result_schema)
    ticks = table.get_column(TICK).to_numpy()
    plan.check_range(int(ticks.min()), int(ticks.max()) + 1, "a window of the result")
    bounds = [plan.calendar.instants(ticks[first]), plan.calendar.instants(ticks[last] + 1)]
    return result_table(_partials(table, plan), Doubling(first, last), bounds, plan)


def runs_of(
    table: pl.DataFrame, plan: Plan, begin: Index | None = None, end: Index | None = None
) -> tuple[Index, Index]:
    """Positions of the first and last row of every window."""
    groups = group_numbers(table, key_names(plan))
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.zeros(0, dtype=np.int64)
    counts = np.diff(np.r_[starts, len(groups)])
    before = np.zeros(len(starts), dtype=np.int64) if begin is None else begin
    layout = plan.layout
    if isinstance(layout, LastRows):
        done = np.zeros(len(starts), dtype=np.int64) if end is None else end - before
        last = np.arange(len(groups), dtype=np.int64)
        last = last[last - starts[groups] >= done[groups]]
        return np.maximum(last - layout.rows + 1, starts[groups[last]]), last
    assert isinstance(layout, RowBlocks)
    # Window k of a key is complete once it has k * every + rows rows; those before `end` have been given.
    first_k = -(-before // layout.every)
    if end is not None:
        first_k = np.maximum(first_k, (end - layout.rows) // layout.every + 1)
    last_k = (before + counts - layout.rows) // layout.every
    numbers = np.maximum(last_k - first_k + 1, 0)
    group = np.repeat(np.arange(len(starts), dtype=np.int64), numbers)
    k = first_k[group] + np.arange(len(group), dtype=np.int64) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    first = starts[group] + k * layout.every - before[group]
    return first, first + layout.rows - 1


def _partials(table: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """A slice table with one row for each of `table`."""
    types = plan.input_schema
    each = [e for partial in plan.partials for e in partial.each(types.get(partial.column), plan.time)]
    return seal(table.select(*key_names(plan), TICK, *each), plan, merged=False)


def _sortable(table: pl.DataFrame, plan: Plan) -> list[str]:
    return [column for column in plan.columns if not table.schema[column].is_nested()]
