"""Where a stream puts its results: a sink takes one batch after the other, and takes each once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import polars as pl

from lepton_nb.errors import WindowError


class Sink(ABC):
    """Stores the rows that a stream emits.

    A window is told by its keys, window_start and window_end. Where `refires` is true, it can come again with new
    values, which then replace the old; and it can be taken back (`retracted`), as when two sessions become one.
    """

    name: ClassVar[str]

    @abstractmethod
    def open(self, schema: pl.Schema, keys: Sequence[str], *, refires: bool) -> None:
        """Get ready for rows of this schema: key columns, window_start, window_end, aggregates.

        Raises WindowError where what is there already does not fit.
        """

    @abstractmethod
    def write(self, batch: int, rows: pl.DataFrame, retracted: pl.DataFrame) -> None:
        """Store a batch; when this returns, it is there for good.

        Batches come in ascending order, and may skip numbers (a batch that emits nothing is not written). After a
        crash the last one comes again, with the same windows, whether or not it was stored: it must then be there once.
        `retracted` has the key columns, window_start and window_end of windows to take back; they go first.
        """

    def table(self) -> pl.DataFrame:
        """Every window once, with its latest values, sorted by key, then window_start, then window_end."""
        raise WindowError(f"a {self.name} sink cannot be read back; read its rows where they went")

    def close(self) -> None:  # noqa: B027 (not every one has something to give back)
        """Give back what `open` took. Safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
