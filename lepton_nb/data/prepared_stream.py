"""A part of a table in Parquet files that is made into numbers one row group at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from lepton_nb.data.frames import named
from lepton_nb.data.row_groups import RowGroupReader, RowGroups
from lepton_nb.data.transform import Prepared, Transform, check_target, finite
from lepton_nb.data.transform_values import transform_of, values_of
from lepton_nb.errors import DataError


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of each row group belong to a part, of those that have a target (and a time).

    time: the column that the table is split by, None for a split at random; start, stop: the part's moments as
    `moments` gives them, the first included, None for no limit; seed, spans: for a split at random, which of a group's
    rows, in an order that seed and group decide, from where to where.
    """

    target: str
    time: str | None = None
    start: float | None = None
    stop: float | None = None
    seed: int = 0
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def columns(self) -> list[str]:
        """What must be read to select."""
        return [self.target] if self.time is None else [self.target, self.time]

    def rows(self, table: pl.DataFrame, group: int) -> pl.Series:
        """The numbers of the rows of the row group `group` that belong to the part, in their order."""
        known = usable(table, self.target, self.time)
        if self.time is not None:
            times = moments(table[self.time])
            for bound, inside in ((self.start, times.__ge__), (self.stop, times.__lt__)):
                if bound is not None:
                    known &= inside(bound)
            return known.arg_true()
        places = known.arg_true()
        order = np.random.default_rng([self.seed, group + 1]).permutation(len(places))
        return places[np.sort(order[slice(*self.spans[group])])]


@dataclass(frozen=True, slots=True)
class PreparedStream:
    """A part of what `lnb.prepare(..., stream=True)` made: rows stay in their files until they are learnt from.

    sizes: rows of the part in each row group; left_out: how many rows of the whole table are in no part.
    """

    groups: RowGroups
    transform: Transform
    selection: Selection
    sizes: tuple[int, ...]
    left_out: int = 0

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> PreparedStream:
        """What `values` told."""
        selection = {**values["selection"], "spans": tuple(tuple(span) for span in values["selection"]["spans"])}
        return cls(
            RowGroups.from_values(values["groups"]),
            transform_of(values["transform"]),
            Selection(**selection),
            tuple(values["sizes"]),
            values["left_out"],
        )

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "groups": self.groups.values(),
            "transform": values_of(self.transform),
            "selection": asdict(self.selection),
            "sizes": self.sizes,
            "left_out": self.left_out,
        }

    @property
    def target(self) -> str:
        """The column that is learnt."""
        return self.transform.target

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What each column of the features is."""
        return self.transform.feature_names

    @property
    def columns(self) -> list[str]:
        """What is read of the files."""
        return list(dict.fromkeys([*(c.name for c in self.transform.columns), *self.selection.columns]))

    def __len__(self) -> int:
        return sum(self.sizes)

    def __repr__(self) -> str:
        left_out = f"; {self.left_out:,} rows of the source left out" if self.left_out else ""
        features = len(self.feature_names)
        return f"PreparedStream({len(self):,} rows, {features} features, target {self.target!r}{left_out})"

    def prepared(self, table: pl.DataFrame, group: int) -> Prepared:
        """The part's rows of the row group `group`, of which `table` holds `columns`."""
        return self.transform(table[self.selection.rows(table, group)])

    def collect(self) -> Prepared:
        """All rows of the part in memory, for parts that fit."""
        with RowGroupReader(self.groups) as reader:
            found = [
                table[self.selection.rows(table, group)]
                for group, rows in enumerate(self.sizes)
                if rows
                for table in [reader.read(group, self.columns)]
            ]
        return self.transform(pl.concat(found, how="vertical_relaxed"))


def usable(table: pl.DataFrame, target: str, time: str | None) -> pl.Series:
    """Which rows have a target and, where the table is split by time, a time."""
    check_target(table, target)
    known = finite(target).is_not_null()
    if time is not None:
        known &= named(time).is_not_null()
    return table.select(known).to_series()


def moments(times: pl.Series) -> pl.Series:
    """Times as numbers that can be compared over all files: microseconds since 1970 for dates and times."""
    dtype = times.dtype
    if isinstance(dtype, pl.Datetime | pl.Date):
        return times.cast(pl.Datetime("us")).to_physical()
    if dtype.is_temporal():
        return times.to_physical()
    if not dtype.is_numeric():
        raise DataError(f"the time column {times.name!r} is {dtype}; give a time, a date or a number")
    return times.cast(pl.Float64 if dtype.is_float() else pl.Int64)
