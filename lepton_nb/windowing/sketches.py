"""Partials of fixed size, for quantiles and distinct counts within a stated error; and a user's own, as JSON.

The sketches are Apache DataSketches', imported when they are used.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing.lists import alone
from lepton_nb.windowing.partials import Partial, named
from lepton_nb.windowing.ranges import Ranges

if TYPE_CHECKING:
    from lepton_nb.windowing.aggregates import Aggregate

# The largest sketch that DataSketches makes, and the error that it then has.
MOST_K = 65_535
MOST_LG_K = 21


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
        return [alone(named(self.column)).alias(self.name)]

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


def _datasketches() -> Any:
    try:
        import datasketches
    except ImportError as error:
        raise WindowError(
            "approximate aggregates need the package datasketches; pip install 'lepton-nb[windows]', "
            "or leave 'error' out for the exact result"
        ) from error
    return datasketches


def kll_k(error: float) -> int:
    """The parameter k of a KLL sketch whose rank error is at most `error` (with 99 % confidence).

    The error is 2.296 / k**0.9723 (DataSketches, KLL accuracy); the library's own figure decides.
    """
    sketch = _datasketches().kll_doubles_sketch
    k: int = max(8, math.ceil((2.296 / error) ** (1 / 0.9723)) - 2)
    while k <= MOST_K and sketch.get_normalized_rank_error(k, False) > error:
        k += 1
    if k > MOST_K:
        least = sketch.get_normalized_rank_error(MOST_K, False)
        raise WindowError(f"no sketch is as exact as error={error!r}; give {least:.1g} or more, or leave it out")
    return k


def hll_lg_k(error: float) -> int:
    """Log2 of the registers of a HyperLogLog sketch with a relative standard error of at most `error`.

    The error is 1.04 / sqrt(registers).
    """
    lg_k = max(4, math.ceil(2 * math.log2(1.04 / error)))
    if lg_k > MOST_LG_K:
        least = 1.04 / math.sqrt(2**MOST_LG_K)
        raise WindowError(f"no sketch is as exact as error={error!r}; give {least:.1g} or more, or leave it out")
    return lg_k


@dataclass(frozen=True, slots=True)
class Kll(Sealed):
    """A KLL sketch of quantiles (Karnin, Lang and Liberty, 2016). NaN is left out."""

    k: int
    operation: ClassVar[str] = "kll"

    @property
    def name(self) -> str:
        """One column for each k."""
        return f"kll {self.k}:{self.column}"

    def pack(self, values: pl.Series) -> bytes:
        """The sketch of these values."""
        sketch = _datasketches().kll_doubles_sketch(self.k)
        numbers = np.array(values.cast(pl.Float64).to_numpy())
        sketch.update(numbers[~np.isnan(numbers)])
        return bytes(sketch.serialize())

    def join(self, parts: Sequence[bytes]) -> bytes:
        """The sketch of all."""
        kind = _datasketches().kll_doubles_sketch
        sketch = kind(self.k)
        for part in parts:
            sketch.merge(kind.deserialize(part))
        return bytes(sketch.serialize())

    def quantile(self, part: bytes, q: float) -> float | None:
        """The q-quantile, None where there are no values."""
        sketch = _datasketches().kll_doubles_sketch.deserialize(part)
        return None if sketch.is_empty() else float(sketch.get_quantile(q))


@dataclass(frozen=True, slots=True)
class Hll(Sealed):
    """A HyperLogLog sketch of the different values (Flajolet, Fusy, Gandouet and Meunier, 2007)."""

    lg_k: int
    operation: ClassVar[str] = "hll"

    @property
    def name(self) -> str:
        """One column for each size."""
        return f"hll {self.lg_k}:{self.column}"

    def pack(self, values: pl.Series) -> bytes:
        """The sketch of these values."""
        library = _datasketches()
        sketch = library.hll_sketch(self.lg_k, library.HLL_8)
        for value in _plain(values.unique()).to_list():
            sketch.update(value)
        return bytes(sketch.serialize_compact())

    def join(self, parts: Sequence[bytes]) -> bytes:
        """The sketch of all."""
        library = _datasketches()
        union = library.hll_union(self.lg_k)
        for part in parts:
            union.update(library.hll_sketch.deserialize(part))
        return bytes(union.get_result(library.HLL_8).serialize_compact())

    def estimate(self, part: bytes) -> int:
        """About how many different values there are."""
        library = _datasketches()
        sketch = library.hll_sketch.deserialize(part)
        union = library.hll_union(self.lg_k)
        # Twice: a sketch that has seen no merge estimates by its history, which depends on the order of the rows.
        union.update(sketch)
        union.update(sketch)
        estimate: float = union.get_estimate()
        return round(estimate)


def _plain(values: pl.Series) -> pl.Series:
    """As values that the sketch takes: integers, floats or strings."""
    dtype = values.dtype
    if dtype.is_float():
        return values.cast(pl.Float64)
    if dtype == pl.Boolean or dtype.is_integer():
        return values.cast(pl.Int64) if dtype != pl.UInt64 else values.reinterpret(signed=True)
    if dtype.is_temporal():
        return values.to_physical().cast(pl.Int64)
    return values.cast(pl.String)


@dataclass(frozen=True, slots=True)
class Own(Sealed):
    """A user's own accumulator, kept as JSON: no code and no pickle is in it."""

    label: str
    init: Callable[[], Any]
    add: Callable[[Any, Any], Any]
    merger: Callable[[Any, Any], Any]
    operation: ClassVar[str] = "own"

    @property
    def name(self) -> str:
        """One column for each aggregate."""
        return f"own {self.label}:{self.column}"

    def pack(self, values: pl.Series) -> bytes:
        """The accumulator of these values, added in ascending order."""
        accumulated = self.init()
        for value in values.sort().to_list():
            accumulated = self.add(accumulated, value)
        return self._dumped(accumulated)

    def join(self, parts: Sequence[bytes]) -> bytes:
        """The accumulator of all."""
        accumulated = json.loads(parts[0])
        for part in parts[1:]:
            accumulated = self.merger(accumulated, json.loads(part))
        return self._dumped(accumulated)

    def _dumped(self, accumulated: Any) -> bytes:
        try:
            return json.dumps(accumulated, separators=(",", ":")).encode()
        except TypeError as error:
            raise WindowError(
                f"custom({self.column!r}): an accumulator must be made of numbers, strings, booleans, None, lists and "
                f"dicts with strings as keys, not {type(accumulated).__name__} ({error})",
                column=self.column,
            ) from error
