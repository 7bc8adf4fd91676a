"""Which rows of a table in row groups each rank takes in each step, reading every group once an epoch: pure.

The groups of an epoch, in an order of that epoch, are dealt out to a few lanes. Every global batch takes from each lane
in proportion to its rows, and each rank reads some of the lanes: neither lanes nor batches depend on how many ranks
there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from lepton_nb.training.sharding import Order, steps_per_epoch

MOST_LANES = 12
# Every lane holds a row group in memory.
LANES_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Lanes:
    """groups: the numbers of each lane's row groups, as they are read; sizes: rows by number; starts: rows before each
    lane, and of all at the end."""

    groups: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    batch_size: int

    @classmethod
    def deal(cls, sizes: Sequence[int], row_bytes: int, batch_size: int, seed: int, epoch: int) -> Lanes:
        """Deal groups of `sizes` rows, of `row_bytes` each, out to lanes; seed and epoch decide the order."""
        order = [int(group) for group in np.random.default_rng([seed, epoch]).permutation(len(sizes)) if sizes[group]]
        rows = sum(sizes)
        largest = max(sizes, default=0) * row_bytes
        count = max(1, min(MOST_LANES, len(order), LANES_BYTES // max(1, largest)))
        while True:
            lanes = _dealt(order, sizes, count)
            lengths = [sum(sizes[group] for group in lane) for lane in lanes]
            # With a row of every lane in every whole batch, no lane ever gives fewer than no rows.
            if count == 1 or all(batch_size * length >= rows for length in lengths):
                return cls(lanes, tuple(sizes), (0, *accumulate(lengths)), batch_size)
            count -= 1

    @property
    def rows(self) -> int:
        """Of all lanes."""
        return self.starts[-1]

    @property
    def steps(self) -> int:
        """Batches of the epoch."""
        return steps_per_epoch(self.rows, self.batch_size)

    def given(self, lane: int, batches: int) -> int:
        """How many rows the lane has given after so many batches."""
        taken = min(batches * self.batch_size, self.rows)
        # Integers of Python: the products may be large.
        return taken * self.starts[lane + 1] // self.rows - taken * self.starts[lane] // self.rows

    def of_rank(self, rank: int, ranks: int) -> range:
        """The lanes that a rank reads, perhaps none."""
        count = len(self.groups)
        return range(count * rank // ranks, count * (rank + 1) // ranks)

    def needs(self, lanes: Sequence[int], first: int) -> Iterator[tuple[int, int, int]]:
        """The groups in the order in which `lanes` need them from batch `first` on.

        Each as lane, group, and the rows of the lane before it. Within a batch a lane takes all of its rows before the
        next lane does.
        """
        bounds = {lane: pairwise((0, *accumulate(self.sizes[group] for group in self.groups[lane]))) for lane in lanes}
        left = {lane: zip(self.groups[lane], bounds[lane], strict=True) for lane in lanes}
        ends = dict.fromkeys(lanes, 0)
        stops = [self.given(lane, first) for lane in lanes]
        for number in range(first, self.steps):
            starts, stops = stops, [self.given(lane, number + 1) for lane in lanes]
            for lane, start, stop in zip(lanes, starts, stops, strict=True):
                while start < stop:
                    while ends[lane] <= start:
                        group, (begin, ends[lane]) = next(left[lane])
                        if ends[lane] > start:
                            yield lane, group, begin
                    start = min(stop, ends[lane])


def order_within(rows: int, seed: int, epoch: int, group: int) -> Order:
    """The order of a group's rows in `epoch`."""
    # One more than the number: a seed that ends in zeros is taken for one without them.
    return np.random.default_rng([seed, epoch, group + 1]).permutation(rows)


def _dealt(order: Sequence[int], sizes: Sequence[int], count: int) -> tuple[tuple[int, ...], ...]:
    """Each group goes to the lane that has the fewest rows so far."""
    lanes: list[list[int]] = [[] for _ in range(count)]
    rows = [(0, lane) for lane in range(count)]
    for group in order:
        length, lane = rows[0]
        lanes[lane].append(group)
        heapq.heapreplace(rows, (length + sizes[group], lane))
    return tuple(map(tuple, lanes))
