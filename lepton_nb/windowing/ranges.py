"""Aggregates over many ranges of one sorted array, in time that follows the array and the number of ranges.

Ranges are pairs of arrays `first`, `last`: positions, both ends included, never empty.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = tuple[Array, ...]
Index = npt.NDArray[np.int64]
# Two partial results, each of one or more arrays, to one: associative, element by element, earlier values on the left.
Merge = Callable[[Arrays, Arrays], Arrays]

# A table of whole blocks may be this many times larger than the values in it.
MOST_PADDING = 4


def exact_sums(values: Array, first: Index, last: Index) -> Array:
    """Sums of integers, by differences of prefix sums: exact, modulo 2**64."""
    prefix = np.zeros(len(values) + 1, dtype=values.dtype)
    np.cumsum(values, out=prefix[1:])
    return np.asarray(prefix[last + 1] - prefix[first])


class Reduction(ABC):
    """A way to reduce over ranges of an array that subtracts nothing.

    So there is no cancellation, and a NaN or infinity stays in the ranges that hold it.
    """

    @property
    def single(self) -> bool:
        """True where the ranges are the array's positions themselves."""
        return False

    @abstractmethod
    def reduce(self, operation: np.ufunc, values: Array) -> Array:
        """`operation`, an associative function of two arrays such as `np.add`, over every range."""

    @abstractmethod
    def sums(self, values: Array) -> Array:
        """Sums of integers: exact, modulo 2**64."""


@dataclass(frozen=True)
class Ranges(Reduction):
    """Ranges that are known by their ends."""

    first: Index
    last: Index

    @abstractmethod
    def fold(self, merge: Merge, values: Arrays) -> Arrays:
        """`merge` over every range, for partial results of several arrays."""

    def reduce(self, operation: np.ufunc, values: Array) -> Array:
        """`operation`, an associative function of two arrays such as `np.add`, over every range."""
        return self.fold(lambda left, right: (operation(left[0], right[0]),), (values,))[0]

    def sums(self, values: Array) -> Array:
        """Sums of integers: exact, modulo 2**64."""
        return values if self.single else exact_sums(values, self.first, self.last)

    def expanded(self) -> tuple[Index, Index]:
        """Every pair of a range (its number) and a position in it, by range, then position."""
        counts = self.last - self.first + 1
        number = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        within = np.arange(len(number), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
        return number, self.first[number] + within


@dataclass(frozen=True)
class Singles(Ranges):
    """Every position a range of its own."""

    @property
    def single(self) -> bool:
        """True."""
        return True

    def fold(self, merge: Merge, values: Arrays) -> Arrays:
        """The values themselves."""
        return values


@dataclass(frozen=True)
class Blocks(Ranges):
    """Ranges as at most the end of one block and the start of the next (van Herk and Gil-Werman).

    With blocks as long as a window, a window is the tail of one block plus the head of the next. So any
    associative operation needs two running results per block, one from each side, and one merge per window.

    `block` numbers the block of every array position (ascending), `slot` its place there, from 0 to `length` - 1;
    `late` marks the ranges whose values all lie in the second of their window's two blocks.
    """

    block: Index
    slot: Index
    length: int
    late: npt.NDArray[np.bool_]

    def fold(self, merge: Merge, values: Arrays) -> Arrays:
        """`merge` over every range."""
        size = len(self.block)
        position = np.arange(size)
        begins = np.r_[True, self.block[1:] != self.block[:-1]] if size else np.zeros(0, dtype=bool)
        into = position - np.maximum.accumulate(np.where(begins, position, 0))
        heads = _running(merge, values, into)
        back = (np.r_[begins[1:], True] if size else begins)[::-1]
        from_end = position - np.maximum.accumulate(np.where(back, position, 0))
        reverse = tuple(array[::-1] for array in values)
        tails = tuple(a[::-1] for a in _running(lambda left, right: merge(right, left), reverse, from_end))
        return self._joined(merge, heads, tails)

    def reduce(self, operation: np.ufunc, values: Array) -> Array:
        """`operation` over every range; one pass over a table of blocks where that has few empty places."""
        nothing = neutral(operation, values.dtype)
        blocks = int(self.block[-1]) + 1 if len(self.block) else 0
        if nothing is None or blocks * self.length > MOST_PADDING * len(values):
            return super().reduce(operation, values)
        # One row a slot: running results then go from row to row, over all blocks at once.
        place = self.slot * blocks + self.block
        flat = np.full(self.length * blocks, nothing, dtype=values.dtype)
        flat[place] = values
        table = flat.reshape(self.length, blocks)
        with np.errstate(invalid="ignore", over="ignore"):
            head = operation.accumulate(table, axis=0).ravel()[place[self.last]]
            tail = operation.accumulate(table[::-1], axis=0)[::-1].ravel()[place[self.first]]
        return self._chosen(lambda left, right: (operation(left[0], right[0]),), (head,), (tail,))[0]

    def _joined(self, merge: Merge, heads: Arrays, tails: Arrays) -> Arrays:
        head = tuple(array[self.last] for array in heads)
        tail = tuple(array[self.first] for array in tails)
        return self._chosen(merge, head, tail)

    def _chosen(self, merge: Merge, head: Arrays, tail: Arrays) -> Arrays:
        with np.errstate(invalid="ignore", over="ignore"):
            both = merge(tail, head)
        alone = np.flatnonzero(self.block[self.first] == self.block[self.last])
        late = self.late[alone]
        for result, h, t in zip(both, head, tail, strict=True):
            result[alone] = np.where(late, h[alone], t[alone])
        return both


@dataclass(frozen=True)
class Doubling(Ranges):
    """Ranges of any shape, put together from results over 1, 2, 4, ... positions: log2(longest range) passes."""

    def fold(self, merge: Merge, values: Arrays) -> Arrays:
        """`merge` over every range."""
        length = self.last - self.first + 1
        at = self.first.copy()
        result = tuple(np.empty(len(at), dtype=array.dtype) for array in values)
        empty = np.ones(len(at), dtype=bool)
        doubled, reach = values, 1
        longest = int(length.max(initial=0))
        while reach <= longest:
            taken = np.flatnonzero(length & reach)
            piece = tuple(array[at[taken]] for array in doubled)
            fresh = empty[taken]
            with np.errstate(invalid="ignore", over="ignore"):
                merged = merge(tuple(array[taken] for array in result), piece)
            for array, joined, alone in zip(result, merged, piece, strict=True):
                array[taken] = np.where(fresh, alone, joined)
            empty[taken] = False
            at[taken] += reach
            if reach * 2 <= longest:
                with np.errstate(invalid="ignore", over="ignore"):
                    doubled = merge(tuple(a[:-reach] for a in doubled), tuple(a[reach:] for a in doubled))
            reach *= 2
        return result


def neutral(operation: np.ufunc, dtype: np.dtype[Any]) -> Any:
    """What `operation` leaves other values unchanged with; None where that is not known."""
    if operation is np.add:
        return dtype.type(0)
    if operation in (np.fmin, np.fmax) and dtype.kind == "f":
        return dtype.type(np.nan)
    if operation in (np.fmin, np.fmax, np.minimum, np.maximum):
        return largest(dtype) if operation in (np.fmin, np.minimum) else smallest(dtype)
    return None


def largest(dtype: np.dtype[Any]) -> Any:
    """What no number of this type exceeds."""
    return dtype.type(np.inf) if dtype.kind == "f" else np.iinfo(dtype).max


def smallest(dtype: np.dtype[Any]) -> Any:
    """What no number of this type is below."""
    return dtype.type(-np.inf) if dtype.kind == "f" else np.iinfo(dtype).min


def extreme_of(values: Array, *, lowest: bool) -> np.ufunc:
    """The minimum or maximum of two that leaves NaN out; a quicker one where there is none."""
    if values.dtype.kind == "f" and np.isnan(values).any():
        return np.fmin if lowest else np.fmax
    return np.minimum if lowest else np.maximum


def _running(merge: Merge, values: Arrays, into: Index) -> Arrays:
    """Running `merge` within runs; `into` counts positions since the run's begin. Doubling: log2(run) passes."""
    result = tuple(array.copy() for array in values)
    longest = int(into.max(initial=0))
    reach = 1
    while reach <= longest:
        with np.errstate(invalid="ignore", over="ignore"):
            longer = merge(tuple(a[:-reach] for a in result), tuple(a[reach:] for a in result))
        for array, new in zip(result, longer, strict=True):
            np.copyto(array[reach:], new, where=into[reach:] >= reach)
        reach *= 2
    return result


def first_marked(marked: npt.NDArray[np.bool_], ranges: Ranges) -> tuple[Index, npt.NDArray[np.bool_]]:
    """The first marked position of every range, and whether there is one."""
    size = len(marked)
    places = np.where(marked, np.arange(size), size)
    following = np.minimum.accumulate(places[::-1])[::-1]
    found = following[ranges.first]
    there = found <= ranges.last
    return np.where(there, found, ranges.first), there


def last_marked(marked: npt.NDArray[np.bool_], ranges: Ranges) -> tuple[Index, npt.NDArray[np.bool_]]:
    """The last marked position of every range, and whether there is one."""
    places = np.where(marked, np.arange(len(marked)), -1)
    found = np.maximum.accumulate(places)[ranges.last]
    there = found >= ranges.first
    return np.where(there, found, ranges.last), there


def distinct_counts(position: Index, previous: Index, ranges: Ranges) -> Index:
    """How many different values each range holds.

    position: where each value stands (a position may hold several). previous: where the same value of the same key
    stood before, -1 for the first. The ranges ascend in `first` and `last`. A value counts for the ranges that reach
    from after its previous place to its own or beyond, which are neighbours: two marks a value, and one running sum.
    """
    change = np.zeros(len(ranges.first) + 1, dtype=np.int64)
    from_here = np.searchsorted(ranges.last, position, side="left")
    after_previous = np.searchsorted(ranges.first, previous, side="right")
    begin = np.maximum(from_here, after_previous)
    end = np.searchsorted(ranges.first, position, side="right")
    some = end > begin
    np.add.at(change, begin[some], 1)
    np.add.at(change, end[some], -1)
    return np.asarray(np.cumsum(change[:-1]))


def quantiles(values: Array, begin: Index, end: Index, qs: Sequence[float], *, presorted: bool = False) -> list[Array]:
    """For each q the quantiles of values[begin:end), linear at rank q * (n - 1); NaN sorts last; NaN where empty.

    `presorted` says that the values of every range are in order; else their order inside a range is of no matter.
    """
    filled = np.flatnonzero(end > begin)
    begin, end, size = begin[filled], end[filled], len(begin)
    ranks = np.concatenate([q * (end - begin - 1) for q in qs])
    low = np.floor(ranks).astype(np.int64)
    begin, end = np.tile(begin, len(qs)), np.tile(end, len(qs))
    high = np.minimum(low + 1, end - begin - 1)
    if presorted:
        lower, upper = values[begin + low], values[begin + high]
    else:
        both = np.concatenate([low, high])
        lower, upper = np.split(order_statistics(values, np.tile(begin, 2), np.tile(end, 2), both), 2)
    with np.errstate(invalid="ignore", over="ignore"):
        between = lower + (upper - lower) * (ranks - low)
    found = np.where((lower == upper) | (ranks == low), lower, between)
    results = np.full((len(qs), size), np.nan)
    results[:, filled] = found.reshape(len(qs), len(filled))
    return list(results)


def order_statistics(values: Array, begin: Index, end: Index, rank: Index) -> Array:
    """The value of `rank` (0 the smallest) among values[begin:end), for every range; none may be empty.

    By a wavelet matrix (Claude, Navarro and Ordonez, 2015), built and asked one bit at a time:
    log2(distinct values) passes over the values and the ranges, however much the ranges overlap.
    """
    distinct, codes = np.unique(values, return_inverse=True)
    codes = codes.astype(np.int32 if len(distinct) < 2**31 else np.int64)
    begin, end, rank = begin.copy(), end.copy(), rank.copy()
    found = np.zeros(len(begin), dtype=np.int64)
    zeros_before = np.empty(len(codes) + 1, dtype=np.int64)
    zeros_before[0] = 0
    for bit in range(max(len(distinct) - 1, 0).bit_length() - 1, -1, -1):
        ones = (codes >> bit) & 1 == 1
        np.cumsum(~ones, out=zeros_before[1:])
        zeros_to_begin, zeros_to_end = zeros_before[begin], zeros_before[end]
        zeros = zeros_to_end - zeros_to_begin
        upper = rank >= zeros
        found += upper.astype(np.int64) << bit
        rank -= np.where(upper, zeros, 0)
        ones_start = zeros_before[-1]
        begin = np.where(upper, ones_start + begin - zeros_to_begin, zeros_to_begin)
        end = np.where(upper, ones_start + end - zeros_to_end, zeros_to_end)
        codes = np.concatenate([codes[~ones], codes[ones]])
    return np.asarray(distinct[found])
