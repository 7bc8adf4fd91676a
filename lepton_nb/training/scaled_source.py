"""Rows whose features are divided by a number as they are read: images, which lie in their file as uint8."""

from __future__ import annotations

from collections.abc import Iterator

from lepton_nb.training.array_rows import Array, scaled
from lepton_nb.training.batches import Batch, Source, TargetFacts


class ScaledSource:
    """`source` with its features as numbers of the type `dtype`, divided by `divisor`."""

    def __init__(self, source: Source, divisor: float, dtype: str) -> None:
        self._source = source
        self._divisor = divisor
        self._dtype = dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's features."""
        return self._source.shape

    @property
    def target(self) -> TargetFacts:
        """Of all rows."""
        return self._source.target

    @property
    def checksum(self) -> int:
        """Of the source."""
        return self._source.checksum

    def require_tokens(self, vocabulary: int, what: str, rank: int, ranks: int) -> None:
        """Of the numbers before they are divided; images are no tokens."""
        self._source.require_tokens(vocabulary, what, rank, ranks)

    def __len__(self) -> int:
        return len(self._source)

    def head(self, count: int) -> tuple[Array, Array]:
        """The first rows."""
        features, target = self._source.head(count)
        return self._scaled(features), target

    def batches(self, epoch: int, first: int, batch_size: int, seed: int, rank: int, ranks: int) -> Iterator[Batch]:
        """The batches of the source."""
        for batch in self._source.batches(epoch, first, batch_size, seed, rank, ranks):
            yield Batch(self._scaled(batch.features), batch.target, batch.rows)

    def pieces(self, rank: int, ranks: int, most: int) -> Iterator[tuple[Array, Array]]:
        """The pieces of the source."""
        for features, target in self._source.pieces(rank, ranks, most):
            yield self._scaled(features), target

    def _scaled(self, features: Array) -> Array:
        return scaled(features, self._divisor, self._dtype)
