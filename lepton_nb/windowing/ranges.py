"""Aggregates over many ranges of one sorted array, in time that follows the array and the number of ranges.

Ranges are pairs of arrays `first`, `last`: positions, both ends included, never empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]


def exact_sums(values: Array, first: Index, last: Index) -> Array:
    """Sums of integers, by differences of prefix sums: exact, modulo 2**64."""
    prefix = np.zeros(len(values) + 1, dtype=values.dtype)
    np.cumsum(values, out=prefix[1:])
    return np.asarray(prefix[last + 1] - prefix[first])


@dataclass(frozen=True)
class Blocks:
    """Ranges as at most the end of one block and the start of the next (van Herk and Gil-Werman).

    With blocks as long as a window, a window is the tail of one block plus the head of the next. So any
    associative operation needs two running results per block, one from each side, and one merge per window;
    nothing is subtracted, hence no cancellation, and a NaN or infinity stays in the windows that hold it.

    `block` numbers the block of every array position (ascending); `late` marks the ranges whose values all lie
    in the second of their window's two blocks.
    """

    block: Index
    first: Index
    last: Index
    late: npt.NDArray[np.bool_]

    def reduce(self, operation: np.ufunc, values: Array) -> Array:
        """`operation` over every range; associative, on values of its own type."""
        size = len(self.block)
        position = np.arange(size)
        begins = np.r_[True, self.block[1:] != self.block[:-1]] if size else np.zeros(0, dtype=bool)
        into = position - np.maximum.accumulate(np.where(begins, position, 0))
        heads = _running(operation, values, into)
        ends = np.r_[begins[1:], True] if size else begins
        back = ends[::-1]
        from_end = position - np.maximum.accumulate(np.where(back, position, 0))
        tails = _running(operation, values[::-1], from_end)[::-1]
        head, tail = heads[self.last], tails[self.first]
        one_block = self.block[self.first] == self.block[self.last]
        with np.errstate(invalid="ignore", over="ignore"):
            both = operation(tail, head)
        return np.asarray(np.where(one_block, np.where(self.late, head, tail), both))


def _running(operation: np.ufunc, values: Array, into: Index) -> Array:
    """Running `operation` within runs; `into` counts positions since the run's begin. Doubling: log2(run) passes."""
    result = values.copy()
    longest = int(into.max(initial=0))
    reach = 1
    while reach <= longest:
        with np.errstate(invalid="ignore", over="ignore"):
            longer = operation(result[:-reach], result[reach:])
        np.copyto(result[reach:], longer, where=into[reach:] >= reach)
        reach *= 2
    return result


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
