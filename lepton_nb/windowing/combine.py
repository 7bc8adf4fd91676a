"""From slices to windows: which windows hold rows, which run of slices each has, and their results.

All of it in array operations whose time follows the number of slices and of windows, whatever the overlap.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import dense, grids
from lepton_nb.windowing.assign import Grid, Rolling, Sliced, Steps
from lepton_nb.windowing.calendars import tick_ns
from lepton_nb.windowing.durations import DAY_NS
from lepton_nb.windowing.partials import ROWS, Extreme, Known, Partial, Rows, Summed
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.planes import INTEGERS, Plane, picked
from lepton_nb.windowing.ranges import Array, Blocks, Doubling, Index, Ranges, Singles
from lepton_nb.windowing.slices import SLICE, key_names
from lepton_nb.windowing.spec import END, START

if TYPE_CHECKING:
    from lepton_nb.windowing.aggregates import Aggregate

# Number, first and last slice, start, end and a result, and the arrays between them.
BYTES_PER_WINDOW = 100


@dataclass(frozen=True)
class Runs:
    """Windows by key, then number: the number of each, and the positions of its first and last slice."""

    window: Index
    first: Index
    last: Index

    def where(self, wanted: npt.NDArray[np.bool_]) -> Runs:
        """Some of them."""
        return self if wanted.all() else Runs(self.window[wanted], self.first[wanted], self.last[wanted])


Choice = Callable[[Runs], npt.NDArray[np.bool_]]


def windows_table(
    table: pl.DataFrame, plan: Plan, between: tuple[int, int] | None = None, choose: Choice | None = None
) -> pl.DataFrame:
    """The result of the query: `table` is a slice table sorted by key and slice, without nulls and gaps.

    between: the first and the last number of the windows that are wanted. `choose` says which of these; all otherwise.
    """
    if not table.height:
        return pl.DataFrame(schema=plan.result_schema)
    layout = plan.layout
    assert isinstance(layout, Grid | Steps | Rolling)
    slices = table.get_column(SLICE).to_numpy()
    check_range(int(slices.min()), int(slices.max()), plan)
    groups = group_numbers(table, key_names(plan))
    rows = table.get_column(ROWS.name).to_numpy()
    if choose is None:
        found = grids.windows_of(groups, slices, rows, plan, between)
        if found is not None:
            return _from_grid(table, groups, found, plan)
    runs = runs_of(groups, slices, layout)
    if between is not None:
        runs = runs.where((runs.window >= between[0]) & (runs.window <= between[1]))
    if choose is not None:
        runs = runs.where(choose(runs))
    if layout.single:
        table = table if len(runs.first) == table.height else table[runs.first]
        here = np.arange(table.height, dtype=np.int64)
        ranges: Ranges = Singles(here, here)
    else:
        ranges = _ranges(groups, slices, runs, layout)
    bounds = [plan.calendar.instants(edge(runs.window)) for edge in (layout.start, layout.end)]
    result = result_table(table, ranges, bounds, plan)
    if isinstance(layout, Rolling):
        result = result[np.repeat(np.arange(result.height), rows[ranges.last])]
    return result


def result_table(table: pl.DataFrame, ranges: Ranges, bounds: list[pl.Series], plan: Plan) -> pl.DataFrame:
    """Keys, bounds and finished aggregates, one row for each of `ranges` of `table`."""
    keys = table.select(key_names(plan)) if plan.keys else table.select()
    keys = keys if ranges.single or not plan.keys else keys[ranges.first]
    combined = [series for partial, users in _users(plan) for series in partial.combine(table, ranges, users)]
    return _finished(keys.get_columns(), bounds, combined, plan)


def windows_of_cells(cells: dense.Cells, plan: Plan) -> pl.DataFrame | None:
    """The result of the query from counted rows; None where their slice table has to be made first."""
    windows = grids.windows_of_cells(cells, plan)
    if windows is None:
        return None
    check_range(*cells.span, plan)
    done: dict[int, Array] = {id(cells.counts): windows.rows}

    def read(plane: Plane) -> Array:
        if id(plane) not in done:
            done[id(plane)] = windows.field.reduce(plane.operation, cells.grid(plane))
        return done[id(plane)]

    combined = [cells.column(partial, read) for partial, _ in _users(plan)]
    return _of_grid(cells.keys, windows, combined, plan)


def _from_grid(table: pl.DataFrame, groups: Index, windows: grids.Windows, plan: Plan) -> pl.DataFrame:
    begins = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    keys = table.select(key_names(plan))[begins] if plan.keys else pl.DataFrame(height=1)
    rows = table.get_column(ROWS.name).to_numpy()
    combined: list[pl.Series] = []
    for partial, users in _users(plan):
        assert isinstance(partial, Summed | Extreme)
        if isinstance(partial, Rows | Known) and np.array_equal(table.get_column(partial.name).to_numpy(), rows):
            combined.append(pl.Series(partial.name, windows.rows))
        else:
            combined += partial.combine(table, windows.field, users)
    return _of_grid(keys, windows, combined, plan)


def _of_grid(keys: pl.DataFrame, windows: grids.Windows, combined: list[pl.Series], plan: Plan) -> pl.DataFrame:
    """`keys`: of every line."""
    layout = plan.layout
    assert isinstance(layout, Grid)
    bounds = [
        picked(plan.calendar.instants(edge(windows.numbers)), windows.column) for edge in (layout.start, layout.end)
    ]
    return _finished([picked(key, windows.line) for key in keys.get_columns()], bounds, combined, plan)


def _users(plan: Plan) -> Iterator[tuple[Partial, list[Aggregate]]]:
    """Each partial that is read at the end, and who reads it."""
    for partial in plan.partials:
        users = [aggregate for _, aggregate, dtype in plan.aggregates if partial in aggregate.partials(dtype)]
        if users:
            yield partial, users


def _finished(
    keys: Sequence[pl.Series], bounds: list[pl.Series], combined: list[pl.Series], plan: Plan
) -> pl.DataFrame:
    columns = [series.alias(key) for key, series in zip(plan.keys, keys, strict=True)]
    columns += [bounds[0].alias(START), bounds[1].alias(END)]
    finished = pl.DataFrame(combined).select(
        [aggregate.finish(dtype).alias(name) for name, aggregate, dtype in plan.aggregates]
    )
    return pl.DataFrame(columns + finished.get_columns())


def runs_of(groups: Index, slices: Index, layout: Sliced) -> Runs:
    """Every window that holds at least one of the slices; `groups` numbers the keys, both sorted.

    A window is found twice: at its first slice going forward, at its last going backward, each time in
    the order of key and start, so the two lists pair up without a search. A rolling window has the last slice's number.
    """
    here = np.arange(len(slices), dtype=np.int64)
    if isinstance(layout, Rolling):
        return Runs(slices, _reach_back(groups, slices, layout.size), here)
    if layout.single or len(slices) == 0:
        return Runs(layout.low(slices), here, here)
    low, high = layout.low(slices), layout.high(slices)
    same = groups[1:] == groups[:-1]
    fresh = low.copy()
    fresh[1:][same] = np.maximum(low[1:], high[:-1] + 1)[same]
    final = high.copy()
    final[:-1][same] = np.minimum(high[:-1], low[1:] - 1)[same]
    _check_fits(float(np.maximum(high - fresh + 1, 0).sum(dtype=np.float64)))
    window, first = _expand(fresh, high)
    _, last = _expand(low, final)
    return Runs(window, first, last)


def group_numbers(table: pl.DataFrame, names: list[str]) -> Index:
    """Numbers of the runs of equal keys in a table sorted by them."""
    if not names:
        return np.zeros(table.height, dtype=np.int64)
    if len(names) == 1 and table.schema[names[0]] in INTEGERS and table.height:
        numbers = table.get_column(names[0]).to_numpy()
        return np.asarray(np.r_[0, np.cumsum(numbers[1:] != numbers[:-1])])
    key = pl.col(names[0]) if len(names) == 1 else pl.struct(names)
    return table.select(key.rle_id().cast(pl.Int64)).to_series().to_numpy()


def check_range(low: int, high: int, plan: Plan) -> None:
    """Raise WindowError where windows of the slices from `low` to `high` are no times that can be shown.

    In Python's integers, which do not wrap around: all later arithmetic stays between these bounds."""
    layout = plan.layout
    assert isinstance(layout, Grid | Steps | Rolling)
    first, last = layout.start(layout.low(low)), layout.end(layout.high(high))
    if isinstance(layout, Rolling):
        last = high + 1
    if plan.calendar.months:
        # The lengths of months do not matter here: 31 days each is beyond both ends.
        day = DAY_NS // tick_ns(plan.time_dtype)
        first, last = (month * 31 * day for month in (first, last))
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


def _reach_back(groups: Index, slices: Index, size: int) -> Index:
    """Of each position the first one of the same key that is less than `size` before it."""
    times, codes = np.unique(slices, return_inverse=True)
    # A window longer than the whole table would leave the range of integers; it reaches back to its beginning anyway.
    span = int(times[-1]) - int(times[0]) + 1 if len(times) else 1
    earliest = np.searchsorted(times, times - min(size, span), side="right")
    wide = len(times) + 1
    return np.searchsorted(groups * wide + codes, groups * wide + earliest[codes])


def _ranges(groups: Index, slices: Index, runs: Runs, layout: Sliced) -> Ranges:
    if isinstance(layout, Rolling):
        return Doubling(runs.first, runs.last)
    # Blocks as long as a window, counted from slice 0, so that a window's sum does not depend on what else is there.
    length = layout.slices_per_window
    number = slices // length
    changes = (groups[1:] != groups[:-1]) | (number[1:] != number[:-1])
    block = np.r_[0, np.cumsum(changes)]
    if isinstance(layout, Steps):
        late = np.ones(len(runs.first), dtype=bool)
    else:
        late = number[runs.first] != layout.first_slice(runs.window) // length
    return Blocks(runs.first, runs.last, block=block, slot=slices - number * length, length=length, late=late)
