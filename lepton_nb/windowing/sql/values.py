"""The aggregates of a query in SQL: most are the same in all engines, the rest is theirs to fill in."""

from __future__ import annotations

from abc import ABC, abstractmethod

import polars as pl

from lepton_nb.windowing import aggregates as asked
from lepton_nb.windowing.aggregates import Aggregate
from lepton_nb.windowing.sql.names import Names


class Values(Names, ABC):
    """Aggregates of groups of rows, or of the frames of a window function."""

    @abstractmethod
    def quantile(self, column: str, q: float) -> str:
        """The exact quantile, linear between neighbours."""

    @abstractmethod
    def edge(self, name: str, column: str, floats: bool) -> str:
        """The first or the last value."""

    @abstractmethod
    def approximate_quantile(self, column: str, q: float, error: float) -> str:
        """A quantile within a rank error."""

    @abstractmethod
    def approximate_distinct(self, column: str, error: float) -> str:
        """A distinct count within a relative error."""

    @abstractmethod
    def largest(self, column: str, k: int) -> str:
        """The k largest values."""

    @abstractmethod
    def most_frequent(self, column: str, k: int) -> str:
        """The k most frequent values, and how often each is there."""

    def values(self) -> list[str]:
        """The aggregates and their names."""
        return [
            f"{self.aggregate(aggregate, dtype)} AS {self.quote(name)}"
            for name, aggregate, dtype in self.plan.aggregates
        ]

    def aggregate(self, aggregate: Aggregate, dtype: pl.DataType | None) -> str:
        """One aggregate; its result is that of the docstring in `aggregates`."""
        column = self.quote(aggregate.column) if aggregate.column else ""
        if isinstance(aggregate, asked.First | asked.Last | asked.TopK):
            self.check_order([aggregate.column])
        match aggregate:
            case asked.Count():
                return self.call("count", column or "*")
            case asked.Sum():
                return self.sum(column, dtype)
            case asked.Mean():
                return self.call("avg", self.double(column))
            case asked.Spread(ddof=ddof):
                name = "stddev" if aggregate.name == "std" else "var"
                return self.call(f"{name}_{'samp' if ddof else 'pop'}", self.double(column))
            case asked.Extreme():
                return self.extreme(aggregate.name, column, self.may_be_nan(dtype))
            case asked.Edge():
                return self.edge(aggregate.name, column, self.typed and self.may_be_nan(dtype))
            case asked.Quantile(q=q):
                return self.quantile(self.double(column), q)
            case asked.SketchQuantile(q=q, error=error):
                return self.approximate_quantile(self.double(column), q, error)
            case asked.SketchDistinct(error=error):
                return self.approximate_distinct(column, error)
            case asked.Distinct():
                return self.distinct(column)
            case asked.TopK(k=k, by="value"):
                return self.largest(column, k)
            case asked.TopK(k=k):
                return self.most_frequent(column, k)
        if isinstance(aggregate, asked.Rows):
            self.lacks(
                f"rows({', '.join(map(repr, aggregate.names))})",
                "engines differ in how they order and type lists of rows",
                "compute it here, with collect() or stream(), or join the table with the windows there",
            )
        self.lacks(
            f"{aggregate.name}({aggregate.column!r})",
            "its functions are Python's, which SQL does not run",
            "compute it here, with collect() or stream(), or write it with lnb's other aggregates",
        )

    def call(self, function: str, argument: str, where: str = "") -> str:
        """An aggregate function over the window."""
        return f"{function}({argument})" + (f" FILTER (WHERE {where})" if where else "") + self.over

    def sum(self, column: str, dtype: pl.DataType | None) -> str:
        """0 where there is no value."""
        if not self.typed:
            return f"coalesce({self.call('sum', column)}, 0)"
        assert dtype is not None
        if dtype.is_float():
            return f"coalesce({self.call('sum', self.double(column))}, 0e0)"
        argument = f"CAST({column} AS INTEGER)" if dtype == pl.Boolean else column
        return f"coalesce(CAST({self.call('sum', argument)} AS {self.integer(dtype)}), 0)"

    def extreme(self, name: str, column: str, floats: bool) -> str:
        """NaN is the largest of all, so that only a maximum must leave it out."""
        if name == "min" or not floats:
            return self.call(name, column)
        return f"coalesce({self.call('max', f'nullif({column}, {self.nan})')}, {self.call('max', column)})"

    def distinct(self, column: str) -> str:
        """How many different values there are."""
        return self.call("count", f"DISTINCT {column}")

    def double(self, column: str) -> str:
        """A column as DOUBLE."""
        return f"CAST({column} AS DOUBLE)"

    def integer(self, dtype: pl.DataType) -> str:
        """The type of a sum of integers."""
        return "BIGINT"

    @property
    def nan(self) -> str:
        """NaN as DOUBLE."""
        return "CAST('NaN' AS DOUBLE)"

    def may_be_nan(self, dtype: pl.DataType | None) -> bool:
        """Whether a column may hold NaN; one of assumed type may."""
        return dtype is not None and dtype.is_float()
