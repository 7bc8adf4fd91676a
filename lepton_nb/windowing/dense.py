"""Slice tables by counting: where keys and slices lie close, a cell for each pair is quicker than a hash table.

A table of cells (key, slice) takes the rows one after the other, each in its place; what was used of it is then read
off, in order. It serves one key of whole numbers or text, or none, and aggregates that are sums and extremes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.windowing import partials as kept
from lepton_nb.windowing import ranges as ranged
from lepton_nb.windowing.partials import Partial
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.ranges import Array, Index

# Cells for each row: with more, most of the time goes into empty ones.
MOST_CELLS_PER_ROW = 4

Sums = (kept.Rows, kept.Known, kept.Total, kept.FloatTotal)


@dataclass(frozen=True)
class Cells:
    """Where rows belong: `place` of each row in a table of `keys` times `width` cells; text keys have `names`."""

    place: Index
    first_key: int
    keys: int
    first_slice: int
    width: int
    names: pl.Series | None


def serves(plan: Plan) -> bool:
    """Whether the aggregates and keys of a plan are of the kinds that can be counted in cells."""
    kinds = (*Sums, kept.Smallest, kept.Largest)
    dtypes = [dtype for dtype in plan.key_dtypes if not (dtype.is_integer() or dtype == pl.String)]
    wide = [dtype for dtype in plan.key_dtypes if dtype in (pl.Int128, pl.UInt128, pl.UInt64)]
    return len(plan.keys) <= 1 and not dtypes and not wide and all(isinstance(p, kinds) for p in plan.partials)


def cells_of(key: pl.Series | None, slices: pl.Series) -> Cells | None:
    """The cells of these rows; None where there are too many, too few rows, or nulls."""
    rows = len(slices)
    if not rows or slices.has_nulls() or (key is not None and key.has_nulls()):
        return None
    first_slice, width = _span(slices)
    names = None
    if key is not None and key.dtype == pl.String:
        names = key.unique().sort()
        # Text is numbered in its order, so that cells lie in the order of keys.
        key = key.cast(pl.Enum(names)).to_physical() if len(names) * width <= MOST_CELLS_PER_ROW * rows else None
        if key is None:
            return None
    first_key, keys = (0, 1) if key is None else _span(key)
    if keys * width > MOST_CELLS_PER_ROW * rows:
        return None
    # In place: at this size a new array costs more than the sum that goes into it.
    if key is None:
        place = slices.to_numpy() - first_slice
    else:
        place = key.cast(pl.Int64).to_numpy() - first_key
        place *= width
        place += slices.to_numpy()
        place -= first_slice
    return Cells(place, first_key, keys, first_slice, width, names)


def _span(values: pl.Series) -> tuple[int, int]:
    low, high = values.min(), values.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    return low, high - low + 1


def from_rows(frame: pl.DataFrame, plan: Plan, slices: pl.Series) -> pl.DataFrame | None:
    """The slice table of rows, sorted by key and slice; None where it is better made in another way."""
    if not serves(plan):
        return None
    cells = cells_of(frame.get_column(plan.keys[0]) if plan.keys else None, slices)
    if cells is None:
        return None
    counts = np.bincount(cells.place, minlength=cells.keys * cells.width)
    used = np.flatnonzero(counts)
    columns = [_of_rows(partial, frame, plan, cells, counts, used) for partial in plan.partials]
    return pl.DataFrame([*_keys(cells, used, plan), *columns])


def merged(tables: Sequence[pl.DataFrame], plan: Plan) -> pl.DataFrame | None:
    """Slice tables as one, sorted by key and slice; None where it is better made in another way."""
    if not serves(plan):
        return None
    table = pl.concat(tables)
    key = table.get_column(f"key:{plan.keys[0]}") if plan.keys else None
    cells = cells_of(key, table.get_column("slice"))
    if cells is None:
        return None
    used = np.flatnonzero(np.bincount(cells.place, minlength=cells.keys * cells.width))
    columns = [
        _summed(table.get_column(partial.name), cells, used)
        if isinstance(partial, Sums)
        else _extreme(table.get_column(partial.name), cells, used, partial)
        for partial in plan.partials
    ]
    return pl.DataFrame([*_keys(cells, used, plan), *columns])


def _keys(cells: Cells, used: Index, plan: Plan) -> list[pl.Series]:
    number, slices = np.divmod(used, cells.width)
    found = [pl.Series("slice", slices + cells.first_slice)]
    if plan.keys:
        name = f"key:{plan.keys[0]}"
        if cells.names is not None:
            found.insert(0, cells.names[number].alias(name))
        else:
            found.insert(0, pl.Series(name, number + cells.first_key).cast(plan.key_dtypes[0]))
    return found


def _of_rows(partial: Partial, frame: pl.DataFrame, plan: Plan, cells: Cells, counts: Index, used: Index) -> pl.Series:
    if isinstance(partial, kept.Rows):
        return pl.Series(partial.name, counts[used])
    values = frame.get_column(partial.column)
    if isinstance(partial, kept.Known):
        if not values.has_nulls():
            return pl.Series(partial.name, counts[used])
        return _summed(values.is_not_null().cast(pl.Int64).alias(partial.name), cells, used)
    if isinstance(partial, kept.Total):
        return _summed(values.cast(kept.sum_dtype(values.dtype)).alias(partial.name), cells, used)
    if isinstance(partial, kept.FloatTotal):
        return _summed(values.cast(pl.Float64).alias(partial.name), cells, used)
    return _extreme(values.alias(partial.name), cells, used, partial)


def _summed(values: pl.Series, cells: Cells, used: Index) -> pl.Series:
    """Sums in the order of rows; integers exactly, modulo 2**64."""
    numbers = values.fill_null(0).to_numpy()
    size = cells.keys * cells.width
    if numbers.dtype.kind == "f":
        found: Array = np.bincount(cells.place, weights=numbers, minlength=size)
    else:
        found = np.zeros(size, dtype=numbers.dtype)
        np.add.at(found, cells.place, numbers)
    return pl.Series(values.name, found[used])


def _extreme(values: pl.Series, cells: Cells, used: Index, partial: Partial) -> pl.Series:
    """Smallest or largest; null where no value is known, NaN where all are."""
    lowest = isinstance(partial, kept.Smallest)
    physical = values.cast(pl.Int8) if values.dtype == pl.Boolean else values.to_physical()
    place: Any = cells.place
    known: npt.NDArray[np.bool_] | None = None
    if physical.has_nulls():
        there = physical.is_not_null()
        place, physical = place[there.to_numpy()], physical.filter(there)
        known = np.bincount(place, minlength=cells.keys * cells.width)[used] > 0
    numbers = physical.to_numpy()
    operation = ranged.extreme_of(numbers, lowest=lowest)
    neutral = np.nan if operation in (np.fmin, np.fmax) else ranged.neutral(operation, numbers.dtype)
    found = np.full(cells.keys * cells.width, neutral, dtype=numbers.dtype)
    operation.at(found, place, numbers)
    result = pl.Series(partial.name, found[used])
    if known is not None:
        result = pl.select(pl.when(pl.Series(known)).then(result)).to_series().alias(partial.name)
    return result.cast(values.dtype)
