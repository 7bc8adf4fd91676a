"""Windows of slice tables with few gaps: every key a line of a grid, every window so many neighbours in it.

It serves windows of one length in slices, and sums and extremes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lepton_nb.windowing import dense
from lepton_nb.windowing.assign import Grid
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.ranges import Array, Index, Reduction, neutral

# Places for each slice: with more, most of the time goes into empty ones.
MOST_PLACES_PER_SLICE = 4
# Places that are reduced at a time, so that they stay in a core's own cache.
CHUNK = 2**15


@dataclass(frozen=True)
class Field(Reduction):
    """Slices in places: line after line, with so much room before each that a window never reaches into another.

    place: of every slice; None where values come as a grid of all slices and lines. lines, size: how many lines of how
    many places. length: slices of a window. columns: the places of a line at which windows of the result begin. used:
    which of these, over all lines; None for all.
    """

    place: Index | None
    lines: int
    size: int
    length: int
    columns: slice
    used: Index | None = None

    def reduce(self, operation: np.ufunc, values: Array) -> Array:
        """`operation` over every window of the result."""
        if self.length == 1 and self.place is None:
            alone = np.array(values.T[:, self.columns], order="C", copy=True).ravel()
            return alone if self.used is None else alone[self.used]
        places = self.lines * self.size + self.length - 1
        flat = np.full(places, neutral(operation, values.dtype), dtype=values.dtype)
        if self.place is None:
            flat[: self.lines * self.size].reshape(self.lines, self.size)[:, self.length - 1 :] = values.T
        else:
            flat[self.place] = values
        found = neighbours(operation, flat, self.length).reshape(self.lines, self.size)[:, self.columns].ravel()
        return found if self.used is None else found[self.used]

    def sums(self, values: Array) -> Array:
        """Sums of integers: exact, modulo 2**64."""
        return self.reduce(np.add, values)


@dataclass(frozen=True)
class Windows:
    """The windows that hold any row, by key, then number: its rows, the line and the place in `numbers` of each."""

    field: Field
    rows: Index
    line: Index
    column: Index
    numbers: Index


def neighbours(operation: np.ufunc, values: Array, length: int) -> Array:
    """`operation`, associative, over every `length` neighbours: result[i] over values[i : i + length].

    Results over 1, 2, 4, ... neighbours are put together: log2(length) passes, and the same order in every window, so
    that a window's sum does not depend on what else is there.
    """
    found = np.empty(len(values) - length + 1, dtype=values.dtype)
    chunk = max(CHUNK, 2 * length)
    with np.errstate(invalid="ignore", over="ignore"):
        for begin in range(0, len(found), chunk):
            end = min(begin + chunk, len(found))
            found[begin:end] = _doubled(operation, values[begin : end + length - 1], length)
    return found


def _doubled(operation: np.ufunc, values: Array, length: int) -> Array:
    count = len(values) - length + 1
    again = operation in (np.minimum, np.maximum, np.fmin, np.fmax)
    found: Array | None = None
    taken, reach = 0, 1
    while True:
        if length & reach and not again:
            piece = values[taken : taken + count]
            found = piece if found is None else operation(found, piece)
            taken += reach
        if 2 * reach > length:
            break
        values = operation(values[:-reach], values[reach:])
        reach *= 2
    if found is None:
        # What is counted twice changes no extreme.
        found = operation(values[:count], values[length - reach : length - reach + count])
    return found


def windows_of(
    groups: Index, slices: Index, rows: Index, plan: Plan, between: tuple[int, int] | None
) -> Windows | None:
    """The windows of a slice table sorted by key and slice; None where that is not served or mostly empty.

    groups: numbers of the runs of equal keys. rows: of each slice. between: first and last number that are wanted;
    None for all.
    """
    lines, first, last = int(groups[-1]) + 1, int(slices.min()), int(slices.max())
    single = isinstance(plan.layout, Grid) and plan.layout.single
    if single or not _serves(plan, lines, first, last, len(slices)):
        return None
    place = groups * (last - first + plan.layout.slices_per_window)  # type: ignore[union-attr]
    place += slices
    place -= first - plan.layout.slices_per_window + 1  # type: ignore[union-attr]
    return _windows(plan, place, lines, first, last, rows, between)


def windows_of_cells(cells: dense.Cells, plan: Plan) -> Windows | None:
    """The windows of counted rows; None where that is not served or mostly empty."""
    first, last = cells.span
    rows = cells.grid(cells.counts)
    lines = rows.shape[1]
    if not _serves(plan, lines, first, last, int(np.count_nonzero(rows))):
        return None
    return _windows(plan, None, lines, first, last, rows, None)


def _serves(plan: Plan, lines: int, first: int, last: int, slices: int) -> bool:
    layout = plan.layout
    if not isinstance(layout, Grid) or layout.gaps or not dense.adds_up(plan):
        return False
    places = lines * (last - first + layout.slices_per_window) + layout.slices_per_window
    return places <= MOST_PLACES_PER_SLICE * slices


def _windows(
    plan: Plan, place: Index | None, lines: int, first: int, last: int, rows: Index, between: tuple[int, int] | None
) -> Windows:
    layout = plan.layout
    assert isinstance(layout, Grid)
    length, step = layout.slices_per_window, layout.slices_per_step
    # A line begins where a window would that ends with its first slice.
    origin = first - length + 1
    low, high = int(layout.low(first)), int(layout.high(last))
    if between is not None:
        low, high = max(low, between[0]), min(high, between[1])
    numbers = np.arange(low, max(high + 1, low), dtype=np.int64)
    begin = low * step - origin
    columns = slice(begin, begin + len(numbers) * step, step)
    field = Field(place, lines, last - origin + 1, length, columns)
    counts = field.sums(rows)
    used = np.flatnonzero(counts)
    if len(used) == len(counts):
        line = np.repeat(np.arange(lines, dtype=np.int64), len(numbers))
        return Windows(field, counts, line, np.tile(np.arange(len(numbers), dtype=np.int64), lines), numbers)
    line = used // len(numbers)
    return Windows(replace(field, used=used), counts[used], line, used - line * len(numbers), numbers)
