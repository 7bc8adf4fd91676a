"""What a stream keeps between batches: partial results of the windows that are still open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.slices import key_names
from lepton_nb.windowing.spec import END, START

# A watermark behind all times: the end of a stream.
ENDLESS = 2**62


@dataclass(frozen=True)
class Emitted:
    """What one step gives: result rows, and windows given before that these take back.

    late: pieces of partial results that came too late; the rows behind them are the caller's to find (`late_in`).
    """

    rows: pl.DataFrame
    retracted: pl.DataFrame
    late: pl.DataFrame | None = None


class Store(ABC):
    """Open windows of some keys.

    watermark: ticks, None before the first; every row up to it has come, but for late ones.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.watermark: int | None = None

    @abstractmethod
    def advance(self, watermark: int) -> Emitted:
        """Move the watermark on, never back; gives the windows that this closes, sorted by key, then start."""

    @abstractmethod
    def early(self) -> pl.DataFrame:
        """The windows that are still open, as they stand now; nothing changes."""

    @abstractmethod
    def dump(self) -> dict[str, pl.DataFrame]:
        """All tables, by name; `load` takes them back."""

    @abstractmethod
    def load(self, tables: dict[str, pl.DataFrame], watermark: int | None) -> None:
        """What `dump` gave."""

    @property
    def rows(self) -> int:
        """Rows of the tables: a measure of the state's size."""
        return sum(table.height for table in self.dump().values())

    @property
    def memory_bytes(self) -> int:
        """Size of the tables in memory."""
        return int(sum(table.estimated_size() for table in self.dump().values()))

    @property
    def keys(self) -> list[str]:
        """Key columns of the tables."""
        return key_names(self.plan)

    def empty(self) -> pl.DataFrame:
        """No result rows."""
        return pl.DataFrame(schema=self.plan.result_schema)

    def no_windows(self) -> pl.DataFrame:
        """No windows to take back."""
        schema = self.plan.result_schema
        return pl.DataFrame(schema={name: schema[name] for name in (*self.plan.keys, START, END)})

    def nothing(self) -> Emitted:
        """Neither."""
        return Emitted(self.empty(), self.no_windows())


class TableStore(Store):
    """Open windows of one query, as a table. What comes in are partial results without nulls, and not late."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.table: pl.DataFrame | None = None

    @abstractmethod
    def absorb(self, tables: Sequence[pl.DataFrame]) -> Emitted:
        """Take in partial results of one or more parts; gives the windows given before that change, whole."""

    @abstractmethod
    def _close(self, table: pl.DataFrame, before: int | None, watermark: int) -> Emitted:
        """`advance`, where there is something."""

    def advance(self, watermark: int) -> Emitted:
        """Move the watermark on, never back; gives the windows that this closes, sorted by key, then start."""
        if self.watermark is not None and watermark <= self.watermark:
            return self.nothing()
        before, self.watermark = self.watermark, watermark
        return self.nothing() if self.table is None else self._close(self.table, before, watermark)

    def dump(self) -> dict[str, pl.DataFrame]:
        """The table."""
        return {} if self.table is None else {"table": self.table}

    def load(self, tables: dict[str, pl.DataFrame], watermark: int | None) -> None:
        """The table."""
        self.table = tables.get("table")
        self.watermark = watermark
