"""Tables of a stream made ready to draw: checked, their keys numbered, their times as ticks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.figures.axes import check_numbers, check_times, key_label, tick, ticks
from lepton_nb.figures.batches import Batch
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.spec import END, START, listed

# More than this cannot be told apart, and makes pages slow.
MOST_WINDOWS = 20_000
MOST_LATE = 2_000


def windows(table: pl.DataFrame, value: str, keys: Sequence[str], since: date | None = None) -> pl.DataFrame:
    """Columns key0, key1, ..., start and end (ticks since the epoch, UTC) and value, sorted; one row a window.

    Without the windows that had ended by `since`.
    """
    _require(table, START, END, value, *keys)
    check_numbers(table, value)
    for column in (START, END):
        check_times(table, column, "give the result of table() or collect()")
    by = [*_names(keys), "start", "end"]
    # Rolling windows give one result a row: rows of equal time share a window and its value.
    drawn = table.select(
        *_keyed(table, keys),
        ticks(table.get_column(START)).alias("start"),
        ticks(table.get_column(END)).alias("end"),
        named(value).cast(pl.Float64).alias("value"),
    )
    drawn = drawn.unique().sort(by)
    if since is not None:
        drawn = drawn.filter(pl.col("end") > tick(since, table.schema[END]))
    if drawn.height > MOST_WINDOWS:
        raise WindowError(
            f"a timeline of {drawn.height:,} windows cannot be read; draw the last of them (since=...), a part "
            "(table.filter(...)), or all as lines: lnb.figures.windows.lines(...)",
            windows=drawn.height,
        )
    if drawn.select(by).is_duplicated().any():
        others = [column for column in table.columns if column not in (START, END, value, *keys)]
        raise WindowError(
            f"several rows share a window{' and key' if keys else ''}; give the columns that tell them apart as key "
            f"(the table also has {listed(others) or 'none'})"
        )
    return drawn


def late_rows(
    late: pl.DataFrame, time: str, keys: Sequence[str], run: Sequence[Batch], since: date | None = None
) -> pl.DataFrame:
    """Columns key0, key1, ..., start (ticks of the rows' time), batch (index into `run`) and count; sorted.

    Without the rows before `since`. Past 2,000 rows, times are rounded down so far that neighbours fall together.
    """
    if not time:
        raise WindowError("late rows are drawn at their event time; give its column: time='...'")
    _require(late, time, *keys)
    check_times(late, time, "give the column of event time")
    # Late rows come in the order of batches, and each batch tells how many there were after it.
    after = np.array([batch.late for batch in run], dtype=np.int64)
    index = np.searchsorted(after, np.arange(late.height), side="right").clip(max=max(0, len(run) - 1))
    start = ticks(late.get_column(time)).alias("start")
    placed = late.select(*_keyed(late, keys), start, pl.Series("batch", index, dtype=pl.Int64))
    if since is not None:
        placed = placed.filter(pl.col("start") >= tick(since, late.schema[time]))
    if placed.height > MOST_LATE:
        low, high = int(start.to_numpy().min()), int(start.to_numpy().max())
        width = max(1, (high - low) // (MOST_LATE // 2))
        placed = placed.with_columns((pl.col("start") - low) // width * width + low)
    return placed.group_by(placed.columns).agg(count=pl.len()).sort(placed.columns)


def numbered(frames: Sequence[pl.DataFrame], keys: Sequence[str]) -> dict[str, int]:
    """The keys in any of the frames, each with its number in their order, for `parts`."""
    names = _names(keys)
    if not names:
        return {_id(()): 0}
    try:
        found = pl.concat([frame.select(names) for frame in frames]).unique().sort(names)
    except pl.exceptions.PolarsError as error:
        raise WindowError(
            "the key columns of the table, the late rows and the open windows differ in type; give those of one stream"
        ) from error
    return {_id(values): number for number, values in enumerate(found.rows())}


def parts(frame: pl.DataFrame, keys: Sequence[str], numbers: dict[str, int]) -> Iterator[tuple[int, str, pl.DataFrame]]:
    """For each key its number, its label and its rows."""
    names = _names(keys)
    found = frame.partition_by(names, maintain_order=True) if names else [frame] if frame.height else []
    for part in found:
        values = part.row(0)[: len(names)]
        yield numbers[_id(values)], key_label(values), part


def _id(values: tuple[Any, ...]) -> str:
    return repr(values)


def _names(keys: Sequence[str]) -> list[str]:
    return [f"key{number}" for number in range(len(keys))]


def _keyed(frame: pl.DataFrame, keys: Sequence[str]) -> list[pl.Expr]:
    return [named(key).alias(name) for key, name in zip(keys, _names(keys), strict=True)]


def _require(frame: pl.DataFrame, *columns: str) -> None:
    for column in columns:
        if column not in frame.columns:
            raise WindowError.unknown("column", column, frame.columns)
