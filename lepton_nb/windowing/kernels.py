"""The loops over rows that Numba compiles where it is installed; what NumPy does otherwise is in `tally`.

Both add in the order of rows, so that sums are the same to the last bit. Numbers are Int64, values and what is kept of
them all Int64 or all Float64. Cells of floats begin with NaN, which any value replaces; a NaN replaces none.
Of 0.0 and -0.0 the last one stays, as with NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# What is kept of values, added up in `keeps`; the order of their arrays.
TOTAL, LEAST, MOST = 1, 2, 4


def count(
    ticks: Any,
    keys: Any,
    offset: int,
    every: int,
    first_slice: int,
    last_slice: int,
    first_key: int,
    last_key: int,
    place: Any,
    counts: Any,
    values: Any,
    keeps: int,
    total: Any,
    least: Any,
    most: Any,
) -> int:
    """Count rows up to the first one outside the grid of these slices and keys; returns how many.

    A row lies in slice `(tick - offset) // every`, cells by slice, then key. One is added to `counts` in the row's
    cell, its value goes where `keeps` says, and the cell is written into `place`, unless that has no room at all.
    """
    placed = len(place) > 0
    first, end, line = 0, 0, 0
    width = last_key - first_key + 1
    with_total, with_least, with_most = keeps & 1 != 0, keeps & 2 != 0, keeps & 4 != 0
    for row in range(len(ticks)):
        within = ticks[row] - offset
        # Rows mostly lie in the slice of the row before, and a division costs more than all the rest.
        if within < first or within >= end:
            number = within // every
            if number < first_slice or number > last_slice:
                return row
            first = number * every
            end = first + every
            line = (number - first_slice) * width
        key = keys[row]
        if key < first_key or key > last_key:
            return row
        # Unsigned: with a signed one, Numba looks each time whether it counts from the end.
        cell = np.uint64(line + (key - first_key))
        counts[cell] += 1
        if placed:
            place[row] = cell
        # As in `gather`; a second loop over the rows takes half as long again.
        if keeps != 0:
            value = values[row]
            if with_total:
                total[cell] += value
            if with_least:
                low = least[cell]
                if value <= low or low != low:
                    least[cell] = value
            if with_most:
                high = most[cell]
                if value >= high or high != high:
                    most[cell] = value
    return len(ticks)


def gather(place: Any, values: Any, keeps: int, total: Any, least: Any, most: Any) -> None:
    """Add the values of rows to the totals of their cells, and keep the least and the most, as far as `keeps` says."""
    with_total, with_least, with_most = keeps & 1 != 0, keeps & 2 != 0, keeps & 4 != 0
    for row in range(len(place)):
        cell = np.uint64(place[row])
        value = values[row]
        if with_total:
            total[cell] += value
        if with_least:
            low = least[cell]
            if value <= low or low != low:
                least[cell] = value
        if with_most:
            high = most[cell]
            if value >= high or high != high:
                most[cell] = value
