"""Columns as arrays of the numbers that stand for their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from lepton_nb.windowing.ranges import Array


def pieces(columns: Mapping[str, pl.Series]) -> Iterator[dict[str, Array]]:
    """Arrays that share the columns' memory: one for each piece with rows in which all of them lie."""
    lengths = [[len(chunk) for chunk in series.get_chunks()] for series in columns.values()]
    if any(other != lengths[0] for other in lengths):
        columns = {name: series.rechunk() for name, series in columns.items()}
    for chunks in zip(*(series.get_chunks() for series in columns.values()), strict=True):
        # Polars cuts batches of a frame in several pieces so that some are empty.
        if len(chunks[0]):
            yield {name: numbers(chunk) for name, chunk in zip(columns, chunks, strict=True)}


def physical(values: pl.Series) -> pl.Series:
    """The numbers that stand for values, as a column."""
    return values.cast(pl.Int8) if values.dtype == pl.Boolean else values.to_physical()


def numbers(values: pl.Series) -> Array:
    """The numbers that stand for values without nulls: for times, their ticks. Shares their memory where it can."""
    if values.dtype.is_numeric():
        return values.to_numpy()
    if not isinstance(values.dtype, pl.Datetime | pl.Duration):
        return physical(values).to_numpy()
    # Not by way of to_physical, which waits for the threads that read.
    return values.to_numpy().view(np.int64)
