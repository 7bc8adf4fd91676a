"""Partials that keep values in lists: all of them, the different ones, or the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl

from lepton_nb.windowing import ranges as ranged
from lepton_nb.windowing.partials import Partial, named
from lepton_nb.windowing.ranges import Ranges

if TYPE_CHECKING:
    from lepton_nb.windowing.aggregates import Aggregate

# The field for the time in rows that are kept.
TIME = "time:"


@dataclass(frozen=True, slots=True)
class Listed(Partial):
    """A list of values, without nulls."""

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """A list of the value, or an empty one."""
        return [alone(named(self.column)).alias(self.name)]

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
        return [alone(values).alias(self.name)]

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
class Kept(Listed):
    """The rows themselves, the columns `names` of them, with their time: in the order of time, then of values."""

    names: tuple[str, ...]
    operation: ClassVar[str] = "rows of"

    @property
    def name(self) -> str:
        """One column for each choice of columns."""
        return f"{self.operation}:{','.join(self.names)}"

    def _row(self, time: str) -> pl.Expr:
        return pl.struct(named(time).alias(TIME), *[named(column) for column in self.names])

    def first(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """All rows."""
        return [self._row(time).sort().alias(self.name)]

    def each(self, dtype: pl.DataType | None, time: str) -> list[pl.Expr]:
        """A list of the row."""
        return [pl.concat_list(self._row(time)).alias(self.name)]

    def merge(self) -> list[pl.Expr]:
        """All rows of all."""
        return [pl.col(self.name).explode().sort()]

    def combine(self, table: pl.DataFrame, ranges: Ranges, users: Sequence[Aggregate]) -> list[pl.Series]:
        """The rows of every range."""
        found = table if ranges.single else grouped(table.select(self.name), ranges, self.merge())
        return [found.get_column(self.name)]

    def without_time(self) -> pl.Expr:
        """The chosen columns alone."""
        fields = [pl.element().struct.field(name) for name in self.names]
        return pl.col(self.name).list.eval(pl.struct(fields))


def grouped(table: pl.DataFrame, ranges: Ranges, merged: list[pl.Expr]) -> pl.DataFrame:
    """`merged` over the slices of every range; time follows the slices of all ranges together."""
    number, position = ranges.expanded()
    spread: Any = table[position].with_columns(pl.Series("range", number))
    found: pl.DataFrame = spread.group_by("range", maintain_order=True).agg(merged)
    return found


def alone(values: pl.Expr) -> pl.Expr:
    """Each value in a list of its own; nulls in an empty one."""
    return pl.concat_list(values).list.drop_nulls()
