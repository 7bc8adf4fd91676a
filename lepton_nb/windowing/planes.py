"""What is kept for every cell of a grid that grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lepton_nb.windowing.ranges import Array, Index

# A grid that grows takes room for so many times its cells, so that it seldom moves, up to so many more.
GROWTH = 4
MOST_ROOM = 2**24
# Types whose values NumPy holds as they are.
INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
FLOATS = (pl.Float32, pl.Float64)


class Plane:
    """One thing that is kept for every cell: by slice, then key, so that rows in order of time stay close together."""

    def __init__(self, dtype: np.dtype[Any], nothing: Any, operation: np.ufunc) -> None:
        self.nothing = nothing
        self.operation = operation
        self.values: Array = np.zeros(0, dtype=dtype)
        self._room = self.values

    def copied(self) -> Plane:
        """Another one that holds the same."""
        other = Plane(self.values.dtype, self.nothing, self.operation)
        other.values = other._room = self.values.copy()
        return other

    def extend(self, size: int) -> None:
        """More cells at the end."""
        before = len(self.values)
        if size > len(self._room):
            # Memory that is not touched is not taken either.
            self._room = np.empty(size + min((GROWTH - 1) * size, MOST_ROOM), dtype=self.values.dtype)
            self._room[:before] = self.values
        self.values = self._room[:size]
        self.values[before:] = self.nothing

    def move(self, size: int, to: Index) -> None:
        """More cells anywhere: `to` says where the present ones go."""
        self._room = np.full(size, self.nothing, dtype=self.values.dtype)
        self._room[to] = self.values
        self.values = self._room


@dataclass(slots=True)
class Span:
    """Whole numbers `first` to `first` + `size` - 1."""

    first: int = 0
    size: int = 0

    @property
    def last(self) -> int:
        """The last of them; before the first where there are none."""
        return self.first + self.size - 1

    def including(self, low: int, high: int) -> Span:
        """With the numbers `low` to `high`."""
        if self.size:
            low, high = min(low, self.first), max(high, self.last)
        return Span(low, high - low + 1)


def picked(values: pl.Series, index: Index) -> pl.Series:
    """The values at these positions, in this order."""
    dtype = values.dtype
    plain = dtype in (*INTEGERS, *FLOATS) or isinstance(dtype, pl.Datetime)
    if values.has_nulls() or not plain:
        return values[index]
    # Polars would wait for the threads that read.
    if isinstance(dtype, pl.Datetime):
        return pl.Series(values.name, values.to_numpy().view(np.int64)[index]).cast(dtype)
    return pl.Series(values.name, values.to_numpy()[index], dtype=dtype)
