"""Sinks: where a stream puts its results. `of` makes one of whatever a user passes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from lepton_nb.errors import WindowError
from lepton_nb.windowing.sinks.base import Sink
from lepton_nb.windowing.sinks.kafka_sink import kafka

__all__ = ["Sink", "call", "duckdb", "kafka", "of", "parquet"]

DUCKDB = (".duckdb", ".db")


def parquet(path: str | os.PathLike[str]) -> Sink:
    """A folder of Parquet files (zstd), one a batch and day: `window_day=2013-01-31/batch-000000000012.parquet`.

    The day is that of window_start, in UTC. A batch that is written again replaces its files; a file shows under its
    name only once it is whole and on the disk (while a batch is written, `folder/*/*.parquet` matches whole files
    alone). Where every window comes once, the files hold the result's columns and any tool reads them as they are.
    Where windows can come again (allowed lateness, sessions, early results), two more columns say in which `batch`
    a row came and whether it takes the window back (`retracted`); `table()` gives each window
    once, with its latest values.

    Raises WindowError where the folder holds the results of another query or run, or files of somebody else, and where
    the disk is full.
    """
    from lepton_nb.windowing.sinks.dataset import ParquetSink

    return ParquetSink(path)


def duckdb(path: str | os.PathLike[str], table: str = "windows") -> Sink:
    """A table in a DuckDB file, one row a window: one that comes again replaces the old row, one taken back is deleted.

    A batch and its number (in the table `lepton_nb_sinks`) are stored in one transaction. The file is open only while
    a batch is written: in between, others can read it, best with `duckdb.connect(path, read_only=True)`; while they
    have it open, the stream waits for up to 30 s. What DuckDB has no type for is stored otherwise and comes back from
    `table()` as it was: categories as text, durations as whole numbers of their unit, 128-bit integers as decimals. A
    time with a zone is stored as its moment.

    Raises WindowError where the table holds something else, or the results of another query or run, where others keep
    the file open, and where the disk is full.
    """
    from lepton_nb.windowing.sinks.database import DuckDBSink

    return DuckDBSink(path, table)


def call(function: Callable[..., Any]) -> Sink:
    """Calls `function(table)` with each batch's rows; it may also take (table, batch) or (table, batch, retracted).

    What it takes is told from its arguments without a default. `table` is a Polars DataFrame, `batch` the batch's
    number. After a crash the function may see the last batch again, with the same number. Windows that are taken back
    are only given to a function of three arguments: keys, window_start and window_end, to be removed before `table` is
    added. An error of the function ends the stream.
    """
    from lepton_nb.windowing.sinks.calls import CallSink

    return CallSink(function)


def of(thing: Any) -> Sink:
    """The sink that a user means: a Sink itself, a path (a Parquet folder, or a DuckDB file where it ends in .duckdb or
    .db), or a function. Raises WindowError for anything else."""
    if isinstance(thing, Sink):
        return thing
    if isinstance(thing, str | os.PathLike):
        return duckdb(thing) if os.fspath(thing).lower().endswith(DUCKDB) else parquet(thing)
    if callable(thing):
        return call(thing)
    raise WindowError(
        "a stream writes to a sink such as sinks.parquet(folder), a path to a folder or a .duckdb file, or a function, "
        f"not to a {type(thing).__name__}"
    )
