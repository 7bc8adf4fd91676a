"""Civil time of a zone to instants, daylight saving included."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta

import polars as pl


def instants(wall: pl.Series, dtype: pl.Datetime, zone: str) -> pl.Series:
    """When clocks in `zone` show these wall-clock ticks, as a column of `dtype`.

    A time that occurs twice stands for its first occurrence; one that is skipped, for the moment of the skip.
    """
    naive = wall.unique().cast(pl.Datetime(dtype.time_unit))
    known = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    table = pl.DataFrame({"wall": naive.cast(pl.Int64), "instant": known})
    skipped = table.filter(pl.col("instant").is_null()).get_column("wall")
    if len(skipped):
        moments = [after_skip(time, zone) for time in skipped.cast(pl.Datetime(dtype.time_unit))]
        mended = pl.DataFrame({"wall": skipped, "mended": pl.Series(moments, dtype=known.dtype)})
        table = table.join(mended, on="wall", how="left").select(
            "wall", pl.coalesce("instant", "mended").alias("instant")
        )
    found = pl.DataFrame({"wall": wall}).join(table, on="wall", how="left", maintain_order="left")
    return found.get_column("instant").cast(pl.Int64).cast(dtype)


def after_skip(wall: datetime, zone: str) -> datetime:
    """The first moment (UTC) at which clocks in `zone` have passed the skipped time `wall`."""
    clock = zoneinfo.ZoneInfo(zone)
    low = wall.replace(microsecond=0, tzinfo=UTC) - timedelta(days=2)
    span_s = int(timedelta(days=4).total_seconds())
    before_s, after_s = 0, span_s
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        shown = (low + timedelta(seconds=middle_s)).astimezone(clock).replace(tzinfo=None)
        before_s, after_s = (before_s, middle_s) if shown >= wall else (middle_s, after_s)
    return low + timedelta(seconds=after_s)
