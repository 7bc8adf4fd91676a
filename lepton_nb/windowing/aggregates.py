"""The aggregates that a query computes, each on partials that merge."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import lists
from lepton_nb.windowing import partials as kept
from lepton_nb.windowing.partials import Partial, sum_dtype
from lepton_nb.windowing.ranges import Ranges
from lepton_nb.windowing.sketches import Hll, Kll, Own


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

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,) if self.column else ()

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
        return kept.Known(self.column) if self.column else kept.ROWS


@dataclass(frozen=True, slots=True)
class Sum(Aggregate):
    name: ClassVar[str] = "sum"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (kept.Total(self.column),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(kept.Total(self.column).name)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        assert dtype is not None
        return sum_dtype(dtype)


@dataclass(frozen=True, slots=True)
class Mean(Aggregate):
    name: ClassVar[str] = "mean"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        total = kept.FloatTotal if dtype in (pl.Int64, pl.UInt64) else kept.Total
        return (total(self.column), kept.Known(self.column))

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        total, count = (pl.col(partial.name) for partial in self.partials(dtype))
        return pl.when(count > 0).then(total.cast(pl.Float64) / count)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return pl.Float64()


@dataclass(frozen=True, slots=True)
class Spread(Aggregate):
    """The variance or the standard deviation."""

    ddof: int

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (kept.Moments(self.column),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        n, _, m2 = (pl.col(name) for name in kept.Moments(self.column).columns)
        variance = pl.when(n > self.ddof).then(m2 / (n - self.ddof))
        return variance.sqrt() if self.name == "std" else variance

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return pl.Float64()


@dataclass(frozen=True, slots=True)
class Var(Spread):
    name: ClassVar[str] = "var"


@dataclass(frozen=True, slots=True)
class Std(Spread):
    name: ClassVar[str] = "std"


@dataclass(frozen=True, slots=True)
class Extreme(Aggregate):
    """The minimum or the maximum."""

    wants: ClassVar[str] = "numbers, booleans, dates or times"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (self._partial,)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(self._partial.name)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        assert dtype is not None
        return dtype

    def accepts(self, dtype: pl.DataType) -> bool:
        return Aggregate.accepts(self, dtype) or dtype.is_temporal()

    @property
    def _partial(self) -> Partial:
        return kept.Smallest(self.column) if self.name == "min" else kept.Largest(self.column)


@dataclass(frozen=True, slots=True)
class Min(Extreme):
    name: ClassVar[str] = "min"


@dataclass(frozen=True, slots=True)
class Max(Extreme):
    name: ClassVar[str] = "max"


@dataclass(frozen=True, slots=True)
class Edge(Aggregate):
    """The first or the last value in the order of time."""

    wants: ClassVar[str] = "numbers, booleans, dates, times or text"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (self._partial,)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(self._partial.name)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        assert dtype is not None
        return dtype

    def accepts(self, dtype: pl.DataType) -> bool:
        return _is_plain(dtype)

    @property
    def _partial(self) -> Partial:
        return kept.First(self.column) if self.name == "first" else kept.Last(self.column)


@dataclass(frozen=True, slots=True)
class First(Edge):
    name: ClassVar[str] = "first"


@dataclass(frozen=True, slots=True)
class Last(Edge):
    name: ClassVar[str] = "last"


@dataclass(frozen=True, slots=True)
class Quantile(Aggregate):
    q: float
    name: ClassVar[str] = "quantile"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (lists.Values(self.column),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(lists.quantile_name(self.column, self.q))

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return pl.Float64()

    def accepts(self, dtype: pl.DataType) -> bool:
        return _is_number(dtype)


@dataclass(frozen=True, slots=True)
class SketchQuantile(Aggregate):
    q: float
    error: float
    k: int
    name: ClassVar[str] = "quantile"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (Kll(self.column, self.k),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        sketch = Kll(self.column, self.k)
        return _each(sketch.name, lambda part: sketch.quantile(part, self.q), pl.Float64())

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return pl.Float64()

    def accepts(self, dtype: pl.DataType) -> bool:
        return _is_number(dtype)


@dataclass(frozen=True, slots=True)
class Distinct(Aggregate):
    name: ClassVar[str] = "distinct"
    wants: ClassVar[str] = "numbers, booleans, dates, times or text"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (lists.Different(self.column),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return pl.col(lists.Different(self.column).name)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return pl.Int64()

    def accepts(self, dtype: pl.DataType) -> bool:
        return _is_plain(dtype)


@dataclass(frozen=True, slots=True)
class SketchDistinct(Distinct):
    error: float
    lg_k: int

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (Hll(self.column, self.lg_k),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        sketch = Hll(self.column, self.lg_k)
        return _each(sketch.name, sketch.estimate, pl.Int64())


@dataclass(frozen=True, slots=True)
class TopK(Aggregate):
    """The most frequent values, or the largest."""

    k: int
    by: Literal["count", "value"]
    name: ClassVar[str] = "top_k"
    wants: ClassVar[str] = "numbers, booleans, dates, times or text"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (lists.Values(self.column, raw=True),) if self.by == "count" else (lists.TopValues(self.column, self.k),)

    @property
    def reads(self) -> str:
        """The column of combined partials that holds the result."""
        return f"top {self.k} by {self.by}:{self.column}"

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        if self.by == "value":
            return pl.col(lists.TopValues(self.column, self.k).name)
        return pl.col(self.reads).cast(self.dtype(dtype))

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        assert dtype is not None
        return pl.List(dtype) if self.by == "value" else pl.List(pl.Struct({"value": dtype, "count": pl.Int64}))

    def accepts(self, dtype: pl.DataType) -> bool:
        return _is_plain(dtype)

    def most_frequent(self, values: pl.Series, at: pl.Series, ranges: Ranges) -> pl.Series:
        """The k most frequent values of every range and their counts; of equal counts the smallest values."""
        counted = pl.DataFrame([values.alias("value"), at.alias("at")]).group_by("at", "value").len("count")
        number, position = ranges.expanded()
        spread = pl.DataFrame({"range": number, "at": position}).join(counted, on="at")
        best = (
            spread.group_by("range", "value")
            .agg(pl.col("count").sum().cast(pl.Int64))
            .sort("range", "count", "value", descending=[False, True, False])
            .group_by("range", maintain_order=True)
            .agg(pl.struct("value", "count").head(self.k).alias(self.reads))
        )
        all_ranges = pl.DataFrame({"range": pl.int_range(len(ranges.first), dtype=pl.Int64, eager=True)})
        found = all_ranges.join(best, on="range", how="left", maintain_order="left").get_column(self.reads)
        empty = pl.Series([[]], dtype=found.dtype)
        return found.to_frame().select(pl.col(self.reads).fill_null(pl.lit(empty).first())).to_series()


@dataclass(frozen=True, slots=True)
class Rows(Aggregate):
    """The rows of a window, some columns of them. Its `dtype` is a struct of those columns."""

    names: tuple[str, ...]
    name: ClassVar[str] = "rows"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.names

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (lists.Kept("", self.names),)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return lists.Kept("", self.names).without_time()

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        assert dtype is not None
        return pl.List(dtype)

    def check(self, dtype: pl.DataType) -> None:
        assert isinstance(dtype, pl.Struct)
        for part in dtype.fields:
            inner = pl.Series(dtype=part.dtype).dtype
            if inner.is_nested() or inner == pl.Object:
                raise WindowError(
                    f"rows({part.name!r}) needs columns that can be sorted, but this one is {part.dtype}; "
                    "leave it out, or cast it first",
                    column=part.name,
                )


@dataclass(frozen=True, slots=True)
class Custom(Aggregate):
    init: Callable[[], Any] = field(compare=False, repr=False)
    add: Callable[[Any, Any], Any] = field(compare=False, repr=False)
    merge: Callable[[Any, Any], Any] = field(compare=False, repr=False)
    finisher: Callable[[Any], Any] = field(compare=False, repr=False)
    result: pl.DataType
    label: str
    name: ClassVar[str] = "custom"

    def partials(self, dtype: pl.DataType | None) -> tuple[Partial, ...]:
        return (self._partial,)

    def finish(self, dtype: pl.DataType | None) -> pl.Expr:
        return _each(self._partial.name, lambda part: self.finisher(json.loads(part)), self.result, self.label)

    def dtype(self, dtype: pl.DataType | None) -> pl.DataType:
        return self.result

    def accepts(self, dtype: pl.DataType) -> bool:
        return True

    @property
    def _partial(self) -> Own:
        return Own(self.column, self.label, self.init, self.add, self.merge)


def _each(column: str, function: Callable[[bytes], Any], dtype: pl.DataType, label: str = "") -> pl.Expr:
    """`function` of every value of a column of bytes; `label` names a user's own aggregate."""

    def apply(parts: pl.Series) -> pl.Series:
        values = [function(part) for part in parts.to_list()]
        try:
            return pl.Series(parts.name, values, dtype=dtype)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            raise WindowError(
                f"the custom aggregate {label!r} gave values that are not {dtype}: {values[:3]!r}; "
                "give the type of what `finish` returns: lnb.custom(..., dtype=...)"
            ) from error

    return pl.col(column).map_batches(apply, return_dtype=dtype)


def _is_number(dtype: pl.DataType) -> bool:
    # Decimal and 128-bit integers have no NumPy counterpart to combine slices in.
    return dtype.is_float() or (dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128))


def _is_plain(dtype: pl.DataType) -> bool:
    """Numbers, booleans, dates, times, text: what can be compared."""
    return _is_number(dtype) or dtype.is_temporal() or dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)
