"""What a slice keeps for its aggregates, how two slices merge, and what a window reads off its slices.

A `Partial` is one value per (key, slice), in one column of a slice table or a few. Aggregates on the same column share
their partials: sum and mean of "delay" keep its sum and its count once. Merging is associative and, but for the last
digits of floats, does not depend on the order, so slices can be merged across partitions, workers, batches of a stream,
and neighbouring slices into windows, by the same rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from lepton_nb.data.frames import named as named
from lepton_nb.windowing import ranges as ranged
from lepton_nb.windowing.ranges import Arrays, Ranges, Reduction

if TYPE_CHECKING:
    from lepton_nb.windowing.aggregates import Aggregate


def sum_dtype(dtype: pl.DataType) -> pl.DataType:
    """The type in which values of `dtype` are summed: wide, so that small types do not wrap around."""
    if dtype.is_float():
        return pl.Float64()
    return pl.UInt64() if dtype == pl.UInt64 else pl.Int64()


@dataclass(frozen=True, slots=True)
class Partial(ABC):
    """Part of an aggregate that slices keep. `column` is "" for the number of rows."""

    column: str
    operation: ClassVar[str]

    @property
    def name(self) -> str:
        """The column of a slice table that holds it, or the first of them."""
        return f"{self.operation}:{self.column}"

    @property
    def columns(self) -> tuple[str, ...]:
        """All its columns in a slice table."""
        return (self.name,)

    @abstractmethod
    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """From the rows of one (key, slice)."""

    @abstractmethod
    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """From every row by itself."""

    @abstractmethod
    def merge(self) -> list[pl.Expr]:
        """From partials of one (key, slice)."""

    @abstractmethod
    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
        """What `users`, the aggregates that need it, read: one value per range of slices."""

    def seal_rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """What Polars cannot do itself, after `first`."""
        return table

    def seal_merged(self, table: pl.DataFrame) -> pl.DataFrame:
        """What Polars cannot do itself, after `merge`."""
        return table


@dataclass(frozen=True, slots=True)
class Summed(Partial):
    """A number that adds up."""

    def merge(self) -> list[pl.Expr]:
        """The sum."""
        return [pl.col(self.name).sum()]

    def combine(self, table: pl.DataFrame, ranges: Reduction, users: Sequence[Aggregate]) -> list[pl.Series]:
        """Sums of integers are exact modulo 2**64; floats are added in pairs."""
        series = table.get_column(self.name)
        if ranges.single:
            return [series]
        values = series.to_numpy()
        found = ranges.reduce(np.add, values) if series.dtype.is_float() else ranges.sums(values)
        return [pl.Series(self.name, found)]


@dataclass(frozen=True, slots=True)
class Rows(Summed):
    """The number of rows, Int64."""

    operation: ClassVar[str] = "rows"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The number of rows."""
        return [pl.len().cast(pl.Int64).alias(self.name)]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """One."""
        return [pl.lit(1, dtype=pl.Int64).alias(self.name)]


@dataclass(frozen=True, slots=True)
class Known(Summed):
    """The number of values that are not null, Int64."""

    operation: ClassVar[str] = "count"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The number of values."""
        return [named(self.column).count().cast(pl.Int64).alias(self.name)]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """One, or none for a null."""
        return [named(self.column).is_not_null().cast(pl.Int64).alias(self.name)]


@dataclass(frozen=True, slots=True)
class Total(Summed):
    """The sum in Int64 (UInt64 for UInt64, Float64 for floats)."""

    operation: ClassVar[str] = "sum"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The sum."""
        assert dtype is not None
        return [named(self.column).cast(sum_dtype(dtype)).sum().alias(self.name)]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The value."""
        assert dtype is not None
        return [named(self.column).cast(sum_dtype(dtype)).fill_null(0).alias(self.name)]


@dataclass(frozen=True, slots=True)
class FloatTotal(Summed):
    """The sum in Float64, for means of 64-bit integers, which could overflow."""

    operation: ClassVar[str] = "total"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The sum."""
        return [named(self.column).cast(pl.Float64).sum().alias(self.name)]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The value."""
        return [named(self.column).cast(pl.Float64).fill_null(0.0).alias(self.name)]


@dataclass(frozen=True, slots=True)
class Extreme(Partial):
    """The smallest or the largest value in the column's own type, null where there is none, NaN only if all are."""

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The value."""
        return [named(self.column).alias(self.name)]

    def combine(self, table: pl.DataFrame, ranges: Reduction, users: Sequence[Aggregate]) -> list[pl.Series]:
        """Slices without any value (null) do not count."""
        series = table.get_column(self.name)
        if ranges.single:
            return [series]
        lowest = self.operation == "min"
        dtype = series.dtype
        physical = series.cast(pl.Int8) if dtype == pl.Boolean else series.to_physical()
        if physical.dtype.is_float():
            values = physical.fill_null(np.nan).to_numpy()
        else:
            limits = np.iinfo(physical.clear().to_numpy().dtype)
            values = physical.fill_null(limits.max if lowest else limits.min).to_numpy()
        reduced = ranges.reduce(ranged.extreme_of(values, lowest=lowest), values)
        result = pl.Series(self.name, reduced, dtype=physical.dtype)
        if series.has_nulls():
            found = ranges.sums(physical.is_not_null().to_numpy().astype(np.int64)) > 0
            result = pl.select(pl.when(pl.Series(found)).then(result)).to_series()
        return [result.cast(dtype).alias(self.name)]


@dataclass(frozen=True, slots=True)
class Smallest(Extreme):
    """The smallest value."""

    operation: ClassVar[str] = "min"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The smallest."""
        return [named(self.column).min().alias(self.name)]

    def merge(self) -> list[pl.Expr]:
        """The smallest."""
        return [pl.col(self.name).min()]


@dataclass(frozen=True, slots=True)
class Largest(Extreme):
    """The largest value."""

    operation: ClassVar[str] = "max"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The largest."""
        return [named(self.column).max().alias(self.name)]

    def merge(self) -> list[pl.Expr]:
        """The largest."""
        return [pl.col(self.name).max()]


@dataclass(frozen=True, slots=True)
class Moments(Partial):
    """Count, mean and sum of squared differences from the mean (M2): no large squares are subtracted.

    Merged as Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances (1979).
    """

    operation: ClassVar[str] = "moments"

    @property
    def columns(self) -> tuple[str, ...]:
        """n, mean and M2."""
        return (f"moments n:{self.column}", f"moments mean:{self.column}", f"moments m2:{self.column}")

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """n, mean and M2 of the values that are not null."""
        values = named(self.column).cast(pl.Float64)
        n, mean, m2 = self.columns
        # Polars gives a single NaN or infinity the variance 0; its mean times 0 keeps it a NaN.
        squares = values.var(ddof=0) * values.count() + values.mean() * 0.0
        return [
            values.count().cast(pl.Float64).alias(n),
            values.mean().fill_null(0.0).alias(mean),
            squares.fill_null(0.0).alias(m2),
        ]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """One value has no spread, unless it is no finite number."""
        values = named(self.column).cast(pl.Float64)
        n, mean, m2 = self.columns
        parts = (values.is_not_null().cast(pl.Float64), values.fill_null(0.0), (values - values).fill_null(0.0))
        return [part.alias(name) for part, name in zip(parts, (n, mean, m2), strict=True)]

    def merge(self) -> list[pl.Expr]:
        """n, mean and M2 of all."""
        n, mean, m2 = (pl.col(name) for name in self.columns)
        middle = pl.when(n.sum() > 0).then((n * mean).sum() / n.sum()).otherwise(0.0)
        spread = pl.when(n > 0).then(n * (mean - middle) ** 2).otherwise(0.0)
        return [n.sum(), middle.alias(self.columns[1]), (m2.sum() + spread.sum()).alias(self.columns[2])]

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
        """n, mean and M2 of every range."""
        if ranges.single:
            return [table.get_column(name) for name in self.columns]
        found = ranges.fold(_merged_moments, tuple(table.get_column(name).to_numpy() for name in self.columns))
        return [pl.Series(name, values) for name, values in zip(self.columns, found, strict=True)]


def _merged_moments(left: Arrays, right: Arrays) -> Arrays:
    (n_left, mean_left, m2_left), (n_right, mean_right, m2_right) = left, right
    n = n_left + n_right
    share = np.divide(n_right, n, out=np.zeros_like(n), where=n > 0)
    apart = np.where((n_left > 0) & (n_right > 0), mean_right - mean_left, 0.0)
    mean = np.where(n_left > 0, mean_left + apart * share, mean_right)
    return n, mean, m2_left + m2_right + apart**2 * n_left * share


@dataclass(frozen=True, slots=True)
class Edge(Partial):
    """The value at the earliest or the latest time, and that time; of equal times the smallest or the largest value."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The time and the value."""
        return (f"{self.operation} at:{self.column}", self.name)

    @property
    def earliest(self) -> bool:
        """True for the first value."""
        return self.operation == "first"

    def _pick(self, expression: pl.Expr) -> pl.Expr:
        return expression.min() if self.earliest else expression.max()

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """Nulls do not count."""
        known = named(self.column).is_not_null()
        at = self._pick(named(time).filter(known))
        value = self._pick(named(self.column).filter(known & (named(time) == at)))
        return [at.alias(self.columns[0]), value.alias(self.name)]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The value and its time."""
        at = pl.when(named(self.column).is_not_null()).then(named(time))
        return [at.alias(self.columns[0]), named(self.column).alias(self.name)]

    def merge(self) -> list[pl.Expr]:
        """Of the partials with the earliest or the latest time."""
        at, value = (pl.col(name) for name in self.columns)
        return [self._pick(at), self._pick(value.filter(at == self._pick(at)))]

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
        """Slices lie in the order of time: the first or the last one that has a value."""
        series = table.get_column(self.name)
        if ranges.single:
            return [series]
        search = ranged.first_marked if self.earliest else ranged.last_marked
        place, there = search(series.is_not_null().to_numpy(), ranges)
        return [series[place].to_frame().select(pl.when(pl.Series(there)).then(pl.col(self.name))).to_series()]


@dataclass(frozen=True, slots=True)
class First(Edge):
    """The earliest value."""

    operation: ClassVar[str] = "first"


@dataclass(frozen=True, slots=True)
class Last(Edge):
    """The latest value."""

    operation: ClassVar[str] = "last"


ROWS = Rows("")
