"""What a slice keeps for its aggregates, how two slices merge, and what a window reads off its slices.

A `Partial` is one value per (key, slice), in one column of a slice table or a few. Aggregates on the same column share
their partials: sum and mean of "delay" keep its sum and its count once. Merging is associative and, but for the last
digits of floats, does not depend on the order, so slices can be merged across partitions, workers, batches of a stream,
and neighbouring slices into windows, by the same rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
import polars.selectors as cs

from lepton_nb.windowing import ranges as ranged
from lepton_nb.windowing.ranges import Arrays, Ranges

if TYPE_CHECKING:
    from lepton_nb.windowing.aggregates import Aggregate


def named(column: str) -> pl.Expr:
    """The column of exactly this name; `pl.col` would read "^...$" as a pattern."""
    return cs.by_name(column).as_expr()


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

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
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

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
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
        reduced = ranges.reduce(np.fmin if lowest else np.fmax, values)
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


@dataclass(frozen=True, slots=True)
class Listed(Partial):
    """A list of values, without nulls."""

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """A list of the value, or an empty one."""
        return [_alone(named(self.column)).alias(self.name)]

    def exploded(self, table: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """All values of all slices, and the position of the slice that each stands in."""
        flat = table.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("at"), pl.col(self.name).alias("value"))
        flat = flat.filter(pl.col("value").list.len() > 0).explode("value")
        return flat.get_column("value"), flat.get_column("at")


@dataclass(frozen=True, slots=True)
class Values(Listed):
    """All values, sorted, NaN last: as Float64, or `raw` in the column's own type."""

    raw: bool = False
    operation: ClassVar[str] = "values"

    @property
    def name(self) -> str:
        """One column for each form."""
        return f"{'raw ' if self.raw else ''}values:{self.column}"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The values."""
        values = named(self.column) if self.raw else named(self.column).cast(pl.Float64)
        return [values.drop_nulls().sort().alias(self.name)]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """A list of the value, or an empty one."""
        values = named(self.column) if self.raw else named(self.column).cast(pl.Float64)
        return [_alone(values).alias(self.name)]

    def merge(self) -> list[pl.Expr]:
        """All of them."""
        return [pl.col(self.name).explode().drop_nulls().sort()]

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
        """What each of `users` makes of the values of a range."""
        found: dict[str, pl.Series] = {}
        qs = [user.q for user in users if hasattr(user, "q")]
        if qs:
            found.update(self._quantiles(table, ranges, list(dict.fromkeys(qs))))
        for user in users:
            if hasattr(user, "most_frequent"):
                result: pl.Series = user.most_frequent(*self.exploded(table), ranges)
                found[result.name] = result
        return list(found.values())

    def _quantiles(self, table: pl.DataFrame, ranges: Ranges, qs: list[float]) -> dict[str, pl.Series]:
        series = table.get_column(self.name)
        lengths = series.list.len().cast(pl.Int64).to_numpy()
        values, _ = self.exploded(table)
        offsets = np.r_[0, np.cumsum(lengths)].astype(np.int64)
        begin, end = offsets[ranges.first], offsets[ranges.last + 1]
        found = ranged.quantiles(values.to_numpy(), begin, end, qs, presorted=ranges.single)
        empty = pl.Series(end == begin)
        return {
            quantile_name(self.column, q): pl.select(pl.when(~empty).then(pl.Series(result)))
            .to_series()
            .alias(quantile_name(self.column, q))
            for q, result in zip(qs, found, strict=True)
        }


def quantile_name(column: str, q: float) -> str:
    """Name of the column that holds a window's quantile once its slices are combined."""
    return f"values:{column}@{q!r}"


@dataclass(frozen=True, slots=True)
class Different(Listed):
    """The different values, each once."""

    operation: ClassVar[str] = "different"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The different values."""
        return [named(self.column).drop_nulls().unique().alias(self.name)]

    def merge(self) -> list[pl.Expr]:
        """The different ones of all."""
        return [pl.col(self.name).explode().drop_nulls().unique()]

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
        """How many there are in each range, Int64."""
        if ranges.single:
            return [table.get_column(self.name).list.len().cast(pl.Int64)]
        values, at = self.exploded(table)
        flat = pl.DataFrame([values.alias("value"), at.alias("at")])
        # Ranges never cross keys, so the same value of another key lies before or after all of a range.
        before = flat.select(pl.col("at").shift(1, fill_value=-1).over("value", order_by="at")).to_series()
        found = ranged.distinct_counts(at.to_numpy(), before.to_numpy(), ranges)
        return [pl.Series(self.name, found)]


@dataclass(frozen=True, slots=True)
class TopValues(Listed):
    """The `k` largest values, largest first, NaN before all numbers."""

    k: int
    operation: ClassVar[str] = "top"

    @property
    def name(self) -> str:
        """One column for each k."""
        return f"top {self.k}:{self.column}"

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The largest."""
        return [named(self.column).drop_nulls().sort(descending=True).head(self.k).alias(self.name)]

    def merge(self) -> list[pl.Expr]:
        """The largest of all."""
        return [pl.col(self.name).explode().drop_nulls().sort(descending=True).head(self.k)]

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
        """The largest of every range."""
        if ranges.single:
            return [table.get_column(self.name)]
        return [grouped(table.select(self.name), ranges, self.merge()).get_column(self.name)]


@dataclass(frozen=True, slots=True)
class Sealed(Partial):
    """A partial that Polars does not know: bytes, made from the values of a slice and merged by functions in Python."""

    @abstractmethod
    def pack(self, values: pl.Series) -> bytes:
        """The bytes for these values, none of which is null."""

    @abstractmethod
    def join(self, parts: Sequence[bytes]) -> bytes:
        """One from two or more."""

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """The values, which `seal_rows` packs."""
        return [named(self.column).drop_nulls().implode().alias(self.name)]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """A list of the value, which `seal_rows` packs."""
        return [_alone(named(self.column)).alias(self.name)]

    def merge(self) -> list[pl.Expr]:
        """The parts, which `seal_merged` joins."""
        return [pl.col(self.name).implode()]

    def seal_rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """Lists of values to bytes."""
        return self._sealed(table, self.pack)

    def seal_merged(self, table: pl.DataFrame) -> pl.DataFrame:
        """Lists of parts to bytes."""
        return self._sealed(table, lambda parts: parts[0] if len(parts) == 1 else self.join(parts.to_list()))

    def _sealed(self, table: pl.DataFrame, seal: Callable[[pl.Series], bytes]) -> pl.DataFrame:
        lists = table.get_column(self.name)
        if isinstance(lists.dtype, pl.List) and isinstance(lists.dtype.inner, pl.List):
            lists = lists.list.first()  # implode() in a group makes a list of one list on some engines
        packed = [seal(values) for values in lists]
        return table.with_columns(pl.Series(self.name, packed, dtype=pl.Binary))

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
        """The parts of every range, joined."""
        series = table.get_column(self.name)
        if ranges.single:
            return [series]
        parts = series.to_list()
        joined = [
            parts[first] if first == last else self.join(parts[first : last + 1])
            for first, last in zip(ranges.first.tolist(), ranges.last.tolist(), strict=True)
        ]
        return [pl.Series(self.name, joined, dtype=pl.Binary)]


def grouped(table: pl.DataFrame, ranges: Ranges, merged: list[pl.Expr]) -> pl.DataFrame:
    """`merged` over the slices of every range; time follows the slices of all ranges together."""
    number, position = ranges.expanded()
    spread: Any = table[position].with_columns(pl.Series("range", number))
    found: pl.DataFrame = spread.group_by("range", maintain_order=True).agg(merged)
    return found


def _alone(values: pl.Expr) -> pl.Expr:
    """Each value in a list of its own; nulls in an empty one."""
    return pl.concat_list(values).list.drop_nulls()


ROWS = Rows("")
