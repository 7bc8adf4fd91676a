"""A table in memory as a source: its rows in their order, one channel; a position is a number of rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import DataError
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.sources.base import Part, Planned, Position, Rows, Source, no_dead


@dataclass(frozen=True)
class FramePart(Part):
    """Rows that travel with the part itself."""

    frame: pl.DataFrame = field(repr=False)
    dead: pl.DataFrame = field(default_factory=no_dead, repr=False)

    def read(self) -> Rows:
        return Rows(self.frame, self.dead)


class TableSource(Source):
    """Plays a table from its first row to its last."""

    name = "table"

    def __init__(self, frame: Any) -> None:
        self._given = frame
        self._frame: pl.DataFrame | None = None
        self._parallel = 1

    def open(self, columns: Sequence[str], parallel: int) -> None:
        self._frame = chosen(self._given, columns)
        self._parallel = max(1, parallel)

    @property
    def table(self) -> pl.DataFrame:
        """The needed columns, once open."""
        if self._frame is None:
            raise DataError(f"the {self.name} source is not open; call open(columns, parallel) first")
        return self._frame

    @property
    def schema(self) -> pl.Schema | None:
        return self.table.schema

    @property
    def channels(self) -> tuple[str, ...]:
        return (self.name,)

    def plan(self, before: Position, rows: int, wait_s: float) -> Planned:
        total = self.table.height
        after = min(total, start_of(before, total, self.name) + max(1, rows))
        return Planned(after, over=after == total, lag=total - after)

    def parts(self, before: Position, after: Position) -> Sequence[Part]:
        start = start_of(before, self.table.height, self.name)
        return cut(self.table.slice(start, after - start), self.name, self._parallel)

    def close(self) -> None:
        self._frame = None


def is_frame(thing: Any) -> bool:
    """True for a frame in memory, or one that can be computed, of a kind that lepton_nb accepts; imports none."""
    if isinstance(thing, pl.DataFrame | pl.LazyFrame) or frames.is_dask(thing):
        return True
    names = {(kind.__module__.split(".")[0], kind.__name__) for kind in type(thing).__mro__}
    return bool(names & {("pandas", "DataFrame"), ("pyarrow", "Table")})


def chosen(frame: Any, columns: Sequence[str]) -> pl.DataFrame:
    """These columns of any frame, in memory; DataError where one is missing."""
    rows = frames.lazy(frame)
    return frames.eager(rows.select(map(named, frames.present(frames.column_names(rows), columns))))


def start_of(before: Position, total: int, name: str) -> int:
    """The position as a row number; DataError where the table is shorter than that."""
    start = 0 if before is None else int(before)
    if start > total:
        raise DataError(
            f"the {name} has {total} rows, but {start} were read from it before; "
            "give the same table, or start anew with another checkpoint folder",
            rows=total,
            position=start,
        )
    return start


def cut(frame: pl.DataFrame, channel: str, parallel: int) -> list[FramePart]:
    """`frame` in up to `parallel` parts of equal length, none of them empty."""
    count = min(parallel, frame.height)
    ends = [frame.height * i // count for i in range(count + 1)] if count else []
    return [FramePart(channel, frame[start:stop]) for start, stop in itertools.pairwise(ends)]
