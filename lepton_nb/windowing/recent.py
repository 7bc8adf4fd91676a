"""The results that a stream gave last, in bounded memory: what a live view looks at."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import polars as pl

from lepton_nb.windowing.partials import named
from lepton_nb.windowing.spec import END, START

MOST_ROWS = 20_000

# Columns beside those of the results.
NUMBER = "\x00number"
TAKEN_BACK = "\x00taken back"


class Recent:
    """Takes each batch's results, and keeps the last `most` of them, by the end of their windows.

    One thread may add while others read.
    """

    def __init__(self, keys: Sequence[str], schema: pl.Schema, most: int = MOST_ROWS) -> None:
        self._by = [*keys, START, END]
        self._most = most
        self._lock = threading.Lock()
        self._table = pl.DataFrame(schema=schema)
        self._new: list[pl.DataFrame] = []
        self._waiting = 0

    def add(self, rows: pl.DataFrame, retracted: pl.DataFrame) -> None:
        """A batch: the windows in `retracted` are taken back, then those in `rows` given, some of them anew."""
        if not rows.height and not retracted.height:
            return
        with self._lock:
            number = pl.lit(len(self._new) + 1, pl.Int32).alias(NUMBER)
            back = retracted.select(*map(named, self._by), number, pl.lit(True).alias(TAKEN_BACK))
            self._new += [back] if back.height else []
            self._new += [rows.with_columns(number, pl.lit(False).alias(TAKEN_BACK))] if rows.height else []
            self._waiting += rows.height + retracted.height
            if self._waiting > self._most:
                self._settle()

    def table(self) -> pl.DataFrame:
        """Each window once, with its latest values, sorted by key, then window."""
        with self._lock:
            if self._new:
                self._settle()
            return self._table

    def _settle(self) -> None:
        before = self._table.with_columns(pl.lit(0, pl.Int32).alias(NUMBER), pl.lit(False).alias(TAKEN_BACK))
        together = pl.concat([before, *self._new], how="diagonal_relaxed")
        latest = pl.col(NUMBER) == pl.col(NUMBER).max().over(list(map(named, self._by)))
        kept = together.filter(latest, ~pl.col(TAKEN_BACK)).drop(NUMBER, TAKEN_BACK)
        if kept.height > self._most:
            # A copy: a slice would keep all the rows of a large batch.
            kept = kept[kept.get_column(END).arg_sort(descending=True)[: self._most]]
        self._table = kept.sort(list(map(named, self._by)), maintain_order=True)
        self._new, self._waiting = [], 0
