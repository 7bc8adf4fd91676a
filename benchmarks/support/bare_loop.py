"""The ceiling of a stream: batches that are in memory already, and nothing but what no engine can leave out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

PARTIALS = [
    pl.len().cast(pl.Int64).alias("n"),
    pl.col("value").sum().alias("sum"),
    pl.col("value").max().alias("max"),
]
MERGED = [pl.col("n").sum(), pl.col("sum").sum(), pl.col("max").max()]
# A window and the disorder: older slices are in no window that is still open.
OPEN = timedelta(seconds=62)


def merge_slices(batches: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Group each batch by key and 10 s, merge that into the open slices, drop the old ones. No windows are made."""
    state: pl.DataFrame | None = None
    for batch in batches:
        part = (
            batch.lazy()
            .group_by("key", pl.col("ts").dt.truncate("10s").alias("slice"))
            .agg(PARTIALS)
            .collect(engine="streaming")
        )
        both = part if state is None else pl.concat([state, part])
        edge = part.select(pl.col("slice").max()).item() - OPEN
        state = both.group_by("key", "slice").agg(MERGED).filter(pl.col("slice") > edge)
    assert state is not None
    return state
