"""Aggregates as mergeable partials: what a slice keeps, how two slices merge, what a window reads off.

A `Partial` is one value per (key, slice). Aggregates on the same column share their partials: sum and
mean of "delay" keep its sum and its count once. Merging is associative, so slices can be merged across
partitions, workers, batches of a stream, and neighbouring slices into windows, by the same rules.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl
import polars.selectors as cs

from lepton_nb.errors import WindowError

Operation = Literal["rows", "count", "sum", "total", "min", "max", "values"]


@dataclass(frozen=True, slots=True)
class Partial:
    """One column of a slice table.

    rows: number of rows. count: values that are not null. sum: in Int64 (UInt64 for UInt64, Float64 for
    floats). total: the sum in Float64, for means of 64-bit integers, which could overflow. min, max: in the
    column's own type, NaN only where every value is NaN. values: the sorted values as List(Float64), NaN last.
    """

    operation: Operation
    column: str = ""

    @property
    def name(self) -> str:
        return f"{self.operation}:{self.column}"

    def first(self, dtype: pl.DataType | None) -> pl.Expr:
        """Expression over the rows of one (key, slice)."""
        column = named(self.column)
        match self.operation:
            case "rows":
                expression = pl.len().cast(pl.Int64)
            case "count":
                expression = column.count().cast(pl.Int64)
            case "sum":
                assert dtype is not None
                expression = column.cast(sum_dtype(dtype)).sum()
            case "total":
                expression = column.cast(pl.Float64).sum()
            case "min":
                expression = column.min()
            case "max":
                expression = column.max()
            case "values":
                expression = column.cast(pl.Float64).drop_nulls().sort()
        return expression.alias(self.name)

    def merge(self) -> pl.Expr:
        """Expression over partials of one (key, slice) from several partitions."""
        column = pl.col(self.name)
        match self.operation:
            case "min":
                return column.min()
            case "max":
                return column.max()
            case "values":
                return column.explode().drop_nulls().sort()
            case _:
                return column.sum()


ROWS = Partial("rows")


def named(column: str) -> pl.Expr:
    """The column of exactly this name; `pl.col` would read "^...$" as a pattern."""
    return cs.by_name(column).as_expr()


def sum_dtype(dtype: pl.DataType) -> pl.DataType:
    """The type in which values of `dtype` are summed: wide, so that small types do not wrap around."""
    if dtype.is_float():
        return pl.Float64()
    return pl.UInt64() if dtype == pl.UInt64 else pl.Int64()


def quantile_name(column: str, q: float) -> str:
    """Name of the column that holds a window's quantile once its slices are combined."""
    return f"values:{column}@{q!r}"


@dataclass(frozen=True, slots=True)
class Aggregate(ABC):
    """A function of the rows of a window. `column` is "" only for a count of rows."""

    column: str
    name: ClassVar[str]

    @abstractmethod
    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        """What a slice must keep."""

    @abstractmethod
    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        """Expression over the combined partials of a window."""

    @abstractmethod
    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        """Type of the result for a column of type `dtype`."""

    def accepts(self, dtype: pl.DataType) -> bool:
        """Whether values of this type can be aggregated."""
        return _is_number(dtype) or dtype == pl.Boolean

    wants: ClassVar[str] = "numbers"
    fix: ClassVar[str] = "cast it first, for example frame.with_columns(pl.col({column!r}).cast(pl.Float64))"

    def check(self, dtype: pl.DataType) -> None:
        """Raise WindowError unless a column of type `dtype` will do."""
        if not self.accepts(dtype):
            raise WindowError(
                f"{self.name}({self.column!r}) needs {self.wants}, but the column is {dtype}; "
                + self.fix.format(column=self.column),
                column=self.column,
                dtype=str(dtype),
            )


@dataclass(frozen=True, slots=True)
class Count(Aggregate):
    name: ClassVar[str] = "count"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (self._partial,)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(self._partial.name)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return pl.Int64()

    def accepts(self, dtype: pl.DataType) -> bool:
        return True

    @property
    def _partial(self) -> Partial:
        return Partial("count", self.column) if self.column else ROWS


@dataclass(frozen=True, slots=True)
class Sum(Aggregate):
    name: ClassVar[str] = "sum"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (Partial("sum", self.column),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(Partial("sum", self.column).name)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        assert dtype is not None
        return sum_dtype(dtype)


@dataclass(frozen=True, slots=True)
class Mean(Aggregate):
    name: ClassVar[str] = "mean"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        operation: Operation = "total" if dtype in (pl.Int64, pl.UInt64) else "sum"
        return (Partial(operation, self.column), Partial("count", self.column))

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        total, count = (pl.col(partial.name) for partial in self.partials(dtype))
        return pl.when(count > 0).then(total.cast(pl.Float64) / count)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return pl.Float64()


@dataclass(frozen=True, slots=True)
class Extreme(Aggregate):
    """The minimum or the maximum."""

    wants: ClassVar[str] = "numbers, booleans, dates or times"

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        assert dtype is not None
        return dtype

    def accepts(self, dtype: pl.DataType) -> bool:
        return Aggregate.accepts(self, dtype) or dtype.is_temporal()


@dataclass(frozen=True, slots=True)
class Min(Extreme):
    name: ClassVar[str] = "min"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (Partial("min", self.column),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(Partial("min", self.column).name)


@dataclass(frozen=True, slots=True)
class Max(Extreme):
    name: ClassVar[str] = "max"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (Partial("max", self.column),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(Partial("max", self.column).name)


@dataclass(frozen=True, slots=True)
class Quantile(Aggregate):
    q: float
    name: ClassVar[str] = "quantile"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (Partial("values", self.column),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(quantile_name(self.column, self.q))

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return pl.Float64()

    def accepts(self, dtype: pl.DataType) -> bool:
        return _is_number(dtype)


def _is_number(dtype: pl.DataType) -> bool:
    # Decimal and 128-bit integers have no NumPy counterpart to combine slices in.
    return dtype.is_float() or (dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128))


def _column(name: str, column: Any, options: dict[str, Any], known: tuple[str, ...] = ()) -> str:
    for option in options:
        raise WindowError.unknown(f"option of {name}()", option, ("column", *known))
    if not isinstance(column, str) or not column:
        raise WindowError(f"{name}() takes the name of a column, not {column!r}; for example {name}('delay')")
    return column


def count(column: str | None = None, **options: Any) -> Count:
    """Number of rows, or of the values of `column` that are not null (NaN counts as a value). Int64."""
    return Count(_column("count", column, options) if column is not None or options else "")


def sum(column: str, **options: Any) -> Sum:
    """Sum of the values that are not null, 0 where there is none; NaN if one is NaN.

    Int64 for integers and booleans (UInt64 for UInt64; wraps around beyond its range, as in Polars), Float64
    for floats. Sums of floats depend on the order of addition, which varies from run to run, as in Polars: two sums of
    the same n values agree within n * 2**-52 * sum(|x|); where partial sums are exact (whole numbers, for example)
    they are equal.
    """
    return Sum(_column("sum", column, options))


def mean(column: str, **options: Any) -> Mean:
    """Mean of the values that are not null, null where there is none; NaN if one is NaN. Float64.

    The sum over the count; see `sum` for the last digits where the values are floats.
    """
    return Mean(_column("mean", column, options))


def min(column: str, **options: Any) -> Min:
    """Smallest value, null where there is none; NaN only if all are NaN. In the column's own type."""
    return Min(_column("min", column, options))


def max(column: str, **options: Any) -> Max:
    """Largest value, null where there is none; NaN only if all are NaN. In the column's own type."""
    return Max(_column("max", column, options))


def quantile(column: str, q: float, **options: Any) -> Quantile:
    """The q-quantile of the values that are not null, 0 <= q <= 1; null where there is none. Float64, exact.

    Linear interpolation between the two closest values at rank q * (n - 1), as Polars'
    `quantile(q, interpolation="linear")` and R's type 7. NaN sorts as the largest value. Every value is kept until
    the end: 8 bytes each, which on a cluster travel.
    """
    _column("quantile", column, options, ("q",))
    if isinstance(q, bool) or not isinstance(q, int | float) or math.isnan(q) or not 0 <= q <= 1:
        raise WindowError(f"quantile({column!r}, {q!r}): q must be a number from 0 to 1, for example 0.95", q=q)
    return Quantile(column, float(q))
