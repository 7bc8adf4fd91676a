"""The rows of one part of the data as a rank sees them: whole, or its share of every global batch. No framework."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lepton_nb.training.sharding import epoch_order, shard, steps_per_epoch
from lepton_nb.training.tokens import check_tokens

Array = npt.NDArray[Any]
# Targets with more different whole values than these are no classes.
MOST_CLASSES = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A rank's share of a global batch of `rows` rows: features (mine, ...) and target (mine, ...), perhaps empty."""

    features: Array
    target: Array
    rows: int


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What is known of all target values of a part.

    shape: of one row's target, () for one value; strange: a value that is neither 0 nor 1, None where there is none;
    fraction: a value that is no whole number; counts: values by class number, None where they are no class numbers.
    """

    shape: tuple[int, ...]
    lowest: float
    highest: float
    strange: float | None
    fraction: float | None
    counts: tuple[int, ...] | None

    @classmethod
    def of(cls, target: Array) -> TargetFacts:
        """The facts of `target` (rows, ...), finite and with one row at least."""
        flat = target.reshape(-1)
        strange = flat[(flat != 0) & (flat != 1)]
        fraction = flat[flat != np.floor(flat)]
        lowest, highest = float(flat.min()), float(flat.max())
        counts = None
        if not fraction.size and lowest >= 0 and highest < MOST_CLASSES:
            counts = tuple(np.bincount(flat.astype(np.int64)).tolist())
        return cls(
            target.shape[1:],
            lowest,
            highest,
            float(strange[0]) if strange.size else None,
            float(fraction[0]) if fraction.size else None,
            counts,
        )


class Source(Protocol):
    """The rows of one part ("train" or "validation"), as this rank reads them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's features."""
        ...

    @property
    def target(self) -> TargetFacts:
        """Of all rows, on every rank."""
        ...

    @property
    def checksum(self) -> int:
        """Changes with the rows that are learnt from: a run goes on only with the same."""
        ...

    def __len__(self) -> int:
        """Rows of all ranks together."""
        ...

    def head(self, count: int) -> tuple[Array, Array]:
        """Features and target of the first rows, at most `count`; the same on every rank."""
        ...

    def batches(self, epoch: int, first: int, batch_size: int, seed: int, rank: int, ranks: int) -> Iterator[Batch]:
        """This rank's share of the global batches of `epoch` (from 0), from batch `first` (from 0) on.

        Over all ranks the shares of a batch are the same rows whatever `ranks` is, and the rows of all batches are
        those of the part, each once.
        """
        ...

    def pieces(self, rank: int, ranks: int, most: int) -> Iterator[tuple[Array, Array]]:
        """This rank's share of all rows, in pieces of at most `most` rows; over all ranks each row once."""
        ...

    def require_tokens(self, vocabulary: int, what: str, rank: int, ranks: int) -> None:
        """Raise TrainingError, now or when rows are read, where features are no whole numbers below `vocabulary`."""
        ...


class MemorySource:
    """Rows in two files, {part}_features.npy and {part}_target.npy, that the ranks of a host map together."""

    def __init__(self, folder: Path, part: str) -> None:
        # Mode "c" maps privately: torch wants memory that it may write to, and nobody does.
        self._features = np.asarray(np.load(folder / f"{part}_features.npy", mmap_mode="c"))
        self._target = np.asarray(np.load(folder / f"{part}_target.npy", mmap_mode="c"))
        self.target = TargetFacts.of(self._target)
        self.checksum = zlib.crc32(np.ascontiguousarray(self._target).data)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's features."""
        return self._features.shape[1:]

    def __len__(self) -> int:
        return len(self._target)

    def head(self, count: int) -> tuple[Array, Array]:
        """The first rows."""
        return self._features[:count], self._target[:count]

    def batches(self, epoch: int, first: int, batch_size: int, seed: int, rank: int, ranks: int) -> Iterator[Batch]:
        """Rows in the order of `epoch_order`, of each batch the rank's `shard`."""
        order = epoch_order(len(self), seed, epoch)
        for number in range(first, steps_per_epoch(len(self), batch_size)):
            rows = order[number * batch_size : (number + 1) * batch_size]
            mine = rows[shard(len(rows), rank, ranks)]
            yield Batch(self._features.take(mine, axis=0), self._target.take(mine, axis=0), len(rows))

    def pieces(self, rank: int, ranks: int, most: int) -> Iterator[tuple[Array, Array]]:
        """Rows in their own order, without a copy."""
        part = shard(len(self), rank, ranks)
        for start in range(part.start, part.stop, most):
            rows = slice(start, min(start + most, part.stop))
            yield self._features[rows], self._target[rows]

    def require_tokens(self, vocabulary: int, what: str, rank: int, ranks: int) -> None:
        """Looks at this rank's share now, once."""
        mine = shard(len(self), rank, ranks)
        check_tokens(self._features[mine], vocabulary, what, mine.start)


def open_source(folder: Path, part: str) -> Source | None:
    """The rows of `part` that the client has laid into `folder`; None where it has none."""
    # Each knows this module.
    from lepton_nb.training.parquet_source import ParquetSource
    from lepton_nb.training.scaled_source import ScaledSource

    if (folder / f"{part}_source.npy").exists():
        return ParquetSource.open(folder / f"{part}_source.npy")
    if not (folder / f"{part}_features.npy").exists():
        return None
    source = MemorySource(folder, part)
    if not (folder / f"{part}_divisor.npy").exists():
        return source
    divisor = np.load(folder / f"{part}_divisor.npy")
    return ScaledSource(source, float(divisor[0]), divisor.dtype.name)
