"""The functions with which users write aggregates: `lnb.count()`, `lnb.mean("delay")`, ..."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import sketches
from lepton_nb.windowing.aggregates import (
    Count,
    Custom,
    Distinct,
    First,
    Last,
    Max,
    Mean,
    Min,
    Quantile,
    Rows,
    SketchDistinct,
    SketchQuantile,
    Std,
    Sum,
    TopK,
    Var,
)


def _column(name: str, column: Any, options: dict[str, Any], known: tuple[str, ...] = ()) -> str:
    for option in options:
        raise WindowError.unknown(f"option of {name}()", option, ("column", *known))
    if not isinstance(column, str) or not column:
        raise WindowError(f"{name}() takes the name of a column, not {column!r}; for example {name}('delay')")
    return column


def _error(name: str, error: Any) -> float:
    if isinstance(error, bool) or not isinstance(error, int | float) or not 0 < error < 1:
        raise WindowError(f"error={error!r} of {name}() must lie between 0 and 1, for example 0.01", error=error)
    return float(error)


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

    The sum over the count; see `sum` for the last digits where the values are floats. Integers of 64 bits are added as
    Float64, so that they cannot overflow: beyond 2**53 they are rounded as floats are.
    """
    return Mean(_column("mean", column, options))


def min(column: str, **options: Any) -> Min:
    """Smallest value, null where there is none; NaN only if all are NaN. In the column's own type."""
    return Min(_column("min", column, options))


def max(column: str, **options: Any) -> Max:
    """Largest value, null where there is none; NaN only if all are NaN. In the column's own type."""
    return Max(_column("max", column, options))


def var(column: str, ddof: int = 1, **options: Any) -> Var:
    """Variance of the values that are not null, with n - ddof below; null where n <= ddof; NaN if one is NaN. Float64.

    Merged from count, mean and squared differences (Chan, Golub and LeVeque, 1979): values far from zero cost no more
    than a relative error of about 2**-52 * |mean| / standard deviation. ddof: 1 for a sample (as SQL's VAR_SAMP), 0 for
    a whole population (VAR_POP).
    """
    return Var(_column("var", column, options, ("ddof",)), _ddof("var", ddof))


def std(column: str, ddof: int = 1, **options: Any) -> Std:
    """Standard deviation: the square root of `var`. Float64."""
    return Std(_column("std", column, options, ("ddof",)), _ddof("std", ddof))


def _ddof(name: str, ddof: Any) -> int:
    if isinstance(ddof, bool) or ddof not in (0, 1):
        raise WindowError(f"{name}(ddof={ddof!r}): ddof is 1 for a sample or 0 for a whole population", ddof=ddof)
    return int(ddof)


def first(column: str, **options: Any) -> First:
    """Value at the earliest time, of those that are not null, in the column's own type.

    Of equal times the smallest value (NaN only if all are). Null where there is none. In windows of rows
    (`rolling(rows=...)`, `counting`) the order of the rows decides.
    """
    return First(_column("first", column, options))


def last(column: str, **options: Any) -> Last:
    """Value at the latest time, of those that are not null, in the column's own type.

    Of equal times the largest value (NaN only if all are). Null where there is none. In windows of rows
    (`rolling(rows=...)`, `counting`) the order of the rows decides.
    """
    return Last(_column("last", column, options))


def quantile(column: str, q: float, error: float | None = None, **options: Any) -> Quantile | SketchQuantile:
    """The q-quantile of the values that are not null, 0 <= q <= 1; null where there is none. Float64.

    Exact without `error`: linear interpolation between the two closest values at rank q * (n - 1), as Polars'
    `quantile(q, interpolation="linear")` and R's type 7. NaN sorts as the largest value. Every value is kept until
    the end: 8 bytes each, which on a cluster travel.

    With `error`, such as 0.01: a KLL sketch, whose size does not grow with the rows. The value found is one of the
    window's, and its rank is off by at most `error` (99 % confidence). NaN is left out. A KLL sketch of more than about
    2 / error values draws random numbers, so that two runs may find different values within the error.
    """
    _column("quantile", column, options, ("q", "error"))
    if isinstance(q, bool) or not isinstance(q, int | float) or math.isnan(q) or not 0 <= q <= 1:
        raise WindowError(f"q={q!r} of quantile() must be a number from 0 to 1, for example 0.95", q=q)
    if error is None:
        return Quantile(column, float(q))
    return SketchQuantile(column, float(q), _error("quantile", error), sketches.kll_k(error))


def distinct(column: str, error: float | None = None, **options: Any) -> Distinct | SketchDistinct:
    """How many different values there are, nulls left out; NaN is one value. Int64.

    Exact without `error`: every different value of a slice is kept. With `error`, such as 0.02: a HyperLogLog sketch,
    whose size does not grow with the values; `error` is its relative standard error. The estimate does not depend on
    the order of the rows, nor on how they are divided.
    """
    _column("distinct", column, options, ("error",))
    if error is None:
        return Distinct(column)
    return SketchDistinct(column, _error("distinct", error), sketches.hll_lg_k(error))


def top_k(column: str, k: int, by: Literal["count", "value"] = "count", **options: Any) -> TopK:
    """The k most frequent values and their counts, or with by="value" the k largest values. Nulls are left out.

    By count: a list of {value, count}, most frequent first, of equal counts the smallest value first. By value: a
    list of values, largest first, NaN before all numbers. Shorter than k where there are fewer. Exact.
    """
    _column("top_k", column, options, ("k", "by"))
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise WindowError(f"k={k!r} of top_k() must be a whole number, 1 or more", k=k)
    if by not in ("count", "value"):
        raise WindowError.unknown("order of top_k()", str(by), ("count", "value"))
    return TopK(column, k, by)


def rows(*columns: str, **options: Any) -> Rows:
    """The rows of a window themselves, these columns of them: a list of structs, in the order of time, then of values.

    Nulls are kept. Every row is kept until the end, as for an exact quantile. With a join it gives pairs of rows:

        orders.agg(orders=lnb.rows("id", "price")).join(payments.agg(payments=lnb.rows("paid"))).collect()
            .explode("orders").explode("payments")
    """
    for option in options:
        raise WindowError.unknown("option of rows()", option, ("columns",))
    for column in columns:
        _column("rows", column, {})
    if not columns or len(set(columns)) < len(columns):
        raise WindowError(f"rows() takes the names of one or more different columns, not {columns!r}")
    return Rows("", columns)


def custom(
    column: str,
    *,
    init: Callable[[], Any],
    add: Callable[[Any, Any], Any],
    merge: Callable[[Any, Any], Any],
    finish: Callable[[Any], Any] | None = None,
    dtype: Any = pl.Float64,
    **options: Any,
) -> Custom:
    """An aggregate of your own, over the values of `column` that are not null.

    init() makes an empty accumulator, add(accumulator, value) returns one with the value in it, merge(a, b) one of
    both, and finish(accumulator) the result, which has the Polars type `dtype`; without `finish` the accumulator is
    the result. An accumulator consists of numbers, strings, booleans, None, lists and dicts with strings as keys: it
    is kept as JSON. The values of a slice are added in ascending order; `merge` must be associative and commutative.

        lnb.custom("delay", init=lambda: [0, 0], add=lambda a, x: [a[0] + (x > 15), a[1] + 1],
                   merge=lambda a, b: [a[0] + b[0], a[1] + b[1]], finish=lambda a: a[0] / a[1] if a[1] else None)

    Runs in Python, value by value: about a million values a second.
    """
    _column("custom", column, options, ("init", "add", "merge", "finish", "dtype"))
    functions: dict[str, Callable[..., Any]] = {"init": init, "add": add, "merge": merge, "finish": finish or _same}
    for what, function in functions.items():
        if not callable(function):
            raise WindowError(f"custom({column!r}, {what}=...) takes a function, not {function!r}")
    result = _as_polars(dtype)
    if result is None:
        raise WindowError(f"custom({column!r}, dtype={dtype!r}): give a Polars type such as pl.Float64")
    label = ".".join(getattr(function, "__qualname__", "function") for function in functions.values())
    return Custom(column, init, add, merge, functions["finish"], result, label)


def _as_polars(dtype: Any) -> pl.DataType | None:
    if isinstance(dtype, type) and not issubclass(dtype, pl.DataType):
        try:
            dtype = pl.DataType.from_python(dtype)
        except TypeError:
            return None
    dtype = dtype() if isinstance(dtype, type) else dtype
    return dtype if isinstance(dtype, pl.DataType) else None


def _same(accumulated: Any) -> Any:
    return accumulated
