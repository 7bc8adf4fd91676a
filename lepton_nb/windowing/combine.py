"""From slices to windows: which windows hold rows, which run of slices each has, and their results.

All of it in array operations whose time follows the number of slices and of windows, whatever the overlap.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import ranges
from lepton_nb.windowing.aggregates import Partial, quantile_name
from lepton_nb.windowing.assign import Grid
from lepton_nb.windowing.ranges import Blocks, Index
from lepton_nb.windowing.slices import SLICE, key_names
from lepton_nb.windowing.spec import END, START, Plan
from lepton_nb.windowing.zones import instants

# Number, first and last slice, start, end and a result, and the arrays between them.
BYTES_PER_WINDOW = 100


@dataclass(frozen=True)
class Runs:
    """Windows by key, then start: number k of each, and the positions of its first and last slice."""

    window: Index
    first: Index
    last: Index


def windows_table(table: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The result of the query: `table` is a slice table sorted by key and slice, without nulls and gaps."""
    slices = table.get_column(SLICE).to_numpy()
    _check_range(slices, plan)
    groups = _groups(table, plan)
    runs = runs_of(groups, slices, plan.grid)
    columns: dict[str, Any] = {}
    taken = table.select(key_names(plan))[runs.first] if plan.keys else pl.DataFrame()
    for key, name in zip(plan.keys, key_names(plan), strict=True):
        columns[key] = taken.get_column(name)
    start = runs.window * plan.grid.every + plan.grid.offset
    columns[START] = _times(start, plan)
    columns[END] = _times(start + plan.grid.size, plan)
    combined = _combine(table, groups, slices, runs, plan)
    finished = combined.select(
        [aggregate.finish(dtype).alias(name) for name, aggregate, dtype in plan.aggregates]
    ).get_columns()
    return pl.DataFrame([series.alias(name) for name, series in columns.items()] + finished)


def runs_of(groups: Index, slices: Index, grid: Grid) -> Runs:
    """Every window that holds at least one of the slices; `groups` numbers the keys, both sorted.

    A window is found twice: at its first slice going forward, at its last going backward, each time in
    the order of key and start, so the two lists pair up without a search.
    """
    if grid.slices_per_window == 1 or len(slices) == 0:
        here = np.arange(len(slices), dtype=np.int64)
        return Runs(slices // grid.slices_per_step, here, here)
    low = -((grid.slices_per_window - 1 - slices) // grid.slices_per_step)
    high = slices // grid.slices_per_step
    same = groups[1:] == groups[:-1]
    fresh = low.copy()
    fresh[1:][same] = np.maximum(low[1:], high[:-1] + 1)[same]
    final = high.copy()
    final[:-1][same] = np.minimum(high[:-1], low[1:] - 1)[same]
    _check_fits(float(np.maximum(high - fresh + 1, 0).sum(dtype=np.float64)))
    window, first = _expand(fresh, high)
    _, last = _expand(low, final)
    return Runs(window, first, last)


def _check_range(slices: Index, plan: Plan) -> None:
    """In Python's integers, which do not wrap around: all later arithmetic stays between these bounds."""
    grid = plan.grid
    first = grid.windows_of(int(slices.min())).start * grid.every + grid.offset
    last = (grid.windows_of(int(slices.max())).stop - 1) * grid.every + grid.offset + grid.size
    plan.check_range(first, last, "a window of the result")


def _check_fits(windows: float) -> None:
    """Many windows a row are easily asked for ("365d" every "1ms"); better an error than a machine out of memory."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if windows * BYTES_PER_WINDOW > memory_bytes:
        raise WindowError(
            f"the result would have {windows:,.0f} windows, more than this machine's {memory_bytes / 1e9:.0f} GB hold; "
            "use a longer 'every' or fewer keys",
            windows=windows,
        )


def _expand(low: Index, high: Index) -> tuple[Index, Index]:
    """All integers of each low[i]..high[i] (none where high < low), and the i that each came from."""
    counts = np.maximum(high - low + 1, 0)
    source = np.repeat(np.arange(len(low), dtype=np.int64), counts)
    within = np.arange(len(source), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return low[source] + within, source


def _groups(table: pl.DataFrame, plan: Plan) -> Index:
    names = key_names(plan)
    if not names:
        return np.zeros(table.height, dtype=np.int64)
    key = pl.col(names[0]) if len(names) == 1 else pl.struct(names)
    return table.select(key.rle_id().cast(pl.Int64)).to_series().to_numpy()


def _combine(table: pl.DataFrame, groups: Index, slices: Index, runs: Runs, plan: Plan) -> pl.DataFrame:
    blocks = None if plan.grid.slices_per_window == 1 else _blocks(groups, slices, runs, plan.grid)
    columns: list[pl.Series] = []
    for partial in plan.partials:
        series = table.get_column(partial.name)
        if partial.operation == "values":
            columns += _quantiles(series, runs, partial, plan)
        elif blocks is None:
            columns.append(series)
        elif series.dtype.is_integer() and partial.operation in ("rows", "count", "sum"):
            columns.append(pl.Series(partial.name, ranges.exact_sums(series.to_numpy(), runs.first, runs.last)))
        elif partial.operation in ("sum", "total"):
            columns.append(pl.Series(partial.name, blocks.reduce(np.add, series.to_numpy())))
        else:
            columns.append(_extremes(series, blocks, runs, partial))
    return pl.DataFrame(columns)


def _blocks(groups: Index, slices: Index, runs: Runs, grid: Grid) -> Blocks:
    length = grid.slices_per_window
    number = slices // length
    changes = (groups[1:] != groups[:-1]) | (number[1:] != number[:-1])
    block = np.r_[0, np.cumsum(changes)]
    opening = runs.window * grid.slices_per_step // length
    return Blocks(block, runs.first, runs.last, late=number[runs.first] != opening)


def _extremes(series: pl.Series, blocks: Blocks, runs: Runs, partial: Partial) -> pl.Series:
    """Minimum or maximum, where slices without any value (null) must not count, and NaN only if alone."""
    dtype = series.dtype
    lowest = partial.operation == "min"
    physical = series.cast(pl.Int8) if dtype == pl.Boolean else series.to_physical()
    present = physical.is_not_null().to_numpy().astype(np.int64)
    neutral: float | int
    if physical.dtype.is_float():
        values = physical.fill_null(np.nan).to_numpy()
    else:
        limits = np.iinfo(physical.clear().to_numpy().dtype)
        neutral = limits.max if lowest else limits.min
        values = physical.fill_null(neutral).to_numpy()
    reduced = blocks.reduce(np.fmin if lowest else np.fmax, values)
    found = ranges.exact_sums(present, runs.first, runs.last) > 0
    result = pl.Series(partial.name, reduced, dtype=physical.dtype)
    masked = pl.select(pl.when(pl.Series(found)).then(result)).to_series()
    return masked.cast(dtype).alias(partial.name)


def _quantiles(series: pl.Series, runs: Runs, partial: Partial, plan: Plan) -> list[pl.Series]:
    lengths = series.list.len().cast(pl.Int64).to_numpy()
    # An empty list explodes to a null; the lists themselves hold none.
    values = series.explode().drop_nulls().to_numpy()
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    begin, end = offsets[runs.first], offsets[runs.last + 1]
    qs = plan.quantiles[partial.column]
    found = ranges.quantiles(values, begin, end, qs, presorted=plan.grid.slices_per_window == 1)
    empty = pl.Series(end == begin)
    return [
        pl.select(pl.when(~empty).then(pl.Series(result))).to_series().alias(quantile_name(partial.column, q))
        for q, result in zip(qs, found, strict=True)
    ]


def _times(ticks: npt.NDArray[np.int64], plan: Plan) -> pl.Series:
    series = pl.Series(ticks, dtype=pl.Int64)
    if plan.time_dtype == pl.Date:
        return series.cast(pl.Int32).cast(pl.Date)
    assert isinstance(plan.time_dtype, pl.Datetime)
    if plan.zone:
        return instants(series, plan.time_dtype, plan.zone)
    return series.cast(plan.time_dtype)
