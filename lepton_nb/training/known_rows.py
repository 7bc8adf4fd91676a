"""The rows that a model has learnt from, known again among others: a few bytes for each, not the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_nb.training.array_rows import Array

MOST_KNOWN = 65_536
MOST_ASKED = 8_192
# Rows are looked at up to so many bytes in all.
MOST_BYTES = 2**26
_WORDS_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class KnownRows:
    """marks: a number for each of the rows that are known again, sorted; rows: how many there were in all."""

    marks: npt.NDArray[np.uint64]
    rows: int

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> KnownRows | None:
        """The rows of a feed's `arrays`, all or as many as are quick; None where they are not in memory."""
        features, target = arrays.get("train_features"), arrays.get("train_target")
        if features is None or target is None:
            return None
        return cls(np.sort(_marks(features, target, MOST_KNOWN)), len(features))

    def share(self, features: Array, target: Array) -> float:
        """The share, from 0 to 1, of these rows that are among the known ones: read alike, and equal in every number.

        Estimated where there are many rows, on either side.
        """
        found = np.isin(_marks(features, target, MOST_ASKED), self.marks).mean()
        return min(1.0, float(found) * self.rows / len(self.marks))


def _marks(features: Array, target: Array, most: int) -> npt.NDArray[np.uint64]:
    """Of at most so many rows, drawn at random but always the same."""
    count = len(features)
    most = min(most, max(1, MOST_BYTES // max(1, features[:1].nbytes)))
    kept = np.arange(count)
    if count > most:
        kept = np.sort(np.random.default_rng(0).choice(count, most, replace=False))
    width = features[:1].nbytes + target[:1].nbytes
    at_once = max(1, 4 * _WORDS_AT_ONCE // width)
    words = -(-width // 4)
    # Odd, so that a difference in one word always shows.
    factors = np.random.default_rng(1).integers(0, 2**63, words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found = [np.zeros(0, np.uint64)]
    for start in range(0, len(kept), at_once):
        rows = kept[start : start + at_once]
        bytes_ = np.zeros((len(rows), 4 * words), np.uint8)
        at = 0
        for part in (features[rows], target[rows]):
            flat = np.ascontiguousarray(part).reshape(len(rows), -1).view(np.uint8)
            bytes_[:, at : at + flat.shape[1]] = flat
            at += flat.shape[1]
        found.append((bytes_.view(np.uint32) * factors).sum(axis=1, dtype=np.uint64))
    return np.concatenate(found)
