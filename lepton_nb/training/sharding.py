"""Which rows each rank takes in each step: pure, the same for every framework."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Order = npt.NDArray[np.int64]


def epoch_order(rows: int, seed: int, epoch: int) -> Order:
    """The order of `rows` rows in `epoch` (from 0): a permutation that only seed and epoch decide."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimizer steps of one epoch; the last may have fewer rows than the others."""
    return -(-rows // batch_size)


def shard(count: int, rank: int, ranks: int) -> slice:
    """Which of `count` items rank `rank` of `ranks` takes: contiguous, sizes differ by one at most."""
    return slice(count * rank // ranks, count * (rank + 1) // ranks)
