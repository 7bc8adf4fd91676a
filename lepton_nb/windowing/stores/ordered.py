"""Rows that wait for the watermark to settle their order, and those that later windows still need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from lepton_nb.windowing import ordered
from lepton_nb.windowing.assign import LastRows, RowBlocks
from lepton_nb.windowing.combine import group_numbers
from lepton_nb.windowing.ordered import TICK
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.ranges import Index
from lepton_nb.windowing.stores.base import ENDLESS, Emitted, TableStore

# Rows of a key that came before those in the table, and rows for which results have been given.
BEFORE = "before"
DONE = "done"


class OrderedStore(TableStore):
    """Rows up to the watermark are in their final order."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.counts: pl.DataFrame | None = None

    def absorb(self, tables: Sequence[pl.DataFrame]) -> Emitted:
        """Nothing comes again: results are given once, when the watermark has passed."""
        filled = [table for table in tables if table.height]
        if filled:
            known = [] if self.table is None else [self.table]
            self.table = ordered.merge([*known, *filled], self.plan)
        return self.nothing()

    def _close(self, table: pl.DataFrame, before: int | None, watermark: int) -> Emitted:
        settled = table.filter(pl.col(TICK) <= watermark) if watermark < ENDLESS else table
        waiting = table.filter(pl.col(TICK) > watermark) if watermark < ENDLESS else table.clear()
        if not settled.height:
            return self.nothing()
        begin, done = self._counts_of(settled)
        rows = ordered.windows_table(settled, self.plan, begin, done)
        groups = group_numbers(settled, self.keys)
        counts = np.bincount(groups)
        total = begin + counts
        kept_from = self._kept_from(begin, counts, total)
        position = np.arange(settled.height) - np.repeat(np.cumsum(counts) - counts, counts)
        keep = pl.Series(position >= kept_from[groups])
        self._remember(settled, begin + kept_from, total)
        self.table = ordered.merge([settled.filter(keep), waiting], self.plan)
        return Emitted(rows, self.no_windows())

    def _kept_from(self, begin: Index, counts: Index, total: Index) -> Index:
        layout = self.plan.layout
        if isinstance(layout, LastRows):
            return np.maximum(counts - (layout.rows - 1), 0)
        assert isinstance(layout, RowBlocks)
        following = np.maximum((total - layout.rows) // layout.every + 1, 0) * layout.every
        return np.clip(following - begin, 0, counts)

    def _counts_of(self, settled: pl.DataFrame) -> tuple[Index, Index]:
        """For each key of `settled`, in order: rows before it, and rows done."""
        if not self.keys:
            if self.counts is None:
                return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
            return self.counts.get_column(BEFORE).to_numpy(), self.counts.get_column(DONE).to_numpy()
        groups = settled.select(self.keys).unique(maintain_order=True)
        if self.counts is None:
            return np.zeros(groups.height, dtype=np.int64), np.zeros(groups.height, dtype=np.int64)
        known = groups.join(self.counts, on=self.keys, how="left", maintain_order="left")
        before, done = (known.get_column(name).fill_null(0).to_numpy() for name in (BEFORE, DONE))
        return before, done

    def _remember(self, settled: pl.DataFrame, before: Index, done: Index) -> None:
        fresh = pl.DataFrame({BEFORE: before, DONE: done})
        if not self.keys:
            self.counts = fresh
            return
        fresh = settled.select(self.keys).unique(maintain_order=True).hstack(fresh)
        if self.counts is not None:
            fresh = pl.concat([self.counts.join(fresh, on=self.keys, how="anti"), fresh])
        self.counts = fresh

    def early(self) -> pl.DataFrame:
        """The windows that the rows so far would give, were no others to come."""
        if self.table is None or not self.table.height:
            return self.empty()
        return ordered.windows_table(self.table, self.plan, *self._counts_of(self.table))

    def dump(self) -> dict[str, pl.DataFrame]:
        """The rows and the counts."""
        return super().dump() | ({} if self.counts is None else {"counts": self.counts})

    def load(self, tables: dict[str, pl.DataFrame], watermark: int | None) -> None:
        """The rows and the counts."""
        super().load(tables, watermark)
        self.counts = tables.get("counts")
