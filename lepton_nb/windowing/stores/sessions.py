"""Open sessions, as a session table with a mark on those that have been given."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lepton_nb.windowing import sessions
from lepton_nb.windowing.assign import Sessions
from lepton_nb.windowing.sessions import FROM, NUMBER, TO
from lepton_nb.windowing.slices import merge_exprs, seal
from lepton_nb.windowing.spec import END, START
from lepton_nb.windowing.stores.base import ENDLESS, Emitted, TableStore

GIVEN = "given"
FRESH = "fresh"


class SessionStore(TableStore):
    """A session lives until no row can join it; merging with what lives keeps a late row from being late.

    That is one tick longer than until it is given and has expired: a row exactly a gap after its last one belongs to
    it, and may still come in time. It then takes the session back, and gives it anew when it ends.
    """

    @property
    def gap(self) -> int:
        """Longest space between rows of a session, in ticks."""
        assert isinstance(self.plan.layout, Sessions)
        return self.plan.layout.gap

    def absorb(self, tables: Sequence[pl.DataFrame]) -> Emitted:
        """Sessions merge first, then are tested: what has merged with a living session is not late."""
        filled = [table for table in tables if table.height]
        if not filled:
            return self.nothing()
        fresh = pl.concat(filled).with_columns(pl.lit(False).alias(GIVEN), pl.lit(True).alias(FRESH))
        parts = [fresh] if self.table is None else [self.table.with_columns(pl.lit(False).alias(FRESH)), fresh]
        pieces = pl.concat(parts, how="diagonal").sort([*self.keys, FROM, TO])
        pieces = pieces.with_columns(sessions.numbered(self.plan, pl.col(FROM), pl.col(TO)))
        merged = self._merged(pieces)
        over = merged.filter(pl.col(FRESH) & self._past(self.plan.allowed)).select(*self.keys, NUMBER)
        late = unchanged = pieces.clear()
        if over.height:
            on = [*self.keys, NUMBER]
            merged = merged.join(over, on=on, how="anti", maintain_order="left")
            settled = pieces.join(over, on=on, how="semi", maintain_order="left")
            late, unchanged = settled.filter(FRESH), settled.filter(~pl.col(FRESH))
        again = merged.filter(pl.col(FRESH) & self._past(0))
        retracted = self._taken_back(pieces, merged)
        kept = merged.with_columns(
            pl.when(pl.col(FRESH)).then(self._past(0)).otherwise(pl.col(GIVEN)).alias(GIVEN)
        ).drop(NUMBER, FRESH)
        self.table = pl.concat([kept, unchanged.select(kept.columns)]) if unchanged.height else kept
        return Emitted(self._rows(again), retracted, late.select(*self.keys, FROM, TO) if late.height else None)

    def _merged(self, pieces: pl.DataFrame) -> pl.DataFrame:
        edges = [pl.col(FROM).min(), pl.col(TO).max(), pl.col(GIVEN).any(), pl.col(FRESH).any()]
        grouped = pieces.group_by([*self.keys, NUMBER], maintain_order=True)
        return seal(grouped.agg([*edges, *merge_exprs(self.plan)]), self.plan, merged=True)

    def _taken_back(self, pieces: pl.DataFrame, merged: pl.DataFrame) -> pl.DataFrame:
        """Sessions that were given and now have other bounds."""
        given = pieces.filter(GIVEN)
        if not given.height:
            return self.no_windows()
        bounds = merged.select(*self.keys, NUMBER, pl.col(FROM).alias("new from"), pl.col(TO).alias("new to"))
        both = given.join(bounds, on=[*self.keys, NUMBER], maintain_order="left")
        moved = both.filter((pl.col(FROM) != pl.col("new from")) | (pl.col(TO) != pl.col("new to")))
        columns = [pl.col(name).alias(key) for key, name in zip(self.plan.keys, self.keys, strict=True)]
        start, end = (
            self.plan.calendar.instants(moved.get_column(FROM).to_numpy()),
            self.plan.calendar.instants((moved.get_column(TO) + self.gap).to_numpy()),
        )
        return (
            moved.select(columns).with_columns(start.alias(START), end.alias(END))
            if columns
            else pl.DataFrame([start.alias(START), end.alias(END)])
        )

    def _past(self, allowed: int) -> pl.Expr:
        """Whether the watermark has reached a session's last tick, `allowed` ticks ago."""
        if self.watermark is None:
            return pl.lit(False)
        if self.watermark >= ENDLESS:
            return pl.lit(True)
        return pl.col(TO) + self.gap - 1 + allowed <= self.watermark

    def _rows(self, table: pl.DataFrame) -> pl.DataFrame:
        return sessions.windows_table(table.drop(GIVEN, FRESH, NUMBER, strict=False), self.plan)

    def _close(self, table: pl.DataFrame, before: int | None, watermark: int) -> Emitted:
        rows = self._rows(table.filter(self._past(0) & ~pl.col(GIVEN)))
        alive = table.filter(~self._past(self.plan.allowed + 1))
        self.table = alive.with_columns(pl.col(GIVEN) | self._past(0))
        return Emitted(rows, self.no_windows())

    def early(self) -> pl.DataFrame:
        """All sessions that have not ended."""
        return self.empty() if self.table is None else self._rows(self.table.filter(~self._past(0)))
