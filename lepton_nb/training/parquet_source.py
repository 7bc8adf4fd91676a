"""Rows that a rank reads from Parquet while it learns from them: a few row groups are in memory, never the table."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from lepton_nb.data.prepared_stream import PreparedStream
from lepton_nb.data.row_groups import RowGroupReader, RowGroups
from lepton_nb.errors import DataError, TrainingError
from lepton_nb.training.ahead import Ahead
from lepton_nb.training.array_rows import Array
from lepton_nb.training.batches import Batch, TargetFacts
from lepton_nb.training.lanes import Lanes, order_within
from lepton_nb.training.sharding import shard
from lepton_nb.training.table_rows import check_finite, columns_of
from lepton_nb.training.tokens import check_tokens

# Row groups that are read ahead of those that are learnt from.
AHEAD = 2


@dataclass(frozen=True, slots=True)
class Columns:
    """What is learnt from: the columns `names`, numbers all, and `target`, as they are."""

    names: tuple[str, ...]
    target: str
    precision: str

    @property
    def read(self) -> list[str]:
        """What is read of each file."""
        return [*self.names, self.target]

    def numbers(self, table: pl.DataFrame, group: int, what: str) -> tuple[Array, Array]:
        """Features and target of the row group `group`, named `what` in errors."""
        features, target = columns_of(table, self.names, self.target, self.precision, what)
        check_finite(features, self.names, target, self.target, what)
        assert target is not None
        return features, target

    def targets(self, table: pl.DataFrame, group: int, what: str) -> Array:
        """The target alone, of a table with no more than `target_read`."""
        _, target = columns_of(table, (), self.target, self.precision, what)
        assert target is not None
        check_finite(target[:, None], (self.target,), None, None, what)
        return target

    @property
    def target_read(self) -> list[str]:
        """What is read of each file for the target alone."""
        return [self.target]

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return {"columns": dataclasses.asdict(self)}


@dataclass(frozen=True, slots=True)
class PreparedColumns:
    """What is learnt from: the rows that belong to a part of what `lnb.prepare(..., stream=True)` made, prepared."""

    part: PreparedStream

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features."""
        return self.part.feature_names

    @property
    def precision(self) -> str:
        """The type of the numbers."""
        return self.part.transform.precision

    @property
    def read(self) -> list[str]:
        """What is read of each file."""
        return self.part.columns

    def numbers(self, table: pl.DataFrame, group: int, what: str) -> tuple[Array, Array]:
        """Features and target of the part's rows of the row group `group`."""
        rows = self.part.prepared(table, group)
        assert rows.target_values is not None
        return rows.features, rows.target_values

    def targets(self, table: pl.DataFrame, group: int, what: str) -> Array:
        """The target alone, of a table with no more than `target_read`."""
        target = table[self.part.selection.rows(table, group)][self.part.target]
        return target.cast(pl.Float64).to_numpy().astype(self.precision)

    @property
    def target_read(self) -> list[str]:
        """What is read of each file for the target alone."""
        return self.part.selection.columns

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return {"prepared": self.part.values()}


def _columns_of(told: Mapping[str, Any]) -> Columns | PreparedColumns:
    if "prepared" in told:
        return PreparedColumns(PreparedStream.from_values(told["prepared"]))
    columns = told["columns"]
    return Columns(tuple(columns["names"]), columns["target"], columns["precision"])


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """A row group in the order of the epoch, for a lane to take rows from: begin and end count those of the lane."""

    features: Array
    target: Array
    begin: int

    @property
    def end(self) -> int:
        return self.begin + len(self.target)


class ParquetSource:
    """The rows of row groups, read as they are needed.

    sizes: how many rows of each group are learnt from. Raises TrainingError, with the file and the row group, for what
    cannot be read, has changed, or holds nulls, NaN or infinite values.
    """

    def __init__(
        self, groups: RowGroups, columns: Columns | PreparedColumns, target: TargetFacts, sizes: tuple[int, ...]
    ) -> None:
        self.target = target
        self._groups = groups
        self._columns = columns
        self._sizes = sizes
        self._rows = sum(sizes)
        self._vocabulary: int | None = None
        self._stamps: dict[str, tuple[int, int, int]] = {}

    @classmethod
    def open(cls, file: Path) -> Self:
        """What `values` told, from the file that it lies in."""
        told = json.loads(np.load(file).tobytes())
        facts = told["facts"]
        counts = None if facts["counts"] is None else tuple(facts["counts"])
        target = TargetFacts(**{**facts, "shape": tuple(facts["shape"]), "counts": counts})
        return cls(RowGroups.from_values(told["groups"]), _columns_of(told), target, tuple(told["sizes"]))

    def values(self) -> Array:
        """All that a rank needs to know, as the bytes of a small array."""
        told = {
            "groups": self._groups.values(),
            "facts": dataclasses.asdict(self.target),
            "sizes": self._sizes,
            **self._columns.values(),
        }
        return np.frombuffer(json.dumps(told, allow_nan=False).encode(), np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's features."""
        return (len(self._columns.names),)

    @property
    def checksum(self) -> int:
        """Of the files' footers, wherever they lie, and of what is known of the target."""
        return zlib.crc32(repr((self._groups.checksum, self._sizes, self.target)).encode())

    def require_tokens(self, vocabulary: int, what: str, rank: int, ranks: int) -> None:
        """Looks at each row group when it is read."""
        self._vocabulary = vocabulary

    def __len__(self) -> int:
        return self._rows

    def head(self, count: int) -> tuple[Array, Array]:
        """The first rows, in the order of the files."""
        found: list[tuple[Array, Array]] = []
        wanted = min(count, self._rows)
        with self._reader() as reader:
            for group in self._filled():
                if sum(len(target) for _, target in found) >= wanted:
                    break
                found.append(self._load(reader, group))
        if not found:
            return self._room(0)
        features, target = (np.concatenate(parts)[:wanted] for parts in zip(*found, strict=True))
        return features, target

    def batches(self, epoch: int, first: int, batch_size: int, seed: int, rank: int, ranks: int) -> Iterator[Batch]:
        """Rows in the order of `Lanes` and, within a row group, of `order_within`."""
        row_bytes = self.shape[0] * np.dtype(self._columns.precision).itemsize
        lanes = Lanes.deal(self._sizes, row_bytes, batch_size, seed, epoch)
        mine = lanes.of_rank(rank, ranks)

        def load(need: tuple[int, int, int]) -> _Loaded:
            _, group, begin = need
            features, target = self._load(reader, group)
            order = order_within(len(target), seed, epoch, group)
            return _Loaded(features.take(order, axis=0), target.take(order, axis=0), begin)

        loaded: dict[int, _Loaded] = {}
        with self._reader() as reader, Ahead(load, lanes.needs(mine, first), AHEAD) as ahead:
            stops = [lanes.given(lane, first) for lane in mine]
            for number in range(first, lanes.steps):
                starts, stops = stops, [lanes.given(lane, number + 1) for lane in mine]
                features, target = self._room(sum(stops) - sum(starts))
                at = 0
                for lane, start, stop in zip(mine, starts, stops, strict=True):
                    while start < stop:
                        if lane not in loaded or loaded[lane].end <= start:
                            # What was used up goes before more comes.
                            loaded.pop(lane, None)
                            loaded[lane] = ahead.take()
                        group = loaded[lane]
                        end = min(stop, group.end)
                        taken, to = slice(start - group.begin, end - group.begin), slice(at, at + end - start)
                        features[to], target[to] = group.features[taken], group.target[taken]
                        at, start = to.stop, end
                        del group
                yield Batch(features, target, min(batch_size, self._rows - number * batch_size))

    def pieces(self, rank: int, ranks: int, most: int) -> Iterator[tuple[Array, Array]]:
        """Rows in the order of the files."""
        part = shard(self._rows, rank, ranks)
        needs: list[tuple[int, int, int]] = []
        begin = 0
        for group in self._filled():
            start, stop = max(part.start - begin, 0), min(part.stop - begin, self._sizes[group])
            if start < stop:
                needs.append((group, start, stop))
            begin += self._sizes[group]

        def load(need: tuple[int, int, int]) -> tuple[Array, Array]:
            group, start, stop = need
            features, target = self._load(reader, group)
            return features[start:stop], target[start:stop]

        with self._reader() as reader, Ahead(load, needs, AHEAD) as ahead:
            for _ in needs:
                features, target = ahead.take()
                for start in range(0, len(target), most):
                    yield features[start : start + most], target[start : start + most]

    def _load(self, reader: RowGroupReader, group: int) -> tuple[Array, Array]:
        try:
            table = reader.read(group, self._columns.read)
            features, target = self._columns.numbers(table, group, reader.name(group))
        except DataError as error:
            raise TrainingError(str(error), **error.facts) from error
        if len(target) != self._sizes[group]:
            raise TrainingError(
                f"{reader.name(group)} gives {len(target):,} rows, and gave {self._sizes[group]:,} when the run began; "
                "let files be while they are learnt from, and start again"
            )
        if self._vocabulary is not None:
            check_tokens(features, self._vocabulary, reader.name(group))
        return features, target

    def _reader(self) -> RowGroupReader:
        return RowGroupReader(self._groups, self._stamps)

    def _filled(self) -> list[int]:
        return [group for group, rows in enumerate(self._sizes) if rows]

    def _room(self, rows: int) -> tuple[Array, Array]:
        dtype = self._columns.precision
        return np.empty((rows, *self.shape), dtype), np.empty((rows, *self.target.shape), dtype)
