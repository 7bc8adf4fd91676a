"""Open windows that the clock alone decides, as a slice table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.windowing import slices
from lepton_nb.windowing.assign import Grid, Rolling, Sliced, Steps
from lepton_nb.windowing.combine import Runs, windows_table
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.planes import picked
from lepton_nb.windowing.slices import SLICE
from lepton_nb.windowing.stores.base import ENDLESS, Emitted, TableStore

# Where less than this share of the slices is needed, they are picked out first.
MOST_NEEDED = 0.75


def ended(plan: Plan, watermark: int | None) -> int:
    """Number of the last window that a watermark closes; below all numbers before the first watermark."""
    layout = plan.layout
    assert isinstance(layout, Grid | Steps | Rolling)
    if watermark is None:
        return -ENDLESS
    return ENDLESS if watermark >= ENDLESS else plan.calendar.ended(layout, watermark)


def expired(plan: Plan, watermark: int | None) -> int:
    """Number of the last window for which it is too late."""
    if watermark is None or watermark >= ENDLESS:
        return ended(plan, watermark)
    return ended(plan, watermark - plan.allowed)


class SliceStore(TableStore):
    """A slice lives until its last window has expired."""

    @property
    def layout(self) -> Sliced:
        """The windows."""
        assert isinstance(self.plan.layout, Grid | Steps | Rolling)
        return self.plan.layout

    def absorb(self, tables: Sequence[pl.DataFrame]) -> Emitted:
        """Windows that were closed before and hold one of these slices come again."""
        filled = [table for table in tables if table.height]
        if not filled:
            return self.nothing()
        known = [] if self.table is None else [self.table]
        self.table = merged = slices.merge([*known, *filled], self.plan)
        over, gone = ended(self.plan, self.watermark), expired(self.plan, self.watermark)
        if min(_first(t) for t in filled) > self._last_slice(over):
            return self.nothing()
        # A slice may come from several parts of a batch.
        given = [t.filter(self.layout.low(pl.col(SLICE)) <= over).select(*self.keys, SLICE) for t in filled]
        touched = pl.concat(given).unique()
        if not touched.height:
            return self.nothing()
        marked = self._around(merged, touched).join(
            touched.with_columns(pl.lit(True).alias("touched")),
            on=[*self.keys, SLICE],
            how="left",
            maintain_order="left",
        )
        counted = np.r_[0, np.cumsum(marked.get_column("touched").is_not_null().to_numpy())]

        def again(runs: Runs) -> npt.NDArray[np.bool_]:
            changed = counted[runs.last + 1] > counted[runs.first]
            return np.asarray(changed & (runs.window > gone) & (runs.window <= over))

        return Emitted(windows_table(marked.drop("touched"), self.plan, choose=again), self.no_windows())

    def _around(self, merged: pl.DataFrame, touched: pl.DataFrame) -> pl.DataFrame:
        """The slices of the touched keys that share a window with a touched slice."""
        first = self.layout.first_slice(self.layout.low(int(touched.get_column(SLICE).min())))  # type: ignore[arg-type]
        last = self._last_slice(self.layout.high(int(touched.get_column(SLICE).max())))  # type: ignore[arg-type]
        near = merged.filter(pl.col(SLICE).is_between(first, last))
        if not self.keys:
            return near
        return near.join(touched.select(self.keys).unique(), on=self.keys, how="semi", maintain_order="left")

    def _last_slice(self, window: int) -> int:
        length = self.layout.size if isinstance(self.layout, Rolling) else self.layout.slices_per_window
        return int(self.layout.first_slice(window)) + length - 1

    def _close(self, table: pl.DataFrame, before: int | None, watermark: int) -> Emitted:
        old, over = ended(self.plan, before), ended(self.plan, watermark)
        gone = expired(self.plan, watermark)
        rows = self._between(table, old, over) if over > old else self.empty()
        if gone > expired(self.plan, before):
            alive = np.flatnonzero(self.layout.high(table.get_column(SLICE).to_numpy()) > gone)
            self.table = pl.DataFrame([picked(values, alive) for values in table.get_columns()])
        return Emitted(rows, self.no_windows())

    def given(self) -> pl.DataFrame:
        """The windows that were given and can still change."""
        if self.table is None:
            return self.empty()
        return self._between(self.table, expired(self.plan, self.watermark), ended(self.plan, self.watermark))

    def early(self) -> pl.DataFrame:
        """All windows above the watermark."""
        return (
            self.empty() if self.table is None else self._between(self.table, ended(self.plan, self.watermark), ENDLESS)
        )

    def _between(self, table: pl.DataFrame, above: int, through: int) -> pl.DataFrame:
        """The windows with numbers in (above, through]."""
        number = table.get_column(SLICE).to_numpy()
        needed = np.ones(len(number), dtype=bool)
        if above > -ENDLESS:
            needed = number >= self.layout.first_slice(above + 1)
        if through < ENDLESS:
            needed &= self.layout.low(number) <= through
        # A few more than needed do not matter, and a copy of the table takes time.
        if np.count_nonzero(needed) < MOST_NEEDED * len(needed):
            table = table.filter(pl.Series(needed))
        return windows_table(table, self.plan, (above + 1, through))


def _first(table: pl.DataFrame) -> int:
    """The first slice of a table."""
    return int(table.get_column(SLICE).to_numpy().min())
